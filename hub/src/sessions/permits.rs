//! Permits that come later than the plans that they answer.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use nave_placement::ClusterKey;
use nave_proto::wire::PrunePermit;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Sessions;
use crate::view::cluster_ref;

/// How often what is held is looked at without any news, in memory.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

impl Sessions {
    /// Answers held plans when what holds them changes, until shutdown.
    pub async fn follow_brake(self: Arc<Self>, shutdown: CancellationToken) {
        let brake = self.shared.brake.clone();
        let mut changes = brake.changes();
        let mut gathered = std::pin::pin!(brake.judge_gathered());
        let mut tick = interval(LOOK_AGAIN);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = shutdown.cancelled() => return,
                Some(key) = changes.next() => brake.reconsider(&key),
                () = &mut gathered => {}
                permits = brake.outbox.take() => self.deliver(permits),
                _ = tick.tick() => brake.look_again(),
            }
        }
    }

    fn deliver(&self, permits: Vec<(ClusterKey, PrunePermit)>) {
        for (cluster, permit) in permits {
            if let Some(session) = self.reach(&cluster_ref(&cluster)) {
                // One that takes no command shows its plan again in its next session, as one that is away does.
                let _ = session.permit(permit);
            }
        }
    }
}
