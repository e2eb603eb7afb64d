//! Promise: what Flux applied is taken over without a write to any managed object, and given back the same way.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use nave_bed::eventually;
use nave_object::{Gvk, digest};
use nave_runtime::Conditions;
use nave_targets::{ApplyMode, KubeconfigPolicy, Resource, Targets};
use serde_json::{Value, json};

use crate::stage::{DEADLINE, Setup, Stage};

/// Namespace, name and UID; resource version; managed fields.
type Traces = BTreeMap<String, (String, String, Value)>;

/// What `kustomize build` makes of the source, which is what Flux takes the digest of.
fn built(ns: &str) -> String {
    [
        "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: web\n  namespace: NS\n",
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: widgets.NS.example.com\nspec:\n  group: NS.example.com\n  names:\n    kind: Widget\n    plural: widgets\n  scope: Namespaced\n  versions:\n  - name: v1\n    schema:\n      openAPIV3Schema:\n        type: object\n        x-kubernetes-preserve-unknown-fields: true\n    served: true\n    storage: true\n",
        "apiVersion: NS.example.com/v1\nkind: Widget\nmetadata:\n  name: one\n  namespace: NS\nspec:\n  size: 1\n",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: shop:web\n  namespace: NS\nrules:\n- apiGroups:\n  - \"\"\n  resources:\n  - configmaps\n  verbs:\n  - get\n",
        "apiVersion: v1\ndata:\n  switch: \"on\"\n  value: \"1\"\nkind: ConfigMap\nmetadata:\n  name: settings\n  namespace: NS\n",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: login\n  namespace: NS\nstringData:\n  user: admin\ntype: Opaque\n",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: NS\nspec:\n  ports:\n  - name: http\n    port: 80\n  selector:\n    app: web\n",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: NS\nspec:\n  replicas: 0\n  selector:\n    matchLabels:\n      app: web\n  template:\n    metadata:\n      labels:\n        app: web\n    spec:\n      containers:\n      - image: example.com/app:1\n        name: app\n        ports:\n        - containerPort: 80\n",
    ]
    .join("---\n")
    .replace("NS", ns)
}

/// Objects as Flux sends them: with its labels, ports with a protocol, and Secrets with data.
fn as_flux_sends_them(ns: &str) -> Result<Vec<Value>> {
    let labels = json!({"kustomize.toolkit.fluxcd.io/name": "app", "kustomize.toolkit.fluxcd.io/namespace": ns});
    let mut objects = nave_object::yaml::read_documents(&built(ns), nave_object::yaml::Dialect::K8s)?;
    for object in &mut objects {
        object["metadata"]["labels"] = labels.clone();
        match object["kind"].as_str().context("a kind")? {
            "Secret" => {
                object.as_object_mut().context("a map")?.remove("stringData");
                object["data"] = json!({"user": "YWRtaW4="});
            }
            "Service" => object["spec"]["ports"][0]["protocol"] = json!("TCP"),
            "Deployment" => {
                object["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"] = json!("TCP");
            }
            _ => {}
        }
    }
    Ok(objects)
}

fn targets(stage: &Stage) -> Targets {
    Targets::new(stage.client.clone(), KubeconfigPolicy::default())
}

/// The kind of an object, once it is served: definitions come before what they define.
async fn resource_of(stage: &Stage, object: &Value) -> Result<Resource> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let gvk = Gvk::new(text("apiVersion"), text("kind"));
    eventually(DEADLINE, &format!("{gvk} is served"), || async {
        Ok(targets(stage).local(None)?.resolve(&gvk).await?)
    })
    .await
}

/// Its namespace, empty for what has none, and its name.
fn place_of(object: &Value) -> (&str, &str) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    (text("namespace"), text("name"))
}

/// Applies everything as Flux's controller does, and gives back the traces.
async fn flux_applies(stage: &Stage) -> Result<Traces> {
    let target = targets(stage).local(None)?;
    for object in as_flux_sends_them(&stage.namespace)? {
        let resource = resource_of(stage, &object).await?;
        let (namespace, name) = place_of(&object);
        let manager = "kustomize-controller";
        target
            .apply(&resource, namespace, name, manager, &object, ApplyMode::Write)
            .await?;
    }
    traces(stage).await
}

/// Managed objects as they are, once the cluster's own controllers have nothing to add.
async fn traces(stage: &Stage) -> Result<Traces> {
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> =
        Api::namespaced(stage.client.clone(), &stage.namespace);
    if stage.plane.has_workloads() {
        eventually(DEADLINE, "the Deployment is at rest", || async {
            let web = deployments.get("web").await?;
            let seen = web.status.and_then(|status| status.observed_generation);
            ensure!(seen == web.metadata.generation, "not yet");
            Ok(())
        })
        .await?;
    }
    let target = targets(stage).local(None)?;
    let mut traces = Traces::new();
    for object in as_flux_sends_them(&stage.namespace)? {
        let resource = resource_of(stage, &object).await?;
        let (namespace, name) = place_of(&object);
        let Some(live) = target.get(&resource, namespace, name).await? else {
            continue;
        };
        let part = |field: &str| live["metadata"][field].as_str().unwrap_or_default().to_owned();
        let trace = (
            part("uid"),
            part("resourceVersion"),
            live["metadata"]["managedFields"].clone(),
        );
        let kind = object["kind"].as_str().unwrap_or_default();
        traces.insert(format!("{kind}/{name}"), trace);
    }
    Ok(traces)
}

/// As Flux writes it.
fn entry(digest: &str, status: &str, total: u32, took: &str) -> Value {
    let time = "2026-01-01T00:00:00Z";
    json!({"digest": digest, "firstReconciled": time, "lastReconciled": time, "lastReconciledDuration": took,
        "lastReconciledStatus": status, "totalReconciliations": total, "metadata": {"revision": "main@sha1:1"}})
}

/// As Flux writes it: in the order in which it applies.
fn inventory(ns: &str) -> Value {
    let ids = [
        format!("_widgets.{ns}.example.com_apiextensions.k8s.io_CustomResourceDefinition"),
        format!("{ns}_web__ServiceAccount"),
        format!("{ns}_shop__web_rbac.authorization.k8s.io_Role"),
        format!("{ns}_settings__ConfigMap"),
        format!("{ns}_login__Secret"),
        format!("{ns}_web__Service"),
        format!("{ns}_web_apps_Deployment"),
        format!("{ns}_one_{ns}.example.com_Widget"),
    ];
    ids.map(|id| json!({"id": id, "v": "v1"})).to_vec().into()
}

/// Somebody edits an object by hand under the name that Flux keeps its hands off.
async fn edit_by_hand(stage: &Stage) -> Result<()> {
    let api: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let manager = PatchParams {
        field_manager: Some("flux-client-side-apply".to_owned()),
        ..PatchParams::default()
    };
    let edit = json!({"metadata": {"annotations": {"note": "mine"}}, "data": {"extra": "1"}});
    api.patch("settings", &manager, &Patch::Merge(edit)).await?;
    Ok(())
}

/// Who has written the status of the Kustomization.
async fn status_managers(stage: &Stage) -> Result<Vec<String>> {
    let fields = stage.kustomizations().get("app").await?.metadata.managed_fields;
    let fields = fields.into_iter().flatten();
    Ok(fields
        .filter(|entry| entry.subresource.as_deref() == Some("status"))
        .filter_map(|entry| entry.manager)
        .collect())
}

/// The Kustomization with its finalizer and the status that Flux wrote.
async fn flux_reports(stage: &Stage, digest: &str) -> Result<()> {
    let ns = &stage.namespace;
    stage.apply("app", json!({})).await?;
    let api: Api<DynamicObject> = Api::namespaced_with(
        stage.client.clone(),
        ns,
        &kube::api::ApiResource::erase::<nave_crds::Kustomization>(&()),
    );
    let flux = |manager: &str| PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    let finalizers = json!({"metadata": {"finalizers": ["finalizers.fluxcd.io"]}});
    api.patch("app", &flux("kustomize-controller"), &Patch::Merge(finalizers))
        .await?;
    let time = "2026-01-01T00:00:00Z";
    let status = json!({"status": {
        "observedGeneration": 1, "lastAppliedRevision": "main@sha1:1", "lastAttemptedRevision": "main@sha1:1",
        "lastHandledReconcileAt": "before",
        "conditions": [{"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded",
            "message": "Applied revision: main@sha1:1", "observedGeneration": 1, "lastTransitionTime": time}],
        "history": [
            entry(digest, "ReconciliationSucceeded", 7, "120.5ms"),
            entry(&"sha256:1".repeat(3), "HealthCheckFailed", 2, "1m30.00025s"),
            entry(&"sha256:0".repeat(3), "ReconciliationSucceeded", 40, "2.1s"),
        ],
        "inventory": {"entries": inventory(ns)},
    }});
    let manager = flux("gotk-kustomize-controller");
    api.patch_status("app", &manager, &Patch::Merge(status)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handover_from_flux_and_back_writes_no_managed_object() -> Result<()> {
    let mut stage = Stage::idle("handover").await?;
    let ns = stage.namespace.clone();
    let files = [("app/all.yaml", built(&ns))];
    stage.publish("1", &files).await?;
    flux_reports(&stage, &digest::sha256(built(&ns))).await?;
    flux_applies(&stage).await?;
    edit_by_hand(&stage).await?;
    // Whatever the cluster's controllers add comes before Flux's last look as well.
    let before = flux_applies(&stage).await?;
    assert_eq!(before.len(), 8);
    let older = stage.status("app").await?.history.split_off(1);

    stage.run(Setup::default());
    eventually(DEADLINE, "the first reconcile counts on Flux's history", || async {
        let history = stage.status("app").await?.history;
        let newest = history.first().context("an entry")?;
        ensure!(newest.total_reconciliations == 8, "{history:?}");
        ensure!(history[1..] == older, "{history:?}");
        Ok(())
    })
    .await?;
    stage
        .annotate("app", json!({"reconcile.fluxcd.io/requestedAt": "now"}))
        .await?;
    eventually(DEADLINE, "the request is handled", || async {
        ensure!(stage.status("app").await?.last_handled_reconcile_at == "now", "not yet");
        Ok(())
    })
    .await?;
    assert_eq!(traces(&stage).await?, before, "an object was written");
    let status = stage.ready("app", "1").await?;
    let mut entries = status.inventory.context("an inventory")?.entries;
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    let mut wanted: Vec<nave_crds::kustomize::ResourceRef> = serde_json::from_value(inventory(&ns))?;
    wanted.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(entries, wanted);
    assert_eq!(status.history[1..], older);
    assert_eq!(status_managers(&stage).await?, ["gotk-kustomize-controller"]);
    assert_eq!(status.conditions.reason_of("Ready"), Some("ReconciliationSucceeded"));

    // It is given back: Flux's own apply finds nothing to do, and the finalizer is the same one.
    stage.pause().await?;
    assert_eq!(flux_applies(&stage).await?, before, "Flux had something to write");
    let finalizers = stage.kustomizations().get("app").await?.metadata.finalizers;
    assert_eq!(finalizers, Some(vec!["finalizers.fluxcd.io".to_owned()]));

    // What Flux applied and Git does not have any more is pruned.
    stage.run(Setup::default());
    let less = built(&ns).split_once("---\n").context("several")?.1.to_owned();
    stage.publish("2", &[("app/all.yaml", less)]).await?;
    stage.ready("app", "2").await?;
    let after = traces(&stage).await?;
    let gone: Vec<&String> = before.keys().filter(|name| !after.contains_key(*name)).collect();
    assert_eq!(gone, ["ServiceAccount/web"]);
    assert!(
        after.iter().all(|(name, trace)| before.get(name) == Some(trace)),
        "an object was written"
    );
    stage.stop().await
}
