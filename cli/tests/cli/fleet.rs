//! The fleet side: clusters, fleet objects, tokens, against a real API server without a hub.

use serde_json::{Value, json};

use super::support::{RUNTIME, api, clusters, condition, kustomizations, namespace, on, put, shared};

fn cluster(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster",
        "metadata": {"name": name, "namespace": namespace, "labels": {"env": "prod"}},
        "spec": {"mode": "Agent", "variables": {"overlay": "eu"}},
        "status": {
            "kubernetesVersion": "v1.36.3", "agentVersion": "v0.1.0", "transport": "quic",
            "counts": {"ready": 2, "progressing": 0, "failed": 1, "suspended": 0, "held": 0, "orphaned": 0},
            "conditions": [condition("Connected", "True", "X", "session open"), condition("Ready", "False", "X", "1 object failed")]
        }
    })
}

fn fleet(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "FleetKustomization",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "placement": {"selector": {"matchLabels": {"env": "prod"}}},
            "source": {"ref": {"kind": "GitRepository", "name": "platform"}, "include": ["apps/**"]},
            "template": {"spec": {"interval": "10m", "prune": true, "path": "./apps"}}
        },
        "status": {
            "observedGeneration": 1, "targetRevision": format!("main@sha1:{}", "b".repeat(40)),
            "clusters": {"selected": 2, "updated": 2, "ready": 1, "failed": 1, "unknown": 0, "held": 0, "denied": 0},
            "unhealthy": [{"cluster": "eu-1", "object": "Kustomization/apps/apps", "reason": "BuildFailed", "message": "kustomization.yaml:3: no such file"}],
            "conditions": [condition("Ready", "False", "X", "1 of 2 clusters failed")]
        }
    })
}

#[test]
fn clusters_and_fleet_objects_are_shown_from_every_workspace() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "fleet-get").await;
        put(&client, "clusters", cluster("fleet-get", "eu-1")).await;
        put(&client, "fleetkustomizations", fleet("fleet-get", "apps")).await;
        let table = on(plane, "get clusters -n fleet-get").await.ok();
        assert_eq!(
            table,
            "NAME   MODE    KUBERNETES   OBJECTS   SUSPENDED   CONNECTED   READY   MESSAGE\n\
             eu-1   Agent   v1.36.3      2/3       False       True        False   1 object failed\n"
        );
        assert_eq!(
            on(plane, "get fleet -n fleet-get").await.ok(),
            "NAME   REVISION             CLUSTERS   UPDATED   HEALTHY   FAILED   SUSPENDED   READY   MESSAGE\n\
             apps   main@sha1:bbbbbbbb   2          2         1         1        False       False   1 of 2 clusters failed\n"
        );
        let everywhere = on(plane, "get clusters").await.ok();
        assert!(everywhere.starts_with("NAMESPACE ") && everywhere.contains("fleet-get "), "{everywhere}");
        let described = on(plane, "describe cluster eu-1 -n fleet-get").await.ok();
        for part in ["Variables:        overlay=eu\n", "fleet-get/apps", "kustomization.yaml:3: no such file", "Conditions:\n"] {
            assert!(described.contains(part), "{part}: {described}");
        }
        let described = on(plane, "describe fleet apps -n fleet-get").await.ok();
        for part in ["Placement:        env=prod\n", "GitRepository platform (apps/**)", "eu-1      Kustomization/apps/apps"] {
            assert!(described.contains(part), "{part}: {described}");
        }
        on(plane, "suspend cluster eu-1 -n fleet-get").await.ok();
        let found = clusters(&client, "fleet-get").get("eu-1").await.expect("a cluster");
        assert_eq!(found.data["spec"]["suspend"], true);
        on(plane, "resume cluster eu-1 -n fleet-get").await.ok();
    });
}

#[test]
fn a_name_that_two_workspaces_have_needs_a_choice() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        for workspace in ["twice-a", "twice-b"] {
            namespace(&client, workspace).await;
            put(&client, "fleetkustomizations", fleet(workspace, "twice")).await;
        }
        let error = on(plane, "describe fleet twice").await.fails(1);
        assert!(
            error.contains("in several namespaces: twice-a, twice-b\nhint: "),
            "{error}"
        );
        on(plane, "describe fleet twice -n twice-b").await.ok();
    });
}

#[test]
fn a_token_is_printed_once_and_kept_as_a_hash() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "tokens").await;
        namespace(&client, "tokens-hub").await;
        let create = "hub token create eu-1 -n tokens --hub-namespace tokens-hub --label env=prod --variable o=eu \
                      --access team-a=sa/team-a --ttl 30m";
        let error = on(plane, create).await.fails(1);
        assert!(error.contains("no hub has published its address in tokens-hub namespace"), "{error}");
        let pin = format!("sha256:{}", "7".repeat(64));
        let info = |addresses: &str| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nave-hub-info", "namespace": "tokens-hub"},
                "data": {"addresses": addresses, "rootPin": pin, "hubUID": "u"}
            })
        };
        put(&client, "configmaps", info("")).await;
        let error = on(plane, create).await.fails(1);
        assert!(error.contains("--address HOST:PORT"), "{error}");
        put(&client, "configmaps", info("hub.example.com:9443")).await;

        let outcome = on(plane, create).await;
        let (stderr, stdout) = (outcome.stderr.clone(), outcome.ok());
        let token: nave_identity::JoinToken = stdout.trim_end().parse().expect("one line, a token");
        assert_eq!(stdout.lines().count(), 1);
        assert_eq!(token.addresses, ["hub.example.com:9443"]);
        assert_eq!((token.id.as_str(), token.root_pin.to_string()), ("tokens/eu-1", pin));
        assert!(!stderr.contains(stdout.trim()), "{stderr}");

        let tokens = api(&client, "fleet.nave.dev/v1alpha1", "JoinToken", "jointokens", "tokens");
        let object = tokens.get("eu-1").await.expect("a JoinToken");
        let hash = nave_identity::TokenHash::of_secret(token.secret()).to_string();
        assert_eq!(object.data["spec"]["hash"], json!(hash));
        assert_eq!(
            object.data["spec"]["cluster"],
            json!({"name": "eu-1", "labels": {"env": "prod"}, "variables": {"o": "eu"},
                "access": [{"workspace": "team-a", "serviceAccountName": "sa", "namespaces": ["team-a"]}]})
        );
        assert!(!serde_json::to_string(&object).expect("JSON").contains(stdout.trim()));

        let error = on(plane, create).await.fails(1);
        assert!(error.contains("exists already") && error.contains("hint: "), "{error}");
        let listed = on(plane, "hub token list -n tokens").await.ok();
        assert!(listed.starts_with("NAME   CLUSTER   USES   STATE   EXPIRES   USED BY\n"), "{listed}");
        assert!(listed.contains("eu-1   eu-1      0/1    Open    in "), "{listed}");
        assert!(!listed.contains(&hash), "{listed}");
        on(plane, "hub token revoke eu-1 -n tokens").await.ok();
        assert!(on(plane, "hub token list -n tokens").await.ok().contains("Revoked"));
        let error = on(plane, "hub token revoke nobody -n tokens").await.fails(1);
        assert!(error.contains("JoinToken \"nobody\" not found"), "{error}");
        // Bound to the cluster that a kubeconfig reaches.
        let line = format!(
            "hub token create bound -n tokens --hub-namespace tokens-hub --for-kubeconfig {}",
            plane.kubeconfig_path().display()
        );
        on(plane, &line).await.ok();
        let bound = tokens.get("bound").await.expect("a JoinToken");
        assert!(bound.data["spec"]["clusterUID"].as_str().is_some_and(|uid| uid.len() == 36), "{:?}", bound.data);
    });
}

#[test]
fn forget_takes_away_what_the_hub_has_and_prunes_nothing() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "forget").await;
        let mut us = cluster("forget", "us-1");
        us["spec"] = json!({"mode": "KubeConfig", "kubeConfig": {"secretRef": {"name": "us-1-kubeconfig"}}});
        put(&client, "clusters", us).await;
        let placed = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {
                "name": "apps-us-1", "namespace": "forget", "finalizers": ["finalizers.fluxcd.io"],
                "labels": {"fleet.nave.dev/cluster": "us-1", "fleet.nave.dev/cluster-namespace": "forget"}
            },
            "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "x"}}
        });
        put(&client, "kustomizations", placed).await;
        let error = on(plane, "forget us-1 -n forget").await.fails(1);
        assert!(error.contains("hint: say yes beforehand with --yes"), "{error}");
        // Nobody takes the finalizer off here, and it is still done.
        let outcome = on(plane, "forget us-1 -n forget --yes").await;
        assert!(
            outcome.stderr.contains("Secret forget/us-1-kubeconfig"),
            "{}",
            outcome.stderr
        );
        outcome.ok();
        assert!(
            clusters(&client, "forget")
                .get_opt("us-1")
                .await
                .expect("an answer")
                .is_none()
        );
        assert!(
            kustomizations(&client, "forget")
                .get_opt("apps-us-1")
                .await
                .expect("an answer")
                .is_none()
        );
    });
}
