//! How the link of an agent stands, as its secret tells.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use nave_identity::Key;
use serde::Deserialize;

use crate::{fields, wait::Verdict};

/// On the agent's secret, by the agent: `Pending` while a person has to approve, `Refused` when the hub said no.
pub const LINK_STATE: &str = "fleet.nave.dev/link-state";
/// Why, for people.
pub const LINK_MESSAGE: &str = "fleet.nave.dev/link-message";

/// What the agent keeps under the key `state`, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AgentState {
    key: String,
    certificate: Vec<String>,
    cluster_namespace: String,
    cluster_name: String,
}

/// How the link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkView {
    /// `workspace/name` of the Cluster on the hub, once the hub has given the agent a certificate.
    pub cluster: Option<String>,
    /// Fingerprint of the agent's key, once there is one.
    pub key: Option<String>,
    state: String,
    message: String,
}

impl LinkView {
    /// Reads the secret. A state that cannot be read counts as none: the agent will say what is wrong with it.
    pub fn of(secret: &Secret) -> LinkView {
        let data = secret.data.as_ref().and_then(|data| data.get("state"));
        let state: AgentState = data.and_then(|bytes| serde_json::from_slice(&bytes.0).ok()).unwrap_or_default();
        let annotation = |key: &str| secret.annotations().get(key).cloned().unwrap_or_default();
        LinkView {
            cluster: (!state.certificate.is_empty())
                .then(|| format!("{}/{}", state.cluster_namespace, state.cluster_name)),
            key: Key::from_pem(&state.key).ok().map(|key| key.fingerprint().to_string()),
            state: annotation(LINK_STATE),
            message: fields::shorten(&annotation(LINK_MESSAGE)),
        }
    }

    /// Whether the wait for the hub is over.
    pub fn judge(&self) -> Verdict {
        let key = self.key.as_ref().map(|key| format!("\n  key fingerprint {key}")).unwrap_or_default();
        match (&self.cluster, self.state.as_str()) {
            (Some(cluster), _) => Verdict::Done(format!("joined as {cluster}{key}")),
            (None, "Pending") => Verdict::Done(format!("the hub waits for somebody to approve this cluster{key}")),
            (None, "Refused") => Verdict::Failed(format!("the hub refused: {}", self.message)),
            (None, _) => Verdict::Waiting(self.message.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::{Value, json};

    use super::*;

    fn check(state: &Value, annotation: &str, want: &Verdict) {
        let mut secret = Secret::default();
        secret.data = Some([("state".to_owned(), ByteString(state.to_string().into_bytes()))].into());
        secret.annotations_mut().insert(LINK_STATE.to_owned(), annotation.to_owned());
        secret.annotations_mut().insert(LINK_MESSAGE.to_owned(), "join token expired".to_owned());
        assert_eq!(LinkView::of(&secret).judge(), *want);
    }

    #[test]
    fn a_certificate_is_what_counts() {
        let key = Key::generate().expect("random numbers");
        let started = json!({"key": key.to_pem().as_str(), "bootSeq": 1});
        let mut joined = started.clone();
        joined["certificate"] = json!(["x"]);
        joined["clusterNamespace"] = json!("platform");
        joined["clusterName"] = json!("eu-1");
        let fingerprint = key.fingerprint();
        check(&joined, "Refused", &Verdict::Done(format!("joined as platform/eu-1\n  key fingerprint {fingerprint}")));
        check(
            &started,
            "Pending",
            &Verdict::Done(format!("the hub waits for somebody to approve this cluster\n  key fingerprint {fingerprint}")),
        );
        check(&started, "Refused", &Verdict::Failed("the hub refused: join token expired".into()));
        check(&started, "", &Verdict::Waiting("join token expired".into()));
        check(&json!("nonsense"), "", &Verdict::Waiting("join token expired".into()));
    }
}
