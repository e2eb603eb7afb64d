//! `nave leave` on a cluster whose objects a hub brought; the agent is stopped.

use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams},
};
use serde_json::{Value, json};

use super::support::{RUNTIME, api, kustomizations, namespace, on, put};
use nave_bed::{Plane, PlaneOptions};

fn owner() -> Value {
    json!({
        "fleet.nave.dev/kind": "FleetKustomization", "fleet.nave.dev/name": "apps",
        "fleet.nave.dev/namespace": "platform", "fleet.nave.dev/uid": "u1", "team": "a"
    })
}

async fn fleet_objects(client: &kube::Client) {
    for name in ["flux-system", "shop"] {
        namespace(client, name).await;
    }
    let labels =
        json!({"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"});
    let config = |name: &str, labels: &Value, annotations: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop", "labels": labels, "annotations": annotations}});
    put(client, "configmaps", config("mine", &labels, json!({}))).await;
    put(
        client,
        "configmaps",
        config(
            "kept",
            &labels,
            json!({"kustomize.toolkit.fluxcd.io/prune": "disabled"}),
        ),
    )
    .await;
    put(client, "configmaps", config("taken-over", &json!({}), json!({}))).await;
    put(
        client,
        "externalartifacts",
        json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact",
            "metadata": {"name": "apps", "namespace": "flux-system", "labels": owner()},
            "spec": {"sourceRef": {"apiVersion": "fleet.nave.dev/v1alpha1", "kind": "FleetKustomization", "name": "apps", "namespace": "platform"}}
        }),
    )
    .await;
    put(
        client,
        "kustomizations",
        json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "flux-system", "labels": owner(), "finalizers": ["finalizers.fluxcd.io"]},
            "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "ExternalArtifact", "name": "apps"}},
            "status": {"inventory": {"entries": [
                {"id": "shop_mine__ConfigMap", "v": "v1"}, {"id": "shop_kept__ConfigMap", "v": "v1"},
                {"id": "shop_taken-over__ConfigMap", "v": "v1"}, {"id": "shop_gone__ConfigMap", "v": "v1"},
                {"id": "_flux-system__Namespace", "v": "v1"}
            ]}}
        }),
    )
    .await;
    let secret = |name: &str, labels: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "flux-system", "labels": labels}, "stringData": {"token": "x"}});
    put(client, "secrets", secret("sent-along", owner())).await;
    put(client, "secrets", secret("nave-agent-hub", json!({}))).await;
}

async fn names(api: Api<DynamicObject>) -> Vec<String> {
    let list = api.list_metadata(&ListParams::default()).await.expect("a list");
    list.items
        .iter()
        .map(ResourceExt::name_any)
        .filter(|name| name != "kube-root-ca.crt")
        .collect()
}

/// A plane of its own: leaving looks at every namespace.
async fn plane(name: &str) -> Plane {
    let plane = Plane::start(PlaneOptions::named(name)).await.expect("a control plane");
    super::support::install_definitions(&plane.client()).await;
    fleet_objects(&plane.client()).await;
    plane
}

#[test]
fn leaving_keeps_or_purges_and_says_so_before() {
    RUNTIME.block_on(async {
        let plane = plane("leave").await;
        let client = plane.client();
        let configs = || api(&client, "v1", "ConfigMap", "configmaps", "shop");
        let secrets = || api(&client, "v1", "Secret", "secrets", "flux-system");

        // Nothing is touched before a yes.
        let preview = on(&plane, "leave --purge --dry-run").await.ok();
        let row = |kind: &str, name: &str| {
            let found = preview
                .lines()
                .find(|line| line.contains(kind) && line.split_whitespace().any(|word| word == name));
            found.unwrap_or_else(|| panic!("{kind} {name}: {preview}")).to_owned()
        };
        assert!(row("ConfigMap", "mine").starts_with("delete "));
        assert!(row("ConfigMap", "kept").ends_with("it is annotated to stay"));
        assert!(row("ConfigMap", "taken-over").ends_with("its labels name another owner"));
        assert!(row("Namespace", "flux-system").ends_with("the agent needs it"));
        assert!(row("Secret", "sent-along").starts_with("delete "));
        assert!(!preview.contains("gone"), "{preview}");
        on(&plane, "leave --purge").await.fails(1);
        let outcome = on(&plane, "leave --keep --dry-run").await;
        assert!(
            outcome.stderr.contains("is suspended until it is given a source"),
            "{}",
            outcome.stderr
        );
        assert_eq!(names(configs()).await, ["kept", "mine", "taken-over"]);
        assert_eq!(names(secrets()).await, ["nave-agent-hub", "sent-along"]);

        // Keep: everything stays, as plain Flux objects.
        on(&plane, "leave --keep --yes").await.ok();
        assert_eq!(names(configs()).await, ["kept", "mine", "taken-over"]);
        let kustomization = kustomizations(&client, "flux-system")
            .get("apps")
            .await
            .expect("it is kept");
        assert_eq!(kustomization.labels().keys().collect::<Vec<_>>(), ["team"]);
        assert_eq!(kustomization.data["spec"]["suspend"], true);
        assert!(kustomization.annotations()["nave.dev/suspended-because"].contains("spec.sourceRef"));
        assert_eq!(names(secrets()).await, ["sent-along"]);
        let outcome = on(&plane, "leave --keep --yes").await;
        assert!(outcome.stderr.contains("belongs to no hub"), "{}", outcome.stderr);

        // Purge: what the hub brought goes, and only that.
        kustomizations(&client, "flux-system")
            .patch(
                "apps",
                &Default::default(),
                &kube::api::Patch::Merge(json!({"metadata": {"finalizers": null}})),
            )
            .await
            .expect("an answer");
        kustomizations(&client, "flux-system")
            .delete("apps", &Default::default())
            .await
            .expect("an answer");
        fleet_objects(&client).await;
        on(&plane, "leave --purge --yes --timeout 60s").await.ok();
        assert_eq!(names(configs()).await, ["kept", "taken-over"]);
        assert!(names(kustomizations(&client, "flux-system")).await.is_empty());
        assert!(names(secrets()).await.is_empty());
        let artifacts = api(
            &client,
            "source.toolkit.fluxcd.io/v1",
            "ExternalArtifact",
            "externalartifacts",
            "flux-system",
        );
        assert!(names(artifacts).await.is_empty());
    });
}
