//! What the conditions of a Cluster say: pure.

use jiff::Timestamp;
use nave_crds::{
    Cluster, conditions,
    fleet::{ClusterStatus, LinkProfile},
    meta::Time,
    reasons::fleet as reasons,
};
use nave_proto::{FEATURE_METERED, feature_names, wire};
use nave_runtime::{Conditions, Status, conditions::whole_seconds};

use crate::identities::quarantine_of;

use super::{
    GRACE,
    fold::{Link, Seen},
};

/// Clocks that differ by less are taken as equal: certificates and tokens have an hour of slack.
const CLOCK_SLACK_MS: i64 = 60_000;
/// One condition, but for its type and time.
pub struct Said {
    /// Its status.
    pub status: Status,
    /// Its reason.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
}

impl Said {
    /// True or False.
    pub fn no_or_yes(yes: bool, reason: &'static str, message: impl Into<String>) -> Self {
        let status = if yes { Status::True } else { Status::False };
        Said {
            status,
            reason,
            message: message.into(),
        }
    }
}

/// Joined: is a key accepted.
pub fn joined(cluster: &Cluster, status: &ClusterStatus) -> Said {
    let keys = cluster
        .spec
        .identity
        .as_ref()
        .map_or(&[][..], |identity| &identity.keys);
    match (keys.last(), cluster.spec.accepted) {
        (Some(key), true) => Said::no_or_yes(true, reasons::KEY_ACCEPTED, format!("key {key}")),
        (Some(key), false) => Said::no_or_yes(
            false,
            reasons::PENDING_APPROVAL,
            format!("key {key} waits: set spec.accepted to true to let it in"),
        ),
        (None, _) => match status.pending_keys.last() {
            Some(pending) => Said::no_or_yes(
                false,
                reasons::PENDING_APPROVAL,
                format!(
                    "key {} waits: add it to spec.identity.keys to let it in",
                    pending.fingerprint
                ),
            ),
            None => Said::no_or_yes(false, reasons::NOT_JOINED, "no agent has joined as this cluster"),
        },
    }
}

/// Connected. None leaves the condition as it is: the agent may be about to come back.
pub fn connected(status: &mut ClusterStatus, seen: &Seen, started: Timestamp, now: Timestamp) -> Option<Said> {
    let grace = GRACE + seen.patience;
    let within_grace = |since: Timestamp| now.duration_since(since).unsigned_abs() < grace;
    match &seen.link {
        Link::Open {
            transport, boot_seq, ..
        } => Some(Said::no_or_yes(
            true,
            reasons::SESSION_OPEN,
            format!("agent connected over {transport}, start {boot_seq}"),
        )),
        Link::Closed { at, .. } if within_grace(*at) => None,
        Link::Closed { at, reason } => {
            status.last_seen = Some(Time(whole_seconds(*at)));
            Some(Said::no_or_yes(
                false,
                reasons::SESSION_CLOSED,
                format!("no session since {}: {reason}", whole_seconds(*at)),
            ))
        }
        Link::Never if !status.conditions.is_true(conditions::CONNECTED) => {
            let known = status.conditions.get_condition(conditions::CONNECTED).is_some();
            (!known).then(|| Said::no_or_yes(false, reasons::SESSION_CLOSED, "no agent has connected yet"))
        }
        Link::Never if within_grace(started) => None,
        Link::Never => {
            status.last_seen.get_or_insert(Time(whole_seconds(started)));
            Some(Said::no_or_yes(
                false,
                reasons::SESSION_CLOSED,
                format!("no session since the hub started at {}", whole_seconds(started)),
            ))
        }
    }
}

/// Ready: joined, connected, and items flow.
pub fn ready(cluster: &Cluster, seen: &Seen, joined: &Said, connected: Option<&Said>) -> Said {
    if joined.status != Status::True {
        return Said::no_or_yes(false, joined.reason, joined.message.clone());
    }
    if let Some(why) = quarantine_of(cluster) {
        return Said::no_or_yes(false, conditions::QUARANTINED, why);
    }
    if let Link::Open {
        limited: Some((reason, message)),
        ..
    } = &seen.link
    {
        return Said::no_or_yes(false, reason, message.clone());
    }
    let before = cluster.status.as_ref().map(|status| &status.conditions);
    let away = connected.is_some_and(|said| said.status != Status::True)
        || (connected.is_none() && before.is_none_or(|before| !before.is_true(conditions::CONNECTED)));
    if let Some(why) = seen.renewing.as_ref().filter(|_| away) {
        return Said::no_or_yes(false, "CertificateExpired", why.clone());
    }
    match connected {
        Some(said) if said.status != Status::True => Said::no_or_yes(false, said.reason, said.message.clone()),
        None if before.is_none_or(|before| !before.is_true(conditions::CONNECTED)) => {
            Said::no_or_yes(false, reasons::SESSION_CLOSED, "no agent is connected")
        }
        _ if cluster.spec.suspend => Said::no_or_yes(
            true,
            "Suspended",
            "agent connected; its desired state is frozen by spec.suspend",
        ),
        _ => Said::no_or_yes(true, "AgentConnected", "agent connected and accepted"),
    }
}

/// The version that the agent should run.
pub fn wanted_version<'a>(cluster: &'a Cluster, hub_version: &'a str) -> &'a str {
    let wanted = cluster.spec.agent.as_ref().map_or("", |agent| agent.version.as_str());
    if wanted.is_empty() || wanted == "auto" {
        hub_version
    } else {
        wanted
    }
}

/// AgentCurrent: does the agent have the version that it should.
pub fn agent_current(cluster: &Cluster, seen: &Seen, hub_version: &str) -> Said {
    let wanted = wanted_version(cluster, hub_version);
    let (refused, why) = &seen.not_upgraded;
    let plain = |version: &str| version.trim_start_matches('v').to_owned();
    if plain(wanted) == plain(&seen.agent_version) {
        Said::no_or_yes(true, "VersionMatches", format!("agent {}", seen.agent_version))
    } else if !why.is_empty() && plain(refused) == plain(wanted) {
        let why = why.split(char::is_control).collect::<Vec<_>>().join(" ");
        Said::no_or_yes(
            false,
            "NotUpgraded",
            format!("agent {}, wanted {wanted}: {why}", seen.agent_version),
        )
    } else if seen.features.iter().any(|feature| feature == "upgrade") {
        Said::no_or_yes(
            false,
            "Upgrading",
            format!("agent {}, to become {wanted}", seen.agent_version),
        )
    } else {
        Said::no_or_yes(
            false,
            "VersionDiffers",
            format!("agent {}, wanted {wanted}", seen.agent_version),
        )
    }
}

/// What there is to say of the profile of a line.
pub enum Profile {
    /// Nothing: it is the standard one.
    Plain,
    /// No session that could keep to it.
    Unknown,
    /// Whether it is kept to.
    Said(Said),
}

/// LinkProfile: whether the link keeps to the profile that is asked for.
pub fn link_profile(cluster: &Cluster, seen: &Seen) -> Profile {
    let profile = cluster.spec.link.as_ref().and_then(|link| link.profile);
    match (profile.unwrap_or_default(), &seen.link) {
        (LinkProfile::Standard, _) => Profile::Plain,
        (LinkProfile::Metered, Link::Open { .. }) => Profile::Said(metered(seen)),
        (LinkProfile::Metered, _) => Profile::Unknown,
    }
}

fn metered(seen: &Seen) -> Said {
    if seen.profile == wire::LinkProfile::Metered {
        let message = "rarer heartbeats, no events, status gathered before it is sent, artifacts compressed harder";
        return Said::no_or_yes(true, reasons::ENFORCED, message);
    }
    let able = feature_names(FEATURE_METERED)
        .iter()
        .all(|name| seen.features.contains(name));
    let message = if able {
        "the agent is told in its next session, which begins within seconds".to_owned()
    } else {
        format!(
            "agent {} does not know metered lines: its heartbeats and events are those of Standard",
            seen.agent_version
        )
    };
    Said::no_or_yes(false, reasons::NOT_ENFORCED, message)
}

/// ClockSynced: do the clocks agree.
pub fn clock_synced(seen: &Seen) -> Said {
    let difference = seen.clock_difference_ms;
    if difference.abs() <= CLOCK_SLACK_MS {
        return Said::no_or_yes(true, "WithinLimit", "clocks of hub and spoke agree");
    }
    let direction = if difference > 0 { "ahead of" } else { "behind" };
    // Rounded to minutes, or every session would write another number.
    let minutes = (difference.abs() + 30_000) / 60_000;
    Said::no_or_yes(
        false,
        "ClockSkew",
        format!("the spoke's clock is {minutes} min {direction} the hub's"),
    )
}
