//! The hub's authorities are lost, and agents know it again by the offline recovery key.

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use nave_bed::eventually;
use nave_identity::{Authority, AuthorityRole, Key, SignedRootSet, TrustedRoots, later_version, recover};
use serde_json::json;

use crate::{
    fake_agent::{Disk, FakeAgent},
    stage::{DEADLINE, Stage},
};

const UID: &str = "spoke-uid-1";

fn secrets(stage: &Stage) -> Api<Secret> {
    Api::namespaced(stage.client.clone(), "nave-system")
}

/// Puts a wish into the Secret with the hub's authorities, as the command line does.
async fn wish(stage: &Stage, key: &str, value: Vec<u8>) -> Result<()> {
    let patch = json!({"data": {key: ByteString(value)}});
    secrets(stage)
        .patch(
            nave_hub::AUTHORITY_SECRET,
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
    Ok(())
}

/// Waits until the hub says so of itself.
async fn hub_says(stage: &Stage, key: &str, fits: impl Fn(&str) -> bool) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), "nave-system");
    eventually(DEADLINE, &format!("{key} of the hub"), || async {
        let data = maps.get(nave_hub::INFO_CONFIG_MAP).await?.data.unwrap_or_default();
        ensure!(data.get(key).is_some_and(|value| fits(value)), "the hub says {data:?}");
        Ok(())
    })
    .await
}

/// The authority that the hub has now and the root set that it shows.
async fn present(stage: &Stage) -> Result<(Authority, TrustedRoots)> {
    let data = secrets(stage)
        .get(nave_hub::AUTHORITY_SECRET)
        .await?
        .data
        .unwrap_or_default();
    let text = |key: &str| std::str::from_utf8(&data[key].0);
    let authority = Authority::from_pem(AuthorityRole::Server, text("server-ca.crt")?, text("server-ca.key")?)?;
    Ok((authority, TrustedRoots::stored(&data["roots"].0)?))
}

async fn signed(stage: &Stage, key: &Key) -> Result<SignedRootSet> {
    let (authority, present) = present(stage).await?;
    let jump = Some(later_version(Timestamp::now()));
    Ok(recover(&present, authority.certificate().clone(), key, jump)?)
}

fn trusted(disk: &Disk) -> Result<TrustedRoots> {
    let identity = disk.look(|memory| memory.identity.clone());
    identity
        .context("it has joined")?
        .roots()?
        .context("it trusts somebody")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_lost_its_authorities_is_known_again_by_the_recovery_key() -> Result<()> {
    let stage = Stage::start("hub-recovery").await?;
    let hub = stage.hub("127.0.0.1:0").await?;
    let listen = hub.link.to_string();
    let (recovery, thief) = (Key::generate()?, Key::generate()?);
    let fingerprint = recovery.fingerprint().to_string();

    // One joins before the key is pinned, one after; both have it then.
    let (early, late) = (Disk::default(), Disk::default());
    early.join(&stage.token("t1", "eu-1", |_| ()).await?, UID).await?;
    let agent = FakeAgent::start(&early, UID)?;
    stage.cluster_says("eu-1", "Connected", "True", "SessionOpen").await?;
    wish(&stage, "recovery-key", fingerprint.clone().into_bytes()).await?;
    hub_says(&stage, "recoveryKey", |key| key == fingerprint).await?;
    early
        .has("the recovery key", |memory| {
            let roots = memory.identity.as_ref()?.roots().ok()??;
            (roots.recovery_key()? == recovery.fingerprint()).then_some(())
        })
        .await?;
    late.join(&stage.token("t2", "eu-2", |_| ()).await?, "spoke-uid-2")
        .await?;
    ensure!(trusted(&late)?.recovery_key() == Some(recovery.fingerprint()));
    wish(&stage, "recovery-key", thief.fingerprint().to_string().into_bytes()).await?;
    hub_says(&stage, "recoveryRefused", |why| {
        why.contains("have pinned recovery key")
    })
    .await?;

    // The authorities are gone; the hub makes others, which no agent knows.
    agent.stop();
    hub.stop().await?;
    let before = present(&stage).await?.0.fingerprint();
    let keys = stage.cluster("eu-1").await?.spec.identity.unwrap_or_default().keys;
    secrets(&stage)
        .delete(nave_hub::AUTHORITY_SECRET, &DeleteParams::default())
        .await?;
    let hub = stage.hub(&listen).await?;
    let (authority, new) = present(&stage).await?;
    ensure!(authority.fingerprint() != before && new.recovery_key().is_none());

    // Somebody else's key is taken by this hub, which knows none, and by no agent; theirs is.
    let forged = signed(&stage, &thief).await?;
    ensure!(trusted(&early)?.advance(forged).is_err());
    let word = signed(&stage, &recovery).await?;
    wish(&stage, "recovery-roots", word.to_bytes()).await?;
    hub_says(&stage, "rootVersion", |version| version == word.version().to_string()).await?;
    let (agent, other) = (FakeAgent::start(&early, UID)?, FakeAgent::start(&late, "spoke-uid-2")?);
    for (disk, name) in [(&early, "eu-1"), (&late, "eu-2")] {
        disk.has("the root set by the recovery key's word", |memory| {
            let roots = memory.identity.as_ref()?.roots().ok()??;
            (roots.version() == word.version()).then_some(())
        })
        .await?;
        ensure!(trusted(disk)?.roots() == [authority.certificate().clone()]);
        let seen = stage.cluster_says(name, "Connected", "True", "SessionOpen").await?;
        ensure!(seen.pending_keys.is_empty(), "nobody waits for approval");
    }
    // The certificate was of the lost authority too: it is renewed for a key that follows the known one.
    let after = eventually(DEADLINE, "the renewed certificate", || async {
        let keys_now = stage.cluster("eu-1").await?.spec.identity.unwrap_or_default().keys;
        ensure!(keys_now != keys, "the keys are still {keys:?}");
        Ok(keys_now)
    })
    .await?;
    ensure!(!after.is_empty());

    // The hub knows the key now, tokens pin its new root, and a forged word is refused by name.
    let newest = Disk::default();
    newest
        .join(&stage.token("t3", "eu-3", |_| ()).await?, "spoke-uid-3")
        .await?;
    ensure!(trusted(&newest)?.recovery_key() == Some(recovery.fingerprint()));
    let forged = signed(&stage, &thief).await?;
    wish(&stage, "recovery-roots", forged.to_bytes()).await?;
    let words = format!("is not signed by recovery key {fingerprint}, which this hub's agents have pinned");
    hub_says(&stage, "recoveryRefused", |why| why.contains(&words)).await?;
    agent.stop();
    other.stop();
    hub.stop().await
}
