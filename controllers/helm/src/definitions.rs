//! The definitions in a chart's `crds/`: they are applied before everything else, and never deleted.

use std::time::Duration;

use kube::ResourceExt;
use nave_apply::{judge, wait};
use nave_chart::Crd;
use nave_crds::{helm::CrdsPolicy, kustomize::ResourceRef, labels, managers};
use nave_object::{Object, yaml::read_objects};
use nave_targets::ApplyMode;
use serde_json::Value;

use crate::{
    act::{Act, Failed},
    cluster::describe,
};

/// How long definitions may take to be served.
const LIMIT: Duration = Duration::from_secs(60);
const KIND: &str = "CustomResourceDefinition";

impl Act<'_> {
    /// Applies what the policy says, and waits until it is served.
    pub async fn apply_definitions(&mut self, crds: &[Crd], policy: CrdsPolicy) -> Result<(), Failed> {
        if policy == CrdsPolicy::Skip {
            return Ok(());
        }
        let mut objects = objects_of(crds)?;
        for object in &mut objects {
            object.set_label(labels::HELM_NAME, self.object.name_any());
            object.set_label(labels::HELM_NAMESPACE, self.object.namespace().unwrap_or_default());
        }
        let mut waits = Vec::new();
        for placed in self.place_all(objects).await? {
            let (id, resource) = (placed.id(), &placed.resource);
            let failed = |error: &kube::Error| {
                Failed::new(format!(
                    "failed to apply CustomResourceDefinition {}: {}",
                    id.name,
                    describe(error)
                ))
            };
            if policy == CrdsPolicy::Create {
                let live = self.target.get(resource, "", &id.name).await;
                if live.map_err(|error| failed(&error))?.is_some() {
                    continue;
                }
            }
            self.may_apply(&id)?;
            self.target
                .apply(
                    resource,
                    "",
                    &id.name,
                    managers::HELM,
                    placed.object.as_value(),
                    ApplyMode::Write,
                )
                .await
                .map_err(|error| failed(&error))?;
            if let Some(group) = placed.object.pointer("/spec/group").and_then(Value::as_str) {
                self.target.forget_group(group);
            }
            self.has_new_definitions = true;
            waits.push(placed.wait_item(None));
        }
        wait(self.target, waits, judge(self.expressions.clone()), LIMIT, true)
            .await
            .map_err(|error| Failed::of(&error))
    }
}

/// Entries of the inventory for a chart's definitions.
pub(crate) fn entries_of(crds: &[Crd]) -> Vec<ResourceRef> {
    let objects = objects_of(crds).unwrap_or_default();
    objects.iter().map(nave_apply::entry_of).collect()
}

/// Whatever else lies in `crds/` is not applied, as in Flux.
fn objects_of(crds: &[Crd]) -> Result<Vec<Object>, Failed> {
    let mut objects = Vec::new();
    for crd in crds {
        let text = String::from_utf8_lossy(&crd.file.data);
        let found = read_objects(&text, &crd.path).map_err(|error| Failed::of(&error))?;
        objects.extend(found.into_iter().filter(|object| object.kind() == KIND));
    }
    Ok(objects)
}
