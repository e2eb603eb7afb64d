//! `spec.verify` of what comes from a registry: whose signatures count, where they are, and whether one holds.

use std::{error::Error, time::Duration};

use nave_artifact::Digest;
use nave_crds::{
    conditions::SOURCE_VERIFIED,
    meta::LocalRef,
    reasons::source as reasons,
    source::{ChartVerification, OciVerification, OidcIdentityMatch, VerificationProvider},
};
use nave_oci::{OciError, Pulled, Remote};
use nave_verify::{
    Cosign, Identity, Keyless, PublicKeys, Signer, TrustError, media_type,
    notation::{self, Judged, Notation},
};

use crate::{
    common::Common,
    failure::{Failure, Retry, chain},
    source::Source,
};

/// What a spec asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    provider: VerificationProvider,
    secret: Option<&'a LocalRef>,
    identities: &'a [OidcIdentityMatch],
    trusted_root: Option<&'a LocalRef>,
}

impl<'a> From<&'a OciVerification> for Wanted<'a> {
    fn from(spec: &'a OciVerification) -> Self {
        Wanted {
            provider: spec.provider,
            secret: spec.secret_ref.as_ref(),
            identities: &spec.match_oidc_identity,
            trusted_root: spec.trusted_root_secret_ref.as_ref(),
        }
    }
}

impl<'a> From<&'a ChartVerification> for Wanted<'a> {
    fn from(spec: &'a ChartVerification) -> Self {
        Wanted {
            provider: spec.provider,
            secret: spec.secret_ref.as_ref(),
            identities: &spec.match_oidc_identity,
            trusted_root: None,
        }
    }
}

/// The key of a trusted root in its Secret.
const TRUSTED_ROOT: &str = "trusted_root.json";
/// Bundles and payloads are small.
const MAX_SIGNATURE: u64 = 4 << 20;
/// So many signatures are looked at; whoever may push can add more.
const MAX_SIGNATURES: usize = 32;
/// As in Flux.
const MAX_NOTATION: usize = 3;
/// So many reasons are told.
const MAX_TOLD: usize = 3;

impl Wanted<'_> {
    /// As Flux's messages have it.
    fn name(&self) -> &'static str {
        match (self.provider, self.secret) {
            (VerificationProvider::Cosign, Some(_)) => "cosign",
            (VerificationProvider::Cosign, None) => "cosign keyless",
            (VerificationProvider::Notation, _) => "notation",
        }
    }

    fn failure(&self, retry: Retry, text: &str) -> Failure {
        let message = format!(
            "failed to verify the signature using provider '{}': {text}",
            self.name()
        );
        Failure::new(retry, SOURCE_VERIFIED, reasons::VERIFICATION_ERROR, message)
    }
}

impl<K: Source> Common<K> {
    /// Who signed the manifest or index `digest`, when that is somebody whom the spec allows. None when a trust policy
    /// says that it does not matter.
    pub(crate) async fn verify(
        &self,
        namespace: &str,
        wanted: Wanted<'_>,
        remote: &Remote,
        digest: &Digest,
        timeout: Duration,
    ) -> Result<Option<Signer>, Failure> {
        let failed = |error: OciError| wanted.failure(Retry::Backoff, &chain(&error));
        let refused = match wanted.provider {
            VerificationProvider::Notation => {
                match self.by_notation(namespace, wanted, remote, digest, timeout).await? {
                    Ok(signer) => return Ok(signer),
                    Err(refused) => refused,
                }
            }
            VerificationProvider::Cosign => {
                let cosign = self.cosign(namespace, wanted).await?;
                match by_cosign(&cosign, remote, digest, timeout).await.map_err(failed)? {
                    Ok(signer) => return Ok(Some(signer)),
                    Err(refused) => refused,
                }
            }
        };
        let told = match refused.len() {
            0 => "; it has none".to_owned(),
            count => format!("; of {count}: {}", refused[..count.min(MAX_TOLD)].join("; ")),
        };
        let text = format!(
            "no matching signatures were found for '{}@{digest}'{told}",
            remote.repository()
        );
        Err(wanted.failure(Retry::Backoff, &text))
    }

    async fn by_notation(
        &self,
        namespace: &str,
        wanted: Wanted<'_>,
        remote: &Remote,
        digest: &Digest,
        timeout: Duration,
    ) -> Result<Result<Option<Signer>, Vec<String>>, Failure> {
        let failed = |error: OciError| wanted.failure(Retry::Backoff, &chain(&error));
        let secret = self.trust(namespace, wanted, "secretRef", wanted.secret).await?;
        let secret = secret.ok_or_else(|| {
            let text = "spec.verify.secretRef is not set, and with it there is no trust policy";
            wanted.failure(Retry::Stalled, text)
        })?;
        let notation = Notation::from_secret(&secret.data).map_err(|error| {
            let text = format!("spec.verify.secretRef: secret '{}': {}", secret.name, chain(&error));
            wanted.failure(Retry::Backoff, &text)
        })?;
        let place = remote.repository();
        let repository = format!("{}/{}", place.registry(), place.name());
        let is_skipped = notation
            .is_skipped(&repository)
            .map_err(|error| wanted.failure(Retry::Backoff, &chain(&error)))?;
        if is_skipped {
            return Ok(Ok(None));
        }
        let mut refused = Vec::new();
        let signatures = referring(remote, digest, notation::media_type::SIGNATURE, MAX_NOTATION, timeout).await;
        for pulled in signatures.map_err(failed)? {
            let Some(layer) = pulled.manifest.layers.first() else {
                continue;
            };
            let envelope = remote.blob(layer, MAX_SIGNATURE, timeout).await.map_err(failed)?;
            let text = digest.to_string();
            let target = notation::Target {
                repository: &repository,
                digest: &text,
                now: jiff::Timestamp::now().as_second(),
            };
            match notation.check(target, &layer.media_type, &envelope) {
                Ok(Judged::Verified(signer)) => return Ok(Ok(Some(signer))),
                // As in Flux: the artifact is stored, and nobody says that it was verified.
                Ok(Judged::Ignored(_)) => return Ok(Ok(None)),
                Err(error) => refused.push(chain(&error)),
            }
        }
        Ok(Err(refused))
    }

    async fn cosign(&self, namespace: &str, wanted: Wanted<'_>) -> Result<Cosign, Failure> {
        let unusable = |field: &str, error: &(dyn Error + 'static)| {
            wanted.failure(Retry::Backoff, &format!("spec.verify.{field}: {}", chain(error)))
        };
        if let Some(secret) = self.trust(namespace, wanted, "secretRef", wanted.secret).await? {
            let keys = PublicKeys::from_secret(&secret.data)
                .map_err(|error| unusable(&format!("secretRef: secret '{}'", secret.name), &error))?;
            return Ok(Cosign::Keys(keys));
        }
        let identities: Result<Vec<Identity>, TrustError> = wanted
            .identities
            .iter()
            .map(|identity| Identity::new(&identity.issuer, &identity.subject))
            .collect();
        let identities = identities.map_err(|error| unusable("matchOIDCIdentity", &error))?;
        let field = "trustedRootSecretRef";
        let root = match self.trust(namespace, wanted, field, wanted.trusted_root).await? {
            None => None,
            Some(mut secret) => match secret.data.remove(TRUSTED_ROOT) {
                Some(root) => Some(root),
                None => {
                    let text = format!(
                        "spec.verify.{field}: secret '{}' has no key '{TRUSTED_ROOT}'",
                        secret.name
                    );
                    return Err(wanted.failure(Retry::Backoff, &text));
                }
            },
        };
        let keyless = Keyless::new(root.as_deref(), identities).map_err(|error| unusable(field, &error))?;
        Ok(Cosign::Keyless(Box::new(keyless)))
    }

    async fn trust(
        &self,
        namespace: &str,
        wanted: Wanted<'_>,
        field: &str,
        reference: Option<&LocalRef>,
    ) -> Result<Option<crate::common::NamedSecret>, Failure> {
        let found = self.secret(namespace, &format!("verify.{field}"), reference).await;
        found.map_err(|failure| wanted.failure(Retry::Backoff, &failure.message))
    }
}

/// Bundles first. As in Flux and cosign, where there are bundles the older layout is not looked at.
async fn by_cosign(
    cosign: &Cosign,
    remote: &Remote,
    digest: &Digest,
    timeout: Duration,
) -> Result<Result<Signer, Vec<String>>, OciError> {
    let mut refused = Vec::new();
    let text = digest.to_string();
    let (bundles, not_listed) = match referring(remote, digest, media_type::BUNDLE, MAX_SIGNATURES, timeout).await {
        Ok(bundles) => (bundles, None),
        // Signatures under a tag are still to be found, as in Flux.
        Err(error) => (Vec::new(), Some(error)),
    };
    for pulled in &bundles {
        let mut layers = pulled.manifest.layers.iter();
        let Some(layer) = layers.find(|layer| layer.media_type.starts_with(media_type::BUNDLE)) else {
            continue;
        };
        let bundle = remote.blob(layer, MAX_SIGNATURE, timeout).await?;
        match cosign.check_bundle(&text, &bundle) {
            Ok(signer) => return Ok(Ok(signer)),
            Err(error) => refused.push(chain(&error)),
        }
    }
    if !bundles.is_empty() {
        return Ok(Err(refused));
    }
    let tag = format!("{}.sig", text.replacen(':', "-", 1));
    let signatures = remote.tagged(&tag, timeout).await?;
    let layers = signatures.map(|pulled| pulled.manifest.layers).unwrap_or_default();
    let layers = layers
        .iter()
        .filter(|layer| layer.media_type == media_type::SIMPLE_SIGNING);
    for layer in layers.take(MAX_SIGNATURES) {
        let payload = remote.blob(layer, MAX_SIGNATURE, timeout).await?;
        match cosign.check_tag_signature(&text, &payload, &layer.annotations) {
            Ok(signer) => return Ok(Ok(signer)),
            Err(error) => refused.push(chain(&error)),
        }
    }
    match not_listed {
        Some(error) if refused.is_empty() => Err(error),
        _ => Ok(Err(refused)),
    }
}

/// Manifests of one kind that refer to the artifact.
async fn referring(
    remote: &Remote,
    digest: &Digest,
    kind: &str,
    most: usize,
    timeout: Duration,
) -> Result<Vec<Pulled>, OciError> {
    let mut found = Vec::new();
    for referrer in remote.referrers(digest, timeout).await? {
        // Where the list does not say what a referrer is, its manifest does.
        if !referrer.artifact_type.is_empty() && !referrer.artifact_type.starts_with(kind) {
            continue;
        }
        let pulled = remote.manifest(&referrer.digest, timeout).await?;
        if pulled.manifest.kind().starts_with(kind) {
            found.push(pulled);
        }
        if found.len() == most {
            break;
        }
    }
    Ok(found)
}
