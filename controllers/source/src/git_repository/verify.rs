//! Whether a revision is signed as the spec wants it. Pure: the time is an argument.

use nave_crds::{conditions::SOURCE_VERIFIED, reasons::source as reasons};
use nave_git::{Checkout, Resolved, SignatureError, TrustedKeys};

use super::plan::Verify;
use crate::failure::{Failure, Retry};

/// What the condition says of a revision that is signed; the failure of one that is not.
pub(crate) fn verify<F>(
    verify: &Verify,
    keys: &TrustedKeys,
    resolved: &Resolved,
    checkout: &Checkout<F>,
    now: u64,
) -> Result<String, Failure> {
    let failed = |reason, message| Failure::new(Retry::Backoff, SOURCE_VERIFIED, reason, message);
    let mut found = Vec::new();
    if verify.tag {
        let reference = resolved.reference.as_deref().unwrap_or_default();
        let tag = format!("tag '{}'", reference.strip_prefix("refs/tags/").unwrap_or(reference));
        let object = checkout.tag_object.as_deref().ok_or_else(|| {
            let message = format!("cannot verify the signature of {tag}: it is not an annotated tag, so it has none");
            failed(reasons::INVALID_GIT_OBJECT, message)
        })?;
        let signer = keys.verify_tag(object, now).map_err(|error| match error {
            SignatureError::Unsigned => failed(
                reasons::INVALID_GIT_OBJECT,
                format!("cannot verify the signature of {tag}: {error}"),
            ),
            other => failed(
                reasons::INVALID_TAG_SIGNATURE,
                format!("signature verification of {tag} failed: {other}"),
            ),
        })?;
        found.push(format!("{tag} with {signer}"));
    }
    if verify.commit {
        let commit = format!("commit '{}'", resolved.commit);
        let signer = keys.verify_commit(&checkout.commit_object, now).map_err(|error| {
            failed(
                reasons::INVALID_COMMIT_SIGNATURE,
                format!("signature verification of {commit} failed: {error}"),
            )
        })?;
        found.push(format!("{commit} with {signer}"));
    }
    Ok(format!("verified signature of {}", found.join(" and ")))
}
