//! The flags that every program has which runs this controller; they have Flux's names and defaults where Flux has them.

use std::time::Duration;

use nave_artifact::Limits;

use crate::Options;

/// Flags of reconciling. What one program alone has, or words otherwise, it says itself.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
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
    /// How often a download of an artifact is tried
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub http_retry: u32,
    /// How many bytes an artifact may have, packed and unpacked; it is held in memory while it is built
    #[arg(long, default_value_t = 4 << 30, value_parser = clap::value_parser!(u64).range(1..), value_name = "BYTES")]
    pub artifact_max_size: u64,
    /// Watch ConfigMaps and Secrets with these labels; empty watches none
    #[arg(long, default_value = "reconcile.fluxcd.io/watch=Enabled", value_name = "SELECTOR")]
    pub watch_configs_label_selector: String,
    /// Kinds that are applied in a stage of their own, before everything else that is no definition
    #[arg(long, value_delimiter = ',', value_parser = group_kind, value_name = "GROUP/KIND,…")]
    pub custom_apply_stage_kinds: Vec<(String, String)>,
}

impl Flags {
    /// What they mean for this controller; the rest is at its defaults.
    pub fn options(&self) -> Options {
        Options {
            concurrent: self.concurrent,
            concurrent_ssa: self.concurrent_ssa,
            requeue_dependency: self.requeue_dependency,
            interval_jitter: self.interval_jitter_percentage,
            custom_apply_stage_kinds: self.custom_apply_stage_kinds.clone(),
            watch_configs_label_selector: self.watch_configs_label_selector.clone(),
            ..Options::default()
        }
    }

    /// How much an artifact may hold.
    pub fn limits(&self) -> Limits {
        Limits {
            bytes: self.artifact_max_size,
            ..Limits::default()
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    nave_object::duration::parse(text).map_err(|error| error.to_string())
}

fn group_kind(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((group, kind)) if !kind.is_empty() => Ok((group.to_owned(), kind.to_owned())),
        _ => Err(format!(
            "{text:?} is not GROUP/KIND (the core group is empty: /ConfigMap)"
        )),
    }
}
