//! Users, tokens, certificates, proxies; and what is said when they are wrong. Passwords appear nowhere.

use anyhow::{Context as _, Result};
use nave_bed::{Registry, RegistryFront, RegistryOptions};
use nave_net::TlsOptions;
use nave_oci::{Access, OciError};

use crate::stage::{TIMEOUT, artifact, chain, open_registry, remote, user};

const PASSWORD: &str = "canary-4f1c9b";

#[tokio::test(flavor = "multi_thread")]
async fn user_and_password() -> Result<()> {
    let registry = Registry::start(RegistryOptions {
        user: Some(("me".into(), PASSWORD.into())),
        ..Default::default()
    })
    .await?;
    let url = registry.oci_url("app");
    let right = remote(&url, user("me", PASSWORD))?;
    let digest = right.push_artifact("v1", artifact("x"), TIMEOUT).await?;
    assert_eq!(right.resolve("v1", TIMEOUT).await?.digest, digest);

    let wrong = remote(&url, user("me", "canary-wrong"))?;
    let error = wrong.resolve("v1", TIMEOUT).await.unwrap_err();
    assert!(error.is_access(), "{error}");
    let text = chain(&error);
    assert!(
        text.contains("refused access (HTTP 401): check the credentials"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
    let nobody = remote(&url, Access::default())?;
    let error = chain(&nobody.tags(TIMEOUT).await.unwrap_err());
    assert!(error.contains("it asks for credentials, and none are given"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_fetched_once_and_again_when_they_end() -> Result<()> {
    let registry = open_registry().await;
    let front = RegistryFront::start(registry.address()).await?;
    front.ask_for_tokens("me", PASSWORD);
    let url = front.oci_url("access/tokens");
    let right = remote(&url, user("me", PASSWORD))?;
    right.push_artifact("v1", artifact("x"), TIMEOUT).await?;
    front.clear_requests();
    right.resolve("v1", TIMEOUT).await?;
    right.resolve("v1", TIMEOUT).await?;
    let tokens = |front: &RegistryFront| front.requests().iter().filter(|r| r.path.starts_with("/token")).count();
    assert_eq!(tokens(&front), 0, "the token of the push is good for pulling");
    front.revoke_tokens();
    right.resolve("v1", TIMEOUT).await?;
    assert_eq!(tokens(&front), 1);

    let wrong = remote(&url, user("me", "canary-wrong"))?;
    let error = wrong.resolve("v1", TIMEOUT).await.unwrap_err();
    assert!(matches!(error, OciError::Unauthorized { status: 401, .. }), "{error}");
    let nobody = remote(&url, Access::default())?;
    let error = chain(&nobody.resolve("v1", TIMEOUT).await.unwrap_err());
    assert!(error.contains("none are given") && !error.contains("canary"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_authority_and_a_client_certificate() -> Result<()> {
    let registry = Registry::start(RegistryOptions {
        mutual_tls: true,
        ..Default::default()
    })
    .await?;
    let url = registry.oci_url("app");
    let ca = registry.ca_pem().context("it speaks TLS")?.as_bytes().to_vec();
    let client = registry.client()?;
    let access = |ca: Option<Vec<u8>>, identity: bool, insecure: bool| Access {
        tls: TlsOptions {
            ca,
            identity: identity.then(|| (client.certificate.clone().into_bytes(), client.key.clone().into_bytes())),
        },
        insecure,
        ..Access::default()
    };
    let right = remote(&url, access(Some(ca.clone()), true, false))?;
    right.push_artifact("v1", artifact("x"), TIMEOUT).await?;
    right.resolve("v1", TIMEOUT).await?;

    // 127.0.0.1 is near: a wrong certificate still is no reason to go without TLS.
    let error = remote(&url, Access::default())?
        .resolve("v1", TIMEOUT)
        .await
        .unwrap_err();
    assert!(error.is_access(), "{error}");
    assert!(error.to_string().contains("signed by an unknown authority"), "{error}");
    let error = remote(&url, access(Some(ca), false, false))?
        .resolve("v1", TIMEOUT)
        .await
        .unwrap_err();
    assert!(error.is_access(), "{error}");
    // With TLS settings of its own, "insecure" does not switch checks off.
    let error = remote(&url, access(None, true, true))?
        .resolve("v1", TIMEOUT)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("signed by an unknown authority"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn insecure_takes_any_certificate() -> Result<()> {
    let registry = Registry::start(RegistryOptions {
        tls: true,
        ..Default::default()
    })
    .await?;
    let insecure = Access {
        insecure: true,
        ..Access::default()
    };
    let remote = remote(&registry.oci_url("app"), insecure)?;
    remote.push_artifact("v1", artifact("x"), TIMEOUT).await?;
    remote.resolve("v1", TIMEOUT).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_there() -> Result<()> {
    let port = nave_bed::free_tcp_port()?;
    let remote = remote(&format!("oci://127.0.0.1:{port}/app"), Access::default())?;
    let error = remote.resolve("v1", TIMEOUT).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot reach 127.0.0.1:{port}: ")),
        "{error}"
    );
    Ok(())
}
