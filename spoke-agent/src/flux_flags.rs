//! Flags and feature gates of Flux's controllers: which of them mean something here, and why the others are refused.
//!
//! A flag that is accepted and does nothing would be believed; so every flag of source-controller 1.9,
//! kustomize-controller 1.9 and helm-controller 1.6 either works or ends the program with a sentence. Only the limits of
//! requests are taken with a warning: every installation that was tuned has them, and what they were set for is there.

use nave_kustomize_controller::FeatureGates;

const NO_INDEX_CACHE: &str = "indexes of chart repositories are read from disk, chart by chart, and not kept in memory";
const NO_TIMEOUT: &str = "a download has the timeout of its source";
const NO_OOM: &str = "the process does not watch its own memory";
const SHA256: &str = "releases are digested with sha256 only";

/// Flags of Flux that this program does not have, and why.
const REFUSED: &[(&str, &str)] = &[
    ("helm-cache-max-size", NO_INDEX_CACHE),
    ("helm-cache-ttl", NO_INDEX_CACHE),
    ("helm-cache-purge-interval", NO_INDEX_CACHE),
    (
        "graceful-shutdown-timeout",
        "an action that is cut off is made up for after the next start",
    ),
    ("http-timeout", NO_TIMEOUT),
    ("oom-watch-memory-threshold", NO_OOM),
    ("oom-watch-interval", NO_OOM),
    ("oom-watch-max-memory-path", NO_OOM),
    ("oom-watch-current-memory-path", NO_OOM),
    ("snapshot-digest-algo", SHA256),
    ("reconciliation-timeout", "there is no ArtifactGenerator controller yet"),
];

/// Gates whose behaviour is fixed here: the only value that is true of this program.
const FIXED: &[(&str, bool)] = &[
    ("CacheSecretsAndConfigMaps", false),
    ("DisableStatusPollerCache", true), // there is no poller: readiness comes from watches
    ("OOMWatch", false),
];

/// Gates that helm-controller still accepts, and that mean nothing any more there either.
const OBSOLETE: &[&str] = &["DetectDrift", "CorrectDrift", "AdoptLegacyReleases"];

/// Why a flag of Flux among these arguments is not there, if one is.
pub fn refused(arguments: impl IntoIterator<Item = String>) -> Option<String> {
    arguments.into_iter().find_map(|argument| {
        let name = argument.strip_prefix("--")?.split('=').next()?.to_owned();
        let (_, why) = REFUSED.iter().find(|(flag, _)| *flag == name)?;
        Some(format!("--{name} cannot be used: {why}"))
    })
}

/// Reads `A=true,B=false`.
///
/// # Errors
/// A gate that nobody knows, or a value that is not true of this program.
pub fn gates(texts: &[String]) -> Result<FeatureGates, String> {
    let mut gates = FeatureGates::default();
    for text in texts.iter().flat_map(|text| text.split(',')).map(str::trim) {
        if text.is_empty() {
            continue;
        }
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("feature gate {text:?} is not NAME=true or NAME=false"))?;
        let value: bool = value
            .parse()
            .map_err(|_| format!("feature gate {name}: {value:?} is neither true nor false"))?;
        match name {
            known if gates.set(known, value) => {}
            // See `helm_gates`.
            "DisableChartDigestTracking" | "DefaultToRetryOnFailure" | "UseHelm3Defaults" | "AllowDNSLookups" => {}
            obsolete if OBSOLETE.contains(&obsolete) => {}
            _ => match FIXED.iter().find(|(fixed, _)| *fixed == name) {
                Some((_, fixed)) if *fixed == value => {}
                Some((_, fixed)) => return Err(format!("feature gate {name} can only be {fixed} here")),
                None => return Err(format!("feature gate {name} is not known")),
            },
        }
    }
    Ok(gates)
}

/// The same for helm-controller; what is wrong with the texts, [`gates`] has said.
pub fn helm_gates(texts: &[String]) -> nave_helm_controller::FeatureGates {
    let shared = gates(texts).unwrap_or_default();
    let is_on = |name: &str| {
        let all = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
        all.filter_map(|text| text.split_once('='))
            .rfind(|(found, _)| *found == name)
            .is_some_and(|(_, value)| value == "true")
    };
    nave_helm_controller::FeatureGates {
        external_artifact: shared.external_artifact,
        additive_cel_dependency_check: shared.additive_cel_dependency_check,
        disable_config_watchers: shared.disable_config_watchers,
        disable_chart_digest_tracking: is_on("DisableChartDigestTracking"),
        default_to_retry_on_failure: is_on("DefaultToRetryOnFailure"),
        use_helm3_defaults: is_on("UseHelm3Defaults"),
        direct_source_fetch: shared.direct_source_fetch,
        allow_dns_lookups: is_on("AllowDNSLookups"),
        object_level_workload_identity: shared.object_level_workload_identity,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Arguments;

    #[test]
    fn what_cannot_mean_anything_is_refused_with_its_reason() {
        let check = |argument: &str, expected: Option<&str>| {
            let found = refused(["nave-agent".to_owned(), argument.to_owned()]);
            match expected {
                Some(words) => assert!(found.as_ref().is_some_and(|text| text.contains(words)), "{found:?}"),
                None => assert_eq!(found, None),
            }
        };
        check(
            "--helm-cache-ttl=1m",
            Some("--helm-cache-ttl cannot be used: indexes of chart repositories are read from disk"),
        );
        check("--kube-api-qps=20", None);
        check("--concurrent=4", None);
        check("--sops-age-secret=keys", None);
        check("--sops-vault-configmap=config", None);
    }

    /// All flags of kustomize-controller 1.9 (fluxcd/pkg/runtime 0.110 and its own): a Deployment of it with any of them
    /// either works with this program or is told which one cannot be used.
    #[test]
    fn every_flag_of_the_kustomize_controller_is_known_or_refused_by_name() {
        let command = Arguments::command();
        let known: Vec<&str> = command
            .get_arguments()
            .filter_map(|argument| argument.get_long())
            .collect();
        for flag in [
            "kube-api-qps",
            "kube-api-burst",
            "log-encoding",
            "log-level",
            "enable-leader-election",
            "leader-election-release-on-cancel",
            "leader-election-lease-duration",
            "leader-election-renew-deadline",
            "leader-election-retry-period",
            "min-retry-delay",
            "max-retry-delay",
            "feature-gates",
            "watch-all-namespaces",
            "watch-label-selector",
            "watch-configs-label-selector",
            "interval-jitter-percentage",
            "token-cache-max-size",
            "token-cache-max-duration",
            "no-cross-namespace-refs",
            "insecure-kubeconfig-exec",
            "insecure-kubeconfig-tls",
            "metrics-addr",
            "events-addr",
            "health-addr",
            "concurrent",
            "concurrent-ssa",
            "requeue-dependency",
            "no-remote-bases",
            "http-retry",
            "default-service-account",
            "default-decryption-service-account",
            "default-kubeconfig-service-account",
            "sops-age-secret",
            "sops-vault-configmap",
            "override-manager",
            "custom-apply-stage-kinds",
        ] {
            let is_refused = refused([format!("--{flag}=x")]).is_some();
            assert_ne!(known.contains(&flag), is_refused, "--{flag}");
        }
    }

    #[test]
    fn every_gate_of_the_kustomize_controller_is_held_or_refused_by_name() {
        for (gate, default) in [
            ("CacheSecretsAndConfigMaps", false),
            ("DisableStatusPollerCache", true),
            ("DisableFailFastBehavior", false),
            ("StrictPostBuildSubstitutions", true),
            ("GroupChangeLog", false),
            ("AdditiveCELDependencyCheck", false),
            ("ExternalArtifact", false),
            ("CancelHealthCheckOnNewRevision", false),
            ("DisableConfigWatchers", false),
            ("DirectSourceFetch", false),
            ("MigrateAPIVersion", false),
            ("ObjectLevelWorkloadIdentity", false),
        ] {
            let set = |value: bool| gates(&[format!("{gate}={value}")]);
            set(default).unwrap_or_else(|error| panic!("the default of {gate} is refused: {error}"));
            match set(!default) {
                Ok(changed) => assert_ne!(changed, set(default).expect("as above"), "{gate} changes nothing"),
                Err(error) => assert_eq!(error, format!("feature gate {gate} can only be {default} here")),
            }
        }
    }

    #[test]
    fn gates_are_set_or_named() {
        let read = |text: &str| gates(&[text.to_owned()]);
        let set = read("StrictPostBuildSubstitutions=false,AdditiveCELDependencyCheck=true").unwrap();
        assert!(!set.strict_post_build_substitutions && set.additive_cel_dependency_check);
        assert_eq!(read("").unwrap(), FeatureGates::default());
        assert_eq!(read("GroupChangeLog=false").unwrap(), FeatureGates::default());
        let set = read("GroupChangeLog=true,DirectSourceFetch=true,MigrateAPIVersion=true").unwrap();
        assert!(set.group_change_log && set.direct_source_fetch && set.migrate_api_version);
        assert!(
            read("CancelHealthCheckOnNewRevision=true")
                .unwrap()
                .cancel_health_check_on_new_revision
        );
        let helm = helm_gates(&["DefaultToRetryOnFailure=true,ExternalArtifact=false".to_owned()]);
        assert!(helm.default_to_retry_on_failure && !helm.external_artifact && !helm.disable_chart_digest_tracking);
        // Each gate of helm-controller 1.6 is either obeyed, obsolete there too, or refused.
        let on = [
            "AllowDNSLookups",
            "UseHelm3Defaults",
            "DisableChartDigestTracking",
            "DefaultToRetryOnFailure",
        ];
        for gate in on {
            let helm = helm_gates(&[format!("{gate}=true")]);
            let found = [
                helm.allow_dns_lookups,
                helm.use_helm3_defaults,
                helm.disable_chart_digest_tracking,
                helm.default_to_retry_on_failure,
            ];
            assert_eq!(found, on.map(|other| other == gate), "{gate}");
            assert!(read(&format!("{gate}=true")).is_ok());
        }
        let shared = helm_gates(&[
            "AdditiveCELDependencyCheck=true,DisableConfigWatchers=true".to_owned(),
            "ObjectLevelWorkloadIdentity=true,DirectSourceFetch=true".to_owned(),
        ]);
        assert!(shared.additive_cel_dependency_check && shared.disable_config_watchers);
        assert!(shared.object_level_workload_identity && shared.external_artifact && shared.direct_source_fetch);
        for gate in OBSOLETE {
            assert_eq!(read(&format!("{gate}=true")).unwrap(), FeatureGates::default());
        }
        for (text, words) in [
            ("OOMWatch=true", "can only be false"),
            ("DisableStatusPollerCache=false", "can only be true"),
            ("Nonsense=true", "is not known"),
            ("ExternalArtifact", "is not NAME=true"),
            ("ExternalArtifact=yes", "neither true nor false"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
