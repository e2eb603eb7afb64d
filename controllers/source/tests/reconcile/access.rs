//! Credentials from Secrets, and what is said when they are wrong. Passwords appear nowhere.

use anyhow::Result;
use nave_bed::{Auth, GitServer, GitServerOptions};
use nave_runtime::Conditions;
use serde_json::json;

use crate::stage::Stage;

const PASSWORD: &str = "canary-4f1c9b";

#[tokio::test(flavor = "multi_thread")]
async fn basic_and_bearer_credentials_of_secrets() -> Result<()> {
    let server = GitServer::start(GitServerOptions {
        auth: Auth::Basic {
            user: "me".into(),
            password: PASSWORD.into(),
        },
        ..Default::default()
    })
    .await?;
    let repository = server.create_repo("app").await?;
    let commit = repository.commit_files(&[("a", "1")]).await?;
    let revision = format!("main@sha1:{commit}");
    let mut stage = Stage::start("auth").await?;
    let with_secret = json!({"secretRef": {"name": "git"}});
    stage.apply("app", repository.url(), with_secret.clone()).await?;
    let message = stage.failed("app", "AuthenticationFailed").await?;
    assert_eq!(
        message,
        format!("spec.secretRef: secret '{}/git' not found", stage.namespace)
    );

    stage
        .secret("git", &[("username", "me"), ("password", "wrong")])
        .await?;
    let message = stage.failed("app", "GitOperationFailed").await?;
    assert!(
        message.contains("refused access (HTTP 401): check the credentials"),
        "{message}"
    );
    stage.secret("git", &[("password", PASSWORD)]).await?;
    let message = stage.failed("app", "AuthenticationFailed").await?;
    assert!(message.contains("key \"username\" is missing"), "{message}");
    stage
        .secret("git", &[("username", "me"), ("password", PASSWORD)])
        .await?;
    stage.ready("app", &revision).await?;

    let embedded = repository.url().replace("://", &format!("://me:{PASSWORD}@"));
    stage.apply("embedded", &embedded, json!({})).await?;
    stage.ready("embedded", &revision).await?;

    server.set_auth(Auth::Bearer(PASSWORD.into()));
    stage.trigger("app");
    stage.failed("app", "GitOperationFailed").await?;
    stage.secret("git", &[("bearerToken", PASSWORD)]).await?;
    stage.ready("app", &revision).await?;
    stage.apply("anonymous", repository.url(), json!({})).await?;
    let message = stage.failed("anonymous", "GitOperationFailed").await?;
    assert!(
        message.contains("it asks for credentials, and none are given"),
        "{message}"
    );

    for name in ["app", "anonymous"] {
        let text = serde_json::to_string(&stage.status(name).await?)?;
        assert!(!text.contains(PASSWORD), "{text}");
    }
    let status = serde_json::to_string(&stage.status("embedded").await?)?;
    assert!(!status.contains(PASSWORD), "{status}");
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_authority() -> Result<()> {
    let server = GitServer::start(GitServerOptions {
        tls: true,
        ..Default::default()
    })
    .await?;
    let repository = server.create_repo("app").await?;
    let commit = repository.commit_files(&[("a", "1")]).await?;
    let mut stage = Stage::start("tls").await?;
    stage
        .apply("app", repository.url(), json!({"secretRef": {"name": "git"}}))
        .await?;
    stage.secret("git", &[("username", "me"), ("password", "x")]).await?;
    let message = stage.failed("app", "GitOperationFailed").await?;
    assert!(message.contains("signed by an unknown authority"), "{message}");
    stage.secret("git", &[("ca.crt", "nonsense")]).await?;
    let message = stage.failed("app", "AuthenticationFailed").await?;
    assert!(message.contains("ca.crt holds no PEM certificate"), "{message}");
    stage
        .secret("git", &[("ca.crt", server.ca_pem().expect("the server speaks TLS"))])
        .await?;
    stage.ready("app", &format!("main@sha1:{commit}")).await?;
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_version_cannot_do_stalls_until_the_spec_changes() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let commit = repository.commit_files(&[("a", "1")]).await?;
    let mut stage = Stage::start("stalled").await?;
    for (name, url, fields, reason, field) in [
        (
            "port",
            "https://me:x@example.com:port/a",
            json!({}),
            "URLInvalid",
            "spec.url",
        ),
        (
            "verify",
            repository.url(),
            json!({"verify": {"mode": "Tag", "secretRef": {"name": "k"}}}),
            "InvalidVerificationMode",
            "spec.verify.mode",
        ),
        (
            "provider",
            repository.url(),
            json!({"provider": "azure"}),
            "InvalidProviderConfiguration",
            "spec.provider: 'azure' cannot be used here",
        ),
        (
            "semver",
            repository.url(),
            json!({"ref": {"semver": "not a range"}}),
            "GitOperationFailed",
            "semver 'not a range' is not a range of versions",
        ),
        (
            "branch",
            repository.url(),
            json!({"ref": {"branch": "a b"}}),
            "GitOperationFailed",
            "invalid reference",
        ),
    ] {
        stage.apply(name, url, fields).await?;
        let message = stage.failed(name, reason).await?;
        assert!(message.starts_with(field), "{message}");
        let status = stage.status(name).await?;
        assert_eq!(status.conditions.reason_of("Stalled"), Some(reason));
        assert!(status.conditions.get_condition("Reconciling").is_none());
        assert_eq!(status.observed_generation, 1);
    }
    stage.apply("semver", repository.url(), json!({})).await?;
    let status = stage.ready("semver", &format!("main@sha1:{commit}")).await?;
    assert!(status.conditions.get_condition("Stalled").is_none());
    stage.stop().await;
    Ok(())
}
