//! `nave hub confirm`: a person has looked at a restored hub and lets it go on.

use anyhow::{Context, Result};
use kube::api::{DynamicObject, ListParams};
use nave_crds::{annotations, conditions};
use serde_json::json;

use super::ca::STATE;
use crate::{
    api,
    confirm::confirm,
    connection::{ConnectionArguments, HUB_NAMESPACE},
    fields::{self, number, text},
    kinds::{FLEET_KUSTOMIZATION, HUB_STATE},
    say,
    wait::{self, Verdict},
};

/// Let a hub that is behind its agents go on with what it holds
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
A hub that was restored from a backup knows less than its agents have seen. It sends and deletes nothing and admits
nobody until somebody has looked. After the confirmation agents get what this hub holds: objects at the revisions that
are shown here. What agents have and this hub does not know stays, and is reported as orphaned.

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
    let fleets = api::list(client, &FLEET_KUSTOMIZATION, None, &ListParams::default()).await?;
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
    fn the_number_is_read_from_what_the_hub_says() {
        let said = format!(
            "agent p/a has seen 0/9; nothing is sent. To go on: annotate with {}=4",
            annotations::FLEET_CONFIRM_INCARNATION
        );
        assert_eq!(incarnation(&said), Some(4));
        assert_eq!(incarnation("nothing"), None);
    }
}
