//! How the link of an agent stands, as its secret tells.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use nave_identity::Key;
use serde::Deserialize;

use crate::{fields, wait::Verdict};

pub use nave_crds::annotations::{FLEET_LINK_MESSAGE as LINK_MESSAGE, FLEET_LINK_STATE as LINK_STATE};

/// What the agent keeps under the key `state`, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AgentState {
    identity: Option<Identity>,
}

/// Who the agent is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Identity {
    /// PEM.
    key: String,
    /// Certificates; empty until the hub has issued one.
    chain: Vec<String>,
    /// The hub's roots; empty until the hub has answered.
    root_set: String,
    cluster_namespace: String,
    cluster_name: String,
}

/// How the link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkView {
    /// `workspace/name` of the Cluster on the hub, once the hub has given the agent a certificate.
    pub cluster: Option<String>,
    /// The same, while somebody has to approve it first.
    pub pending: Option<String>,
    /// Fingerprint of the agent's key, once there is one.
    pub key: Option<String>,
    state: String,
    message: String,
}

impl LinkView {
    /// Reads the secret. A state that cannot be read counts as none: the agent will say what is wrong with it.
    pub fn of(secret: &Secret) -> LinkView {
        let data = secret.data.as_ref().and_then(|data| data.get("state"));
        let state: AgentState = data
            .and_then(|bytes| serde_json::from_slice(&bytes.0).ok())
            .unwrap_or_default();
        let identity = state.identity.unwrap_or_default();
        let annotation = |key: &str| secret.annotations().get(key).cloned().unwrap_or_default();
        let cluster = format!("{}/{}", identity.cluster_namespace, identity.cluster_name);
        let (answered, admitted) = (!identity.root_set.is_empty(), !identity.chain.is_empty());
        LinkView {
            cluster: admitted.then(|| cluster.clone()),
            pending: (answered && !admitted).then_some(cluster),
            key: Key::from_pem(&identity.key)
                .ok()
                .map(|key| key.fingerprint().to_string()),
            state: annotation(LINK_STATE),
            message: fields::shorten(&annotation(LINK_MESSAGE)),
        }
    }

    /// Whether only a person can help: the hub said no for good.
    pub fn is_refused(&self) -> bool {
        self.cluster.is_none() && self.pending.is_none() && self.state == "Refused"
    }

    /// What the agent wrote last about its link.
    pub fn words(&self) -> String {
        match (self.state.as_str(), self.message.as_str()) {
            ("", _) => "the agent has written nothing about its link yet".to_owned(),
            (state, "") => format!("its link: {state}"),
            (state, message) => format!("its link: {state}: {message}"),
        }
    }

    /// Whether the wait for the hub is over.
    pub fn judge(&self) -> Verdict {
        let key = self
            .key
            .as_ref()
            .map(|key| format!("\n  key fingerprint {key}"))
            .unwrap_or_default();
        match (&self.cluster, &self.pending) {
            (Some(cluster), _) => Verdict::Done(format!("joined as {cluster}{key}")),
            (None, Some(cluster)) => Verdict::Done(format!("{cluster} waits for approval on the hub{key}")),
            (None, None) if self.is_refused() => Verdict::Failed(self.message.clone()),
            (None, None) => Verdict::Waiting(self.message.clone()), // `Retrying`: what stands in the way, so far
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::{Value, json};

    use super::*;

    fn check(state: &Value, annotation: &str, want: &Verdict) {
        let data = [("state".to_owned(), ByteString(state.to_string().into_bytes()))].into();
        let mut secret = Secret {
            data: Some(data),
            ..Secret::default()
        };
        secret
            .annotations_mut()
            .insert(LINK_STATE.to_owned(), annotation.to_owned());
        secret
            .annotations_mut()
            .insert(LINK_MESSAGE.to_owned(), "join token expired".to_owned());
        assert_eq!(LinkView::of(&secret).judge(), *want);
    }

    #[test]
    fn a_certificate_is_what_counts() {
        let key = Key::generate().expect("random numbers");
        let started = json!({"identity": {"key": key.to_pem().as_str(), "chain": []}, "bootSeq": 1});
        let mut joined = started.clone();
        joined["identity"]["chain"] = json!(["x"]);
        joined["identity"]["clusterNamespace"] = json!("platform");
        joined["identity"]["clusterName"] = json!("eu-1");
        let fingerprint = key.fingerprint();
        let mut pending = joined.clone();
        pending["identity"]["chain"] = json!([]);
        pending["identity"]["rootSet"] = json!("x");
        check(
            &joined,
            "Refused",
            &Verdict::Done(format!("joined as platform/eu-1\n  key fingerprint {fingerprint}")),
        );
        check(
            &pending,
            "",
            &Verdict::Done(format!(
                "platform/eu-1 waits for approval on the hub\n  key fingerprint {fingerprint}"
            )),
        );
        check(&started, "Refused", &Verdict::Failed("join token expired".into()));
        check(&started, "", &Verdict::Waiting("join token expired".into()));
        check(
            &json!({"identity": null}),
            "",
            &Verdict::Waiting("join token expired".into()),
        );
        check(&json!("nonsense"), "", &Verdict::Waiting("join token expired".into()));
    }
}
