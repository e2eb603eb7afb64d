//! The agent killed, the hub killed: nothing is re-created, drift is corrected meanwhile, and everything converges after.

use anyhow::{Context, Result};
use nave_promises::observe;

use crate::support::{CHANGE, drift_is_corrected, explain, with_fleet};

const CHECKOUT: &str = "platform/apps/base/checkout/deployment.yaml";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_recreated() -> Result<()> {
    with_fleet(|mut fleet| async move {
        let spoke = fleet.planes["eu-1"].client();
        let before = observe::workload_uids(&spoke).await?;

        // The agent dies and comes back, and is the same agent.
        let agent = fleet.agents.get_mut("eu-1").context("eu-1 has an agent")?;
        agent.kill9();
        agent.restart().await?;
        fleet.wait_ready(None, CHANGE).await?;
        assert_eq!(
            observe::workload_uids(&spoke).await?,
            before,
            "after the agent's restart"
        );

        // The hub dies. A commit made meanwhile waits; drift does not.
        fleet.hub.kill9();
        let commit = fleet
            .repository
            .replace("While the hub is away", CHECKOUT, "checkout:2.7.1", "checkout:2.7.2")
            .await?;
        drift_is_corrected(&spoke).await.inspect_err(|_| explain(&fleet))?;
        assert_eq!(observe::workload_uids(&spoke).await?, before, "while the hub is away");
        fleet.hub.restart().await?;
        fleet.wait_ready(Some(&commit), CHANGE).await?;
        for (name, plane) in &fleet.planes {
            let checkout = observe::deployment(&plane.client(), "shop", "checkout").await?;
            let image = checkout.as_ref().and_then(observe::image).map(str::to_owned);
            assert_eq!(
                image.as_deref(),
                Some("registry.example.com/shop/checkout:2.7.2"),
                "{name}"
            );
        }
        assert_eq!(observe::workload_uids(&spoke).await?, before, "after the hub's restart");
        Ok(())
    })
    .await
}
