//! What Go gives for the same templates: `tests/data/language.json`, recorded by `record.go` beside it.

use nave_gotemplate::{MissingKey, Session, Templates, Value};
use serde_json::Value as Json;

use crate::functions;

#[test]
fn templates_give_what_go_gives() {
    let recorded: Json = serde_json::from_str(include_str!("../data/language.json")).expect("JSON");
    let cases = recorded["cases"].as_array().expect("a list");
    assert!(cases.len() > 3000, "the record is cut off: {}", cases.len());
    let base = Templates::new("set", functions::all());
    let mut wrong = Vec::new();
    for case in cases {
        let got = run(&base, case, &recorded["data"]);
        let want = match (case["output"].as_str(), case["error"].as_str()) {
            (Some(output), _) => Ok(output.to_owned()),
            (_, Some(error)) => Err(error.to_owned()),
            _ => panic!("a case without a result: {case}"),
        };
        if got != want {
            wrong.push(format!(
                "{}\n   defs {}  missingkey {}\n   want {want:?}\n   got  {got:?}",
                case["template"], case["defs"], case["missingkey"]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

fn run(base: &Templates, case: &Json, data: &Json) -> Result<String, String> {
    let mut templates = base.clone();
    templates.set_missing_key(match case["missingkey"].as_str() {
        Some("zero") => MissingKey::Zero,
        Some("error") => MissingKey::Error,
        _ => MissingKey::Default,
    });
    for (i, text) in case["defs"].as_array().into_iter().flatten().enumerate() {
        let text = text.as_str().expect("text");
        templates
            .parse(&format!("def{i}"), text.as_bytes())
            .map_err(|e| e.to_string())?;
    }
    let text = case["template"].as_str().expect("text");
    templates
        .parse("dir/a.yaml", text.as_bytes())
        .map_err(|e| e.to_string())?;
    functions::render(
        &mut Session::default(),
        &templates,
        "dir/a.yaml",
        Value::from_json(data),
    )
}
