//! A registry that lies or stops in the middle: nothing of it is taken, and what was wrong is said.

use std::time::Duration;

use anyhow::Result;
use nave_bed::{RegistryFault, RegistryFront};
use nave_oci::{Access, OciError, Registries, Remote, Repository};

use crate::stage::{TIMEOUT, artifact, open_registry};

async fn stage(name: &str, stall: Duration) -> Result<(RegistryFront, Remote)> {
    let registry = open_registry().await;
    let front = RegistryFront::start(registry.address()).await?;
    let repository = Repository::from_url(&front.oci_url(name))?;
    let remote = Registries::new(stall).open(&repository, Access::default())?;
    Ok((front, remote))
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_are_not_what_they_were() -> Result<()> {
    let (front, remote) = stage("faults/layers", TIMEOUT).await?;
    let digest = remote
        .push_artifact("v1", artifact("a layer of some bytes"), TIMEOUT)
        .await?;
    let layer = remote.manifest(&digest, TIMEOUT).await?.manifest.layers.remove(0);
    for (fault, expected) in [
        (RegistryFault::AlterBlobs, "has digest sha256:"),
        (RegistryFault::CutBlobs, "has 10 bytes, its manifest says 21"),
        (RegistryFault::LengthenBlobs, "has more bytes, its manifest says 21"),
    ] {
        front.fail(fault.clone());
        let error = remote.blob(&layer, 1 << 20, TIMEOUT).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{fault:?}: {error}");
    }
    front.fail(RegistryFault::None);
    assert_eq!(remote.blob(&layer, 1 << 20, TIMEOUT).await?.len(), 21);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_not_what_it_was() -> Result<()> {
    let (front, remote) = stage("faults/manifest", TIMEOUT).await?;
    let digest = remote.push_artifact("v1", artifact("x"), TIMEOUT).await?;
    front.fail(RegistryFault::AlterManifests);
    let error = remote.manifest(&digest, TIMEOUT).await.unwrap_err();
    assert!(
        matches!(&error, OciError::Digest { what: "manifest", expected, .. } if **expected == digest),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_stops_coming_is_given_up() -> Result<()> {
    let (front, remote) = stage("faults/stall", Duration::from_millis(300)).await?;
    let digest = remote.push_artifact("v1", artifact("0123456789"), TIMEOUT).await?;
    let layer = remote.manifest(&digest, TIMEOUT).await?.manifest.layers.remove(0);
    front.fail(RegistryFault::StallBlobs);
    let error = remote.blob(&layer, 1 << 20, TIMEOUT).await.unwrap_err().to_string();
    assert!(error.contains("nothing came for 300ms after 5 of 10 bytes"), "{error}");
    let error = remote
        .blob(&layer, 1 << 20, Duration::from_millis(50))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("took longer than the timeout of 50ms"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_in_trouble_is_asked_three_times() -> Result<()> {
    let (front, remote) = stage("faults/trouble", TIMEOUT).await?;
    remote.push_artifact("v1", artifact("x"), TIMEOUT).await?;
    front.clear_requests();
    front.fail(RegistryFault::Status(503));
    let error = remote.tags(TIMEOUT).await.unwrap_err().to_string();
    assert!(
        error.contains("listing tags of oci://") && error.contains("HTTP 503"),
        "{error}"
    );
    assert_eq!(front.requests().len(), 3);
    front.clear_requests();
    front.fail(RegistryFault::Status(400));
    remote.tags(TIMEOUT).await.unwrap_err();
    assert_eq!(front.requests().len(), 1, "what is wrong with us stays wrong");
    Ok(())
}
