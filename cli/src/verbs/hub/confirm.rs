//! `nave hub confirm`: a person has looked at a restored hub and lets it go on.

use anyhow::{Context, Result};
use kube::api::{DynamicObject, ListParams};
use nave_crds::{annotations, conditions, fleet::Outlook};
use serde_json::json;

use super::ca::STATE;
use crate::{
    api,
    confirm::confirm,
    connection::{ConnectionArguments, HUB_NAMESPACE},
    fields::{self, number, text},
    kinds::{FLEET_HELM_RELEASE, FLEET_KUSTOMIZATION, HUB_STATE},
    say,
    wait::{self, Verdict},
};

/// Let a hub that is behind its agents go on with what it holds
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
A hub that was restored from a backup knows less than its agents have seen. It sends and deletes nothing and admits
nobody until somebody has looked. After the confirmation agents get what this hub holds: objects at the revisions that
are shown here. What agents have and this hub does not know stays, and is reported as orphaned. What the agents that are
connected have told so far is shown by cluster: how many of their items stay so, how many get another revision, and the
first of them.

Examples:
  nave hub confirm")]
pub struct Arguments {
    /// Namespace that the hub runs in
    #[arg(long, value_name = "NAMESPACE", default_value = HUB_NAMESPACE)]
    hub_namespace: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Shows what will be so, asks, and writes the confirmation.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let connection = to.connect().await?;
    let (client, namespace) = (&connection.client, &arguments.hub_namespace);
    let state = api::get(client, &HUB_STATE, namespace, STATE).await?;
    let Some(message) = behind(&state) else {
        say::success("the hub is not behind its agents; there is nothing to confirm");
        return Ok(());
    };
    let incarnation = incarnation(&message).with_context(|| {
        format!("the condition Behind of HubState {namespace}/{STATE} names no incarnation to confirm: {message}")
    })?;
    say::warning(&message);
    let mut fleets = api::list(client, &FLEET_KUSTOMIZATION, None, &ListParams::default()).await?;
    fleets.extend(api::list(client, &FLEET_HELM_RELEASE, None, &ListParams::default()).await?);
    say::action("agents will be given:");
    for fleet in &fleets {
        say::detail(&format!(
            "{} at {} on {} clusters",
            fields::full_name(fleet),
            match text(fleet, "/status/targetRevision") {
                "" => "no revision yet",
                revision => revision,
            },
            number(fleet, "/status/clusters/selected"),
        ));
    }
    if fleets.is_empty() {
        say::detail("nothing: this hub holds no fleet object, and all that agents have stays as it is");
    }
    for line in outlook_of(&state) {
        match line {
            Line::Head(text) => say::action(&text),
            Line::Detail(text) => say::detail(&text),
        }
    }
    if !arguments.yes {
        confirm("go on with what this hub holds", "--yes")?;
    }
    let patch = json!({"metadata": {"annotations": {
        annotations::FLEET_CONFIRM_INCARNATION: incarnation.to_string(),
    }}});
    api::merge(client, &HUB_STATE, &state, &patch).await?;
    // Still behind after that: an agent has seen even more than the one before.
    wait::until(
        HUB_STATE.api(client, namespace),
        STATE,
        "the hub goes on",
        to.timeout,
        |state| match behind(state) {
            None => Verdict::Done(String::new()),
            Some(message) => Verdict::Waiting(message),
        },
    )
    .await?;
    say::success(&format!("the hub goes on as incarnation {incarnation}"));
    Ok(())
}

/// A line of what is shown.
#[derive(Debug, PartialEq)]
enum Line {
    Head(String),
    Detail(String),
}

/// What becomes of what agents have, by what they told the hub.
fn outlook_of(state: &DynamicObject) -> Vec<Line> {
    let read = state.data.pointer("/status/outlook").cloned();
    let outlook: Outlook = read
        .and_then(|read| serde_json::from_value(read).ok())
        .unwrap_or_default();
    let count = |count: i64, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let mut lines = vec![Line::Head(format!(
        "by what {} told: {} of unknown fleet objects stay where they are, {} get another revision",
        count(outlook.heard, "cluster"),
        count(outlook.orphans, "item"),
        count(outlook.other_revisions, "item"),
    ))];
    for cluster in &outlook.clusters {
        let all = cluster.orphans + cluster.other_revisions;
        lines.push(Line::Detail(format!("{}:", cluster.cluster)));
        lines.extend(cluster.items.iter().map(|item| Line::Detail(format!("  {item}"))));
        let rest = all - cluster.items.len() as i64;
        if rest > 0 {
            lines.push(Line::Detail(format!("  and {rest} more")));
        }
    }
    lines
}

/// Why the hub is behind, if it is.
fn behind(state: &DynamicObject) -> Option<String> {
    fields::conditions(state)
        .iter()
        .find(|condition| condition.kind == conditions::BEHIND && condition.status == "True")
        .map(|condition| condition.message.to_owned())
}

/// The hub says at the end of its message what it wants to see.
fn incarnation(message: &str) -> Option<i64> {
    let (_, after) = message.rsplit_once(&format!("{}=", annotations::FLEET_CONFIRM_INCARNATION))?;
    after.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_be_so_is_shown_by_cluster() {
        let state: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "HubState", "metadata": {"name": "hub"},
            "status": {"outlook": {"heard": 3, "orphans": 1, "otherRevisions": 6, "clusters": [
                {"cluster": "platform/eu-1", "orphans": 1, "otherRevisions": 6, "items": ["a from 2 to 1", "b from 2 to 1"]},
            ]}},
        }))
        .expect("an object");
        let text: Vec<String> = outlook_of(&state)
            .into_iter()
            .map(|line| match line {
                Line::Head(text) | Line::Detail(text) => text,
            })
            .collect();
        assert_eq!(
            text,
            [
                "by what 3 clusters told: 1 item of unknown fleet objects stay where they are, 6 items get another revision",
                "platform/eu-1:",
                "  a from 2 to 1",
                "  b from 2 to 1",
                "  and 5 more",
            ]
        );
    }

    #[test]
    fn the_number_is_read_from_what_the_hub_says() {
        let said = format!(
            "agent p/a has seen 0/9; nothing is sent. To go on: annotate with {}=4",
            annotations::FLEET_CONFIRM_INCARNATION
        );
        assert_eq!(incarnation(&said), Some(4));
        assert_eq!(incarnation("nothing"), None);
    }
}
