//! What a hub tells of a cluster beside its objects.

use http::Request;
use kube::{ResourceExt, api::DynamicObject};
use serde_json::Value;

use crate::connection::Connection;

/// What the hub's live API serves of a cluster under `name`; null where it serves none, or the caller may not see events.
pub(super) async fn by_hub(connection: &Connection, cluster: &DynamicObject, name: &str) -> Value {
    let path = format!(
        "/apis/live.fleet.nave.dev/v1alpha1/namespaces/{}/clusters/{}/{name}",
        cluster.namespace().unwrap_or_default(),
        cluster.name_any()
    );
    let answer = match Request::get(path).body(Vec::new()) {
        Ok(request) => connection.client.request::<Value>(request).await.ok(),
        Err(_) => None,
    };
    answer.unwrap_or_default()
}
