//! What the spec says, with its defaults.
//!
//! One field is accepted and changes nothing: `rollback.recreate`, which Helm 4 does not look at.

use std::time::Duration;

use nave_crds::{
    helm::{
        ApplyToggle, ChartNameChangeStrategy, CrdsPolicy, DeletionPropagation, DriftMode, HelmRelease, HelmReleaseSpec,
        Install, PostRenderStrategy, ReleaseAction, RemediationStrategy, Rollback, StrategyName, Test, Uninstall,
        Upgrade, WaitStrategyName,
    },
    meta,
};
use nave_release::{ApplyMethod, Counts, Drift, LastAction, Policy, Release, Remediation, json_digest, release_name};

use crate::{FeatureGates, write::Method};

const TIMEOUT: Duration = Duration::from_secs(300);
const RETRY_INTERVAL: Duration = Duration::from_secs(300);
const MAX_HISTORY: i64 = 5;

/// Where a release is, and under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub name: String,
    pub namespace: String,
    pub storage_namespace: String,
}

/// The place that the spec says.
pub(crate) fn place_of(release: &HelmRelease) -> Place {
    let own = release.metadata.namespace.clone().unwrap_or_default();
    let name = release.metadata.name.clone().unwrap_or_default();
    let spec = &release.spec;
    let or_own = |given: &str| match given {
        "" => own.clone(),
        given => given.to_owned(),
    };
    Place {
        name: release_name(&spec.release_name, &spec.target_namespace, &name),
        namespace: or_own(&spec.target_namespace),
        storage_namespace: or_own(&spec.storage_namespace),
    }
}

pub(crate) fn install(spec: &HelmReleaseSpec) -> Install {
    spec.install.clone().unwrap_or_default()
}

pub(crate) fn upgrade(spec: &HelmReleaseSpec) -> Upgrade {
    spec.upgrade.clone().unwrap_or_default()
}

pub(crate) fn rollback(spec: &HelmReleaseSpec) -> Rollback {
    spec.rollback.clone().unwrap_or_default()
}

pub(crate) fn uninstall(spec: &HelmReleaseSpec) -> Uninstall {
    spec.uninstall.clone().unwrap_or_default()
}

pub(crate) fn test(spec: &HelmReleaseSpec) -> Test {
    spec.test.clone().unwrap_or_default()
}

/// The timeout of an action: its own, else that of the spec, else 5 minutes.
pub(crate) fn timeout(spec: &HelmReleaseSpec, own: Option<meta::Duration>) -> Duration {
    own.or(spec.timeout).map_or(TIMEOUT, meta::Duration::get)
}

pub(crate) fn max_history(spec: &HelmReleaseSpec) -> i64 {
    spec.max_history.unwrap_or(MAX_HISTORY)
}

/// What is done with a chart's definitions; the old `skipCRDs` counts where nothing newer is said.
pub(crate) fn crds_on_install(install: &Install) -> CrdsPolicy {
    match install.crds {
        Some(policy) => policy,
        None if install.skip_crds => CrdsPolicy::Skip,
        None => CrdsPolicy::Create,
    }
}

/// What is done with a chart's definitions on upgrades. Flux's documentation says `Skip` and its code `Create`.
pub(crate) fn crds_on_upgrade(upgrade: &Upgrade) -> CrdsPolicy {
    upgrade.crds.unwrap_or(CrdsPolicy::Create)
}

pub(crate) fn drift_mode(spec: &HelmReleaseSpec) -> DriftMode {
    spec.drift_detection
        .as_ref()
        .and_then(|drift| drift.mode)
        .unwrap_or_default()
}

pub(crate) fn is_reinstalled_on_new_chart(spec: &HelmReleaseSpec) -> bool {
    upgrade(spec).chart_name_change_strategy.unwrap_or_default() == ChartNameChangeStrategy::Reinstall
}

pub(crate) fn waits_by_helm_3(spec: &HelmReleaseSpec, gates: &FeatureGates) -> bool {
    match &spec.wait_strategy {
        Some(strategy) => strategy.name == WaitStrategyName::Legacy,
        None => gates.use_helm3_defaults,
    }
}

pub(crate) fn post_render_strategy(spec: &HelmReleaseSpec, gates: &FeatureGates) -> PostRenderStrategy {
    match spec.post_render_strategy {
        Some(strategy) => strategy,
        None if gates.use_helm3_defaults => PostRenderStrategy::NoHooks,
        None => PostRenderStrategy::default(),
    }
}

/// How a chart is installed.
pub(crate) fn install_method(spec: &HelmReleaseSpec, gates: &FeatureGates) -> Method {
    match install(spec).server_side_apply.unwrap_or(!gates.use_helm3_defaults) {
        true => Method::ServerSide,
        false => Method::ClientSide,
    }
}

/// How a chart is upgraded, the newest version being `newest`: as that one was applied, unless the spec says more.
/// Objects are replaced only where the server does not apply them.
pub(crate) fn upgrade_method(upgrade: &Upgrade, newest: &Release) -> Method {
    method(upgrade.server_side_apply, upgrade.force, newest)
}

/// The same for a roll-back to `target`.
pub(crate) fn rollback_method(rollback: &Rollback, target: &Release) -> Method {
    method(rollback.server_side_apply, rollback.force, target)
}

fn method(toggle: Option<ApplyToggle>, force: bool, before: &Release) -> Method {
    let is_server_side = match toggle.unwrap_or_default() {
        ApplyToggle::Enabled => true,
        ApplyToggle::Disabled => false,
        ApplyToggle::Auto => before.is_server_side(),
    };
    match (is_server_side, force) {
        (true, _) => Method::ServerSide,
        (false, true) => Method::Replace,
        (false, false) => Method::ClientSide,
    }
}

/// The method that a version was applied with.
pub(crate) fn method_of(release: &Release) -> Method {
    match release.is_server_side() {
        true => Method::ServerSide,
        false => Method::ClientSide,
    }
}

/// How a version says that it was applied.
pub(crate) fn recorded(method: Method) -> ApplyMethod {
    match method {
        Method::ServerSide => ApplyMethod::ServerSide,
        Method::ClientSide | Method::Replace => ApplyMethod::ClientSide,
    }
}

pub(crate) fn propagation(uninstall: &Uninstall) -> &'static str {
    match uninstall.deletion_propagation.unwrap_or_default() {
        DeletionPropagation::Background => "Background",
        DeletionPropagation::Foreground => "Foreground",
        DeletionPropagation::Orphan => "Orphan",
    }
}

/// How failures of installations are dealt with.
pub(crate) fn install_remediation(spec: &HelmReleaseSpec, gates: &FeatureGates) -> Remediation {
    let install = install(spec);
    let remediation = install.remediation.unwrap_or_default();
    Remediation {
        retries: remediation.retries,
        ignore_test_failures: remediation.ignore_test_failures.unwrap_or(test(spec).ignore_failures),
        remediate_last_failure: remediation.remediate_last_failure.unwrap_or(false),
        uninstall: true,
        retry_on_failure: retries_on_failure(install.strategy.map(|strategy| strategy.name), gates),
    }
}

/// How failures of upgrades are dealt with.
pub(crate) fn upgrade_remediation(spec: &HelmReleaseSpec, gates: &FeatureGates) -> Remediation {
    let upgrade = upgrade(spec);
    let remediation = upgrade.remediation.unwrap_or_default();
    Remediation {
        retries: remediation.retries,
        ignore_test_failures: remediation.ignore_test_failures.unwrap_or(test(spec).ignore_failures),
        remediate_last_failure: remediation.remediate_last_failure.unwrap_or(remediation.retries > 0),
        uninstall: remediation.strategy == Some(RemediationStrategy::Uninstall),
        retry_on_failure: retries_on_failure(upgrade.strategy.map(|strategy| strategy.name), gates),
    }
}

fn retries_on_failure(given: Option<StrategyName>, gates: &FeatureGates) -> bool {
    match given {
        Some(name) => name == StrategyName::RetryOnFailure,
        None => gates.default_to_retry_on_failure,
    }
}

/// Time between two tries of an action that is retried for ever.
pub(crate) fn retry_interval(spec: &HelmReleaseSpec, last: LastAction) -> Duration {
    let given = match last {
        LastAction::Install => install(spec).strategy.and_then(|strategy| strategy.retry_interval),
        LastAction::Upgrade => upgrade(spec).strategy.and_then(|strategy| strategy.retry_interval),
        LastAction::None => None,
    };
    given.map_or(RETRY_INTERVAL, meta::Duration::get)
}

/// Everything that the next step depends on beside the state.
pub(crate) fn policy_of(
    spec: &HelmReleaseSpec,
    gates: &FeatureGates,
    counts: Counts,
    last: Option<ReleaseAction>,
    forced: bool,
) -> Policy {
    Policy {
        install: install_remediation(spec, gates),
        upgrade: upgrade_remediation(spec, gates),
        counts,
        last: match last {
            None => LastAction::None,
            Some(ReleaseAction::Install) => LastAction::Install,
            Some(ReleaseAction::Upgrade) => LastAction::Upgrade,
        },
        forced,
        drift: match drift_mode(spec) {
            DriftMode::Disabled => Drift::Ignored,
            DriftMode::Warn | DriftMode::Enabled => Drift::Detected,
        },
    }
}

/// Digests of the post-renderers and of the common metadata; empty where there are none.
pub(crate) fn digests(spec: &HelmReleaseSpec) -> (String, String) {
    let renderers = match spec.post_renderers.is_empty() {
        true => String::new(),
        false => json_digest(&spec.post_renderers),
    };
    let metadata = spec.common_metadata.as_ref().map(json_digest).unwrap_or_default();
    (renderers, metadata)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn release(more: Value) -> HelmRelease {
        let mut spec = json!({"interval": "1m", "chartRef": {"kind": "HelmChart", "name": "c"}});
        spec.as_object_mut()
            .expect("a map")
            .extend(more.as_object().expect("a map").clone());
        serde_json::from_value(json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "shop", "namespace": "team"}, "spec": spec}))
        .expect("it is complete")
    }

    #[test]
    fn places() {
        for (more, wanted) in [
            (json!({}), ("shop", "team", "team")),
            (json!({"targetNamespace": "prod"}), ("prod-shop", "prod", "team")),
            (
                json!({"targetNamespace": "prod", "releaseName": "x", "storageNamespace": "s"}),
                ("x", "prod", "s"),
            ),
        ] {
            let place = place_of(&release(more));
            assert_eq!(
                (
                    place.name.as_str(),
                    place.namespace.as_str(),
                    place.storage_namespace.as_str()
                ),
                wanted
            );
        }
    }

    #[test]
    fn remediation_has_flux_s_defaults() {
        let gates = FeatureGates::default();
        let of = |more: Value| {
            let release = release(more);
            (
                install_remediation(&release.spec, &gates),
                upgrade_remediation(&release.spec, &gates),
            )
        };
        let (install, upgrade) = of(json!({}));
        assert!(!install.remediate_last_failure && !upgrade.remediate_last_failure && !upgrade.uninstall);
        let (_, upgrade) = of(json!({"upgrade": {"remediation": {"retries": 2}}}));
        assert!(upgrade.remediate_last_failure && upgrade.retries == 2);
        let (install, upgrade) = of(json!({"test": {"ignoreFailures": true},
            "upgrade": {"remediation": {"ignoreTestFailures": false, "strategy": "uninstall"}}}));
        assert!(install.ignore_test_failures && !upgrade.ignore_test_failures && upgrade.uninstall);
        let (install, upgrade) =
            of(json!({"install": {"strategy": {"name": "RetryOnFailure", "retryInterval": "7s"}}}));
        assert!(install.retry_on_failure && !upgrade.retry_on_failure);
        let spec = release(json!({"install": {"strategy": {"name": "RetryOnFailure", "retryInterval": "7s"}}})).spec;
        assert_eq!(retry_interval(&spec, LastAction::Install).as_secs(), 7);
        assert_eq!(retry_interval(&spec, LastAction::Upgrade).as_secs(), 300);
    }

    #[test]
    fn settings_are_digested_as_go_writes_them() {
        assert_eq!(digests(&release(json!({})).spec), (String::new(), String::new()));
        let (renderers, metadata) = digests(
            &release(
                json!({"postRenderers": [{"kustomize": {"patches": [{"patch": "<x>", "target": {"kind": "Job"}}]}}],
                "commonMetadata": {"labels": {"a": "b"}}}),
            )
            .spec,
        );
        let of = |text: &str| nave_object::digest::sha256(format!("{text}\n"));
        let wanted = r#"[{"kustomize":{"patches":[{"patch":"\u003cx\u003e","target":{"kind":"Job"}}]}}]"#;
        assert_eq!(renderers, of(wanted));
        assert_eq!(metadata, of(r#"{"labels":{"a":"b"}}"#));
    }

    #[test]
    fn objects_are_applied_as_asked_and_else_as_before() {
        let before = |method: Option<ApplyMethod>| Release {
            apply_method: method,
            ..Release::default()
        };
        let (server, client, helm_3) = (
            before(Some(ApplyMethod::ServerSide)),
            before(Some(ApplyMethod::ClientSide)),
            before(None),
        );
        for (more, newest, wanted) in [
            (json!({}), &server, Method::ServerSide),
            (json!({}), &client, Method::ClientSide),
            (json!({}), &helm_3, Method::ClientSide),
            (json!({"serverSideApply": "auto"}), &server, Method::ServerSide),
            (json!({"serverSideApply": "enabled"}), &helm_3, Method::ServerSide),
            (json!({"serverSideApply": "disabled"}), &server, Method::ClientSide),
            (json!({"force": true}), &server, Method::ServerSide),
            (json!({"force": true}), &client, Method::Replace),
        ] {
            let spec = release(json!({"upgrade": more, "rollback": more})).spec;
            assert_eq!(upgrade_method(&upgrade(&spec), newest), wanted, "{more}");
            assert_eq!(rollback_method(&rollback(&spec), newest), wanted, "{more}");
        }
        let helm3 = FeatureGates {
            use_helm3_defaults: true,
            ..FeatureGates::default()
        };
        for (more, gates, wanted) in [
            (json!({}), FeatureGates::default(), Method::ServerSide),
            (json!({}), helm3, Method::ClientSide),
            (json!({"serverSideApply": true}), helm3, Method::ServerSide),
            (
                json!({"serverSideApply": false}),
                FeatureGates::default(),
                Method::ClientSide,
            ),
        ] {
            let spec = release(json!({"install": more})).spec;
            assert_eq!(install_method(&spec, &gates), wanted, "{more}");
        }
        let spec = release(json!({})).spec;
        assert!(waits_by_helm_3(&spec, &helm3) && !waits_by_helm_3(&spec, &FeatureGates::default()));
        assert_eq!(post_render_strategy(&spec, &helm3), PostRenderStrategy::NoHooks);
        let spec = release(json!({"waitStrategy": {"name": "poller"}, "postRenderStrategy": "combined"})).spec;
        assert!(!waits_by_helm_3(&spec, &helm3));
        assert_eq!(post_render_strategy(&spec, &helm3), PostRenderStrategy::Combined);
    }

    #[test]
    fn definitions_are_created_unless_something_else_is_said() {
        let spec = release(json!({"install": {"skipCRDs": true}})).spec;
        assert_eq!(crds_on_install(&install(&spec)), CrdsPolicy::Skip);
        assert_eq!(crds_on_upgrade(&upgrade(&spec)), CrdsPolicy::Create);
        let spec = release(json!({"install": {"skipCRDs": true, "crds": "CreateReplace"}})).spec;
        assert_eq!(crds_on_install(&install(&spec)), CrdsPolicy::CreateReplace);
    }
}
