//! What is said of a traced object: blocks of names and values, as flux prints them.

use std::fmt::Write;

use anyhow::Result;
use jiff::Timestamp;
use kube::{ResourceExt, api::DynamicObject};

use super::owner::Owner;
use crate::{
    api,
    connection::Connection,
    fields::{condition, text},
    kinds::{self, KUSTOMIZATION, Kind},
    say,
};

/// Where values begin.
const WIDTH: usize = 17;

/// Blocks with `---` between them.
#[derive(Default)]
struct Report {
    text: String,
}

/// The whole report about one object.
///
/// # Errors
/// The owner, or a source of it, is not there or may not be read.
pub async fn report(connection: &Connection, kind: &str, object: &DynamicObject, owner: &Owner) -> Result<String> {
    let mut report = Report::default();
    report.row("Object", &format!("{kind}/{}", object.name_any()));
    report.row("Namespace", object.namespace().as_deref().unwrap_or_default());
    report.row("Status", "Managed by Flux");
    let applied = api::get(&connection.client, owner.kind, &owner.namespace, &owner.name).await?;
    report.object(owner.kind, &applied);
    report.row("Target", text(&applied, "/spec/targetNamespace"));
    if *owner.kind == KUSTOMIZATION {
        report.row("Path", text(&applied, "/spec/path"));
        report.row("Revision", text(&applied, "/status/lastAppliedRevision"));
    } else {
        report.row("Revision", text(&applied, "/status/lastAttemptedRevision"));
    }
    report.status(&applied);
    if let Some(chart) = chart_of(connection, owner, &applied).await? {
        report.object(&kinds::HELM_CHART, &chart);
        report.row("Chart", text(&chart, "/spec/chart"));
        report.row("Version", text(&chart, "/spec/version"));
        report.row("Revision", text(&chart, "/status/artifact/revision"));
        report.status(&chart);
    }
    if let Some((kind, source)) = source_of(connection, owner, &applied).await? {
        report.source(kind, &source);
    }
    Ok(report.text)
}

impl Report {
    fn row(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            let name = format!("{name}:");
            let value = crate::table::one_line(value);
            // The longest name leaves no room, and needs a blank all the same.
            let width = WIDTH.max(name.len() + 1);
            writeln!(self.text, "{name:width$}{value}").expect("writing to memory does not fail");
        }
    }

    fn object(&mut self, kind: &Kind, object: &DynamicObject) {
        self.text.push_str("---\n");
        self.row(kind.kind, &object.name_any());
        self.row("Namespace", object.namespace().as_deref().unwrap_or_default());
    }

    fn status(&mut self, object: &DynamicObject) {
        match condition(object, "Ready") {
            Some(ready) => {
                let how = if ready.status == "False" {
                    "reconciliation failed"
                } else {
                    "reconciled"
                };
                self.row("Status", &format!("Last {how} at {}", time(ready.since)));
                self.row("Message", ready.message);
            }
            None => self.row("Status", "Unknown"),
        }
    }

    fn source(&mut self, kind: &Kind, source: &DynamicObject) {
        self.object(kind, source);
        self.row("URL", text(source, "/spec/url"));
        let reference = |name: &str| text(source, &format!("/spec/ref/{name}"));
        let named = [
            ("Tag", "tag"),
            ("Tag", "semver"),
            ("Digest", "digest"),
            ("Commit", "commit"),
            ("Ref", "name"),
            ("Branch", "branch"),
        ];
        if let Some((label, name)) = named.into_iter().find(|(_, name)| !reference(name).is_empty()) {
            self.row(label, reference(name));
        }
        if *kind == kinds::EXTERNAL_ARTIFACT {
            let maker = |name: &str| text(source, &format!("/spec/sourceRef/{name}"));
            self.row(
                "Source",
                &format!("{}/{}/{}", maker("kind"), maker("namespace"), maker("name")),
            );
        }
        self.row("Revision", text(source, "/status/artifact/revision"));
        for (label, name) in [("Origin Revision", "revision"), ("Origin Source", "source")] {
            let pointer = format!("/status/artifact/metadata/org.opencontainers.image.{name}");
            self.row(label, text(source, &pointer));
        }
        self.status(source);
    }
}

/// As Go prints a time: `2026-11-21 07:00:00 +0000 UTC`.
fn time(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        Err(_) => text.to_owned(),
    }
}

/// The HelmChart that was made for a release, `namespace/name` in its status.
async fn chart_of(connection: &Connection, owner: &Owner, applied: &DynamicObject) -> Result<Option<DynamicObject>> {
    let chart = text(applied, "/status/helmChart");
    match chart.split_once('/') {
        Some((namespace, name)) if *owner.kind != KUSTOMIZATION => Ok(Some(
            api::get(&connection.client, &kinds::HELM_CHART, namespace, name).await?,
        )),
        _ => Ok(None),
    }
}

async fn source_of(
    connection: &Connection,
    owner: &Owner,
    applied: &DynamicObject,
) -> Result<Option<(&'static Kind, DynamicObject)>> {
    let pointers = ["/spec/sourceRef", "/spec/chartRef", "/spec/chart/spec/sourceRef"];
    let Some(pointer) = pointers
        .into_iter()
        .find(|pointer| applied.data.pointer(pointer).is_some())
    else {
        return Ok(None);
    };
    let reference = |name: &str| text(applied, &format!("{pointer}/{name}")).to_owned();
    let namespace = match reference("namespace") {
        namespace if namespace.is_empty() => owner.namespace.clone(),
        namespace => namespace,
    };
    let Some(kind) = Kind::by_name(&reference("kind")) else {
        say::warning(&format!(
            "the source is a {}, which cannot be shown from here",
            reference("kind")
        ));
        return Ok(None);
    };
    // The chart of a release was shown already.
    if *kind == kinds::HELM_CHART && !text(applied, "/status/helmChart").is_empty() {
        return Ok(None);
    }
    Ok(Some((
        kind,
        api::get(&connection.client, kind, &namespace, &reference("name")).await?,
    )))
}
