//! Which carrier is tried first, what is remembered of that, and when the better one is tried again: pure decisions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::connection::Transport;

/// Which carriers an agent may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Carriers {
    /// Both: the first that connects.
    #[default]
    Any,
    /// One alone.
    Only(Transport),
}

/// Times of the race between carriers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaceOptions {
    /// TCP is tried so long after QUIC.
    pub head_start: Duration,
    /// QUIC is tried so long after TCP on a network that is known to swallow UDP. Not for ever: TCP may be what is
    /// blocked by now.
    pub late_start: Duration,
    /// A network is believed to swallow UDP for so long.
    pub believe: Duration,
    /// While connected over TCP, QUIC is first tried after so long; each further pause is four times the one before.
    pub first_probe: Duration,
    /// The longest pause between two tries.
    pub longest_probe: Duration,
}

/// What an agent remembers of its network; kept with its identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathMemory {
    /// When TCP won although QUIC had started before it; seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    udp_blocked_at: Option<u64>,
    /// The pace of packets that keeps the path's address translator from forgetting us, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_alive_ms: Option<u64>,
}

/// In which order carriers are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Only(Transport),
    /// The first has so long for itself.
    First(Transport, Duration),
}

impl Default for RaceOptions {
    fn default() -> Self {
        Self {
            head_start: Duration::from_millis(300),
            late_start: Duration::from_secs(2),
            believe: Duration::from_secs(3600),
            first_probe: Duration::from_secs(15),
            // With the time that a try takes and the pause's spread it is below the five minutes that are promised.
            longest_probe: Duration::from_secs(240),
        }
    }
}

impl PathMemory {
    /// Whether the network is believed to swallow UDP.
    pub fn avoids_udp(&self, options: &RaceOptions, now: u64) -> bool {
        // A clock that was set back must not make the belief last.
        self.udp_blocked_at
            .and_then(|at| now.checked_sub(at))
            .is_some_and(|age| age < options.believe.as_secs())
    }

    pub(crate) fn order(&self, carriers: Carriers, options: &RaceOptions, now: u64) -> Order {
        match carriers {
            Carriers::Only(transport) => Order::Only(transport),
            Carriers::Any if self.avoids_udp(options, now) => Order::First(Transport::Tcp, options.late_start),
            Carriers::Any => Order::First(Transport::Quic, options.head_start),
        }
    }

    /// Learns from a race. `true` when there is something to be kept.
    pub(crate) fn learn(&mut self, order: Order, winner: Transport, now: u64) -> bool {
        let before = self.udp_blocked_at;
        match (winner, order) {
            (Transport::Quic, _) => self.udp_blocked_at = None,
            (Transport::Tcp, Order::First(Transport::Quic, _)) => self.udp_blocked_at = Some(now),
            // Nothing was learnt: QUIC had no chance. What was believed goes on ageing.
            (Transport::Tcp, _) => {}
        }
        self.udp_blocked_at != before
    }

    /// A session over QUIC ended before the hub's first word came: small packets got through and others did not.
    pub(crate) fn doubt_udp(&mut self, now: u64) {
        self.udp_blocked_at = Some(now);
    }
}

impl RaceOptions {
    /// The pause before the try with this number, from 0. `random` is from 0 to 1.
    pub(crate) fn probe_pause(&self, number: u32, random: f64) -> Duration {
        let grown = self.first_probe.saturating_mul(4_u32.saturating_pow(number.min(15)));
        grown.min(self.longest_probe).mul_f64(0.8 + 0.2 * random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_swallows_udp_is_remembered_for_a_while() {
        let options = RaceOptions::default();
        let mut memory = PathMemory::default();
        let race = memory.order(Carriers::Any, &options, 1000);
        assert_eq!(race, Order::First(Transport::Quic, options.head_start));
        assert!(memory.learn(race, Transport::Tcp, 1000));
        let text = serde_json::to_string(&memory).expect("serialises");
        let mut memory: PathMemory = serde_json::from_str(&text).expect("reads");
        let direct = memory.order(Carriers::Any, &options, 1100);
        assert_eq!(direct, Order::First(Transport::Tcp, options.late_start));
        assert!(!memory.learn(direct, Transport::Tcp, 4000), "the belief ages");
        assert_eq!(memory.order(Carriers::Any, &options, 4601), race);
        assert_eq!(
            memory.order(Carriers::Any, &options, 10),
            race,
            "the clock was set back"
        );
        assert!(memory.learn(direct, Transport::Quic, 1200));
        assert_eq!(memory, PathMemory::default());
        let only = memory.order(Carriers::Only(Transport::Tcp), &options, 0);
        assert_eq!(only, Order::Only(Transport::Tcp));
        assert!(!memory.learn(only, Transport::Tcp, 0));
    }

    #[test]
    fn quic_is_tried_again_within_five_minutes() {
        let options = RaceOptions::default();
        let pauses: Vec<u64> = (0..5).map(|n| options.probe_pause(n, 1.0).as_secs()).collect();
        assert_eq!(pauses, [15, 60, 240, 240, 240]);
        let longest = options.probe_pause(u32::MAX, 1.0) + crate::DialOptions::default().connect_timeout;
        assert!(longest < Duration::from_secs(300));
        assert_eq!(options.probe_pause(0, 0.0), Duration::from_secs(12));
    }
}
