//! The command line of `nave-agent`; names and defaults are those of Flux's controllers where they have one.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

/// Reconciles Flux sources and Kustomizations on one cluster, joined to a hub or alone.
#[derive(Debug, Parser)]
#[command(name = "nave-agent", version, args_override_self = true)]
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
        default_value = "source,kustomize",
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
    /// How long superseded artifacts are kept
    #[arg(long, default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub artifact_retention_ttl: Duration,
    /// How many artifacts of one source are kept
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub artifact_retention_records: usize,

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

    /// How many objects of one kind are reconciled at once
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub concurrent: u16,
    /// How many objects of one Kustomization are checked at once
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub concurrent_ssa: usize,
    /// How long to wait for a source or a dependency that is not ready
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub requeue_dependency: Duration,
    /// By how much intervals are varied
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..100), value_name = "PERCENT")]
    pub interval_jitter_percentage: u8,
    /// First delay after an error
    #[arg(long, default_value = "750ms", value_parser = duration, value_name = "DURATION")]
    pub min_retry_delay: Duration,
    /// Longest delay after errors
    #[arg(long, default_value = "15m", value_parser = duration, value_name = "DURATION")]
    pub max_retry_delay: Duration,

    /// The service account that Kustomizations without one are applied as
    #[arg(long, default_value = "", value_name = "NAME")]
    pub default_service_account: String,
    /// Refuse references to sources in other namespaces
    #[arg(long)]
    pub no_cross_namespace_refs: bool,
    /// Refuse remote bases in kustomizations
    #[arg(long)]
    pub no_remote_bases: bool,
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

    /// The file that joins this agent to a hub (token, state), for agents run outside a cluster
    #[arg(long, value_name = "FILE", conflicts_with = "hub_secret")]
    pub hub_config: Option<PathBuf>,
    /// The secret that joins this agent to a hub, in --namespace; the agent keeps its key and roots there
    #[arg(long, value_name = "NAME")]
    pub hub_secret: Option<String>,

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

impl Arguments {
    /// Whether a controller runs.
    pub fn runs(&self, controller: ControllerName) -> bool {
        self.controllers.contains(&controller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
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
        assert_eq!(arguments.requeue_dependency, Duration::from_secs(5));
        assert!(arguments.watch_all_namespaces && !arguments.runs(ControllerName::Kustomize));
    }
}
