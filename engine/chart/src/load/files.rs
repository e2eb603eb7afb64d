//! Files into a chart and the charts below it.

use std::collections::BTreeMap;

use super::archive::load_packed;
use super::{Budget, LoadError, LoadLimits};
use crate::decode::first_document;
use crate::text::extension;
use crate::values::load_values;
use crate::{Chart, DecodeError, File, Lock, Metadata};

/// Loads a chart from its files, without looking at `.helmignore`; their order is kept.
///
/// # Errors
/// There is more than `limits` allow, or there is no valid chart.
pub fn load_files(files: impl IntoIterator<Item = File>, limits: &LoadLimits) -> Result<Chart, LoadError> {
    let mut budget = Budget::new(limits);
    let mut taken = Vec::new();
    for file in files {
        budget.take(&file.name, file.data.len() as u64)?;
        taken.push(file);
    }
    load_chart(taken, &mut budget, true)
}

/// `top` charts must say a version of the format that is known; those below need not.
pub(super) fn load_chart(files: Vec<File>, budget: &mut Budget, top: bool) -> Result<Chart, LoadError> {
    let mut metadata: Option<Metadata> = None;
    let mut chart = Chart {
        metadata: Metadata::default(),
        lock: None,
        templates: Vec::new(),
        values: crate::Values::new(),
        schema: None,
        files: Vec::new(),
        modified: None,
        dependencies: Vec::new(),
    };
    for file in files.iter().filter(|file| file.name == "Chart.yaml") {
        let metadata = metadata.get_or_insert_default();
        read_metadata(metadata, file)?;
        if metadata.api_version.is_empty() {
            metadata.api_version = "v1".to_owned();
        }
        chart.modified = file.modified;
    }
    if top {
        match &metadata {
            None => return Err(LoadError::NoChartYaml),
            Some(metadata) if !matches!(metadata.api_version.as_str(), "v1" | "v2") => {
                return Err(LoadError::ApiVersion {
                    version: metadata.api_version.clone(),
                });
            }
            Some(_) => {}
        }
    }
    let mut packed: BTreeMap<String, Vec<File>> = BTreeMap::new();
    for file in files {
        match file.name.as_str() {
            "Chart.yaml" => {}
            "Chart.lock" => chart.lock = read_lock(&file)?,
            "values.yaml" => chart.values = load_values(&file.data).map_err(in_file(&file.name))?,
            "values.schema.json" => chart.schema = Some(file),
            // Of charts before Helm 3, whose requirements were files of their own.
            "requirements.yaml" => {
                let metadata = metadata.get_or_insert_default();
                read_metadata(metadata, &file)?;
                if metadata.api_version == "v1" {
                    chart.files.push(file);
                }
            }
            "requirements.lock" => {
                chart.lock = read_lock(&file)?;
                if metadata.get_or_insert_default().api_version == "v1" {
                    chart.files.push(file);
                }
            }
            name if name.starts_with("templates/") => chart.templates.push(file),
            name if name.starts_with("charts/") && extension(name) != ".prov" => {
                let name = name["charts/".len()..].to_owned();
                let entry = name.split('/').next().unwrap_or(&name).to_owned();
                packed.entry(entry).or_default().push(File { name, ..file });
            }
            _ => chart.files.push(file),
        }
    }
    chart.metadata = metadata.ok_or(LoadError::NoChartYaml)?;
    chart.metadata.sanitize_and_check()?;
    for (entry, files) in packed {
        if entry.starts_with(['_', '.']) {
            continue;
        }
        budget.enter()?;
        let below = load_below(&entry, files, chart.name(), budget)?;
        budget.leave();
        chart.dependencies.push(below);
    }
    Ok(chart)
}

fn load_below(entry: &str, files: Vec<File>, chart: &str, budget: &mut Budget) -> Result<Chart, LoadError> {
    let wrap = |source| LoadError::Subchart {
        name: entry.to_owned(),
        chart: chart.to_owned(),
        source: Box::new(source),
    };
    if extension(entry) == ".tgz" {
        let file = &files[0];
        if file.name != entry {
            return Err(LoadError::PackedFolder {
                chart: chart.to_owned(),
                name: entry.to_owned(),
                found: file.name.clone(),
            });
        }
        return load_packed(&file.data, budget, false).map_err(wrap);
    }
    // A file that stands in charts/ by itself is no chart.
    let files = files.into_iter().filter_map(|file| {
        let name = file.name.split_once('/')?.1.to_owned();
        Some(File { name, ..file })
    });
    load_chart(files.collect(), budget, false).map_err(wrap)
}

fn in_file(name: &str) -> impl Fn(DecodeError) -> LoadError + use<> {
    let file = name.to_owned();
    move |source| LoadError::File {
        file: file.clone(),
        source,
    }
}

fn read_metadata(metadata: &mut Metadata, file: &File) -> Result<(), LoadError> {
    let read = || match first_document(&file.data)? {
        Some(document) => metadata.read(&document),
        None => Ok(()),
    };
    let mut read = read;
    read().map_err(in_file(&file.name))
}

fn read_lock(file: &File) -> Result<Option<Lock>, LoadError> {
    let read = || match first_document(&file.data)? {
        Some(document) => Lock::read(&document),
        None => Ok(None),
    };
    read().map_err(in_file(&file.name))
}
