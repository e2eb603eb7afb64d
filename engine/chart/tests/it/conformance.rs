//! The cases of the template language that are shared with `nave-gotemplate`: every one through a whole chart.

use std::fs;
use std::path::Path;

use nave_chart::values::load_values;
use nave_chart::{File, KubeVersion, LoadLimits, RenderRequest, Values, load_files, render_files};
use serde_json::{Value, json};

#[test]
fn every_case_of_the_language_renders_as_with_helm() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gotemplate/tests/data/cases.json");
    let data: Value = serde_json::from_slice(&fs::read(path).expect("the cases are there")).expect("JSON");
    let context = &data["context"];
    let cases = data["cases"].as_array().expect("a list");
    assert_eq!(cases.len(), 404);
    let mut problems = Vec::new();
    for case in cases {
        let outcome = run(context, case);
        let is_good = match (&outcome, case["output"].as_str()) {
            (Ok(text), Some(want)) => comparable(text) == comparable(want),
            (Err(_), None) => case["error"] == json!(true),
            _ => false,
        };
        if !is_good {
            problems.push(format!(
                "{}: {}\n  ours:   {outcome:?}\n  theirs: {:?} {}",
                case["name"], case["template"], case["output"], case["message"]
            ));
        }
    }
    assert!(
        problems.is_empty(),
        "{} of {}:\n{}",
        problems.len(),
        cases.len(),
        problems.join("\n")
    );
}

/// What the parsers of YAML and TOML say of an error is in words of their own.
fn comparable(text: &str) -> &str {
    ["map[Error:error converting YAML to JSON: yaml: ", "map[Error:toml: "]
        .into_iter()
        .find_map(|start| text.find(start).map(|at| &text[..at + start.len()]))
        .unwrap_or(text)
}

fn run(context: &Value, case: &Value) -> Result<String, String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut files = vec![
        File::new("Chart.yaml", nave_object::yaml::write(&context["chart"]).into_bytes()),
        File::new("templates/case.yaml", text(&case["template"]).into_bytes()),
    ];
    for (name, content) in context["files"].as_object().expect("a map") {
        files.push(File::new(name.as_str(), text(content).into_bytes()));
    }
    let chart = load_files(files, &LoadLimits::default()).expect("a chart");
    let release = &context["release"];
    let mut request = RenderRequest::install(text(&release["name"]), text(&release["namespace"]), Values::new());
    // The values of a case are those after merging, in which null is a value.
    request.values = load_values(case["values"].to_string().as_bytes()).expect("a map");
    request.now = "2026-01-01T00:00:00Z".parse().expect("a time");
    request.capabilities.kube_version = KubeVersion::parse(&text(&context["kubeVersion"])).expect("a version");
    request.capabilities.api_versions = context["apiVersions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(text)
        .collect();
    render_files(&chart, &request)
        .map(|mut files| files.remove("conf/templates/case.yaml").unwrap_or_default())
        .map_err(|error| error.to_string())
}
