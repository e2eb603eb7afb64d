//! OCIRepository against a real registry: what is pulled, when it is pulled again, and what is said when it cannot be.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use nave_artifact::{Digest, File, FileTree, pack};
use nave_bed::{Registry, RegistryFault, RegistryFront, RegistryOptions};
use nave_net::{BasicAuth, SecretText, TlsOptions};
use nave_oci::{Access, Credentials, Registries, Remote, Repository, flux_artifact};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    objects::condition,
    stage::{Stage, paths},
};

const KIND: &str = "OCIRepository";
const PASSWORD: &str = "canary-77d0aa";
const TIMEOUT: Duration = Duration::from_secs(60);

/// A registry that asks for nothing, shared by the tests: each has a repository of its own.
pub async fn open_registry() -> &'static Registry {
    static REGISTRY: OnceCell<Registry> = OnceCell::const_new();
    REGISTRY
        .get_or_init(|| async {
            Registry::start(RegistryOptions::default())
                .await
                .expect("a registry starts")
        })
        .await
}

pub fn remote(url: &str, access: Access) -> Result<Remote> {
    Ok(Registries::default().open(&Repository::from_url(url)?, access)?)
}

pub fn user(name: &str) -> Access {
    Access {
        credentials: Credentials::Basic(BasicAuth {
            username: name.to_owned(),
            password: SecretText::new(PASSWORD),
        }),
        ..Access::default()
    }
}

pub fn tarball(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tree = FileTree::new();
    for (path, text) in files {
        tree.insert(*path, File::plain(text.as_bytes()))
            .expect("the paths are plain");
    }
    pack(&tree)
}

async fn push(remote: &Remote, tag: &str, files: &[(&str, &str)]) -> Result<Digest> {
    let annotations = BTreeMap::from([
        (
            "org.opencontainers.image.revision".to_owned(),
            "main@sha1:0a".to_owned(),
        ),
        (
            "org.opencontainers.image.source".to_owned(),
            "https://git.example.com/a".to_owned(),
        ),
    ]);
    let artifact = flux_artifact(tarball(files).into(), annotations);
    Ok(remote.push_artifact(tag, artifact, TIMEOUT).await?)
}

fn spec(url: &str, fields: Value) -> Value {
    let mut spec = json!({"url": url, "interval": "1h"});
    for (field, value) in fields.as_object().expect("fields are an object") {
        spec[field] = value.clone();
    }
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_pulled_and_only_a_change_is_pulled_again() -> Result<()> {
    let registry = open_registry().await;
    let front = RegistryFront::start(registry.address()).await?;
    let url = front.oci_url("refresh/app");
    let remote = remote(&url, Access::default())?;
    let first = push(
        &remote,
        "latest",
        &[("a.yaml", "1"), ("logo.png", "2"), (".sourceignore", "/a.yaml\n")],
    )
    .await?;
    let mut stage = Stage::start("oci").await?;
    stage
        .apply_object(KIND, "app", spec(&url, json!({"ignore": "!/a.yaml\n*.txt"})))
        .await?;
    let status = stage.ready_object(KIND, "app", &format!("latest@{first}")).await?;
    assert_eq!(
        paths(&stage.fetch_tree(&status).await?),
        [".sourceignore", "a.yaml", "logo.png"]
    );
    let path = status["artifact"]["path"].as_str().context("it has a path")?;
    assert_eq!(path, format!("ocirepository/{}/app/{first}.tar.gz", stage.namespace));
    let metadata = &status["artifact"]["metadata"];
    assert_eq!(metadata["org.opencontainers.image.revision"], "main@sha1:0a");
    assert_eq!(
        condition(&status, "ArtifactInStorage").context("it is stored")?["message"],
        format!("stored artifact for digest 'latest@{first}'")
    );
    assert_eq!(status["observedIgnore"], "!/a.yaml\n*.txt");
    let event = stage.event("app", "NewArtifact").await?;
    assert_eq!(
        event.message.as_deref(),
        Some(
            format!(
                "stored artifact with revision 'latest@{first}' from '{url}', origin source \
                 'https://git.example.com/a', origin revision 'main@sha1:0a'"
            )
            .as_str()
        )
    );
    assert!(stage.has_finalizer(KIND, "app").await?);

    front.clear_requests();
    let object = stage.reconcile(KIND, "app", "1").await?;
    assert_eq!(
        object["status"]["artifact"], status["artifact"],
        "nothing is stored anew"
    );
    let seen: Vec<String> = front.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(seen, ["HEAD"], "looking for news is one request");
    stage.event("app", "ArtifactUpToDate").await?;

    let second = push(&remote, "latest", &[("b.yaml", "2")]).await?;
    stage.request(KIND, "app", "2").await?;
    let status = stage.ready_object(KIND, "app", &format!("latest@{second}")).await?;
    assert_eq!(paths(&stage.fetch_tree(&status).await?), ["b.yaml"]);

    // What is stored is made again when its settings change, although the registry has nothing new.
    stage
        .apply_object(KIND, "app", spec(&url, json!({"ignore": "*.yaml"})))
        .await?;
    let status = stage
        .wait_object(KIND, "app", "made with other settings", |object| {
            object["status"]["observedIgnore"] == "*.yaml"
        })
        .await?["status"]
        .clone();
    assert!(stage.fetch_tree(&status).await?.is_empty());

    stage.objects(KIND).delete("app", &Default::default()).await?;
    nave_bed::eventually(crate::stage::DEADLINE, "everything of it is gone", || async {
        anyhow::ensure!(!stage.file(&format!("ocirepository/{}/app", stage.namespace)).exists());
        anyhow::ensure!(stage.objects(KIND).get_opt("app").await?.is_none());
        Ok(())
    })
    .await?;
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_versions_and_digests() -> Result<()> {
    let url = open_registry().await.oci_url("references/app");
    let remote = remote(&url, Access::default())?;
    let old = push(&remote, "1.2.3", &[("a", "1")]).await?;
    let new = push(&remote, "1.10.0", &[("a", "2")]).await?;
    let candidate = push(&remote, "2.0.0-rc.1", &[("a", "3")]).await?;
    let mut stage = Stage::start("oci-refs").await?;
    for (name, reference, revision) in [
        ("tag", json!({"tag": "1.2.3"}), format!("1.2.3@{old}")),
        ("range", json!({"semver": "1.x"}), format!("1.10.0@{new}")),
        (
            "filter",
            json!({"semver": ">=1.0.0-0", "semverFilter": "-rc"}),
            format!("2.0.0-rc.1@{candidate}"),
        ),
        (
            "digest",
            json!({"digest": old.to_string(), "tag": "1.10.0"}),
            old.to_string(),
        ),
    ] {
        stage
            .apply_object(KIND, name, spec(&url, json!({"ref": reference})))
            .await?;
        stage.ready_object(KIND, name, &revision).await?;
    }
    stage
        .apply_object(KIND, "missing", spec(&url, json!({"ref": {"tag": "9"}})))
        .await?;
    let message = stage.failed_object(KIND, "missing", "OCIArtifactPullFailed").await?;
    assert!(
        message.starts_with("failed to determine artifact digest: tag '9' not found in oci://"),
        "{message}"
    );
    stage
        .apply_object(KIND, "none", spec(&url, json!({"ref": {"semver": "9.x"}})))
        .await?;
    let message = stage.failed_object(KIND, "none", "ReadOperationFailed").await?;
    assert!(message.ends_with("no match found for semver: 9.x"), "{message}");
    let nothing = Digest::sha256(b"nothing");
    stage
        .apply_object(
            KIND,
            "wrong",
            spec(&url, json!({"ref": {"digest": nothing.to_string()}})),
        )
        .await?;
    let message = stage.failed_object(KIND, "wrong", "OCIArtifactPullFailed").await?;
    assert!(message.contains(&format!("manifest {nothing} not found")), "{message}");

    stage.apply_object(KIND, "copy", spec(&url, json!({
        "ref": {"tag": "1.2.3"},
        "layerSelector": {"mediaType": "application/vnd.cncf.flux.content.v1.tar+gzip", "operation": "copy"},
    }))).await?;
    let status = stage.ready_object(KIND, "copy", &format!("1.2.3@{old}")).await?;
    assert!(
        stage.fetch(&status).await? == tarball(&[("a", "1")]),
        "the layer is stored as it is"
    );
    assert_eq!(status["observedLayerSelector"]["operation"], "copy");
    stage
        .apply_object(
            KIND,
            "layer",
            spec(
                &url,
                json!({"ref": {"tag": "1.2.3"}, "layerSelector": {"mediaType": "x"}}),
            ),
        )
        .await?;
    let message = stage
        .failed_object(KIND, "layer", "OCIArtifactLayerOperationFailed")
        .await?;
    assert_eq!(message, "failed to find layer with media type 'x' in artifact");
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_service_accounts() -> Result<()> {
    let registry = Registry::start(RegistryOptions {
        user: Some(("me".into(), PASSWORD.into())),
        ..Default::default()
    })
    .await?;
    let url = registry.oci_url("app");
    let digest = push(&remote(&url, user("me"))?, "latest", &[("a", "1")]).await?;
    let revision = format!("latest@{digest}");
    let mut stage = Stage::start("oci-auth").await?;
    stage.apply_object(KIND, "nobody", spec(&url, json!({}))).await?;
    let message = stage.failed_object(KIND, "nobody", "OCIArtifactPullFailed").await?;
    assert!(
        message.contains("it asks for credentials, and none are given"),
        "{message}"
    );

    let with_secret = spec(&url, json!({"secretRef": {"name": "registry"}}));
    stage.apply_object(KIND, "secret", with_secret).await?;
    let message = stage.failed_object(KIND, "secret", "AuthenticationFailed").await?;
    assert_eq!(
        message,
        format!("spec.secretRef: secret '{}/registry' not found", stage.namespace)
    );
    stage
        .secret("registry", &[("username", "me"), ("password", PASSWORD)])
        .await?;
    stage
        .failed_saying(KIND, "secret", "key \".dockerconfigjson\" is missing")
        .await?;
    stage
        .docker_secret("registry", registry.address(), "me", "canary-wrong")
        .await?;
    let reason = stage
        .failed_saying(KIND, "secret", "refused access (HTTP 401): check the credentials")
        .await?;
    assert_eq!(reason, "OCIArtifactPullFailed");
    stage
        .docker_secret("registry", registry.address(), "me", PASSWORD)
        .await?;
    stage.ready_object(KIND, "secret", &revision).await?;

    let with_account = spec(&url, json!({"serviceAccountName": "puller"}));
    stage.apply_object(KIND, "account", with_account).await?;
    let message = stage.failed_object(KIND, "account", "AuthenticationFailed").await?;
    assert!(message.ends_with("/puller' not found"), "{message}");
    stage.service_account("puller", "registry").await?;
    stage.ready_object(KIND, "account", &revision).await?;

    // The cloud is asked only where no Secret is named.
    let fields = json!({"provider": "aws", "secretRef": {"name": "registry"}});
    stage.apply_object(KIND, "provider", spec(&url, fields)).await?;
    stage.ready_object(KIND, "provider", &revision).await?;
    stage
        .apply_object(KIND, "cloud", spec(&url, json!({"provider": "aws"})))
        .await?;
    let message = stage
        .failed_object(KIND, "cloud", "InvalidProviderConfiguration")
        .await?;
    assert!(
        message.starts_with("spec.provider: 'aws' cannot be used here"),
        "{message}"
    );
    for name in ["nobody", "secret", "account"] {
        let text = stage.object(KIND, name).await?.to_string();
        assert!(!text.contains("canary"), "{text}");
    }
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_both_sides() -> Result<()> {
    let registry = Registry::start(RegistryOptions {
        mutual_tls: true,
        ..Default::default()
    })
    .await?;
    let url = registry.oci_url("app");
    let ca = registry.ca_pem().context("it speaks TLS")?;
    let client = registry.client()?;
    let access = Access {
        tls: TlsOptions {
            ca: Some(ca.as_bytes().to_vec()),
            identity: Some((client.certificate.clone().into_bytes(), client.key.clone().into_bytes())),
        },
        ..Access::default()
    };
    let digest = push(&remote(&url, access)?, "latest", &[("a", "1")]).await?;
    let revision = format!("latest@{digest}");
    let mut stage = Stage::start("oci-tls").await?;
    stage
        .apply_object(KIND, "app", spec(&url, json!({"certSecretRef": {"name": "tls"}})))
        .await?;
    stage.failed_object(KIND, "app", "AuthenticationFailed").await?;
    stage.secret("tls", &[("other", "x")]).await?;
    stage
        .failed_saying(KIND, "app", "neither \"ca.crt\" nor \"tls.crt\"")
        .await?;
    stage
        .secret("tls", &[("tls.crt", &client.certificate), ("tls.key", &client.key)])
        .await?;
    stage
        .failed_saying(KIND, "app", "signed by an unknown authority")
        .await?;
    stage.secret("tls", &[("ca.crt", ca)]).await?;
    stage
        .failed_saying(KIND, "app", "the server refused the connection")
        .await?;
    stage
        .secret(
            "tls",
            &[
                ("ca.crt", ca),
                ("tls.crt", &client.certificate),
                ("tls.key", &client.key),
            ],
        )
        .await?;
    stage.ready_object(KIND, "app", &revision).await?;
    stage.stop().await;

    let registry = Registry::start(RegistryOptions {
        tls: true,
        ..Default::default()
    })
    .await?;
    let url = registry.oci_url("app");
    let insecure = Access {
        insecure: true,
        ..Access::default()
    };
    let digest = push(&remote(&url, insecure)?, "latest", &[("a", "1")]).await?;
    let mut stage = Stage::start("oci-insecure").await?;
    stage.apply_object(KIND, "app", spec(&url, json!({}))).await?;
    stage
        .failed_saying(KIND, "app", "signed by an unknown authority")
        .await?;
    stage
        .apply_object(KIND, "app", spec(&url, json!({"insecure": true})))
        .await?;
    stage.ready_object(KIND, "app", &format!("latest@{digest}")).await?;
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_lies_or_stalls_changes_nothing() -> Result<()> {
    let registry = open_registry().await;
    let front = RegistryFront::start(registry.address()).await?;
    let mut stage = Stage::start("oci-faults").await?;
    for (number, (fault, said)) in [
        (RegistryFault::AlterBlobs, "has digest sha256:"),
        (RegistryFault::LengthenBlobs, "has more bytes, its manifest says"),
        (RegistryFault::StallBlobs, "nothing came for 1s after"),
        (RegistryFault::AlterManifests, "manifest of oci://"),
        (RegistryFault::Status(500), "HTTP 500"),
    ]
    .into_iter()
    .enumerate()
    {
        let (repository, name) = (format!("faults/app-{number}"), format!("app-{number}"));
        let remote = remote(&registry.oci_url(&repository), Access::default())?;
        let first = push(&remote, "latest", &[("a.yaml", "1")]).await?;
        let object = spec(&front.oci_url(&repository), json!({}));
        stage.apply_object(KIND, &name, object).await?;
        let good = stage.ready_object(KIND, &name, &format!("latest@{first}")).await?;

        // The fault is there before what it spoils, so that no reconcile sees the one without the other.
        front.fail(fault);
        let second = push(&remote, "latest", &[("a.yaml", "2")]).await?;
        stage.request(KIND, &name, "now").await?;
        stage.failed_saying(KIND, &name, said).await?;
        let status = stage.object(KIND, &name).await?["status"].clone();
        assert_eq!(status["artifact"], good["artifact"], "the last good artifact stays");
        assert_eq!(paths(&stage.fetch_tree(&status).await?), ["a.yaml"]);
        assert_eq!(
            condition(&status, "Reconciling").context("it goes on")?["reason"],
            "ProgressingWithRetry"
        );
        front.fail(RegistryFault::None);
        stage.ready_object(KIND, &name, &format!("latest@{second}")).await?;
        // Nothing of what was half pulled is left.
        let directory = stage.file(&format!("ocirepository/{}/{name}", stage.namespace));
        let left: Vec<String> = std::fs::read_dir(directory)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_>>()?;
        assert!(left.iter().all(|name| name.ends_with(".tar.gz")), "{left:?}");
    }
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_suspended_is_left_alone() -> Result<()> {
    let registry = open_registry().await;
    let url = registry.oci_url("suspend/app");
    let remote = remote(&url, Access::default())?;
    let first = push(&remote, "latest", &[("a.yaml", "1")]).await?;
    let mut stage = Stage::start("oci-suspend").await?;
    stage.apply_object(KIND, "app", spec(&url, json!({}))).await?;
    stage.ready_object(KIND, "app", &format!("latest@{first}")).await?;
    stage
        .apply_object(KIND, "app", spec(&url, json!({"suspend": true})))
        .await?;
    let second = push(&remote, "latest", &[("a.yaml", "2")]).await?;
    let object = stage.reconcile(KIND, "app", "now").await?;
    assert_eq!(object["status"]["artifact"]["revision"], format!("latest@{first}"));
    stage
        .apply_object(KIND, "app", spec(&url, json!({"suspend": false})))
        .await?;
    stage.ready_object(KIND, "app", &format!("latest@{second}")).await?;
    stage.stop().await;
    Ok(())
}
