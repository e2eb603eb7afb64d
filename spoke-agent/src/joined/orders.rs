//! What people tell a joined agent through its secret, and what it tells them there.
//!
//! ```text
//! nave join  ─► token, name ─►┐                    ┌─► link-state, link-message ─► nave join waits for them
//! nave leave ─► leave ───────►┴─ Secret, watched ──┘
//! ```
//!
//! An agent that was joined by a file has no such secret. It looks for one all the same, because `nave leave` makes one to
//! reach it.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use nave_crds::annotations;
use nave_runtime::Tasks;
use serde_json::json;
use tokio::sync::watch;

use super::objects::MANAGER;

/// The secret's name where no flag gives another.
pub const HUB_SECRET: &str = "nave-agent-hub";

/// The agent's secret.
#[derive(Clone)]
pub struct HubSecret {
    /// The agent's cluster.
    pub client: Client,
    /// The agent's namespace.
    pub namespace: String,
    /// `nave-agent-hub`.
    pub name: String,
}

/// What stands in the secret. Has no `Debug`: one of its fields is a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// Key `token`; gone once the agent has joined.
    pub token: Option<String>,
    /// Key `name`: what to ask to be called, with a token that leaves the choice.
    pub name: Option<String>,
    /// Key `proxy`: the HTTP proxy for the link over TCP; read when the agent starts.
    pub proxy: Option<String>,
    /// How to leave the hub: `keep` or `purge`.
    pub leave: Option<String>,
    /// Whether the agent keeps its state there.
    pub has_state: bool,
    said: (String, String),
}

impl Orders {
    /// Reads the secret.
    pub fn of(secret: &Secret) -> Orders {
        let text = |key: &str| {
            let bytes = secret.data.as_ref()?.get(key)?;
            let text = std::str::from_utf8(&bytes.0).ok()?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let annotation = |key: &str| secret.annotations().get(key).cloned().unwrap_or_default();
        let leave = annotation(annotations::FLEET_LEAVE);
        Orders {
            token: text("token"),
            name: text("name"),
            proxy: text("proxy"),
            leave: (!leave.is_empty()).then_some(leave),
            has_state: secret.data.as_ref().is_some_and(|data| data.contains_key("state")),
            said: (
                annotation(annotations::FLEET_LINK_STATE),
                annotation(annotations::FLEET_LINK_MESSAGE),
            ),
        }
    }

    /// The secret was made anew while an agent that has joined goes on with what the former one held.
    pub fn asks_to_start_over(&self) -> bool {
        self.token.is_some() && !self.has_state && self.leave.is_none()
    }
}

impl HubSecret {
    /// What stands in it now.
    pub async fn read(&self) -> kube::Result<Orders> {
        let secret = self.api().get_opt(&self.name).await?;
        Ok(secret.as_ref().map(Orders::of).unwrap_or_default())
    }

    /// Follows it until shutdown.
    pub fn follow(&self, tasks: &Tasks) -> watch::Receiver<Orders> {
        let (sender, receiver) = watch::channel(Orders::default());
        let (api, name, shutdown) = (self.api(), self.name.clone(), tasks.shutdown_token().clone());
        tasks.spawn("hub-secret", async move {
            let mut states = std::pin::pin!(watcher::watch_object(api, &name).default_backoff());
            loop {
                let state = tokio::select! {
                    _ = shutdown.cancelled() => return,
                    state = states.next() => state,
                };
                match state {
                    Some(Ok(secret)) => {
                        let orders = secret.as_ref().map(Orders::of).unwrap_or_default();
                        sender.send_if_modified(|old| {
                            let changed = *old != orders;
                            *old = orders;
                            changed
                        });
                    }
                    Some(Err(error)) => tracing::debug!(secret = name, %error, "watching the agent's secret"),
                    None => return,
                }
            }
        });
        receiver
    }

    /// Writes how the link stands. A secret that is not there is not made.
    pub async fn say(&self, state: &str, message: &str) -> kube::Result<()> {
        let patch = json!({"metadata": {"annotations": {
            annotations::FLEET_LINK_STATE: state,
            annotations::FLEET_LINK_MESSAGE: message,
        }}});
        let written = self
            .api()
            .patch_metadata(&self.name, &PatchParams::apply(MANAGER), &Patch::Merge(&patch))
            .await;
        match written {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop),
        }
    }

    fn api(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// How the link stands, for people; only what changes is written.
#[derive(Clone)]
pub struct LinkReport(watch::Sender<(String, String)>);

impl LinkReport {
    /// Says nothing anywhere: the log has it.
    pub fn to_nobody() -> Self {
        LinkReport(watch::Sender::new(Default::default()))
    }

    /// Writes to the secret in the background.
    pub fn to(secret: HubSecret, orders: watch::Receiver<Orders>, tasks: &Tasks) -> Self {
        let (sender, mut news) = watch::channel(<(String, String)>::default());
        let shutdown = tasks.shutdown_token().clone();
        tasks.spawn("link-report", async move {
            loop {
                tokio::select! {
                    _ = shutdown.cancelled() => return,
                    changed = news.changed() => if changed.is_err() { return },
                }
                let (state, message) = news.borrow_and_update().clone();
                if orders.borrow().said == (state.clone(), message.clone()) {
                    continue;
                }
                if let Err(error) = secret.say(&state, &message).await {
                    tracing::warn!(%error, secret = secret.name, "writing how the link stands");
                }
            }
        });
        LinkReport(sender)
    }

    /// Notes how the link stands.
    pub fn say(&self, state: &str, message: &str) {
        self.0.send_replace((state.to_owned(), message.to_owned()));
    }
}

/// Waits until somebody asks to join with another token than `used`, or again with the same: `nave join` takes off what
/// was said of the last try.
pub async fn asked_again(mut orders: watch::Receiver<Orders>, used: Option<&str>) {
    let mut said = false;
    loop {
        {
            let now = orders.borrow_and_update();
            let another = now.token.is_some() && now.token.as_deref() != used;
            if another || (said && now.said.0.is_empty() && now.token.is_some()) {
                return;
            }
            said |= !now.said.0.is_empty();
        }
        if orders.changed().await.is_err() {
            std::future::pending::<()>().await; // shutting down
        }
    }
}

/// Waits until the cluster is to leave its hub; answers how.
pub async fn leaving(mut orders: watch::Receiver<Orders>) -> String {
    let how = orders.wait_for(|orders| orders.leave.is_some()).await;
    let how = how.ok().and_then(|orders| orders.leave.clone());
    match how {
        Some(how) => how,
        None => std::future::pending().await, // shutting down
    }
}

/// Waits until the secret was made anew.
pub async fn replaced(mut orders: watch::Receiver<Orders>) {
    // With the watch just begun, or the secret deleted, there is nothing in it yet.
    if orders.wait_for(Orders::asks_to_start_over).await.is_err() {
        std::future::pending::<()>().await; // shutting down
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    fn orders(data: &[(&str, &str)], leave: &str) -> Orders {
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        let mut secret = Secret {
            data: Some(
                data.iter()
                    .map(|(key, text)| ((*key).to_owned(), bytes(text)))
                    .collect(),
            ),
            ..Secret::default()
        };
        secret
            .annotations_mut()
            .insert(annotations::FLEET_LEAVE.to_owned(), leave.to_owned());
        Orders::of(&secret)
    }

    #[tokio::test]
    async fn another_try_is_noticed() {
        let standing = |token: &str, said: &str| Orders {
            token: Some(token.to_owned()),
            said: (said.to_owned(), String::new()),
            ..Orders::default()
        };
        let (sender, receiver) = watch::channel(standing("a", ""));
        let asked = tokio::spawn(async move { asked_again(receiver, Some("a")).await });
        tokio::task::yield_now().await;
        assert!(!asked.is_finished(), "what is about to be said is not there yet");
        sender.send_replace(standing("a", "Refused"));
        tokio::task::yield_now().await;
        assert!(!asked.is_finished());
        sender.send_replace(standing("a", ""));
        asked.await.unwrap();
        let (_sender, receiver) = watch::channel(standing("b", "Refused"));
        asked_again(receiver, Some("a")).await;
    }

    #[test]
    fn a_secret_is_read() {
        let found = orders(&[("token", "nave1.x\n"), ("name", "edge-17")], "");
        assert_eq!(
            (found.token.as_deref(), found.name.as_deref()),
            (Some("nave1.x"), Some("edge-17"))
        );
        assert!(found.leave.is_none() && !found.has_state && found.asks_to_start_over());
        assert!(!orders(&[("token", "nave1.x"), ("state", "{}")], "").asks_to_start_over());
        assert!(!orders(&[("token", "nave1.x")], "keep").asks_to_start_over());
        assert_eq!(orders(&[("name", " ")], "keep").leave.as_deref(), Some("keep"));
        assert!(Orders::of(&Secret::default()) == Orders::default());
    }
}
