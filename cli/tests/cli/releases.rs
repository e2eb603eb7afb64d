//! Charts from repositories and registries, and HelmReleases rendered and compared; the controller is played by the tests.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    time::Duration,
};

use kube::api::{Patch, PatchParams};
use nave_artifact::{File, FileTree, pack};
use nave_bed::{Registry, RegistryOptions};
use nave_oci::{Access, Credentials, Registries, Repository, chart_artifact};
use serde_json::{Value, json};

use super::support::{Files, RUNTIME, api, namespace, nave, on, put, shared};

const PASSWORD: &str = "canary-9c1d22";
/// `me:canary-9c1d22`.
const AUTHORIZATION: &str = "Basic bWU6Y2FuYXJ5LTljMWQyMg==";
const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n\
    data: {version: {{ .Chart.Version | quote }}, greeting: {{ .Values.greeting | quote }}}\n";

/// The package of a chart with a ConfigMap.
fn package(name: &str, version: &str, more: &str) -> Vec<u8> {
    let mut tree = FileTree::new();
    for (path, text) in [
        (
            "Chart.yaml",
            format!("apiVersion: v2\nname: {name}\nversion: {version}\n{more}"),
        ),
        ("values.yaml", "greeting: hello\n".to_owned()),
        ("values-loud.yaml", "greeting: HELLO\n".to_owned()),
        ("templates/config.yaml", CONFIG.to_owned()),
    ] {
        let file = File::plain(text.into_bytes());
        tree.insert(format!("{name}/{path}"), file).expect("a sound path");
    }
    pack(&tree)
}

/// Serves files until the process ends; `authorization` is wanted of whoever asks, if it is set.
fn serve(files: BTreeMap<String, Vec<u8>>, authorization: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
            let request = lines.next().and_then(Result::ok).unwrap_or_default();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut allowed = authorization.is_empty();
            for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
                let header = line.split_once(": ");
                allowed |= header
                    .is_some_and(|(name, value)| name.eq_ignore_ascii_case("authorization") && value == authorization);
            }
            let (status, body) = match files.get(path.as_str()) {
                _ if !allowed => ("401 Unauthorized", &b""[..]),
                Some(body) => ("200 OK", body.as_slice()),
                None => ("404 Not Found", &b""[..]),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let mut stream = stream;
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    url
}

/// A repository with two versions of `web`, one of them in development, and `db`.
fn repository(authorization: &'static str) -> String {
    let index = "apiVersion: v1\nentries:\n  web:\n  - {name: web, version: 1.2.0, urls: [web-1.2.0.tgz]}\n  \
        - {name: web, version: 1.10.0, urls: [web-1.10.0.tgz]}\n  - {name: web, version: 2.0.0-rc.1, urls: [web-rc.tgz]}\n  \
        db:\n  - {name: db, version: 0.1.0, urls: [db.tgz]}\n";
    let files = [
        ("/charts/index.yaml", index.as_bytes().to_vec()),
        ("/charts/web-1.2.0.tgz", package("web", "1.2.0", "")),
        ("/charts/web-1.10.0.tgz", package("web", "1.10.0", "")),
        ("/charts/web-rc.tgz", package("web", "2.0.0-rc.1", "")),
        ("/charts/db.tgz", package("db", "0.1.0", "")),
    ];
    let files = files.map(|(path, bytes)| (path.to_owned(), bytes));
    format!("{}/charts", serve(files.into(), authorization))
}

fn run(line: &[&str]) -> super::support::Outcome {
    RUNTIME.block_on(nave(None, line))
}

fn rendered(release: &str, version: &str, greeting: &str) -> String {
    format!(
        "---\n# Source: web/templates/config.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {release}}}\n\
         data: {{version: \"{version}\", greeting: \"{greeting}\"}}\n"
    )
}

#[test]
fn charts_of_a_repository_are_rendered_by_version() {
    let url = repository("");
    let check = |more: &[&str], version: &str| {
        let mut line = vec!["template", "web", "--repo", &url];
        line.extend(more);
        assert_eq!(run(&line).ok(), rendered("release-name", version, "hello"), "{more:?}");
    };
    check(&[], "1.10.0");
    check(&["--version", "~1.2"], "1.2.0");
    check(&["--version", "1.2.0"], "1.2.0");
    check(&["--devel"], "2.0.0-rc.1");
    let address = format!("{url}/web-1.2.0.tgz");
    assert_eq!(
        run(&["template", &address]).ok(),
        rendered("release-name", "1.2.0", "hello")
    );
    for (name, more, part) in [
        ("nope", "1.x", "chart \"nope\" is not in the index"),
        ("web", "9.x", "9.x"),
    ] {
        let error = run(&["template", name, "--repo", &url, "--version", more]).fails(1);
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_repository_gets_its_credentials() {
    let url = repository(AUTHORIZATION);
    let user = [
        "template",
        "web",
        "--repo",
        &url,
        "--username",
        "me",
        "--password",
        PASSWORD,
    ];
    assert_eq!(run(&user).ok(), rendered("release-name", "1.10.0", "hello"));
    let error = run(&["template", "web", "--repo", &url]).fails(1);
    assert!(error.contains("401") && !error.contains(PASSWORD), "{error}");
}

#[test]
fn missing_dependencies_are_fetched_for_this_once() {
    let url = repository("");
    let chart = format!(
        "apiVersion: v2\nname: top\nversion: 1.0.0\ndependencies:\n- {{name: db, version: 0.x, repository: '{url}'}}\n\
         - {{name: web, version: ^1.2.0, repository: '{url}', alias: front}}\n- {{name: near, version: 1.0.0, repository: 'file://../near'}}\n"
    );
    let files = Files::new(&[
        ("top/Chart.yaml", &chart),
        ("top/values.yaml", "front: {greeting: hi}\n"),
        ("near/Chart.yaml", "apiVersion: v2\nname: near\nversion: 1.0.0\n"),
        ("near/templates/a.yaml", "kind: Near\n"),
    ]);
    let top = files.path("top");
    let error = run(&["template", &top]).fails(1);
    assert!(error.contains("missing in charts/ directory: db, web, near"), "{error}");
    let text = run(&["template", &top, "--dependency-update"]).ok();
    for part in [
        "# Source: top/charts/db/templates/config.yaml",
        "# Source: top/charts/front/templates/config.yaml",
        "version: \"1.10.0\", greeting: \"hi\"",
        "# Source: top/charts/near/templates/a.yaml",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        !std::path::Path::new(&files.path("top/charts")).exists(),
        "nothing is written"
    );
}

#[test]
fn charts_of_a_registry_are_rendered_by_version() {
    RUNTIME.block_on(async {
        let user = Some(("me".to_owned(), PASSWORD.to_owned()));
        let registry = Registry::start(RegistryOptions { user, ..Default::default() }).await.expect("a registry");
        let url = registry.oci_url("charts/web");
        let place = Repository::from_url(&url).expect("an address");
        let credentials = Credentials::Basic(nave_net::BasicAuth {
            username: "me".into(),
            password: nave_net::SecretText::new(PASSWORD),
        });
        let access = Access { credentials, insecure: true, ..Access::default() };
        let remote = Registries::default().open(&place, access).expect("a registry");
        for version in ["1.2.0", "1.10.0+build.5"] {
            let json = json!({"apiVersion": "v2", "name": "web", "version": version}).to_string();
            let artifact = chart_artifact(package("web", version, "").into(), json.into(), Default::default());
            remote
                .push_artifact(&version.replace('+', "_"), artifact, Duration::from_secs(60))
                .await
                .expect("pushed");
        }
        let check = async |more: &[&str], version: &str| {
            let mut line = vec!["template", "shop", &url, "--plain-http", "--username", "me", "--password", PASSWORD];
            line.extend(more);
            assert_eq!(nave(None, &line).await.ok(), rendered("shop", version, "hello"), "{more:?}");
        };
        check(&[], "1.10.0+build.5").await;
        check(&["--version", "1.2.0"], "1.2.0").await;
        check(&["--version", "~1.10.0"], "1.10.0+build.5").await;

        // A HelmRelease and all that it names in one file: no cluster is asked.
        let files = Files::new(&[(
            "web.yaml",
            &format!(
                "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata: {{name: web}}\nspec: {{url: '{url}', \
                 interval: 1m, insecure: true, ref: {{tag: 1.2.0}}, secretRef: {{name: login}}}}\n---\napiVersion: v1\n\
                 kind: Secret\nmetadata: {{name: login}}\nstringData: {{username: me, password: {PASSWORD}}}\n---\n\
                 apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: web, namespace: shop}}\n\
                 spec: {{interval: 1m, chartRef: {{kind: OCIRepository, name: web}}}}\n"
            ),
        )]);
        let text = nave(None, &["build", "helmrelease", &files.path("web.yaml"), "--dry-run"]).await.ok();
        // As the controller has it: a tag that is pushed again is another version.
        assert!(text.contains("version: 1.2.0+"), "{text}");
    });
}

/// A HelmRelease of a HelmRepository with values from everywhere.
fn release_file(url: &str) -> String {
    format!(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {{name: charts, namespace: shop}}\n\
         spec: {{url: '{url}', interval: 1m}}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: values, namespace: shop}}\ndata: {{values.yaml: 'greeting: from a map'}}\n---\n\
         apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: web, namespace: shop}}\nspec:\n  \
         interval: 1m\n  targetNamespace: front\n  chart: {{spec: {{chart: web, version: 1.x, valuesFiles: [values-loud.yaml], \
         sourceRef: {{kind: HelmRepository, name: charts}}}}}}\n  valuesFrom: [{{kind: ConfigMap, name: values, optional: true}}]\n  \
         commonMetadata: {{labels: {{team: shop}}}}\n  postRenderers:\n  - kustomize: {{patches: [{{target: {{kind: ConfigMap}}, \
         patch: '[{{\"op\": \"add\", \"path\": \"/data/patched\", \"value\": \"yes\"}}]'}}]}}\n"
    )
}

#[test]
fn a_release_of_a_file_is_rendered_without_a_cluster() {
    let text = release_file(&repository(""));
    let files = Files::new(&[
        ("web.yaml", &text),
        (
            "bare.yaml",
            &text.replace(
                "kind: ConfigMap\nmetadata: {name: values",
                "kind: ConfigMap\nmetadata: {name: other",
            ),
        ),
        ("two.yaml", &format!("{text}---\n{text}")),
    ]);
    let build = |name: &str, more: &[&str]| {
        let path = files.path(name);
        let mut line = vec!["build", "helmrelease", &path, "--dry-run"];
        line.extend(more);
        run(&line)
    };
    let text = build("web.yaml", &[]).ok();
    for part in [
        "# Source: web/templates/config.yaml",
        "name: front-web",
        "greeting: from a map",
        "patched: \"yes\"",
        "team: shop",
        "helm.toolkit.fluxcd.io/name: web",
        "version: 1.10.0",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Without the ConfigMap the chart's values files count.
    let text = build("bare.yaml", &[]).ok();
    assert!(text.contains("greeting: HELLO"), "{text}");
    let error = build("two.yaml", &[]).fails(1);
    assert!(error.contains("holds 2 HelmReleases"), "{error}");
    let error = run(&["build", "helmrelease", "web", "--dry-run"]).fails(1);
    assert!(error.contains("--dry-run asks no cluster"), "{error}");
    let git = text_with_git();
    let more = Files::new(&[
        ("git.yaml", &git),
        ("charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.0.1\n"),
        ("charts/web/templates/config.yaml", CONFIG),
        ("charts/web/values.yaml", "greeting: local\n"),
    ]);
    let path = more.path("git.yaml");
    let error = run(&["build", "helmrelease", &path, "--dry-run"]).fails(1);
    assert!(
        error.contains("hint: name it with --local-sources GitRepository/shop/platform=./path"),
        "{error}"
    );
    let local = format!("GitRepository/shop/platform={}", more.path(""));
    let text = run(&["build", "hr", &path, "--dry-run", "--local-sources", &local]).ok();
    assert!(text.contains("greeting: local"), "{text}");
    let chart = more.path("charts/web");
    let text = run(&["build", "hr", &path, "--dry-run", "--chart", &chart]).ok();
    assert!(text.contains("version: 0.0.1"), "{text}");
}

fn text_with_git() -> String {
    "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: web, namespace: shop}\nspec: {interval: 1m, \
     chart: {spec: {chart: ./charts/web, sourceRef: {kind: GitRepository, name: platform}}}}\n"
        .to_owned()
}

const OWNED: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {greeting: {{ .Values.greeting }}}\n---\n\
    apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {token: {{ .Values.token }}}\n";

#[test]
fn what_an_upgrade_would_change_is_shown_and_nothing_is_written() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        let space = "diff-release";
        namespace(&client, space).await;
        let files = Files::new(&[
            ("web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
            ("web/values.yaml", "greeting: hello\ntoken: canary-old\n"),
            ("web/templates/all.yaml", OWNED),
        ]);
        let chart = files.path("web");
        let release = |spec: Value, inventory: &[&str]| {
            let entries: Vec<Value> = inventory.iter().map(|id| json!({"id": id, "v": "v1"})).collect();
            let mut object = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
                "metadata": {"name": "web", "namespace": space},
                "spec": {"interval": "1m", "chartRef": {"kind": "ExternalArtifact", "name": "web"}},
                "status": {"inventory": {"entries": entries}}});
            for (field, value) in spec.as_object().into_iter().flatten() {
                object["spec"][field] = value.clone();
            }
            object
        };
        let line = format!("diff helmrelease web -n {space} --chart {chart}");
        let diff = async || on(plane, &line).await;

        put(&client, "helmreleases", release(json!({}), &[])).await;
        let error = on(plane, &format!("diff hr web -n {space}")).await.fails(2);
        assert!(error.contains("ExternalArtifact diff-release/web") && error.contains("--chart"), "{error}");
        let new = diff().await;
        assert_eq!(new.code, 1, "{new:?}");
        let created = format!("► ConfigMap/{space}/settings created\n");
        assert!(new.stdout.contains(&created) && new.stdout.contains("token created"), "{}", new.stdout);
        let settings = api(&client, "v1", "ConfigMap", "configmaps", space);
        assert!(settings.get_opt("settings").await.expect("an answer").is_none(), "nothing is written");

        // What the controller would have written.
        let metadata = |name: &str| {
            json!({"name": name, "namespace": space,
                "labels": {"app.kubernetes.io/managed-by": "Helm",
                    "helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": space},
                "annotations": {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": space}})
        };
        let secrets = api(&client, "v1", "Secret", "secrets", space);
        let params = PatchParams::apply("helm-controller").force();
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("settings"), "data": {"greeting": "hello"}});
        settings.patch("settings", &params, &Patch::Apply(&map)).await.expect("a ConfigMap");
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("token"),
            "stringData": {"token": "canary-old"}});
        secrets.patch("token", &params, &Patch::Apply(&secret)).await.expect("a Secret");
        let same = diff().await;
        assert_eq!((same.code, same.stdout.as_str()), (0, ""), "{same:?}");

        // Other values, a field that nobody wants any more, and an object that left the chart.
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("settings"),
            "data": {"greeting": "hello", "old": "x"}});
        settings.patch("settings", &params, &Patch::Apply(&map)).await.expect("a ConfigMap");
        let stale = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("stale")});
        settings.patch("stale", &params, &Patch::Apply(&stale)).await.expect("a ConfigMap");
        let inventory = [
            format!("{space}_settings__ConfigMap"),
            format!("{space}_stale__ConfigMap"),
            format!("{space}_gone__ConfigMap"),
        ];
        let inventory = inventory.each_ref().map(String::as_str);
        let values = json!({"values": {"greeting": "hi", "token": "canary-new"}});
        put(&client, "helmreleases", release(values, &inventory)).await;
        let changed = diff().await;
        assert_eq!(changed.code, 1, "{changed:?}");
        let text = changed.stdout;
        for part in [
            format!("► ConfigMap/{space}/settings drifted\n"),
            "-   greeting: hello\n".to_owned(),
            "+   greeting: hi\n".to_owned(),
            "-   old: x\n".to_owned(),
            format!("► Secret/{space}/token drifted\n"),
            format!("► ConfigMap/{space}/stale deleted\n"),
        ] {
            assert!(text.contains(&part), "{part}: {text}");
        }
        assert!(!text.contains("canary") && !text.contains("Y2FuYXJ5") && !text.contains("gone"), "{text}");
    });
}

#[test]
fn releases_are_shown_suspended_and_exported() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        let space = "hr-verbs";
        namespace(&client, space).await;
        let line = format!(
            "create helmrelease web -n {space} --chart-ref OCIRepository/web --target-namespace front --create-target-namespace \
             --crds CreateReplace --values-from Secret/web --export"
        );
        let text = on(plane, &line).await.ok();
        let object = nave_object::yaml::read_documents(&text, nave_object::yaml::Dialect::K8s).expect("YAML").remove(0);
        assert_eq!(
            object["spec"],
            json!({"interval": "1m0s", "chartRef": {"kind": "OCIRepository", "name": "web"}, "targetNamespace": "front",
                "install": {"createNamespace": true, "crds": "Create"}, "upgrade": {"crds": "CreateReplace"},
                "valuesFrom": [{"kind": "Secret", "name": "web"}]})
        );
        put(&client, "helmreleases", object).await;
        let table = on(plane, &format!("get hr -n {space} --show-source")).await.ok();
        assert!(table.contains("ocirepository/web"), "{table}");
        on(plane, &format!("suspend helmrelease web -n {space}")).await.ok();
        let text = on(plane, &format!("export helmrelease web -n {space}")).await.ok();
        assert!(text.contains("suspend: true") && !text.contains("status:"), "{text}");
        let error = on(plane, &format!("reconcile helmrelease web -n {space}")).await.fails(1);
        assert!(error.contains("is suspended"), "{error}");
        on(plane, &format!("delete helmrelease web -n {space} --silent")).await.ok();
        let error = on(plane, &format!("get hr web -n {space}")).await.fails(1);
        assert!(error.contains("not found"), "{error}");
    });
}
