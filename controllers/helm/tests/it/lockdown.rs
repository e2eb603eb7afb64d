//! Whose rights a release has, and what becomes of it when the way to its cluster is gone.

use anyhow::{Context, Result};
use k8s_openapi::api::{
    core::v1::{Secret, ServiceAccount},
    rbac::v1::RoleBinding,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    charts::config,
    stage::{Stage, options},
};

fn files() -> [(&'static str, String); 1] {
    [("templates/a.yaml", config("a", "1", ""))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_release_is_left_alone_even_when_it_is_deleted() -> Result<()> {
    let stage = Stage::start("suspended").await?;
    stage.publish("1.0.0", &files()).await?;
    stage.apply(json!({})).await?;
    stage.ready("1.0.0").await?;
    stage.apply(json!({"suspend": true, "values": {"more": 1}})).await?;
    stage
        .publish("1.0.1", &[("templates/a.yaml", config("a", "2", ""))])
        .await?;
    stage.delete().await?;
    assert_eq!(stage.versions().await?, ["1:deployed"]);
    assert_eq!(stage.value("a").await?.as_deref(), Some("1"));
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_of_other_namespaces_are_denied_under_lock_down() -> Result<()> {
    let mut options = options();
    options.no_cross_namespace_refs = true;
    let stage = Stage::start_with("cross", options).await?;
    let reference = json!({"kind": "OCIRepository", "name": "chart", "namespace": "elsewhere"});
    stage.apply(json!({"chartRef": reference})).await?;
    let status = stage.condition("Stalled", "True", "AccessDenied").await?;
    let text = format!("{status:?}");
    let words = "cross-namespace references are not allowed: cannot access OCIRepository elsewhere/chart";
    assert!(text.contains(words), "{text}");
    stage
        .apply_spec(
            "shop",
            json!({"interval": "1h", "chart": {"spec": {"chart": "shop",
                "sourceRef": {"kind": "HelmRepository", "name": "charts", "namespace": "elsewhere"}}}}),
        )
        .await?;
    stage
        .failed("AccessDenied", "cannot access HelmRepository elsewhere/charts")
        .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_may_do_what_its_service_account_may() -> Result<()> {
    let mut options = options();
    options.default_service_account = "default".to_owned();
    let stage = Stage::start_with("account", options).await?;
    let namespace = stage.namespace.clone();
    stage.publish("1.0.0", &files()).await?;
    stage.apply(json!({})).await?;
    let user = format!("system:serviceaccount:{namespace}:default");
    eventually_forbidden(&stage, &user).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.client.clone(), &namespace);
    let account = serde_json::from_value(json!({"metadata": {"name": "deployer"}}))?;
    accounts.create(&PostParams::default(), &account).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(stage.client.clone(), &namespace);
    let binding = serde_json::from_value(json!({"metadata": {"name": "deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}]}))?;
    bindings.create(&PostParams::default(), &binding).await?;
    stage.apply(json!({"serviceAccountName": "deployer"})).await?;
    stage.ready("1.0.0").await?;
    // Without the account nothing can be uninstalled, and the object does not wait for it.
    accounts.delete("deployer", &DeleteParams::default()).await?;
    stage.delete().await?;
    assert_eq!(stage.versions().await?, ["1:deployed"]);
    assert_eq!(stage.value("a").await?.as_deref(), Some("1"));
    stage.stop().await
}

async fn eventually_forbidden(stage: &Stage, user: &str) -> Result<()> {
    nave_bed::eventually(crate::stage::DEADLINE, "it is forbidden", || async {
        let text = format!("{:?}", stage.status().await?.conditions);
        anyhow::ensure!(text.contains("forbidden") && text.contains(user), "{text}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_gone_does_not_keep_its_release() -> Result<()> {
    let stage = Stage::start("kubeconfig").await?;
    stage.publish("1.0.0", &files()).await?;
    stage
        .apply(json!({"kubeConfig": {"secretRef": {"name": "cluster"}}}))
        .await?;
    stage
        .failed(
            "RESTClientError",
            &format!("secret {}/cluster was not found", stage.namespace),
        )
        .await?;
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cluster"},
        "stringData": {"value": stage.plane.kubeconfig()}});
    secrets
        .patch("cluster", &PatchParams::apply("test"), &Patch::Apply(&secret))
        .await?;
    let status = stage.ready("1.0.0").await?;
    assert_eq!(status.history.first().context("it is released")?.version, 1);
    secrets.delete("cluster", &DeleteParams::default()).await?;
    stage.delete().await?;
    assert_eq!(stage.versions().await?, ["1:deployed"]);
    stage.stop().await
}
