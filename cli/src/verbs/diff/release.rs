//! `nave diff helmrelease`: what the next upgrade would change.

use std::collections::HashSet;

use anstream::println;
use anyhow::{Context, Result, bail};
use futures::{StreamExt, stream};
use nave_crds::{helm::CrdsPolicy, managers};
use nave_object::{Object, ObjectId, yaml::read_objects};
use nave_release::stays_on_uninstall;
use nave_targets::{ApplyMode, ResolveError, Target};
use owo_colors::OwoColorize;
use serde_json::Value;

use super::{compare::print_lines, target::target_for, text};
use crate::{
    build::Cluster,
    connection::ConnectionArguments,
    kinds::HELM_RELEASE,
    progress::Progress,
    release::{BuiltRelease, Offline, ReleaseArguments, build_release},
    say,
};

/// Objects that are asked about at once.
const CONCURRENT: usize = 8;

pub const EXAMPLES: &str = "\
Renders the HelmRelease as `nave build helmrelease` does, for the cluster that it installs to, and asks the API server by
server-side dry runs what every object would become; nothing is written. One line for each object that would be created,
drifted (with the difference below it) or deleted (it is in the inventory of the HelmRelease and no longer in the chart).
Values of Secrets are hidden. Hooks are not compared. Functions with random results differ each time.

Exit codes: 0 no difference, 1 a difference, 2 an error.

Examples:
  nave diff helmrelease podinfo
  nave diff helmrelease podinfo.yaml
  nave diff helmrelease web.yaml --chart ./charts/web";

/// The command's own arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Release {
    #[command(flatten)]
    release: ReleaseArguments,
    /// Show on a terminal how far the comparison is
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    progress_bar: bool,
}

/// What would become of one object.
enum Fate {
    Unchanged,
    Created,
    Changed(Value, Value),
}

/// Whether there is a difference.
pub async fn diff(arguments: &Release, to: &ConnectionArguments) -> Result<bool> {
    let cluster = Cluster::new(to);
    let mut built = build_release(&arguments.release, to, Some(&cluster), &Offline::default()).await?;
    let (namespace, name) = {
        let metadata = &built.release.metadata;
        (
            metadata.namespace.clone().unwrap_or_default(),
            metadata.name.clone().unwrap_or_default(),
        )
    };
    let connection = cluster.connection().await?;
    if built.release.status.is_none() {
        // What was rendered comes from a file; what was released, only the cluster knows.
        let live = HELM_RELEASE.api(&connection.client, &namespace).get_opt(&name).await;
        let live = match live {
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            live => live.with_context(|| format!("reading HelmRelease {namespace}/{name}"))?,
        };
        let status = live.and_then(|live| live.data.get("status").cloned());
        built.release.status = status.map(serde_json::from_value).transpose()?;
    }
    let target = target_for(built.release.spec.kube_config.as_ref(), &namespace, connection)
        .await
        .with_context(|| format!("HelmRelease {namespace}/{name}"))?;
    let definitions = definitions(&built)?;
    let objects = built.preview.objects()?;
    let bar = arguments.progress_bar.then(|| {
        Progress::bar(
            objects.len() + definitions.len(),
            format!("comparing {namespace}/{name}"),
        )
    });
    let mut differs = false;
    let mut problems = Vec::new();
    for definition in &definitions {
        match fate(&target, definition, &built, &definitions).await {
            Ok(Fate::Created) => differs |= print(definition, Fate::Created),
            // What is there stays as it is, unless the policy says otherwise.
            Ok(found) if policy(&built) == CrdsPolicy::CreateReplace => differs |= print(definition, found),
            Ok(_) => {}
            Err(problem) => problems.push(format!("{problem:#}")),
        }
        bar.iter().for_each(Progress::step);
    }
    let placed = place(&target, objects, &built, &definitions).await?;
    let (target, built, definitions) = (&target, &built, &definitions);
    let mut fates = stream::iter(&placed)
        .map(|object| async move { (object, fate(target, object, built, definitions).await) })
        .buffered(CONCURRENT);
    while let Some((object, found)) = fates.next().await {
        match found {
            Ok(found) => differs |= print(object, found),
            Err(problem) => problems.push(format!("{problem:#}")),
        }
        bar.iter().for_each(Progress::step);
    }
    drop(fates);
    drop(bar);
    // Like the controller: nothing is deleted when not all could be applied.
    if problems.is_empty() {
        let wanted: HashSet<ObjectId> = placed.iter().chain(definitions).map(Object::id).collect();
        differs |= deleted(target, built, &wanted).await?;
    }
    let Some((last, others)) = problems.split_last() else {
        return Ok(differs);
    };
    for problem in others {
        say::failure(problem);
    }
    bail!("{last}")
}

fn policy(built: &BuiltRelease) -> CrdsPolicy {
    let spec = &built.release.spec;
    let is_installed = built
        .release
        .status
        .as_ref()
        .is_some_and(|status| !status.history.is_empty());
    let chosen = match is_installed {
        true => spec.upgrade.as_ref().and_then(|upgrade| upgrade.crds),
        false => spec.install.as_ref().and_then(|install| install.crds),
    };
    chosen.unwrap_or(CrdsPolicy::Create)
}

/// The definitions in `crds/`, as the controller applies them.
fn definitions(built: &BuiltRelease) -> Result<Vec<Object>> {
    let mut found = Vec::new();
    if policy(built) == CrdsPolicy::Skip {
        return Ok(found);
    }
    for crd in &built.preview.rendered.crds {
        let text = String::from_utf8_lossy(&crd.file.data);
        found.extend(
            read_objects(&text, &crd.path)
                .with_context(|| crd.path.clone())?
                .into_iter()
                .filter(|object| object.kind() == "CustomResourceDefinition"),
        );
    }
    let metadata = &built.release.metadata;
    for object in &mut found {
        object.set_label(
            nave_crds::labels::HELM_NAME,
            metadata.name.as_deref().unwrap_or_default(),
        );
        object.set_label(
            nave_crds::labels::HELM_NAMESPACE,
            metadata.namespace.as_deref().unwrap_or_default(),
        );
    }
    Ok(found)
}

/// Namespaces of those that have none, and none for those that live outside of namespaces.
async fn place(
    target: &Target,
    mut objects: Vec<Object>,
    built: &BuiltRelease,
    definitions: &[Object],
) -> Result<Vec<Object>> {
    for object in &mut objects {
        let namespaced = match target.resolve(&object.gvk()).await {
            Ok(resource) => resource.namespaced,
            Err(ResolveError::NoMatch(_)) => defines(definitions, object) == Some("Namespaced"),
            Err(error) => return Err(error).with_context(|| object.to_string()),
        };
        let own = object.namespace().is_some_and(|namespace| !namespace.is_empty());
        let Some(metadata) = object.as_value_mut().get_mut("metadata").and_then(Value::as_object_mut) else {
            continue;
        };
        match (namespaced, own) {
            (true, false) => {
                metadata.insert("namespace".into(), built.preview.namespace.clone().into());
            }
            (false, true) => {
                metadata.remove("namespace");
            }
            _ => {}
        }
    }
    Ok(objects)
}

/// The scope that a definition of the chart gives to an object's kind.
fn defines<'a>(definitions: &'a [Object], object: &Object) -> Option<&'a str> {
    let gvk = object.gvk();
    let text = |definition: &'a Object, pointer| definition.pointer(pointer).and_then(Value::as_str);
    let found = definitions.iter().find(|definition| {
        text(definition, "/spec/group") == Some(&gvk.group) && text(definition, "/spec/names/kind") == Some(&gvk.kind)
    })?;
    text(found, "/spec/scope")
}

async fn fate(target: &Target, object: &Object, built: &BuiltRelease, definitions: &[Object]) -> Result<Fate> {
    let what = || object.to_string();
    let resource = match target.resolve(&object.gvk()).await {
        Ok(resource) => resource,
        Err(ResolveError::NoMatch(_)) if defines(definitions, object).is_some() => return Ok(Fate::Created),
        Err(error) => return Err(error).with_context(what),
    };
    let id = object.id();
    let live = target
        .get(&resource, &id.namespace, &id.name)
        .await
        .with_context(what)?;
    let applied = target
        .apply(
            &resource,
            &id.namespace,
            &id.name,
            managers::HELM,
            object.as_value(),
            ApplyMode::DryRun,
        )
        .await;
    match (live, applied) {
        (Some(live), applied) => Ok(Fate::Changed(live, applied.with_context(what)?)),
        (None, Ok(_)) => Ok(Fate::Created),
        // The namespace is made with the release, or by it.
        (None, Err(kube::Error::Api(status))) if status.code == 404 && id.namespace == built.preview.namespace => {
            Ok(Fate::Created)
        }
        (None, Err(error)) => Err(error).with_context(what),
    }
}

/// Prints what would become of an object; true when it would change.
fn print(object: &Object, fate: Fate) -> bool {
    match fate {
        Fate::Unchanged => false,
        Fate::Created => {
            println!("► {object} {}", "created".green());
            true
        }
        Fate::Changed(live, applied) => {
            let lines = text::changes(live, applied);
            if lines.is_empty() {
                return print(object, Fate::Unchanged);
            }
            println!("► {object} {}", "drifted".yellow());
            print_lines(lines);
            true
        }
    }
}

/// Prints what the release has and would not have any more; true when there is something.
async fn deleted(target: &Target, built: &BuiltRelease, wanted: &HashSet<ObjectId>) -> Result<bool> {
    let status = built.release.status.as_ref();
    let inventory = status.and_then(|status| status.inventory.as_ref());
    let mut differs = false;
    for entry in inventory.into_iter().flat_map(|inventory| &inventory.entries) {
        let Ok(id) = ObjectId::parse_inventory_id(&entry.id) else {
            say::warning(&format!("the inventory entry {:?} cannot be read", entry.id));
            continue;
        };
        // Definitions stay.
        if wanted.contains(&id) || id.kind == "CustomResourceDefinition" {
            continue;
        }
        let gvk = nave_object::Gvk {
            group: id.group.clone(),
            version: entry.v.clone(),
            kind: id.kind.clone(),
        };
        let resource = match target.resolve(&gvk).await {
            Ok(resource) => resource,
            Err(ResolveError::NoMatch(_)) => continue,
            Err(error) => return Err(error).with_context(|| id.to_string()),
        };
        let live = target.get(&resource, &id.namespace, &id.name).await;
        let live = live.with_context(|| id.to_string())?;
        match live.and_then(|live| Object::from_value(live).ok()) {
            None => {}
            Some(live) if stays_on_uninstall(&live) => println!("► {id} skipped: it says that it stays"),
            Some(_) => {
                println!("► {id} {}", "deleted".red());
                differs = true;
            }
        }
    }
    Ok(differs)
}
