//! `nave export helmrelease`.

use anyhow::Result;

use super::{NameOrAll, export};
use crate::{connection::ConnectionArguments, kinds::HELM_RELEASE};

pub const EXAMPLES: &str = "\
Examples:
  nave export helmrelease podinfo > podinfo.yaml
  nave export helmrelease --all -n team";

/// Prints HelmReleases.
pub async fn run(which: NameOrAll, to: &ConnectionArguments) -> Result<()> {
    export(&HELM_RELEASE, which, to).await
}
