//! What hooks print, where their annotation `helm.sh/hook-output-log-policy` asks for it.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, LogParams},
};
use nave_release::{Hook, objects};

use crate::act::Act;

/// The end of each container's log that is read.
const LINES: i64 = 10;
const BYTES: i64 = 4096;

impl Act<'_> {
    /// Notes the last lines of a hook's containers, if it says so for this outcome. What cannot be read is noted instead:
    /// the hook has succeeded or failed whatever its log says.
    pub async fn note_logs(&mut self, hook: &Hook, policy: &str) {
        if !hook.output_log_policies.iter().any(|known| known == policy) {
            return;
        }
        let parameters = match hook.kind.as_str() {
            "Job" => ListParams::default().labels(&format!("job-name={}", hook.name)),
            "Pod" => ListParams::default().fields(&format!("metadata.name={}", hook.name)),
            _ => return,
        };
        let found = objects(&hook.manifest, &hook.path).unwrap_or_default();
        let namespace = found
            .first()
            .and_then(|object| object.namespace())
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or(&self.place.namespace)
            .to_owned();
        for line in lines_of(self.target.client(), &namespace, hook, &parameters).await {
            self.notes.add(line);
        }
    }
}

/// The last lines of every container of the pods that a hook has.
async fn lines_of(client: &Client, namespace: &str, hook: &Hook, parameters: &ListParams) -> Vec<String> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = match api.list(parameters).await {
        Ok(pods) => pods.items,
        Err(error) => return vec![format!("logs of hook {} cannot be read: {error}", hook.path)],
    };
    let mut lines = Vec::new();
    for pod in pods {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        for container in containers.map(|container| container.name.clone()) {
            let parameters = LogParams {
                container: Some(container.clone()),
                tail_lines: Some(LINES),
                limit_bytes: Some(BYTES),
                ..LogParams::default()
            };
            let from = format!("{}/{container}", pod.name_any());
            match api.logs(&pod.name_any(), &parameters).await {
                Ok(text) => lines.extend(text.lines().map(|line| format!("hook {}: {from}: {line}", hook.name))),
                Err(error) => lines.push(format!("logs of hook {}: {from}: {error}", hook.name)),
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, extract::RawQuery, http::StatusCode, routing::get};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn every_container_is_read_and_what_cannot_be_is_said() {
        nave_net::install_crypto_provider();
        let pods = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [
            {"metadata": {"name": "pre-1"}, "spec": {"containers": [{"name": "app"}, {"name": "side"}]}}]});
        let routes = Router::new()
            .route(
                "/api/v1/namespaces/shop/pods",
                get(move |RawQuery(query): RawQuery| async move {
                    let query = query.unwrap_or_default();
                    assert!(query.contains("labelSelector=job-name%3Dpre"), "{query}");
                    Json(pods)
                }),
            )
            .route(
                "/api/v1/namespaces/shop/pods/pre-1/log",
                get(|RawQuery(query): RawQuery| async move {
                    let query = query.unwrap_or_default();
                    assert!(
                        query.contains("tailLines=10") && query.contains("limitBytes=4096"),
                        "{query}"
                    );
                    match query.contains("container=app") {
                        true => (StatusCode::OK, "one\ntwo\n"),
                        false => (StatusCode::BAD_REQUEST, "it did not start"),
                    }
                }),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let server = tokio::spawn(async move { axum::serve(listener, routes).await });
        let uri = format!("http://{address}").parse().expect("it is an address");
        let client = Client::try_from(kube::Config::new(uri)).expect("it is complete");
        let hook = Hook {
            name: "pre".to_owned(),
            kind: "Job".to_owned(),
            path: "shop/templates/pre.yaml".to_owned(),
            ..Hook::default()
        };
        let parameters = ListParams::default().labels("job-name=pre");
        let lines = lines_of(&client, "shop", &hook, &parameters).await;
        assert_eq!(lines[..2], ["hook pre: pre-1/app: one", "hook pre: pre-1/app: two"]);
        assert!(lines[2].starts_with("logs of hook pre: pre-1/side: "), "{lines:?}");
        let none = lines_of(&client, "elsewhere", &hook, &parameters).await;
        assert!(
            none[0].starts_with("logs of hook shop/templates/pre.yaml cannot be read: "),
            "{none:?}"
        );
        server.abort();
    }
}
