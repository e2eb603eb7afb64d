//! A kubeconfig that is missing, malformed, unreachable, forbidden or wants to run a program: a condition says which,
//! a good cluster beside them is not affected, and retries are bounded.

use std::time::Duration;

use anyhow::Result;
use nave_bed::eventually;
use nave_demo::{
    Fleet,
    fleet::{self, SPOKES, WORKSPACE},
};
use serde_json::{Value, json};

use crate::support::{CHANGE, condition, explain, with_hub};

#[tokio::test(flavor = "multi_thread")]
async fn bad_kubeconfigs_are_named() -> Result<()> {
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
    let good = fleet.planes["us-1"].kubeconfig();
    let forbidden = fleet.planes["us-1"]
        .service_account_kubeconfig("default", "default")
        .await?;
    let server = fleet.planes["us-1"].url().to_owned();
    // Where nothing listens: the port was free a moment ago.
    let unreachable = good.replace(&server, &format!("https://127.0.0.1:{}", nave_bed::free_tcp_port()?));
    let exec = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/touch", "args": ["/tmp/nave-exec-canary"],
            "interactiveMode": "Never",
        }}}],
    })
    .to_string();
    let cases: [(&str, Option<&str>, &str); 5] = [
        ("missing", None, "missing-kubeconfig"),
        ("malformed", Some("clusters: [this is: not"), "kubeconfig"),
        ("unreachable", Some(&unreachable), "connect"),
        ("forbidden", Some(&forbidden), "forbidden"),
        ("exec", Some(&exec), "exec"),
    ];
    let client = fleet.hub_plane.client();
    for (name, kubeconfig, _) in &cases {
        if let Some(kubeconfig) = kubeconfig {
            fleet::apply(
                &client,
                &json!({
                    "apiVersion": "v1", "kind": "Secret",
                    "metadata": {"name": format!("{name}-kubeconfig"), "namespace": WORKSPACE},
                    "stringData": {"value": kubeconfig},
                }),
            )
            .await?;
        }
        fleet::apply(
            &client,
            &json!({
                "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster",
                "metadata": {"name": name, "namespace": WORKSPACE, "labels": {"env": "production", "region": "us"}},
                "spec": {
                    "mode": "KubeConfig", "accepted": true, "variables": {"overlay": "us-production"},
                    "kubeConfig": {"secretRef": {"name": format!("{name}-kubeconfig")}},
                },
            }),
        )
        .await?;
    }
    fleet.add(SPOKES[2]).await?;
    fleet.apply_fleet_objects().await?;

    for (name, _, named) in &cases {
        let object = eventually(CHANGE, &format!("{name} says what is wrong"), || async {
            let object = cluster(&client, name).await?;
            let ready = condition(&object, "Ready");
            anyhow::ensure!(ready["status"] == "False", "{:#}", object["status"]);
            Ok(object)
        })
        .await?;
        let message = condition(&object, "Ready")["message"]
            .as_str()
            .unwrap_or_default()
            .to_lowercase();
        assert!(message.contains(named), "{name}: {message}");
    }
    assert!(
        !std::path::Path::new("/tmp/nave-exec-canary").exists(),
        "a kubeconfig's program was run"
    );

    // The good one is served as if the others were not there.
    eventually(
        Duration::from_secs(180),
        "us-1 healthy beside five broken clusters",
        || async {
            for name in ["infrastructure", "apps"] {
                let object = fleet.fleet_kustomization(name).await?;
                anyhow::ensure!(
                    object["status"]["clusters"]["ready"] == 1,
                    "{name}: {:#}",
                    object["status"]
                );
            }
            Ok(())
        },
    )
    .await?;

    // Bounded retries: what the forbidden account asked of us-1 while it was refused.
    let requests = fleet.planes["us-1"]
        .audit()?
        .since(nave_bed::Mark::default())?
        .of_user("system:serviceaccount:default:default")
        .len();
    assert!(
        (1..=200).contains(&requests),
        "{requests} requests by an account that is refused every one"
    );
    Ok(())
}

async fn cluster(client: &kube::Client, name: &str) -> Result<Value> {
    fleet::get(client, "fleet.nave.dev/v1alpha1", "Cluster", WORKSPACE, name).await
}
