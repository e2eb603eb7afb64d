//! `nave export kustomization`.

use anyhow::Result;

use super::{NameOrAll, export};
use crate::{connection::ConnectionArguments, kinds::KUSTOMIZATION};

pub const EXAMPLES: &str = "\
Examples:
  nave export kustomization apps > apps.yaml
  nave export kustomization --all -n team";

/// Prints Kustomizations.
pub async fn run(which: NameOrAll, to: &ConnectionArguments) -> Result<()> {
    export(&KUSTOMIZATION, which, to).await
}
