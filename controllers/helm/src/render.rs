//! A chart and values into what a release record holds.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use kube::ResourceExt;
use nave_chart::{Chart, Crd, File, ReleaseInfo, RenderError, RenderLimits, RenderRequest, Rendered, Resolve, Values};
use nave_release::{ChartRecord, FileRecord, Hook, HookExecution, Release};
use tokio::runtime::Handle;

use crate::{
    act::{Act, Failed},
    capabilities::Shared,
    documents::WebDocuments,
    lookup::{ClusterLookup, HostResolver},
    post_render::PostRenderer,
    settings,
    write::Method,
};

/// What is rendered.
pub(crate) struct Wanted<'a> {
    pub chart: &'a Arc<Chart>,
    pub values: &'a Values,
    pub revision: i64,
    pub is_upgrade: bool,
    pub skip_schema_validation: bool,
    /// How the objects will be applied.
    pub method: Method,
    pub capabilities: &'a Shared,
}

impl Act<'_> {
    /// Renders a chart for a new version of the release, which has no status yet.
    pub async fn render(&self, wanted: &Wanted<'_>) -> Result<Release, Failed> {
        let rendered = self.rendered(wanted).await?.map_err(|error| Failed::of(&error))?;
        let renderer = PostRenderer {
            spec: &self.object.spec,
            strategy: settings::post_render_strategy(&self.object.spec, &self.options.gates),
            name: &self.object.name_any(),
            namespace: &self.object.namespace().unwrap_or_default(),
        };
        let sorted = renderer.run(&rendered.files)?;
        let mut manifest = String::new();
        for part in &sorted.manifests {
            manifest.push_str(&format!("---\n# Source: {}\n{}\n", part.source, part.text));
        }
        let mut release = Release {
            name: self.place.name.clone(),
            namespace: self.place.namespace.clone(),
            version: wanted.revision,
            chart: Some(record_of(&rendered.chart)),
            config: wanted.values.clone(),
            manifest,
            hooks: sorted.hooks.iter().map(hook_of).collect(),
            apply_method: Some(settings::recorded(wanted.method)),
            ..Release::default()
        };
        release.info.get_or_insert_default().notes = rendered.notes;
        Ok(release)
    }

    /// The definitions of a chart and of those below it that are switched on.
    pub async fn definitions_of(&self, wanted: &Wanted<'_>) -> Result<Vec<Crd>, Failed> {
        let all = wanted.chart.crds();
        if all.is_empty() {
            return Ok(all);
        }
        match self.rendered(wanted).await? {
            Ok(rendered) => Ok(rendered.crds),
            // It may fail just because they are not there yet.
            Err(_) => Ok(all),
        }
    }

    async fn rendered(&self, wanted: &Wanted<'_>) -> Result<Result<Rendered, RenderError>, Failed> {
        let capabilities = wanted.capabilities.of(self.target).await?;
        let release = ReleaseInfo {
            name: self.place.name.clone(),
            namespace: self.place.namespace.clone(),
            revision: wanted.revision,
            is_upgrade: wanted.is_upgrade,
        };
        let (chart, values) = (wanted.chart.clone(), wanted.values.clone());
        let skip_schema_validation = wanted.skip_schema_validation;
        let lookup = ClusterLookup {
            target: self.target.clone(),
            runtime: Handle::current(),
        };
        let allows_dns = self.options.gates.allow_dns_lookups;
        tokio::task::spawn_blocking(move || {
            let request = RenderRequest {
                release,
                capabilities,
                values,
                lookup: Some(Arc::new(lookup)),
                resolve: allows_dns.then(|| Arc::new(HostResolver) as Arc<dyn Resolve>),
                schema_documents: Some(Arc::new(WebDocuments)),
                seed: rand::random(),
                now: Timestamp::now(),
                skip_schema_validation,
                subchart_notes: false,
                limits: RenderLimits::default(),
            };
            nave_chart::render(&chart, &request)
        })
        .await
        .map_err(|_| Failed::new("rendering the chart panicked; please report this"))
    }
}

fn hook_of(hook: &nave_chart::Hook) -> Hook {
    Hook {
        name: hook.name.clone(),
        kind: hook.kind.clone(),
        path: hook.path.clone(),
        manifest: hook.manifest.clone(),
        events: hook.events.iter().map(|event| event.as_str().to_owned()).collect(),
        last_run: HookExecution::default(),
        weight: hook.weight,
        delete_policies: hook.delete_policies.iter().map(|one| one.as_str().to_owned()).collect(),
        output_log_policies: hook
            .output_log_policies
            .iter()
            .map(|one| one.as_str().to_owned())
            .collect(),
    }
}

/// The chart as Helm stores it: `Chart.yaml` and files, without the charts below.
fn record_of(chart: &Chart) -> ChartRecord {
    let again = |value: serde_json::Result<serde_json::Value>| value.expect("texts, numbers and lists are JSON");
    let files = |files: &[File]| {
        let records = files.iter().map(|file| FileRecord {
            name: file.name.clone(),
            data: Some(BASE64_STANDARD.encode(&file.data)),
            modtime: file.modified.map(Into::into).unwrap_or_default(),
        });
        (!files.is_empty()).then(|| records.collect())
    };
    let metadata = again(serde_json::to_value(&chart.metadata));
    let lock = chart.lock.as_ref().map(|lock| again(serde_json::to_value(lock)));
    ChartRecord {
        metadata: Some(serde_json::from_value(metadata).expect("both sides have the fields of Chart.yaml")),
        lock: lock.map(|lock| serde_json::from_value(lock).expect("both sides have the fields of Chart.lock")),
        templates: files(&chart.templates),
        values: Some(chart.values.clone()),
        schema: chart.schema.as_ref().map(|schema| BASE64_STANDARD.encode(&schema.data)),
        files: files(&chart.files),
        modtime: chart.modified.map(Into::into).unwrap_or_default(),
        ..ChartRecord::default()
    }
}
