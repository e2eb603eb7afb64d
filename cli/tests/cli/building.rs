//! `nave build kustomization`: directories of this machine, plainly and for a Flux Kustomization.

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::support::{Files, Outcome, RUNTIME, namespace, nave, on, put, shared};

fn build(line: &[&str]) -> Outcome {
    let mut words = vec!["build", "kustomization"];
    words.extend(line);
    RUNTIME.block_on(nave(None, &words))
}

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {greeting: hello}\n";

#[test]
fn a_directory_is_built_as_kustomize_builds_it() {
    let files = Files::new(&[
        ("base/config.yaml", CONFIG),
        ("base/kustomization.yaml", "resources: [config.yaml]\n"),
        (
            "overlay/kustomization.yaml",
            "resources: [../base]\nnamePrefix: eu-\nnamespace: shop\n",
        ),
    ]);
    let overlay = files.path("overlay");
    let built =
        "apiVersion: v1\ndata:\n  greeting: hello\nkind: ConfigMap\nmetadata:\n  name: eu-app\n  namespace: shop\n";
    assert_eq!(build(&[&overlay]).ok(), built);
    let file = files.path("out.yaml");
    assert_eq!(build(&[&overlay, "-o", &file]).ok(), "");
    assert_eq!(files.read("out.yaml"), built);
    fs::create_dir(files.path("out")).expect("a folder");
    assert_eq!(build(&[&overlay, "--output", &files.path("out")]).ok(), "");
    assert_eq!(files.read("out/v1_configmap_eu-app.yaml"), built);
}

#[test]
fn what_is_out_of_date_is_said_as_kustomize_says_it() {
    let files = Files::new(&[
        ("app/config.yaml", CONFIG),
        (
            "app/kustomization.yaml",
            "resources: [config.yaml]\ncommonLabels: {team: a}\n",
        ),
        ("ks.yaml", KUSTOMIZATION),
    ]);
    let (app, file) = (files.path("app"), files.path("ks.yaml"));
    for line in [
        vec![app.as_str()],
        vec!["app", "--path", &app, "--kustomization-file", &file, "--dry-run"],
    ] {
        let outcome = build(&line);
        let warnings: Vec<&str> = outcome
            .stderr
            .lines()
            .filter(|line| line.starts_with("# Warning"))
            .collect();
        assert_eq!(
            warnings,
            ["# Warning: 'commonLabels' is deprecated. Please use 'labels' instead. \
                 Run 'kustomize edit fix' to update your Kustomization automatically."]
        );
        assert!(!outcome.ok().contains("Warning"));
    }
}

#[test]
fn what_a_build_fails_with_is_said_with_its_place() {
    let files = Files::new(&[
        ("overlay/kustomization.yaml", "resources: [../missing]\n"),
        ("broken/kustomization.yaml", "resources: [deployment.yaml]\n"),
        ("broken/deployment.yaml", "kind: [Deployment\n"),
        (
            "chart/kustomization.yaml",
            "helmCharts: [{name: web, repo: 'http://127.0.0.1:1', version: 1.0.0}]\n",
        ),
    ]);
    let check = |line: &[&str], parts: &[&str]| {
        let error = build(line).fails(1);
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(error.matches('✗').count(), 1, "{error}");
    };
    check(
        &[&files.path("overlay")],
        &["../missing", &files.path("overlay/kustomization.yaml")],
    );
    check(&[&files.path("broken")], &[&files.path("broken/deployment.yaml")]);
    check(&["/nowhere/at/all"], &["/nowhere/at/all"]);
    check(&[&files.path("chart")], &["web", "Helm"]);
    check(
        &[&files.path("chart"), "--enable-helm"],
        &["chart web", "cannot read http://127.0.0.1:1/index.yaml"],
    );
    check(
        &[&files.path("overlay"), "--recursive", "--local-sources", "a/b/c=."],
        &["--recursive is for Flux"],
    );
}

#[test]
fn files_from_elsewhere_are_read_only_when_that_is_asked_for() {
    let files = Files::new(&[
        ("shared/config.yaml", CONFIG),
        ("app/kustomization.yaml", "resources: [../shared/config.yaml]\n"),
        ("linked/kustomization.yaml", "resources: [config.yaml]\n"),
        ("base/kustomization.yaml", "resources: [../shared]\n"),
        ("shared/kustomization.yaml", "resources: [config.yaml]\n"),
    ]);
    std::os::unix::fs::symlink("../shared/config.yaml", files.path("linked/config.yaml")).expect("a link");
    for directory in ["app", "linked"] {
        let error = build(&[&files.path(directory)]).fails(1);
        assert!(error.contains("load restriction"), "{directory}: {error}");
        let built = build(&[&files.path(directory), "--load-restrictor", "LoadRestrictionsNone"]).ok();
        assert!(built.contains("greeting: hello"), "{directory}: {built}");
    }
    // A directory is a root of its own, and a link to one is that directory.
    std::os::unix::fs::symlink("base", files.path("link")).expect("a link");
    for directory in ["base", "link"] {
        let built = build(&[&files.path(directory)]).ok();
        assert!(built.contains("greeting: hello"), "{directory}: {built}");
    }
}

const KUSTOMIZATION: &str = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: app, namespace: apps}\n\
    spec: {interval: 1m, prune: true, sourceRef: {kind: GitRepository, name: x},\n  \
    targetNamespace: shop, namePrefix: eu-, commonMetadata: {labels: {team: a}},\n  \
    patches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: any}, data: {patched: \"yes\"}}', target: {kind: ConfigMap}}],\n  \
    postBuild: {substitute: {who: world}, substituteFrom: [{kind: ConfigMap, name: vars}]}}\n";
const TEMPLATE: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {greeting: '${greeting:=hi}', who: '${who}'}\n";

#[test]
fn a_kustomization_file_adds_variables_and_owner() {
    let files = Files::new(&[
        ("app/config.yaml", TEMPLATE),
        (
            "app/test/more.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n",
        ),
        ("ks.yaml", KUSTOMIZATION),
    ]);
    let (app, file) = (files.path("app"), files.path("ks.yaml"));
    let flux = |more: &[&str]| {
        let mut line = vec!["app", "--path", &app, "--kustomization-file", &file, "--dry-run"];
        line.extend(more);
        build(&line)
    };
    let outcome = flux(&[]);
    assert!(
        outcome.stderr.contains("substituteFrom are not known"),
        "{}",
        outcome.stderr
    );
    let built = outcome.ok();
    for part in [
        "greeting: hi\n",
        "who: world\n",
        "name: eu-app\n",
        "name: eu-more\n",
        "namespace: shop\n",
        "patched: \"yes\"\n",
        "team: a\n",
        "kustomize.toolkit.fluxcd.io/name: app\n",
        "kustomize.toolkit.fluxcd.io/namespace: apps\n",
    ] {
        assert!(built.contains(part), "{part}: {built}");
    }
    // Without a name, as the only one of its file.
    assert_eq!(build(&[&app, "--kustomization-file", &file, "--dry-run"]).ok(), built);
    assert!(!flux(&["--ignore-paths", "test/"]).ok().contains("eu-more"));
    assert!(!fs::exists(files.path("app/kustomization.yaml")).expect("a folder"));
    files.write("app/config.yaml", &TEMPLATE.replace("${who}", "${whom}"));
    assert!(flux(&[]).ok().contains("who: null\n"));
    let error = flux(&["--strict-substitute"]).fails(1);
    assert!(error.contains("whom"), "{error}");
    let error = build(&["web", "--path", &app, "--kustomization-file", &file, "--dry-run"]).fails(1);
    assert!(error.contains("but apps/app"), "{error}");
    files.write("ks.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n");
    let error = flux(&[]).fails(1);
    assert!(error.contains("holds no Kustomization"), "{error}");
}

#[test]
fn encrypted_values_are_masked() {
    let document = STANDARD.encode("key: ENC[AES256_GCM,data:x]\nsops: {}\n");
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\ndata: {{password: RU5DW2FiY10=}}\nsops: {{mac: 'ENC[AES256_GCM,data:x]'}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: b}}\ndata: {{file: {document}, plain: cGxhaW4=}}\n"
    );
    let files = Files::new(&[("app/secrets.yaml", &secret), ("ks.yaml", KUSTOMIZATION)]);
    let built = build(&[
        &files.path("app"),
        "--kustomization-file",
        &files.path("ks.yaml"),
        "--dry-run",
    ])
    .ok();
    for part in ["password: KipTT1BTKio=\n", "file: KipTT1BTKio=\n", "plain: cGxhaW4=\n"] {
        assert!(built.contains(part), "{part}: {built}");
    }
    assert!(!built.contains("sops:"), "{built}");
}

#[test]
fn kustomizations_inside_are_built_from_the_directories_of_their_sources() {
    let inner = |name: &str, source: &str| {
        KUSTOMIZATION.replace("name: app,", &format!("name: {name},")).replace(
            "name: x}",
            &format!("name: {source}, namespace: flux-system}}, path: ./{name}"),
        )
    };
    let outer = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: eu, namespace: apps}\n\
        spec: {interval: 1m, prune: true, sourceRef: {kind: GitRepository, name: fleet}}\n";
    let files = Files::new(&[
        ("clusters/eu/apps.yaml", &inner("web", "apps")),
        // Itself: what bootstrapping leaves.
        ("clusters/eu/self.yaml", outer),
        ("apps/web/config.yaml", TEMPLATE),
        ("eu.yaml", outer),
    ]);
    let (path, file) = (files.path("clusters/eu"), files.path("eu.yaml"));
    let mut line = vec!["eu", "--path", &path, "--kustomization-file", &file, "--dry-run"];
    assert!(!build(&line).ok().contains("name: eu-app\n"));
    let elsewhere = format!("GitRepository/flux-system/other={}", files.path("apps"));
    line.extend(["--recursive", "--local-sources", &elsewhere]);
    let error = build(&line).fails(1);
    assert!(
        error.contains("hint: name it with --local-sources GitRepository/flux-system/apps=./path"),
        "{error}"
    );
    let apps = format!("GitRepository/flux-system/apps={}", files.path("apps"));
    line.extend(["--local-sources", &apps]);
    let built = build(&line).ok();
    assert!(built.contains("name: eu-app\n"), "{built}");
    assert_eq!(
        built.matches("kustomize.toolkit.fluxcd.io/name: web\n").count(),
        1,
        "{built}"
    );
    assert_eq!(
        built.matches("kustomize.toolkit.fluxcd.io/name: eu\n").count(),
        2,
        "{built}"
    );
}

#[test]
fn a_kustomization_of_the_cluster_is_built_with_the_variables_of_the_cluster() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "building").await;
        let variables = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vars", "namespace": "building"},
            "data": {"greeting": "from the map", "who": "the map"}});
        put(&client, "configmaps", variables).await;
        let hidden = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vars", "namespace": "building"},
            "data": {"who": STANDARD.encode("the\nsecret")}});
        put(&client, "secrets", hidden).await;
        let kustomization = |from: serde_json::Value| {
            json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "metadata": {"name": "app", "namespace": "building"},
                "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "x"},
                    "targetNamespace": "shop", "postBuild": {"substituteFrom": from}}})
        };
        let map = json!({"kind": "ConfigMap", "name": "vars"});
        let from = json!([map, {"kind": "Secret", "name": "vars"}, {"kind": "Secret", "name": "gone", "optional": true}]);
        put(&client, "kustomizations", kustomization(from)).await;
        let files = Files::new(&[("app/config.yaml", TEMPLATE)]);
        let line = format!("build ks app -n building --path {}", files.path("app"));
        let built = on(plane, &line).await.ok();
        for part in [
            "greeting: from the map\n",
            "who: thesecret\n",
            "namespace: shop\n",
            "kustomize.toolkit.fluxcd.io/namespace: building\n",
        ] {
            assert!(built.contains(part), "{part}: {built}");
        }
        let from = json!([map, {"kind": "Secret", "name": "gone"}]);
        put(&client, "kustomizations", kustomization(from)).await;
        let error = on(plane, &line).await.fails(1);
        assert!(error.contains("Secret building/gone was not found"), "{error}");
        let error = on(plane, &line.replace("ks app", "ks web")).await.fails(1);
        assert!(error.contains("\"web\" not found") && error.contains("hint: "), "{error}");
    });
}
