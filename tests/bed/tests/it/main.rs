//! The bed keeps what it promises. The control planes are shared by all tests, each of which has a namespace of its own.

mod children;
mod git;
mod leftovers;
mod planes;
mod programs;
mod workloads;

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use nave_bed::{Plane, PlaneOptions, eventually};
use serde_json::json;
use tokio::sync::OnceCell;

/// How long anything may take on a busy machine; what takes it has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Two planes for all tests; the first has an audit log. They end with the process.
pub async fn planes() -> &'static [Plane] {
    static PLANES: OnceCell<Vec<Plane>> = OnceCell::const_new();
    PLANES
        .get_or_init(|| async {
            let one = PlaneOptions {
                audit: true,
                nodes: 2,
                ..PlaneOptions::named("one")
            };
            Plane::start_many(vec![one, PlaneOptions::named("two")])
                .await
                .expect("two control planes start")
        })
        .await
}

/// Makes a namespace and waits until pods may be created in it. Its name is that of the test with a number of its own,
/// so that a cluster that is used again has none of that name yet.
pub async fn namespace(client: &Client, test: &str) -> Result<String> {
    let object = serde_json::from_value(json!({"metadata": {"generateName": format!("{test}-")}}))?;
    let created = Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &object)
        .await?;
    let name = created.metadata.name.context("a created namespace has a name")?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &name);
    eventually(DEADLINE, "the default service account", || async {
        Ok(accounts.get("default").await?)
    })
    .await?;
    Ok(name)
}
