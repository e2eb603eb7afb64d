//! What a hub tells of a cluster beside its objects.

use kube::{ResourceExt, api::DynamicObject};
use serde_json::Value;

use crate::{connection::Connection, live};

/// What the hub's live API serves of a cluster under `name`; null where it serves none, or the caller may not see events.
pub(super) async fn by_hub(connection: &Connection, cluster: &DynamicObject, name: &str) -> Value {
    live::told_by_hub(
        connection,
        &cluster.namespace().unwrap_or_default(),
        &cluster.name_any(),
        name,
    )
    .await
}
