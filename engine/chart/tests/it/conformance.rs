//! The cases of the template language that are shared with `nave-gotemplate`: every one through a whole chart.

use std::fs;
use std::path::Path;

use nave_chart::{File, KubeVersion, LoadLimits, RenderRequest, Values, load_files, render};
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
            (Ok(text), Some(want)) => text == want,
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

fn run(context: &Value, case: &Value) -> Result<String, String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut files = vec![
        File::new("Chart.yaml", nave_object::yaml::write(&context["chart"]).into_bytes()),
        File::new("templates/case.yaml", text(&case["template"]).into_bytes()),
    ];
    for (name, content) in context["files"].as_object().expect("a map") {
        files.push(File::new(name.as_str(), text(content).into_bytes()));
    }
    files.push(File::new("values.yaml", case["values"].to_string().into_bytes()));
    let chart = load_files(files, &LoadLimits::default()).expect("a chart");
    let release = &context["release"];
    let mut request = RenderRequest::install(text(&release["name"]), text(&release["namespace"]), Values::new());
    request.capabilities.kube_version = KubeVersion::parse(&text(&context["kubeVersion"])).expect("a version");
    request.capabilities.api_versions = context["apiVersions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(text)
        .collect();
    nave_chart::render_files(&chart, &request)
        .map(|mut files| files.remove("conf/templates/case.yaml").unwrap_or_default())
        .map_err(|error| error.to_string())
        .inspect(|_| drop(render(&chart, &request)))
}
