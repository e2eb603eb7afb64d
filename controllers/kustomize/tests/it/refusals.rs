//! What cannot work says so, by object and field.

use anyhow::Result;
use nave_runtime::Conditions;
use serde_json::{Value, json};

use crate::stage::{Setup, Stage, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_this_version_does_not_do_stalls() -> Result<()> {
    let mut setup = Setup::default();
    setup.options.no_cross_namespace_refs = true;
    let stage = Stage::start_with("stalls", setup).await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("a/a.yaml", config(&ns, "a", "1"))]).await?;
    let cases: [(&str, Value, &str, &str); 3] = [
        (
            "sops",
            json!({"decryption": {"provider": "sops", "serviceAccountName": "kms"}}),
            "FeatureGateDisabled",
            "spec.decryption.serviceAccountName",
        ),
        (
            "cross",
            json!({"sourceRef": {"kind": "GitRepository", "name": "source", "namespace": "default"}}),
            "AccessDenied",
            "GitRepository/default/source",
        ),
        (
            "ignore",
            json!({"path": "./a", "ignore": [{"paths": ["spec"]}]}),
            "BuildFailed",
            "spec.ignore[0].paths[0]",
        ),
    ];
    for (name, spec, _, _) in &cases {
        stage.apply(name, spec.clone()).await?;
    }
    for (name, _, reason, part) in &cases {
        let message = stage.failed(name, reason).await?;
        assert!(message.contains(part), "{name}: {message}");
        let status = stage.status(name).await?;
        assert!(
            status.conditions.is_true("Stalled") && status.conditions.get_condition("Reconciling").is_none(),
            "{status:?}"
        );
    }
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn external_artifacts_need_their_gate() -> Result<()> {
    let mut setup = Setup::default();
    setup.options.gates.external_artifact = false;
    let stage = Stage::start_with("gate", setup).await?;
    let ns = stage.namespace.clone();
    stage
        .apply(
            "app",
            json!({"sourceRef": {"kind": "ExternalArtifact", "name": "made"}}),
        )
        .await?;
    let message = stage.failed("app", "AccessDenied").await?;
    assert_eq!(
        message,
        format!("can't access 'ExternalArtifact/{ns}/made', ExternalArtifact feature gate is disabled")
    );
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_is_attempted_once_its_path_is_there() -> Result<()> {
    let stage = Stage::start("attempted").await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    let cluster = json!({"kubeConfig": {"secretRef": {"name": "nowhere"}}});
    stage.apply("app", cluster.clone()).await?;
    stage.failed("app", "ReconciliationFailed").await?;
    assert_eq!(stage.status("app").await?.last_attempted_revision, "main@sha1:1");
    // What is wrong with the artifact is said before what is wrong with the cluster.
    stage.apply("missing", cluster).await?;
    let message = stage.failed("missing", "ArtifactFailed").await?;
    assert!(message.contains("path not found"), "{message}");
    assert_eq!(stage.status("missing").await?.last_attempted_revision, "");
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_named_and_comes_later() -> Result<()> {
    let stage = Stage::start("missing").await?;
    let ns = stage.namespace.clone();
    stage.apply("late", json!({})).await?;
    let message = stage.failed("late", "ArtifactFailed").await?;
    assert_eq!(message, format!("Source 'GitRepository/{ns}/source' not found"));
    let waits = stage.status("late").await?.conditions;
    assert!(waits.get_condition("Reconciling").is_none(), "{waits:?}");
    stage.publish("1", &[("other/a.yaml", config(&ns, "a", "1"))]).await?;
    let message = nave_bed::eventually(crate::stage::DEADLINE, "the missing path is named", || async {
        let message = stage.failed("late", "ArtifactFailed").await?;
        anyhow::ensure!(message.contains("path"), "{message}");
        Ok(message)
    })
    .await?;
    assert!(message.contains("\"late\""), "{message}");
    stage.publish("2", &[("late/a.yaml", config(&ns, "a", "2"))]).await?;
    stage.ready("late", "2").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_rights_is_denied() -> Result<()> {
    let stage = Stage::start("tenant").await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage.apply("app", json!({"serviceAccountName": "default"})).await?;
    let message = stage.failed("app", "ReconciliationFailed").await?;
    assert!(
        message.contains(&format!("system:serviceaccount:{ns}:default")),
        "{message}"
    );
    assert!(stage.config("a").await?.is_none());
    let plain = stage.apply("app", json!({"interval": "1h"})).await;
    plain?;
    stage.ready("app", "1").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_shows_no_value_of_a_secret() -> Result<()> {
    let stage = Stage::start("hidden").await?;
    let ns = stage.namespace.clone();
    stage
        .secret("variables", &[("password", "not a label".to_owned())])
        .await?;
    let labelled = config(&ns, "a", "1").replace("metadata:\n", "metadata:\n  labels: {password: \"${password}\"}\n");
    stage.publish("1", &[("app/a.yaml", labelled)]).await?;
    let from = json!({"substituteFrom": [{"kind": "Secret", "name": "variables"}]});
    stage.apply("app", json!({"postBuild": from})).await?;
    let message = stage.failed("app", "ReconciliationFailed").await?;
    assert!(
        message.contains("Invalid value: \"*****\"") && !message.contains("not a label"),
        "{message}"
    );
    let status = stage.status("app").await?;
    assert!(status.inventory.is_none(), "nothing was applied: {status:?}");
    let reconciling = status.conditions.get_condition("Reconciling");
    assert_eq!(
        reconciling.map(|found| found.message.as_str()),
        Some("Detecting drift for revision main@sha1:1 with a timeout of 1m0s")
    );
    stage.stop().await
}
