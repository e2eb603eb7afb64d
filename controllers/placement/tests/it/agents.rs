//! Clusters with an agent: what they are to have, and what they say.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use nave_bed::eventually;
use nave_crds::{Cluster, FleetKustomization, GitRepository, RetirementLog};
use nave_placement::{Cause, Policy};
use nave_placement_controller::ClusterState;
use serde_json::json;

use crate::stage::{DEADLINE, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_object_reaches_its_clusters_and_their_health_comes_back() -> Result<()> {
    let stage = Stage::start("agents").await?;
    stage.agent("eu-1", json!({"env": "prod"})).await?;
    stage.agent("us-1", json!({"env": "prod"})).await?;
    stage.agent("test", json!({"env": "test"})).await?;
    stage
        .fleet(|object| {
            object["spec"]["placement"] = json!({"selector": {"matchLabels": {"env": "prod"}}});
            object["spec"]["template"]["spec"]["path"] = json!("./clusters/${cluster.name}");
        })
        .await?;
    stage.ready("apps", "False SourceNotReady").await?;
    stage.publish("apps", "main@sha1:1").await?;
    let item = stage.item("eu-1", "apps").await?;
    ensure!(
        item.objects[1].as_value()["spec"]["path"] == "./clusters/eu-1",
        "{:?}",
        item.objects
    );
    ensure!(
        item.artifact
            .as_ref()
            .is_some_and(|one| one.handle.revision == "main@sha1:1"),
        "{item:?}"
    );
    let other = stage.item("us-1", "apps").await?;
    ensure!(item.change_id == other.change_id && item.version != other.version);
    ensure!(stage.hub.puts().len() == 2, "{:?}", stage.hub.puts());

    stage.hub.say(&item, &stage.key("eu-1"), ClusterState::Ready, "");
    let message = stage.ready("apps", "Unknown ClustersProgressing").await?;
    ensure!(
        message == "1 of 2 clusters ready at main@sha1:1, 1 not heard of",
        "{message}"
    );
    stage
        .hub
        .say(&other, &stage.key("us-1"), ClusterState::Failed, "apps/bad.yaml: no");
    stage.ready("apps", "False ClustersFailed").await?;
    let status = stage
        .api::<FleetKustomization>()
        .get("apps")
        .await?
        .status
        .context("a status")?;
    ensure!(
        status.unhealthy.len() == 1 && status.unhealthy[0].message == "apps/bad.yaml: no",
        "{status:?}"
    );
    stage.hub.say(&other, &stage.key("us-1"), ClusterState::Ready, "");
    stage.ready("apps", "True AllReady").await?;

    // A cluster that leaves the selection loses the item, explicitly.
    stage.agent("us-1", json!({"env": "test"})).await?;
    eventually(DEADLINE, "the deletion on us-1", || async {
        ensure!(
            stage.hub.deletes() == ["us-1 apps Excluded Prune"],
            "{:?}",
            stage.hub.deletes()
        );
        Ok(())
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_fleet_object_is_retired_before_anything_goes() -> Result<()> {
    let mut stage = Stage::start("retire").await?;
    stage.agent("eu-1", json!({})).await?;
    let fleet = stage
        .fleet(|object| object["spec"]["deletion"] = json!({"policy": "Orphan"}))
        .await?;
    stage.publish("apps", "main@sha1:1").await?;
    let item = stage.item("eu-1", "apps").await?;
    stage.delete::<FleetKustomization>("apps").await?;
    stage.gone::<FleetKustomization>("apps").await?;
    stage.gone::<GitRepository>("apps").await?;
    ensure!(
        stage.hub.deletes() == ["eu-1 apps Retired Orphan"],
        "{:?}",
        stage.hub.deletes()
    );
    let log = stage.api::<RetirementLog>().get(RetirementLog::NAME).await?;
    ensure!(log.spec.entries.len() == 1 && Some(&log.spec.entries[0].uid) == fleet.metadata.uid.as_ref());

    // A hub that starts anew still knows, from the log; of others it knows nothing.
    stage.restart().await?;
    let judge = |uid: &str| {
        let mut owner = item.owner.clone();
        owner.uid = uid.to_owned();
        stage.knowledge.deletion(&stage.key("eu-1"), &owner)
    };
    eventually(DEADLINE, "the hub is complete", || async {
        ensure!(stage.knowledge.is_complete() && stage.hub.is_rebuilt(), "it is not");
        Ok(())
    })
    .await?;
    ensure!(judge(&item.owner.uid) == Some((Cause::Retired, Policy::Orphan)));
    ensure!(judge("someone-else").is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_changes_nothing() -> Result<()> {
    let mut stage = Stage::start("restart").await?;
    stage.agent("eu-1", json!({"env": "prod"})).await?;
    stage
        .secret(
            "db",
            json!({"fleet.nave.dev/distribute": "true"}),
            json!({"password": "x"}),
        )
        .await?;
    stage
        .fleet(|object| object["spec"]["secrets"] = json!([{"name": "db"}]))
        .await?;
    stage.publish("apps", "main@sha1:1").await?;
    let before = stage.item("eu-1", "apps").await?;
    stage.hub.say(&before, &stage.key("eu-1"), ClusterState::Ready, "");
    stage.ready("apps", "True AllReady").await?;
    let resource_version = async |stage: &Stage| -> Result<Option<String>> {
        Ok(stage
            .api::<FleetKustomization>()
            .get("apps")
            .await?
            .metadata
            .resource_version)
    };
    let version = resource_version(&stage).await?;
    let old = stage.restart().await?;
    stage.hub.say(&before, &stage.key("eu-1"), ClusterState::Ready, "");
    let after = stage.item("eu-1", "apps").await?;
    ensure!(
        after.version == before.version,
        "the agent would be sent the same again"
    );
    eventually(DEADLINE, "the hub is rebuilt", || async {
        ensure!(stage.hub.is_rebuilt(), "it is not");
        Ok(())
    })
    .await?;
    ensure!(old.deletes().is_empty() && stage.hub.deletes().is_empty());
    ensure!(
        resource_version(&stage).await? == version,
        "the status was written again"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_go_along_with_consent_and_are_never_shown() -> Result<()> {
    const CANARY: &str = "canary-7c0f";
    let stage = Stage::start("secrets").await?;
    stage.agent("eu-1", json!({})).await?;
    stage
        .fleet(|object| object["spec"]["secrets"] = json!([{"name": "db"}, {"name": "extra", "optional": true}]))
        .await?;
    stage.publish("apps", "main@sha1:1").await?;
    stage.ready("apps", "False SecretNotFound").await?;
    stage.secret("db", json!({}), json!({"password": CANARY})).await?;
    let message = stage.ready("apps", "False SecretNotDistributable").await?;
    ensure!(
        message.contains("lacks the label fleet.nave.dev/distribute"),
        "{message}"
    );
    ensure!(stage.hub.puts().is_empty());
    let consent = json!({"fleet.nave.dev/distribute": "true"});
    stage.secret("db", consent.clone(), json!({"password": CANARY})).await?;
    let first = stage.item("eu-1", "apps").await?;
    let sent = first.secrets[0].expose().as_value().to_string();
    ensure!(sent.contains("Y2FuYXJ5LTdjMGY="), "the content is not there");
    ensure!(!format!("{first:?}").contains("Y2FuYXJ5"), "the content shows");
    // A new password is a new item.
    stage.secret("db", consent, json!({"password": "another"})).await?;
    eventually(DEADLINE, "the item with the new password", || async {
        let item = stage.item("eu-1", "apps").await?;
        ensure!(item.version != first.version, "it is the old one");
        Ok(())
    })
    .await?;
    let events = stage.api::<Event>().list(&ListParams::default()).await?;
    let fleet = stage.api::<FleetKustomization>().get("apps").await?;
    let shown = serde_json::to_string(&events.items)? + &serde_json::to_string(&fleet)?;
    ensure!(
        !shown.contains(CANARY) && !shown.contains("Y2FuYXJ5"),
        "the content is in an event or status"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_template_is_told_and_what_was_placed_stays() -> Result<()> {
    let stage = Stage::start("bad").await?;
    stage.agent("eu-1", json!({})).await?;
    stage.fleet(|_| {}).await?;
    stage.publish("apps", "main@sha1:1").await?;
    let good = stage.item("eu-1", "apps").await?;
    stage
        .fleet(|object| object["spec"]["template"]["spec"]["pruned"] = json!(true))
        .await?;
    let message = stage.ready("apps", "False ClustersDenied").await?;
    ensure!(
        message.contains("spec.template: spec.pruned is no known field"),
        "{message}"
    );
    stage
        .fleet(|object| object["spec"]["template"]["spec"]["path"] = json!("${cluster.labels.nope}"))
        .await?;
    eventually(DEADLINE, "the unknown label is told", || async {
        let message = stage.ready("apps", "False ClustersDenied").await?;
        ensure!(message.contains("${cluster.labels.nope}"), "{message}");
        Ok(())
    })
    .await?;
    stage
        .fleet(|object| {
            object["spec"]["placement"] = json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}})
        })
        .await?;
    stage.ready("apps", "False InvalidSpec").await?;
    ensure!(stage.hub.deletes().is_empty());
    ensure!(stage.item("eu-1", "apps").await?.version == good.version);
    stage.fleet(|_| {}).await?;
    stage.ready("apps", "Unknown ClustersProgressing").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_cluster_keeps_what_it_has() -> Result<()> {
    let stage = Stage::start("forget").await?;
    stage.agent("eu-1", json!({})).await?;
    stage.fleet(|_| {}).await?;
    stage.publish("apps", "main@sha1:1").await?;
    stage.item("eu-1", "apps").await?;
    stage.delete::<Cluster>("eu-1").await?;
    stage.ready("apps", "False NoClusters").await?;
    ensure!(stage.hub.deletes().is_empty(), "{:?}", stage.hub.deletes());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_someone_else_is_not_taken_over() -> Result<()> {
    let stage = Stage::start("taken").await?;
    stage.agent("eu-1", json!({})).await?;
    stage
        .apply::<GitRepository>("apps", json!({"spec": {"url": "https://mine", "interval": "1m"}}))
        .await?;
    stage.fleet(|_| {}).await?;
    let message = stage.ready("apps", "False Conflict").await?;
    ensure!(message.contains("was not made by this fleet object"), "{message}");
    let theirs = stage.api::<GitRepository>().get("apps").await?;
    ensure!(theirs.spec.url == "https://mine");
    // Referring to it is fine.
    stage.publish("apps", "main@sha1:1").await?;
    stage
        .fleet(|object| object["spec"]["source"] = json!({"ref": {"kind": "GitRepository", "name": "apps"}}))
        .await?;
    stage.item("eu-1", "apps").await?;
    stage.delete::<FleetKustomization>("apps").await?;
    stage.gone::<FleetKustomization>("apps").await?;
    stage
        .api::<GitRepository>()
        .get("apps")
        .await
        .context("it was not ours to delete")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_one_cluster_touches_no_other() -> Result<()> {
    let stage = Stage::start("one-of-many").await?;
    const CLUSTERS: usize = 12;
    for number in 0..CLUSTERS {
        let labels = json!({"env": "prod", "ring": "0"});
        stage.agent(&format!("c-{number}"), labels).await?;
    }
    stage
        .fleet(|object| {
            object["spec"]["placement"] = json!({"selector": {"matchLabels": {"env": "prod"}}});
            object["spec"]["template"]["spec"]["path"] = json!("./rings/${cluster.labels.ring}");
        })
        .await?;
    stage.publish("apps", "main@sha1:1").await?;
    for number in 0..CLUSTERS {
        stage.item(&format!("c-{number}"), "apps").await?;
    }
    let path = |ring: usize| format!("./rings/{ring}");
    let mut ring = 0;
    // Plans of everything may still be on their way, because of what the controller itself wrote; they end.
    eventually(DEADLINE, "a change that touches one cluster alone", || {
        ring += 1;
        let (stage, ring) = (&stage, ring);
        async move {
            stage.hub.take_asked();
            let labels = json!({"env": "prod", "ring": ring.to_string()});
            stage.agent("c-7", labels).await?;
            eventually(DEADLINE, "its item", || async {
                let item = stage.item("c-7", "apps").await?;
                let found = &item.objects[1].as_value()["spec"]["path"];
                ensure!(*found == path(ring), "it is {found}");
                Ok(())
            })
            .await?;
            let asked = stage.hub.take_asked();
            ensure!(asked == ["c-7 apps"], "{asked:?}");
            Ok(())
        }
    })
    .await?;

    // One that leaves loses its item, and the others are left alone; one that comes gets it.
    stage.agent("c-3", json!({"env": "test", "ring": "0"})).await?;
    eventually(DEADLINE, "the deletion on c-3", || async {
        ensure!(
            stage.hub.deletes() == ["c-3 apps Excluded Prune"],
            "{:?}",
            stage.hub.deletes()
        );
        Ok(())
    })
    .await?;
    stage.agent("new", json!({"env": "prod", "ring": "9"})).await?;
    stage.item("new", "apps").await?;
    assert_eq!(stage.hub.take_asked(), ["new apps"]);
    let selected = |want: usize| {
        let stage = &stage;
        async move {
            eventually(DEADLINE, &format!("{want} clusters in the status"), || async {
                let found = stage.api::<FleetKustomization>().get("apps").await?;
                let found = found.status.unwrap_or_default().clusters.unwrap_or_default().selected;
                ensure!(found as usize == want, "it has {found}");
                Ok(())
            })
            .await
        }
    };
    selected(CLUSTERS).await?;
    stage.delete::<Cluster>("new").await?;
    selected(CLUSTERS - 1).await?;
    // The same as a whole plan finds: what asks for one changes no item.
    let puts = stage.hub.puts().len();
    stage.restart_plan().await?;
    assert_eq!(stage.hub.puts().len(), puts);
    Ok(())
}
