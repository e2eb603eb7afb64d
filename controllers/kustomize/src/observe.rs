//! Everything that is looked at before a decision.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{Api, ResourceExt};
use nave_crds::{kustomize::Kustomization, reasons};
use nave_health::{CustomHealth, HealthExpressions, ReadyExpression};

use crate::{
    Options, Ports,
    depends::{self, Key},
    modes::modes_of,
    plan::{Observed, SourceSeen},
    sources::source_of,
    triggers::Triggers,
};

/// What was seen, and what was compiled on the way.
pub(crate) struct Seen {
    pub observed: Observed,
    pub expressions: Arc<HealthExpressions>,
}

pub(crate) async fn observe(
    kustomization: &Kustomization,
    ports: &Ports,
    options: &Options,
    triggers: &Triggers,
) -> Seen {
    let spec = &kustomization.spec;
    let mut invalid = None;
    let mut refuse = |error: String| {
        invalid.get_or_insert((reasons::kustomize::INVALID_CEL_EXPRESSION, error));
    };
    let entries: Vec<CustomHealth> = spec
        .health_check_exprs
        .iter()
        .map(|entry| CustomHealth {
            api_version: entry.api_version.clone(),
            kind: entry.kind.clone(),
            in_progress: Some(entry.in_progress.clone()),
            failed: Some(entry.failed.clone()),
            current: entry.current.clone(),
        })
        .collect();
    let expressions = HealthExpressions::compile(&entries).unwrap_or_else(|error| {
        refuse(error.to_string());
        HealthExpressions::default()
    });
    let mut ready: Vec<Option<ReadyExpression>> = Vec::with_capacity(spec.depends_on.len());
    for (index, dependency) in spec.depends_on.iter().enumerate() {
        if dependency.ready_expr.is_empty() {
            ready.push(None);
            continue;
        }
        match ReadyExpression::compile(&dependency.ready_expr, format!("spec.dependsOn[{index}].readyExpr")) {
            Ok(expression) => ready.push(Some(expression)),
            Err(error) => {
                refuse(error.to_string());
                ready.push(None);
            }
        }
    }
    if let Err(error) = modes_of(kustomization.annotations()) {
        invalid.get_or_insert((reasons::kustomize::INVALID_ANNOTATION, error));
    }
    let source = source_of(kustomization, ports, options).await;
    let revision = match &source {
        SourceSeen::Ready(artifact) => artifact.revision.clone(),
        _ => String::new(),
    };
    let (unready, cycle) = dependencies(kustomization, &ready, &revision, ports, options, triggers).await;
    let age = kustomization
        .creation_timestamp()
        .map(|time| Timestamp::now().duration_since(time.0))
        .and_then(|age| Duration::try_from(age).ok())
        .unwrap_or(Duration::MAX);
    Seen {
        observed: Observed {
            source,
            unready,
            cycle,
            invalid,
            age,
        },
        expressions: Arc::new(expressions),
    }
}

async fn dependencies(
    kustomization: &Kustomization,
    expressions: &[Option<ReadyExpression>],
    revision: &str,
    ports: &Ports,
    options: &Options,
    triggers: &Triggers,
) -> (Vec<(String, String)>, Option<String>) {
    let spec = &kustomization.spec;
    if spec.depends_on.is_empty() {
        return (Vec::new(), None);
    }
    let this = nave_runtime::watch::key(kustomization);
    let keys: Vec<Key> = spec
        .depends_on
        .iter()
        .map(|dependency| depends::key_of(dependency, &this.0))
        .collect();
    triggers.block(&this, &keys);
    let mut unready = Vec::new();
    for (key, expression) in keys.iter().zip(expressions) {
        let dependency = dependency(key, ports).await;
        let why = depends::not_ready(
            kustomization,
            dependency.as_deref(),
            expression.as_ref(),
            options.gates.additive_cel_dependency_check,
            revision,
        );
        if let Some(why) = why {
            unready.push((format!("{}/{}", key.0, key.1), why));
        }
    }
    if unready.is_empty() {
        triggers.unblock(&this, &keys);
        return (unready, None);
    }
    let cycle = nave_runtime::cycle(&this, |key| {
        ports
            .kustomizations
            .get(&key.0, &key.1)
            .map(|next| {
                next.spec
                    .depends_on
                    .iter()
                    .map(|dependency| depends::key_of(dependency, &key.0))
                    .collect()
            })
            .unwrap_or_default()
    });
    (unready, cycle)
}

/// From the watch, or from the API server: it may belong to another shard, whose objects are not watched here.
async fn dependency(key: &Key, ports: &Ports) -> Option<Arc<Kustomization>> {
    if let Some(found) = ports.kustomizations.get(&key.0, &key.1) {
        return Some(found);
    }
    let api: Api<Kustomization> = Api::namespaced(ports.client.clone(), &key.0);
    match api.get_opt(&key.1).await {
        Ok(found) => found.map(Arc::new),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "reading a dependency");
            None
        }
    }
}
