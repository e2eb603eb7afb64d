//! `nave leave --keep`: what runs stays, as plain Flux objects.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
};
use nave_crds::annotations;
use serde_json::{Value, json};

use crate::{
    api,
    connection::{Connection, ConnectionArguments},
    fields::{self, field, text},
    fleet_owned::{self, FleetOwned},
    hints,
    kinds::{EXTERNAL_ARTIFACT, GIT_REPOSITORY, HELM_RELEASE, HELM_REPOSITORY, Kind, OCI_REPOSITORY},
    progress::Progress,
    say, wait,
};

/// On a Kustomization or HelmRelease that was suspended when its cluster left a hub: why, and what to do.
pub const SUSPENDED_BECAUSE: &str = "nave.dev/suspended-because";
/// A source that cannot be fetched within this time counts as out of reach.
const REACH: Duration = Duration::from_secs(60);

/// What becomes of a Kustomization or HelmRelease.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// Its source is on this cluster and stays.
    Unchanged,
    /// Its files came over the link; the real source is tried.
    Converted(Value),
    /// Its files came over the link, and nobody says from where.
    Suspended,
}

/// Says what will be done.
pub(super) fn show(owned: &FleetOwned) {
    let sources = real_sources(owned);
    for (kind, product) in owned.products() {
        let name = format!("{} {}", kind.kind, fields::full_name(product));
        say::action(&match fate(kind, product, &sources) {
            Fate::Unchanged => format!("{name}: stays as it is"),
            Fate::Converted(source) => {
                format!("{name}: fetches from {} itself", url_of(&source))
            }
            Fate::Suspended => format!("{name}: is suspended until it is given a source"),
        });
    }
    say::detail(&format!("labels of the fleet come off {} objects", owned.len()));
}

/// Converts or suspends, then takes the labels off. Each step can be repeated.
pub(super) async fn execute(connection: &Connection, owned: &FleetOwned, to: &ConnectionArguments) -> Result<()> {
    let sources = real_sources(owned);
    // Several of them may share one source: it is tried once.
    let mut tried: BTreeMap<String, Result<(), String>> = BTreeMap::new();
    for (kind, product) in owned.products() {
        let name = format!("{} {}", kind.kind, fields::full_name(product));
        let artifact = source_name(kind, product);
        let mut patch = Value::Null;
        let outcome = match fate(kind, product, &sources) {
            Fate::Unchanged => continue,
            Fate::Suspended => {
                Err("its files came over the link, and the hub did not say where they are from".to_owned())
            }
            Fate::Converted(source) => {
                if !tried.contains_key(&artifact) {
                    let reached = reach(connection, &artifact, &source, to).await?;
                    tried.insert(artifact.clone(), reached);
                }
                patch = conversion(kind, &source, &artifact);
                tried[&artifact].clone()
            }
        };
        match outcome {
            Ok(()) => {
                api::merge(&connection.client, kind, product, &patch).await?;
                let source = sources.get(&artifact).map_or("", |source| field(source, "kind"));
                say::success(&format!("{name} fetches from {source} {artifact}"));
            }
            Err(reason) => {
                let advice = format!(
                    "{reason}; set {} to a source that this cluster can reach, then resume",
                    reference_of(kind).replace('/', ".")
                );
                let patch = json!({
                    "metadata": {"annotations": {SUSPENDED_BECAUSE: advice}},
                    "spec": {"suspend": true},
                });
                api::merge(&connection.client, kind, product, &patch).await?;
                say::warning(&format!("{name} suspended: {reason}"));
            }
        }
    }
    take_labels_off(connection, owned).await
}

async fn take_labels_off(connection: &Connection, owned: &FleetOwned) -> Result<()> {
    let progress = Progress::bar(owned.len(), "taking labels off");
    let mut changed = 0;
    let sources = owned.sources.iter().map(|(kind, object)| (*kind, object));
    for (kind, object) in owned.products().chain(sources) {
        if let Some(patch) = fleet_owned::unlabel(object) {
            api::merge(&connection.client, kind, object, &patch).await?;
            changed += 1;
        }
        progress.step();
    }
    let params = PatchParams::apply(api::FIELD_MANAGER);
    for secret in &owned.secrets {
        let (name, namespace) = (secret.name_any(), secret.namespace().unwrap_or_default());
        if let Some(patch) = fleet_owned::unlabel(secret) {
            let secrets = kube::Api::<DynamicObject>::namespaced_with(
                connection.client.clone(),
                &namespace,
                &fleet_owned::secret_resource(),
            );
            secrets
                .patch_metadata(&name, &params, &Patch::Merge(&patch))
                .await
                .with_context(|| format!("taking labels off Secret {namespace}/{name}"))?;
            changed += 1;
        }
        progress.step();
    }
    drop(progress);
    say::success(&format!("labels of the fleet taken off {changed} objects"));
    Ok(())
}

/// Makes the real source beside the artifact and waits for its first fetch. A source that cannot be reached is
/// removed again.
async fn reach(
    connection: &Connection,
    full_name: &str,
    source: &Value,
    to: &ConnectionArguments,
) -> Result<Result<(), String>> {
    let (namespace, name) = full_name.split_once('/').unwrap_or_default();
    let kind = kind_of(source).expect("only known kinds are converted to");
    let sources = kind.api(&connection.client, namespace);
    if sources
        .get_opt(name)
        .await
        .with_context(|| format!("looking for {} {full_name}", kind.kind))?
        .is_some()
    {
        return Ok(Err(format!(
            "a {} {full_name} of another origin exists already",
            kind.kind
        )));
    }
    if let Some(reason) = needs_more(connection, namespace, source).await? {
        return Ok(Err(reason));
    }
    let mut spec = source["spec"].clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("suspend");
    }
    let object = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    });
    let params = PatchParams::apply(api::FIELD_MANAGER);
    sources
        .patch(name, &params, &Patch::Apply(&object))
        .await
        .with_context(|| format!("creating {} {full_name}", kind.kind))?;
    if source.pointer("/spec/type").and_then(Value::as_str) == Some("oci") {
        return Ok(Ok(())); // there is nothing that it would fetch by itself
    }
    let what = format!("trying {}", url_of(source));
    match wait::until(sources.clone(), name, &what, REACH.min(to.timeout), wait::observed).await {
        Ok(_) => Ok(Ok(())),
        Err(error) => {
            sources
                .delete(name, &Default::default())
                .await
                .with_context(|| format!("removing {} {full_name}, which cannot be fetched", kind.kind))?;
            Ok(Err(format!(
                "its source cannot be fetched from here: {}",
                hints::describe(&error)
            )))
        }
    }
}

/// What the source refers to and this cluster does not have: credentials stay on the hub.
async fn needs_more(connection: &Connection, namespace: &str, source: &Value) -> Result<Option<String>> {
    let secrets: kube::Api<Secret> = kube::Api::namespaced(connection.client.clone(), namespace);
    for name in credentials(source) {
        let found = secrets
            .get_metadata_opt(name)
            .await
            .with_context(|| format!("looking for Secret {namespace}/{name}"))?;
        if found.is_none() {
            return Ok(Some(format!(
                "its source {} needs the credentials in Secret {namespace}/{name}, which are on the hub only",
                url_of(source)
            )));
        }
    }
    let included = source.pointer("/spec/include").and_then(Value::as_array);
    Ok(included
        .is_some_and(|list| !list.is_empty())
        .then(|| "its source includes others, which are on the hub only".to_owned()))
}

/// Names of the Secrets that a source refers to.
fn credentials(source: &Value) -> impl Iterator<Item = &str> {
    [
        "/spec/secretRef/name",
        "/spec/proxySecretRef/name",
        "/spec/certSecretRef/name",
        "/spec/verify/secretRef/name",
    ]
    .into_iter()
    .filter_map(|pointer| source.pointer(pointer)?.as_str())
}

/// The sources behind artifacts, by the artifacts' full names.
fn real_sources(owned: &FleetOwned) -> BTreeMap<String, Value> {
    let artifacts = owned.sources.iter().filter(|(kind, _)| **kind == EXTERNAL_ARTIFACT);
    artifacts
        .filter_map(|(_, artifact)| {
            let source: Value = serde_json::from_str(artifact.annotations().get(annotations::FLEET_SOURCE)?).ok()?;
            kind_of(&source)?;
            Some((fields::full_name(artifact), source))
        })
        .collect()
}

/// The kind of a source that can be made here.
fn kind_of(source: &Value) -> Option<&'static Kind> {
    [&GIT_REPOSITORY, &HELM_REPOSITORY, &OCI_REPOSITORY]
        .into_iter()
        .find(|kind| kind.kind == field(source, "kind"))
}

/// Where an object refers to what it reads.
fn reference_of(kind: &Kind) -> &'static str {
    match *kind == HELM_RELEASE {
        true => "spec/chartRef",
        false => "spec/sourceRef",
    }
}

/// The change after which an object reads the source instead of the artifact, which has the same name.
fn conversion(kind: &Kind, source: &Value, artifact: &str) -> Value {
    let of = field(source, "kind");
    if *kind != HELM_RELEASE {
        return json!({"spec": {"sourceRef": {"kind": of}}});
    }
    if of == OCI_REPOSITORY.kind {
        return json!({"spec": {"chartRef": {"kind": of}}});
    }
    let mut chart = source["chart"].clone();
    let name = artifact.split_once('/').map_or(artifact, |(_, name)| name);
    chart["sourceRef"] = json!({"kind": of, "name": name});
    json!({"spec": {"chartRef": null, "chart": {"spec": chart}}})
}

fn fate(kind: &Kind, product: &DynamicObject, sources: &BTreeMap<String, Value>) -> Fate {
    let reference = text(product, &format!("/{}/kind", reference_of(kind)));
    if reference != EXTERNAL_ARTIFACT.kind {
        return Fate::Unchanged;
    }
    match sources.get(&source_name(kind, product)) {
        // Without knowing which chart of it, a source of charts is of no use.
        Some(source)
            if *kind == HELM_RELEASE
                && field(source, "kind") != OCI_REPOSITORY.kind
                && !source["chart"].is_object() =>
        {
            Fate::Suspended
        }
        Some(source) => Fate::Converted(source.clone()),
        None => Fate::Suspended,
    }
}

fn source_name(kind: &Kind, product: &DynamicObject) -> String {
    let reference = reference_of(kind);
    let namespace = match text(product, &format!("/{reference}/namespace")) {
        "" => product.namespace().unwrap_or_default(),
        namespace => namespace.to_owned(),
    };
    format!("{namespace}/{}", text(product, &format!("/{reference}/name")))
}

fn url_of(source: &Value) -> &str {
    source
        .pointer("/spec/url")
        .and_then(Value::as_str)
        .unwrap_or("its source")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::KUSTOMIZATION;

    #[test]
    fn a_release_takes_its_chart_from_where_the_hub_took_it() {
        let helm = json!({"kind": "HelmRepository", "spec": {"url": "https://charts"}, "chart": {"chart": "web", "version": "1.x"}});
        assert_eq!(
            conversion(&HELM_RELEASE, &helm, "team/apps"),
            json!({"spec": {"chartRef": null, "chart": {"spec": {
                "chart": "web", "version": "1.x", "sourceRef": {"kind": "HelmRepository", "name": "apps"}}}}})
        );
        let oci = json!({"kind": "OCIRepository", "spec": {"url": "oci://registry/web"}});
        assert_eq!(
            conversion(&HELM_RELEASE, &oci, "team/apps"),
            json!({"spec": {"chartRef": {"kind": "OCIRepository"}}})
        );
        let release = object(
            "HelmRelease",
            json!({"chartRef": {"kind": "ExternalArtifact", "name": "apps"}}),
            None,
        );
        let fate_with = |source: Value| {
            fate(
                &HELM_RELEASE,
                &release,
                &BTreeMap::from([("team/apps".to_owned(), source)]),
            )
        };
        assert_eq!(fate_with(helm.clone()), Fate::Converted(helm));
        assert_eq!(
            fate_with(json!({"kind": "HelmRepository", "spec": {}})),
            Fate::Suspended
        );
    }

    fn object(kind: &str, spec: Value, annotation: Option<&str>) -> DynamicObject {
        let mut object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": kind, "metadata": {"name": "apps", "namespace": "team"}, "spec": spec
        }))
        .expect("an object");
        if let Some(source) = annotation {
            object
                .annotations_mut()
                .insert(annotations::FLEET_SOURCE.to_owned(), source.to_owned());
        }
        object
    }

    #[test]
    fn the_secrets_of_a_source_are_found() {
        let source = json!({"kind": "GitRepository", "spec": {"url": "https://git/x",
            "secretRef": {"name": "git"}, "verify": {"mode": "HEAD", "secretRef": {"name": "keys"}}}});
        assert_eq!(credentials(&source).collect::<Vec<_>>(), ["git", "keys"]);
    }

    #[test]
    fn only_what_came_over_the_link_needs_another_source() {
        let check = |source: Option<&str>, reference: Value, want: &str| {
            let owned = FleetOwned {
                sources: vec![(&EXTERNAL_ARTIFACT, object("ExternalArtifact", json!({}), source))],
                ..FleetOwned::default()
            };
            let kustomization = object("Kustomization", json!({"sourceRef": reference}), None);
            let fate = match fate(&KUSTOMIZATION, &kustomization, &real_sources(&owned)) {
                Fate::Unchanged => "unchanged".to_owned(),
                Fate::Suspended => "suspended".to_owned(),
                Fate::Converted(source) => url_of(&source).to_owned(),
            };
            assert_eq!(fate, want);
        };
        let git = r#"{"kind": "GitRepository", "spec": {"url": "https://git/x"}}"#;
        let artifact = json!({"kind": "ExternalArtifact", "name": "apps"});
        check(Some(git), artifact.clone(), "https://git/x");
        check(Some(git), json!({"kind": "GitRepository", "name": "apps"}), "unchanged");
        check(
            Some(git),
            json!({"kind": "ExternalArtifact", "name": "other"}),
            "suspended",
        );
        check(Some("not json"), artifact.clone(), "suspended");
        check(None, artifact, "suspended");
    }
}
