//! Running the program, and a cluster to run it against.

use std::{path::Path, process::Stdio, sync::LazyLock};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use nave_bed::{Plane, PlaneOptions};
use serde_json::{Value, json};
use tokio::{process::Command, runtime::Runtime, sync::OnceCell};

/// All tests share one runtime: the planes live in it, and they outlive each single test.
pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("threads"));

/// The plane for tests that only touch namespaces of their own.
pub async fn shared() -> &'static Plane {
    static SHARED: OnceCell<Plane> = OnceCell::const_new();
    let start = async {
        let options = PlaneOptions {
            audit: true,
            ..PlaneOptions::named("cli")
        };
        let plane = Plane::start(options).await.expect("a control plane");
        install_definitions(&plane.client()).await;
        plane
    };
    SHARED.get_or_init(|| start).await
}

/// What the program did.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Its standard output, provided that it succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }

    /// Its standard error, provided that it failed with this code and printed nothing else.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stderr
    }
}

/// Runs the program with nothing of the caller's environment that could change what it does.
pub async fn nave(kubeconfig: Option<&Path>, line: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nave"));
    command
        .args(line)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .env_remove("KUBERNETES_SERVICE_HOST");
    for variable in [
        "KUBECONFIG",
        "FLUX_SYSTEM_NAMESPACE",
        "NAVE_WORKSPACE",
        "FLUX_NS_FOLLOWS_KUBE_CONTEXT",
    ] {
        command.env_remove(variable);
    }
    command.env("HOME", "/nonexistent");
    if let Some(kubeconfig) = kubeconfig {
        command.env("KUBECONFIG", kubeconfig);
    }
    let output = command.output().await.expect("the program was built with this test");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Runs the program against a plane; blanks separate arguments.
pub async fn on(plane: &Plane, line: &str) -> Outcome {
    let words: Vec<&str> = line.split_whitespace().collect();
    nave(Some(plane.kubeconfig_path()), &words).await
}

/// Files in a folder that goes with the test.
pub struct Files(tempfile::TempDir);

impl Files {
    pub fn new(files: &[(&str, &str)]) -> Files {
        let folder = Files(tempfile::tempdir().expect("a folder"));
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("text").to_owned()
    }
}

/// Objects of a kind in a namespace.
pub fn api(client: &Client, api_version: &str, kind: &str, plural: &str, namespace: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    Api::namespaced_with(client.clone(), namespace, &resource)
}

pub fn kustomizations(client: &Client, namespace: &str) -> Api<DynamicObject> {
    api(
        client,
        "kustomize.toolkit.fluxcd.io/v1",
        "Kustomization",
        "kustomizations",
        namespace,
    )
}

pub fn clusters(client: &Client, namespace: &str) -> Api<DynamicObject> {
    api(client, "fleet.nave.dev/v1alpha1", "Cluster", "clusters", namespace)
}

/// Creates a namespace.
pub async fn namespace(client: &Client, name: &str) {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Namespace"), "namespaces");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    api.patch(name, &PatchParams::apply("test"), &Patch::Apply(&object))
        .await
        .expect("a namespace");
}

/// Writes an object, and its status when it has one.
pub async fn put(client: &Client, plural: &str, object: Value) -> DynamicObject {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (api_version, kind) = (text("/apiVersion"), text("/kind"));
    let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
    let api = api(client, &api_version, &kind, plural, &namespace);
    let params = PatchParams::apply("test").force();
    let mut without_status = object.clone();
    let status = without_status
        .as_object_mut()
        .and_then(|fields| fields.remove("status"));
    let mut written = api
        .patch(&name, &params, &Patch::Apply(&without_status))
        .await
        .unwrap_or_else(|error| panic!("{kind} {namespace}/{name}: {error}"));
    if let Some(status) = status {
        let patch = json!({"status": status});
        written = api
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap_or_else(|error| panic!("status of {kind} {namespace}/{name}: {error}"));
    }
    written
}

/// A condition as controllers write it.
pub fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-21T07:00:00Z", "observedGeneration": 1
    })
}

/// The definitions of every kind, established.
pub async fn install_definitions(client: &Client) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    use kube::{ResourceExt, runtime::wait};
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in nave_crds::all() {
        let name = definition.name_any();
        api.patch(&name, &PatchParams::apply("test"), &Patch::Apply(&definition))
            .await
            .expect("a definition");
        wait::await_condition(api.clone(), &name, wait::conditions::is_crd_established())
            .await
            .expect("established");
    }
}
