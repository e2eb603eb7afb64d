//! A chart of the fleet's repository is packed once and released on every cluster, by agents and by the hub, each with its
//! own values; a new version upgrades them, a tenant's chart stays in its grant, and deleting the fleet object uninstalls.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use nave_bed::eventually;
use nave_demo::{
    Fleet, FleetOptions, examples,
    fleet::{self, WORKSPACE},
};
use nave_promises::observe;
use serde_json::{Value, json};

use crate::support::{CHANGE, START, with_some};

const CHART: &str = "platform/charts/status-page/Chart.yaml";
const NAME: &str = "status-page";
const NAMESPACE: &str = "status";
const TENANT: &str = "team-a";

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_reaches_every_cluster() -> Result<()> {
    let options = FleetOptions {
        spokes: vec!["staging", "us-1"],
        ..FleetOptions::default()
    };
    with_some(options, |mut fleet| async move {
        let result = promise(&mut fleet).await;
        (fleet, result)
    })
    .await
}

async fn promise(fleet: &mut Fleet) -> Result<()> {
    for spoke in fleet.spokes.clone() {
        fleet.add(spoke).await?;
    }
    let hub = fleet.hub_plane.client();
    for mut source in examples::objects(&examples::folder().join("platform/fleet/source.yaml"))? {
        source["spec"]["url"] = json!(fleet.repository.url);
        fleet::apply(&hub, &source).await?;
    }
    fleet.apply_chart().await?;
    assert_eq!(fleet.wait_released(START).await?, "0.3.0");

    // Each cluster has its own values, and the same release in Helm's own records.
    for (cluster, replicas, records) in [("staging", 1, "flux-system"), ("us-1", 2, NAMESPACE)] {
        let client = fleet.planes[cluster].client();
        let deployment = observe::deployment(&client, NAMESPACE, NAME).await?.context(cluster)?;
        assert_eq!(deployment.spec.replicas, Some(replicas), "{cluster}");
        assert!(
            page(&client).await?.contains(&format!("cluster: {cluster}\n")),
            "{cluster}"
        );
        let secrets: Api<Secret> = Api::namespaced(client.clone(), records);
        let record = secrets
            .get(&format!("sh.helm.release.v1.{NAME}.v1"))
            .await
            .context(cluster)?;
        assert_eq!(record.type_.as_deref(), Some("helm.sh/release.v1"), "{cluster}");
    }
    let table = fleet.nave.run(&["get", "fleet", "-n", WORKSPACE]).await?;
    assert!(table.contains(NAME) && table.contains("0.3.0"), "{table}");
    let described = fleet.nave.run(&["describe", "fleet", NAME, "-n", WORKSPACE]).await?;
    assert!(described.contains("./platform/charts/status-page"), "{described}");

    fleet
        .repository
        .replace("Status page 0.4.0", CHART, "version: 0.3.0", "version: 0.4.0")
        .await?;
    eventually(CHANGE, "the new version everywhere", || async {
        let version = fleet.wait_released(CHANGE).await?;
        ensure!(version == "0.4.0", "{version}");
        Ok(())
    })
    .await?;
    for cluster in ["staging", "us-1"] {
        let deployment = observe::deployment(&fleet.planes[cluster].client(), NAMESPACE, NAME).await?;
        assert!(deployment.is_some(), "{cluster}");
    }

    a_tenants_chart_stays_in_its_grant(fleet).await?;

    let api: Api<nave_crds::FleetHelmRelease> = Api::namespaced(hub, WORKSPACE);
    api.delete(NAME, &DeleteParams::default()).await?;
    for cluster in ["staging", "us-1"] {
        let client = fleet.planes[cluster].client();
        eventually(CHANGE, &format!("the release on {cluster} uninstalled"), || async {
            let found = observe::deployment(&client, NAMESPACE, NAME).await?;
            ensure!(found.is_none(), "it is still there");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn page(client: &Client) -> Result<String> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let found = api.get(NAME).await?;
    Ok(found.data.unwrap_or_default().remove("page.yaml").unwrap_or_default())
}

/// A chart with an object in a namespace that the tenant was not given fails; the same without it is released.
async fn a_tenants_chart_stays_in_its_grant(fleet: &Fleet) -> Result<()> {
    let hub = fleet.hub_plane.client();
    let spoke = fleet.planes["staging"].client();
    let access = json!({"spec": {"access": [
        {"workspace": WORKSPACE, "admin": true},
        {"workspace": TENANT, "namespaces": [TENANT], "serviceAccountName": TENANT},
    ]}});
    let clusters: Api<nave_crds::Cluster> = Api::namespaced(hub.clone(), WORKSPACE);
    clusters
        .patch("staging", &PatchParams::default(), &Patch::Merge(access))
        .await?;
    fleet::apply(&hub, &namespace()).await?;
    for object in [
        namespace(),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": TENANT, "namespace": TENANT}}),
        // Even rights everywhere do not lift the cap of the grant.
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": TENANT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": TENANT, "namespace": TENANT}],
        }),
    ] {
        fleet::apply(&spoke, &object).await?;
    }
    let object = |namespace: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: mine\n  namespace: {namespace}\ndata: {{a: b}}\n")
    };
    let chart = "apiVersion: v2\nname: mine\nversion: 0.1.0\n";
    fleet.repository.write("A chart", "mine/Chart.yaml", chart).await?;
    fleet
        .repository
        .write("It reaches out", "mine/templates/object.yaml", &object("kube-system"))
        .await?;
    let release = json!({
        "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "FleetHelmRelease",
        "metadata": {"name": "mine", "namespace": TENANT},
        "spec": {
            "placement": {"names": [format!("{WORKSPACE}/staging")]},
            "source": {"template": {"kind": "GitRepository", "spec": {
                "url": fleet.repository.url, "interval": "1m", "ref": {"branch": "main"}}}},
            "template": {"spec": {"interval": "1m", "timeout": "1m", "chart": {"spec": {
                "chart": "./mine", "reconcileStrategy": "Revision"}}}},
        },
    });
    fleet::apply(&hub, &release).await?;
    let tenant = async || {
        let (version, kind) = ("fleet.nave.dev/v1alpha1", "FleetHelmRelease");
        fleet::get(&hub, version, kind, TENANT, "mine").await
    };
    let refused = eventually(CHANGE, "the chart is refused", || async {
        let object = tenant().await?;
        ensure!(object["status"]["clusters"]["failed"] == 1, "{:#}", object["status"]);
        Ok(object)
    })
    .await?;
    let text = refused["status"].to_string();
    assert!(text.contains("kube-system") && text.contains("no grant"), "{text}");
    let elsewhere: Api<ConfigMap> = Api::namespaced(spoke.clone(), "kube-system");
    assert!(
        elsewhere.get_opt("mine").await?.is_none(),
        "it reached another namespace"
    );

    fleet
        .repository
        .write("It stays at home", "mine/templates/object.yaml", &object(TENANT))
        .await?;
    eventually(START, "the tenant's chart is released", || async {
        let object = tenant().await?;
        ensure!(object["status"]["clusters"]["ready"] == 1, "{:#}", object["status"]);
        Ok(())
    })
    .await?;
    let own: Api<ConfigMap> = Api::namespaced(spoke, TENANT);
    assert!(own.get_opt("mine").await?.is_some());
    Ok(())
}

fn namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TENANT}})
}
