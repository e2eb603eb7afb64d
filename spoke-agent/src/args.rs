//! The command line of `nave-agent`; names and defaults are those of Flux's controllers where they have one.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use nave_artifact::Algorithm;
use nave_kustomize_controller::Flags;

use crate::flux_flags;

/// Reconciles Flux sources and Kustomizations on one cluster, joined to a hub or alone.
#[derive(Debug, Parser)]
#[command(
    name = "nave-agent",
    version,
    args_override_self = true,
    after_help = "`nave-agent doctor` with the same flags finds out why this agent does not reach its hub."
)]
pub struct Arguments {
    /// Kubeconfig of the cluster; without it the one of the pod, then $KUBECONFIG and ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The agent's own namespace: leases, the hub secret
    #[arg(long, env = "RUNTIME_NAMESPACE", default_value = "flux-system")]
    pub namespace: String,
    /// Watch all namespaces; false watches only --namespace
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub watch_all_namespaces: bool,
    /// Reconcile only objects with these labels (sharding)
    #[arg(long, default_value = "", value_name = "SELECTOR")]
    pub watch_label_selector: String,
    /// Which controllers run
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "source,kustomize,helm",
        value_name = "NAMES"
    )]
    pub controllers: Vec<ControllerName>,
    /// Apply the custom resource definitions at start; for agents run by hand
    #[arg(long)]
    pub install_crds: bool,

    /// Where artifacts are kept
    #[arg(long, env = "STORAGE_PATH", default_value = "/data", value_name = "DIR")]
    pub storage_path: PathBuf,
    /// Where artifacts are served
    #[arg(long, env = "STORAGE_ADDRESS", default_value = ":9090", value_name = "ADDR")]
    pub storage_addr: String,
    /// The address of the artifact server as others see it; from --storage-addr when empty
    #[arg(long, env = "STORAGE_ADV_ADDR", default_value = "", value_name = "ADDR")]
    pub storage_adv_addr: String,
    /// S3-compatible storage that replicas share, as s3://BUCKET/PREFIX?endpoint=HOST:PORT&region=REGION; keys come from the environment
    #[arg(long, env = "STORAGE_SHARED", default_value = "", value_name = "URL")]
    pub storage_shared: String,
    /// How long superseded artifacts are kept
    #[arg(long, default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub artifact_retention_ttl: Duration,
    /// How many artifacts of one source are kept
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub artifact_retention_records: usize,
    /// What artifact digests are made with: sha256, sha384, sha512 or blake3
    #[arg(long, default_value = "sha256", value_parser = algorithm, value_name = "NAME")]
    pub artifact_digest_algo: Algorithm,
    /// Key exchange algorithms of git over ssh, several with commas; the library's own otherwise
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub ssh_kex_algos: Vec<String>,
    /// Host key algorithms of git over ssh, several with commas; the library's own without SHA-1 otherwise
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub ssh_hostkey_algos: Vec<String>,
    /// How many bytes the index of a chart repository may have
    #[arg(long, default_value_t = 50 << 20, value_parser = clap::value_parser!(u64).range(1..), value_name = "BYTES")]
    pub helm_index_max_size: u64,
    /// How many bytes the package of a chart may have
    #[arg(long, default_value_t = 10 << 20, value_parser = clap::value_parser!(u64).range(1..), value_name = "BYTES")]
    pub helm_chart_max_size: u64,
    /// How many bytes one file of a chart may have
    #[arg(long, default_value_t = 5 << 20, value_parser = clap::value_parser!(u64).range(1..), value_name = "BYTES")]
    pub helm_chart_file_max_size: u64,

    /// Where Prometheus metrics are served
    #[arg(long, env = "METRICS_ADDR", default_value = ":8080", value_name = "ADDR")]
    pub metrics_addr: String,
    /// Where /healthz and /readyz are served
    #[arg(long, default_value = ":9440", value_name = "ADDR")]
    pub health_addr: String,
    /// A notification-controller that is told of events
    #[arg(long, env = "EVENTS_ADDR", default_value = "", value_name = "URL")]
    pub events_addr: String,
    /// Where hints of a git server's hook are taken (POST /hint with {"url": …}); off when empty
    #[arg(long, default_value = "", value_name = "ADDR")]
    pub hint_addr: String,

    /// What hub and agent have in common.
    #[command(flatten)]
    pub reconciling: Flags,
    /// A field manager whose fields are taken over; may be given several times
    #[arg(long, value_name = "NAME")]
    pub override_manager: Vec<String>,
    /// Feature gates, NAME=true or NAME=false
    #[arg(long, value_name = "NAME=BOOL,…")]
    pub feature_gates: Vec<String>,

    /// The service account that Kustomizations without one are applied as
    #[arg(long, default_value = "", value_name = "NAME")]
    pub default_service_account: String,
    /// The service account whose tokens are used for clusters of spec.kubeConfig.configMapRef that name none
    #[arg(long, default_value = "", value_name = "NAME")]
    pub default_kubeconfig_service_account: String,
    /// The service account whose cloud identity is used for spec.decryption that names none
    #[arg(long, default_value = "", value_name = "NAME")]
    pub default_decryption_service_account: String,
    /// How many tokens of clouds are kept; 0 keeps none
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    pub token_cache_max_size: usize,
    /// How long a token of a cloud is kept at most, one hour or less
    #[arg(long, default_value = "1h", value_parser = duration, value_name = "DURATION")]
    pub token_cache_max_duration: Duration,
    /// Refuse references to sources in other namespaces
    #[arg(long)]
    pub no_cross_namespace_refs: bool,
    /// Refuse remote bases in kustomizations
    #[arg(long)]
    pub no_remote_bases: bool,
    /// A Secret in the agent's namespace with age keys, for Kustomizations with spec.decryption that name no Secret
    #[arg(long, default_value = "", value_name = "NAME")]
    pub sops_age_secret: String,
    /// A ConfigMap in the agent's namespace with the Vault or OpenBao servers that spec.decryption may log in to with the
    /// token of a service account (config.yaml: instances with address and loginPath); without, only with a token of a Secret
    #[arg(long, default_value = "", value_name = "NAME")]
    pub sops_vault_configmap: String,
    /// Allow kubeconfigs that run programs
    #[arg(long)]
    pub insecure_kubeconfig_exec: bool,
    /// Allow kubeconfigs that do not verify the server's certificate
    #[arg(long)]
    pub insecure_kubeconfig_tls: bool,
    /// Allow kubeconfigs whose server is on the loopback or a link-local address
    #[arg(long)]
    pub allow_loopback_kubeconfig: bool,

    /// Hold Flux's leases before reconciling, so that Flux and Nave never work on one cluster together
    #[arg(long)]
    pub enable_leader_election: bool,
    /// Give the leases back when asked to end, so that another process takes over at once
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub leader_election_release_on_cancel: bool,
    /// How long a lease that is not renewed is respected
    #[arg(long, default_value = "35s", value_parser = duration, value_name = "DURATION")]
    pub leader_election_lease_duration: Duration,
    /// How long the leader tries to renew before it gives up
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub leader_election_renew_deadline: Duration,
    /// Between two tries to take or renew a lease
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub leader_election_retry_period: Duration,

    /// The file that joins this agent to a hub (token, state), for agents run outside a cluster
    #[arg(long, value_name = "FILE", conflicts_with = "hub_secret")]
    pub hub_config: Option<PathBuf>,
    /// The secret that joins this agent to a hub, in --namespace; the agent keeps its key and roots there
    #[arg(long, value_name = "NAME")]
    pub hub_secret: Option<String>,

    /// What a hub may do on this cluster, as YAML: workspaces, admins, namespaces, deniedNamespaces, deniedKinds, clusterScoped,
    /// upgradeFrom, deletionsWithoutHub (docs/spoke-policy.md). Read again when it changes; without the file nothing is limited
    /// but what RBAC limits
    #[arg(long, value_name = "FILE")]
    pub policy_file: Option<PathBuf>,
    /// Image repositories that a hub may have this agent upgraded from, several with commas; that of the running image when
    /// not given, `none` for no upgrades by the hub
    #[arg(long, value_delimiter = ',', value_name = "REPOSITORY")]
    pub upgrade_from: Vec<String>,
    /// The Deployment in --namespace that this agent runs as
    #[arg(long, default_value = "nave-agent", value_name = "NAME")]
    pub deployment: String,

    /// What carries the link: QUIC over UDP, TLS over TCP, or whichever gets through. TCP goes through the proxy of key
    /// `proxy` in the hub secret (or of the hub config), else of $HTTPS_PROXY and $NO_PROXY
    #[arg(long, default_value = "any", value_name = "NAME")]
    pub link_transport: LinkTransport,

    /// Without effect, for deployments of Flux's controllers: the API server's priority and fairness limits requests
    #[arg(long, value_name = "N", hide = true)]
    pub kube_api_qps: Option<f32>,
    /// Without effect, as --kube-api-qps
    #[arg(long, value_name = "N", hide = true)]
    pub kube_api_burst: Option<i32>,

    /// trace, debug, info or error
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
    /// json or console
    #[arg(long, default_value = "json", value_name = "ENCODING")]
    pub log_encoding: LogEncoding,
}

/// A controller that can be switched on by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ControllerName {
    /// GitRepository, ExternalArtifact.
    Source,
    /// Kustomization.
    Kustomize,
    /// HelmRelease.
    Helm,
}

/// What may carry the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LinkTransport {
    /// Both are tried, QUIC first.
    Any,
    /// QUIC over UDP.
    Quic,
    /// TLS over TCP.
    Tcp,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogEncoding {
    /// One JSON object per line.
    Json,
    /// Text for people.
    Console,
}

fn duration(text: &str) -> Result<Duration, String> {
    nave_object::duration::parse(text).map_err(|error| error.to_string())
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    text.parse()
        .map_err(|error: nave_artifact::DigestError| error.to_string())
}

impl Arguments {
    /// What each argument alone cannot tell.
    ///
    /// # Errors
    /// A sentence for whoever typed them.
    pub fn check(&self) -> Result<(), String> {
        let gates = flux_flags::gates(&self.feature_gates)?;
        if self.token_cache_max_duration > Duration::from_secs(3600) {
            return Err("--token-cache-max-duration may be one hour at most".to_owned());
        }
        let needs_gate = !self.default_decryption_service_account.is_empty();
        if needs_gate && !gates.object_level_workload_identity {
            return Err(
                "--default-decryption-service-account needs --feature-gates=ObjectLevelWorkloadIdentity=true"
                    .to_owned(),
            );
        }
        let (lease, deadline, retry) = (
            self.leader_election_lease_duration,
            self.leader_election_renew_deadline,
            self.leader_election_retry_period,
        );
        if lease > deadline && deadline > retry && !retry.is_zero() {
            Ok(())
        } else {
            Err("--leader-election-lease-duration must be longer than --leader-election-renew-deadline, and that longer \
                 than --leader-election-retry-period"
                .to_owned())
        }
    }

    /// Says which of these arguments are taken and do nothing.
    pub fn warn_of_what_does_nothing(&self) {
        if self.kube_api_qps.is_some() || self.kube_api_burst.is_some() {
            tracing::warn!(
                "--kube-api-qps and --kube-api-burst have no effect: the API server's priority and fairness limits requests"
            );
        }
    }

    /// The only namespace that is watched; none where all are.
    pub fn only_namespace(&self) -> Option<String> {
        (!self.watch_all_namespaces).then(|| self.namespace.clone())
    }

    /// Whether a controller runs.
    pub fn runs(&self, controller: ControllerName) -> bool {
        self.controllers.contains(&controller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, ArgAction, CommandFactory};
    use nave_runtime::flags;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    /// Flux's lockdown patches write them so.
    #[test]
    fn every_flag_takes_a_truth_value() {
        let command = Arguments::command();
        let booleans = command.get_arguments().filter(|flag| is_boolean(flag));
        let mut count = 0;
        for name in booleans.filter_map(|flag| flag.get_long()) {
            let read = |value: &str| {
                let words = ["nave-agent".into(), format!("--{name}={value}").into()];
                let read = Arguments::try_parse_from(flags::plain(&command, words));
                format!("{:?}", read.unwrap_or_else(|error| panic!("--{name}={value}: {error}")))
            };
            assert_ne!(read("true"), read("false"), "--{name}");
            assert!(
                read("true").contains(&format!("{}: true", name.replace('-', "_"))),
                "--{name}"
            );
            count += 1;
        }
        assert!(count >= 9, "{count}");
    }

    fn is_boolean(flag: &Arg) -> bool {
        let mut values = flag.get_possible_values().into_iter();
        matches!(flag.get_action(), ArgAction::SetTrue) || values.any(|value| value.get_name() == "true")
    }

    #[test]
    fn flags_read_as_flux_writes_them() {
        let arguments = Arguments::parse_from([
            "nave-agent",
            "--watch-all-namespaces=true",
            "--requeue-dependency=5s",
            "--controllers=source",
            "--enable-leader-election",
        ]);
        assert_eq!(arguments.reconciling.requeue_dependency, Duration::from_secs(5));
        assert!(arguments.watch_all_namespaces && !arguments.runs(ControllerName::Kustomize));
        assert_eq!(arguments.check(), Ok(()));
        let arguments = Arguments::parse_from([
            "nave-agent",
            "--custom-apply-stage-kinds=/ConfigMap,example.com/Tenant",
            "--feature-gates=ExternalArtifact=true,GroupChangeLog=false",
            "--artifact-digest-algo=blake3",
            "--leader-election-release-on-cancel=false",
        ]);
        assert_eq!(
            arguments.reconciling.custom_apply_stage_kinds[1],
            ("example.com".to_owned(), "Tenant".to_owned())
        );
        assert_eq!(arguments.artifact_digest_algo, Algorithm::Blake3);
        assert!(!arguments.leader_election_release_on_cancel);
        assert_eq!(arguments.check(), Ok(()));
    }

    #[test]
    fn what_cannot_work_together_is_refused() {
        for (flag, words) in [
            ("--leader-election-renew-deadline=40s", "must be longer"),
            ("--feature-gates=Nonsense=true", "is not known"),
        ] {
            let error = Arguments::parse_from(["nave-agent", flag]).check().unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert!(Arguments::try_parse_from(["nave-agent", "--artifact-digest-algo=md5"]).is_err());
    }
}
