//! Inventories of Kustomizations and Helm releases, read from the cluster.

use std::collections::HashSet;

use anyhow::{Context, Result};
use futures::future::{BoxFuture, FutureExt};
use k8s_openapi::{
    api::core::v1::Secret, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
};
use nave_object::ObjectId;

use super::node::Node;
use crate::{
    discovery::Discovery,
    fields::{self, field},
    flux_kinds::HELM_RELEASE,
    kinds::{ARTIFACT_GENERATOR, EXTERNAL_ARTIFACT, KUSTOMIZATION, Kind},
    say,
};

/// Groups whose names contain this are Flux's.
const FLUX: &str = "toolkit.fluxcd.io";

/// Reads a tree of inventories.
pub struct Reader<'a> {
    client: &'a Client,
    compact: bool,
    /// Kustomizations whose inventories were read: one that is in its own inventory, by whatever way, is a leaf there.
    read: HashSet<ObjectId>,
    discovery: Option<Discovery>,
}

impl<'a> Reader<'a> {
    /// `compact` leaves out what is not Flux's.
    pub fn new(client: &'a Client, compact: bool) -> Reader<'a> {
        Reader {
            client,
            compact,
            read: HashSet::new(),
            discovery: None,
        }
    }

    /// A Kustomization with everything below it.
    pub fn kustomization<'b>(&'b mut self, object: &'b DynamicObject) -> BoxFuture<'b, Result<Node>> {
        async move {
            let id = id_of(&KUSTOMIZATION, object);
            self.read.insert(id.clone());
            let mut children = Vec::new();
            let is_remote = object.data.pointer("/spec/kubeConfig").is_some();
            for entry in fields::list(object, "/status/inventory/entries") {
                let child = ObjectId::parse_inventory_id(field(entry, "id"))
                    .with_context(|| format!("reading the inventory of {id}"))?;
                if child == id || !self.shows(&child) {
                    continue;
                }
                let is = |kind: &Kind| child.group == kind.group && child.kind == kind.kind;
                children.push(if is_remote {
                    Node::leaf(child)
                } else if is(&KUSTOMIZATION) {
                    self.nested(child).await?
                } else if is(&HELM_RELEASE) {
                    self.release(child).await?
                } else {
                    Node::leaf(child)
                });
            }
            Ok(Node { id, children })
        }
        .boxed()
    }

    async fn nested(&mut self, id: ObjectId) -> Result<Node> {
        if self.read.contains(&id) {
            return Ok(Node::leaf(id));
        }
        match self.find(&KUSTOMIZATION, &id).await? {
            Some(object) => self.kustomization(&object).await,
            None => Ok(Node::leaf(id)),
        }
    }

    /// A Helm release with the objects of its latest record, and the definitions that came with its chart.
    async fn release(&mut self, id: ObjectId) -> Result<Node> {
        let Some(object) = self.find(&HELM_RELEASE, &id).await? else {
            return Ok(Node::leaf(id));
        };
        if object.data.pointer("/spec/kubeConfig").is_some() {
            return Ok(Node::leaf(id));
        }
        let mut children: Vec<Node> = self.record(&object).await?.into_iter().map(Node::leaf).collect();
        let is_on = |field: &str| !matches!(fields::text(&object, field), "" | "Skip");
        if is_on("/spec/install/crds") || is_on("/spec/upgrade/crds") {
            for definition in self.definitions(&object).await? {
                if !children.iter().any(|child| child.id == definition) {
                    children.push(Node::leaf(definition));
                }
            }
        }
        children.retain(|child| self.shows(&child.id));
        Ok(Node { id, children })
    }

    /// The objects of the latest record; none where nothing was installed yet, or the record is gone.
    async fn record(&mut self, object: &DynamicObject) -> Result<Vec<ObjectId>> {
        let release = |name: &str| fields::text(object, &format!("/status/history/0/{name}")).to_owned();
        let (name, version) = (release("name"), fields::number(object, "/status/history/0/version"));
        if name.is_empty() || version < 1 {
            return Ok(Vec::new());
        }
        let own = object.namespace().unwrap_or_default();
        let storage = match fields::text(object, "/status/storageNamespace") {
            "" => own.clone(),
            namespace => namespace.to_owned(),
        };
        let what = || format!("the record of HelmRelease {own}/{}", object.name_any());
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &storage);
        let secret = secrets
            .get_opt(&nave_release::secret_name(&name, version))
            .await
            .with_context(|| format!("reading {}", what()))?;
        let Some(data) = secret.and_then(|secret| secret.data?.remove("release")) else {
            return Ok(Vec::new());
        };
        let record = nave_release::decode(&data.0).with_context(|| format!("reading {}", what()))?;
        let objects = nave_release::objects(&record.manifest, &name).with_context(|| format!("reading {}", what()))?;
        let mut ids = Vec::with_capacity(objects.len());
        for mut id in objects.iter().map(nave_object::Object::id) {
            // Templates may leave out the namespace that they are installed into.
            if id.namespace.is_empty() && self.is_namespaced(&id).await? {
                id.namespace = match release("namespace") {
                    namespace if namespace.is_empty() => own.clone(),
                    namespace => namespace,
                };
            }
            ids.push(id);
        }
        Ok(ids)
    }

    async fn definitions(&self, object: &DynamicObject) -> Result<Vec<ObjectId>> {
        let selector = format!(
            "{group}/name={},{group}/namespace={}",
            object.name_any(),
            object.namespace().unwrap_or_default(),
            group = HELM_RELEASE.group
        );
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let found = api
            .list_metadata(&ListParams::default().labels(&selector))
            .await
            .context("listing definitions")?;
        Ok(found
            .items
            .into_iter()
            .map(|definition| ObjectId {
                group: "apiextensions.k8s.io".to_owned(),
                kind: "CustomResourceDefinition".to_owned(),
                namespace: String::new(),
                name: definition.name_any(),
            })
            .collect())
    }

    /// A kind that the cluster does not know any more has no namespace that one could add.
    async fn is_namespaced(&mut self, id: &ObjectId) -> Result<bool> {
        if self.discovery.is_none() {
            self.discovery = Some(Discovery::of(self.client).await?);
        }
        let discovery = self.discovery.as_ref().expect("it was just set");
        Ok(discovery.is_namespaced(&id.group, &id.kind).unwrap_or(false))
    }

    /// An object of the inventory that is gone is said to be, and shown all the same.
    async fn find(&self, kind: &'static Kind, id: &ObjectId) -> Result<Option<DynamicObject>> {
        let found = kind
            .api(self.client, &id.namespace)
            .get_opt(&id.name)
            .await
            .with_context(|| format!("getting {id}"))?;
        if found.is_none() {
            say::warning(&format!("{id} is in the inventory and not in the cluster"));
        }
        Ok(found)
    }

    fn shows(&self, id: &ObjectId) -> bool {
        !self.compact || id.group.contains(FLUX)
    }
}

/// An ArtifactGenerator with the artifacts of its `status.inventory`.
pub fn generator(object: &DynamicObject) -> Node {
    let children = fields::list(object, "/status/inventory").iter().map(|entry| {
        Node::leaf(ObjectId {
            group: EXTERNAL_ARTIFACT.group.to_owned(),
            kind: EXTERNAL_ARTIFACT.kind.to_owned(),
            namespace: field(entry, "namespace").to_owned(),
            name: field(entry, "name").to_owned(),
        })
    });
    Node {
        id: id_of(&ARTIFACT_GENERATOR, object),
        children: children.collect(),
    }
}

fn id_of(kind: &Kind, object: &DynamicObject) -> ObjectId {
    ObjectId {
        group: kind.group.to_owned(),
        kind: kind.kind.to_owned(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}
