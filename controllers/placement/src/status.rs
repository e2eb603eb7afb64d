//! The status of a fleet object from what its clusters say.

use jiff::Timestamp;
use nave_crds::conditions as types;
use nave_crds::fleet::{
    ChangeDeletions, FleetClusterCounts, FleetKustomizationStatus, FleetParts, PlanStatus, UnhealthyCluster,
};
use nave_crds::reasons::{self, fleet as because};
use nave_runtime::{Conditions, Status};

use crate::ports::{ClusterState, ClusterStatus};

/// What is known of one selected cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// The cluster as it is shown.
    pub cluster: String,
    /// How it stands.
    pub standing: Standing,
}

/// How a fleet object stands on a cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// It may not go there.
    Denied { reason: &'static str, message: String },
    /// It belongs there.
    Placed {
        /// What the cluster says, if it said anything.
        status: Option<ClusterStatus>,
        /// Why the cluster cannot be heard, if it cannot.
        away: Option<Away>,
    },
}

/// Why a cluster cannot be heard.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Away {
    pub reason: String,
    pub message: String,
}

impl Away {
    /// An agent that has no session.
    pub fn agent() -> Self {
        Away {
            reason: because::SESSION_CLOSED.to_owned(),
            message: "the cluster is not connected".to_owned(),
        }
    }
}

/// What the whole fleet object should be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Target {
    /// Revision that every cluster should have; empty when each cluster fetches by itself.
    pub revision: String,
    /// Digest of it.
    pub digest: String,
    /// Identifies the change.
    pub change_id: String,
}

/// Something that is wrong with the fleet object as a whole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    pub reason: &'static str,
    pub message: String,
}

/// Everything that goes into a status.
pub(crate) struct Input<'a> {
    pub spec: FleetParts<'a>,
    pub generation: i64,
    pub requested_at: Option<&'a str>,
    pub rows: &'a [Row],
    pub unknown_names: &'a [String],
    /// The target, where there is one.
    pub target: Option<&'a Target>,
    pub problem: Option<&'a Problem>,
    /// Deletions that wait for a person.
    pub plan: Option<&'a PlanStatus>,
    /// What recent changes deleted without one.
    pub deletions: &'a [ChangeDeletions],
    pub now: Timestamp,
}

/// Most clusters in `unhealthy`.
const LISTED: usize = 10;
/// Most bytes of one message there: ten of them must stay small in etcd.
const MESSAGE: usize = 1024;

/// The status after `old`.
pub(crate) fn fold(old: &FleetKustomizationStatus, input: &Input<'_>) -> FleetKustomizationStatus {
    let mut status = old.clone();
    status.observed_generation = input.generation;
    status.last_handled_reconcile_at = input.requested_at.unwrap_or_default().to_owned();
    if let Some(target) = input.target {
        status.target_revision = target.revision.clone();
        status.target_digest = target.digest.clone();
        status.change_id = target.change_id.clone();
    }
    let counts = count(input.rows);
    let everywhere = counts.selected > 0 && counts.ready == counts.selected;
    if everywhere && input.problem.is_none() {
        status.current_revision = status.target_revision.clone();
    }
    status.unhealthy = unhealthy(input.rows);
    status.clusters = Some(counts.clone());
    status.waves = Vec::new();
    status.plan = input.plan.cloned();
    // A hub that starts goes on counting from here. Without a budget nothing is counted.
    status.deletions = match &input.spec.deletion.budget {
        Some(_) => input.deletions.to_vec(),
        None => Vec::new(),
    };

    let mut set = |kind: &str, state: Status, reason: &str, message: String| {
        status
            .conditions
            .set(kind, state, reason, message, input.generation, input.now);
    };
    let (state, reason, message) = ready(&counts, input, &status.target_revision);
    set(types::READY, state, reason, message);
    let waiting = counts.selected - counts.denied - counts.ready - counts.failed;
    if waiting > 0 && !input.spec.suspend {
        let message = format!("{} of {} clusters have the target", counts.updated, counts.selected);
        set(types::PROGRESSING, Status::True, because::CLUSTERS_PROGRESSING, message);
    } else {
        set(types::PROGRESSING, Status::False, reason, String::new());
    }
    match held(&counts, input) {
        Some((reason, message)) => set(types::HELD, Status::True, reason, message),
        None => status.conditions.remove_condition(types::HELD),
    }
    status
}

fn count(rows: &[Row]) -> FleetClusterCounts {
    let mut counts = FleetClusterCounts {
        selected: rows.len() as i64,
        ..FleetClusterCounts::default()
    };
    for row in rows {
        let (status, connected) = match &row.standing {
            Standing::Denied { .. } => {
                counts.denied += 1;
                continue;
            }
            Standing::Placed { status, away } => (status, away.is_none()),
        };
        let Some(status) = status else {
            counts.unknown += 1;
            continue;
        };
        counts.updated += i64::from(status.current);
        if !connected {
            counts.unknown += 1;
            continue;
        }
        match status.state {
            ClusterState::Ready => counts.ready += i64::from(status.current),
            ClusterState::Failed => counts.failed += 1,
            ClusterState::Held => counts.held += 1,
            ClusterState::Progressing | ClusterState::Suspended | ClusterState::Orphaned => {}
        }
    }
    counts
}

/// The Ready condition: what is worst comes first.
fn ready(counts: &FleetClusterCounts, input: &Input<'_>, revision: &str) -> (Status, &'static str, String) {
    let of = |part: i64, what: &str| {
        let noun = if counts.selected == 1 { "cluster" } else { "clusters" };
        format!("{part} of {} {noun} {what}", counts.selected)
    };
    let first = |wanted: fn(&Standing) -> bool| {
        input
            .rows
            .iter()
            .filter(|row| wanted(&row.standing))
            .min_by(|a, b| a.cluster.cmp(&b.cluster))
            .map(|row| match &row.standing {
                Standing::Denied { message, .. } => format!(": {}: {message}", row.cluster),
                Standing::Placed { status, .. } => format!(
                    ": {}: {}",
                    row.cluster,
                    status.as_ref().map_or("", |status| status.message.as_str())
                ),
            })
            .map(|text| cut(&text, 2 * MESSAGE))
            .unwrap_or_default()
    };
    if let Some(problem) = input.problem {
        return (Status::False, problem.reason, problem.message.clone());
    }
    if counts.denied > 0 {
        let example = first(|standing| matches!(standing, Standing::Denied { .. }));
        return (
            Status::False,
            because::CLUSTERS_DENIED,
            of(counts.denied, "refused") + &example,
        );
    }
    if counts.failed > 0 {
        let example = first(|standing| {
            matches!(standing, Standing::Placed { status: Some(status), away: None }
                if status.state == ClusterState::Failed)
        });
        return (
            Status::False,
            because::CLUSTERS_FAILED,
            of(counts.failed, "failed") + &example,
        );
    }
    if !input.unknown_names.is_empty() {
        let names: Vec<&str> = input.unknown_names.iter().take(LISTED).map(String::as_str).collect();
        return (
            Status::False,
            because::NO_CLUSTERS,
            format!("spec.placement.names has no such cluster: {}", names.join(", ")),
        );
    }
    if counts.selected == 0 {
        return (
            Status::False,
            because::NO_CLUSTERS,
            "spec.placement selects no cluster".into(),
        );
    }
    let at = if revision.is_empty() {
        String::new()
    } else {
        format!(" at {revision}")
    };
    if counts.ready == counts.selected {
        return (Status::True, because::ALL_READY, of(counts.ready, "ready") + &at);
    }
    if input.spec.suspend {
        return (Status::Unknown, reasons::SUSPENDED, "suspended on every cluster".into());
    }
    let mut message = of(counts.ready, "ready") + &at;
    if counts.unknown > 0 {
        message += &format!(", {} not heard of", counts.unknown);
    }
    if counts.held > 0 {
        message += &format!(", {} held", counts.held);
    }
    (Status::Unknown, because::CLUSTERS_PROGRESSING, message)
}

/// The Held condition, when there is something to say.
fn held(counts: &FleetClusterCounts, input: &Input<'_>) -> Option<(&'static str, String)> {
    if let Some(plan) = input.plan {
        return Some((because::DELETIONS_HELD, describe_plan(plan)));
    }
    let mut fields = Vec::new();
    if let Some(rollout) = input.spec.rollout {
        for (set, field) in [
            (!rollout.waves.is_empty(), "spec.rollout.waves"),
            (!rollout.windows.is_empty(), "spec.rollout.windows"),
            (rollout.rollback, "spec.rollout.rollback"),
        ] {
            if set {
                fields.push(field);
            }
        }
    }
    if counts.held > 0 {
        return Some((
            because::CLUSTERS_PROGRESSING,
            format!("{} clusters wait for a permit to delete", counts.held),
        ));
    }
    (!fields.is_empty()).then(|| {
        (
            because::NOT_ENFORCED,
            format!(
                "this version does not enforce {}: every cluster gets a change at once",
                fields.join(", ")
            ),
        )
    })
}

/// What waits, and what would release it.
pub(crate) fn describe_plan(plan: &PlanStatus) -> String {
    let some = |count: i64, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let cascades = match plan.cascades {
        0 => String::new(),
        1 => " (1 takes others along)".to_owned(),
        many => format!(" ({many} take others along)"),
    };
    format!(
        "{}{cascades} on {} wait for spec.deletion.approvedPlan to be {}",
        some(plan.deletes, "deletion"),
        some(plan.clusters, "cluster"),
        plan.digest
    )
}

/// The first clusters, by name, with which something is wrong.
fn unhealthy(rows: &[Row]) -> Vec<UnhealthyCluster> {
    let mut found: Vec<UnhealthyCluster> = rows
        .iter()
        .filter_map(|row| {
            let (object, reason, message) = match &row.standing {
                Standing::Denied { reason, message } => ("", *reason, message.as_str()),
                Standing::Placed {
                    away: Some(away),
                    status,
                } => (
                    status.as_ref().map_or("", |status| status.object.as_str()),
                    away.reason.as_str(),
                    away.message.as_str(),
                ),
                Standing::Placed {
                    status: Some(status), ..
                } if matches!(
                    status.state,
                    ClusterState::Failed | ClusterState::Held | ClusterState::Orphaned
                ) =>
                {
                    (status.object.as_str(), status.reason.as_str(), status.message.as_str())
                }
                Standing::Placed { .. } => return None,
            };
            Some(UnhealthyCluster {
                cluster: row.cluster.clone(),
                object: object.to_owned(),
                reason: reason.to_owned(),
                message: cut(message, MESSAGE),
            })
        })
        .collect();
    found.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    found.truncate(LISTED);
    found
}

/// Cuts a text to a number of bytes, at a character.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests;
