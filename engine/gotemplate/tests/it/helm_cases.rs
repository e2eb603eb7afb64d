//! Those of the charts' conformance cases that need neither Sprig nor Helm: `tests/data/cases.json`.
//!
//! A case whose template calls a function that is not Go's own does not parse here; Helm's crates run all of them.

use nave_gotemplate::{Functions, MissingKey, Session, Templates, Value};
use serde_json::{Value as Json, json};

#[test]
fn cases_of_the_language_alone() {
    let file: Json = serde_json::from_str(include_str!("../data/cases.json")).expect("JSON");
    let (mut run, mut elsewhere) = (0, 0);
    for case in file["cases"].as_array().expect("a list") {
        match check(case) {
            true => run += 1,
            false => elsewhere += 1,
        }
    }
    assert!(run >= 120, "only {run} cases were run, {elsewhere} left to others");
}

/// Whether the case was one for the language alone.
fn check(case: &Json) -> bool {
    const HOST: [&str; 6] = [
        ".Files",
        ".Release",
        ".Chart",
        ".Capabilities",
        ".Template",
        ".Subcharts",
    ];
    let text = case["template"].as_str().expect("text");
    // Helm's table has functions of these names in place of Go's.
    if HOST.iter().any(|name| text.contains(name)) || text.contains("slice") {
        return false;
    }
    let mut templates = Templates::new("gotpl", Functions::builtin());
    templates.set_missing_key(MissingKey::Zero);
    let name = "conf/templates/case.yaml";
    let parsed = templates.parse(name, text.as_bytes());
    if let Err(error) = &parsed
        && error.message.starts_with("function ")
        && error.message.ends_with(" not defined")
    {
        return false;
    }
    let data = Value::from_json(&json!({ "Values": case["values"] }));
    let result = match parsed {
        Ok(()) => templates
            .execute(&mut Session::default(), name, data)
            .map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match (case["output"].as_str(), result) {
        // Helm takes these words out.
        (Some(want), Ok(got)) => {
            assert_eq!(
                String::from_utf8_lossy(&got).replace("<no value>", ""),
                want,
                "{}: {text}",
                case["name"]
            );
        }
        (None, Err(_)) if case["error"] == true => {}
        (_, got) => panic!("{}: {text}: {got:?}", case["name"]),
    }
    true
}
