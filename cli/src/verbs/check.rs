//! `nave check`: what has to be there, and what must not be there beside it.

mod findings;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
        coordination::v1::Lease,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, PostParams},
};

use crate::{
    connection::{Connection, ConnectionArguments},
    failure::quiet,
    hints, say, wait,
};
use findings::{Holder, holder_of, supported};

/// Labels of what belongs to an installation.
const OURS: &str = "app.kubernetes.io/part-of in (flux,nave)";
/// Leases that Flux's controllers and the agent hold in turn.
const FLUX_LEASES: [&str; 2] = [
    "source-controller-leader-election",
    "kustomize-controller-leader-election",
];

/// Check the cluster and what is installed in it
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "The exit code is 1 when a check failed.")]
pub struct Arguments {
    /// Only check what an installation needs
    #[arg(long)]
    pre: bool,
}

/// Runs every check, whatever the ones before said.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let connection = to.connect().await?;
    let mut passed = true;
    say::action("checking prerequisites");
    passed &= kubernetes(&connection).await?;
    if arguments.pre {
        passed &= permissions(&connection).await?;
        if !passed {
            return Err(quiet());
        }
        say::success("prerequisites checks passed");
        return Ok(());
    }
    say::action("checking controllers");
    let deployments = deployments(&connection).await?;
    passed &= controllers(&connection, &deployments, to).await;
    say::action("checking crds");
    passed &= definitions(&connection, &deployments).await?;
    say::action("checking leases");
    passed &= leases(&connection, &deployments, to).await?;
    if !passed {
        say::failure("check failed");
        return Err(quiet());
    }
    say::success("all checks passed");
    Ok(())
}

async fn kubernetes(connection: &Connection) -> Result<bool> {
    let version = connection
        .client
        .apiserver_version()
        .await
        .with_context(|| format!("asking {} for its version", connection.server))?
        .git_version;
    Ok(match supported(&version) {
        Ok(()) => {
            say::success(&format!("Kubernetes {version} >={}", findings::MINIMUM));
            true
        }
        Err(problem) => {
            say::failure(&problem);
            false
        }
    })
}

/// What `install` has to be allowed to do.
async fn permissions(connection: &Connection) -> Result<bool> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(connection.client.clone());
    let mut passed = true;
    for (group, resource) in [
        ("", "namespaces"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ("", "serviceaccounts"),
        ("", "services"),
        ("apps", "deployments"),
        ("networking.k8s.io", "networkpolicies"),
    ] {
        for verb in ["create", "patch"] {
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(ResourceAttributes {
                        group: Some(group.to_owned()),
                        resource: Some(resource.to_owned()),
                        verb: Some(verb.to_owned()),
                        ..ResourceAttributes::default()
                    }),
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            let answer = reviews
                .create(&PostParams::default(), &review)
                .await
                .context("asking for our own rights")?;
            if !answer.status.is_some_and(|status| status.allowed) {
                say::failure(&format!("these credentials may not {verb} {resource}"));
                passed = false;
            }
        }
    }
    if passed {
        say::success("these credentials may install");
    }
    Ok(passed)
}

async fn deployments(connection: &Connection) -> Result<Vec<Deployment>> {
    let api: Api<Deployment> = Api::all(connection.client.clone());
    let found = api
        .list(&ListParams::default().labels(OURS))
        .await
        .context("listing deployments")?;
    Ok(found.items)
}

/// Each Deployment is given the time to become ready.
async fn controllers(connection: &Connection, deployments: &[Deployment], to: &ConnectionArguments) -> bool {
    if deployments.is_empty() {
        say::failure("no controllers found");
        say::hint("`nave install --agent` or `nave install --hub` installs one");
        return false;
    }
    let mut passed = true;
    for deployment in deployments {
        let (name, namespace) = (deployment.name_any(), deployment.namespace().unwrap_or_default());
        if deployment.spec.replicas == Some(0) {
            say::warning(&format!("{name}: scaled to zero in {namespace} namespace"));
            continue;
        }
        let resource = kube::api::ApiResource::erase::<Deployment>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(connection.client.clone(), &namespace, &resource);
        let what = format!("waiting for {name}");
        match wait::until(api, &name, &what, to.timeout, |object| wait::deployment(object, 1)).await {
            Ok(_) => say::success(&format!("{name}: deployment ready")),
            Err(error) => {
                say::failure(&format!("{name}: {}", hints::describe(&error)));
                passed = false;
            }
        }
        for image in images(deployment) {
            say::action(&image);
        }
    }
    passed
}

/// The images of a Deployment's containers.
pub fn images(deployment: &Deployment) -> Vec<String> {
    let pod = deployment.spec.template.spec.as_ref();
    pod.into_iter()
        .flat_map(|pod| &pod.containers)
        .filter_map(|container| container.image.clone())
        .collect()
}

/// Every definition that what is installed needs, established and in a version that we speak.
async fn definitions(connection: &Connection, deployments: &[Deployment]) -> Result<bool> {
    let api: Api<CustomResourceDefinition> = Api::all(connection.client.clone());
    let hub = deployments.iter().any(|deployment| deployment.name_any() == "nave-hub");
    let mut passed = true;
    for wanted in nave_crds::all() {
        let name = wanted.name_any();
        if !hub && wanted.spec.group == "fleet.nave.dev" {
            continue;
        }
        let Some(found) = api
            .get_opt(&name)
            .await
            .with_context(|| format!("getting the definition {name}"))?
        else {
            say::failure(&format!("{name} is not installed"));
            passed = false;
            continue;
        };
        match findings::definition(&found, &wanted) {
            Ok(version) => say::success(&format!("{name}/{version}")),
            Err(problem) => {
                say::failure(&format!("{name}: {problem}"));
                passed = false;
            }
        }
    }
    Ok(passed)
}

/// Nave and Flux take turns by the same Leases; both at once is what must not be.
async fn leases(connection: &Connection, deployments: &[Deployment], to: &ConnectionArguments) -> Result<bool> {
    let agent = deployments
        .iter()
        .find(|deployment| deployment.name_any() == "nave-agent");
    let namespace = match agent.and_then(ResourceExt::namespace) {
        Some(namespace) => namespace,
        None => to.flux_namespace(connection),
    };
    let api: Api<Lease> = Api::namespaced(connection.client.clone(), &namespace);
    let mut passed = true;
    for name in FLUX_LEASES {
        let lease = api
            .get_opt(name)
            .await
            .with_context(|| format!("getting Lease {namespace}/{name}"))?;
        match lease.as_ref().and_then(|lease| holder_of(lease, Timestamp::now())) {
            None => say::success(&format!("{name}: held by nobody")),
            Some(Holder::Nave(holder)) => say::success(&format!("{name}: held by {holder}")),
            Some(Holder::Other(holder)) if agent.is_none() => say::success(&format!("{name}: held by {holder}")),
            Some(Holder::Other(holder)) => {
                say::failure(&format!("{name}: held by {holder}, the agent waits for it"));
                say::hint("stop the other controller: two of them would undo each other's work");
                passed = false;
            }
        }
    }
    Ok(passed)
}
