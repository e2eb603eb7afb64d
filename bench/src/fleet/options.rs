//! What `fleet` takes.

use std::path::PathBuf;

use super::{profile::Profile, stage::MOVING};

/// A fleet of simulated spokes around a real hub: join storm, idle traffic, commit to seen, kill -9, memory and CPU
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// How many agents
    #[arg(long, default_value_t = 100)]
    pub agents: usize,
    /// What the network is like
    #[arg(long, value_enum, default_value_t = Profile::Lan)]
    pub profile: Profile,
    /// How many fleet objects each agent has; one of them changes
    #[arg(long, default_value_t = 20)]
    pub objects: usize,
    /// How many commits are measured
    #[arg(long, default_value_t = 5)]
    pub commits: usize,
    /// How many keys may join with one token
    #[arg(long, default_value_t = 50)]
    pub uses: usize,
    /// How long the fleet is watched at rest, in seconds
    #[arg(long, default_value_t = 90)]
    pub idle: u64,
    /// How often agents send a heartbeat, in seconds
    #[arg(long, default_value_t = 30)]
    pub heartbeat: u64,
    /// Run the simulated agents alone, without the real one and its control plane
    #[arg(long)]
    pub no_real_agent: bool,
    /// Also write the figures here, one line each: agents, profile, name, value, unit
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

impl Options {
    /// Names of the fleet objects that every agent takes.
    pub fn names(&self) -> impl Iterator<Item = String> + use<> {
        let still = (1..self.objects).map(|number| format!("still-{number:02}"));
        std::iter::once(MOVING.to_owned()).chain(still)
    }

    /// How long the fleet is watched at rest: a metered line has a heartbeat in four times the pause, of which three must
    /// fall into it.
    pub fn idle_seconds(&self) -> u64 {
        match self.profile {
            Profile::Metered => self.idle.max(12 * self.heartbeat),
            _ => self.idle,
        }
    }

    /// What a link at rest may cost in an hour.
    pub fn idle_bound(&self) -> &'static str {
        match self.profile {
            Profile::Metered => "<= 8",
            // What TCP's own acknowledgements cost is the kernel's affair, and not counted.
            Profile::Tcp => "",
            _ => "<= 24",
        }
    }
}
