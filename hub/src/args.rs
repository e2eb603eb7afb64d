//! The command line of `nave-hub`; names and defaults are those of Flux's controllers where they have one.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use nave_kustomize_controller::{FeatureGates, Flags};

/// Fans fleet objects out to clusters, terminates the links of agents and rolls their health up.
#[derive(Debug, Clone, Parser)]
#[command(name = "nave-hub", version, args_override_self = true)]
pub struct Arguments {
    /// Kubeconfig of the management cluster; without it the one of the pod, then $KUBECONFIG and ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The hub's own namespace: its authority, its state, its lease
    #[arg(long, env = "RUNTIME_NAMESPACE", default_value = "nave-system")]
    pub namespace: String,
    /// Apply the custom resource definitions at start; for hubs run by hand
    #[arg(long)]
    pub install_crds: bool,

    /// Where agents dial in
    #[arg(long, default_value = "0.0.0.0:9443", value_name = "ADDR")]
    pub listen: String,
    /// Where agents dial in over TCP whose network does not let UDP through; the address of --listen when empty, `off`
    /// for nowhere
    #[arg(long, default_value = "", value_name = "ADDR")]
    pub listen_tcp: String,
    /// The addresses that agents dial, as host:port, for UDP and TCP alike; the listening one when empty
    #[arg(long, value_delimiter = ',', value_name = "ADDR,…")]
    pub advertise: Vec<String>,
    /// How often agents send a heartbeat, 1s to 10m. An agent that was silent for two of them and 5s is gone; more often
    /// costs traffic (20 KiB an hour and agent at 30s)
    #[arg(long, default_value = "30s", value_parser = heartbeat, value_name = "DURATION")]
    pub link_heartbeat: Duration,
    /// How much is sent to all agents together in a second, as bytes (1000000, 500k, 2M, 512Ki, 10Mi), shared fairly:
    /// agents with little to receive do not wait for those with much; no bound when empty
    #[arg(long, default_value = "", value_parser = bytes_per_second, value_name = "BYTES")]
    pub link_egress_budget: EgressRate,
    /// Of how many clusters, those with the most, the bytes of the day are series of their own
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub link_traffic_series: usize,
    /// How long agents' certificates last, 1m to 2160h; they renew two thirds into it
    #[arg(long, default_value = "24h", value_parser = certificate_lifetime, value_name = "DURATION")]
    pub client_certificate_lifetime: Duration,
    /// How old the hub's authority gets before another takes its place, 24h to 43800h; agents follow by themselves
    #[arg(long, default_value = "8760h", value_parser = rotation, value_name = "DURATION")]
    pub root_rotation: Duration,
    /// A Secret in --namespace with the certificate that the link shows, as cert-manager writes it: tls.crt and tls.key
    /// (ECDSA P-256, PKCS#8, for the name hub.link.nave.dev) and ca.crt. Read again when it changes. Agents go on trusting
    /// the hub's own authority, which vouches for that of ca.crt; the hub's own certificate when empty
    #[arg(long, default_value = "", value_name = "NAME")]
    pub link_certificate_secret: String,
    /// How many agents may be connected at once
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub max_agents: usize,

    /// Where artifacts are kept
    #[arg(long, env = "STORAGE_PATH", default_value = "/data", value_name = "DIR")]
    pub storage_path: PathBuf,
    /// Where the hub remembers what agents said, so that they need not say it again after a restart; the file may be lost.
    /// Beside --storage-path when not given
    #[arg(long, value_name = "DIR")]
    pub state_path: Option<PathBuf>,
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
    /// Where the API server asks for live reads of clusters (`nave get --cluster`); off when empty
    #[arg(long, default_value = "", value_name = "ADDR")]
    pub live_addr: String,
    /// The Service in the hub's namespace by which the API server reaches that address
    #[arg(long, default_value = "nave-hub-live", value_name = "NAME")]
    pub live_service: String,

    /// What hub and agent have in common.
    #[command(flatten)]
    pub reconciling: Flags,
    /// Refuse remote bases in kustomizations of clusters reached by kubeconfig
    #[arg(long)]
    pub no_remote_bases: bool,
    /// On clusters reached by kubeconfig, a field manager whose fields are taken over; may be given several times
    #[arg(long, value_name = "NAME")]
    pub override_manager: Vec<String>,
    /// Feature gates of the kustomize controller, NAME=true or NAME=false
    #[arg(long, value_delimiter = ',', value_parser = gate, value_name = "NAME=BOOL,…")]
    pub feature_gates: Vec<(String, bool)>,
    /// A Secret in the hub's namespace with age keys, for Kustomizations with spec.decryption that name no Secret
    #[arg(long, default_value = "", value_name = "NAME")]
    pub sops_age_secret: String,

    /// The service account of a workspace whose tokens are used for clusters of spec.kubeConfig.configMapRef that name none
    #[arg(long, default_value = "", value_name = "NAME")]
    pub default_kubeconfig_service_account: String,
    /// The service account of a workspace whose cloud identity is used for spec.decryption that names none
    #[arg(long, default_value = "", value_name = "NAME")]
    pub default_decryption_service_account: String,
    /// How many tokens of clouds are kept; 0 keeps none
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    pub token_cache_max_size: usize,
    /// How long a token of a cloud is kept at most, one hour or less
    #[arg(long, default_value = "1h", value_parser = token_lifetime, value_name = "DURATION")]
    pub token_cache_max_duration: Duration,

    /// Allow kubeconfigs that run programs
    #[arg(long)]
    pub insecure_kubeconfig_exec: bool,
    /// Key exchange algorithms of git over ssh, several with commas; the library's own otherwise
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub ssh_kex_algos: Vec<String>,
    /// Host key algorithms of git over ssh, several with commas; the library's own without SHA-1 otherwise
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub ssh_hostkey_algos: Vec<String>,
    /// Allow kubeconfigs that do not verify the server's certificate
    #[arg(long)]
    pub insecure_kubeconfig_tls: bool,
    /// Allow kubeconfigs whose server is on the loopback or a link-local address
    #[arg(long)]
    pub allow_loopback_kubeconfig: bool,

    /// Hold the lease nave-hub-leader before working, so that one of several replicas is active
    #[arg(long)]
    pub enable_leader_election: bool,

    /// Without effect, for deployments of Flux's controllers: the API server's priority and fairness limits requests
    #[arg(long, value_name = "N", hide = true)]
    pub kube_api_qps: Option<f32>,
    /// Without effect, as --kube-api-qps
    #[arg(long, value_name = "N", hide = true)]
    pub kube_api_burst: Option<i32>,

    /// trace, debug, info, warn or error
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
    /// json or console
    #[arg(long, default_value = "json", value_name = "ENCODING")]
    pub log_encoding: LogEncoding,
}

impl Arguments {
    /// The gates that were set, and the one that is always open on a hub.
    pub fn gates(&self) -> FeatureGates {
        let mut gates = FeatureGates {
            object_level_workload_identity: true,
            ..FeatureGates::default()
        };
        for (name, value) in &self.feature_gates {
            gates.set(name, *value);
        }
        gates
    }

    /// Says which of these arguments are taken and do nothing.
    pub fn warn_of_what_does_nothing(&self) {
        if self.kube_api_qps.is_some() || self.kube_api_burst.is_some() {
            tracing::warn!(
                "--kube-api-qps and --kube-api-burst have no effect: the API server's priority and fairness limits requests"
            );
        }
    }
}

/// Bytes in a second; none for no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EgressRate(pub Option<u64>);

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

/// A frame of a chunk has 256 KiB, so with less than this an artifact would stand in the way for seconds.
const LEAST_EGRESS: u64 = 64 * 1024;

fn bytes_per_second(text: &str) -> Result<EgressRate, String> {
    if text.is_empty() {
        return Ok(EgressRate(None));
    }
    let digits = text.trim_end_matches(|one: char| !one.is_ascii_digit());
    let unit: u64 = match &text[digits.len()..] {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        other => return Err(format!("{other:?} is no unit of bytes: k, M, G, Ki, Mi and Gi are")),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match bytes.ok_or_else(|| format!("{text} is not a number of bytes"))? {
        bytes if bytes >= LEAST_EGRESS => Ok(EgressRate(Some(bytes))),
        _ => Err(format!(
            "{text} is less than 64Ki, with which no artifact would get through"
        )),
    }
}

/// A gate that the kustomize controller has here, with a value that is true of the hub.
fn gate(text: &str) -> Result<(String, bool), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not NAME=true or NAME=false"))?;
    let value: bool = value
        .parse()
        .map_err(|_| format!("{value:?} is neither true nor false"))?;
    match name {
        // An account of the workspace is the only identity that there is: the hub's own is not lent.
        "ObjectLevelWorkloadIdentity" if !value => Err(format!("feature gate {name} can only be true here")),
        name if FeatureGates::default().set(name, value) => Ok((name.to_owned(), value)),
        name => Err(format!("feature gate {name} is not known")),
    }
}

fn heartbeat(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1)..=Duration::from_secs(600), "1s to 10m")
}

fn rotation(text: &str) -> Result<Duration, String> {
    let (least, most) = (Duration::from_secs(24 * 3600), Duration::from_secs(5 * 365 * 24 * 3600));
    within(text, least..=most, "24h to 43800h")
}

fn certificate_lifetime(text: &str) -> Result<Duration, String> {
    let longest = Duration::from_secs(90 * 24 * 3600);
    within(text, Duration::from_secs(60)..=longest, "1m to 2160h")
}

fn token_lifetime(text: &str) -> Result<Duration, String> {
    within(text, Duration::ZERO..=Duration::from_secs(3600), "0s to 1h")
}

fn within(text: &str, range: RangeInclusive<Duration>, words: &str) -> Result<Duration, String> {
    let given = duration(text)?;
    if range.contains(&given) {
        Ok(given)
    } else {
        Err(format!("{text} is not within {words}"))
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
                let words = ["nave-hub".into(), format!("--{name}={value}").into()];
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
        assert!(count >= 6, "{count}");
    }

    fn is_boolean(flag: &Arg) -> bool {
        let mut values = flag.get_possible_values().into_iter();
        matches!(flag.get_action(), ArgAction::SetTrue) || values.any(|value| value.get_name() == "true")
    }

    #[test]
    fn flags_of_the_kustomize_controller_are_read() {
        let arguments = Arguments::parse_from([
            "nave-hub",
            "--feature-gates=StrictPostBuildSubstitutions=false,GroupChangeLog=true",
            "--override-manager=a",
            "--override-manager=b",
            "--custom-apply-stage-kinds=example.com/Tenant,/Secret",
            "--http-retry=3",
        ]);
        let gates = arguments.gates();
        assert!(gates.group_change_log && !gates.strict_post_build_substitutions);
        assert!(gates.object_level_workload_identity && gates.external_artifact);
        assert_eq!(arguments.override_manager, ["a", "b"]);
        assert_eq!(
            arguments.reconciling.custom_apply_stage_kinds[1],
            (String::new(), "Secret".to_owned())
        );
        assert_eq!(arguments.reconciling.http_retry, 3);
        for (flag, words) in [
            ("--feature-gates=Nonsense=true", "is not known"),
            ("--feature-gates=GroupChangeLog", "is not NAME=true"),
            ("--feature-gates=ObjectLevelWorkloadIdentity=false", "can only be true"),
            ("--custom-apply-stage-kinds=Tenant", "is not GROUP/KIND"),
        ] {
            let error = Arguments::try_parse_from(["nave-hub", flag])
                .expect_err(flag)
                .to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn budgets_have_units() {
        let budget = |text: &str| {
            let arguments = Arguments::try_parse_from(["nave-hub", &format!("--link-egress-budget={text}")]);
            arguments.map(|arguments| arguments.link_egress_budget.0)
        };
        for (text, bytes) in [
            ("1000000", 1_000_000),
            ("500k", 500_000),
            ("10Mi", 10 << 20),
            ("2G", 2_000_000_000),
        ] {
            assert_eq!(budget(text).expect(text), Some(bytes));
        }
        assert_eq!(budget("").expect("none"), None);
        assert_eq!(Arguments::parse_from(["nave-hub"]).link_egress_budget, EgressRate(None));
        for text in ["10", "1KiB", "M", "-5M", "99999999999G", "1.5M"] {
            assert!(budget(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_a_list() {
        let arguments = Arguments::parse_from([
            "nave-hub",
            "--advertise=hub.example.com:9443,10.0.0.1:9443",
            "--artifact-retention-ttl=90s",
        ]);
        assert_eq!(arguments.advertise, ["hub.example.com:9443", "10.0.0.1:9443"]);
        assert_eq!(arguments.artifact_retention_ttl, Duration::from_secs(90));
        assert_eq!(arguments.namespace, "nave-system");
    }

    #[test]
    fn times_that_would_break_the_link_are_refused() {
        for flag in [
            "--link-heartbeat=0s",
            "--link-heartbeat=11m",
            "--client-certificate-lifetime=10s",
            "--root-rotation=1h",
            "--token-cache-max-duration=2h",
        ] {
            let error = Arguments::try_parse_from(["nave-hub", flag])
                .expect_err(flag)
                .to_string();
            assert!(error.contains("is not within"), "{error}");
        }
        let arguments = Arguments::parse_from(["nave-hub", "--link-heartbeat=2s"]);
        assert_eq!(arguments.link_heartbeat, Duration::from_secs(2));
    }
}
