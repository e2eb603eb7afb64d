//! Objects and events of a cluster of the fleet, as text.

use anyhow::{Context, Result, bail};
use kube::api::DynamicObject;
use nave_object::yaml;
use serde_json::Value;

use super::{LiveCluster, What};
use crate::{
    connection::Connection,
    output::{self, DataFormat, Format},
    table::{Table, one_line},
    verbs::events::Seen,
};

/// What is to be shown of a kind.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The kind, as typed.
    pub resource: String,
    /// One object.
    pub name: String,
    /// Namespace in the cluster; none for all.
    pub namespace: Option<String>,
    /// Labels.
    pub selector: String,
    /// Form.
    pub output: Option<Format>,
    /// Without a header.
    pub no_header: bool,
}

impl Wanted {
    fn parameters(&self, table: bool) -> Vec<(&'static str, String)> {
        vec![
            ("resource", self.resource.clone()),
            ("name", self.name.clone()),
            ("namespace", self.namespace.clone().unwrap_or_default()),
            ("labelSelector", self.selector.clone()),
            ("table", if table { "true".to_owned() } else { String::new() }),
        ]
    }
}

/// Prints objects of a kind.
///
/// # Errors
/// As [`LiveCluster::ask`]; there are none.
pub async fn objects(connection: &Connection, cluster: &LiveCluster, wanted: &Wanted) -> Result<()> {
    let as_table = matches!(wanted.output, None | Some(Format::Wide));
    let answer = cluster
        .ask(connection, What::Objects, &wanted.parameters(as_table))
        .await?;
    let documents = answer.documents().await?;
    if as_table {
        return print_tables(&documents, cluster, wanted);
    }
    let objects = documents
        .into_iter()
        .map(|document| serde_json::from_value(document).context("reading an object of the hub's answer"))
        .collect::<Result<Vec<DynamicObject>>>()?;
    match (wanted.output, objects.as_slice()) {
        (_, []) => bail!("{}", nothing(cluster, wanted)),
        (Some(Format::Json), [one]) if !wanted.name.is_empty() => {
            output::print_value(&output::object_value(one)?, DataFormat::Json)
        }
        (Some(Format::Yaml), [one]) if !wanted.name.is_empty() => {
            output::print_value(&output::object_value(one)?, DataFormat::Yaml)
        }
        (Some(Format::Json), all) => output::print_value(&output::list_value(all)?, DataFormat::Json),
        (Some(Format::Yaml), all) => output::print_value(&output::list_value(all)?, DataFormat::Yaml),
        (_, all) => {
            let names: Vec<String> = all.iter().map(output::object_name).collect();
            output::print_text(&(names.join("\n") + "\n"))
        }
    }
}

fn nothing(cluster: &LiveCluster, wanted: &Wanted) -> String {
    match &wanted.namespace {
        Some(namespace) => format!(
            "no {} found in namespace {namespace:?} of cluster {cluster}",
            wanted.resource
        ),
        None => format!("no {} found in cluster {cluster}", wanted.resource),
    }
}

/// The API server's own columns; a page of a list is a document.
fn print_tables(documents: &[Value], cluster: &LiveCluster, wanted: &Wanted) -> Result<()> {
    let wide = wanted.output == Some(Format::Wide);
    let with_namespace = wanted.namespace.is_none();
    let mut table: Option<Table> = None;
    let mut rows = 0;
    for document in documents {
        if document["kind"] != "Table" {
            // An API of the cluster that makes no tables.
            let table = table.get_or_insert_with(|| Table::new(["Namespace", "Name"]));
            let text = |name: &str| document["metadata"][name].as_str().unwrap_or_default().to_owned();
            table.row([text("namespace"), text("name")]);
            rows += 1;
            continue;
        }
        let columns: Vec<&Value> = document["columns"].as_array().into_iter().flatten().collect();
        let shown: Vec<usize> = (0..columns.len())
            .filter(|index| wide || columns[*index]["priority"].as_i64().unwrap_or_default() == 0)
            .collect();
        let table = table.get_or_insert_with(|| {
            let name = |index: &usize| one_line(columns[*index]["name"].as_str().unwrap_or_default());
            let namespace = with_namespace.then(|| "Namespace".to_owned());
            Table::new(namespace.into_iter().chain(shown.iter().map(name)))
        });
        for row in document["rows"].as_array().into_iter().flatten() {
            let mut cells = Vec::new();
            if with_namespace {
                cells.push(row["namespace"].as_str().unwrap_or_default().to_owned());
            }
            cells.extend(shown.iter().map(|index| cell(&row["cells"][*index])));
            table.row(cells);
            rows += 1;
        }
    }
    match table {
        Some(mut table) if rows > 0 => Ok(table.print(!wanted.no_header)?),
        _ => bail!("{}", nothing(cluster, wanted)),
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Events of a namespace, or about an object, oldest first.
///
/// # Errors
/// As [`LiveCluster::ask`].
pub async fn events(
    connection: &Connection,
    cluster: &LiveCluster,
    namespace: Option<&str>,
    kind: &str,
    name: &str,
) -> Result<Vec<Seen>> {
    let parameters = [
        ("namespace", namespace.unwrap_or_default().to_owned()),
        ("resource", kind.to_owned()),
        ("name", name.to_owned()),
    ];
    let answer = cluster.ask(connection, What::Events, &parameters).await?;
    let mut events = answer
        .documents()
        .await?
        .into_iter()
        .map(|document| {
            let event = serde_json::from_value(document).context("reading an event of the hub's answer")?;
            Ok(Seen::of(event))
        })
        .collect::<Result<Vec<Seen>>>()?;
    Seen::sort(&mut events);
    Ok(events)
}

/// An object and its events, in words.
///
/// # Errors
/// As [`LiveCluster::ask`].
pub async fn describe(connection: &Connection, cluster: &LiveCluster, wanted: &Wanted) -> Result<String> {
    let answer = cluster
        .ask(connection, What::Objects, &wanted.parameters(false))
        .await?;
    let mut documents = answer.documents().await?;
    let Some(object) = documents.pop() else {
        bail!("{}", nothing(cluster, wanted));
    };
    let mut text = format!("# cluster {cluster}\n{}", yaml::write(&object));
    let field = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (kind, namespace, name) = (field("/kind"), field("/metadata/namespace"), field("/metadata/name"));
    let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
    // Whoever may see an object need not be allowed to see events.
    match events(connection, cluster, namespace.as_deref(), &kind, &name).await {
        Ok(events) if events.is_empty() => text.push_str("\nEvents: none\n"),
        Ok(events) => {
            text.push_str("\nEvents:\n");
            let mut table = Seen::table(false);
            let now = jiff::Timestamp::now();
            events.iter().for_each(|event| table.row(event.row(false, now)));
            for line in table.into_text().lines() {
                text.push_str(&format!("  {line}\n"));
            }
        }
        Err(error) => text.push_str(&format!("\nEvents: {}\n", crate::hints::describe(&error))),
    }
    Ok(text)
}
