//! What is said between the bench and its simulator: one JSON document in each line.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::profile::Profile;

/// What the bench asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
pub enum Ask {
    /// Open the path to the hub; agents dial through it.
    Open { hub: String, profile: Profile },
    /// Join so many agents, all at once, and keep them running. Each token admits `uses` of them.
    Join {
        agents: usize,
        tokens: Vec<String>,
        uses: usize,
    },
    /// Wait until every agent has the item at this revision, and the hub knows it.
    Applied { item: String, revision: String },
    /// Wait until every agent was told that its item is too large, and the hub has its other `items`.
    Holding { items: usize },
    /// Forget when agents were connected and in sync.
    Mark,
    /// Wait until every agent has connected since the mark, and is in sync.
    Back,
    /// Change the status of this many agents, one after another, and wait until the hub knows each.
    Touch { agents: usize },
    /// One agent changes a status so often, while this many others change one each.
    Storm {
        per_second: u32,
        seconds: u32,
        others: usize,
    },
    /// Start this many agents more, one after another, each from nothing to its first session; each token admits one.
    Start { tokens: Vec<String> },
    /// End all that is wrong with the path, and wait until every agent is connected over QUIC.
    Heal,
    /// What is there now.
    Sum,
}

/// What the simulator answers. Times are microseconds since 1970, durations microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Answer {
    /// The path is open.
    Opened,
    /// All joined: how long each took, and how many attempts were refused or lost on the way.
    Joined { took: Vec<u64>, retries: u64 },
    /// When each agent had applied, and when it heard that the hub knows.
    Applied { applied: Vec<u64>, seen: Vec<u64> },
    /// The mark is set.
    Marked,
    /// When each agent sent its first packet to the hub, had its welcome, and was in sync; and the bytes it took from
    /// welcome to sync.
    Back {
        first_packet: Vec<u64>,
        welcomed: Vec<u64>,
        synced: Vec<u64>,
        bytes: Vec<u64>,
    },
    /// From each change to the hub's acknowledgement; `last_took` from the storm's last change to its acknowledgement.
    Touched {
        took: Vec<u64>,
        last_took: u64,
        changes: u64,
    },
    /// How long each agent took.
    Took { took: Vec<u64> },
    /// Sums over all agents.
    Sum(Sum),
    /// It cannot be done.
    Failed { why: String },
}

/// Sums over all agents; bytes are those of the present connections, heads of IP and UDP included.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    pub connected: usize,
    pub connections: u64,
    pub items: usize,
    pub puts: u64,
    pub deletes: u64,
    pub bytes: u64,
    pub datagrams: u64,
    pub lost: u64,
}

/// This moment.
pub fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}
