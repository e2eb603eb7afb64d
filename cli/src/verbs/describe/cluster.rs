//! One cluster.

use anyhow::Result;
use jiff::Timestamp;
use kube::{
    ResourceExt,
    api::{DynamicObject, ListParams},
};
use nave_crds::labels;
use serde_json::Value;

use super::{history, text::Description, traffic};
use crate::{
    api,
    connection::Connection,
    fields::{self, field, flag, number, text, title},
    kinds::{CLUSTER, FLEET_KUSTOMIZATION, KUSTOMIZATION},
    table::Table,
};

pub(super) async fn describe(connection: &Connection, object: &DynamicObject) -> Result<String> {
    let now = Timestamp::now();
    let mut description = Description::of(object, now);
    facts(&mut description, object);
    description.table("Access", access(object));
    description.table("Objects", counts(object));
    description.table("Fleet objects in trouble here", trouble(connection, object).await?);
    if text(object, "/spec/mode") == "KubeConfig" {
        description.table("Kustomizations", kustomizations(connection, object).await?);
    }
    description.table("Keys that wait for approval", pending_keys(object));
    description.conditions(object, now);
    description.events(connection, &CLUSTER, object, now).await?;
    description.table("Traffic", traffic::of_cluster(connection, object).await);
    let (history, told) = history::of_cluster(connection, object).await;
    description.table("History", history);
    description.table("Told by its agent", told);
    if !flag_or_true(object, "/spec/accepted") {
        description.note(&format!(
            "hint: this cluster waits for approval; to let it in:\n  kubectl -n {} patch cluster.fleet.nave.dev {} --type=merge -p '{{\"spec\":{{\"accepted\":true}}}}'",
            object.namespace().unwrap_or_default(),
            object.name_any()
        ));
    }
    Ok(description.finish())
}

fn facts(description: &mut Description, object: &DynamicObject) {
    description.line("Mode", text(object, "/spec/mode"));
    description.line("Accepted", &title(flag_or_true(object, "/spec/accepted")));
    description.line("Suspended", &title(flag(object, "/spec/suspend")));
    description.line("Kubeconfig", text(object, "/spec/kubeConfig/secretRef/name"));
    description.line("Variables", &pairs(object, "/spec/variables"));
    description.line("Kubernetes", text(object, "/status/kubernetesVersion"));
    description.line("Agent", text(object, "/status/agentVersion"));
    description.line("Transport", text(object, "/status/transport"));
    description.line("Link profile", text(object, "/spec/link/profile"));
    description.line("Boots", &positive(number(object, "/status/session/bootSeq")));
    description.line("Last seen", text(object, "/status/lastSeen"));
    description.line("Cluster UID", text(object, "/spec/identity/clusterUID"));
    let keys: Vec<&str> = fields::list(object, "/spec/identity/keys")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    description.line("Keys", &keys.join(", "));
    description.line("Facts", &pairs(object, "/status/facts"));
}

fn access(object: &DynamicObject) -> Table {
    let mut table = Table::new(["Workspace", "Admin", "Namespaces", "Service account"]);
    for grant in fields::list(object, "/spec/access") {
        let namespaces: Vec<&str> = grant["namespaces"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        table.row([
            field(grant, "workspace").to_owned(),
            title(grant["admin"].as_bool().unwrap_or_default()),
            namespaces.join(","),
            field(grant, "serviceAccountName").to_owned(),
        ]);
    }
    table
}

fn counts(object: &DynamicObject) -> Table {
    let mut table = Table::new(["Ready", "Progressing", "Failed", "Suspended", "Held", "Orphaned"]);
    if object.data.pointer("/status/counts").is_some() {
        table.row(
            ["ready", "progressing", "failed", "suspended", "held", "orphaned"]
                .map(|state| number(object, &format!("/status/counts/{state}")).to_string()),
        );
    }
    table
}

/// Fleet objects that list this cluster among their first ten unhealthy ones.
async fn trouble(connection: &Connection, object: &DynamicObject) -> Result<Table> {
    let mut table = Table::new(["Fleet object", "Object", "Reason", "Message"]);
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    let all = api::list_if_known(&connection.client, &FLEET_KUSTOMIZATION, None, &ListParams::default()).await;
    let all = match all {
        Ok(all) => all.unwrap_or_default(),
        // Whoever may see only some workspaces still sees the cluster.
        Err(error) if api::api_code(&error) == Some(403) => Vec::new(),
        Err(error) => return Err(error),
    };
    for fleet in all {
        let here = fleet.namespace().unwrap_or_default() == namespace;
        for entry in fields::list(&fleet, "/status/unhealthy") {
            let cluster = field(entry, "cluster");
            if cluster == format!("{namespace}/{name}") || (here && cluster == name) {
                table.row([
                    fields::full_name(&fleet),
                    field(entry, "object").to_owned(),
                    field(entry, "reason").to_owned(),
                    fields::shorten(field(entry, "message")),
                ]);
            }
        }
    }
    Ok(table)
}

/// In mode KubeConfig the hub itself holds one Kustomization per fleet object.
async fn kustomizations(connection: &Connection, object: &DynamicObject) -> Result<Table> {
    let mut table = Table::new(["Kustomization", "Revision", "Ready", "Message"]);
    let selector = format!(
        "{}={},{}={}",
        labels::FLEET_CLUSTER,
        object.name_any(),
        labels::FLEET_CLUSTER_NAMESPACE,
        object.namespace().unwrap_or_default()
    );
    let params = ListParams::default().labels(&selector);
    for kustomization in api::list_if_known(&connection.client, &KUSTOMIZATION, None, &params)
        .await?
        .unwrap_or_default()
    {
        let (ready, message) = fields::ready(&kustomization);
        let revision = fields::shorten(text(&kustomization, "/status/lastAppliedRevision"));
        table.row([fields::full_name(&kustomization), revision, ready, message]);
    }
    Ok(table)
}

fn pending_keys(object: &DynamicObject) -> Table {
    let mut table = Table::new(["Fingerprint", "Since", "Reason"]);
    for key in fields::list(object, "/status/pendingKeys") {
        table.row(["fingerprint", "time", "reason"].map(|name| field(key, name).to_owned()));
    }
    table
}

/// `a=1, b=2`.
fn pairs(object: &DynamicObject, pointer: &str) -> String {
    let map = object.data.pointer(pointer).and_then(Value::as_object);
    let pairs: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.join(", ")
}

fn positive(number: i64) -> String {
    if number > 0 { number.to_string() } else { String::new() }
}

/// The API's default for `accepted` is true.
fn flag_or_true(object: &DynamicObject, pointer: &str) -> bool {
    object.data.pointer(pointer).and_then(Value::as_bool).unwrap_or(true)
}
