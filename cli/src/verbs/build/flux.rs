//! A build with the fields of a Flux Kustomization on top, as its controller does it.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use nave_crds::{
    kustomize::{Kustomization, KustomizationSpec, PostBuild, SubstituteKind, SubstituteStrategy},
    labels,
};
use nave_kustomize::{
    Answers, Options,
    flux::{self, Overlay, OverlayImage, Patch, Selector},
};
use nave_object::{
    Object,
    yaml::{self, Dialect},
};
use nave_substitute::{Strategy, Variables, substitute};
use serde_json::{Value, json};

use super::done;
use crate::{connection::ConnectionArguments, disk_tree::DiskTree, say};

/// What stands in place of encrypted values.
const MASK: &str = "**SOPS**";
/// [`MASK`] in base64, for the data of Secrets.
const MASK_BASE64: &str = "KipTT1BTKio=";

/// What to build.
pub(super) struct Request<'a> {
    pub path: &'a Path,
    pub file: &'a Path,
    pub ask_cluster: bool,
    pub strict: bool,
}

/// Builds, substitutes, labels.
pub(super) async fn build(request: &Request<'_>, to: &ConnectionArguments) -> Result<Vec<Object>> {
    let kustomization = read(request.file)?;
    let spec = &kustomization.spec;
    let (tree, directory) = DiskTree::around(request.path)?;
    let built = flux::build(&tree, &directory, &overlay(spec)?, &Options::default(), &Answers::new());
    let mut objects = done(built, request.path)?;
    if let Some(post_build) = &spec.post_build {
        let variables = variables(&kustomization, post_build, request, to).await?;
        let strategy = match post_build.substitute_strategy {
            Some(SubstituteStrategy::Always) => Strategy::Always,
            Some(SubstituteStrategy::WithVariables) | None => Strategy::WithVariables,
        };
        objects = objects
            .into_iter()
            .map(|object| substitute(object, &variables, strategy, request.strict))
            .collect::<Result<_, _>>()
            .with_context(|| format!("substituting variables of {}", request.file.display()))?;
    }
    for object in &mut objects {
        mask(object);
        own(object, &kustomization);
    }
    Ok(objects)
}

/// The fields of a spec that change the build itself.
fn overlay(spec: &KustomizationSpec) -> Result<Overlay> {
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let selector = |selector: &nave_crds::kustomize::Selector| Selector {
        group: selector.group.clone(),
        version: selector.version.clone(),
        kind: selector.kind.clone(),
        name: selector.name.clone(),
        namespace: selector.namespace.clone(),
        label_selector: selector.label_selector.clone(),
        annotation_selector: selector.annotation_selector.clone(),
    };
    let image = |image: &nave_crds::kustomize::Image| OverlayImage {
        name: image.name.clone(),
        new_name: image.new_name.clone(),
        new_tag: image.new_tag.clone(),
        digest: image.digest.clone(),
    };
    // By way of JSON, so that the words are those of the API.
    let build_metadata = serde_json::from_value(serde_json::to_value(&spec.build_metadata)?)?;
    Ok(Overlay {
        target_namespace: text(&spec.target_namespace),
        name_prefix: text(&spec.name_prefix),
        name_suffix: text(&spec.name_suffix),
        patches: spec
            .patches
            .iter()
            .map(|patch| Patch {
                patch: patch.patch.clone(),
                target: patch.target.as_ref().map(selector),
            })
            .collect(),
        components: spec.components.clone(),
        ignore_missing_components: spec.ignore_missing_components,
        images: spec.images.iter().map(image).collect(),
        build_metadata,
    })
}

/// The Kustomization in a file that may hold other objects beside it.
fn read(file: &Path) -> Result<Kustomization> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {name}"))?;
    let mut found = Vec::new();
    for value in yaml::read_documents(&text, Dialect::K8s).with_context(|| format!("reading {name}"))? {
        let is = |field: &str, text: &str| value.get(field).and_then(Value::as_str) == Some(text);
        if is("kind", "Kustomization") && is("apiVersion", nave_crds::kustomize::API_VERSION) {
            let kustomization: Kustomization =
                serde_json::from_value(value).with_context(|| format!("reading the Kustomization in {name}"))?;
            found.push(kustomization);
        }
    }
    ensure!(
        found.len() <= 1,
        "{name} holds {} Kustomizations, and only one can be built",
        found.len()
    );
    match found.pop() {
        Some(kustomization) => Ok(kustomization),
        None => bail!("{name} holds no Kustomization of {}", nave_crds::kustomize::API_VERSION),
    }
}

/// ConfigMaps and Secrets in their order, then the variables in the spec.
async fn variables(
    kustomization: &Kustomization,
    post_build: &PostBuild,
    request: &Request<'_>,
    to: &ConnectionArguments,
) -> Result<Variables> {
    let mut variables = Variables::new();
    if !request.ask_cluster && !post_build.substitute_from.is_empty() {
        say::warning("dry run: variables of spec.postBuild.substituteFrom are not known");
    } else if !post_build.substitute_from.is_empty() {
        let connection = to.connect().await?;
        let namespace = match &kustomization.metadata.namespace {
            Some(namespace) => namespace.clone(),
            None => to.flux_namespace(&connection),
        };
        for reference in &post_build.substitute_from {
            let data = data_of(&connection.client, &namespace, reference.kind, &reference.name).await?;
            match data {
                Some(data) => data.iter().for_each(|(key, value)| variables.set(key, value)),
                None if reference.optional => {}
                None => bail!(
                    "substituteFrom: {:?} {namespace}/{} was not found",
                    reference.kind,
                    reference.name
                ),
            }
        }
    }
    for (name, value) in &post_build.substitute {
        variables.set(name, value);
    }
    Ok(variables)
}

async fn data_of(
    client: &Client,
    namespace: &str,
    kind: SubstituteKind,
    name: &str,
) -> Result<Option<BTreeMap<String, String>>> {
    let what = || format!("substituteFrom: reading {kind:?} {namespace}/{name}");
    match kind {
        SubstituteKind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            let found = api.get_opt(name).await.with_context(what)?;
            Ok(found.map(|map| map.data.unwrap_or_default()))
        }
        SubstituteKind::Secret => {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let Some(secret) = api.get_opt(name).await.with_context(what)? else {
                return Ok(None);
            };
            let pairs = secret.data.unwrap_or_default().into_iter();
            let texts = pairs.map(|(key, bytes)| {
                let text = String::from_utf8(bytes.0).with_context(|| format!("{}: key {key:?} is no text", what()))?;
                Ok((key, text))
            });
            texts.collect::<Result<_>>().map(Some)
        }
    }
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
    object.set_label(
        labels::KUSTOMIZE_NAME,
        kustomization.metadata.name.clone().unwrap_or_default(),
    );
    let namespace = kustomization.metadata.namespace.clone();
    object.set_label(
        labels::KUSTOMIZE_NAMESPACE,
        namespace.unwrap_or_else(|| "flux-system".to_owned()),
    );
}

/// Encrypted values are of no use to a reader, and their place in a diff hides everything else.
fn mask(object: &mut Object) {
    let value = object.as_value_mut();
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    if fields.remove("sops").is_none() {
        return;
    }
    for (field, mask) in [("data", MASK_BASE64), ("stringData", MASK)] {
        if let Some(values) = fields.get_mut(field).and_then(Value::as_object_mut) {
            values.values_mut().for_each(|value| *value = json!(mask));
        }
    }
}
