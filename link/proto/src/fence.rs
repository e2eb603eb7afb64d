//! Which of two processes is a cluster's agent: a pure decision over the counters that agents keep in their own spoke.

/// A session, by the numbers of its `Hello`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionId {
    /// Random id of the process.
    pub instance_id: String,
    /// Raised by compare-and-swap in the spoke when the process started.
    pub boot_seq: u64,
    /// Counts the connections of the process.
    pub session_seq: u64,
}

/// What a hub remembers of a cluster's last session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// Its numbers.
    pub id: SessionId,
    /// Whether it is connected now.
    pub live: bool,
}

/// What to do with a session that says `Hello`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fencing {
    /// Nothing stands against it.
    Accept,
    /// The same process connected again: cut the old connection, nothing more.
    Replace,
    /// A newer process while an older one's connection still lives, as after a crash. Accept it and send the old one a
    /// `Fence`: normally nobody is there to answer. If it answers `contested`, it is a clone: quarantine both.
    AcceptAndFence,
    /// An older process while a newer one lives. Send it a `Fence` and nothing else; if it answers `contested`,
    /// quarantine both, otherwise close it as fenced.
    Fence,
    /// Two processes drew the same number, which one spoke's compare-and-swap makes impossible: quarantine both.
    Clone,
    /// Older than what was stored, and nobody is connected: the spoke was restored from a backup. Accept it, say so on
    /// the cluster, and hold its deletions as plans.
    Restored,
    /// An older connection of the same process that came late: close it as stale.
    Stale,
}

/// Decides about an incoming session, given what is stored of the last one.
pub fn decide_fencing(incoming: &SessionId, stored: Option<&StoredSession>) -> Fencing {
    let Some(StoredSession { id: stored, live }) = stored else {
        return Fencing::Accept;
    };
    let same_process = incoming.instance_id == stored.instance_id;
    match incoming.boot_seq.cmp(&stored.boot_seq) {
        std::cmp::Ordering::Greater if *live => Fencing::AcceptAndFence,
        std::cmp::Ordering::Greater => Fencing::Accept,
        std::cmp::Ordering::Equal if !same_process => Fencing::Clone,
        std::cmp::Ordering::Equal if incoming.session_seq <= stored.session_seq => Fencing::Stale,
        std::cmp::Ordering::Equal if *live => Fencing::Replace,
        std::cmp::Ordering::Equal => Fencing::Accept,
        std::cmp::Ordering::Less if *live => Fencing::Fence,
        std::cmp::Ordering::Less => Fencing::Restored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(instance: &str, boot_seq: u64, session_seq: u64) -> SessionId {
        SessionId {
            instance_id: instance.to_owned(),
            boot_seq,
            session_seq,
        }
    }

    /// Against a stored session of process `a`, boot 5, session 3.
    fn check(incoming: SessionId, live: bool, expected: Fencing) {
        let stored = StoredSession {
            id: id("a", 5, 3),
            live,
        };
        assert_eq!(
            decide_fencing(&incoming, Some(&stored)),
            expected,
            "{incoming:?} live={live}"
        );
    }

    #[test]
    fn decisions() {
        assert_eq!(decide_fencing(&id("a", 1, 1), None), Fencing::Accept);
        check(id("a", 5, 4), true, Fencing::Replace);
        check(id("a", 5, 4), false, Fencing::Accept);
        check(id("a", 5, 3), true, Fencing::Stale);
        check(id("a", 5, 2), false, Fencing::Stale);
        check(id("b", 5, 9), true, Fencing::Clone);
        check(id("b", 5, 9), false, Fencing::Clone);
        check(id("b", 6, 1), true, Fencing::AcceptAndFence);
        check(id("b", 6, 1), false, Fencing::Accept);
        check(id("b", 4, 1), true, Fencing::Fence);
        check(id("b", 4, 1), false, Fencing::Restored);
        check(id("a", 4, 9), false, Fencing::Restored);
    }
}
