//! What every test starts from: a namespace, a target, and an owner that applies.

use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api, Client,
    api::{DynamicObject, PostParams},
};
use nave_apply::{
    ApplyOptions, Applying, Check, CommonMetadata, IgnoreRules, Inventory, Memory, Outcome, PruneOutcome, Step, judge,
    prepare, prune,
};
use nave_bed::{Plane, PlaneOptions, eventually};
use nave_health::HealthExpressions;
use nave_object::{Gvk, Object};
use nave_runtime::ports::{AllowAll, OwnerRef, Permit, PrunePermits, PrunePlan};
use nave_targets::{KubeconfigPolicy, ServiceAccount as Account, Target, Targets};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// How long anything may take on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The plane of all tests; it ends with the process.
pub async fn plane() -> &'static Plane {
    static PLANE: OnceCell<Plane> = OnceCell::const_new();
    PLANE
        .get_or_init(|| async {
            Plane::start(PlaneOptions {
                audit: true,
                ..PlaneOptions::named("apply")
            })
            .await
            .expect("a control plane starts")
        })
        .await
}

pub struct World {
    pub plane: &'static Plane,
    pub client: Client,
    pub targets: Targets,
    pub target: Arc<Target>,
    pub namespace: String,
    pub owner: OwnerRef,
    pub memory: Memory,
    pub inventory: Inventory,
    pub force: bool,
    /// Whether objects may be re-created.
    pub permits: bool,
    pub check: Check,
    pub report_only: bool,
    pub independent: bool,
}

/// Permits re-creations, or none.
struct Says(bool);

impl PrunePermits for Says {
    fn permit<'a>(&'a self, plan: &'a PrunePlan) -> BoxFuture<'a, Permit> {
        let names: Vec<&str> = plan.deletes.iter().map(|delete| delete.name.as_str()).collect();
        let permit = match self.0 {
            true => Permit::Granted,
            false => Permit::Held {
                reason: format!("{} of {} is not approved", names.join(" "), plan.change),
            },
        };
        Box::pin(std::future::ready(permit))
    }
}

impl World {
    pub async fn new(test: &str) -> Result<World> {
        let plane = plane().await;
        let client = plane.client();
        let object = serde_json::from_value(json!({"metadata": {"generateName": format!("{test}-")}}))?;
        let created = Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &object)
            .await?;
        let namespace = created.metadata.name.context("a created namespace has a name")?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
        eventually(DEADLINE, "the default service account", || async {
            Ok(accounts.get("default").await?)
        })
        .await?;
        let targets = Targets::new(
            client.clone(),
            KubeconfigPolicy {
                allow_local_servers: true,
                ..KubeconfigPolicy::default()
            },
        );
        let target = targets.local(None)?;
        let owner = OwnerRef {
            kind: "Kustomization".into(),
            namespace: namespace.clone(),
            name: test.to_owned(),
            fleet: None,
        };
        Ok(World {
            plane,
            client,
            targets,
            target,
            namespace,
            owner,
            memory: Memory::new(),
            inventory: Inventory::new(),
            force: false,
            permits: true,
            check: Check::Known,
            report_only: false,
            independent: false,
        })
    }

    pub fn act_as(&mut self, account: &str) -> Result<()> {
        let account = Account {
            namespace: self.namespace.clone(),
            name: account.to_owned(),
        };
        self.target = self.targets.local(Some(&account))?;
        Ok(())
    }

    /// Applies without pruning.
    pub async fn try_apply(&mut self, objects: Vec<Value>) -> Result<Outcome> {
        let objects = objects
            .into_iter()
            .map(Object::from_value)
            .collect::<Result<Vec<_>, _>>()?;
        let objects = prepare(objects, &self.owner, &CommonMetadata::default())?;
        let expressions = HealthExpressions::default();
        let options = ApplyOptions {
            owner: &self.owner,
            inventory: &self.inventory,
            force: self.force,
            permits: &Says(self.permits),
            change: "main@sha1:1",
            check: self.check,
            concurrency: 4,
            custom_stages: &[],
            override_managers: &[],
            migrate_api_version: false,
            ignore: &IgnoreRules::default(),
            policy: &AllowAll,
            expressions: &expressions,
            judge: judge(Arc::new(HealthExpressions::default())),
            report_only: self.report_only,
            independent: self.independent,
        };
        let mut applying = Applying::new();
        loop {
            let step = applying
                .advance(&self.target, &objects, &options, &mut self.memory)
                .await;
            match step {
                Step::Done(outcome) => return Ok(outcome),
                Step::Waits(barrier) => applying.resume(barrier.wait(&self.target).await),
            }
        }
    }

    /// Applies, which has to work; `<Kind>/<name> <what was done>` for each object.
    pub async fn apply(&mut self, objects: Vec<Value>) -> Result<Vec<String>> {
        let outcome = self.try_apply(objects).await?;
        if let Some(error) = outcome.error {
            return Err(error.into());
        }
        self.inventory = outcome.changes.iter().map(|change| change.entry.clone()).collect();
        Ok(outcome
            .changes
            .iter()
            .map(|change| format!("{}/{} {}", change.id.kind, change.id.name, change.action.as_str()))
            .collect())
    }

    /// Applies and deletes what is not in the set any more.
    pub async fn apply_and_prune(&mut self, objects: Vec<Value>) -> Result<PruneOutcome> {
        let before = self.inventory.clone();
        self.apply(objects).await?;
        let stale = before.stale(&self.inventory);
        Ok(prune(&self.target, &stale, &self.owner, &AllowAll, &HashSet::new(), 4).await)
    }

    pub async fn get(&self, api_version: &str, kind: &str, name: &str) -> Result<Option<Value>> {
        let target = self.targets.local(None)?;
        let resource = target.resolve(&Gvk::new(api_version, kind)).await?;
        Ok(target.get(&resource, &self.namespace, name).await?)
    }

    pub async fn patch(&self, api_version: &str, kind: &str, name: &str, manager: &str, patch: Value) -> Result<()> {
        let resource = self.target.resolve(&Gvk::new(api_version, kind)).await?.api_resource();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let parameters = kube::api::PatchParams {
            field_manager: Some(manager.to_owned()),
            ..Default::default()
        };
        api.patch(name, &parameters, &kube::api::Patch::Merge(patch)).await?;
        Ok(())
    }

    pub fn config(&self, name: &str, data: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": self.namespace}, "data": data})
    }

    pub fn deployment(&self, name: &str, replicas: u32, annotations: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}, "annotations": annotations},
                    "spec": {"containers": [{"name": "app", "image": "example.com/app:1"}]}}}})
    }
}
