//! Installing, checking, joining and uninstalling on a plane whose pods become ready without running anything.

use std::time::Duration;

use k8s_openapi::{
    ByteString,
    api::{apps::v1::Deployment, core::v1::Secret},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nave_bed::{Plane, PlaneOptions, eventually};
use serde_json::json;

use super::support::{RUNTIME, kustomizations, on, put};

#[test]
fn a_cluster_is_installed_joined_and_uninstalled() {
    RUNTIME.block_on(async {
        let plane = Plane::start(PlaneOptions::named("install")).await.expect("a control plane");
        if plane.skip("a_cluster_is_installed_joined_and_uninstalled", plane.has_workloads(), "no pods run on it") {
            return;
        }
        let client = plane.client();
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), "flux-system");
        let arguments = async || {
            let deployment = deployments.get("nave-agent").await.expect("it is installed");
            let pod = deployment.spec.template.spec.expect("a pod");
            pod.containers[0].args.clone().unwrap_or_default()
        };

        // Before: the cluster is fit, and nothing is there.
        on(&plane, "check --pre").await.ok();
        let error = on(&plane, "check").await.fails(1);
        assert!(error.contains("✗ no controllers found") && error.contains("is not installed"), "{error}");
        let error = on(&plane, "get clusters").await.fails(1);
        assert!(error.contains("does not know the kind Cluster"), "{error}");

        // Alone.
        let outcome = on(&plane, "install --agent").await;
        assert!(outcome.stderr.contains("✔ install finished"), "{}", outcome.stderr);
        outcome.ok();
        assert!(!arguments().await.iter().any(|argument| argument.starts_with("--hub-secret")));
        let checked = on(&plane, "check").await;
        assert!(checked.stderr.contains("✔ nave-agent: deployment ready"), "{}", checked.stderr);
        assert!(checked.stderr.contains("kustomizations.kustomize.toolkit.fluxcd.io/v1"), "{}", checked.stderr);
        checked.ok();
        let versions = on(&plane, "version").await.ok();
        assert!(versions.contains("distribution: flux-v0.1.0\n") && versions.contains("nave-agent: v0.1.0\n"), "{versions}");
        // Again: nothing changes.
        let outcome = on(&plane, "install --agent").await;
        assert!(outcome.stderr.contains(" 0 changed"), "{}", outcome.stderr);

        // Joined: a secret, an argument, and the agent's word, which this test gives.
        let issued = nave_identity::JoinToken::issue(
            vec!["127.0.0.1:9443".into()],
            nave_identity::KeyFingerprint::of_spki(b"root"),
            "platform/eu-1".into(),
        )
        .expect("a token");
        let token = issued.token.to_text();
        let secrets: Api<Secret> = Api::namespaced(client.clone(), "flux-system");
        let key = nave_identity::Key::generate().expect("a key");
        let agent = async {
            eventually(Duration::from_secs(120), "the token", || async {
                let secret = secrets.get("nave-agent-hub").await?;
                let data = secret.data.unwrap_or_default();
                anyhow::ensure!(data.get("token").is_some_and(|ByteString(bytes)| bytes == token.as_bytes()), "no token yet");
                Ok(())
            })
            .await
            .expect("a secret");
            let state = json!({"identity": {
                "key": key.to_pem().as_str(), "chain": ["x"], "clusterNamespace": "platform", "clusterName": "eu-1"
            }});
            let patch = json!({"stringData": {"state": state.to_string()}});
            secrets.patch("nave-agent-hub", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("a state");
        };
        let line = format!("join --token {}", token.as_str());
        let (outcome, ()) = tokio::join!(on(&plane, &line), agent);
        assert!(outcome.stderr.contains("✔ joined as platform/eu-1"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(&key.fingerprint().to_string()), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains(token.as_str()), "{}", outcome.stderr);
        outcome.ok();
        let error = on(&plane, &line).await.fails(1);
        assert!(error.contains("joined already, as platform/eu-1\nhint: "), "{error}");
        // An upgrade keeps it joined, leaving undoes it.
        on(&plane, "install --agent --log-level debug").await.ok();
        assert!(arguments().await.contains(&"--hub-secret=nave-agent-hub".to_owned()));
        on(&plane, "leave --keep --yes").await.ok();
        let left = arguments().await;
        assert!(!left.iter().any(|argument| argument.starts_with("--hub-secret")), "{left:?}");
        assert!(left.contains(&"--log-level=debug".to_owned()), "{left:?}");
        assert!(secrets.get_opt("nave-agent-hub").await.expect("an answer").is_none());

        // A hub beside it.
        on(&plane, "install --hub --advertise hub.example.com:9443").await.ok();
        on(&plane, "check").await.ok();
        let error = on(&plane, "get clusters").await.fails(1);
        assert!(error.contains("no Cluster objects found in any namespace"), "{error}");

        // Flux beside the agent is noticed.
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "source-controller-leader-election", "namespace": "flux-system"},
            "spec": {"holderIdentity": "source-controller-1_x", "leaseDurationSeconds": 86400, "renewTime": "2099-01-01T00:00:00.000000Z"}
        });
        put(&client, "leases", lease).await;
        let error = on(&plane, "check").await.fails(1);
        assert!(error.contains("held by source-controller-1_x"), "{error}");

        // Gone, and what it managed is not pruned.
        let kustomization = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "default", "finalizers": ["finalizers.fluxcd.io"]},
            "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "x"}}
        });
        put(&client, "kustomizations", kustomization).await;
        on(&plane, "uninstall --hub").await.fails(1);
        let outcome = on(&plane, "uninstall --hub --silent").await;
        assert!(outcome.stderr.contains("definitions that flux-system/nave-agent needs are kept"), "{}", outcome.stderr);
        outcome.ok();
        assert!(kustomizations(&client, "default").get("apps").await.is_ok());
        let outcome = on(&plane, "uninstall --agent --dry-run").await;
        assert!(outcome.stderr.contains("Deployment/flux-system/nave-agent deleted (dry run)"), "{}", outcome.stderr);
        on(&plane, "uninstall --agent --silent").await.ok();
        eventually(Duration::from_secs(60), "the end of the definitions", || async {
            match kustomizations(&client, "default").get("apps").await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                other => anyhow::bail!("{other:?}"),
            }
        })
        .await
        .expect("gone");
    });
}
