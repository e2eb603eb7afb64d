//! One Kustomization against its cluster.

use std::collections::HashSet;

use anstream::println;
use anyhow::{Context, Result};
use futures::{StreamExt, stream};
use nave_apply::{
    Brought, CommonMetadata, IgnoreRules, Inventory, Preview, PruneVerdict, entry_of, prepare, preview, preview_prune,
};
use nave_object::Object;
use nave_runtime::ports::OwnerRef;
use nave_targets::Target;
use owo_colors::OwoColorize;
use serde_json::Value;

use super::text::{self, Change};
use crate::{build::Built, progress::Progress, say};

/// Objects that are asked about at once; flux applies with four, and a dry run holds nobody up.
const CONCURRENT: usize = 8;

/// What was found so far.
#[derive(Debug, Default)]
pub struct Found {
    /// Whether anything would change.
    pub differs: bool,
    /// Objects that could not be compared, and why.
    pub problems: Vec<String>,
}

/// Prints a line for every object that would change, in the order in which they would be applied.
///
/// # Errors
/// Objects that could not be applied to any cluster. What one object's comparison fails with is noted in `found`.
pub async fn compare(built: &Built, target: &Target, progress: Option<&Progress>, found: &mut Found) -> Result<()> {
    let (spec, metadata) = (&built.kustomization.spec, &built.kustomization.metadata);
    let owner = OwnerRef {
        kind: "Kustomization".to_owned(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        fleet: None,
    };
    let what = || format!("Kustomization {}/{}", owner.namespace, owner.name);
    let ignore = IgnoreRules::new(&spec.ignore).with_context(what)?;
    // Labels and annotations of the spec are in the objects already.
    let objects = prepare(built.objects.clone(), &owner, &CommonMetadata::default()).with_context(what)?;
    let brought = Brought::by(&objects);
    let (ignore, brought) = (&ignore, &brought);
    let mut previews = stream::iter(&objects)
        .map(|object| async move { (object, preview(target, object, ignore, spec.force, brought).await) })
        .buffered(CONCURRENT);
    let before = found.problems.len();
    let mut kept_uids = HashSet::new();
    while let Some((object, preview)) = previews.next().await {
        match preview {
            Ok(preview) => {
                kept_uids.extend(uid_of(&preview));
                found.differs |= report(object, preview);
            }
            Err(problem) => found.problems.push(problem.to_string()),
        }
        if let Some(progress) = progress {
            progress.step();
        }
    }
    drop(previews);
    // Like the controller: nothing is deleted when not all could be applied.
    if spec.prune && found.problems.len() == before {
        let intended: Inventory = objects.iter().map(entry_of).collect();
        let status = built.kustomization.status.as_ref();
        let applied = Inventory::from_status(status.and_then(|status| status.inventory.as_ref()));
        if let Some(progress) = progress {
            progress.message("looking at what would be deleted");
        }
        for entry in applied.stale(&intended) {
            match preview_prune(target, &entry, &owner, &kept_uids).await {
                Ok(Some((id, PruneVerdict::Deleted))) => {
                    println!("► {} {}", id, "deleted".red());
                    found.differs = true;
                }
                Ok(Some((id, PruneVerdict::Kept(why)))) => println!("► {id} skipped: {why}"),
                Ok(Some((_, PruneVerdict::Gone))) => {}
                Ok(None) => say::warning(&format!("the inventory entry {:?} cannot be read", entry.id)),
                Err(problem) => found.problems.push(problem),
            }
        }
    }
    Ok(())
}

/// Prints what would become of an object; true when it would change.
fn report(object: &Object, preview: Preview) -> bool {
    match preview {
        Preview::Unchanged { .. } => false,
        Preview::Skipped => {
            println!("► {object} skipped");
            false
        }
        Preview::Created => {
            println!("► {object} {}", "created".green());
            true
        }
        Preview::Changed {
            live,
            applied,
            recreated,
        } => {
            let lines = text::changes(live, applied);
            // Nothing is left when only the values of what SOPS encrypted differ.
            if lines.is_empty() && !recreated {
                return false;
            }
            println!("► {object} {}", "drifted".yellow());
            if recreated {
                println!("  an immutable field changes: it is deleted and created again");
            }
            print_lines(lines);
            true
        }
    }
}

/// Prints the lines of a difference.
pub fn print_lines(lines: Vec<Change>) {
    for line in lines {
        match line {
            Change::Same(text) => println!("  {text}"),
            Change::Gap => println!("  {}", "…".dimmed()),
            Change::Removed(text) => println!("{}", format_args!("- {text}").red()),
            Change::Added(text) => println!("{}", format_args!("+ {text}").green()),
        }
    }
}

fn uid_of(preview: &Preview) -> Option<String> {
    match preview {
        Preview::Unchanged { uid } => Some(uid.clone()),
        Preview::Changed { live, .. } => live.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned),
        Preview::Skipped | Preview::Created => None,
    }
}
