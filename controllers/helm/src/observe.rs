//! Everything that is looked at before a decision.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt;
use nave_apply::IgnoreRules;
use nave_chart::Values;
use nave_crds::{helm::HelmRelease, reasons};
use nave_health::{CustomHealth, HealthExpressions, ReadyExpression};

use crate::{
    Options, Ports, chart_object,
    depends::{self, Key},
    plan::{Observed, SourceSeen},
    settings,
    sources::{Sources, source_of},
    triggers::Triggers,
    values::values_of,
};

/// What was seen, and what was compiled on the way.
pub(crate) struct Seen {
    pub observed: Observed,
    pub expressions: Arc<HealthExpressions>,
    pub ignore: IgnoreRules,
    pub values: Values,
}

/// Looks at everything. `helm_chart` is `status.helmChart`, which follows `spec.chart`.
pub(crate) async fn observe(
    release: &HelmRelease,
    helm_chart: &mut String,
    ports: &Ports,
    sources: &Sources,
    options: &Options,
    triggers: &Triggers,
) -> Seen {
    let spec = &release.spec;
    let mut invalid = None;
    let mut refuse = |error: String| {
        invalid.get_or_insert((reasons::helm::INVALID_CEL_EXPRESSION, error));
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
        let compiled = match dependency.ready_expr.as_str() {
            "" => Ok(None),
            text => ReadyExpression::compile(text, format!("spec.dependsOn[{index}].readyExpr")).map(Some),
        };
        ready.push(compiled.unwrap_or_else(|error| {
            refuse(error.to_string());
            None
        }));
    }
    let rules = spec.drift_detection.as_ref().map(|drift| drift.ignore.as_slice());
    let ignore = IgnoreRules::new(rules.unwrap_or_default()).unwrap_or_else(|error| {
        let text = error
            .to_string()
            .replacen("spec.ignore", "spec.driftDetection.ignore", 1);
        invalid.get_or_insert((reasons::helm::RECONCILE_ERROR, text));
        IgnoreRules::default()
    });
    if settings::place_of(release).name.is_empty() {
        invalid.get_or_insert((reasons::helm::RECONCILE_ERROR, "the release has no name".to_owned()));
    }
    let unready = dependencies(release, &ready, ports, options, triggers);
    let (mut source, mut values, mut values_problem) = (SourceSeen::Unreadable(String::new()), Values::new(), None);
    if unready.is_none() && invalid.is_none() {
        source = match (&spec.chart, &spec.chart_ref) {
            (Some(template), _) => {
                chart_object::reconcile(release, template, helm_chart, ports, sources, options).await
            }
            (None, Some(reference)) => {
                let left = std::mem::take(helm_chart);
                match chart_object::delete(release, &left, ports).await {
                    Ok(()) => source_of(release, reference, ports, sources, options).await,
                    Err(message) => {
                        *helm_chart = left;
                        SourceSeen::Unreadable(message)
                    }
                }
            }
            (None, None) => source,
        };
        match values_of(release, &ports.client).await {
            Ok(found) => values = found,
            Err(error) => values_problem = Some(error.to_string()),
        }
    }
    let age = release
        .creation_timestamp()
        .map(|time| Timestamp::now().duration_since(time.0))
        .and_then(|age| Duration::try_from(age).ok())
        .unwrap_or(Duration::MAX);
    Seen {
        observed: Observed {
            source,
            unready,
            invalid,
            values_problem,
            age,
        },
        expressions: Arc::new(expressions),
        ignore,
        values,
    }
}

/// The first dependency that is not ready.
fn dependencies(
    release: &HelmRelease,
    expressions: &[Option<ReadyExpression>],
    ports: &Ports,
    options: &Options,
    triggers: &Triggers,
) -> Option<String> {
    let spec = &release.spec;
    if spec.depends_on.is_empty() {
        return None;
    }
    let this = nave_runtime::watch::key(release);
    let keys: Vec<Key> = spec
        .depends_on
        .iter()
        .map(|dependency| depends::key_of(dependency, &this.0))
        .collect();
    triggers.block(&this, &keys);
    for (key, expression) in keys.iter().zip(expressions) {
        let dependency = ports.helm_releases.get(&key.0, &key.1);
        let name = format!("{}/{}", key.0, key.1);
        let why = depends::not_ready(
            release,
            dependency.as_deref(),
            &name,
            expression.as_ref(),
            options.gates.additive_cel_dependency_check,
        );
        if why.is_some() {
            let cycle = nave_runtime::cycle(&this, |key| dependencies_of(key, ports));
            return cycle
                .map(|cycle| format!("dependencies wait for each other: {cycle}"))
                .or(why);
        }
    }
    triggers.unblock(&this, &keys);
    None
}

/// What a HelmRelease depends on, as far as it is known.
fn dependencies_of(key: &Key, ports: &Ports) -> Vec<Key> {
    let found = ports.helm_releases.get(&key.0, &key.1);
    let dependencies = found.iter().flat_map(|found| &found.spec.depends_on);
    dependencies
        .map(|dependency| depends::key_of(dependency, &key.0))
        .collect()
}
