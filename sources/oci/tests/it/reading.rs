//! Tags, manifests and layers as they were pushed.

use anyhow::Result;
use bytes::Bytes;
use nave_bed::{RegistryFault, RegistryFront};
use nave_oci::{Access, OciError, PackedArtifact, media_type};

use crate::stage::{TIMEOUT, artifact, open_registry, remote};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_is_pulled() -> Result<()> {
    let registry = open_registry().await;
    let remote = remote(&registry.oci_url("reading/app"), Access::default())?;
    let digest = remote.push_artifact("v1", artifact("hello"), TIMEOUT).await?;
    assert_eq!(remote.resolve("v1", TIMEOUT).await?.digest, digest);
    let pulled = remote.manifest(&digest, TIMEOUT).await?;
    assert_eq!(pulled.digest, digest);
    assert_eq!(pulled.manifest.config.media_type, media_type::FLUX_CONFIG);
    assert_eq!(pulled.manifest.layers[0].media_type, media_type::FLUX_CONTENT);
    assert_eq!(
        pulled.manifest.annotations["org.opencontainers.image.revision"],
        "hello"
    );
    let layer = remote.blob(&pulled.manifest.layers[0], 1 << 20, TIMEOUT).await?;
    assert_eq!(layer, b"hello");
    let error = remote.blob(&pulled.manifest.layers[0], 4, TIMEOUT).await.unwrap_err();
    assert!(matches!(error, OciError::TooLarge { limit: 4, .. }), "{error}");

    // Pushing the same again changes nothing; a tag moves.
    assert_eq!(remote.push_artifact("v1", artifact("hello"), TIMEOUT).await?, digest);
    let moved = remote.push_artifact("v1", artifact("again"), TIMEOUT).await?;
    assert_ne!(moved, digest);
    assert_eq!(remote.resolve("v1", TIMEOUT).await?.digest, moved);
    remote.tag(&digest, "old", TIMEOUT).await?;
    assert_eq!(remote.resolve("old", TIMEOUT).await?.digest, digest);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_named() -> Result<()> {
    let registry = open_registry().await;
    let remote = remote(&registry.oci_url("reading/missing"), Access::default())?;
    let error = remote.tags(TIMEOUT).await.unwrap_err().to_string();
    assert!(error.starts_with("the repository not found in oci://"), "{error}");
    remote.push_artifact("v1", artifact("x"), TIMEOUT).await?;
    let error = remote.resolve("v2", TIMEOUT).await.unwrap_err().to_string();
    assert!(
        error.starts_with("tag 'v2' not found in oci://") && error.contains("MANIFEST_UNKNOWN"),
        "{error}"
    );
    let digest = nave_artifact::Digest::sha256(b"nothing");
    let error = remote.manifest(&digest, TIMEOUT).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("manifest {digest} not found in oci://")),
        "{error}"
    );
    let error = remote.resolve("a/b", TIMEOUT).await.unwrap_err().to_string();
    assert_eq!(error, "'a/b' is neither a tag nor a digest");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_of_tags_are_read() -> Result<()> {
    let registry = open_registry().await;
    let front = RegistryFront::start(registry.address()).await?;
    let remote = remote(&front.oci_url("reading/tags"), Access::default())?;
    let digest = remote.push_artifact("t0", artifact("x"), TIMEOUT).await?;
    for number in 1..7 {
        remote.tag(&digest, &format!("t{number}"), TIMEOUT).await?;
    }
    front.page_tags(3);
    front.clear_requests();
    let tags = remote.tags(TIMEOUT).await?;
    assert_eq!(tags, ["t0", "t1", "t2", "t3", "t4", "t5", "t6"]);
    let pages = front
        .requests()
        .iter()
        .filter(|r| r.path.contains("/tags/list"))
        .count();
    assert!(pages >= 3, "{pages} pages");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_resolved_without_head_too() -> Result<()> {
    let registry = open_registry().await;
    let front = RegistryFront::start(registry.address()).await?;
    let remote = remote(&front.oci_url("reading/head"), Access::default())?;
    let digest = remote.push_artifact("v1", artifact("x"), TIMEOUT).await?;
    front.clear_requests();
    remote.resolve("v1", TIMEOUT).await?;
    // What was learnt of the registry is kept: looking for news is one request.
    let seen: Vec<String> = front.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(seen, ["HEAD"]);
    front.fail(RegistryFault::NoHead);
    assert_eq!(remote.resolve("v1", TIMEOUT).await?.digest, digest);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_index_the_usual_platform_is_read() -> Result<()> {
    let registry = open_registry().await;
    let remote = remote(&registry.oci_url("reading/index"), Access::default())?;
    let inner = remote.push_artifact("inner", artifact("x"), TIMEOUT).await?;
    let index = |platform: &str| {
        let text = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_INDEX,
            "manifests": [{
                "mediaType": media_type::OCI_MANIFEST,
                "digest": inner.to_string(),
                "size": 1,
                "platform": {"os": "linux", "architecture": platform},
            }],
        });
        Bytes::from(text.to_string())
    };
    let outer = remote
        .push_manifest("both", index("amd64"), media_type::OCI_INDEX, TIMEOUT)
        .await?;
    assert_eq!(remote.resolve("both", TIMEOUT).await?.digest, outer);
    assert_eq!(remote.manifest(&outer, TIMEOUT).await?.digest, inner);
    let other = remote
        .push_manifest("other", index("arm64"), media_type::OCI_INDEX, TIMEOUT)
        .await?;
    let error = remote.manifest(&other, TIMEOUT).await.unwrap_err().to_string();
    assert!(error.contains("has no manifest for linux/amd64"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_layer_comes_whole() -> Result<()> {
    let registry = open_registry().await;
    let remote = remote(&registry.oci_url("reading/large"), Access::default())?;
    let data: Vec<u8> = (0..20_000_000_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let packed = PackedArtifact {
        config: (media_type::FLUX_CONFIG, Bytes::from_static(b"{}")),
        layers: vec![(
            "application/octet-stream".into(),
            data.clone().into(),
            Default::default(),
        )],
        annotations: Default::default(),
    };
    let digest = remote.push_artifact("v1", packed, TIMEOUT).await?;
    let pulled = remote.manifest(&digest, TIMEOUT).await?;
    let file = tempfile::NamedTempFile::new()?;
    let mut writer = tokio::fs::File::from_std(file.reopen()?);
    remote
        .download(&pulled.manifest.layers[0], &mut writer, TIMEOUT)
        .await?;
    assert!(std::fs::read(file.path())? == data, "the layer is another one");
    Ok(())
}
