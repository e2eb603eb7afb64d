//! `leave --keep` leaves every workload and plain Flux objects; `leave --purge` shows first what it will delete.

use anyhow::Result;
use nave_bed::eventually;
use nave_demo::{
    Nave,
    fleet::{self, WORKSPACE},
};
use nave_promises::observe;

use crate::support::{CHANGE, with_fleet};

#[tokio::test(flavor = "multi_thread")]
async fn leaving_keeps_or_purges() -> Result<()> {
    with_fleet(|mut fleet| async move {
        // keep
        let client = fleet.planes["staging"].client();
        let nave = Nave::new(fleet.planes["staging"].kubeconfig_path())?;
        let before = observe::workload_uids(&client).await?;
        nave.run(&["leave", "--keep", "--yes"]).await?;
        assert_eq!(observe::workload_uids(&client).await?, before, "a workload was touched");
        for name in ["infrastructure", "apps"] {
            let object = fleet::get(
                &client,
                "kustomize.toolkit.fluxcd.io/v1",
                "Kustomization",
                "flux-system",
                name,
            )
            .await?;
            let labels = object["metadata"]["labels"].to_string();
            assert!(
                !labels.contains("fleet.nave.dev/"),
                "{name} is still owned by the fleet: {labels}"
            );
        }
        if let Some(agent) = fleet.agents.get_mut("staging") {
            agent.stop().await?;
        }
        assert_eq!(observe::workload_uids(&client).await?, before);

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
        .await
    })
    .await
}
