//! Many agents with one token, while the hub is killed: as many are admitted as the token has uses, and not one more.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Result, anyhow};
use futures::{StreamExt, TryStreamExt, future::try_join_all};
use kube::{
    ResourceExt,
    api::{WatchEvent, WatchParams},
};
use nave_bed::eventually;
use nave_crds::{Cluster, JoinToken, fleet::Approval};
use nave_quic::{JoinError, Joined};

use crate::{
    fake_agent::Disk,
    stage::{DEADLINE, HubPorts, Stage},
};

const USES: i32 = 40;
const AGENTS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_many_uses_admits_so_many_also_when_the_hub_is_killed_among_them() -> Result<()> {
    let stage = Stage::start("hub-join-storm").await?;
    let ports = HubPorts::free()?;
    let hub = stage.hub_process(ports).await?;
    let token = stage
        .token("many", "", |spec| {
            (spec.uses, spec.approval) = (USES, Some(Approval::Automatic));
            spec.cluster.name = String::new();
            spec.cluster.name_prefix = "edge-".to_owned();
        })
        .await?;
    let writes = Arc::new(AtomicUsize::new(0));
    let _counting = count_writes(&stage, writes.clone()).await?;

    let joins = (0..AGENTS).map(|number| {
        let token = token.clone();
        tokio::spawn(async move { join_or_be_refused(&token, &format!("edge-{number}")).await })
    });
    let joins: Vec<_> = joins.collect();
    let used = || async {
        let token = stage.api::<JoinToken>().get("many").await?;
        anyhow::Ok(token.status.unwrap_or_default().used)
    };
    eventually(DEADLINE, "some joins", || async {
        let count = used().await?.len();
        if count > 0 {
            Ok(())
        } else {
            Err(anyhow!("there are none"))
        }
    })
    .await?;
    hub.kill9();
    hub.wait_exit(DEADLINE).await?;
    let _hub = stage.hub_process(ports).await?;

    let mut admitted = BTreeSet::new();
    for name in try_join_all(joins).await? {
        admitted.extend(name?);
    }
    let used = used().await?;
    let named: BTreeSet<String> = used.iter().map(|one| one.cluster.clone()).collect();
    let keys: BTreeSet<&String> = used.iter().map(|one| &one.key_fingerprint).collect();
    assert_eq!((used.len(), keys.len()), (USES as usize, USES as usize));
    assert_eq!(
        admitted, named,
        "who is admitted stands in the token, and who stands there is admitted"
    );
    let clusters = stage.api::<Cluster>().list(&Default::default()).await?;
    let made: BTreeSet<String> = clusters.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(made, named);
    eventually(DEADLINE, "the last write", || async {
        let seen = writes.load(Ordering::Relaxed);
        if seen > 0 {
            Ok(())
        } else {
            Err(anyhow!("none was seen"))
        }
    })
    .await?;
    let writes = writes.load(Ordering::Relaxed);
    println!("{USES} uses in {writes} writes");
    assert!(writes < USES as usize, "{writes} writes for {USES} uses");
    Ok(())
}

/// Asks until there is an answer. The name, when it is admitted.
async fn join_or_be_refused(token: &nave_identity::JoinToken, name: &str) -> Result<Option<String>> {
    let disk = Disk::default();
    eventually(DEADLINE, &format!("an answer to {name}"), || async {
        match disk.join_as(token, &format!("uid-of-{name}"), name).await {
            Ok(Joined::Admitted) => Ok(Some(name.to_owned())),
            Ok(other) => Err(anyhow!("{other:?}")),
            Err(JoinError::Refused(close)) if close.reason.contains("already used by key") => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

/// Counts the changes of the token from now on.
async fn count_writes(stage: &Stage, writes: Arc<AtomicUsize>) -> Result<tokio_util::task::AbortOnDropHandle<()>> {
    let api = stage.api::<JoinToken>();
    let version = api.get("many").await?.resource_version().unwrap_or_default();
    let parameters = WatchParams::default().fields("metadata.name=many");
    let mut events = api.watch(&parameters, &version).await?.boxed();
    let counting = tokio::spawn(async move {
        while let Ok(Some(event)) = events.try_next().await {
            if matches!(event, WatchEvent::Modified(_)) {
                writes.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    Ok(tokio_util::task::AbortOnDropHandle::new(counting))
}
