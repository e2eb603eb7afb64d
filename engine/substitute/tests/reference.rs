//! The recorded answers of `github.com/fluxcd/pkg/envsubst` 1.8.0 (text) and of Flux's post-build step (objects).

use nave_object::Object;
use nave_substitute::{Strategy, Variables, expand, substitute};
use serde_json::Value;

#[test]
fn every_recorded_case_gives_the_same_answer() {
    let recorded: Value =
        serde_json::from_str(include_str!("data/envsubst.json")).expect("the recorded cases are JSON");
    let cases = recorded["cases"].as_array().expect("`cases` is a list");
    let mut failures = Vec::new();
    for case in cases {
        let name = case["name"].as_str().expect("every case has a name");
        let (found, wanted) = answers(case);
        let same = match (&found, &wanted) {
            (Ok(found), Some(wanted)) => found == wanted,
            (Err(_), None) => true,
            _ => false,
        };
        if !same {
            failures.push(format!("{name}: got {found:?}, want {wanted:?}"));
        }
    }
    assert!(cases.len() > 100, "only {} cases", cases.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What we answer and what is recorded; no record stands for an error.
fn answers(case: &Value) -> (Result<Value, String>, Option<Value>) {
    let variables: Variables = case["vars"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.as_str().expect("values are texts")))
        .collect();
    let strict = case["strict"].as_bool().unwrap_or(false);
    let wanted = (!case["error"].as_bool().unwrap_or(false)).then(|| case["output"].clone());
    let found = match case["kind"].as_str() {
        Some("envsubst") => {
            let text = case["text"].as_str().expect("the text is a text");
            expand(text, &variables, strict)
                .map(Value::String)
                .map_err(|error| error.to_string())
        }
        Some("resource") => {
            let object = Object::from_value(case["resource"].clone()).expect("recorded resources are objects");
            substitute(object, &variables, Strategy::WithVariables, strict)
                .map(Object::into_value)
                .map_err(|error| error.to_string())
        }
        kind => panic!("unknown kind of case: {kind:?}"),
    };
    (found, wanted)
}

#[test]
fn without_variables_only_always_processes() {
    let object = || {
        Object::from_value(serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "${x:-d} $${y}"},
        }))
        .expect("it is an object")
    };
    let run = |strategy| {
        substitute(object(), &Variables::new(), strategy, true)
            .expect("nothing is unset")
            .into_value()["data"]["a"]
            .clone()
    };
    assert_eq!(run(Strategy::WithVariables), "${x:-d} $${y}");
    assert_eq!(run(Strategy::Always), "d ${y}");
}
