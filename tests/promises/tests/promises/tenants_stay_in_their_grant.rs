//! A tenant workspace cannot reach a cluster that does not name it, nor leave its namespaces or its service account
//! there, whatever its template, overrides or variables say; labels that an agent claims select nothing.

use anyhow::{Context, Result};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use nave_bed::eventually;
use nave_demo::{
    Fleet,
    fleet::{self, SPOKES, WORKSPACE},
};
use nave_promises::observe;
use serde_json::{Value, json};

use crate::support::{CHANGE, condition, explain, with_hub};

const TENANT: &str = "team-a";

#[tokio::test(flavor = "multi_thread")]
async fn tenants_stay_in_their_grant() -> Result<()> {
    with_hub(|mut fleet| async move {
        let result = promise(&mut fleet).await;
        if result.is_err() {
            explain(&fleet);
        }
        result
    })
    .await
}

async fn promise(fleet: &mut Fleet) -> Result<()> {
    let hub = fleet.hub_plane.client();
    fleet::apply(
        &hub,
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TENANT}}),
    )
    .await?;
    for spoke in &SPOKES[..2] {
        fleet.add(*spoke).await?;
    }
    // eu-1 names the tenant, staging does not.
    let clusters: Api<nave_crds::Cluster> = Api::namespaced(hub.clone(), WORKSPACE);
    let access = Patch::Merge(json!({"spec": {"access": [
        {"workspace": WORKSPACE, "admin": true},
        {"workspace": TENANT, "namespaces": [TENANT], "serviceAccountName": TENANT},
    ]}}));
    // An agent is ready before it has joined, and works also if it never does.
    eventually(CHANGE, "eu-1 has joined and names the tenant", || async {
        clusters.patch("eu-1", &PatchParams::default(), &access).await?;
        Ok(())
    })
    .await?;
    prepare_tenant(&fleet.planes["eu-1"].client()).await?;
    prepare_tenant(&fleet.planes["staging"].client()).await?;

    // What the grant allows works.
    apply_tenant(fleet, json!({})).await?;
    eventually(CHANGE, "the tenant's own service runs", || async {
        let object = tenant(fleet).await?;
        anyhow::ensure!(object["status"]["clusters"]["ready"] == 1, "{:#}", object["status"]);
        Ok(())
    })
    .await?;
    let eu = fleet.planes["eu-1"].client();
    assert!(observe::deployment(&eu, TENANT, "search").await?.is_some());
    let staging = fleet.planes["staging"].client();
    assert!(
        observe::deployment(&staging, TENANT, "search").await?.is_none(),
        "reached a cluster that does not name it"
    );

    // What it forbids is refused with a condition that names the field, and nothing of it arrives.
    for (attack, change, named) in [
        (
            "another target namespace",
            json!({"template": {"spec": {"targetNamespace": "kube-system"}}}),
            "targetNamespace",
        ),
        (
            "another service account",
            json!({"template": {"spec": {"serviceAccountName": "default"}}}),
            "serviceAccountName",
        ),
        (
            "a kubeconfig",
            json!({"template": {"spec": {"kubeConfig": {"secretRef": {"name": "x"}}}}}),
            "kubeConfig",
        ),
        (
            "the agent's namespace",
            json!({"spokeNamespace": "flux-system"}),
            "flux-system",
        ),
        (
            "an override",
            json!({"overrides": [{"selector": {"matchLabels": {"env": "production"}}, "merge": {"spec": {"targetNamespace": "kube-system"}}}]}),
            "targetNamespace",
        ),
        (
            "a variable",
            json!({"template": {"spec": {"targetNamespace": "${cluster.variables.overlay}"}}}),
            "targetNamespace",
        ),
        (
            "another's source",
            json!({"template": {"spec": {"sourceRef": {"kind": "GitRepository", "name": "platform", "namespace": WORKSPACE}}}}),
            "sourceRef",
        ),
    ] {
        apply_tenant(fleet, change).await?;
        let object = eventually(CHANGE, &format!("{attack} refused"), || async {
            let object = tenant(fleet).await?;
            let ready = condition(&object, "Ready");
            let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            anyhow::ensure!(current && ready["status"] == "False", "{:#}", object["status"]);
            Ok(object)
        })
        .await?;
        let text = object["status"].to_string();
        assert!(text.contains(named), "{attack}: {text}");
    }
    assert!(observe::deployment(&eu, "kube-system", "search").await?.is_none());
    assert!(observe::deployment(&eu, "flux-system", "search").await?.is_none());

    the_policy_of_the_cluster_is_above_the_hub(fleet).await?;
    claimed_labels_select_nothing(fleet).await
}

/// What the hub grants ends where the policy file of the cluster's own people says so.
async fn the_policy_of_the_cluster_is_above_the_hub(fleet: &mut Fleet) -> Result<()> {
    let agent = fleet.agents.get_mut("eu-1").context("eu-1 has an agent")?;
    std::fs::write(&agent.policy_file, format!("deniedNamespaces: [{TENANT}]\n"))?;
    agent.kill9();
    agent.restart().await?;
    let hub = fleet.hub_plane.client();
    eventually(CHANGE, "the hub knows that there is a policy", || async {
        let cluster = fleet::get(&hub, "fleet.nave.dev/v1alpha1", "Cluster", WORKSPACE, "eu-1").await?;
        let digest = cluster["status"]["policyDigest"].as_str().unwrap_or_default();
        let limited = condition(&cluster, "PolicyLimited");
        anyhow::ensure!(
            limited["status"] == "True" && digest.starts_with("sha256:"),
            "{:#}",
            cluster["status"]
        );
        Ok(())
    })
    .await?;
    apply_tenant(fleet, json!({"template": {"spec": {"timeout": "61s"}}})).await?;
    eventually(CHANGE, "the policy refuses what the hub grants", || async {
        let object = tenant(fleet).await?;
        let text = object["status"].to_string();
        let refused = condition(&object, "Ready")["status"] == "False" && text.contains("(deniedNamespaces)");
        anyhow::ensure!(refused, "{text}");
        Ok(())
    })
    .await?;
    let eu = fleet.planes["eu-1"].client();
    let kept = observe::deployment(&eu, TENANT, "search").await?;
    assert!(kept.is_some(), "a policy refuses changes and deletes nothing");

    // A policy that allows it is noticed by the running agent.
    std::fs::write(&fleet.agents["eu-1"].policy_file, format!("namespaces: [{TENANT}]\n"))?;
    eventually(CHANGE, "the agent reads the policy again", || async {
        let read = fleet.agents["eu-1"].log().matches("caps what a hub may do").count();
        anyhow::ensure!(read >= 2, "read {read} times");
        Ok(())
    })
    .await?;
    apply_tenant(fleet, json!({"template": {"spec": {"timeout": "62s"}}})).await?;
    eventually(CHANGE, "the tenant's service is healthy again", || async {
        let object = tenant(fleet).await?;
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        let ready = object["status"]["clusters"]["ready"] == 1 && condition(&object, "Ready")["status"] == "True";
        anyhow::ensure!(current && ready, "{:#}", object["status"]);
        Ok(())
    })
    .await
}

/// The namespace and the account that the cluster's owner gives the tenant, with rights in that namespace only.
async fn prepare_tenant(spoke: &kube::Client) -> Result<()> {
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TENANT}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": TENANT, "namespace": TENANT}}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "reconciler", "namespace": TENANT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"kind": "ServiceAccount", "name": TENANT, "namespace": TENANT}],
        }),
    ] {
        fleet::apply(spoke, &object).await?;
    }
    Ok(())
}

/// The tenants example with our repository, changed by a merge patch of its spec.
async fn apply_tenant(fleet: &Fleet, change: Value) -> Result<()> {
    let path = nave_demo::examples::folder().join("tenants/fleet/service.yaml");
    let mut object = nave_demo::examples::objects(&path)?.pop().context("one object")?;
    object["spec"]["source"]["template"]["spec"]["url"] = json!(fleet.repository.url);
    merge(&mut object["spec"], &change);
    fleet::apply(&fleet.hub_plane.client(), &object).await
}

fn merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change.clone(),
    }
}

async fn tenant(fleet: &Fleet) -> Result<Value> {
    fleet::get(
        &fleet.hub_plane.client(),
        "fleet.nave.dev/v1alpha1",
        "FleetKustomization",
        TENANT,
        "search",
    )
    .await
}

/// An agent that writes labels on its own nodes and namespace, or says what it likes of itself, is selected by what the
/// token says and nothing else.
async fn claimed_labels_select_nothing(fleet: &Fleet) -> Result<()> {
    let hub = fleet.hub_plane.client();
    let staging = fleet::get(&hub, "fleet.nave.dev/v1alpha1", "Cluster", WORKSPACE, "staging").await?;
    assert_eq!(staging["metadata"]["labels"]["env"], "staging");
    for (key, _) in staging["status"]["facts"].as_object().into_iter().flatten() {
        assert!(
            staging["metadata"]["labels"].get(key).is_none(),
            "a fact became a label: {key}"
        );
    }
    let fleets: Api<nave_crds::FleetKustomization> = Api::namespaced(hub, TENANT);
    fleets.delete("search", &DeleteParams::default()).await?;
    let eu = fleet.planes["eu-1"].client();
    eventually(CHANGE, "the deleted fleet object's workload pruned", || async {
        anyhow::ensure!(
            observe::deployment(&eu, TENANT, "search").await?.is_none(),
            "still there"
        );
        Ok(())
    })
    .await
}
