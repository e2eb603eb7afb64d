//! What the network and the spokes are like.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::ValueEnum;
use nave_bed::UdpRelay;
use nave_quic::WallClock;
use serde::{Deserialize, Serialize};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
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
    /// Every line is metered (`spec.link.profile`)
    Metered,
    /// UDP is swallowed until the end, when it is let through
    UdpBlocked,
    /// UDP is swallowed all along: everything goes by TLS over TCP
    Tcp,
    /// The agents' clocks are wrong: at 1970, a year, a day and an hour behind, an hour and twelve ahead
    Skew,
}

/// The path between agents and hub, while it is held.
pub struct Path {
    /// Where agents dial.
    pub address: String,
    _turns: Option<AbortOnDropHandle<()>>,
    relay: Option<Arc<UdpRelay>>,
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
        !matches!(self, Profile::Rebind | Profile::Flapping | Profile::UdpBlocked)
    }

    /// What an agent takes for the time of day; `now` is in seconds since 1970.
    pub fn clock(self, number: usize, now: i64) -> WallClock {
        const HOUR: i64 = 3600;
        let ahead = match (self, number % 7) {
            (Profile::Skew, 0) => -now,
            (Profile::Skew, 1) => -365 * 24 * HOUR,
            (Profile::Skew, 2) => -24 * HOUR,
            (Profile::Skew, 3) => -HOUR,
            (Profile::Skew, 4) => HOUR,
            (Profile::Skew, 5) => 12 * HOUR,
            _ => 0,
        };
        WallClock { ahead }
    }

    /// `bound`, where the profile does not change what it is about: a metered line gathers its status.
    pub fn latency(self, bound: &'static str) -> &'static str {
        if self == Profile::Metered { "" } else { bound }
    }

    /// Whether agents dial the hub itself.
    fn is_direct(self) -> bool {
        matches!(
            self,
            Profile::Lan | Profile::Oversize | Profile::Metered | Profile::Skew
        )
    }

    /// What makes the path what it is, in words.
    pub fn path(self) -> &'static str {
        match self.is_direct() {
            true => "straight over the loopback interface",
            false => "through a relay in user space",
        }
    }

    /// Opens the path to `hub`.
    pub fn open(self, hub: &str) -> Result<Path> {
        if self.is_direct() {
            return Ok(Path {
                address: hub.to_owned(),
                _turns: None,
                relay: None,
            });
        }
        let relay = Arc::new(UdpRelay::start(hub.parse()?)?);
        match self {
            Profile::Latency => relay.delay(Duration::from_millis(40)),
            Profile::Loss => {
                relay.delay(Duration::from_millis(20));
                relay.lose(0.03);
            }
            Profile::UdpBlocked | Profile::Tcp => relay.cut(),
            _ => {}
        }
        let turns = match self {
            Profile::Rebind => Some(tokio::spawn(rebind(relay.clone()))),
            Profile::Flapping => Some(tokio::spawn(flap(relay.clone()))),
            Profile::UdpBlocked | Profile::Tcp => {
                let listener = std::net::TcpListener::bind(relay.address()).context("taking the port for TCP too")?;
                listener.set_nonblocking(true)?;
                Some(tokio::spawn(forward(TcpListener::from_std(listener)?, hub.parse()?)))
            }
            _ => None,
        };
        Ok(Path {
            address: relay.address().to_string(),
            _turns: turns.map(AbortOnDropHandle::new),
            relay: Some(relay),
        })
    }
}

impl Path {
    /// Ends all that is wrong with it.
    pub fn heal(&self) {
        if let Some(relay) = &self.relay {
            relay.heal();
        }
    }
}

/// Carries TCP connections to the hub.
async fn forward(listener: TcpListener, hub: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        connections.spawn(async move {
            if let Ok(mut far) = TcpStream::connect(hub).await {
                // However it ends, both ends see it.
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
        while connections.try_join_next().is_some() {}
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
