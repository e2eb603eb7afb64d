//! `nave hub ca`: the hub's certificate authorities.

use anyhow::Result;
use clap::Subcommand;
use jiff::Timestamp;
use nave_crds::annotations;
use serde_json::json;

use super::{
    info::{CONFIG_MAP, HubInfo},
    recovery,
};
use crate::{
    api,
    confirm::confirm,
    connection::{ConnectionArguments, HUB_NAMESPACE},
    fields::text,
    kinds::{HUB_STATE, Home, Kind},
    say,
    wait::{self, Verdict},
};

#[derive(Debug, Clone, Subcommand)]
pub enum What {
    /// Have the hub make new authorities; agents follow by themselves
    #[command(after_help = ROTATE_HELP)]
    Rotate(Rotate),
    /// Have agents know the hub again by the word of their recovery key
    #[command(after_help = recovery::RECOVER_HELP)]
    Recover(recovery::Recover),
}

const ROTATE_HELP: &str = "\
Agents that are connected take the new root over at once, others when they come back: nobody has to join again, unless
an agent misses more than three rotations. Open join tokens of the root before stay good; older ones do not. The hub
rotates by itself when its authority is older than its flag --root-rotation, a year as a rule.

Examples:
  nave hub ca rotate --yes";

/// What `rotate` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Rotate {
    /// Namespace that the hub runs in
    #[arg(long, value_name = "NAMESPACE", default_value = HUB_NAMESPACE)]
    hub_namespace: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// What the hub says about itself is in one of these.
pub(super) static CONFIG_MAP_KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    word: "configmap",
    home: Home::Flux,
};

/// Name of the one HubState.
pub(super) const STATE: &str = "hub";

/// Runs the verb below `hub ca`.
pub async fn run(what: What, to: &ConnectionArguments) -> Result<()> {
    let arguments = match what {
        What::Rotate(arguments) => arguments,
        What::Recover(arguments) => return recovery::recover(arguments, to).await,
    };
    let connection = to.connect().await?;
    let namespace = &arguments.hub_namespace;
    let before = HubInfo::read(&connection, namespace).await?;
    let state = api::get(&connection.client, &HUB_STATE, namespace, STATE).await?;
    if !arguments.yes {
        say::detail(&format!("the hub shows {}", before.root_pin));
        confirm("replace the hub's authorities", "--yes")?;
    }
    let wish = Timestamp::now().to_string();
    let patch = json!({"metadata": {"annotations": {annotations::FLEET_ROTATE_ROOTS: wish}}});
    api::merge(&connection.client, &HUB_STATE, &state, &patch).await?;
    let maps = CONFIG_MAP_KIND.api(&connection.client, namespace);
    wait::until(
        maps,
        CONFIG_MAP,
        "the hub replaces its authorities",
        to.timeout,
        |map| {
            if text(map, "/data/rotatedFor") == wish {
                Verdict::Done(String::new())
            } else {
                Verdict::Waiting(String::new())
            }
        },
    )
    .await?;
    let after = HubInfo::read(&connection, namespace).await?;
    say::success(&format!("the hub shows {}", after.root_pin));
    Ok(())
}
