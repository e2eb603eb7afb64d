//! What an installation consists of: definitions and the bases under `deploy/`, built with our own engine.
//!
//! deploy/base/<component> ─build─► objects ─relocate─► another namespace ─► image, arguments

mod edit;
mod embedded;

use anyhow::{Context, Result, bail};
use nave_kustomize::{Answers, MemoryTree, Options, Step};
use nave_object::{Object, order, yaml};
use serde_json::Value;

use crate::connection::{FLUX_NAMESPACE, HUB_NAMESPACE};

/// Which program is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// The reconcilers of one cluster.
    Agent,
    /// The centre of a fleet.
    Hub,
}

/// What can be chosen about an installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallOptions {
    /// Namespace; the component's own when not set.
    pub namespace: Option<String>,
    /// Image of the container; that of this version when not set.
    pub image: Option<String>,
    /// Secret with the join token, in the namespace (agent).
    pub hub_secret: Option<String>,
    /// Addresses that agents are to dial, `host:port` (hub).
    pub advertise: Vec<String>,
    /// Address of a notification-controller (agent).
    pub events_addr: Option<String>,
    /// `trace`, `debug`, `info` or `error`; `info` when not set.
    pub log_level: Option<String>,
    /// Without the custom resource definitions.
    pub without_definitions: bool,
}

impl Component {
    /// Where it is installed unless told otherwise.
    pub fn default_namespace(self) -> &'static str {
        match self {
            Component::Agent => FLUX_NAMESPACE,
            Component::Hub => HUB_NAMESPACE,
        }
    }

    /// Name of its Deployment, ServiceAccount and program.
    pub fn name(self) -> &'static str {
        match self {
            Component::Agent => "nave-agent",
            Component::Hub => "nave-hub",
        }
    }

    /// Whether a definition belongs to it. The hub needs the Flux kinds too: its own sources, and Kustomizations for
    /// clusters reached by kubeconfig.
    fn needs(self, group: &str) -> bool {
        self == Component::Hub || group.ends_with(".fluxcd.io")
    }
}

/// Every object of an installation, in the order in which they are applied.
///
/// # Errors
/// None in a release, as the files are part of the program and a test builds them.
pub fn manifests(component: Component, options: &InstallOptions) -> Result<Vec<Object>> {
    let mut objects = if options.without_definitions {
        Vec::new()
    } else {
        definitions(component)?
    };
    let mut built = build(component)?;
    if let Some(namespace) = &options.namespace {
        edit::relocate(&mut built, component.default_namespace(), namespace);
    }
    let deployment = built
        .iter_mut()
        .find(|object| object.kind() == "Deployment" && object.name() == component.name())
        .with_context(|| format!("the manifests have no Deployment {}", component.name()))?;
    if let Some(image) = &options.image {
        edit::set_image(deployment, image);
    }
    if let Some(secret) = &options.hub_secret {
        edit::set_argument(deployment, "hub-secret", secret);
    }
    if !options.advertise.is_empty() {
        edit::set_argument(deployment, "advertise", &options.advertise.join(","));
    }
    if let Some(address) = &options.events_addr {
        edit::set_argument(deployment, "events-addr", address);
    }
    if let Some(level) = &options.log_level {
        edit::set_argument(deployment, "log-level", level);
    }
    built.sort_by(order::apply_order);
    objects.extend(built);
    Ok(objects)
}

/// The value of `--<name>=…` among the arguments of a Deployment's first container.
pub fn argument<'a>(deployment: &'a Value, name: &str) -> Option<&'a str> {
    let prefix = format!("--{name}=");
    deployment
        .pointer("/spec/template/spec/containers/0/args")?
        .as_array()?
        .iter()
        .filter_map(Value::as_str)
        .find_map(|argument| argument.strip_prefix(&prefix))
}

/// The definitions that a component needs, by way of their files, so that both are the same to the letter.
fn definitions(component: Component) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    for definition in nave_crds::all()
        .iter()
        .filter(|definition| component.needs(&definition.spec.group))
    {
        let text = nave_crds::render(definition);
        objects.extend(yaml::read_objects(&text, &nave_crds::file_name(definition))?);
    }
    Ok(objects)
}

fn build(component: Component) -> Result<Vec<Object>> {
    let files = embedded::files(component);
    let tree: MemoryTree = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    match nave_kustomize::build(&tree, "", &Options::default(), &Answers::default())? {
        Step::Done(objects) => Ok(objects),
        Step::Needs(_) => bail!(
            "the manifests of {} refer to something outside of the program",
            component.name()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(objects: &[Object]) -> Vec<String> {
        objects.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_agent_brings_flux_kinds_and_the_hub_its_own_too() {
        let of = |component| names(&manifests(component, &InstallOptions::default()).expect("built in"));
        let (agent, hub) = (of(Component::Agent), of(Component::Hub));
        let flux = "CustomResourceDefinition/kustomizations.kustomize.toolkit.fluxcd.io".to_owned();
        let fleet = "CustomResourceDefinition/clusters.fleet.nave.dev".to_owned();
        assert!(
            agent.contains(&flux) && hub.contains(&flux) && hub.contains(&fleet),
            "{agent:?} {hub:?}"
        );
        assert!(!agent.contains(&fleet));
        assert!(agent.contains(&"Service/flux-system/source-controller".to_owned()));
        assert!(hub.contains(&"Deployment/nave-system/nave-hub".to_owned()), "{hub:?}");
    }

    #[test]
    fn the_version_on_the_labels_is_this_one() {
        for component in [Component::Agent, Component::Hub] {
            for object in manifests(
                component,
                &InstallOptions {
                    without_definitions: true,
                    ..Default::default()
                },
            )
            .unwrap()
            {
                assert_eq!(
                    object.label("app.kubernetes.io/version"),
                    Some(concat!("v", env!("CARGO_PKG_VERSION"))),
                    "{object}"
                );
                assert!(object.label("app.kubernetes.io/part-of").is_some(), "{object}");
            }
        }
    }

    #[test]
    fn options_reach_the_deployment() {
        let options = InstallOptions {
            namespace: Some("elsewhere".into()),
            image: Some("registry.example:5000/agent@sha256:1".into()),
            hub_secret: Some("nave-agent-hub".into()),
            events_addr: Some("http://events/".into()),
            log_level: Some("debug".into()),
            ..Default::default()
        };
        let objects = manifests(Component::Agent, &options).unwrap();
        let deployment = objects
            .iter()
            .find(|object| object.kind() == "Deployment")
            .unwrap()
            .as_value();
        assert_eq!(argument(deployment, "hub-secret"), Some("nave-agent-hub"));
        assert_eq!(argument(deployment, "events-addr"), Some("http://events/"));
        assert_eq!(argument(deployment, "log-level"), Some("debug"));
        assert_eq!(
            deployment
                .pointer("/spec/template/spec/containers/0/image")
                .and_then(Value::as_str),
            Some("registry.example:5000/agent@sha256:1")
        );
    }
}
