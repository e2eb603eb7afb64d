//! What the lines of clusters can bear: told to each agent as its session begins.

use std::sync::Arc;

use futures::StreamExt;
use nave_crds::{Cluster, fleet};
use nave_identity::ClusterRef;
use nave_proto::{Close, CloseCode, FEATURE_METERED, wire::LinkProfile};
use tokio_util::sync::CancellationToken;

use super::Sessions;
use crate::{identities::reference, locked};

/// What `spec.link.profile` asks for.
pub fn wanted(cluster: &Cluster) -> LinkProfile {
    let profile = cluster.spec.link.as_ref().and_then(|link| link.profile);
    match profile.unwrap_or_default() {
        fleet::LinkProfile::Standard => LinkProfile::Standard,
        fleet::LinkProfile::Metered => LinkProfile::Metered,
    }
}

/// What a session gets: what is wanted, if the agent can do it.
pub fn given(wanted: LinkProfile, features: u64) -> LinkProfile {
    match wanted {
        LinkProfile::Metered if features & FEATURE_METERED != 0 => LinkProfile::Metered,
        _ => LinkProfile::Standard,
    }
}

impl Sessions {
    /// The profile that an operator set for a cluster.
    pub(super) fn profile_of(&self, cluster: &ClusterRef) -> LinkProfile {
        let object = self.shared.clusters.get(&cluster.namespace, &cluster.name);
        object.map_or(LinkProfile::Standard, |object| wanted(&object))
    }

    /// Ends sessions whose profile an operator has changed, until shutdown: the agent comes back and is told anew.
    pub async fn follow_profiles(self: Arc<Self>, shutdown: CancellationToken) {
        let mut changes = std::pin::pin!(self.shared.clusters.changes());
        loop {
            tokio::select! {
                _ = shutdown.cancelled() => return,
                changed = changes.next() => match changed {
                    Some(cluster) => self.check_profile(&reference(&cluster), wanted(&cluster)),
                    None => return,
                },
            }
        }
    }

    fn check_profile(&self, cluster: &ClusterRef, wanted: LinkProfile) {
        let table = locked::mutex(&self.table);
        let Some(live) = table.get(cluster).and_then(|place| place.live.as_ref()) else {
            return;
        };
        // One that was not welcomed yet reads the profile when it is.
        if live.handle.mode().is_none() || live.handle.profile() == given(wanted, live.handle.features()) {
            return;
        }
        tracing::info!(%cluster, profile = ?wanted, "the profile of the line was changed; the agent is told in a new session");
        live.handle.close(Close::new(
            CloseCode::Reconnect,
            "spec.link.profile was changed; come back",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_that_cannot_save_get_the_standard_profile() {
        use LinkProfile::{Metered, Standard};
        for (wanted, features, expected) in [
            (Standard, FEATURE_METERED, Standard),
            (Metered, FEATURE_METERED, Metered),
            (Metered, FEATURE_METERED - 1, Standard),
        ] {
            assert_eq!(given(wanted, features), expected);
        }
    }
}
