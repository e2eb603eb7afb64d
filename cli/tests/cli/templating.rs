//! `nave template`: charts of this machine.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    thread,
};

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
        &[&web, "--post-renderer", "labels", "--post-renderer-args", "-x"],
        &[
            "plugins of Helm are not run",
            "hint: spec.postRenderers of a HelmRelease",
        ],
    );
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

#[test]
fn what_helm_template_takes_is_taken() {
    let files = Files::new(&[
        ("web/Chart.yaml", CHART),
        ("web/values.yaml", "greeting: hello\n"),
        ("web/templates/config.yaml", CONFIG),
        (
            "web/templates/host.yaml",
            "address: {{ getHostByName \"127.0.0.1\" | quote }}\n",
        ),
        (
            "web/templates/hook.yaml",
            "kind: Job\nmetadata: {name: h, annotations: {helm.sh/hook: test}}\n",
        ),
        ("web/crds/thing.yaml", "kind: CustomResourceDefinition\n"),
    ]);
    let chart = files.path("web");
    let host = |line: &[&str]| {
        let line = [&[chart.as_str(), "--show-only", "templates/host.yaml"], line].concat();
        template(&line).ok()
    };
    assert!(host(&[]).contains("address: \"\"\n"));
    assert!(host(&["--enable-dns"]).contains("address: \"127.0.0.1\"\n"));
    let line = "--create-namespace --wait=legacy --atomic --dry-run=client --labels a=b --skip-crds --server-side=true";
    let words: Vec<&str> = line.split(' ').collect();
    assert!(host(&words).contains("address: \"\"\n"));
    let error = template(&[&chart, "--dry-run=server"]).fails(1);
    assert!(error.contains("--dry-run=server is not supported"), "{error}");

    let text = template(&[&chart, "--name-template", "web-{{ add 1 2 }}"]).ok();
    assert!(text.contains("metadata: {name: web-3}"), "{text}");
    let text = template(&[&chart, "--generate-name"]).ok();
    assert!(
        text.contains("metadata: {name: web-1") || text.contains("metadata: {name: web-2"),
        "{text}"
    );
    let error = template(&["shop", &chart, "--generate-name"]).fails(1);
    assert!(
        error.contains("cannot set --generate-name and also specify a name"),
        "{error}"
    );

    let out = files.path("out");
    let line = ["shop", &chart, "--output-dir", &out, "--release-name", "--include-crds"];
    let said = template(&line).ok();
    let paths = [
        "web/crds/thing.yaml",
        "shop/web/templates/host.yaml",
        "shop/web/templates/config.yaml",
        "shop/web/templates/hook.yaml",
    ];
    for path in paths {
        assert!(said.contains(&format!("wrote {out}/{path}\n")), "{path}: {said}");
    }
    assert_eq!(said.lines().count(), paths.len(), "{said}");
    assert_eq!(
        files.read("out/shop/web/templates/config.yaml"),
        "---\n# Source: web/templates/config.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\n\
         data: {greeting: hello, namespace: default}\n\n"
    );
    assert_eq!(
        files.read("out/web/crds/thing.yaml"),
        "---\n# Source: web/crds/thing.yaml\nkind: CustomResourceDefinition\n\n"
    );
}

#[test]
fn schemas_and_values_may_lie_on_the_web() {
    let url = serve(&[
        (
            "/labels.json",
            r#"{"definitions": {"labels": {"additionalProperties": {"type": "string"}}}}"#,
        ),
        ("/values.yaml", "greeting: {from: the web}\n"),
    ]);
    let schema = format!(r#"{{"properties": {{"greeting": {{"$ref": "{url}/labels.json#/definitions/labels"}}}}}}"#);
    let none = schema.replace("labels.json", "none.json");
    let files = Files::new(&[
        ("web/Chart.yaml", CHART),
        ("web/values.schema.json", &schema),
        ("web/templates/config.yaml", "from: {{ .Values.greeting.from }}\n"),
    ]);
    let chart = files.path("web");
    let values = format!("{url}/values.yaml");
    assert!(template(&[&chart, "-f", &values]).ok().contains("from: the web\n"));
    let error = template(&[&chart, "--set", "greeting.from=1"]).fails(1);
    assert!(
        error.contains("- at '/greeting/from': got number, want string"),
        "{error}"
    );
    let error = template(&[&chart, "-f", &format!("{url}/none.yaml")]).fails(1);
    assert!(error.contains("404"), "{error}");
    files.write("web/values.schema.json", &none);
    let error = template(&[&chart, "-f", &values]).fails(1);
    assert!(
        error.contains(&format!("failing loading \"{url}/none.json\": the server answered 404")),
        "{error}"
    );
    let text = template(&[&chart, "-f", &values, "--skip-schema-validation"]).ok();
    assert!(text.contains("from: the web\n"), "{text}");
}

/// A server of these documents, by their paths.
fn serve(documents: &[(&'static str, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("it listens"));
    let documents = documents.to_vec();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(&stream).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let path = first.split(' ').nth(1).unwrap_or_default();
            let (status, body) = match documents.iter().find(|(known, _)| *known == path) {
                Some((_, body)) => ("200 OK", *body),
                None => ("404 Not Found", ""),
            };
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .expect("it reads");
        }
    });
    url
}
