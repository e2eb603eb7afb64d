//! `nave delete source`.

use anyhow::Result;

use super::{Name, delete};
use crate::{connection::ConnectionArguments, verbs::target::SourceTarget};

pub const EXAMPLES: &str = "\
Examples:
  nave delete source git app
  nave delete source oci app -n team --silent";

/// Deletes a source. What was built from it stays, and is no longer kept up to date.
pub async fn run(source: SourceTarget<Name>, silent: bool, to: &ConnectionArguments) -> Result<()> {
    let (kind, name) = source.split();
    delete(kind, &name, silent, to, |_| {
        "; what was made from it stays, and no longer follows it".to_owned()
    })
    .await
}
