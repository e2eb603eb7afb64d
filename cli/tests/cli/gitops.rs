//! Making, printing and deleting Kustomizations, and what they have applied; controllers are played by the tests.

use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
    runtime::wait::await_condition,
};
use nave_release::{Release, encode};
use serde_json::{Value, json};

use super::support::{Files, RUNTIME, condition, kustomizations, namespace, nave, on, put, shared};

#[test]
fn a_kustomization_is_printed_from_flags() {
    let check = |line: &str, expected: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(RUNTIME.block_on(nave(None, &words)).ok(), expected, "{line}");
    };
    check(
        "create kustomization apps --source flux-system --export",
        "---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  name: apps\n  \
         namespace: flux-system\nspec:\n  interval: 1m0s\n  path: ./\n  prune: false\n  sourceRef:\n    \
         kind: GitRepository\n    name: flux-system\n",
    );
    check(
        "create ks apps -n team --source OCIRepository/apps.platform --path /deploy/../apps --prune --wait=true \
         --interval 10m --retry-interval 30s --depends-on infra,platform/crds --label team=a,tier=b --service-account sa \
         --decryption-provider sops --decryption-secret keys --target-namespace web --kubeconfig-secret-ref far --export",
        "---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  labels:\n    team: a\n    \
         tier: b\n  name: apps\n  namespace: team\nspec:\n  decryption:\n    provider: sops\n    secretRef:\n      \
         name: keys\n  dependsOn:\n  - name: infra\n  - name: crds\n    namespace: platform\n  interval: 10m0s\n  \
         kubeConfig:\n    secretRef:\n      name: far\n  path: ./apps\n  prune: true\n  retryInterval: 30s\n  \
         serviceAccountName: sa\n  sourceRef:\n    kind: OCIRepository\n    name: apps\n    namespace: platform\n  \
         targetNamespace: web\n  timeout: 2m0s\n  wait: true\n",
    );
    let built = RUNTIME.block_on(nave(
        None,
        &[
            "create",
            "ks",
            "apps",
            "--source",
            "a",
            "--health-check",
            "Deployment/web.apps,HelmRelease/db.apps",
            "--export",
        ],
    ));
    let built = built.ok();
    assert!(
        built.contains("  - kind: Deployment\n    name: web\n    namespace: apps\n"),
        "{built}"
    );
    assert!(
        built.contains("  - apiVersion: helm.toolkit.fluxcd.io/v2\n    kind: HelmRelease\n"),
        "{built}"
    );
    let error = RUNTIME.block_on(nave(None, &["create", "ks", "a", "--source", "a", "--export"]));
    assert!(error.fails(1).contains("name \"a\" is invalid\nhint: "));
}

#[test]
fn a_kustomization_is_made_changed_exported_and_deleted() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "create").await;
        let api = kustomizations(&client, "create");
        let check = async |line: &str, generation: i64, ready: &str, message: &str| {
            let controller = async {
                let is_there = |object: Option<&kube::api::DynamicObject>| {
                    object.is_some_and(|object| object.metadata.generation == Some(generation))
                };
                await_condition(api.clone(), "apps", is_there).await.expect("a watch");
                let mut said = condition("Ready", ready, "X", message);
                said["observedGeneration"] = json!(generation);
                let status = json!({"status": {
                    "observedGeneration": generation, "conditions": [said],
                    "lastAppliedRevision": format!("main@sha1:{}", "b".repeat(40)),
                }});
                api.patch_status("apps", &PatchParams::default(), &Patch::Merge(&status))
                    .await
                    .expect("a status");
            };
            let (outcome, ()) = tokio::join!(on(plane, line), controller);
            outcome
        };
        let line = "create ks apps -n create --source platform --label team=a --prune --timeout 60s";
        let outcome = check(line, 1, "True", "Applied").await;
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        for text in [
            "✚ generating Kustomization",
            "✔ Kustomization created",
            "✔ applied revision main@sha1:bbbbbbbb",
        ] {
            assert!(outcome.stderr.contains(text), "{text}: {}", outcome.stderr);
        }
        let line = "create ks apps -n create --source other --timeout 60s";
        let outcome = check(line, 2, "False", "no such source").await;
        assert!(outcome.stderr.contains("✔ Kustomization updated"), "{}", outcome.stderr);
        let error = outcome.fails(1);
        assert!(
            error.contains("✗ Kustomization reconciliation failed: apps: no such source"),
            "{error}"
        );
        // Labels and spec are those of the second line alone.
        assert_eq!(
            on(plane, "export ks apps -n create").await.ok(),
            "---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  name: apps\n  \
             namespace: create\nspec:\n  force: false\n  interval: 1m0s\n  path: ./\n  prune: false\n  sourceRef:\n    \
             kind: GitRepository\n    name: other\n"
        );
        let all = on(plane, "export ks --all -n create").await.ok();
        assert_eq!(all.matches("---\n").count(), 1, "{all}");
        let error = on(plane, "export ks --all -n create-nothing").await.fails(1);
        assert!(error.contains("no Kustomization objects found"), "{error}");
        // Nobody is there to be asked.
        let error = on(plane, "delete ks apps -n create").await.fails(1);
        assert!(
            error.contains("standard input is not a terminal") && error.contains("--silent"),
            "{error}"
        );
        let outcome = on(plane, "delete ks apps -n create --silent").await;
        assert!(outcome.stderr.contains("✔ kustomization deleted"), "{}", outcome.stderr);
        assert_eq!(outcome.code, 0);
        assert!(api.get_opt("apps").await.expect("an answer").is_none());
        let error = on(plane, "delete ks apps -n create -s").await.fails(1);
        assert!(error.contains("Kustomization \"apps\" not found"), "{error}");
    });
}

fn kustomization(namespace: &str, name: &str, entries: &[&str]) -> Value {
    let entries: Vec<Value> = entries.iter().map(|id| json!({"id": id, "v": "v1"})).collect();
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "interval": "10m", "prune": true, "path": "./apps",
            "sourceRef": {"kind": "GitRepository", "name": "platform"}
        },
        "status": {
            "observedGeneration": 1, "lastAppliedRevision": "main@sha1:1", "inventory": {"entries": entries},
            "conditions": [condition("Ready", "True", "ReconciliationSucceeded", "Applied revision: main@sha1:1")]
        }
    })
}

#[test]
fn trees_go_through_kustomizations_and_releases() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "tree").await;
        let own = "tree_root_kustomize.toolkit.fluxcd.io_Kustomization";
        put(&client, "kustomizations", kustomization("tree", "root", &[
            "_web__Namespace", own, "tree_apps_kustomize.toolkit.fluxcd.io_Kustomization",
            "tree_gone_kustomize.toolkit.fluxcd.io_Kustomization", "tree_web_helm.toolkit.fluxcd.io_HelmRelease",
        ])).await;
        // The second level leads back to the first.
        put(&client, "kustomizations", kustomization("tree", "apps", &["tree_a__ConfigMap", own])).await;
        put(&client, "helmreleases", json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": {"name": "web", "namespace": "tree"},
            "spec": {"interval": "1m", "chartRef": {"kind": "OCIRepository", "name": "web"}},
            "status": {"storageNamespace": "tree", "history": [{
                "name": "web-release", "namespace": "tree", "version": 3, "status": "deployed", "digest": "sha256:0",
                "chartName": "web", "chartVersion": "1.0.0", "configDigest": "sha256:0",
                "firstDeployed": "2026-11-21T07:00:00Z", "lastDeployed": "2026-11-21T07:00:00Z",
            }]}
        })).await;
        let manifest = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\n\
            apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: 'web:reader'}\n";
        let release: Release = serde_json::from_value(json!({
            "name": "web-release", "namespace": "tree", "version": 3, "manifest": manifest, "info": {"status": "deployed"}
        })).expect("a release");
        put(&client, "secrets", json!({
            "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
            "metadata": {"name": "sh.helm.release.v1.web-release.v3", "namespace": "tree"},
            "stringData": {"release": encode(&release)}
        })).await;
        let outcome = on(plane, "tree kustomization root -n tree").await;
        assert!(outcome.stderr.contains("⚠️ Kustomization/tree/gone is in the inventory"), "{}", outcome.stderr);
        assert_eq!(
            outcome.ok(),
            "Kustomization/tree/root\n\
             ├── Namespace/web\n\
             ├── Kustomization/tree/apps\n\
             │   ├── ConfigMap/tree/a\n\
             │   └── Kustomization/tree/root\n\
             ├── Kustomization/tree/gone\n\
             └── HelmRelease/tree/web\n    \
                 ├── Service/tree/web\n    \
                 └── ClusterRole/web:reader\n"
        );
        assert_eq!(
            on(plane, "tree ks root -n tree --compact").await.ok(),
            "Kustomization/tree/root\n\
             ├── Kustomization/tree/apps\n\
             │   └── Kustomization/tree/root\n\
             ├── Kustomization/tree/gone\n\
             └── HelmRelease/tree/web\n"
        );
        let tree: Value = serde_json::from_str(&on(plane, "tree ks apps -n tree -o json").await.ok()).expect("JSON");
        assert_eq!(tree["resources"][0], json!({"resource": {
            "Namespace": "tree", "Name": "a", "GroupKind": {"Group": "", "Kind": "ConfigMap"}
        }}));
        put(&client, "artifactgenerators", json!({
            "apiVersion": "source.extensions.fluxcd.io/v1beta1", "kind": "ArtifactGenerator",
            "metadata": {"name": "split", "namespace": "tree"},
            "spec": {
                "sources": [{"alias": "all", "kind": "GitRepository", "name": "all"}],
                "artifacts": [{"name": "a", "copy": [{"from": "@all/a/**", "to": "@artifact/"}]}],
            },
            "status": {"inventory": [
                {"name": "a", "namespace": "tree", "digest": "sha256:0", "filename": "0.tar.gz"},
                {"name": "b", "namespace": "tree", "digest": "sha256:1", "filename": "1.tar.gz"},
            ]}
        })).await;
        assert_eq!(
            on(plane, "tree artifact generator split -n tree").await.ok(),
            "ArtifactGenerator/tree/split\n├── ExternalArtifact/tree/a\n└── ExternalArtifact/tree/b\n"
        );
        let error = on(plane, "tree ks nobody -n tree").await.fails(1);
        assert!(error.contains("Kustomization \"nobody\" not found"), "{error}");
    });
}

#[test]
fn objects_are_traced_to_their_source() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "trace").await;
        put(&client, "kustomizations", kustomization("trace", "apps", &[])).await;
        put(
            &client,
            "gitrepositories",
            json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
                "metadata": {"name": "platform", "namespace": "trace"},
                "spec": {"url": "https://git.example.com/platform", "interval": "1m", "ref": {"branch": "main"}},
                "status": {
                    "artifact": {
                        "path": "p", "url": "http://x/p", "revision": "main@sha1:1", "digest": "sha256:0",
                        "lastUpdateTime": "2026-11-21T07:00:00Z"
                    },
                    "conditions": [condition("Ready", "False", "GitOperationFailed", "no route\nto host")]
                }
            }),
        )
        .await;
        let config = |name: &str, more: Value| {
            let mut object = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "trace"}
            });
            object["metadata"]
                .as_object_mut()
                .expect("a map")
                .extend(more.as_object().expect("a map").clone());
            object
        };
        let maker = put(
            &client,
            "configmaps",
            config(
                "maker",
                json!({"labels": {
                    "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "trace"
                }}),
            ),
        )
        .await;
        put(
            &client,
            "configmaps",
            config(
                "made",
                json!({"ownerReferences": [{
                    "apiVersion": "v1", "kind": "ConfigMap", "name": "maker", "uid": maker.uid().expect("a UID")
                }]}),
            ),
        )
        .await;
        put(&client, "configmaps", config("stranger", json!({}))).await;
        let report = "Object:          ConfigMap/made\n\
            Namespace:       trace\n\
            Status:          Managed by Flux\n\
            ---\n\
            Kustomization:   apps\n\
            Namespace:       trace\n\
            Path:            ./apps\n\
            Revision:        main@sha1:1\n\
            Status:          Last reconciled at 2026-11-21 07:00:00 +0000 UTC\n\
            Message:         Applied revision: main@sha1:1\n\
            ---\n\
            GitRepository:   platform\n\
            Namespace:       trace\n\
            URL:             https://git.example.com/platform\n\
            Branch:          main\n\
            Revision:        main@sha1:1\n\
            Status:          Last reconciliation failed at 2026-11-21 07:00:00 +0000 UTC\n\
            Message:         no route to host\n";
        assert_eq!(on(plane, "trace configmap made -n trace").await.ok(), report);
        assert_eq!(
            on(plane, "trace made --kind ConfigMap --api-version v1 -n trace")
                .await
                .ok(),
            report
        );
        let both = on(plane, "trace cm/made configmaps/maker -n trace").await.ok();
        assert_eq!(both, format!("{report}---\n{}", report.replace("/made", "/maker")));
        let outcome = on(plane, "trace cm stranger made -n trace").await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, report));
        assert!(
            outcome
                .stderr
                .contains("✗ tracing ConfigMap/stranger: it is not managed by Flux"),
            "{}",
            outcome.stderr
        );
        let error = on(plane, "trace nonsense x").await.fails(1);
        assert!(error.contains("no kind called \"nonsense\"\nhint: "), "{error}");
    });
}

#[test]
fn stats_count_what_runs_fails_and_is_suspended() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "stats").await;
        let with = |name: &str, suspend: bool, ready: &str| {
            let mut object = kustomization("stats", name, &[]);
            object["spec"]["suspend"] = json!(suspend);
            object["status"]["conditions"][0]["status"] = json!(ready);
            object
        };
        for (name, suspend, ready) in [("a", false, "True"), ("b", false, "False"), ("c", true, "True")] {
            put(&client, "kustomizations", with(name, suspend, ready)).await;
        }
        put(
            &client,
            "gitrepositories",
            json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
                "metadata": {"name": "platform", "namespace": "stats"},
                "spec": {"url": "https://git.example.com/platform", "interval": "1m"},
                "status": {"artifact": {
                    "path": "p", "url": "http://x/p", "revision": "main@sha1:1", "digest": "sha256:0", "size": 1536,
                    "lastUpdateTime": "2026-11-21T07:00:00Z"
                }}
            }),
        )
        .await;
        let table = on(plane, "stats -n stats").await.ok();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["RECONCILERS", "RUNNING", "FAILING", "SUSPENDED", "STORAGE"]);
        assert_eq!(rows.len(), 14, "{table}");
        assert_eq!(rows[1], ["GitRepository", "1", "0", "0", "1.5", "KiB"]);
        assert_eq!(rows[6], ["Kustomization", "2", "1", "1", "-"]);
        // A kind that this cluster does not have counts nothing.
        assert_eq!(rows[13], ["ImageRepository", "0", "0", "0", "-"]);
    });
}

#[test]
fn charts_of_a_directory_are_rendered_when_that_is_allowed() {
    let files = Files::new(&[
        (
            "kustomization.yaml",
            "namePrefix: eu-\nhelmCharts:\n- name: web\n  releaseName: shop\n  namespace: team\n  includeCRDs: true\n  \
             valuesInline: {replicas: 3}\n  additionalValuesFiles: [more.yaml]\n",
        ),
        ("more.yaml", "tag: v2\n"),
        ("charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
        ("charts/web/values.yaml", "replicas: 1\ntag: v1\ncolour: red\n"),
        ("charts/web/.helmignore", "*.txt\n"),
        ("charts/web/notes.txt", "not a part of it"),
        (
            "charts/web/crds/crd.yaml",
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: shops.example.com}\n",
        ),
        (
            "charts/web/templates/config.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n  namespace: {{ .Release.Namespace }}\n\
             data:\n  text: \"{{ .Values.replicas }} {{ .Values.tag }} {{ .Values.colour }}\"\n",
        ),
    ]);
    let build = |words: &[&str]| {
        let path = files.path(".");
        let mut line = vec!["build", "kustomization", &path];
        line.extend(words);
        RUNTIME.block_on(nave(None, &line))
    };
    let error = build(&[]).fails(1);
    assert!(error.contains("--enable-helm") || error.contains("helm"), "{error}");
    let built = build(&["--enable-helm"]).ok();
    assert!(built.contains("  text: 3 v2 red\n"), "{built}");
    assert!(built.contains("  name: eu-shop\n  namespace: team\n"), "{built}");
    assert!(built.contains("name: shops.example.com"), "{built}");
    files.write("charts/web/templates/config.yaml", "{{ fail \"no colour\" }}");
    let error = build(&["--enable-helm"]).fails(1);
    assert!(error.contains("chart web") && error.contains("no colour"), "{error}");
}

#[test]
fn variables_status_and_history_of_a_kustomization_are_shown() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "debug").await;
        for (plural, kind, field, data) in [
            ("configmaps", "ConfigMap", "data", json!({"region": "eu", "size": "1"})),
            ("secrets", "Secret", "stringData", json!({"password": "a=b", "size": "2"})),
        ] {
            let object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "vars", "namespace": "debug"}, field: data});
            put(&client, plural, object).await;
        }
        let entry = json!({"digest": "sha256:1", "firstReconciled": "2026-11-21T07:00:00Z",
            "lastReconciled": "2026-11-21T08:00:00Z", "lastReconciledDuration": "1s",
            "lastReconciledStatus": "ReconciliationSucceeded", "totalReconciliations": 3});
        put(
            &client,
            "kustomizations",
            json!({
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "metadata": {"name": "apps", "namespace": "debug"},
                "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "platform"},
                    "postBuild": {"substitute": {"cluster": "one"}, "substituteFrom": [
                        {"kind": "ConfigMap", "name": "vars"}, {"kind": "Secret", "name": "vars"},
                        {"kind": "Secret", "name": "nobody", "optional": true}]}},
                "status": {"lastAppliedRevision": "main@sha1:1", "history": [entry]}
            }),
        )
        .await;
        assert_eq!(
            on(plane, "debug kustomization apps -n debug --show-vars").await.ok(),
            "cluster=one\npassword=a=b\nregion=eu\nsize=2\n"
        );
        let status = on(plane, "debug ks apps -n debug --show-status").await.ok();
        assert!(status.contains("lastAppliedRevision: main@sha1:1\n"), "{status}");
        let history = on(plane, "debug ks apps -n debug --show-history").await.ok();
        assert!(
            history.starts_with("- digest: sha256:1\n") && history.contains("  totalReconciliations: 3\n"),
            "{history}"
        );
        let error = on(plane, "debug ks nobody -n debug --show-vars").await.fails(1);
        assert!(error.contains("nobody"), "{error}");
    });
}
