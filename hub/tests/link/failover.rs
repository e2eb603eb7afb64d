//! The Services in front of the hub send to the replica that leads.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use nave_bed::{Plane, PlaneOptions};
use nave_hub::ActivePod;
use serde_json::json;

const NAMESPACE: &str = "nave-system";

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_of_the_hub_that_leads_is_the_only_one_behind_its_services() -> Result<()> {
    nave_net::install_crypto_provider();
    let plane = Plane::start(PlaneOptions::named("hub-failover")).await?;
    let client = plane.client();
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &namespace).await?;
    // No controller makes it here, and no pod comes without one.
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": "default"}}))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    accounts.create(&PostParams::default(), &account).await.ok();
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    for name in ["one", "two"] {
        let pod = json!({
            "metadata": {"name": name, "labels": {"app": "nave-hub"}},
            "spec": {"containers": [{"name": "manager", "image": "none"}], "automountServiceAccountToken": false,
                "serviceAccountName": "default"},
        });
        pods.create(&PostParams::default(), &serde_json::from_value(pod)?)
            .await?;
    }
    // As the Services select.
    let selector = "app=nave-hub,fleet.nave.dev/hub-role=active";
    let check = async |expected: &[&str]| -> Result<()> {
        let found = pods.list_metadata(&ListParams::default().labels(selector)).await?;
        let names: Vec<_> = found.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        ensure!(names == expected, "{names:?} instead of {expected:?}");
        Ok(())
    };
    let [one, two] = ["one", "two"].map(|name| ActivePod::new(&client, NAMESPACE, name));
    one.stand_by().await?;
    two.stand_by().await?;
    check(&[]).await?;
    one.take_over().await?;
    check(&["one"]).await?;

    // The first is killed and says nothing any more; the other one gets the lease.
    two.take_over().await?;
    check(&["two"]).await?;
    // Its container is started again in the same pod, and waits.
    one.stand_by().await?;
    check(&["two"]).await?;
    // Said twice changes nothing, and the end of a pod is no error.
    let version = |pod: Pod| pod.metadata.resource_version;
    let before = version(pods.get("two").await?);
    two.take_over().await?;
    ensure!(version(pods.get("two").await?) == before, "nothing is written at rest");
    pods.delete("one", &kube::api::DeleteParams::default().grace_period(0))
        .await?;
    one.stand_by().await.map_err(Into::into)
}
