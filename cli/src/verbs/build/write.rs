//! Objects into files.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};
use nave_object::{Object, yaml};

/// Everything into one file.
pub fn one_file(path: &Path, text: &[u8]) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// One file for each object, named as kustomize names them: with the namespace only where there are several.
pub fn one_file_each(directory: &Path, objects: &[Object]) -> Result<()> {
    for (name, object) in names(objects).into_iter().zip(objects) {
        one_file(&directory.join(name), yaml::write(object.as_value()).as_bytes())?;
    }
    Ok(())
}

fn names(objects: &[Object]) -> Vec<String> {
    let namespaces: Vec<Option<&str>> = objects.iter().map(namespace_of).collect();
    let several = namespaces.iter().flatten().collect::<BTreeSet<_>>().len() > 1;
    objects
        .iter()
        .zip(&namespaces)
        .map(|(object, namespace)| {
            let gvk = object.gvk();
            let parts = [
                namespace.filter(|_| several).unwrap_or_default(),
                &gvk.group,
                &gvk.version,
                &gvk.kind,
                object.name(),
            ];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            // A name with a slash would be another directory's file.
            format!("{}.yaml", parts.join("_").to_lowercase().replace('/', "_"))
        })
        .collect()
}

/// None for what lives outside namespaces.
fn namespace_of(object: &Object) -> Option<&str> {
    if nave_kustomize::is_cluster_scoped(object.api_version(), object.kind()) {
        return None;
    }
    Some(
        object
            .namespace()
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or("default"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(api_version: &str, kind: &str, name: &str, namespace: Option<&str>) -> Object {
        let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
        Object::from_value(object).expect("an object")
    }

    #[test]
    fn files_are_named_as_kustomize_names_them() {
        let one = [
            object("v1", "ConfigMap", "Web", Some("apps")),
            object("apps/v1", "Deployment", "web", Some("apps")),
            object("v1", "Namespace", "apps", None),
        ];
        assert_eq!(
            names(&one),
            [
                "v1_configmap_web.yaml",
                "apps_v1_deployment_web.yaml",
                "v1_namespace_apps.yaml"
            ]
        );
        let several = [
            object("v1", "ConfigMap", "web", Some("apps")),
            object("example.com/v1", "Widget", "w", None),
            object("rbac.authorization.k8s.io/v1", "ClusterRole", "a:b/c", None),
        ];
        assert_eq!(
            names(&several),
            [
                "apps_v1_configmap_web.yaml",
                "default_example.com_v1_widget_w.yaml",
                "rbac.authorization.k8s.io_v1_clusterrole_a:b_c.yaml"
            ]
        );
    }
}
