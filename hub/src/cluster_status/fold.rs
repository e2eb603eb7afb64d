//! From what was seen of an agent to the status of its Cluster: pure.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt;
use nave_crds::{
    Cluster, annotations, conditions,
    fleet::{ClusterCounts, ClusterSession, ClusterStatus},
};
use nave_proto::wire::LinkProfile;
use nave_runtime::{Conditions, Status};

use super::GRACE;
use super::said::{Profile, Said, agent_current, clock_synced, connected, joined, link_profile, ready};
use crate::identities::quarantine_of;

/// Reason of a quarantine that the hub found necessary.
pub const CONTESTED: &str = "Contested";
/// Reason of a quarantine that a person asked for.
const BY_HAND: &str = "ByHand";
/// What the condition Restored begins with, before the number.
const RESTORATION: &str = "restoration ";
/// The API's bounds on facts.
const MAX_FACTS: usize = 64;
const MAX_FACT_TEXT: usize = 256;

/// What is known of one agent; in memory only.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Its session.
    pub link: Link,
    /// Counts this process's sessions; a close that names another than the open one is late.
    pub session: u64,
    /// Version of the agent.
    pub agent_version: String,
    /// Version of the spoke's API server.
    pub kubernetes_version: String,
    /// Names of the link's features that both ends have.
    pub features: Vec<String>,
    /// Digest of the spoke's policy, `sha256:<hex>`, or empty.
    pub policy_digest: String,
    /// What the agent says of its cluster.
    pub facts: BTreeMap<String, String>,
    /// The agent's clock less the hub's.
    pub clock_difference_ms: i64,
    /// The second in which the agent showed that the spoke came back from a backup: what a person confirms.
    pub restored: Option<u64>,
    /// The version that was wanted last and does not run, and why, as the agent says.
    pub not_upgraded: (String, String),
    /// Quarantined sessions that are open, and why; also beside a live one.
    pub quarantined: BTreeMap<u64, String>,
    /// Why the cluster's key is quarantined, if it is: also while nobody is connected.
    pub contested: Option<String>,
    /// Why the agent has to renew its certificate first, if that is what it last came for.
    pub renewing: Option<String>,
    /// How much longer than [`GRACE`] it may be away.
    pub patience: Duration,
    /// What the agent was told that its line can bear.
    pub profile: LinkProfile,
    /// Flux objects by state.
    pub counts: Option<ClusterCounts>,
}

/// The session of one agent, as this process saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Link {
    /// Not since the hub started.
    #[default]
    Never,
    /// Open.
    Open {
        /// Carrier.
        transport: &'static str,
        /// The agent's process.
        instance_id: String,
        /// The agent's count of its starts.
        boot_seq: u64,
        /// Why items do not flow, if they do not: reason and sentence.
        limited: Option<(&'static str, String)>,
    },
    /// Closed.
    Closed {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
}

impl Seen {
    /// The end of a session.
    pub fn close(&mut self, session: u64, now: Timestamp, reason: &str) {
        self.quarantined.remove(&session);
        if self.session == session && matches!(self.link, Link::Open { .. }) {
            self.link = Link::Closed {
                at: now,
                reason: reason.to_owned(),
            };
        }
    }
}

impl Seen {
    /// How long an agent that is away may still come back before that is shown; none when nothing is waited for.
    pub fn grace_left(&self, started: Timestamp, now: Timestamp) -> Option<Duration> {
        let since = match self.link {
            Link::Open { .. } => return None,
            Link::Closed { at, .. } => at,
            Link::Never => started,
        };
        (GRACE + self.patience)
            .checked_sub(now.duration_since(since).unsigned_abs())
            .filter(|left| !left.is_zero())
    }
}

/// The status as it should be.
pub fn fold(cluster: &Cluster, seen: &Seen, started: Timestamp, hub_version: &str, now: Timestamp) -> ClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    let generation = cluster.metadata.generation.unwrap_or_default();
    status.observed_generation = generation;
    if let Link::Open {
        transport,
        instance_id,
        boot_seq,
        ..
    } = &seen.link
    {
        status.transport = (*transport).to_owned();
        status.session = Some(ClusterSession {
            instance_id: instance_id.clone(),
            boot_seq: i64::try_from(*boot_seq).unwrap_or(i64::MAX),
        });
        status.agent_version.clone_from(&seen.agent_version);
        status.kubernetes_version.clone_from(&seen.kubernetes_version);
        status.features.clone_from(&seen.features);
        status.policy_digest.clone_from(&seen.policy_digest);
    }
    if !seen.facts.is_empty() {
        status.facts = bounded(&seen.facts);
    }
    if seen.counts.is_some() {
        status.counts.clone_from(&seen.counts);
    }
    drop_known_pending(cluster, &mut status);

    let joined = joined(cluster, &status);
    let connected = connected(&mut status, seen, started, now);
    let mut set = |kind: &str, said: &Said| {
        status
            .conditions
            .set(kind, said.status, said.reason, said.message.clone(), generation, now);
    };
    set(conditions::JOINED, &joined);
    if let Some(connected) = &connected {
        set(conditions::CONNECTED, connected);
    }
    set(conditions::READY, &ready(cluster, seen, &joined, connected.as_ref()));
    if let Link::Open { .. } = &seen.link {
        set(conditions::AGENT_CURRENT, &agent_current(cluster, seen, hub_version));
        set(conditions::CLOCK_SYNCED, &clock_synced(seen));
    }
    let restored = seen.restored.or_else(|| restoration(cluster));
    match restored.filter(|second| confirmed_restoration(cluster) != Some(*second)) {
        Some(second) => status.conditions.set(
            conditions::RESTORED,
            Status::True,
            "OlderStart",
            format!(
                "{RESTORATION}{second}: the agent's start count is lower than before, so the spoke came back from a backup; \
                 what it deletes waits for approval. To end that: annotate with {}={second}",
                annotations::FLEET_CONFIRM_RESTORED
            ),
            generation,
            now,
        ),
        None => status.conditions.remove_condition(conditions::RESTORED),
    }
    match link_profile(cluster, seen) {
        // Nobody is there to keep to it or not: what was said last stands.
        Profile::Unknown => {}
        Profile::Said(said) => status.conditions.set(
            conditions::LINK_PROFILE,
            said.status,
            said.reason,
            said.message,
            generation,
            now,
        ),
        Profile::Plain => status.conditions.remove_condition(conditions::LINK_PROFILE),
    }
    let by_hand = quarantine_of(cluster).map(|reason| Said::no_or_yes(true, BY_HAND, reason));
    let contested = seen.contested.as_ref().or_else(|| seen.quarantined.values().next());
    let contested = contested.map(|reason| Said::no_or_yes(true, CONTESTED, reason.clone()));
    match by_hand.or(contested) {
        Some(said) => status.conditions.set(
            conditions::QUARANTINED,
            said.status,
            said.reason,
            said.message,
            generation,
            now,
        ),
        None if matches!(seen.link, Link::Open { limited: None, .. })
            || status.conditions.reason_of(conditions::QUARANTINED) == Some(BY_HAND) =>
        {
            status.conditions.remove_condition(conditions::QUARANTINED);
        }
        None => {}
    }
    match status.policy_digest.as_str() {
        "" => status.conditions.remove_condition(conditions::POLICY_LIMITED),
        digest => {
            let message = format!(
                "the cluster's own policy {digest} caps what the hub may do there; fleet objects name what it refuses"
            );
            let reason = "PolicyFile";
            status.conditions.set(
                conditions::POLICY_LIMITED,
                Status::True,
                reason,
                message,
                generation,
                now,
            );
        }
    }
    status
}

/// When the cluster was restored and nobody has confirmed it yet, as its condition says.
pub fn restoration(cluster: &Cluster) -> Option<u64> {
    let conditions = &cluster.status.as_ref()?.conditions;
    let said = conditions.get_condition(conditions::RESTORED)?;
    let (second, _) = said.message.strip_prefix(RESTORATION)?.split_once(": ")?;
    second.parse().ok()
}

/// The restoration that a person has confirmed.
pub fn confirmed_restoration(cluster: &Cluster) -> Option<u64> {
    let confirmed = cluster.annotations().get(annotations::FLEET_CONFIRM_RESTORED)?;
    confirmed.trim().parse().ok()
}

/// Whether some condition turned or a session began: worth writing at once.
pub fn is_transition(old: &ClusterStatus, new: &ClusterStatus) -> bool {
    let turned = new.conditions.iter().any(|condition| {
        let before = old.conditions.get_condition(&condition.type_);
        before.is_none_or(|before| before.status != condition.status || before.reason != condition.reason)
    });
    turned || old.session != new.session || old.conditions.len() != new.conditions.len()
}

/// Keys that were accepted or taken back meanwhile wait no longer.
fn drop_known_pending(cluster: &Cluster, status: &mut ClusterStatus) {
    let Some(identity) = &cluster.spec.identity else { return };
    status.pending_keys.retain(|pending| {
        !identity.keys.contains(&pending.fingerprint) && !identity.revoked_keys.contains(&pending.fingerprint)
    });
}

fn bounded(facts: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let clean = |text: &str| {
        text.chars()
            .filter(|c| !c.is_control())
            .take(MAX_FACT_TEXT)
            .collect::<String>()
    };
    facts
        .iter()
        .take(MAX_FACTS)
        .map(|(key, value)| (clean(key), clean(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_crds::{
        fleet::{ClusterIdentity, ClusterSpec, LinkSpec, PendingKey},
        meta::Time,
    };

    const START: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(START + second).unwrap()
    }

    fn cluster() -> Cluster {
        let spec = ClusterSpec {
            accepted: true,
            identity: Some(ClusterIdentity {
                keys: vec!["sha256:aa".into()],
                ..ClusterIdentity::default()
            }),
            ..ClusterSpec::default()
        };
        Cluster::new("eu-1", spec)
    }

    fn open() -> Seen {
        Seen {
            link: Link::Open {
                transport: "quic",
                instance_id: "i".into(),
                boot_seq: 3,
                limited: None,
            },
            agent_version: "0.1.0".into(),
            session: 1,
            ..Seen::default()
        }
    }

    /// `Joined Connected Ready AgentCurrent ClockSynced` as letters.
    fn letters(status: &ClusterStatus) -> String {
        ["Joined", "Connected", "Ready", "AgentCurrent", "ClockSynced"]
            .map(|kind| match status.conditions.get_condition(kind) {
                Some(condition) => condition.status.chars().next().unwrap_or('?'),
                None => '-',
            })
            .iter()
            .collect()
    }

    fn check(cluster: &Cluster, seen: &Seen, second: i64, expected: &str) -> ClusterStatus {
        let status = fold(cluster, seen, at(0), "0.1.0", at(second));
        assert_eq!(letters(&status), expected, "{:?}", status.conditions);
        status
    }

    #[test]
    fn a_session_makes_ready_and_the_same_again_writes_nothing() {
        let mut object = cluster();
        let first = check(&object, &open(), 1, "TTTTT");
        assert_eq!(
            (first.transport.as_str(), first.session.as_ref().unwrap().boot_seq),
            ("quic", 3)
        );
        object.status = Some(first.clone());
        assert_eq!(fold(&object, &open(), at(0), "0.1.0", at(100)), first);
    }

    #[test]
    fn a_policy_of_the_cluster_is_told_while_there_is_one() {
        let mut object = cluster();
        let capped = Seen {
            policy_digest: "sha256:bb".into(),
            ..open()
        };
        let status = check(&object, &capped, 1, "TTTTT");
        let said = status.conditions.get_condition(conditions::POLICY_LIMITED).unwrap();
        assert!(said.message.contains("sha256:bb"), "{}", said.message);
        object.status = Some(status);
        let away = Seen::default();
        let kept = fold(&object, &away, at(0), "0.1.0", at(2));
        assert!(kept.conditions.get_condition(conditions::POLICY_LIMITED).is_some());
        let status = fold(&object, &open(), at(0), "0.1.0", at(3));
        assert!(status.conditions.get_condition(conditions::POLICY_LIMITED).is_none());
    }

    #[test]
    fn a_lost_session_is_shown_after_the_grace_only() {
        let mut object = cluster();
        let mut seen = open();
        object.status = Some(check(&object, &seen, 1, "TTTTT"));
        seen.close(2, at(10), "another session's end");
        assert!(matches!(seen.link, Link::Open { .. }));
        seen.close(1, at(10), "idle");
        let waiting = check(&object, &seen, 20, "TTTTT");
        assert_eq!(
            seen.grace_left(at(0), at(20)),
            Some(Duration::from_secs(15)),
            "look again then"
        );
        assert_eq!(seen.grace_left(at(0), at(35)), None);
        assert_eq!(open().grace_left(at(0), at(20)), None);
        assert_eq!(Seen::default().grace_left(at(0), at(20)), Some(Duration::from_secs(5)));
        assert_eq!(Some(&waiting), object.status.as_ref());
        let lost = check(&object, &seen, 10 + 26, "TFFTT");
        assert_eq!(lost.last_seen, Some(Time(at(10))));
        assert!(is_transition(&waiting, &lost));
    }

    #[test]
    fn a_new_hub_gives_agents_time_to_come_back() {
        let mut object = cluster();
        object.status = Some(check(&object, &open(), -100, "TTTTT"));
        check(&object, &Seen::default(), 10, "TTTTT");
        check(&object, &Seen::default(), 26, "TFFTT");
    }

    #[test]
    fn who_has_not_joined_or_waits_is_told() {
        let mut object = cluster();
        check(&object, &Seen::default(), 1, "TFF--");
        object.spec.accepted = false;
        let status = check(&object, &Seen::default(), 1, "FFF--");
        assert_eq!(status.conditions.reason_of("Ready"), Some("PendingApproval"));
        object.spec.identity = None;
        check(&object, &Seen::default(), 1, "FFF--");
        object.spec.accepted = true;
        let status = check(&object, &Seen::default(), 1, "FFF--");
        assert_eq!(status.conditions.reason_of("Joined"), Some("NotJoined"));
    }

    #[test]
    fn a_session_in_which_nothing_flows_is_not_ready() {
        let mut seen = open();
        seen.link = Link::Open {
            transport: "quic",
            instance_id: "i".into(),
            boot_seq: 3,
            limited: Some((conditions::QUARANTINED, "two agents".into())),
        };
        seen.quarantined.insert(1, "two agents".into());
        let mut object = cluster();
        let status = check(&object, &seen, 1, "TTFTT");
        assert!(status.conditions.is_true(conditions::QUARANTINED));
        object.status = Some(status);
        let released = check(&object, &open(), 2, "TTTTT");
        assert!(released.conditions.get_condition(conditions::QUARANTINED).is_none());

        // A copy beside the real agent is told and takes nothing away from it; it is forgotten when it goes.
        let mut visited = open();
        visited.quarantined.insert(2, "a copy".into());
        object.status = Some(check(&object, &visited, 3, "TTTTT"));
        assert!(
            object
                .status
                .as_ref()
                .is_some_and(|status| status.conditions.is_true(conditions::QUARANTINED))
        );
        visited.close(2, at(4), "gone");
        let alone = check(&object, &visited, 5, "TTTTT");
        assert!(alone.conditions.get_condition(conditions::QUARANTINED).is_none());
    }

    #[test]
    fn a_contested_key_is_told_also_while_nobody_is_there() {
        let mut object = cluster();
        let mut seen = Seen {
            contested: Some("key sha256:aa: two agents".into()),
            ..Seen::default()
        };
        let status = fold(&object, &seen, at(0), "0.1.0", at(1));
        let said = status.conditions.get_condition(conditions::QUARANTINED).unwrap();
        assert_eq!(
            (said.reason.as_str(), said.message.as_str()),
            (CONTESTED, "key sha256:aa: two agents")
        );
        object.status = Some(status);
        seen.contested = None;
        let kept = fold(&object, &seen, at(0), "0.1.0", at(2));
        assert!(
            kept.conditions.is_true(conditions::QUARANTINED),
            "a new hub knows nothing of it yet"
        );
        let released = fold(&object, &open(), at(0), "0.1.0", at(3));
        assert!(released.conditions.get_condition(conditions::QUARANTINED).is_none());
    }

    #[test]
    fn an_agent_without_a_certificate_is_not_connected_and_one_reads_why() {
        let seen = Seen {
            renewing: Some("cluster platform/eu-1 must renew: its certificate is not from this hub".into()),
            ..Seen::default()
        };
        let status = check(&cluster(), &seen, 1, "TFF--");
        assert_eq!(status.conditions.reason_of("Ready"), Some("CertificateExpired"));
        assert_eq!((status.session, status.last_seen), (None, None));
    }

    #[test]
    fn a_restored_spoke_is_told_until_a_person_confirms_it() {
        let mut object = cluster();
        let mut seen = open();
        seen.restored = Some(3);
        object.status = Some(check(&object, &seen, 1, "TTTTT"));
        assert_eq!(restoration(&object), Some(3));
        // Neither another session nor another hub ends it.
        let later = fold(&object, &open(), at(0), "0.1.0", at(2));
        assert!(later.conditions.is_true(conditions::RESTORED));
        let confirm = |object: &mut Cluster, start: &str| {
            let annotations = object.annotations_mut();
            annotations.insert(annotations::FLEET_CONFIRM_RESTORED.to_owned(), start.to_owned());
        };
        confirm(&mut object, "2");
        assert!(
            fold(&object, &seen, at(0), "0.1.0", at(3))
                .conditions
                .is_true(conditions::RESTORED)
        );
        confirm(&mut object, "3");
        let confirmed = fold(&object, &seen, at(0), "0.1.0", at(4));
        assert!(confirmed.conditions.get_condition(conditions::RESTORED).is_none());
    }

    #[test]
    fn a_quarantine_by_hand_is_shown_until_it_ends() {
        let mut object = cluster();
        let set = |object: &mut Cluster, why: &str| {
            object.spec.identity.get_or_insert_default().quarantined = why.to_owned();
        };
        set(&mut object, "seen elsewhere");
        let mut seen = open();
        let status = check(&object, &seen, 1, "TTFTT");
        assert_eq!(status.conditions.reason_of("Ready"), Some("Quarantined"));
        let said = status.conditions.get_condition(conditions::QUARANTINED).unwrap();
        assert_eq!(
            (said.reason.as_str(), said.message.as_str()),
            ("ByHand", "quarantined by hand: seen elsewhere")
        );
        object.status = Some(status);
        // Also of one that is away, and no longer than a person wants it.
        seen.close(1, at(2), "gone");
        let away = fold(&object, &seen, at(0), "0.1.0", at(40));
        assert!(away.conditions.is_true(conditions::QUARANTINED));
        set(&mut object, "");
        let ended = fold(&object, &seen, at(0), "0.1.0", at(41));
        assert!(ended.conditions.get_condition(conditions::QUARANTINED).is_none());
    }

    #[test]
    fn versions_clocks_and_facts() {
        let mut seen = open();
        seen.agent_version = "0.0.9".into();
        let reason = |cluster: &Cluster, seen: &Seen, expected: &str| {
            let status = fold(cluster, seen, at(0), "0.1.0", at(1));
            assert_eq!(status.conditions.reason_of("AgentCurrent"), Some(expected));
            status.conditions.get_condition("AgentCurrent").unwrap().message.clone()
        };
        reason(&cluster(), &seen, "VersionDiffers");
        seen.features = vec!["live".into(), "upgrade".into()];
        assert_eq!(reason(&cluster(), &seen, "Upgrading"), "agent 0.0.9, to become 0.1.0");
        seen.not_upgraded = ("0.1.0".into(), "no such\nimage".into());
        assert_eq!(
            reason(&cluster(), &seen, "NotUpgraded"),
            "agent 0.0.9, wanted 0.1.0: no such image"
        );
        let mut other = cluster();
        other.spec.agent = Some(nave_crds::fleet::AgentSpec {
            version: "0.0.8".into(),
        });
        reason(&other, &seen, "Upgrading");
        seen.not_upgraded = Default::default();
        seen.clock_difference_ms = -3 * 60_000;
        seen.facts = [("provider".to_owned(), "a\u{1b}[31mb".to_owned())].into();
        let status = check(&cluster(), &seen, 1, "TTTFF");
        assert_eq!(status.facts["provider"], "a[31mb");
        let clock = status.conditions.get_condition("ClockSynced").unwrap();
        assert_eq!(clock.message, "the spoke's clock is 3 min behind the hub's");
    }

    #[test]
    fn a_profile_and_whether_it_is_kept_to_is_said() {
        let mut cluster = cluster();
        let said_of = |cluster: &Cluster, seen: &Seen, before: ClusterStatus| {
            let cluster = Cluster {
                status: Some(before),
                ..cluster.clone()
            };
            fold(&cluster, seen, at(0), "1.0.0", at(10))
        };
        let said = |cluster: &Cluster, before| said_of(cluster, &open(), before);
        let plain = said(&cluster, ClusterStatus::default());
        assert!(plain.conditions.get_condition("LinkProfile").is_none());
        cluster.spec.link = Some(LinkSpec {
            profile: Some(nave_crds::fleet::LinkProfile::Metered),
        });
        let metered = said(&cluster, plain);
        assert!(metered.conditions.is_false("LinkProfile"));
        assert_eq!(metered.conditions.reason_of("LinkProfile"), Some("NotEnforced"));
        let mut able = open();
        able.features = vec!["metered".to_owned()];
        let waiting = said_of(&cluster, &able, metered.clone());
        assert_eq!(
            waiting.conditions.reason_of("LinkProfile"),
            Some("NotEnforced"),
            "of the session before"
        );
        able.profile = LinkProfile::Metered;
        let enforced = said_of(&cluster, &able, metered.clone());
        assert!(enforced.conditions.is_true("LinkProfile"));
        assert_eq!(enforced.conditions.reason_of("LinkProfile"), Some("Enforced"));
        able.link = Link::Closed {
            at: at(9),
            reason: String::new(),
        };
        let mut late = able.clone();
        late.patience = Duration::from_secs(120);
        let left = |seen: &Seen| seen.grace_left(at(0), at(9) + GRACE + Duration::from_secs(100));
        assert_eq!((left(&able), left(&late)), (None, Some(Duration::from_secs(20))));
        let away = said_of(&cluster, &able, enforced);
        assert_eq!(away.conditions.reason_of("LinkProfile"), Some("Enforced"));
        cluster.spec.link = None;
        assert!(
            said(&cluster, metered)
                .conditions
                .get_condition("LinkProfile")
                .is_none()
        );
    }

    #[test]
    fn accepted_keys_wait_no_longer() {
        let mut object = cluster();
        let pending = |fingerprint: &str| PendingKey {
            fingerprint: fingerprint.into(),
            time: Time(at(0)),
            reason: String::new(),
        };
        object.status = Some(ClusterStatus {
            pending_keys: vec![pending("sha256:aa"), pending("sha256:bb")],
            ..ClusterStatus::default()
        });
        let status = fold(&object, &open(), at(0), "0.1.0", at(1));
        assert_eq!(status.pending_keys.len(), 1);
    }
}
