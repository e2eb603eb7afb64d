//! `leave --keep` leaves every workload and plain Flux objects; `leave --purge` shows first what it will delete.

use anyhow::{Context, Result};
use nave_bed::eventually;
use nave_demo::{
    Fleet, Nave,
    fleet::{self, WORKSPACE},
};
use nave_promises::observe;
use serde_json::json;

use crate::support::{CHANGE, with_fleet};

const KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io/v1";

#[tokio::test(flavor = "multi_thread")]
async fn leaving_keeps_or_purges() -> Result<()> {
    with_fleet(|mut fleet| async move {
        // keep
        let client = fleet.planes["staging"].client();
        let nave = Nave::new(fleet.planes["staging"].kubeconfig_path())?;
        let before = observe::workload_uids(&client).await?;
        // `apps` stays as it is, without its credentials; `infrastructure` can be fetched from here.
        needs_credentials(&fleet, "apps").await?;
        let said = nave.output(&["leave", "--keep", "--yes"]).await?;
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.success(), "{text}");
        assert!(
            text.contains("has closed the link"),
            "the agent did not hear of it: {text}"
        );
        assert_eq!(observe::workload_uids(&client).await?, before, "a workload was touched");
        for name in ["infrastructure", "apps"] {
            let object = fleet::get(&client, KUSTOMIZE, "Kustomization", "flux-system", name).await?;
            let labels = object["metadata"]["labels"].to_string();
            assert!(
                !labels.contains("fleet.nave.dev/"),
                "{name} is still owned by the fleet: {labels}"
            );
        }
        let kustomization = |name| fleet::get(&client, KUSTOMIZE, "Kustomization", "flux-system", name);
        let infrastructure = kustomization("infrastructure").await?;
        assert_eq!(infrastructure["spec"]["sourceRef"]["kind"], "GitRepository");
        assert_ne!(infrastructure["spec"]["suspend"], true);
        let apps = kustomization("apps").await?;
        let because = apps["metadata"]["annotations"]["nave.dev/suspended-because"].as_str();
        assert_eq!(apps["spec"]["suspend"], true);
        assert!(
            because.is_some_and(|text| text.contains("Secret flux-system/git") && text.contains("on the hub only")),
            "{because:?}"
        );
        follows_git_itself(&fleet, &client).await?;

        // It has left, also after a restart with the file that once joined it.
        let agent = fleet.agents.get_mut("staging").context("staging has an agent")?;
        let before_restart = agent.log().len();
        agent.kill9();
        agent.restart().await?;
        let log = agent.log();
        assert!(
            log[before_restart..].contains("has left its hub"),
            "{}",
            &log[before_restart..]
        );
        assert!(
            !log[before_restart..].contains("connected to the hub"),
            "{}",
            &log[before_restart..]
        );
        assert_eq!(observe::workload_uids(&client).await?, before);
        agent.stop().await?;

        // purge: shown first, nothing happens without a yes.
        let client = fleet.planes["eu-1"].client();
        let nave = Nave::new(fleet.planes["eu-1"].kubeconfig_path())?;
        let before = observe::workload_uids(&client).await?;
        let preview = nave.output(&["leave", "--purge"]).await?;
        let text = String::from_utf8_lossy(&preview.stdout).into_owned() + &String::from_utf8_lossy(&preview.stderr);
        assert!(!preview.status.success(), "it must ask, and nobody answered: {text}");
        let named = |line: &str| {
            ["Deployment", "shop", "checkout"]
                .iter()
                .all(|word| line.contains(word))
        };
        assert!(
            text.lines().any(named),
            "the preview does not name what would go: {text}"
        );
        assert_eq!(
            observe::workload_uids(&client).await?,
            before,
            "a preview deleted something"
        );
        nave.run(&["leave", "--purge", "--yes"]).await?;
        eventually(CHANGE, "everything of the fleet purged", || async {
            anyhow::ensure!(
                observe::deployment(&client, "shop", "checkout").await?.is_none(),
                "checkout is still there"
            );
            Ok(())
        })
        .await?;

        // The hub forgets a cluster that will never answer again.
        fleet.nave.run(&["-n", WORKSPACE, "forget", "eu-1", "--yes"]).await?;
        eventually(CHANGE, "eu-1 forgotten", || async {
            let clusters: kube::Api<nave_crds::Cluster> = kube::Api::namespaced(fleet.hub_plane.client(), WORKSPACE);
            anyhow::ensure!(clusters.get_opt("eu-1").await?.is_none(), "the Cluster is still there");
            Ok(())
        })
        .await?;
        deleting_a_kubeconfig_cluster_keeps_what_runs(&fleet).await
    })
    .await
}

/// A Cluster that somebody deletes with kubectl is forgotten as `nave forget` forgets: on the hub alone.
async fn deleting_a_kubeconfig_cluster_keeps_what_runs(fleet: &Fleet) -> Result<()> {
    let (hub, spoke) = (fleet.hub_plane.client(), fleet.planes["us-1"].client());
    let before = observe::workload_uids(&spoke).await?;
    assert!(observe::deployment(&spoke, "shop", "checkout").await?.is_some());
    let kustomizations: kube::Api<nave_crds::Kustomization> = kube::Api::namespaced(hub.clone(), WORKSPACE);
    let of_us = kube::api::ListParams::default().labels("fleet.nave.dev/cluster=us-1");
    assert_eq!(kustomizations.list(&of_us).await?.items.len(), 2);
    let clusters: kube::Api<nave_crds::Cluster> = kube::Api::namespaced(hub, WORKSPACE);
    clusters.delete("us-1", &Default::default()).await?;
    eventually(CHANGE, "its Kustomizations gone from the hub", || async {
        let left = kustomizations.list(&of_us).await?.items.len();
        anyhow::ensure!(left == 0, "{left} are left");
        Ok(())
    })
    .await?;
    assert_eq!(
        observe::workload_uids(&spoke).await?,
        before,
        "deleting a Cluster touched what runs there"
    );
    Ok(())
}

/// Gives a fleet object a source of its own with credentials that are on the hub only, and waits until staging has its
/// files from there.
async fn needs_credentials(fleet: &Fleet, name: &str) -> Result<()> {
    let hub = fleet.hub_plane.client();
    fleet::apply(
        &hub,
        &json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git", "namespace": WORKSPACE},
            "stringData": {"username": "fleet", "password": "only-on-the-hub"},
        }),
    )
    .await?;
    fleet::apply(
        &hub,
        &json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "private", "namespace": WORKSPACE},
            "spec": {"url": fleet.repository.url, "interval": "1m", "ref": {"branch": "main"}, "secretRef": {"name": "git"}},
        }),
    )
    .await?;
    let fleets: kube::Api<nave_crds::FleetKustomization> = kube::Api::namespaced(hub, WORKSPACE);
    let patch = kube::api::Patch::Merge(json!({"spec": {"source": {"ref": {"name": "private"}}}}));
    fleets.patch(name, &kube::api::PatchParams::default(), &patch).await?;
    let spoke = fleet.planes["staging"].client();
    eventually(CHANGE, "staging told where its files are from", || async {
        let artifact = fleet::get(
            &spoke,
            "source.toolkit.fluxcd.io/v1",
            "ExternalArtifact",
            "flux-system",
            name,
        )
        .await?;
        let source = artifact["metadata"]["annotations"]["fleet.nave.dev/source"].to_string();
        anyhow::ensure!(
            source.contains("secretRef") && !source.contains("only-on-the-hub"),
            "{source}"
        );
        Ok(())
    })
    .await?;
    fleet.wait_ready(None, CHANGE).await
}

/// What is committed now reaches the cluster without the hub.
async fn follows_git_itself(fleet: &Fleet, spoke: &kube::Client) -> Result<()> {
    let file = "platform/infrastructure/base/kustomization.yaml";
    let text = fleet.repository.read(file)?;
    let commit = fleet
        .repository
        .write("After leaving", file, &(text + "\n# after leaving\n"))
        .await?;
    let repositories: kube::Api<nave_crds::GitRepository> = kube::Api::namespaced(spoke.clone(), "flux-system");
    let patch =
        kube::api::Patch::Merge(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": commit}}}));
    repositories
        .patch("infrastructure", &kube::api::PatchParams::default(), &patch)
        .await?;
    eventually(CHANGE, "a commit applied by the cluster itself", || async {
        let object = fleet::get(spoke, KUSTOMIZE, "Kustomization", "flux-system", "infrastructure").await?;
        let applied = object["status"]["lastAppliedRevision"].as_str().unwrap_or_default();
        anyhow::ensure!(applied.ends_with(&commit), "{:#}", object["status"]);
        Ok(())
    })
    .await
}
