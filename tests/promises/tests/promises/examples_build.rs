//! Every example builds with Nave's own engine, has a README, and its fleet objects fit the CRDs.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use anyhow::{Context, Result};
use nave_demo::examples;
use nave_kustomize::{Answers, MemoryTree, Options, Step};

#[test]
fn every_kustomization_of_the_examples_builds() -> Result<()> {
    let folder = examples::folder();
    let files = examples::files(&folder)?;
    let tree: MemoryTree = files
        .iter()
        .map(|(path, text)| (path.clone(), Arc::<[u8]>::from(text.as_bytes())))
        .collect();
    let mut built = 0;
    for (path, text) in &files {
        let is_kustomize = path.ends_with("kustomization.yaml") && text.contains("kustomize.config.k8s.io");
        if !is_kustomize {
            continue;
        }
        let dir = Path::new(path)
            .parent()
            .context("a file has a folder")?
            .to_string_lossy()
            .into_owned();
        match nave_kustomize::build(&tree, &dir, &Options::default(), &Answers::default())
            .with_context(|| format!("building {dir}"))?
        {
            Step::Done(objects) => assert!(!objects.is_empty(), "{dir} builds nothing"),
            Step::Needs(needs) => anyhow::bail!("{dir} needs {needs:?} from outside"),
        }
        built += 1;
    }
    assert!(built >= 12, "only {built} kustomizations found");
    Ok(())
}

#[test]
fn every_example_has_a_readme_and_fleet_objects_that_parse() -> Result<()> {
    let folder = examples::folder();
    let files = examples::files(&folder)?;
    let names: BTreeSet<&str> = files
        .iter()
        .filter_map(|(path, _)| path.split_once('/'))
        .map(|(name, _)| name)
        .collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        assert!(
            files.iter().any(|(path, _)| *path == format!("{name}/README.md")),
            "{name} has no README"
        );
    }
    let mut kinds = BTreeSet::new();
    // Templates of charts are no YAML before they are rendered, which is another test's matter.
    let is_manifest = |path: &str| path.ends_with(".yaml") && !path.contains("/templates/");
    for (path, _) in files.iter().filter(|(path, _)| is_manifest(path)) {
        for object in examples::objects(&folder.join(path))? {
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            let version = object["apiVersion"].as_str().unwrap_or_default();
            if version.starts_with("fleet.nave.dev/") {
                match kind.as_str() {
                    "FleetKustomization" => check::<nave_crds::FleetKustomization>(path, object)?,
                    "FleetHelmRelease" => check::<nave_crds::FleetHelmRelease>(path, object)?,
                    "Cluster" => check::<nave_crds::Cluster>(path, object)?,
                    other => anyhow::bail!("{path}: {other} is not checked here"),
                }
                kinds.insert(kind);
            }
        }
    }
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    Ok(())
}

#[test]
fn every_chart_of_the_examples_renders() -> Result<()> {
    let files = examples::files(&examples::folder())?;
    let mut rendered = 0;
    for (path, _) in files.iter().filter(|(path, _)| path.ends_with("/Chart.yaml")) {
        let folder = path.trim_end_matches("Chart.yaml");
        let inside = files
            .iter()
            .filter_map(|(path, text)| Some((path.strip_prefix(folder)?.to_owned(), text.clone().into_bytes())));
        let chart = nave_chart::load_folder(inside.collect::<Vec<_>>(), &nave_chart::LoadLimits::default())
            .with_context(|| format!("loading {folder}"))?;
        let host = serde_json::json!({"host": "status.example.com", "components": [{"name": "a", "url": "http://a"}]});
        for values in [serde_json::json!({}), host] {
            let values = values.as_object().expect("it is a map").clone();
            let request = nave_chart::RenderRequest::install("example", "default", values);
            let found = nave_chart::render(&chart, &request).with_context(|| format!("rendering {folder}"))?;
            assert!(
                !found.manifests.is_empty() && found.warnings.is_empty(),
                "{folder}: {:?}",
                found.warnings
            );
        }
        rendered += 1;
    }
    assert!(rendered >= 1, "no chart found");
    Ok(())
}

fn check<K: serde::de::DeserializeOwned + serde::Serialize>(path: &str, object: serde_json::Value) -> Result<()> {
    let typed: K = serde_json::from_value(object.clone()).with_context(|| format!("{path} does not fit its kind"))?;
    // A field that the type does not know is lost on the way back: a typing error in the example.
    let back = serde_json::to_value(typed)?;
    contains(path, "", &object["spec"], &back["spec"])
}

fn contains(path: &str, at: &str, given: &serde_json::Value, known: &serde_json::Value) -> Result<()> {
    if let Some(fields) = given.as_object() {
        for (name, value) in fields {
            let inner = known
                .get(name)
                .with_context(|| format!("{path}: spec{at}.{name} is not a field of this kind"))?;
            contains(path, &format!("{at}.{name}"), value, inner)?;
        }
    }
    Ok(())
}
