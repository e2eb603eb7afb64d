//! What a cluster's link carried, day by day: one small record in the state file for each cluster.

use prost::Message;

/// Days that are kept, the present one included.
pub const DAYS: usize = 2;

/// The last days of one cluster, oldest first.
#[derive(Clone, PartialEq, Message)]
pub struct TrafficRecord {
    /// At most [`DAYS`].
    #[prost(message, repeated, tag = "1")]
    pub days: Vec<DayTraffic>,
}

/// One day.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct DayTraffic {
    /// Days since 1970-01-01, in UTC by the hub's clock.
    #[prost(int64, tag = "1")]
    pub day: i64,
    /// To the cluster.
    #[prost(message, required, tag = "2")]
    pub sent: Bytes,
    /// From the cluster.
    #[prost(message, required, tag = "3")]
    pub received: Bytes,
}

/// Bytes of one direction.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Bytes {
    /// Greetings, heartbeats, permits.
    #[prost(uint64, tag = "1")]
    pub control: u64,
    /// Items, status, events.
    #[prost(uint64, tag = "2")]
    pub state: u64,
    /// Artifacts.
    #[prost(uint64, tag = "3")]
    pub chunk: u64,
    /// Live reads.
    #[prost(uint64, tag = "4")]
    pub live: u64,
    /// In all, with what the carrier adds and the heads of IP and UDP or TCP.
    #[prost(uint64, tag = "5")]
    pub total: u64,
}

impl TrafficRecord {
    /// The account of a day, made when it is not there; the oldest makes room. A clock that was set back goes on with the
    /// latest day.
    pub fn day(&mut self, day: i64) -> &mut DayTraffic {
        if self.days.last().is_none_or(|last| last.day < day) {
            self.days.push(DayTraffic {
                day,
                ..DayTraffic::default()
            });
            let excess = self.days.len().saturating_sub(DAYS);
            self.days.drain(..excess);
        }
        self.days.last_mut().expect("one was just put there")
    }

    /// Whether it says something of the last [`DAYS`].
    pub fn is_recent(&self, today: i64) -> bool {
        self.days.last().is_some_and(|last| last.day + DAYS as i64 > today)
    }
}

impl Bytes {
    /// What is not on streams: the carrier's own.
    pub fn overhead(&self) -> u64 {
        let streams = self.control + self.state + self.chunk + self.live;
        self.total.saturating_sub(streams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_each_other_and_the_oldest_goes() {
        let mut record = TrafficRecord::default();
        for day in [10, 10, 9, 11, 14] {
            record.day(day).sent.total += 1;
        }
        let told: Vec<(i64, u64)> = record.days.iter().map(|day| (day.day, day.sent.total)).collect();
        assert_eq!(told, [(11, 1), (14, 1)]);
        assert!(record.is_recent(15) && !record.is_recent(16));
        let read = TrafficRecord::decode(record.encode_to_vec().as_slice()).expect("own record");
        assert_eq!(read, record);
    }
}
