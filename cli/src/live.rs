//! Reading of a cluster of the fleet through its hub: what `--cluster` means.
//!
//! ```text
//! verb ─► LiveCluster ─► API server of the hub ─► hub ═ link ═► agent ─► API server of the cluster
//!           │              as whom kubeconfig says              as nave-live:<user>
//!           └─► LiveAnswer: lines of JSON, or a log
//! ```

mod answer;
mod arguments;
mod show;

use anyhow::{Context, Result, anyhow};
use http::Request;
use kube::ResourceExt;
use serde_json::Value;

pub use answer::LiveAnswer;
pub use arguments::LiveArguments;
pub use show::{Wanted, describe, events, objects};

use crate::{
    api,
    connection::{Connection, is_dns_label},
    failure::advised,
    kinds::CLUSTER,
};

/// The API group that hubs serve live reads under.
const GROUP: &str = "live.fleet.nave.dev";
/// How often a hub is asked again that answers by a replica that is not its leader.
const TRIES: u32 = 20;
/// The pause between.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(250);

/// A cluster of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveCluster {
    workspace: String,
    name: String,
}

/// What is asked of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Objects of a kind.
    Objects,
    /// Events.
    Events,
    /// A pod's log.
    Log,
}

/// What the hub's live API serves of a cluster from its own memory under `name`; null where it serves none, or the caller may
/// not see events.
pub async fn told_by_hub(connection: &Connection, workspace: &str, cluster: &str, name: &str) -> Value {
    let path = format!("/apis/live.fleet.nave.dev/v1alpha1/namespaces/{workspace}/clusters/{cluster}/{name}");
    let answer = match Request::get(path).body(Vec::new()) {
        Ok(request) => connection.client.request::<Value>(request).await.ok(),
        Err(_) => None,
    };
    answer.unwrap_or_default()
}

impl LiveCluster {
    /// What the hub remembers of it under `name`, as [`told_by_hub`].
    pub async fn told(&self, connection: &Connection, name: &str) -> Value {
        told_by_hub(connection, &self.workspace, &self.name, name).await
    }

    /// `WORKSPACE/NAME`, or a name that is looked for in `$NAVE_WORKSPACE`, or in every workspace.
    ///
    /// # Errors
    /// No such cluster, or nobody may look for it.
    pub async fn find(connection: &Connection, typed: &str) -> Result<Self> {
        if let Some((workspace, name)) = typed.split_once('/') {
            if !is_dns_label(workspace) || name.is_empty() || name.contains('/') {
                return Err(anyhow!("--cluster {typed:?} is neither a name nor WORKSPACE/NAME"));
            }
            return Ok(LiveCluster {
                workspace: workspace.to_owned(),
                name: name.to_owned(),
            });
        }
        if let Some(workspace) = std::env::var("NAVE_WORKSPACE").ok().filter(|name| is_dns_label(name)) {
            return Ok(LiveCluster {
                workspace,
                name: typed.to_owned(),
            });
        }
        let found = api::find(&connection.client, &CLUSTER, None, typed).await;
        let object = found.map_err(|error| match api::api_code(&error) {
            Some(403) => advised(
                format!("looking for cluster {typed:?} in every workspace is not allowed"),
                "name its workspace: --cluster WORKSPACE/NAME, or set NAVE_WORKSPACE",
            ),
            _ => error,
        })?;
        Ok(LiveCluster {
            workspace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        })
    }

    /// Asks, and waits until an answer begins.
    ///
    /// # Errors
    /// The rights on the hub or on the cluster say no, the cluster is not connected, the hub serves no live reads.
    pub async fn ask(&self, connection: &Connection, what: What, parameters: &[(&str, String)]) -> Result<LiveAnswer> {
        let path = self.path(what, parameters);
        let context = || format!("reading from cluster {self}");
        let mut tries = 0;
        loop {
            tries += 1;
            let request = Request::get(&path).body(Vec::new()).with_context(context)?;
            let error = match connection.client.request_stream(request).await {
                Ok(stream) => return Ok(LiveAnswer::new(Box::pin(stream))),
                Err(error) => error,
            };
            let kube::Error::Api(status) = &error else {
                return Err(error).with_context(context);
            };
            if status.code == 503 && status.message.contains("waits for its turn") && tries < TRIES {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            // The hub says what it has to say in a status; a path that nobody serves is answered by the API server.
            if status.code == 404
                && (status.message.contains("page not found")
                    || status.message.contains("could not find the requested resource"))
            {
                return Err(advised(
                    "this hub serves no live reads",
                    "install the APIService of deploy/components/live-access on the hub; is this the right --context?",
                ));
            }
            if status.code == 503 && !status.message.contains("cluster") {
                return Err(error).context("the hub does not answer").with_context(context);
            }
            return Err(error).with_context(context);
        }
    }

    fn path(&self, what: What, parameters: &[(&str, String)]) -> String {
        let what = match what {
            What::Objects => "objects",
            What::Events => "events",
            What::Log => "log",
        };
        let (workspace, name) = (encoded(&self.workspace), encoded(&self.name));
        let mut path = format!("/apis/{GROUP}/v1alpha1/namespaces/{workspace}/clusters/{name}/{what}");
        let mut before = '?';
        for (key, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            path.push(before);
            path.push_str(key);
            path.push('=');
            path.push_str(&encoded(value));
            before = '&';
        }
        path
    }
}

impl std::fmt::Display for LiveCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.workspace, self.name)
    }
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_hold_what_was_typed() {
        let cluster = LiveCluster {
            workspace: "platform".into(),
            name: "eu-1".into(),
        };
        let parameters = [
            ("resource", "po".to_owned()),
            ("namespace", String::new()),
            ("labelSelector", "app in (a,b)".to_owned()),
        ];
        assert_eq!(
            cluster.path(What::Objects, &parameters),
            "/apis/live.fleet.nave.dev/v1alpha1/namespaces/platform/clusters/eu-1/objects?resource=po&labelSelector=app%20in%20%28a%2Cb%29"
        );
        assert_eq!(
            cluster.path(What::Log, &[]),
            "/apis/live.fleet.nave.dev/v1alpha1/namespaces/platform/clusters/eu-1/log"
        );
    }
}
