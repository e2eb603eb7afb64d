//! One fleet object.

use anyhow::Result;
use jiff::Timestamp;
use kube::{ResourceExt, api::DynamicObject};
use serde_json::Value;

use super::text::Description;
use crate::{
    connection::Connection,
    fields::{self, field, flag, number, text, title},
    kinds::{FLEET_HELM_RELEASE, Kind},
    table::Table,
};

pub(super) async fn describe(connection: &Connection, kind: &'static Kind, object: &DynamicObject) -> Result<String> {
    let now = Timestamp::now();
    let mut description = Description::of(object, now);
    description.line("Suspended", &title(flag(object, "/spec/suspend")));
    description.line("Placement", &placement(object));
    description.line("Source", &source(object));
    description.line("Delivery", text(object, "/spec/delivery"));
    if *kind == FLEET_HELM_RELEASE {
        description.line("Chart", &chart(object));
    } else {
        description.line("Path", text(object, "/spec/template/spec/path"));
    }
    description.line("Spoke namespace", text(object, "/spec/spokeNamespace"));
    description.line("Target revision", text(object, "/status/targetRevision"));
    description.line("Current revision", text(object, "/status/currentRevision"));
    description.line("Change", text(object, "/status/changeID"));
    description.table("Clusters", counts(object));
    description.table("Waves", waves(object));
    description.table("Unhealthy clusters (first ten)", unhealthy(object));
    description.conditions(object, now);
    description.events(connection, kind, object, now).await?;
    plan(&mut description, kind, object);
    Ok(description.finish())
}

fn placement(object: &DynamicObject) -> String {
    let mut parts = Vec::new();
    if let Some(selector) = object.data.pointer("/spec/placement/selector") {
        parts.push(match selector_text(selector) {
            text if text.is_empty() => "every cluster".to_owned(),
            text => text,
        });
    }
    parts.extend(names(object.data.pointer("/spec/placement/names")));
    let exclude = object.data.pointer("/spec/placement/exclude");
    let excluded: Vec<String> = exclude
        .and_then(|exclude| exclude.get("selector"))
        .map(selector_text)
        .into_iter()
        .chain(exclude.and_then(|exclude| names(exclude.get("names"))))
        .collect();
    if !excluded.is_empty() {
        parts.push(format!("except {}", excluded.join(" and ")));
    }
    if parts.is_empty() {
        "no cluster".to_owned()
    } else {
        parts.join("; ")
    }
}

/// A label selector as kubectl writes it: `env=prod,tier in (a,b),!old`.
fn selector_text(selector: &Value) -> String {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut parts: Vec<String> = equal
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = field(expression, "key");
        let values: Vec<&str> = expression["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let values = values.join(",");
        parts.push(match field(expression, "operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            other => format!("{key} {other} ({values})"),
        });
    }
    parts.join(",")
}

fn names(names: Option<&Value>) -> Option<String> {
    let names: Vec<&str> = names?.as_array()?.iter().filter_map(Value::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn source(object: &DynamicObject) -> String {
    let (kind, rest) = match object.data.pointer("/spec/source/template") {
        Some(template) => (
            field(template, "kind"),
            template
                .pointer("/spec/url")
                .and_then(Value::as_str)
                .unwrap_or_default(),
        ),
        None => (
            text(object, "/spec/source/ref/kind"),
            text(object, "/spec/source/ref/name"),
        ),
    };
    let include = names(object.data.pointer("/spec/source/include"));
    match include {
        Some(include) => format!("{kind} {rest} ({include})"),
        None => format!("{kind} {rest}"),
    }
}

/// Which chart of its source, and which version; nothing where the source is the chart.
fn chart(object: &DynamicObject) -> String {
    let text = |field: &str| text(object, &format!("/spec/template/spec/chart/spec/{field}"));
    match (text("chart"), text("version")) {
        (chart, "") => chart.to_owned(),
        (chart, version) => format!("{chart} {version}"),
    }
}

fn counts(object: &DynamicObject) -> Table {
    let mut table = Table::new(["Selected", "Updated", "Healthy", "Failed", "Unknown", "Held", "Denied"]);
    table.row(
        ["selected", "updated", "ready", "failed", "unknown", "held", "denied"]
            .map(|state| number(object, &format!("/status/clusters/{state}")).to_string()),
    );
    table
}

fn waves(object: &DynamicObject) -> Table {
    let mut table = Table::new(["Wave", "State", "Clusters", "Updated", "Healthy", "Since"]);
    for wave in fields::list(object, "/status/waves") {
        let count = |name: &str| wave[name].as_i64().unwrap_or_default().to_string();
        table.row([
            field(wave, "name").to_owned(),
            field(wave, "state").to_owned(),
            count("total"),
            count("updated"),
            count("ready"),
            field(wave, "since").to_owned(),
        ]);
    }
    table
}

fn unhealthy(object: &DynamicObject) -> Table {
    let mut table = Table::new(["Cluster", "Object", "Reason", "Message"]);
    for entry in fields::list(object, "/status/unhealthy") {
        table.row([
            field(entry, "cluster").to_owned(),
            field(entry, "object").to_owned(),
            field(entry, "reason").to_owned(),
            fields::shorten(field(entry, "message")),
        ]);
    }
    table
}

/// Deletions that wait for a yes, and how to give it.
fn plan(description: &mut Description, kind: &Kind, object: &DynamicObject) {
    let Some(plan) = object.data.pointer("/status/plan") else {
        return;
    };
    let count = |name: &str| plan[name].as_i64().unwrap_or_default();
    let mut table = Table::new(["Deletes", "Cascades", "Clusters", "Digest"]);
    table.row([
        count("deletes").to_string(),
        count("cascades").to_string(),
        count("clusters").to_string(),
        field(plan, "digest").to_owned(),
    ]);
    description.table("Deletions that wait for approval", table);
    description.note(&format!(
        "hint: to approve exactly this plan, also by setting spec.deletion.approvedPlan:\n  nave approve {}/{} -n {} --plan {}",
        kind.kind.to_lowercase(),
        object.name_any(),
        object.namespace().unwrap_or_default(),
        field(plan, "digest")
    ));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn placements_read_as_sentences() {
        let check = |placement: Value, want: &str| {
            let object: DynamicObject = serde_json::from_value(json!({
                "apiVersion": "v1", "kind": "X", "metadata": {"name": "a"}, "spec": {"placement": placement}
            }))
            .expect("an object");
            assert_eq!(super::placement(&object), want);
        };
        check(json!({}), "no cluster");
        check(json!({"selector": {}}), "every cluster");
        check(
            json!({
                "selector": {"matchLabels": {"env": "prod"}, "matchExpressions": [
                    {"key": "region", "operator": "In", "values": ["eu", "us"]}, {"key": "old", "operator": "DoesNotExist"}]},
                "names": ["a", "b"],
                "exclude": {"names": ["c"], "selector": {"matchLabels": {"x": "y"}}}
            }),
            "env=prod,region in (eu,us),!old; a, b; except x=y and c",
        );
    }
}
