//! The files of `deploy/base`, as part of the program.

use super::Component;

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../deploy/base/", $folder, "/", $name)))),*]
    };
}

static AGENT: &[(&str, &str)] = files!(
    "agent":
    "deployment.yaml",
    "kustomization.yaml",
    "namespace.yaml",
    "network-policy.yaml",
    "rbac.yaml",
    "resource-quota.yaml",
    "service-account.yaml",
    "service.yaml",
);

static HUB: &[(&str, &str)] = files!(
    "hub":
    "deployment.yaml",
    "kustomization.yaml",
    "namespace.yaml",
    "network-policy.yaml",
    "rbac.yaml",
    "service-account.yaml",
    "service.yaml",
);

/// Names and texts of a component's files.
pub(super) fn files(component: Component) -> &'static [(&'static str, &'static str)] {
    match component {
        Component::Agent => AGENT,
        Component::Hub => HUB,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folders_is_built_in() {
        for (component, folder) in [(Component::Agent, "agent"), (Component::Hub, "hub")] {
            let folder = format!("{}/../deploy/base/{folder}", env!("CARGO_MANIFEST_DIR"));
            let mut on_disk: Vec<String> = std::fs::read_dir(&folder)
                .expect(&folder)
                .map(|entry| entry.expect(&folder).file_name().into_string().expect("a plain name"))
                .collect();
            on_disk.sort();
            let built_in: Vec<&str> = files(component).iter().map(|(name, _)| *name).collect();
            assert_eq!(built_in, on_disk, "{folder}");
        }
    }
}
