//! A build with the fields of a Flux Kustomization on top, as its controller does it.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nave_crds::{
    kustomize::{GROUP, Kustomization, SubstituteStrategy},
    labels,
};
use nave_kustomize::{Options, flux};
use nave_object::Object;
use nave_substitute::{Strategy, substitute};

use super::{
    answers::complete,
    given::{Cluster, Request, given},
    mask::mask,
    place::Place,
    variables::variables,
    without_ignored::WithoutIgnored,
};
use crate::{connection::ConnectionArguments, failure::advised};

/// A Kustomization, and the objects that its controller would apply.
pub struct Built {
    /// As it was given; its status is that of the cluster, if it came from there.
    pub kustomization: Kustomization,
    /// Substituted, masked, with common metadata and owner labels, in the order of the build.
    pub objects: Vec<Object>,
}

/// Builds a Kustomization and, where that is asked for, those among its objects, each behind the one it came from.
/// `cluster` is none in a dry run.
///
/// # Errors
/// The build's; a Kustomization of which the source's directory is not known.
pub async fn build_all(
    request: &Request<'_>,
    to: &ConnectionArguments,
    cluster: Option<&Cluster<'_>>,
) -> Result<Vec<Built>> {
    let mut built: Vec<Built> = Vec::new();
    let mut seen = HashSet::new();
    let mut waiting = vec![(given(request, to, cluster).await?, request.path.to_owned())];
    // Depth first: what a Kustomization brings stands right behind it.
    while let Some((kustomization, path)) = waiting.pop() {
        if !seen.insert(key(&kustomization)) {
            continue;
        }
        let what = || format!("Kustomization {}", shown(&kustomization));
        let objects = build(&kustomization, &path, request, to, cluster)
            .await
            .with_context(what)?;
        if request.recursive {
            let mut nested = Vec::new();
            for object in &objects {
                if let Some(inner) = as_kustomization(object).with_context(what)?
                    && !seen.contains(&key(&inner))
                {
                    let path = path_of(&inner, request).with_context(what)?;
                    nested.push((inner, path));
                }
            }
            waiting.extend(nested.into_iter().rev());
        }
        built.push(Built { kustomization, objects });
    }
    Ok(built)
}

/// Builds, substitutes, labels.
async fn build(
    kustomization: &Kustomization,
    path: &Path,
    request: &Request<'_>,
    to: &ConnectionArguments,
    cluster: Option<&Cluster<'_>>,
) -> Result<Vec<Object>> {
    let spec = &kustomization.spec;
    let place = Place::in_repository(path)?;
    let tree = WithoutIgnored::new(&*place.tree, &place.directory, request.ignore);
    // By way of JSON: the words of the API are those of the engine, and neither names the other.
    let overlay =
        flux::Overlay::of_spec(serde_json::to_value(spec)?).context("reading the fields that change the build")?;
    let options = Options {
        allow_remote: true,
        ..Options::default()
    };
    let mut objects = complete(&place, to.timeout, |answers| {
        flux::build_with_warnings(&tree, &place.directory, &overlay, &options, answers)
    })
    .await?;
    if let Some(post_build) = &spec.post_build {
        let variables = variables(kustomization, post_build, cluster).await?;
        let strategy = match post_build.substitute_strategy {
            Some(SubstituteStrategy::Always) => Strategy::Always,
            Some(SubstituteStrategy::WithVariables) | None => Strategy::WithVariables,
        };
        objects = objects
            .into_iter()
            .map(|object| substitute(object, &variables, strategy, request.strict))
            .collect::<Result<_, _>>()
            .context("substituting variables")?;
    }
    for object in &mut objects {
        mask(object);
        own(object, kustomization);
    }
    Ok(objects)
}

/// Labels and annotations of the spec, then those that name the owner, as the controller adds them.
fn own(object: &mut Object, kustomization: &Kustomization) {
    let common = kustomization.spec.common_metadata.clone().unwrap_or_default();
    for (key, value) in common.labels {
        object.set_label(key, value);
    }
    for (key, value) in common.annotations {
        object.set_annotation(key, value);
    }
    let (namespace, name) = key(kustomization);
    object.set_label(labels::KUSTOMIZE_NAME, name);
    object.set_label(labels::KUSTOMIZE_NAMESPACE, namespace);
}

fn key(kustomization: &Kustomization) -> (String, String) {
    let metadata = &kustomization.metadata;
    (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

fn shown(kustomization: &Kustomization) -> String {
    let (namespace, name) = key(kustomization);
    format!("{namespace}/{name}")
}

fn as_kustomization(object: &Object) -> Result<Option<Kustomization>> {
    if object.kind() != "Kustomization" || object.gvk().group != GROUP {
        return Ok(None);
    }
    serde_json::from_value(object.as_value().clone())
        .map(Some)
        .with_context(|| format!("reading {object}"))
}

/// The directory of a Kustomization on this machine: that of its source, and its path below that.
fn path_of(kustomization: &Kustomization, request: &Request<'_>) -> Result<PathBuf> {
    let source = &kustomization.spec.source_ref;
    let namespace = match source.namespace.as_str() {
        "" => kustomization.metadata.namespace.as_deref().unwrap_or_default(),
        namespace => namespace,
    };
    let key = format!("{}/{namespace}/{}", source.kind, source.name);
    let Some((_, directory)) = request.local_sources.iter().find(|(source, _)| *source == key) else {
        return Err(advised(
            format!(
                "{} comes from {key}, whose directory is not known",
                shown(kustomization)
            ),
            format!("name it with --local-sources {key}=./path"),
        ));
    };
    // A path like "/apps" or "./apps" is one below the source.
    let below = kustomization.spec.path.trim_start_matches("./").trim_start_matches('/');
    Ok(directory.join(below))
}
