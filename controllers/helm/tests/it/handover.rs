//! Promise: a release that Flux made is taken over without a write to anything of it, and given back the same way.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use nave_release::{Release, config_digest, snapshot_digest};
use serde_json::{Map, Value, json};

use crate::{
    charts::{config, deployment},
    interop::Helm,
    stage::Stage,
};

/// UID, resource version and managed fields by kind and name.
type Traces = BTreeMap<String, (Option<String>, Option<String>, String)>;

/// The chart, with the labels that Flux puts on every object.
fn files(stage: &Stage, value: &str) -> Vec<(&'static str, String)> {
    let labels = format!(
        "metadata:\n  labels:\n    helm.toolkit.fluxcd.io/name: shop\n    helm.toolkit.fluxcd.io/namespace: {}\n",
        stage.namespace
    );
    let labelled = |text: String| text.replacen("metadata:\n", &labels, 1);
    vec![
        ("templates/a.yaml", labelled(config("a", value, ""))),
        (
            "templates/greeting.yaml",
            labelled(config("greeting", "{{ .Values.greeting }} {{ .Values.who }}", "")),
        ),
        ("templates/web.yaml", labelled(deployment("web", ""))),
    ]
}

/// Everything that belongs to the release, the records of its versions too. A Deployment counts without what its own
/// controller writes.
async fn traces(stage: &Stage) -> Result<Traces> {
    let ns = &stage.namespace;
    let all = ListParams::default();
    let mut traces = Traces::new();
    for one in Api::<Secret>::namespaced(stage.client.clone(), ns)
        .list(&all)
        .await?
        .items
    {
        traces.insert(format!("Secret/{}", one.name_any()), trace(&one)?);
    }
    for name in ["a", "greeting"] {
        let one = stage.config(name).await?.context("it is there")?;
        traces.insert(format!("ConfigMap/{name}"), trace::<ConfigMap>(&one)?);
    }
    let mut web = Api::<Deployment>::namespaced(stage.client.clone(), ns)
        .get("web")
        .await?;
    web.metadata.resource_version = web.metadata.generation.map(|generation| generation.to_string());
    let fields = web.metadata.managed_fields.iter_mut().flatten();
    let fields = fields
        .filter(|entry| entry.subresource.is_none())
        .map(|entry| entry.clone());
    web.metadata.managed_fields = Some(fields.collect());
    traces.insert("Deployment/web".to_owned(), trace(&web)?);
    Ok(traces)
}

fn trace<K: ResourceExt>(object: &K) -> Result<(Option<String>, Option<String>, String)> {
    let fields = serde_json::to_string(object.managed_fields())?;
    Ok((object.uid(), object.resource_version(), fields))
}

/// The finalizer and the status that Flux leaves of a release which it has just installed.
async fn flux_reports(stage: &Stage, release: &Release, values: &Map<String, Value>) -> Result<()> {
    let ns = &stage.namespace;
    let manager = PatchParams {
        field_manager: Some("helm-controller".to_owned()),
        ..PatchParams::default()
    };
    let finalizers = json!({"metadata": {"finalizers": ["finalizers.fluxcd.io"]}});
    stage
        .releases()
        .patch("shop", &manager, &Patch::Merge(finalizers))
        .await?;
    let time = "2026-01-01T00:00:00Z";
    let message = format!("Helm install succeeded for release {ns}/shop.v1 with chart shop@1.0.0");
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "InstallSucceeded", "message": message,
            "observedGeneration": 1, "lastTransitionTime": time})
    };
    let snapshot = json!({"apiVersion": "v2", "digest": snapshot_digest(release, ""), "name": "shop", "namespace": ns,
        "version": 1, "status": "deployed", "action": "install", "chartName": "shop", "chartVersion": "1.0.0", "appVersion": "7",
        "configDigest": config_digest(values), "firstDeployed": time, "lastDeployed": time});
    let ids = ["a__ConfigMap", "greeting__ConfigMap", "web_apps_Deployment"];
    let entries = ids.map(|id| json!({"id": format!("{ns}_{id}"), "v": "v1"})).to_vec();
    let status = json!({"status": {
        "observedGeneration": 1, "lastAttemptedGeneration": 1, "lastAttemptedRevision": "1.0.0",
        "lastAttemptedConfigDigest": config_digest(values), "lastAttemptedReleaseAction": "install",
        "lastHandledReconcileAt": "before", "storageNamespace": ns, "conditions": [condition("Ready"), condition("Released")],
        "history": [snapshot], "inventory": {"entries": entries},
    }});
    stage
        .releases()
        .patch_status("shop", &manager, &Patch::Merge(status))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handover_of_a_release_and_back_writes_nothing_of_it() -> Result<()> {
    let mut stage = Stage::idle("handover", "http://127.0.0.1:1").await?;
    // Flux's controller is Helm's library under a name of its own.
    let flux = Helm::writing_as(&stage, "helm-controller").await?;
    let first = flux.chart("1.0.0", &files(&stage, "1"))?;
    flux.run(&["install", "shop", &first, "--server-side=true", "--set", "who=me"])
        .await?;
    stage.publish("1.0.0", &files(&stage, "1")).await?;
    let values = json!({"who": "me"});
    stage
        .apply(json!({"values": values, "driftDetection": {"mode": "enabled"}}))
        .await?;
    let release = stage.stored().await?.pop().context("a release")?;
    flux_reports(&stage, &release, values.as_object().context("a map")?).await?;
    let before = traces(&stage).await?;
    assert_eq!(before.len(), 4, "{before:?}");
    assert!(before["ConfigMap/a"].2.contains("\"helm-controller\""), "{before:?}");
    let history = stage.status().await?.history;

    stage.run();
    stage.request("now", &[]).await?;
    assert_eq!(traces(&stage).await?, before, "something of the release was written");
    let status = stage.ready("1.0.0").await?;
    assert_eq!(status.history, history);
    assert_eq!(stage.versions().await?, ["1:deployed"]);

    // It is given back: the record is the one that the status names, and the finalizer is the same one.
    stage.halt().await?;
    let release = stage.stored().await?.pop().context("a release")?;
    assert_eq!(snapshot_digest(&release, ""), status.history[0].digest);
    let object = stage.releases().get("shop").await?;
    assert_eq!(
        object.metadata.finalizers,
        Some(vec!["finalizers.fluxcd.io".to_owned()])
    );

    // What we upgrade meanwhile, Flux goes on with: no field is in dispute, nothing is made anew.
    stage.publish("1.1.0", &files(&stage, "2")).await?;
    stage.run();
    stage.ready("1.1.0").await?;
    stage.halt().await?;
    let next = flux.chart("1.2.0", &files(&stage, "3"))?;
    flux.run(&["upgrade", "shop", &next, "--server-side=true", "--reuse-values"])
        .await?;
    assert_eq!(
        flux.history().await?,
        [
            "1:superseded:shop-1.0.0",
            "2:superseded:shop-1.1.0",
            "3:deployed:shop-1.2.0"
        ]
    );
    assert_eq!(stage.value("a").await?.as_deref(), Some("3"));
    let after = traces(&stage).await?;
    for (name, (uid, _, _)) in &before {
        assert_eq!(&after[name].0, uid, "{name} was made anew");
    }
    stage.stop().await
}
