//! From API objects to what the planner takes.

use kube::{Resource, ResourceExt};
use nave_crds::fleet::FleetResource;
use nave_crds::fleet::{ClusterMode, ClusterSelector as ApiSelector, Delivery as ApiDelivery, FleetDeletionPolicy};
use nave_crds::meta::LabelSelector;
use nave_crds::{Cluster, annotations};
use nave_placement as engine;
use nave_placement::{ClusterKey, FleetObject, OwnerKey, Selector, SelectorError};
use serde_json::{Map, Value, json};

/// A fleet object that cannot be planned at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConvertError {
    /// A selector is wrong.
    #[error("{field} is no valid selector")]
    Selector {
        field: String,
        #[source]
        source: SelectorError,
    },
    /// The schema forbids it; an object from before the schema may have it.
    #[error("exactly one of spec.source.template and spec.source.ref must be set")]
    Source,
}

/// Who a fleet object is.
pub(crate) fn owner_of<K: FleetResource>(fleet: &K) -> OwnerKey {
    OwnerKey {
        kind: K::KIND.into(),
        namespace: fleet.namespace().unwrap_or_default(),
        name: fleet.name_any(),
        uid: fleet.uid().unwrap_or_default(),
    }
}

/// Which cluster a Cluster object is.
pub(crate) fn key_of(cluster: &Cluster) -> ClusterKey {
    ClusterKey::new(cluster.namespace().unwrap_or_default(), cluster.name_any())
}

/// The policy in the engine's words.
pub(crate) fn policy_of(policy: FleetDeletionPolicy) -> engine::Policy {
    match policy {
        FleetDeletionPolicy::Prune => engine::Policy::Prune,
        FleetDeletionPolicy::Orphan => engine::Policy::Orphan,
    }
}

/// Value of the annotation that asks for a reconcile.
pub(crate) fn requested_at<K: Resource>(object: &K) -> Option<String> {
    object.annotations().get(annotations::REQUESTED_AT).cloned()
}

/// A fleet object for the planner. `referenced` is the spec of the source that `spec.source.ref`
/// names, where it is known.
pub(crate) fn fleet_object<K: FleetResource>(
    fleet: &K,
    referenced: Option<Map<String, Value>>,
) -> Result<FleetObject, ConvertError> {
    let spec = fleet.parts();
    let source = match (&spec.source.template, &spec.source.reference) {
        (Some(template), None) => engine::Source::Template {
            kind: template.kind.clone(),
            spec: template.spec.clone(),
        },
        (None, Some(reference)) => engine::Source::Reference {
            kind: reference.kind.clone(),
            name: reference.name.clone(),
            spec: referenced,
        },
        _ => return Err(ConvertError::Source),
    };
    let overrides = spec
        .overrides
        .iter()
        .enumerate()
        .map(|(index, one)| {
            Ok(engine::Override {
                clusters: engine::ClusterSelector {
                    selector: selector(one.selector.as_ref(), &format!("spec.overrides[{index}].selector"))?,
                    names: one.names.clone(),
                },
                merge: one.merge.clone().map(Value::Object),
                patches: one
                    .patches
                    .iter()
                    .map(|patch| serde_json::to_value(patch).expect("an operation is JSON"))
                    .collect(),
            })
        })
        .collect::<Result<_, _>>()?;
    let mut template = json!({"spec": spec.template.spec});
    if let Some(metadata) = &spec.template.metadata {
        template["metadata"] = serde_json::to_value(metadata).expect("maps of strings are JSON");
    }
    Ok(FleetObject {
        owner: owner_of(fleet),
        suspend: spec.suspend,
        requested_at: requested_at(fleet),
        spoke_namespace: Some(spec.spoke_namespace.to_owned()).filter(|name| !name.is_empty()),
        placement: placement_of(fleet)?,
        source,
        include: spec.source.include.clone(),
        delivery: match spec.delivery {
            ApiDelivery::Artifact => engine::Delivery::Artifact,
            ApiDelivery::Source => engine::Delivery::Source,
        },
        template,
        overrides,
        secrets: spec
            .secrets
            .iter()
            .map(|secret| engine::SecretUse {
                name: secret.name.clone(),
                optional: secret.optional,
            })
            .collect(),
        policy: policy_of(spec.deletion.policy),
    })
}

/// Which clusters a fleet object means.
pub(crate) fn placement_of<K: FleetResource>(fleet: &K) -> Result<engine::Placement, ConvertError> {
    let placement = &fleet.parts().placement;
    let none = ApiSelector::default();
    let exclude = placement.exclude.as_ref().unwrap_or(&none);
    Ok(engine::Placement {
        selector: selector(placement.selector.as_ref(), "spec.placement.selector")?,
        names: placement.names.clone(),
        exclude: engine::ClusterSelector {
            selector: selector(exclude.selector.as_ref(), "spec.placement.exclude.selector")?,
            names: exclude.names.clone(),
        },
    })
}

/// A cluster for the planner. Nothing of its status goes in: what an agent claims selects nothing.
pub(crate) fn cluster(object: &Cluster) -> engine::Cluster {
    let mut cluster = engine::Cluster::new(key_of(object));
    cluster.labels = object.labels().clone();
    cluster.variables = object.spec.variables.clone();
    cluster.access = object
        .spec
        .access
        .iter()
        .map(|access| engine::Access {
            workspace: access.workspace.clone(),
            admin: access.admin,
            service_account: access.service_account_name.clone(),
            namespaces: access.namespaces.clone(),
        })
        .collect();
    cluster.suspend = object.spec.suspend;
    cluster.accepted = object.spec.accepted;
    cluster.mode = match object.spec.mode {
        ClusterMode::Agent => engine::Mode::Agent,
        ClusterMode::KubeConfig => {
            let secret = object.spec.kube_config.as_ref();
            engine::Mode::KubeConfig(engine::KubeConfigKey {
                secret: secret.map(|one| one.secret_ref.name.clone()).unwrap_or_default(),
                key: secret.map(|one| one.secret_ref.key.clone()).unwrap_or_default(),
            })
        }
    };
    cluster
}

fn selector(selector: Option<&LabelSelector>, field: &str) -> Result<Option<Selector>, ConvertError> {
    let Some(selector) = selector else {
        return Ok(None);
    };
    let labels = selector
        .match_labels
        .iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let expressions = selector.match_expressions.iter().flatten().map(|one| {
        (
            one.key.as_str(),
            one.operator.as_str(),
            one.values.clone().unwrap_or_default(),
        )
    });
    Selector::new(labels, expressions)
        .map(Some)
        .map_err(|source| ConvertError::Selector {
            field: field.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The engine names no API crate, so it has these names a second time.
    #[test]
    fn engine_and_api_agree_on_names() {
        use nave_crds::{helm, kustomize, labels, source};
        use nave_placement::names;
        for (engine, api) in [
            (names::FLEET_PREFIX, labels::FLEET_PREFIX),
            (names::FLEET_KIND, labels::FLEET_KIND),
            (names::FLEET_NAME, labels::FLEET_NAME),
            (names::FLEET_NAMESPACE, labels::FLEET_NAMESPACE),
            (names::FLEET_UID, labels::FLEET_UID),
            (names::FLEET_CLUSTER, labels::FLEET_CLUSTER),
            (names::FLEET_CLUSTER_NAMESPACE, labels::FLEET_CLUSTER_NAMESPACE),
            (names::CLUSTER_VARIABLES, annotations::FLEET_CLUSTER_VARIABLES),
            (names::REAL_SOURCE, annotations::FLEET_SOURCE),
            (names::DISABLED, annotations::DISABLED),
            (names::KUSTOMIZE_NAME, labels::KUSTOMIZE_NAME),
            (names::KUSTOMIZE_NAMESPACE, labels::KUSTOMIZE_NAMESPACE),
            (names::HELM_NAME, labels::HELM_NAME),
            (names::HELM_NAMESPACE, labels::HELM_NAMESPACE),
            (names::FLEET_KUSTOMIZATION, nave_crds::FleetKustomization::KIND),
            (names::FLEET_HELM_RELEASE, nave_crds::FleetHelmRelease::KIND),
            (names::HELM_API, helm::API_VERSION),
            (names::REQUESTED_AT, annotations::REQUESTED_AT),
            (names::KUSTOMIZE_API, kustomize::API_VERSION),
            (names::SOURCE_API, source::API_VERSION),
            (names::FLEET_API, nave_crds::fleet::API_VERSION),
        ] {
            assert_eq!(engine, api);
        }
    }

    #[test]
    fn what_an_agent_claims_is_no_label() {
        let object: Cluster = serde_json::from_value(json!({
            "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "eu-1", "namespace": "platform", "labels": {"env": "staging"}},
            "spec": {},
            "status": {"facts": {"env": "prod", "labels": "env=prod"}},
        }))
        .expect("readable");
        let cluster = cluster(&object);
        assert_eq!(cluster.labels.len(), 1);
        let prod = Selector::new([("env", "prod")], []).expect("valid");
        assert!(!prod.matches(&cluster.labels));
        assert!(cluster.variables.is_empty());
    }
}
