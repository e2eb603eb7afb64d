//! `nave template`: charts of this machine.

use std::fs;

use super::support::{Files, Outcome, RUNTIME, nave};

fn template(line: &[&str]) -> Outcome {
    let mut words = vec!["template"];
    words.extend(line);
    RUNTIME.block_on(nave(None, &words))
}

const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.0.0\n";
const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n\
    data: {greeting: {{ .Values.greeting }}, namespace: {{ .Release.Namespace }}}\n";

#[test]
fn a_chart_is_rendered_as_helm_renders_it() {
    let files = Files::new(&[
        ("web/Chart.yaml", CHART),
        ("web/values.yaml", "greeting: hello\n"),
        ("web/templates/config.yaml", CONFIG),
        (
            "web/templates/hook.yaml",
            "kind: Job\nmetadata: {name: h, annotations: {helm.sh/hook: test}}\n",
        ),
        ("web/templates/NOTES.txt", "Thank you\n"),
        ("web/crds/thing.yaml", "kind: CustomResourceDefinition\n"),
        ("web/.helmignore", "*.bak\n"),
        ("web/templates/broken.yaml.bak", "{{"),
        ("values.yaml", "greeting: hi\n"),
    ]);
    let chart = files.path("web");
    let config = |name: &str, greeting: &str, namespace: &str| {
        format!(
            "---\n# Source: web/templates/config.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n\
             data: {{greeting: {greeting}, namespace: {namespace}}}\n"
        )
    };
    let hook = "---\n# Source: web/templates/hook.yaml\nkind: Job\nmetadata: {name: h, annotations: {helm.sh/hook: \
        test}}\n\n";
    let crd = "---\n# Source: web/crds/thing.yaml\nkind: CustomResourceDefinition\n\n";
    assert_eq!(
        template(&[&chart]).ok(),
        format!("{}{hook}", config("release-name", "hello", "default"))
    );
    let line = [
        "shop",
        &chart,
        "-n",
        "market",
        "--set",
        "greeting=hey",
        "--skip-tests",
        "--include-crds",
    ];
    assert_eq!(
        template(&line).ok(),
        format!("{crd}{}", config("shop", "hey", "market"))
    );
    let values = files.path("values.yaml");
    let line = ["shop", &chart, "-f", &values, "--no-hooks"];
    assert_eq!(template(&line).ok(), config("shop", "hi", "default"));
    let line = ["shop", &chart, "--show-only", "templates/c*.yaml"];
    assert_eq!(
        template(&line).ok(),
        format!("{}\n", config("shop", "hello", "default"))
    );
    // A folder that holds itself through a link is no endless walk.
    std::os::unix::fs::symlink(&chart, files.path("web/again")).expect("a link");
    assert!(
        template(&[&chart])
            .fails(1)
            .contains("is a link to a folder that it is in")
    );
    fs::remove_file(files.path("web/again")).expect("the link");
}

#[test]
fn what_a_chart_fails_with_is_said_with_its_place() {
    let files = Files::new(&[
        ("web/Chart.yaml", CHART),
        ("web/templates/config.yaml", "\na: {{ .Values.a.b }}\n"),
        (
            "lib/Chart.yaml",
            "apiVersion: v2\nname: lib\nversion: 1.0.0\ntype: library\n",
        ),
        (
            "needs/Chart.yaml",
            "apiVersion: v2\nname: needs\nversion: 1.0.0\ndependencies: [{name: db, version: 1.0.0, repository: x}]\n",
        ),
        ("none/README.md", "x\n"),
        ("values.yaml", "a: [\n"),
    ]);
    let (web, lib, needs, none) = (
        files.path("web"),
        files.path("lib"),
        files.path("needs"),
        files.path("none"),
    );
    let values = files.path("values.yaml");
    let check = |line: &[&str], parts: &[&str]| {
        let error = template(line).fails(1);
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(error.matches('✗').count(), 1, "{error}");
    };
    check(
        &[&web],
        &[
            "web/templates/config.yaml:2:13",
            "<.Values.a.b>",
            "nil pointer evaluating",
        ],
    );
    check(&[&lib], &["library charts are not installable"]);
    check(
        &[&needs],
        &["missing in charts/ directory: db", "`helm dependency build"],
    );
    check(&[&needs, "--dependency-update"], &["dependency \"db\" of chart"]);
    check(&[&none], &[&none, "Chart.yaml file is missing"]);
    check(&["No_Name", &web], &["invalid release name"]);
    check(&[&web, "-f", &values], &["failed to parse", &values]);
    check(
        &[&web, "--set", "a"],
        &["failed parsing --set data: key \"a\" has no value"],
    );
    check(&[&web, "--validate"], &["--validate is not supported"]);
    check(
        &["bitnami/web"],
        &[
            "names of helm's own repositories are not known",
            "hint: name the repository",
        ],
    );
    check(&[&web, "--verify"], &["--verify is not supported"]);
    check(&["./nothing"], &["path \"./nothing\" not found"]);
}
