//! Other clusters by kubeconfig. The plane plays both: what is applied by kubeconfig stands in it like everything else.

use anyhow::{Context, Result, ensure};
use nave_bed::eventually;
use serde_json::json;

use crate::stage::{DEADLINE, Stage, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubeconfigs_that_cannot_work_say_why_and_good_ones_work() -> Result<()> {
    let stage = Stage::start("remote").await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage
        .apply(
            "app",
            json!({"kubeConfig": {"secretRef": {"name": "k"}}, "retryInterval": "1s"}),
        )
        .await?;
    let says = async |part: String| {
        eventually(DEADLINE, &format!("the message says {part}"), || async {
            let message = stage.failed("app", "ReconciliationFailed").await?;
            ensure!(message.contains(&part), "{message}");
            ensure!(!message.contains("CANARY"), "{message}");
            Ok(())
        })
        .await
    };
    says(format!("kubeconfig secret {ns}/k was not found")).await?;
    stage.secret("k", &[("other", "x".into())]).await?;
    says("has no key \"value\"".into()).await?;
    stage.secret("k", &[("value", "CANARY: [".into())]).await?;
    says("is not valid YAML".into()).await?;
    let made = |server: &str, user: &str| {
        format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nclusters: [{{name: k, cluster: {{server: '{server}'}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\n"
        )
    };
    stage
        .secret(
            "k",
            &[("value", made("https://example.com", "exec: {command: CANARY}"))],
        )
        .await?;
    says("users[].user.exec is refused".into()).await?;
    let port = nave_bed::free_tcp_port()?;
    stage
        .secret(
            "k",
            &[("value", made(&format!("https://127.0.0.1:{port}"), "token: CANARY"))],
        )
        .await?;
    says("onnect".into()).await?; // refused connection
    let unprivileged = stage.plane.service_account_kubeconfig(&ns, "default").await?;
    stage.secret("k", &[("value", unprivileged)]).await?;
    says("Forbidden".into()).await?;
    assert!(stage.config("a").await?.is_none());
    stage.secret("k", &[("value", stage.plane.kubeconfig())]).await?;
    stage.ready("app", "1").await?;
    assert_eq!(stage.config("a").await?.context("it is there")?["value"], "1");
    stage.delete("app").await?;
    stage.gone("app").await?;
    assert!(stage.config("a").await?.is_none());
    stage.stop().await
}
