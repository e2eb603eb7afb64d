//! `nave diff kustomization` against a real API server; the controller is played by the tests.

use std::path::PathBuf;

use base64::Engine;
use kube::{
    Client,
    api::{Patch, PatchParams},
};
use nave_bed::Plane;
use serde_json::{Value, json};

use super::support::{Files, Outcome, RUNTIME, api, namespace, nave, on, put, shared};

/// Files of an application, and a Kustomization that has applied something like it.
struct World {
    plane: &'static Plane,
    client: Client,
    namespace: &'static str,
    files: Files,
}

const OWNER: [&str; 2] = [
    "kustomize.toolkit.fluxcd.io/name",
    "kustomize.toolkit.fluxcd.io/namespace",
];

impl World {
    async fn new(namespace_of_test: &'static str, files: &[(&str, &str)]) -> World {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, namespace_of_test).await;
        World {
            plane,
            client,
            namespace: namespace_of_test,
            files: Files::new(files),
        }
    }

    /// Puts an object that the Kustomization has applied.
    async fn applied(&self, plural: &str, mut object: Value) -> String {
        object["metadata"]["namespace"] = json!(self.namespace);
        object["metadata"]["labels"] = json!({OWNER[0]: "app", OWNER[1]: self.namespace});
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let api = api(&self.client, "v1", &kind, plural, self.namespace);
        let params = PatchParams::apply("kustomize-controller").force();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
        format!("{}_{name}__{kind}", self.namespace)
    }

    /// The Kustomization with an inventory.
    async fn kustomization(&self, spec: Value, inventory: &[String]) {
        let entries: Vec<Value> = inventory.iter().map(|id| json!({"id": id, "v": "v1"})).collect();
        let mut object = json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "app", "namespace": self.namespace},
            "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "x"},
                "targetNamespace": self.namespace},
            "status": {"inventory": {"entries": entries}}});
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        let fields = object["spec"].as_object_mut().expect("a map");
        fields.retain(|_, value| !value.is_null());
        put(&self.client, "kustomizations", object).await;
    }

    async fn diff(&self, more: &str) -> Outcome {
        let line = format!(
            "diff ks app -n {} --path {} {more}",
            self.namespace,
            self.files.path("app")
        );
        on(self.plane, &line).await
    }
}

impl Outcome {
    /// Its standard output, provided that it found differences.
    #[track_caller]
    fn differs(self) -> String {
        assert_eq!(self.code, 1, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert!(
            self.stderr.contains("identified at least one change"),
            "{}",
            self.stderr
        );
        self.stdout
    }
}

fn config(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn secret(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": name}, "data": data})
}

const FILES: &[(&str, &str)] = &[
    (
        "app/same.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: same}\ndata: {a: '1'}\n",
    ),
    (
        "app/new.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\ndata: {a: '1'}\n",
    ),
    (
        "app/drifted.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: drifted}\ndata: {a: '1', b: '2'}\n",
    ),
    (
        "app/left.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: left, annotations: {kustomize.toolkit.fluxcd.io/reconcile: disabled}}\n",
    ),
    (
        "app/secret.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: secret}\nstringData: {token: canary-new, user: me}\n",
    ),
    (
        "app/encrypted.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: encrypted}\ndata: {token: RU5DWzFd}\nsops: {mac: 'ENC[x]'}\n",
    ),
];

#[test]
fn every_kind_of_difference_is_shown_and_nothing_is_written() {
    RUNTIME.block_on(async {
        let world = World::new("diff-all", FILES).await;
        let mut inventory = Vec::new();
        for object in [config("same", json!({"a": "1"})), config("drifted", json!({"a": "0", "b": "2"}))] {
            inventory.push(world.applied("configmaps", object).await);
        }
        inventory.push(world.applied("configmaps", config("stale", json!({}))).await);
        let mut kept = config("kept", json!({}));
        kept["metadata"]["annotations"] = json!({"kustomize.toolkit.fluxcd.io/prune": "disabled"});
        inventory.push(world.applied("configmaps", kept).await);
        inventory.push(format!("{}_gone__ConfigMap", world.namespace));
        // canary-old
        let before = secret("secret", json!({"token": "Y2FuYXJ5LW9sZA==", "user": "bWU="}));
        inventory.push(world.applied("secrets", before).await);
        let encrypted = secret("encrypted", json!({"token": "Y2FuYXJ5LXBsYWlu"}));
        inventory.push(world.applied("secrets", encrypted).await);
        world.kustomization(json!({}), &inventory).await;

        let audit = world.plane.audit().expect("the plane keeps a log");
        let mark = audit.mark().expect("a log");
        let outcome = world.diff("--as differ --as-group system:masters").await;
        let asked = audit.since(mark).expect("a log").of_user("differ");
        assert!(asked.len() > 10, "{}", asked.summary());
        assert!(asked.writes().is_empty(), "{}", asked.writes().summary());

        let error = outcome.stderr.clone();
        let text = outcome.differs();
        let at = |name: &str| format!("► ConfigMap/diff-all/{name}");
        let wanted = format!(
            "{} drifted\n  apiVersion: v1\n  data:\n-   a: \"0\"\n+   a: \"1\"\n    b: \"2\"\n  kind: ConfigMap\n{} skipped\n{} created\n",
            at("drifted"),
            at("left"),
            at("new")
        );
        assert!(text.contains(&wanted), "{text}");
        let hidden = "► Secret/diff-all/secret drifted\n  apiVersion: v1\n  data:\n-   token: '***** (before)'\n+   token: '***** (after)'\n    user: '*****'\n";
        assert!(text.contains(hidden), "{text}");
        assert!(text.contains(&format!("{} deleted\n", at("stale"))), "{text}");
        assert!(
            text.contains(&format!("{} skipped: it is marked prune: disabled\n", at("kept"))),
            "{text}"
        );
        for part in ["same", "gone", "encrypted", "canary", "Y2FuYXJ5"] {
            assert!(!text.contains(part) && !error.contains(part), "{part}: {text}{error}");
        }

        // The same without pruning, and with the drifted field left alone.
        let spec = json!({"prune": false, "ignore": [{"paths": ["/data/a"]}]});
        world.kustomization(spec, &inventory).await;
        let text = world.diff("").await.differs();
        assert!(!text.contains("deleted") && !text.contains("ConfigMap/diff-all/drifted"), "{text}");
    });
}

#[test]
fn no_difference_ends_with_0() {
    RUNTIME.block_on(async {
        let world = World::new("diff-none", &FILES[..1]).await;
        let same = world.applied("configmaps", config("same", json!({"a": "1"}))).await;
        world.kustomization(json!({}), &[same]).await;
        let outcome = world.diff("--progress-bar=false").await;
        assert_eq!(outcome.stderr, "");
        assert_eq!(outcome.ok(), "");
        // An encrypted Secret with another set of keys is one.
        world.files.write("app/encrypted.yaml", FILES[5].1);
        world
            .applied("secrets", secret("encrypted", json!({"other": "eA=="})))
            .await;
        let text = world.diff("").await.differs();
        assert!(text.contains("-   other: '*****'\n+   token: KipTT1BTKio=\n"), "{text}");
    });
}

#[test]
fn what_comes_with_its_namespace_or_definition_is_created() {
    RUNTIME.block_on(async {
        let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.diff.example.com}\n\
            spec: {group: diff.example.com, scope: Namespaced, names: {kind: Gadget, plural: gadgets},\n  \
            versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}\n";
        let world = World::new(
            "diff-brought",
            &[
                ("app/kustomization.yaml", "resources: [namespace.yaml, definition.yaml, inside.yaml]\n"),
                ("app/namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: diff-to-come}\n"),
                ("app/definition.yaml", definition),
                (
                    "app/inside.yaml",
                    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inside, namespace: diff-to-come}\n---\n\
                     apiVersion: diff.example.com/v1\nkind: Gadget\nmetadata: {name: gadget, namespace: diff-to-come}\n",
                ),
            ],
        )
        .await;
        world.kustomization(json!({"targetNamespace": null}), &[]).await;
        let text = world.diff("").await.differs();
        assert_eq!(
            text,
            "► CustomResourceDefinition/gadgets.diff.example.com created\n► Namespace/diff-to-come created\n\
             ► ConfigMap/diff-to-come/inside created\n► Gadget/diff-to-come/gadget created\n"
        );
    });
}

#[test]
fn a_file_stands_in_for_the_cluster() {
    RUNTIME.block_on(async {
        let world = World::new("diff-file", &FILES[..2]).await;
        let ids = [
            world.applied("configmaps", config("same", json!({"a": "1"}))).await,
            world.applied("configmaps", config("stale", json!({}))).await,
        ];
        let file = format!(
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: app}}\n\
             spec: {{interval: 1m, prune: true, sourceRef: {{kind: GitRepository, name: x}}, targetNamespace: {}}}\n",
            world.namespace
        );
        world.files.write("ks.yaml", &file);
        let from_file = format!("--kustomization-file {}", world.files.path("ks.yaml"));
        let error = world.diff(&from_file).await.fails(2);
        assert!(
            error.contains("\"app\" not found") && error.contains("--ignore-not-found"),
            "{error}"
        );
        let new = world.diff(&format!("{from_file} --ignore-not-found")).await.differs();
        assert_eq!(new, "► ConfigMap/diff-file/new created\n");
        // What was applied is known to the cluster, whatever the file says.
        world.kustomization(json!({"suspend": true}), &ids).await;
        let text = world
            .diff(&format!("{from_file} --ignore-paths new.yaml"))
            .await
            .differs();
        assert_eq!(text, "► ConfigMap/diff-file/stale deleted\n");
    });
}

#[test]
fn kustomizations_inside_are_compared_too() {
    RUNTIME.block_on(async {
        let inner = |name: &str, more: &str| {
            format!(
                "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: {name}}}\n\
                 spec: {{interval: 1m, prune: true, path: ./inner, sourceRef: {{kind: GitRepository, name: x}}, targetNamespace: diff-inside{more}}}\n"
            )
        };
        let world = World::new(
            "diff-inside",
            &[
                ("app/inner.yaml", &inner("inner", "")),
                ("app/away.yaml", &inner("away", ", kubeConfig: {secretRef: {name: k}}")),
                ("repo/inner/config.yaml", FILES[1].1),
            ],
        )
        .await;
        world.kustomization(json!({}), &[]).await;
        let source = format!("GitRepository/diff-inside/x={}", world.files.path("repo"));
        let outcome = world.diff(&format!("--recursive --local-sources {source}")).await;
        assert!(outcome.stderr.contains("diff-inside/away is for another cluster"), "{}", outcome.stderr);
        assert_eq!(
            outcome.differs(),
            "► Kustomization/diff-inside/away created\n► Kustomization/diff-inside/inner created\n► ConfigMap/diff-inside/new created\n"
        );
    });
}

#[test]
fn what_cannot_be_compared_ends_with_2() {
    RUNTIME.block_on(async {
        let world = World::new("diff-errors", FILES).await;
        let error = world.diff("").await.fails(2);
        assert!(error.contains("✗ Kustomization \"app\" not found in \"diff-errors\" namespace\nhint: "), "{error}");
        let stale = world.applied("configmaps", config("stale", json!({}))).await;
        world.kustomization(json!({}), &[stale]).await;
        let error = on(world.plane, "diff ks app -n diff-errors --path /nowhere").await.fails(2);
        assert!(error.contains("/nowhere"), "{error}");

        // All that can be compared is; nothing is said to be deleted.
        world.files.write("app/gadget.yaml", "apiVersion: unknown.example.com/v1\nkind: Gadget\nmetadata: {name: g}\n");
        world.files.write(
            "app/refused.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {selector: {}, template: {}}\n",
        );
        let outcome = world.diff("").await;
        assert_eq!(outcome.code, 2, "{outcome:?}");
        assert!(outcome.stdout.contains("► ConfigMap/diff-errors/new created\n"), "{outcome:?}");
        assert!(!outcome.stdout.contains("deleted"), "{outcome:?}");
        for part in [
            "✗ Gadget/diff-errors/g cannot be addressed: the cluster does not serve kind Gadget of unknown.example.com/v1",
            "✗ Deployment/diff-errors/d dry-run failed: ",
        ] {
            assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
        }

        world.files.write("app/gadget.yaml", "kind: [\n");
        let error = world.diff("").await.fails(2);
        assert!(error.contains(&world.files.path("app/gadget.yaml")), "{error}");
        assert_eq!(error.matches('✗').count(), 1, "{error}");
    });
}

#[test]
fn rights_that_are_missing_are_named() {
    RUNTIME.block_on(async {
        let world = World::new("diff-rights", &FILES[..2]).await;
        world.kustomization(json!({}), &[]).await;
        let error = world.diff("--as nobody").await.fails(2);
        assert!(error.contains("is forbidden") && error.contains("hint: "), "{error}");
        // May read everything, but change nothing: a dry run takes the right to write.
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "reader", "namespace": world.namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "User", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"}]});
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "reader", "namespace": world.namespace},
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}]});
        put(&world.client, "roles", role).await;
        put(&world.client, "rolebindings", binding).await;
        nave_bed::eventually(std::time::Duration::from_secs(60), "the binding to count", || async {
            let error = world.diff("--as reader").await.fails(2);
            anyhow::ensure!(error.contains("ConfigMap/diff-rights/new dry-run failed: "), "{error}");
            anyhow::ensure!(error.contains("cannot patch resource"), "{error}");
            Ok(())
        })
        .await
        .expect("the right to read and no other");
    });
}

#[test]
fn a_kubeconfig_of_the_spec_is_followed() {
    RUNTIME.block_on(async {
        let world = World::new("diff-away", &FILES[1..2]).await;
        let spec = json!({"kubeConfig": {"secretRef": {"name": "away"}}});
        world.kustomization(spec, &[]).await;
        let error = world.diff("").await.fails(2);
        assert!(error.contains("kubeconfig secret diff-away/away was not found"), "{error}");
        // The account in it may do nothing, which proves whom the API server was asked as.
        let kubeconfig = nave_bed::eventually(std::time::Duration::from_secs(30), "a token of the default account", || {
            world.plane.service_account_kubeconfig(world.namespace, "default")
        })
        .await
        .expect("a token");
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "away", "namespace": world.namespace},
            "stringData": {"value": kubeconfig}});
        put(&world.client, "secrets", object).await;
        let error = world.diff("").await.fails(2);
        assert!(error.contains("system:serviceaccount:diff-away:default"), "{error}");
    });
}

#[test]
fn immutable_fields_are_told_with_and_without_force() {
    RUNTIME.block_on(async {
        let file = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fixed}\nimmutable: true\ndata: {a: '2'}\n";
        let world = World::new("diff-fixed", &[("app/fixed.yaml", file)]).await;
        let mut fixed = config("fixed", json!({"a": "1"}));
        fixed["immutable"] = json!(true);
        let id = world.applied("configmaps", fixed).await;
        world.kustomization(json!({}), &[id]).await;
        let error = world.diff("").await.fails(2);
        assert!(error.contains("spec.force"), "{error}");
        let api = api(
            &world.client,
            "kustomize.toolkit.fluxcd.io/v1",
            "Kustomization",
            "kustomizations",
            world.namespace,
        );
        api.patch(
            "app",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"force": true}})),
        )
        .await
        .expect("a Kustomization");
        let text = world.diff("").await.differs();
        assert!(
            text.contains("fixed drifted\n  an immutable field changes: it is deleted and created again\n"),
            "{text}"
        );
    });
}

#[test]
fn a_cluster_that_does_not_answer_ends_with_2() {
    let files = Files::new(FILES);
    let kubeconfig = PathBuf::from(files.path("kubeconfig"));
    files.write(
        "kubeconfig",
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n\
         clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {}}]\n",
    );
    let path = files.path("app");
    let error = RUNTIME
        .block_on(nave(Some(&kubeconfig), &["diff", "ks", "app", "--path", &path]))
        .fails(2);
    assert!(error.contains("refused") && error.contains("hint: "), "{error}");
}

#[test]
fn what_is_odd_is_said_and_the_rest_is_compared() {
    RUNTIME.block_on(async {
        let file = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: same}\ndata: {a: '1', b: '1'}\n";
        let world = World::new("diff-odd", &[("app/same.yaml", file)]).await;
        let same = world
            .applied("configmaps", config("same", json!({"a": "2", "b": "1"})))
            .await;
        let ignore = json!({"ignore": [{"paths": ["/data/a"]}]});
        world
            .kustomization(ignore, &[same.clone(), "nonsense".to_owned()])
            .await;
        let outcome = world.diff("").await;
        assert!(
            outcome
                .stderr
                .contains("⚠️ the inventory entry \"nonsense\" cannot be read"),
            "{}",
            outcome.stderr
        );
        assert_eq!(outcome.ok(), "", "what is ignored is no difference");
        world
            .kustomization(json!({"ignore": null}), std::slice::from_ref(&same))
            .await;
        let text = world.diff("").await.differs();
        assert!(text.contains("ConfigMap/diff-odd/same drifted\n"), "{text}");
    });
}

#[test]
fn a_config_map_of_the_spec_that_names_a_cluster_is_followed() {
    RUNTIME.block_on(async {
        let world = World::new("diff-cluster", &FILES[1..2]).await;
        let spec = json!({"kubeConfig": {"configMapRef": {"name": "far"}}});
        world.kustomization(spec, &[]).await;
        let error = world.diff("").await.fails(2);
        assert!(error.contains("spec.kubeConfig.configMapRef"), "{error}");
        assert!(error.contains("ConfigMap diff-cluster/far was not found"), "{error}");
        let set = async |data: Value| {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "far", "namespace": world.namespace}, "data": data});
            put(&world.client, "configmaps", object).await;
        };
        let kubeconfig = nave_object::yaml::read_documents(&world.plane.kubeconfig(), nave_object::yaml::Dialect::K8s)
            .expect("a kubeconfig")
            .remove(0);
        let ca = kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]
            .as_str()
            .expect("its certificates");
        let ca = base64::engine::general_purpose::STANDARD.decode(ca).expect("base64");
        let mut data = json!({"provider": "generic", "address": world.plane.url(),
            "ca.crt": String::from_utf8(ca).expect("PEM"), "audiences": "https://kubernetes.default.svc.cluster.local"});
        // Whoever runs the command is a person here, of whom there are no tokens to be had.
        set(data.clone()).await;
        let error = world.diff("").await.fails(2);
        assert!(error.contains("and no service account"), "{error}");
        data["serviceAccountName"] = json!("default");
        set(data).await;
        // The account may do nothing, which proves whom the API server was asked as.
        let error = world.diff("").await.fails(2);
        assert!(error.contains("system:serviceaccount:diff-cluster:default"), "{error}");
    });
}
