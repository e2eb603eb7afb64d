//! What the network and the spokes are like.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use clap::ValueEnum;
use nave_bed::UdpRelay;
use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;

/// A profile by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Nothing in between
    Lan,
    /// 40 ms each way
    Latency,
    /// 20 ms each way, 3 % of the packets lost each way
    Loss,
    /// The translator in between forgets its table every second, and is away for 300 ms then
    Rebind,
    /// The path is cut for 5 s of every 15 s
    Flapping,
    /// One fleet object is larger than the agents take
    Oversize,
}

/// The path between agents and hub, while it is held.
pub struct Path {
    /// Where agents dial.
    pub address: String,
    _turns: Option<AbortOnDropHandle<()>>,
    _relay: Option<Arc<UdpRelay>>,
}

/// Payloads above this are refused by the agents of [`Profile::Oversize`].
pub const SMALL: usize = 64 * 1024;

impl Profile {
    /// The largest item that agents take; 0 means the protocol's limit.
    pub fn max_item_bytes(self) -> usize {
        if self == Profile::Oversize { SMALL } else { 0 }
    }

    /// Whether the network stays as it is: only then do the figures for rest mean anything.
    pub fn is_steady(self) -> bool {
        !matches!(self, Profile::Rebind | Profile::Flapping)
    }

    /// Opens the path to `hub`.
    pub fn open(self, hub: &str) -> Result<Path> {
        if matches!(self, Profile::Lan | Profile::Oversize) {
            return Ok(Path {
                address: hub.to_owned(),
                _turns: None,
                _relay: None,
            });
        }
        let relay = Arc::new(UdpRelay::start(hub.parse()?)?);
        match self {
            Profile::Latency => relay.delay(Duration::from_millis(40)),
            Profile::Loss => {
                relay.delay(Duration::from_millis(20));
                relay.lose(0.03);
            }
            Profile::Lan | Profile::Oversize | Profile::Rebind | Profile::Flapping => {}
        }
        let turns = match self {
            Profile::Rebind => Some(tokio::spawn(rebind(relay.clone()))),
            Profile::Flapping => Some(tokio::spawn(flap(relay.clone()))),
            _ => None,
        };
        Ok(Path {
            address: relay.address().to_string(),
            _turns: turns.map(AbortOnDropHandle::new),
            _relay: Some(relay),
        })
    }
}

async fn rebind(relay: Arc<UdpRelay>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        relay.cut();
        relay.rebind();
        tokio::time::sleep(Duration::from_millis(300)).await;
        relay.heal();
    }
}

async fn flap(relay: Arc<UdpRelay>) {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        relay.cut();
        tokio::time::sleep(Duration::from_secs(5)).await;
        relay.heal();
    }
}
