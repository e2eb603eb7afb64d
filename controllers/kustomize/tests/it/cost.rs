//! What an app costs: requests are counted in the audit log, dry runs included.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use crate::stage::{Setup, Stage};

/// Kustomizations at once; each has the four objects of the published benchmark.
const APPS: usize = 20;
/// Of a new app: finalizer, two statuses, three events, a write for each of four objects, and a dry run for all but the first.
/// Of a changed one: a status, three events, and a dry run and a write for each of four objects. One status more is written
/// on a machine where that takes long.
const WRITES: usize = 14;

fn app(namespace: &str, name: &str, version: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: {namespace}}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  selector: {{app: {name}}}\n  ports: [{{port: 80}}]\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  defaultBackend: {{service: {{name: {name}, port: {{number: 80}}}}}}\n---\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  replicas: 0\n  selector: {{matchLabels: {{app: {name}}}}}\n  \
         template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec: {{containers: [{{name: app, image: 'example.com/app:1'}}]}}\n"
    )
    .replace(
        "metadata: {name",
        &format!("metadata: {{labels: {{version: '{version}'}}, name"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_of_four_objects_costs_at_most_fourteen_writes() -> Result<()> {
    let mut setup = Setup::default();
    setup.options.concurrent = 20;
    let stage = Stage::start_with("cost", setup).await?;
    if stage.plane.skip(
        "an_app_of_four_objects_costs_at_most_fourteen_writes",
        stage.plane.has_workloads() && stage.plane.audit_log().is_some(),
        "Deployments must be looked after, and the audit log kept",
    ) {
        return stage.stop().await;
    }
    let ns = stage.namespace.clone();
    let names: Vec<String> = (0..APPS).map(|number| format!("app-{number}")).collect();
    let audit = stage.plane.audit()?;
    for version in ["1", "2"] {
        let files: Vec<(String, String)> = names
            .iter()
            .map(|name| (format!("{name}/app.yaml"), app(&ns, name, version)))
            .collect();
        let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
        let mark = audit.mark()?;
        let started = Instant::now();
        if version == "1" {
            for name in &names {
                stage.apply(name, json!({"wait": true})).await?;
            }
        }
        let before = reconciles(&stage);
        stage.publish(version, &files).await?;
        for name in &names {
            stage.ready(name, version).await?;
        }
        let took = started.elapsed();
        tokio::time::sleep(std::time::Duration::from_millis(500)).await; // events are written in the background
        let writes = audit.since(mark)?.only(|request| {
            request.namespace == ns
                && !request.user.starts_with("system:")
                && matches!(request.verb.as_str(), "create" | "update" | "patch" | "delete")
                // What the test itself wrote.
                && !(request.resource.starts_with("kustomizations") && request.uri.contains("fieldManager=test"))
                && !request.resource.starts_with("gitrepositories")
        });
        let count = reconciles(&stage) - before;
        println!(
            "{APPS} apps of version {version} in {took:?}, {count} reconciles, {} writes\n{}",
            writes.len(),
            writes.summary()
        );
        assert!(
            writes.len() <= WRITES * APPS,
            "{} writes for {APPS} apps:\n{}",
            writes.len(),
            writes.summary()
        );
        // One by the source, one when health is as it should be, and one that tells of a long wait on a slow machine: none is
        // an echo of what was written.
        if version == "2" {
            assert!(count <= 3 * APPS as u64, "{count} reconciles of {APPS} apps");
        }
    }
    for name in names.iter().take(8) {
        println!("{:?}", stage.events(name).await?);
    }
    stage.stop().await
}

/// How many reconciles there were.
fn reconciles(stage: &Stage) -> u64 {
    let shown = stage.metrics();
    let counts = shown
        .lines()
        .filter(|line| line.starts_with("gotk_reconcile_duration_seconds_count{"));
    counts
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}
