//! The hub's authorities are replaced, and nobody has to join again.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nave_bed::eventually;
use nave_crds::{HubState, annotations};
use serde_json::json;

use crate::{
    fake_agent::{Disk, FakeAgent},
    issuer::{self, Issuer},
    stage::{DEADLINE, Stage},
};

const UID: &str = "spoke-uid-1";
const OTHER: &str = "spoke-uid-2";
const FROM_SECRET: &str = "--link-certificate-secret=link-tls";

/// Asks for a rotation and waits until the hub shows another root. Gives back its pin.
async fn rotate(stage: &Stage, wish: &str) -> Result<String> {
    let states: Api<HubState> = Api::namespaced(stage.client.clone(), "nave-system");
    let patch = json!({"metadata": {"annotations": {annotations::FLEET_ROTATE_ROOTS: wish}}});
    states
        .patch(nave_hub::HUB_STATE, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), "nave-system");
    eventually(DEADLINE, &format!("the rotation {wish}"), || async {
        let data = maps.get(nave_hub::INFO_CONFIG_MAP).await?.data.unwrap_or_default();
        ensure!(data["rotatedFor"] == wish, "the hub says {data:?}");
        Ok(data["rootPin"].clone())
    })
    .await
}

/// Waits until the disk holds the root set of this version.
async fn follows(disk: &Disk, version: u64) -> Result<()> {
    disk.has(&format!("root set version {version}"), |memory| {
        let roots = memory.identity.as_ref()?.roots().ok()??;
        (roots.version() == version).then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rotations_of_the_roots_cause_no_rejoin() -> Result<()> {
    let stage = Stage::start("hub-rotation").await?;
    let hub = stage.hub("127.0.0.1:0").await?;
    let listen = hub.link.to_string();
    let (here, away) = (Disk::default(), Disk::default());
    here.join(&stage.token("t1", "eu-1", |_| ()).await?, UID).await?;
    away.join(&stage.token("t2", "eu-2", |_| ()).await?, OTHER).await?;
    let early = stage.token("t3", "eu-3", |_| ()).await?;
    let agent = FakeAgent::start(&here, UID)?;
    stage.cluster_says("eu-1", "Connected", "True", "SessionOpen").await?;
    let joined = here.look(|memory| memory.identity.clone()).expect("it has joined");
    let keys = stage.cluster("eu-1").await?.spec.identity.unwrap_or_default().keys;

    // The one that is connected is told at once; a token of before is still good.
    let first = rotate(&stage, "first").await?;
    follows(&here, 2).await?;
    let late = Disk::default();
    late.join(&early, "spoke-uid-3").await?;
    follows(&late, 2).await?;
    let second = rotate(&stage, "second").await?;
    follows(&here, 3).await?;
    ensure!(first != second, "the second rotation shows another root");

    // Another process of the hub shows the root that was made last, and does not rotate again for the same wish.
    hub.stop().await?;
    let hub = stage.hub(&listen).await?;
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), "nave-system");
    let data = maps.get(nave_hub::INFO_CONFIG_MAP).await?.data.unwrap_or_default();
    assert_eq!(
        (data["rootPin"].as_str(), data["rootVersion"].as_str()),
        (second.as_str(), "3")
    );

    // The one that was away for both, and knows the first root only, finds the way and is told the rest.
    let returned = FakeAgent::start(&away, OTHER)?;
    stage.cluster_says("eu-2", "Connected", "True", "SessionOpen").await?;
    follows(&away, 3).await?;
    // The one that was there comes back by itself, with the key that it had.
    let welcomes = here.look(|memory| memory.welcomes.len());
    here.has("a welcome of the new process", |memory| {
        (memory.welcomes.len() >= welcomes.max(2)).then_some(())
    })
    .await?;
    let after = stage.cluster("eu-1").await?.spec.identity.unwrap_or_default().keys;
    assert_eq!(after, keys, "nobody joined again");
    let now = here.look(|memory| memory.identity.clone()).expect("it has joined");
    assert_eq!(now.key()?.fingerprint(), joined.key()?.fingerprint());

    // A token of now pins the root of now.
    let new = Disk::default();
    new.join(&stage.token("t4", "eu-4", |_| ()).await?, "spoke-uid-4")
        .await?;
    follows(&new, 3).await?;
    agent.stop();

    // The link shows a certificate of another issuer from now on: nobody has to join again, and tokens and roots stay
    // those of the hub.
    hub.stop().await?;
    let error = stage
        .hub_with(&listen, &[FROM_SECRET])
        .await
        .err()
        .expect("there is no Secret");
    let words = format!("{error:#}");
    ensure!(
        words == "using Secret nave-system/link-tls for the link's certificate: it does not exist",
        "{words}"
    );
    let other = Issuer::new()?;
    let leaf = other.fill(&stage).await?;
    let hub = stage.hub_with(&listen, &[FROM_SECRET]).await?;
    ensure!(issuer::shown(&here).await? == leaf);
    let agent = FakeAgent::start(&here, UID)?;
    agent.handle.connected().await;
    let newest = Disk::default();
    newest
        .join(&stage.token("t5", "eu-5", |_| ()).await?, "spoke-uid-5")
        .await?;
    follows(&newest, 3).await?;

    // It is renewed, by yet another issuer, and the session goes on.
    let welcomes = here.look(|memory| memory.welcomes.len());
    let leaf = Issuer::new()?.fill(&stage).await?;
    eventually(DEADLINE, "the renewed certificate", || async {
        ensure!(issuer::shown(&here).await? == leaf, "another is shown");
        Ok(())
    })
    .await?;
    let fourth = rotate(&stage, "third").await?;
    ensure!(fourth != second);
    follows(&here, 4).await?;
    ensure!(
        issuer::shown(&here).await? == leaf,
        "the authority behind it is another now"
    );
    ensure!(
        here.look(|memory| memory.welcomes.len()) == welcomes,
        "the session was dropped"
    );

    // What is wrong with the Secret is said with its key.
    returned.stop();
    agent.stop();
    hub.stop().await?;
    issuer::write(&stage, "tls.key", "no key".to_owned()).await?;
    let error = stage
        .hub_with(&listen, &[FROM_SECRET])
        .await
        .err()
        .expect("it has no key");
    let words = format!("{error:#}");
    ensure!(
        words.starts_with("using Secret nave-system/link-tls for the link's certificate: tls.key: it is not a PKCS#8"),
        "{words}"
    );
    Ok(())
}
