//! What the hub measures of itself, as `nave_*` beside Flux's `gotk_*`.
//!
//! Labels have few values that this program chooses: nothing that a spoke says becomes one. Names of clusters are labels of
//! one series, of as many clusters as the operator asks for, none by default.

use nave_proto::wire::ChunkEncoding;
use nave_runtime::Metrics;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

/// The hub's series.
#[derive(Clone)]
pub struct HubMetrics {
    /// Open sessions by mode (`normal`, `behind`, `pending`, `quarantined`, `renew_only`).
    pub agents: IntGaugeVec,
    /// Open sessions by what carries them (`quic`, `tcp`).
    pub transports: IntGaugeVec,
    /// Sessions that were opened.
    pub sessions: IntCounter,
    /// Connections that ended before they were sessions, by why.
    pub refusals: IntCounterVec,
    /// Join requests by outcome (`admitted`, `pending`, `refused`, `failed`).
    pub joins: IntCounterVec,
    /// Certificates renewed, by outcome.
    pub renewals: IntCounterVec,
    /// Desired items over all agents.
    pub items: IntGauge,
    /// Items that agents acknowledged, by outcome (`taken`, `failed`).
    pub acknowledged: IntCounterVec,
    /// Status rows that arrived.
    pub statuses: IntCounter,
    /// Events of agents, by outcome (`recorded`, `dropped`).
    pub events: IntCounterVec,
    /// Bytes of chunks sent, before compression.
    pub chunk_bytes: IntCounter,
    /// Bytes of chunks as they were sent, by how they were made smaller (`plain`, `zstd`, `dictionary`).
    pub chunk_sent_bytes: IntCounterVec,
    /// Bytes of open sessions by direction (`sent`, `received`) and stream (`control`, `state`, `chunk`, `live`, `carrier`).
    pub link_bytes: IntCounterVec,
    /// Bytes of today, by workspace, cluster and direction; of the clusters with the most.
    pub cluster_bytes: IntGaugeVec,
    /// Fetches that were refused, by why.
    pub fetch_refusals: IntCounterVec,
    /// Checkpoints written.
    pub checkpoints: IntCounter,
    /// 1 while the hub is behind its agents.
    pub behind: IntGauge,
    /// Prune plans that were answered, by answer.
    pub permits: IntCounterVec,
    /// Prune plans that wait for an approval.
    pub plans_held: IntGauge,
    /// Commits of the state file by outcome (`written`, `failed`).
    pub state_writes: IntCounterVec,
    /// Status rows in the state file.
    pub state_rows: IntGauge,
    /// Bytes of rows in the state file.
    pub state_bytes: IntGauge,
    /// Live reads that were asked for, by outcome (`done`, `denied`, `failed`, `busy`, `gone`).
    pub live_reads: IntCounterVec,
    /// Bytes that live reads brought.
    pub live_bytes: IntCounter,
    /// Live reads that go on.
    pub live_open: IntGauge,
    /// Fleet objects by readiness (`ready`, `failed`, `unknown`).
    pub fleet_objects: IntGaugeVec,
}

impl HubMetrics {
    /// Registers every series.
    pub fn new(metrics: &Metrics) -> Self {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("the metric is well formed");
            metrics.register(gauge.clone());
            gauge
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("the metric is well formed");
            metrics.register(counter.clone());
            counter
        };
        let gauges = |name: &str, help: &str, label: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &[label]).expect("the metric is well formed");
            metrics.register(gauges.clone());
            gauges
        };
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label]).expect("the metric is well formed");
            metrics.register(counters.clone());
            counters
        };
        let link_bytes = IntCounterVec::new(
            Opts::new(
                "nave_link_bytes_total",
                "Bytes that links carried, with the heads of IP and UDP or TCP.",
            ),
            &["direction", "stream"],
        );
        let link_bytes = link_bytes.expect("the metric is well formed");
        metrics.register(link_bytes.clone());
        let cluster_bytes = IntGaugeVec::new(
            Opts::new(
                "nave_link_cluster_bytes_today",
                "Bytes that the links of the busiest clusters carried since midnight UTC.",
            ),
            &["workspace", "cluster", "direction"],
        );
        let cluster_bytes = cluster_bytes.expect("the metric is well formed");
        metrics.register(cluster_bytes.clone());
        HubMetrics {
            link_bytes,
            cluster_bytes,
            chunk_sent_bytes: counters(
                "nave_link_chunk_sent_bytes_total",
                "Bytes of chunks as they were sent.",
                "encoding",
            ),
            agents: gauges("nave_link_agents", "Open sessions of agents.", "mode"),
            transports: gauges(
                "nave_link_transports",
                "Open sessions of agents by what carries them.",
                "transport",
            ),
            sessions: counter("nave_link_sessions_total", "Sessions that were opened."),
            refusals: counters(
                "nave_link_refusals_total",
                "Connections that did not become a session.",
                "reason",
            ),
            joins: counters("nave_link_joins_total", "Join requests.", "outcome"),
            renewals: counters("nave_link_renewals_total", "Certificate renewals.", "outcome"),
            items: gauge("nave_link_items", "Desired items over all agents."),
            acknowledged: counters(
                "nave_link_items_acknowledged_total",
                "Items that agents acknowledged.",
                "outcome",
            ),
            statuses: counter("nave_link_statuses_total", "Status rows that arrived."),
            events: counters("nave_link_events_total", "Events of agents.", "outcome"),
            chunk_bytes: counter(
                "nave_link_chunk_bytes_total",
                "Bytes of chunks sent, before compression.",
            ),
            fetch_refusals: counters("nave_link_fetch_refusals_total", "Fetches that were refused.", "reason"),
            checkpoints: counter("nave_hub_checkpoints_total", "Checkpoints that were written."),
            behind: gauge("nave_hub_behind", "1 while the hub is behind its agents."),
            permits: counters(
                "nave_fleet_prune_permits_total",
                "Prune plans that were answered.",
                "answer",
            ),
            plans_held: gauge("nave_fleet_prune_plans_held", "Prune plans that wait for an approval."),
            state_writes: counters("nave_hub_state_writes_total", "Commits of the state file.", "outcome"),
            state_rows: gauge("nave_hub_state_rows", "Status rows in the state file."),
            state_bytes: gauge("nave_hub_state_bytes", "Bytes of status rows in the state file."),
            live_reads: counters("nave_live_reads_total", "Live reads that were asked for.", "outcome"),
            live_bytes: counter("nave_live_bytes_total", "Bytes that live reads brought."),
            live_open: gauge("nave_live_open", "Live reads that go on."),
            fleet_objects: gauges("nave_fleet_objects", "Fleet objects by readiness.", "ready"),
        }
    }
}

/// The label of an encoding.
pub fn encoding_name(encoding: ChunkEncoding) -> &'static str {
    match encoding {
        ChunkEncoding::Plain => "plain",
        ChunkEncoding::Zstd => "zstd",
        ChunkEncoding::ZstdDictionary => "dictionary",
    }
}
