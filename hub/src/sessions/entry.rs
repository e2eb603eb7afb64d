//! Who comes in and as what: pure decisions about a connection's first words.

use jiff::Timestamp;
use nave_identity::{ClusterRef, KeyFingerprint, RenewReason, Standing};
use nave_proto::{Close, CloseCode, Fencing, SessionId, StoredSession, decide_fencing, hub::Entry, wire::Mode};

/// A peer whose key was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrant {
    /// Its key.
    pub key: KeyFingerprint,
    /// When its certificate ends or ended; none where the certificate is not ours, and says whatever its holder wrote.
    pub not_after: Option<Timestamp>,
    /// The cluster that the key belongs to; none while joining.
    pub cluster: Option<ClusterRef>,
    /// What the session may be.
    pub entry: Entry,
    /// Why it may not be more, for people.
    pub reason: String,
}

/// What is said of a cluster whose identity was copied.
pub const CONTESTED: &str = "two agents say that they are this cluster: one has a copy of the other's key. Stop the one \
that is not, add the key to spec.identity.revokedKeys, and join the other again with a new token";

/// What a hub that is Behind says to a certificate that is not current.
pub const BEHIND_RENEWS_NOTHING: &str =
    "this hub was restored and waits for an operator; expired certificates are not renewed meanwhile";
/// What a hub that is Behind says to a join request.
pub const BEHIND_ADMITS_NOBODY: &str = "this hub was restored and waits for an operator; nobody can join meanwhile";

/// What is said of a cluster whose agent shows what this hub never gave.
pub const FORGED: &str = "its agent shows a checkpoint that this hub never gave: somebody uses its key. Add the key to \
spec.identity.revokedKeys, and join the agent again with a new token";

/// The entry that a key's standing gives, or the words with which the connection is closed.
pub fn enter(key: KeyFingerprint, not_after: Timestamp, standing: &Standing, behind: bool) -> Result<Entrant, Close> {
    let ours = !matches!(
        standing,
        Standing::RenewOnly {
            reason: RenewReason::NotIssuedByUs,
            ..
        }
    );
    let entrant = |cluster: Option<&ClusterRef>, entry| Entrant {
        key,
        not_after: ours.then_some(not_after),
        cluster: cluster.cloned(),
        entry,
        reason: if entry == Entry::Member {
            String::new()
        } else {
            standing.to_string()
        },
    };
    match standing {
        Standing::Known {
            cluster,
            approved: true,
        } => Ok(entrant(Some(cluster), Entry::Member)),
        Standing::Known {
            cluster,
            approved: false,
        } => Ok(entrant(Some(cluster), Entry::Pending)),
        // A hub that does not trust its memory cannot know whether a lease was meant to end, or the key to be taken back.
        Standing::RenewOnly {
            reason: RenewReason::Expired { .. } | RenewReason::NotIssuedByUs,
            ..
        } if behind => Err(later(BEHIND_RENEWS_NOTHING)),
        Standing::RenewOnly { cluster, .. } => Ok(entrant(Some(cluster), Entry::RenewOnly)),
        Standing::Joining if behind => Err(later(BEHIND_ADMITS_NOBODY)),
        Standing::Joining => Ok(entrant(None, Entry::Joining)),
        Standing::Unknown { .. } => Err(Close::new(CloseCode::KeyUnknown, standing.to_string())),
        Standing::Revoked { .. } => Err(Close::new(CloseCode::KeyRevoked, standing.to_string())),
    }
}

/// Come back when an operator may have looked at a hub that is Behind.
pub fn later(reason: &str) -> Close {
    Close::new(CloseCode::Overloaded, reason).retry_after(60_000)
}

/// What a session's first words mean, all things considered.
#[derive(Debug, Clone, PartialEq)]
pub enum Reception {
    /// Welcome it.
    Admit {
        /// What the session may do.
        mode: Mode,
        /// Why not everything.
        reason: String,
        /// What to do with the session that is live.
        old: Old,
        /// The spoke came back from a backup.
        restored: bool,
    },
    /// Ask it whether it still is the spoke's agent.
    Fence,
    /// Say goodbye.
    Close(Close),
}

/// What becomes of the session that was live before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// There is none, or it is left alone.
    Keep,
    /// It is cut: the same process connected again.
    Cut,
    /// It is asked whether it still is the spoke's agent.
    Fence,
    /// It is quarantined too.
    Quarantine,
}

/// What is known when `Hello` arrives.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// The numbers in `Hello`.
    pub incoming: &'a SessionId,
    /// The last session of the cluster.
    pub stored: Option<&'a StoredSession>,
    /// UID of the spoke in `Hello`, and as the cluster has it (empty for not known).
    pub cluster_uid: (&'a str, &'a str),
    /// Why the cluster is quarantined, if it is.
    pub quarantined: Option<&'a str>,
    /// Why the hub is Behind, if it is.
    pub behind: Option<&'a str>,
}

/// Decides how a member's session is received.
pub fn receive(situation: &Situation<'_>) -> Reception {
    let admit = |mode, reason: &str, old| Reception::Admit {
        mode,
        reason: reason.to_owned(),
        old,
        restored: false,
    };
    let (said, known) = situation.cluster_uid;
    if !known.is_empty() && said != known {
        let reason = format!(
            "this key joined from the cluster with UID {known}, now it comes from {said:?}: join again with a new token, or clear spec.identity.clusterUID"
        );
        return admit(Mode::Quarantined, &reason, Old::Keep);
    }
    let fencing = decide_fencing(situation.incoming, situation.stored);
    match fencing {
        Fencing::Stale => {
            return Reception::Close(Close::new(
                CloseCode::Stale,
                "a newer connection of this agent is known",
            ));
        }
        Fencing::Fence if situation.quarantined.is_none() => return Reception::Fence,
        Fencing::Clone => {
            return admit(Mode::Quarantined, CONTESTED, Old::Quarantine);
        }
        _ => {}
    }
    if let Some(reason) = situation.quarantined {
        return admit(Mode::Quarantined, reason, Old::Keep);
    }
    let old = match fencing {
        Fencing::Replace => Old::Cut,
        Fencing::AcceptAndFence => Old::Fence,
        _ => Old::Keep,
    };
    let (mode, reason) = match situation.behind {
        Some(reason) => (Mode::Behind, reason),
        None => (Mode::Normal, ""),
    };
    Reception::Admit {
        mode,
        reason: reason.to_owned(),
        old,
        restored: fencing == Fencing::Restored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_identity::UnknownReason;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key() -> KeyFingerprint {
        KeyFingerprint::of_spki(b"a")
    }

    fn told(standing: &Standing, behind: bool) -> String {
        match enter(key(), at(1), standing, behind) {
            Ok(entrant) => format!("{:?} {}", entrant.entry, entrant.reason),
            Err(close) => format!("{:?} {}", close.code().unwrap(), close.reason),
        }
    }

    #[test]
    fn entries() {
        let cluster = ClusterRef::new("platform", "eu-1");
        let known = |approved| Standing::Known {
            cluster: cluster.clone(),
            approved,
        };
        let renew = |reason| Standing::RenewOnly {
            cluster: cluster.clone(),
            reason,
        };
        assert_eq!(told(&known(true), true), "Member ");
        assert_eq!(
            told(&known(false), false),
            "Pending cluster platform/eu-1 waits for approval"
        );
        assert!(told(&renew(RenewReason::NotIssuedByUs), false).starts_with("RenewOnly"));
        assert!(told(&renew(RenewReason::NotIssuedByUs), true).starts_with("Overloaded"));
        assert!(told(&renew(RenewReason::Expired { not_after: at(0) }), false).starts_with("RenewOnly"));
        assert!(told(&renew(RenewReason::Expired { not_after: at(0) }), true).starts_with("Overloaded"));
        assert!(told(&Standing::Joining, false).starts_with("Joining"));
        assert!(told(&Standing::Joining, true).starts_with("Overloaded"));
        let unknown = Standing::Unknown {
            reason: UnknownReason::NoTokens,
        };
        assert!(told(&unknown, false).starts_with("KeyUnknown key unknown"));
        let revoked = Standing::Revoked {
            reason: "stolen".into(),
        };
        assert_eq!(told(&revoked, false), "KeyRevoked key revoked: stolen");
    }

    #[test]
    fn the_dates_of_a_certificate_count_only_when_it_is_ours() {
        let cluster = ClusterRef::new("platform", "eu-1");
        for (reason, expected) in [
            (RenewReason::Expired { not_after: at(1) }, Some(at(1))),
            (RenewReason::NotIssuedByUs, None),
        ] {
            let standing = Standing::RenewOnly {
                cluster: cluster.clone(),
                reason,
            };
            assert_eq!(enter(key(), at(1), &standing, false).unwrap().not_after, expected);
        }
    }

    fn id(instance: &str, boot_seq: u64, session_seq: u64) -> SessionId {
        SessionId {
            instance_id: instance.into(),
            boot_seq,
            session_seq,
        }
    }

    fn check(incoming: SessionId, stored: Option<(SessionId, bool)>, expected: &str) {
        let stored = stored.map(|(id, live)| StoredSession { id, live });
        let situation = Situation {
            incoming: &incoming,
            stored: stored.as_ref(),
            cluster_uid: ("u", "u"),
            quarantined: None,
            behind: None,
        };
        let told = match receive(&situation) {
            Reception::Admit {
                mode, old, restored, ..
            } => format!("{mode:?} {old:?} {restored}"),
            Reception::Fence => "fence".to_owned(),
            Reception::Close(close) => format!("{:?}", close.code().unwrap()),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn processes_of_one_spoke() {
        check(id("a", 1, 1), None, "Normal Keep false");
        check(id("a", 1, 2), Some((id("a", 1, 1), true)), "Normal Cut false");
        check(id("b", 2, 1), Some((id("a", 1, 9), true)), "Normal Fence false");
        check(id("b", 2, 1), Some((id("a", 1, 9), false)), "Normal Keep false");
        check(
            id("b", 1, 1),
            Some((id("a", 1, 9), true)),
            "Quarantined Quarantine false",
        );
        check(id("b", 1, 1), Some((id("a", 2, 1), true)), "fence");
        check(id("b", 1, 1), Some((id("a", 2, 1), false)), "Normal Keep true");
        check(id("a", 1, 1), Some((id("a", 1, 2), true)), "Stale");
    }

    #[test]
    fn another_spoke_with_the_same_key_receives_nothing() {
        let incoming = id("a", 1, 1);
        let mut situation = Situation {
            incoming: &incoming,
            stored: None,
            cluster_uid: ("other", "u"),
            quarantined: None,
            behind: None,
        };
        let mode = |situation: &Situation<'_>| match receive(situation) {
            Reception::Admit { mode, .. } => mode,
            other => panic!("{other:?}"),
        };
        assert_eq!(mode(&situation), Mode::Quarantined);
        situation.cluster_uid = ("u", "");
        assert_eq!(mode(&situation), Mode::Normal);
        situation.behind = Some("restored");
        assert_eq!(mode(&situation), Mode::Behind);
        situation.quarantined = Some("contested");
        assert_eq!(mode(&situation), Mode::Quarantined);
    }
}
