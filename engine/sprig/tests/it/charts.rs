//! The charts' conformance cases (Helm 4.3.1) that need functions, but nothing of a chart.

use std::rc::Rc;

use nave_gotemplate::{GoType, Limits, Map, MissingKey, Session, Templates, Value};
use nave_sprig::{Context, functions};
use serde_json::{Value as Json, json};

#[test]
fn cases_without_a_chart_render_as_in_helm() {
    let file: Json = serde_json::from_str(include_str!("../../../gotemplate/tests/data/cases.json")).expect("JSON");
    let cases = file["cases"].as_array().expect("a list");
    let mut run = 0;
    let mut wrong = Vec::new();
    for case in cases {
        match check(case) {
            Ok(counted) => run += usize::from(counted),
            Err(difference) => wrong.push(difference),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(run >= 300, "only {run} of {} cases were run", cases.len());
}

/// What the parsers of YAML and TOML say of an error is in words of their own.
fn comparable(text: &str) -> &str {
    ["map[Error:error converting YAML to JSON: yaml: ", "map[Error:toml: "]
        .into_iter()
        .find_map(|start| text.find(start).map(|at| &text[..at + start.len()]))
        .unwrap_or(text)
}

/// Whether the case was one for the functions alone; what differs otherwise.
fn check(case: &Json) -> Result<bool, String> {
    const HOST: [&str; 6] = [
        ".Files",
        ".Release",
        ".Chart",
        ".Capabilities",
        ".Template",
        ".Subcharts",
    ];
    let text = case["template"].as_str().expect("text");
    if HOST.iter().any(|name| text.contains(name)) {
        return Ok(false);
    }
    let functions = functions(&Context {
        now: "2024-05-06T07:08:09Z".parse().expect("a time"),
        seed: [1; 32],
    });
    let mut templates = Templates::new("gotpl", functions);
    templates.set_missing_key(MissingKey::Zero);
    let name = "conf/templates/case.yaml";
    let parsed = templates.parse(name, text.as_bytes());
    // `include`, `tpl` and `lookup` come with charts.
    if let Err(error) = &parsed
        && error.message.ends_with(" not defined")
        && ["include", "tpl", "lookup"]
            .iter()
            .any(|name| error.message.contains(&format!("\"{name}\"")))
    {
        return Ok(false);
    }
    let data = Value::map();
    if let (Value::Map(data), Value::Map(values)) = (&data, Value::from_json(&json!(case["values"]))) {
        let named = GoType::NamedMap("common.Values", &GoType::Any);
        data.insert(
            "Values",
            Value::Map(Rc::new(Map::with(named, values.entries().into_iter().collect()))),
        );
    }
    let result = match parsed {
        Ok(()) => templates
            .execute(&mut Session::new(Limits::default()), name, data)
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match (case["output"].as_str(), result) {
        (Some(want), Ok(got))
            if comparable(&String::from_utf8_lossy(&got).replace("<no value>", "")) == comparable(want) =>
        {
            Ok(true)
        }
        (None, Err(_)) if case["error"] == true => Ok(true),
        (want, got) => Err(format!(
            "{}: {text}\n   got  {:?}\n   want {want:?}",
            case["name"],
            got.map(|text| String::from_utf8_lossy(&text).into_owned())
        )),
    }
}
