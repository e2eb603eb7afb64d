//! A revision, the next one, and nothing in between.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nave_bed::eventually;
use nave_runtime::Conditions;
use serde_json::json;

use crate::stage::{DEADLINE, Stage, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_is_applied_the_next_one_changes_and_prunes() -> Result<()> {
    let stage = Stage::start("revisions").await?;
    let ns = stage.namespace.clone();
    stage
        .publish(
            "1",
            &[
                ("app/a.yaml", config(&ns, "a", "1")),
                ("app/deep/b.yaml", config(&ns, "b", "1")),
                (
                    "app/kept.yaml",
                    config(&ns, "kept", "1").replace(
                        "metadata:\n",
                        "metadata:\n  annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}\n",
                    ),
                ),
            ],
        )
        .await?;
    stage
        .apply("app", json!({"commonMetadata": {"labels": {"team": "x"}}}))
        .await?;
    let status = stage.ready("app", "1").await?;
    let ids: Vec<String> = status
        .inventory
        .clone()
        .context("an inventory")?
        .entries
        .into_iter()
        .map(|entry| entry.id)
        .collect();
    assert_eq!(ids, ["a", "b", "kept"].map(|name| format!("{ns}_{name}__ConfigMap")));
    assert_eq!(status.conditions.reason_of("Ready"), Some("ReconciliationSucceeded"));
    assert!(
        status.conditions.get_condition("Reconciling").is_none()
            && status.conditions.get_condition("Healthy").is_none()
    );
    assert_eq!(status.history.len(), 1);
    assert!(
        status.history[0].digest.starts_with("sha256:") && status.history[0].total_reconciliations == 1,
        "{:?}",
        status.history
    );
    let object = Api::<ConfigMap>::namespaced(stage.client.clone(), &ns).get("a").await?;
    let labels = object.metadata.labels.context("labels")?;
    assert_eq!(
        labels.get("kustomize.toolkit.fluxcd.io/name").map(String::as_str),
        Some("app")
    );
    assert_eq!(labels.get("team").map(String::as_str), Some("x"));

    stage
        .publish(
            "2",
            &[
                ("app/a.yaml", config(&ns, "a", "2")),
                ("app/c.yaml", config(&ns, "c", "1")),
            ],
        )
        .await?;
    let status = stage.ready("app", "2").await?;
    assert_eq!(status.last_attempted_revision, "main@sha1:2");
    assert_eq!(status.inventory.context("an inventory")?.entries.len(), 2);
    assert_eq!(stage.config("a").await?.context("it is there")?["value"], "2");
    assert!(stage.config("b").await?.is_none());
    eventually(DEADLINE, "events", || async {
        let events = stage.events("app").await?;
        for part in [
            format!("ConfigMap/{ns}/a configured"),
            format!("ConfigMap/{ns}/kept skipped\nConfigMap/{ns}/b deleted"),
            format!("ConfigMap/{ns}/c created"),
            "Reconciliation finished".into(),
        ] {
            ensure!(
                events.iter().any(|event| event.contains(&part)),
                "{part} is not in {events:?}"
            );
        }
        Ok(())
    })
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_new_writes_nothing_but_the_status() -> Result<()> {
    let stage = Stage::start("noop").await?;
    let ns = stage.namespace.clone();
    stage
        .publish(
            "1",
            &[
                ("app/a.yaml", config(&ns, "a", "1")),
                ("fast/b.yaml", config(&ns, "b", "1")),
            ],
        )
        .await?;
    stage.apply("app", json!({})).await?;
    stage.ready("app", "1").await?;
    let Some(audit) = stage
        .plane
        .audit_log()
        .is_some()
        .then(|| stage.plane.audit())
        .transpose()?
    else {
        eprintln!("skipped: this cluster has no audit log");
        return stage.stop().await;
    };
    let ours = |request: &nave_bed::Request| request.namespace == ns && !request.user.starts_with("system:");
    // A person asks: everything is compared, nothing is written.
    let mark = audit.mark()?;
    stage
        .annotate("app", json!({"reconcile.fluxcd.io/requestedAt": "now"}))
        .await?;
    eventually(DEADLINE, "the request is handled", || async {
        ensure!(stage.status("app").await?.last_handled_reconcile_at == "now", "not yet");
        Ok(())
    })
    .await?;
    // A request is logged once it is over, which may be a moment after its effect is seen.
    let writes = eventually(DEADLINE, "the end is in the audit log", || async {
        let writes = audit.since(mark)?.only(|request| ours(request)).writes();
        let statuses = writes.only(|request| request.subresource == "status");
        ensure!(!statuses.is_empty(), "{}", writes.summary());
        Ok(writes)
    })
    .await?;
    let objects = writes.only(|request| request.resource.starts_with("configmaps"));
    assert_eq!(objects.len(), 0, "{}", objects.summary());
    let statuses = writes.only(|request| request.subresource == "status");
    // That work goes on is told only where it takes its time.
    assert!(
        statuses.len() <= 2,
        "what a person asked for is told of:\n{}",
        writes.summary()
    );
    assert_eq!(stage.status("app").await?.history[0].total_reconciliations, 2);

    // By interval not even a request per object is made.
    stage.apply("fast", json!({"interval": "2s"})).await?;
    stage.ready("fast", "1").await?;
    eventually(DEADLINE, "an interval without requests for objects", || async {
        let before = stage.status("fast").await?.history[0].total_reconciliations;
        let mark = audit.mark()?;
        eventually(DEADLINE, "the next interval", || async {
            ensure!(
                stage.status("fast").await?.history[0].total_reconciliations > before,
                "not yet"
            );
            Ok(())
        })
        .await?;
        let requests = audit.since(mark)?.only(|request| ours(request) && request.name == "b");
        ensure!(requests.is_empty(), "{}", requests.summary());
        Ok(())
    })
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_corrected_by_interval() -> Result<()> {
    let stage = Stage::start("drift").await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage.apply("app", json!({"interval": "2s"})).await?;
    stage.ready("app", "1").await?;
    for value in ["2", "3"] {
        let patch = json!({"data": {"value": value}});
        Api::<ConfigMap>::namespaced(stage.client.clone(), &ns)
            .patch("a", &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        eventually(DEADLINE, "the drift is corrected", || async {
            let found = stage.config("a").await?.context("it is there")?;
            ensure!(found["value"] == "1", "{found:?}");
            Ok(())
        })
        .await?;
    }
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_revision_leaves_what_runs_and_the_next_one_heals() -> Result<()> {
    let stage = Stage::start("broken").await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage.apply("app", json!({})).await?;
    stage.ready("app", "1").await?;
    stage.publish("2", &[("app/a.yaml", "a: [".into())]).await?;
    let message = stage.failed("app", "BuildFailed").await?;
    assert!(message.contains("app/a.yaml"), "{message}");
    assert_eq!(stage.config("a").await?.context("it stays")?["value"], "1");

    // The namespace is applied, then the stage after it fails; what was created is remembered.
    let other = format!("{ns}-made");
    let made = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {other}}}\n");
    let bad = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Bad_Name, namespace: NS}\n".replace("NS", &ns);
    stage
        .publish(
            "3",
            &[
                ("app/a.yaml", config(&ns, "a", "3")),
                ("app/n.yaml", made),
                ("app/z.yaml", bad),
            ],
        )
        .await?;
    let message = stage.failed("app", "ReconciliationFailed").await?;
    assert!(
        message.contains("Bad_Name (from app/z.yaml) dry-run failed"),
        "{message}"
    );
    assert_eq!(stage.config("a").await?.context("it stays")?["value"], "1");
    let status = stage.status("app").await?;
    let ids: Vec<String> = status
        .inventory
        .context("an inventory")?
        .entries
        .into_iter()
        .map(|entry| entry.id)
        .collect();
    assert_eq!(ids, [format!("{ns}_a__ConfigMap"), format!("_{other}__Namespace")]);
    assert_eq!(
        (
            status.last_applied_revision.as_str(),
            status.last_attempted_revision.as_str()
        ),
        ("main@sha1:1", "main@sha1:3")
    );

    stage.publish("4", &[("app/a.yaml", config(&ns, "a", "4"))]).await?;
    stage.ready("app", "4").await?;
    assert_eq!(stage.config("a").await?.context("it is there")?["value"], "4");
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlays_and_variables_of_the_spec() -> Result<()> {
    let stage = Stage::start("overlay").await?;
    let ns = stage.namespace.clone();
    let manifest =
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  value: ${one} ${two:=default} $${three}\n";
    stage.publish("1", &[("app/a.yaml", manifest.into())]).await?;
    stage.secret("vars", &[("one", "from secret".into())]).await?;
    let spec = json!({"targetNamespace": ns, "namePrefix": "p-", "patches": [{"patch": "- op: add\n  path: /data/patched\n  value: \"yes\"\n", "target": {"kind": "ConfigMap"}}],
        "postBuild": {"substituteFrom": [{"kind": "Secret", "name": "vars"}, {"kind": "ConfigMap", "name": "gone", "optional": true}], "substitute": {"three": "unused"}}});
    stage.apply("app", spec.clone()).await?;
    stage.ready("app", "1").await?;
    let found = stage.config("p-a").await?.context("it has the prefix")?;
    assert_eq!(
        (found["value"].as_str(), found["patched"].as_str()),
        ("from secret default ${three}", "yes")
    );

    let mut strict = spec.clone();
    strict["postBuild"] = json!({"substitute": {"two": "2"}});
    stage.apply("app", strict).await?;
    let message = stage.failed("app", "BuildFailed").await?;
    assert!(message.contains("variable \"one\" is not set"), "{message}");
    let mut missing = spec;
    missing["postBuild"] = json!({"substituteFrom": [{"kind": "ConfigMap", "name": "gone"}]});
    stage.apply("app", missing).await?;
    eventually(DEADLINE, "the missing ConfigMap is named", || async {
        let message = stage.failed("app", "BuildFailed").await?;
        ensure!(
            message.contains(&format!("ConfigMap {ns}/gone was not found")),
            "{message}"
        );
        Ok(())
    })
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_one_is_left_alone_until_it_is_resumed() -> Result<()> {
    let stage = Stage::start("suspend").await?;
    let ns = stage.namespace.clone();
    stage
        .publish(
            "1",
            &[
                ("app/a.yaml", config(&ns, "a", "1")),
                ("other/o.yaml", config(&ns, "o", "1")),
            ],
        )
        .await?;
    stage.apply("app", json!({"suspend": true})).await?;
    stage.apply("other", json!({})).await?;
    stage.ready("other", "1").await?;
    assert!(stage.config("a").await?.is_none());
    assert!(stage.status("app").await?.conditions.is_empty());
    stage.apply("app", json!({})).await?;
    stage.ready("app", "1").await?;
    stage.apply("app", json!({"suspend": true})).await?;
    stage
        .publish(
            "2",
            &[
                ("app/a.yaml", config(&ns, "a", "2")),
                ("other/o.yaml", config(&ns, "o", "2")),
            ],
        )
        .await?;
    stage.ready("other", "2").await?;
    stage
        .annotate("app", json!({"reconcile.fluxcd.io/requestedAt": "asleep"}))
        .await?;
    eventually(DEADLINE, "the request counts as handled", || async {
        ensure!(
            stage.status("app").await?.last_handled_reconcile_at == "asleep",
            "not yet"
        );
        Ok(())
    })
    .await?;
    let suspended = stage.kustomizations().get("app").await?;
    let observed = suspended.status.map(|status| status.observed_generation);
    assert_eq!(observed, suspended.metadata.generation, "it is Ready as it is now");
    assert_eq!(stage.config("a").await?.context("it stays")?["value"], "1");
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_changes_nothing() -> Result<()> {
    let mut stage = Stage::start("restart").await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage.apply("app", json!({})).await?;
    stage.ready("app", "1").await?;
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    let before = api.get("a").await?.metadata;
    stage.restart().await?;
    eventually(DEADLINE, "it was reconciled again", || async {
        let history = stage.status("app").await?.history;
        ensure!(history[0].total_reconciliations == 2, "{history:?}");
        Ok(())
    })
    .await?;
    let after = api.get("a").await?.metadata;
    assert_eq!(
        (before.uid, before.resource_version, before.managed_fields),
        (after.uid, after.resource_version, after.managed_fields)
    );
    stage.stop().await
}
