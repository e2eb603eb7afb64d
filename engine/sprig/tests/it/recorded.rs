//! `tests/data/functions.json`: templates, and what Sprig 3.3.0 and Helm 4.3.1 gave for them.

use serde_json::Value;

use crate::render_within;

/// What follows is in the words of the YAML parser, which is another one here.
const YAML_ERROR: &str = "error converting YAML to JSON: yaml: ";

/// Templates for which another answer is given here, and why.
const DIFFERENT: &[(&str, &str)] = &[(
    "{{ fromYaml \"\\ta: 1\" | toJson }}",
    "the YAML reader takes a tab before the first key",
)];

fn data() -> Value {
    serde_json::from_str(include_str!("../data/functions.json")).expect("the recorded cases are JSON")
}

fn comparable(text: &str) -> &str {
    text.find(YAML_ERROR).map_or(text, |at| &text[..at + YAML_ERROR.len()])
}

#[test]
fn functions_answer_as_the_reference_does() {
    let data = data();
    let cases = data["cases"].as_array().expect("a list of cases");
    assert!(cases.len() > 1500, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let template = case["template"].as_str().expect("text");
        if DIFFERENT.iter().any(|(known, _)| *known == template) {
            continue;
        }
        let got = render_within(template, &data["values"], Default::default());
        match (&got, case["output"].as_str(), case["error"].as_str()) {
            (Ok(got), Some(want), _) if comparable(got) == comparable(want) => {}
            (Err(got), None, Some(want)) if got.to_string() == want => {}
            _ => wrong.push(format!(
                "{template}\n   got  {:?}\n   want {:?}",
                got.map_err(|error| error.to_string()),
                case["output"].as_str().ok_or(case["error"].as_str())
            )),
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
