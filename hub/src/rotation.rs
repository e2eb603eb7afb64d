//! New authorities in place of the old ones: when they are old, or when somebody asks for it on HubState.
//!
//! Nobody has to join again. Agents that are connected are told of the next root set at once, others when they come
//! back; until then the bridge in every handshake leads them to the new authority.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use futures::{StreamExt, pin_mut};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use nave_crds::{HubState, annotations};
use nave_identity::ServerCertificates;
use tokio_util::sync::CancellationToken;

use crate::{
    authority::{self, HubAuthority},
    hub_state,
    identities::Identities,
    info::HubInfo,
    sessions::Sessions,
};

/// A clock may be set meanwhile, and a sleep does not notice.
const LOOK_AT_AGE: Duration = Duration::from_secs(3600);
/// After a rotation that failed.
const RETRY: Duration = Duration::from_secs(10);
/// A wish is a time or a few words; more of it is not kept.
const WISH: usize = 128;

/// What follows the wish and the age.
pub struct Rotation {
    pub client: Client,
    pub namespace: String,
    /// The age at which an authority is replaced.
    pub after: Duration,
    pub authority: Arc<HubAuthority>,
    pub certificates: ServerCertificates,
    pub identities: Arc<Identities>,
    pub sessions: Arc<Sessions>,
    pub addresses: Vec<String>,
    pub hub_uid: String,
}

impl Rotation {
    /// Tells the world where the hub is and which root it shows.
    pub async fn publish(&self) -> Result<()> {
        let info = HubInfo {
            addresses: self.addresses.clone(),
            root_pin: self.authority.pin(),
            hub_uid: self.hub_uid.clone(),
            root_version: self.authority.root_version(),
            rotated_for: self.authority.wish(),
            recovery_key: self
                .authority
                .recovery_key()
                .map(|key| key.to_string())
                .unwrap_or_default(),
            recovery_refused: self.authority.recovery_refused(),
        };
        Ok(info.publish(&self.client, &self.namespace).await?)
    }

    /// Rotates when it is time or was asked for, until shutdown.
    pub async fn follow(self, shutdown: CancellationToken) {
        let api: Api<HubState> = Api::namespaced(self.client.clone(), &self.namespace);
        let only = watcher::Config::default().fields(&format!("metadata.name={}", hub_state::NAME));
        let states = watcher(api, only).default_backoff().applied_objects();
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let only = watcher::Config::default().fields(&format!("metadata.name={}", authority::SECRET));
        let secrets = watcher(api, only).default_backoff().applied_objects();
        pin_mut!(states, secrets);
        let (mut wish, mut in_use, mut asked) = (String::new(), self.authority.root_version(), false);
        loop {
            let wait = match self.look(&wish, &mut asked, &mut in_use).await {
                Ok(()) => LOOK_AT_AGE,
                Err(error) => {
                    tracing::error!(
                        error = &*error as &dyn std::error::Error,
                        "rotating the hub's authorities"
                    );
                    RETRY
                }
            };
            tokio::select! {
                _ = shutdown.cancelled() => return,
                _ = tokio::time::sleep(wait) => {}
                state = states.next() => match state {
                    Some(Ok(state)) => wish = wish_of(&state),
                    // The watcher begins again by itself, with a pause.
                    Some(Err(error)) => tracing::debug!(%error, "watching HubState"),
                    None => return,
                },
                secret = secrets.next() => match secret {
                    Some(Ok(secret)) => asked |= authority::asks_for_recovery(&secret),
                    Some(Err(error)) => tracing::debug!(%error, "watching the hub's authorities"),
                    None => return,
                },
            }
        }
    }

    /// Rotates if it is time, hears an operator with a recovery key, and has what is stored used and told. `in_use` is the
    /// version for which all that was done.
    async fn look(&self, wish: &str, asked: &mut bool, in_use: &mut u64) -> Result<()> {
        if *asked {
            self.authority.heed_recovery(&self.client, &self.namespace).await?;
            *asked = false;
            self.publish().await?;
        }
        let made = self.authority.made()?;
        let due = if !wish.is_empty() && wish != self.authority.wish() {
            Some(("somebody asked for it", wish.to_owned()))
        } else if is_old(made, self.after, Timestamp::now()) {
            // Of two hubs that find it old at once, the second finds this very wish fulfilled.
            Some(("of its age", format!("age of {made}")))
        } else {
            None
        };
        if let Some((because, wish)) = due
            && self.authority.rotate(&self.client, &self.namespace, &wish).await?
        {
            let (root, version) = (self.authority.pin(), self.authority.root_version());
            tracing::warn!(%root, version, because, "the hub's authorities were replaced");
        }
        let version = self.authority.root_version();
        if *in_use != version {
            // Certificates of the new client authority count before the first is issued.
            self.identities.trust(self.authority.client_authorities());
            self.authority
                .serve(&self.certificates)
                .context("serving a certificate of the new authority")?;
            self.sessions.push_roots();
            self.publish().await?;
            *in_use = version;
        }
        Ok(())
    }
}

fn is_old(made: Timestamp, after: Duration, now: Timestamp) -> bool {
    SignedDuration::try_from(after).is_ok_and(|after| now.duration_since(made) > after)
}

fn wish_of(state: &HubState) -> String {
    let wish = state.annotations().get(annotations::FLEET_ROTATE_ROOTS);
    wish.map(|wish| bounded(wish.trim())).unwrap_or_default()
}

fn bounded(wish: &str) -> String {
    let end = (0..=WISH.min(wish.len())).rev().find(|end| wish.is_char_boundary(*end));
    wish[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_counts_from_when_the_authority_was_made() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let day = Duration::from_secs(24 * 3600);
        assert!(!is_old(at(1_000_000), day, at(1_000_000 + 24 * 3600)));
        assert!(is_old(at(1_000_000), day, at(1_000_001 + 24 * 3600)));
        assert!(
            !is_old(at(1_000_000), day, at(0)),
            "a clock that was set back makes nothing old"
        );
    }

    #[test]
    fn a_wish_is_short() {
        let mut state = HubState::new("hub", Default::default());
        assert_eq!(wish_of(&state), "");
        let long = format!(" {} ", "é".repeat(100));
        state
            .annotations_mut()
            .insert(annotations::FLEET_ROTATE_ROOTS.to_owned(), long);
        assert_eq!(wish_of(&state), "é".repeat(64));
    }
}
