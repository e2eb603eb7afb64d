//! What the checks conclude from what they read.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::Lease, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};

/// Oldest Kubernetes that is supported: that of Flux 2.9.
pub const MINIMUM: &str = "1.33.0";
const MINIMUM_PARTS: (u32, u32) = (1, 33);

/// Who holds a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// An agent of ours.
    Nave(String),
    /// Somebody else.
    Other(String),
}

/// Whether a version such as `v1.36.3` or `v1.33.0-eks-1` is new enough.
pub fn supported(version: &str) -> Result<(), String> {
    let mut parts = version
        .trim_start_matches('v')
        .split(['.', '-', '+'])
        .map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= MINIMUM_PARTS => Ok(()),
        (Some(Ok(_)), Some(Ok(_))) => Err(format!("Kubernetes version {version} is older than {MINIMUM}")),
        _ => Err(format!("Kubernetes version {version:?} cannot be read")),
    }
}

/// The last stored version of a definition, or what is wrong with it.
pub fn definition(found: &CustomResourceDefinition, wanted: &CustomResourceDefinition) -> Result<String, String> {
    let status = found.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    if !conditions
        .iter()
        .any(|condition| condition.type_ == "Established" && condition.status == "True")
    {
        return Err("not established".to_owned());
    }
    for version in &wanted.spec.versions {
        if !found
            .spec
            .versions
            .iter()
            .any(|there| there.name == version.name && there.served)
        {
            return Err(format!("version {} is not served", version.name));
        }
    }
    let stored = status.stored_versions.unwrap_or_default();
    Ok(stored.last().cloned().unwrap_or_default())
}

/// Who holds a Lease now; a Lease that ran out or was given back is held by nobody.
pub fn holder_of(lease: &Lease, now: Timestamp) -> Option<Holder> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty())?;
    let renewed = spec.renew_time.as_ref()?.0;
    let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
    let age = Duration::try_from(now.duration_since(renewed)).unwrap_or_default();
    if age > Duration::from_secs(seconds) {
        return None;
    }
    // Pods are named after their Deployment, and the identity begins with the name of the pod.
    Some(if holder.starts_with("nave-") {
        Holder::Nave(holder)
    } else {
        Holder::Other(holder)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, fits) in [
            ("v1.36.3", true),
            ("v1.33.0-eks-a1b2", true),
            ("v1.33+", true),
            ("v2.0.0", true),
            ("v1.32.9", false),
            ("v1.4.0", false),
            ("", false),
            ("vx.y", false),
        ] {
            assert_eq!(supported(version).is_ok(), fits, "{version}");
        }
    }

    #[test]
    fn a_lease_that_ran_out_is_held_by_nobody() {
        let check = |holder: &str, renewed: &str, want: Option<Holder>| {
            let lease: Lease = serde_json::from_value(json!({
                "metadata": {"name": "a"},
                "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 35}
            }))
            .expect("a lease");
            let now = "2026-11-21T08:00:00Z".parse().expect("a time");
            assert_eq!(holder_of(&lease, now), want, "{holder} {renewed}");
        };
        let fresh = "2026-11-21T07:59:50.000000Z";
        check("nave-agent-7c9_x", fresh, Some(Holder::Nave("nave-agent-7c9_x".into())));
        check(
            "source-controller-1_y",
            fresh,
            Some(Holder::Other("source-controller-1_y".into())),
        );
        check("source-controller-1_y", "2026-11-21T07:58:00.000000Z", None);
        check("", fresh, None);
    }
}
