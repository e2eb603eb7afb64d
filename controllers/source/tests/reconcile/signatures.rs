//! `spec.verify` against a real registry: whose artifacts are stored, and what is said of all others.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, api::PostParams};
use nave_artifact::Digest;
use nave_bed::{CosignKey, Notary, Signatory, Sigstore, TagSignature};
use nave_oci::{Access, Descriptor, Remote, chart_artifact, flux_artifact, media_type};
use serde_json::{Value, json};

use crate::{
    objects::condition,
    oci::{open_registry, remote, tarball},
    stage::Stage,
};

const KIND: &str = "OCIRepository";
const TIMEOUT: Duration = Duration::from_secs(60);
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const WHO: Signatory<'static> = Signatory {
    subject: "release@example.com",
    issuer: "https://accounts.example.com",
};

async fn push(remote: &Remote, text: &str) -> Result<Digest> {
    let artifact = flux_artifact(tarball(&[("a.yaml", text)]).into(), BTreeMap::new());
    Ok(remote.push_artifact("latest", artifact, TIMEOUT).await?)
}

fn manifest(config: &Descriptor, layer: Descriptor, more: Value) -> Result<Vec<u8>> {
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": [layer],
    });
    for (field, value) in more.as_object().context("fields are an object")? {
        manifest[field] = value.clone();
    }
    Ok(manifest.to_string().into_bytes())
}

/// Stores a signature as cosign 2 does.
async fn attach(remote: &Remote, digest: &Digest, signature: TagSignature) -> Result<()> {
    let config = remote
        .push_blob("application/vnd.oci.image.config.v1+json", "{}".into(), TIMEOUT)
        .await?;
    let mut layer = remote
        .push_blob(SIMPLE_SIGNING, signature.payload.into(), TIMEOUT)
        .await?;
    layer.annotations = signature.annotations;
    let manifest = manifest(&config, layer, json!({}))?;
    let tag = format!("{}.sig", digest.to_string().replace(':', "-"));
    remote
        .push_manifest(&tag, manifest.into(), media_type::OCI_MANIFEST, TIMEOUT)
        .await?;
    Ok(())
}

/// Stores a bundle as cosign 3 does with a registry that keeps no list of referrers.
async fn refer(remote: &Remote, digest: &Digest, bundle: String) -> Result<()> {
    refer_as(remote, digest, BUNDLE, BUNDLE, bundle.into_bytes()).await
}

/// Stores something that refers to an artifact, with a registry that keeps no list of referrers.
async fn refer_as(remote: &Remote, digest: &Digest, artifact: &str, kind: &str, content: Vec<u8>) -> Result<()> {
    let config = remote
        .push_blob("application/vnd.oci.empty.v1+json", "{}".into(), TIMEOUT)
        .await?;
    let layer = remote.push_blob(kind, content.into(), TIMEOUT).await?;
    let subject = json!({"mediaType": media_type::OCI_MANIFEST, "digest": digest.to_string(), "size": 1});
    let manifest = manifest(&config, layer, json!({"artifactType": artifact, "subject": subject}))?;
    let size = manifest.len();
    let pushed = remote
        .push_manifest("bundle", manifest.into(), media_type::OCI_MANIFEST, TIMEOUT)
        .await?;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": [{
            "mediaType": media_type::OCI_MANIFEST, "digest": pushed.to_string(), "size": size, "artifactType": artifact,
        }],
    });
    let tag = digest.to_string().replace(':', "-");
    remote
        .push_manifest(&tag, index.to_string().into(), media_type::OCI_INDEX, TIMEOUT)
        .await?;
    Ok(())
}

/// The whole message of a refusal that says `part`.
async fn refused(stage: &Stage, name: &str, part: &str) -> Result<String> {
    assert_eq!(stage.failed_saying(KIND, name, part).await?, "VerificationError");
    stage.failed_object(KIND, name, "VerificationError").await
}

fn spec(url: &str, verify: Value) -> Value {
    json!({"url": url, "interval": "1h", "verify": verify})
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_key_signed_is_stored() -> Result<()> {
    let url = open_registry().await.oci_url("signed/key");
    let remote = remote(&url, Access::default())?;
    let (key, stranger) = (CosignKey::new()?, CosignKey::new()?);
    let first = push(&remote, "1").await?;
    let mut stage = Stage::start("verify-key").await?;
    let verify = json!({"provider": "cosign", "secretRef": {"name": "keys"}});
    stage.apply_object(KIND, "app", spec(&url, verify)).await?;
    let message = stage.failed_object(KIND, "app", "VerificationError").await?;
    assert!(
        message.contains("spec.verify.secretRef: secret") && message.ends_with("not found"),
        "{message}"
    );
    stage.secret("keys", &[("cosign.pub", &key.public_pem())]).await?;
    let none = format!(
        "failed to verify the signature using provider 'cosign': no matching signatures were found for '{url}@{first}'; \
         it has none"
    );
    assert_eq!(refused(&stage, "app", "no matching signatures").await?, none);

    attach(&remote, &first, stranger.sign_tag(&first.to_string())?).await?;
    let message = refused(&stage, "app", "it was made by none").await?;
    assert!(
        message.ends_with("; of 1: it was made by none of the keys cosign.pub"),
        "{message}"
    );
    let status = stage.object(KIND, "app").await?["status"].clone();
    assert!(status["artifact"].is_null(), "{status}");
    assert_eq!(
        condition(&status, "SourceVerified").context("it is said")?["status"],
        "False"
    );

    attach(&remote, &first, key.sign_tag(&first.to_string())?).await?;
    let status = stage.ready_object(KIND, "app", &format!("latest@{first}")).await?;
    let verified = condition(&status, "SourceVerified").context("it is said")?;
    assert_eq!(verified["status"], "True");
    assert_eq!(
        verified["message"],
        format!("verified signature of revision latest@{first}")
    );

    // What is pushed by somebody else is not stored, and the last good artifact stays.
    let second = push(&remote, "2").await?;
    stage.request(KIND, "app", "1").await?;
    let message = stage.failed_object(KIND, "app", "VerificationError").await?;
    assert!(message.contains(&second.to_string()), "{message}");
    let status = stage.object(KIND, "app").await?["status"].clone();
    assert_eq!(status["artifact"]["revision"], format!("latest@{first}"));
    stage.fetch(&status).await?;
    refer(&remote, &second, key.sign_bundle(&second.to_string())?).await?;
    stage.ready_object(KIND, "app", &format!("latest@{second}")).await?;

    // Without spec.verify nothing is said.
    let plain = json!({"url": url, "interval": "1h"});
    stage.objects(KIND).delete("app", &Default::default()).await?;
    stage.apply_object(KIND, "plain", plain).await?;
    let status = stage.ready_object(KIND, "plain", &format!("latest@{second}")).await?;
    assert!(condition(&status, "SourceVerified").is_none(), "{status}");
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_an_identity_signed_is_stored() -> Result<()> {
    let url = open_registry().await.oci_url("signed/keyless");
    let remote = remote(&url, Access::default())?;
    let sigstore = Sigstore::new()?;
    let digest = push(&remote, "1").await?;
    attach(&remote, &digest, sigstore.sign_tag(&digest.to_string(), WHO)?).await?;
    let mut stage = Stage::start("verify-keyless").await?;
    stage
        .secret("root", &[("trusted_root.json", &sigstore.trusted_root())])
        .await?;
    stage.secret("empty", &[("other", "x")]).await?;
    let verify = |issuer: &str, subject: &str, root: Option<&str>| {
        let mut verify = json!({
            "provider": "cosign", "matchOIDCIdentity": [{"issuer": issuer, "subject": subject}],
        });
        if let Some(root) = root {
            verify["trustedRootSecretRef"] = json!({"name": root});
        }
        spec(&url, verify)
    };
    let (issuer, subject) = ("^https://accounts\\.example\\.com$", "@example\\.com$");
    let revision = format!("latest@{digest}");
    stage
        .apply_object(KIND, "tag", verify(issuer, subject, Some("root")))
        .await?;
    stage.ready_object(KIND, "tag", &revision).await?;
    for (name, fields, part) in [
        (
            "subject",
            verify(issuer, "^ops@", Some("root")),
            "it was made by 'release@example.com' of issuer",
        ),
        (
            "issuer",
            verify("google", subject, Some("root")),
            "which spec.verify.matchOIDCIdentity does not allow",
        ),
        (
            "public",
            verify(issuer, subject, None),
            "no matching signatures were found",
        ),
        (
            "pattern",
            verify("(", subject, Some("root")),
            "spec.verify.matchOIDCIdentity: issuer '('",
        ),
        (
            "empty",
            verify(issuer, subject, Some("empty")),
            "has no key 'trusted_root.json'",
        ),
    ] {
        stage.apply_object(KIND, name, fields).await?;
        let message = stage.failed_object(KIND, name, "VerificationError").await?;
        assert!(
            message.starts_with("failed to verify the signature using provider 'cosign keyless': "),
            "{message}"
        );
        assert!(message.contains(part), "{name}: {message}");
    }
    refer(&remote, &digest, sigstore.sign_bundle(&digest.to_string(), WHO)?).await?;
    stage
        .apply_object(KIND, "bundle", verify(issuer, subject, Some("root")))
        .await?;
    stage.ready_object(KIND, "bundle", &revision).await?;
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_trust_policy_trusts_is_stored() -> Result<()> {
    let url = open_registry().await.oci_url("signed/notation");
    let remote = remote(&url, Access::default())?;
    let notary = Notary::new("example")?;
    let digest = push(&remote, "1").await?;
    let mut stage = Stage::start("verify-notation").await?;
    let policy = |level: &str, organization: &str| {
        let identity = format!("x509.subject: C=US, ST=WA, O={organization}");
        json!({"version": "1.0", "trustPolicies": [{
            "name": "all", "registryScopes": ["*"], "signatureVerification": {"level": level},
            "trustStores": ["ca:example"], "trustedIdentities": [identity],
        }]})
        .to_string()
    };
    let good = policy("strict", "example");
    for (name, policy) in [
        ("good", good.as_str()),
        ("other", &policy("strict", "other")),
        ("audit", &policy("audit", "other")),
        ("skip", &policy("skip", "other")),
    ] {
        stage
            .secret(name, &[("trustpolicy.json", policy), ("ca.crt", notary.root_pem())])
            .await?;
    }
    let verify = |secret: &str| spec(&url, json!({"provider": "notation", "secretRef": {"name": secret}}));
    let revision = format!("latest@{digest}");
    stage.apply_object(KIND, "good", verify("good")).await?;
    let message = stage.failed_object(KIND, "good", "VerificationError").await?;
    let wanted = "failed to verify the signature using provider 'notation': no matching signatures were found for";
    assert!(message.starts_with(wanted), "{message}");
    // Not even a signature is needed.
    stage.apply_object(KIND, "skip", verify("skip")).await?;
    let status = stage.ready_object(KIND, "skip", &revision).await?;
    assert!(condition(&status, "SourceVerified").is_none(), "{status}");

    let envelope = notary.sign(&digest.to_string(), 1)?;
    let artifact = "application/vnd.cncf.notary.signature";
    refer_as(&remote, &digest, artifact, "application/jose+json", envelope).await?;
    let status = stage.ready_object(KIND, "good", &revision).await?;
    assert_eq!(
        condition(&status, "SourceVerified").context("it is said")?["status"],
        "True"
    );
    stage.apply_object(KIND, "other", verify("other")).await?;
    let message = refused(&stage, "other", "does not trust").await?;
    assert!(
        message.contains("it was made by 'C=US, ST=WA, O=example, CN=signer'"),
        "{message}"
    );
    stage.apply_object(KIND, "audit", verify("audit")).await?;
    let status = stage.ready_object(KIND, "audit", &revision).await?;
    assert!(condition(&status, "SourceVerified").is_none(), "{status}");
    stage
        .apply_object(KIND, "none", spec(&url, json!({"provider": "notation"})))
        .await?;
    let message = stage.failed_object(KIND, "none", "VerificationError").await?;
    assert!(message.contains("spec.verify.secretRef is not set"), "{message}");
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_of_a_registry_are_verified() -> Result<()> {
    let url = open_registry().await.oci_url("signed/charts");
    let remote = remote(&format!("{url}/app"), Access::default())?;
    let key = CosignKey::new()?;
    let push = async |version: &str| -> Result<Digest> {
        let json = json!({"apiVersion": "v2", "name": "app", "version": version}).to_string();
        let package = crate::chart_server::package("app", version, &[]);
        let artifact = chart_artifact(package.into(), json.into(), BTreeMap::new());
        Ok(remote.push_artifact(version, artifact, TIMEOUT).await?)
    };
    let (good, _) = (push("1.0.0").await?, push("2.0.0").await?);
    attach(&remote, &good, key.sign_tag(&good.to_string())?).await?;
    let mut stage = Stage::start("verify-chart").await?;
    stage.secret("keys", &[("cosign.pub", &key.public_pem())]).await?;
    stage
        .apply_object("HelmRepository", "repo", json!({"url": url, "type": "oci"}))
        .await?;
    let chart = |version: &str| {
        json!({
            "chart": "app", "version": version, "interval": "1h", "sourceRef": {"kind": "HelmRepository", "name": "repo"},
            "verify": {"provider": "cosign", "secretRef": {"name": "keys"}},
        })
    };
    stage.apply_object("HelmChart", "good", chart("1.0.0")).await?;
    let status = stage.ready_object("HelmChart", "good", "1.0.0").await?;
    let verified = condition(&status, "SourceVerified").context("it is said")?;
    assert_eq!(verified["message"], "verified signature of version 1.0.0");
    stage.apply_object("HelmChart", "bad", chart("2.x")).await?;
    let message = stage
        .failed_object("HelmChart", "bad", "ChartVerificationError")
        .await?;
    assert!(
        message.starts_with("chart verification error: failed to verify the signature"),
        "{message}"
    );
    let status = stage.object("HelmChart", "bad").await?["status"].clone();
    for (kind, wanted) in [("BuildFailed", "True"), ("SourceVerified", "False")] {
        assert_eq!(
            condition(&status, kind).context("it is said")?["status"],
            wanted,
            "{kind}"
        );
    }
    assert!(status["artifact"].is_null(), "{status}");
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clouds_are_asked_for_their_own_registries_only() -> Result<()> {
    let url = open_registry().await.oci_url("signed/cloud");
    let cloud = nave_net::cloud::Cloud::new(Default::default(), None, Default::default())?;
    let mut stage = Stage::start_with("cloud", |options| options.cloud = Some(cloud)).await?;
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": "app"}}))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.api().into_client(), &stage.namespace);
    accounts.create(&PostParams::default(), &account).await?;
    for (name, fields, reason, part) in [
        (
            "other",
            json!({"provider": "aws"}),
            "InvalidProviderConfiguration",
            "is not one of provider 'aws'",
        ),
        (
            "gate",
            json!({"provider": "gcp", "serviceAccountName": "app"}),
            "FeatureGateDisabled",
            "the feature gate ObjectLevelWorkloadIdentity is needed",
        ),
    ] {
        let mut spec = json!({"url": url, "interval": "1h"});
        for (field, value) in fields.as_object().context("fields are an object")? {
            spec[field] = value.clone();
        }
        stage.apply_object(KIND, name, spec).await?;
        let message = stage.failed_object(KIND, name, reason).await?;
        assert!(message.contains(part), "{message}");
    }
    stage.stop().await;
    Ok(())
}
