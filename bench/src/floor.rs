//! The floors: the same objects, or the same writes, sent by eight keep-alive connections with nothing else to do.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use http::Request;
use kube::Client;
use nave_bed::Plane;
use serde_json::Value;

/// Connections of a floor, as in the published measurements of Flux.
const CONNECTIONS: usize = 8;

/// One write of a run, as the API server recorded it.
#[derive(Debug, Clone)]
pub struct Write {
    /// Path and query.
    pub uri: String,
    /// HTTP method.
    pub method: &'static str,
    /// Content type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Write {
    /// Server-side apply of `object` at `path`.
    pub fn apply(path: &str, object: &Value) -> Self {
        Write {
            uri: format!("{path}?fieldManager=floor&force=true"),
            method: "PATCH",
            content_type: "application/apply-patch+yaml",
            body: object.to_string().into_bytes(),
        }
    }
}

/// How many of the requests change nothing and only ask.
pub fn dry_runs(writes: &[Write]) -> usize {
    writes.iter().filter(|write| write.uri.contains("dryRun=")).count()
}

/// Sends `writes` in order of their list over eight connections at once, as fast as they are answered.
pub async fn replay(plane: &Plane, writes: &[Write]) -> Result<Duration> {
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    try_join_all((0..CONNECTIONS).map(|_| async {
        // A client of its own has a connection of its own.
        let config = kube::Config::from_custom_kubeconfig(
            kube::config::Kubeconfig::from_yaml(&plane.kubeconfig())?,
            &kube::config::KubeConfigOptions::default(),
        )
        .await?;
        let client = Client::try_from(config)?;
        while let Some(write) = writes.get(next.fetch_add(1, Ordering::Relaxed)) {
            send(&client, write).await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(started.elapsed())
}

async fn send(client: &Client, write: &Write) -> Result<()> {
    let request = Request::builder()
        .method(write.method)
        .uri(&write.uri)
        .header("content-type", write.content_type)
        .body(write.body.clone())?;
    match client.request_text(request).await {
        // Replaying a write against objects in another state may conflict; it has cost what it costs.
        Ok(_) | Err(kube::Error::Api(_)) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("{} {}", write.method, write.uri)),
    }
}

/// Every write in the audit log of `plane` by processes whose user agent starts with `agent`, with its body.
pub fn writes_of(plane: &Plane, agent: &str, from: u64) -> Result<Vec<Write>> {
    let path = plane.audit_log().context("the plane writes no audit log")?;
    let text = std::fs::read(path)?;
    let mut writes = Vec::new();
    for line in String::from_utf8_lossy(&text[usize::try_from(from)?..]).lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue; // the last line may be half written
        };
        if event["stage"] != "ResponseComplete"
            || !event["userAgent"].as_str().is_some_and(|name| name.starts_with(agent))
        {
            continue;
        }
        let (method, content_type) = match event["verb"].as_str().unwrap_or_default() {
            "create" => ("POST", "application/json"),
            "update" => ("PUT", "application/json"),
            "delete" => ("DELETE", "application/json"),
            "patch" if is_apply(&event) => ("PATCH", "application/apply-patch+yaml"),
            "patch" if event["requestObject"].is_array() => ("PATCH", "application/json-patch+json"),
            "patch" => ("PATCH", "application/merge-patch+json"),
            _ => continue,
        };
        let mut body = event["requestObject"].clone();
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        writes.push(Write {
            uri: event["requestURI"].as_str().unwrap_or_default().to_owned(),
            method,
            content_type,
            body: if body.is_null() {
                Vec::new()
            } else {
                body.to_string().into_bytes()
            },
        });
    }
    Ok(writes)
}

/// A patch that names its kind is a whole object: server-side apply.
fn is_apply(event: &Value) -> bool {
    event["requestObject"].get("apiVersion").is_some() && event["requestObject"].get("kind").is_some()
}
