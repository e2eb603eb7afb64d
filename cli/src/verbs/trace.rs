//! `nave trace`: who put an object here, from which source and revision, and how that went.

mod owner;
mod report;

use anyhow::{Context, Result, bail};
use kube::api::DynamicObject;

use crate::{
    connection::{Connection, ConnectionArguments},
    discovery::{Discovery, Lazy},
    failure::{advised, quiet},
    hints, output, say,
};

/// Show who put an object here, from which source and revision
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
An object that another one made, such as a Pod, is traced by way of its owner. Objects are looked for in flux-system
unless -n names another namespace.

Examples:
  nave trace -n apps deployment web
  nave trace -n apps pod/web-0 configmap/web
  nave trace namespace apps
  nave trace web --kind Deployment --api-version apps/v1 -n apps")]
pub struct Arguments {
    /// Kind and names, or KIND/NAME several times; with --kind a name
    #[arg(value_name = "KIND NAME|KIND/NAME", required = true, num_args = 1..)]
    objects: Vec<String>,
    /// Kind of the object, in place of asking the cluster what it knows
    #[arg(long, requires = "api_version")]
    kind: Option<String>,
    /// API version of the object
    #[arg(long, value_name = "VERSION", requires = "kind")]
    api_version: Option<String>,
}

/// Traces each object; what cannot be traced is said, and the exit code is 1 then.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let connection = to.connect().await?;
    let namespace = to.flux_namespace(&connection);
    let discovery = Lazy::new(&connection.client);
    let wanted = wanted(&arguments)?;
    let mut text = String::new();
    let mut failed = false;
    for (kind, name) in wanted {
        let known = match (&arguments.kind, &arguments.api_version) {
            (Some(kind), Some(api_version)) => Discovery::one(&connection.client, api_version, kind).await?,
            _ => discovery.get().await?.named(&kind)?.clone(),
        };
        let what = format!("{}/{name}", known.kind());
        let object = known
            .api(&connection.client, &namespace)
            .get_opt(&name)
            .await
            .with_context(|| format!("getting {what}"))?;
        let traced = match object {
            Some(object) => trace(&connection, &discovery, known.kind(), object).await,
            None => Err(advised(
                format!("{what} not found in {namespace:?} namespace"),
                "choose a namespace with -n",
            )),
        };
        match traced {
            Ok(report) => {
                if !text.is_empty() {
                    text.push_str("---\n");
                }
                text.push_str(&report);
            }
            Err(error) => {
                failed = true;
                say::failure(&format!("tracing {what}: {}", hints::describe(&error)));
                hints::hints(&error).iter().for_each(|hint| say::hint(hint));
            }
        }
    }
    output::print_text(&text)?;
    if failed { Err(quiet()) } else { Ok(()) }
}

async fn trace(connection: &Connection, discovery: &Lazy<'_>, kind: &str, object: DynamicObject) -> Result<String> {
    match owner::owner_of(connection, discovery, &object).await? {
        Some(owner) => report::report(connection, kind, &object, &owner).await,
        None => bail!(
            "it is not managed by Flux: neither it nor its owners have the labels of a Kustomization or HelmRelease"
        ),
    }
}

/// Kinds and names: `deployment a b`, `deployment/a pod/b`, or names alone with `--kind`.
fn wanted(arguments: &Arguments) -> Result<Vec<(String, String)>> {
    let words = &arguments.objects;
    let usage = || {
        advised(
            "either KIND/NAME or KIND NAME is required",
            "for example: `nave trace deployment/web`, `nave trace deployment web`",
        )
    };
    if let Some(kind) = &arguments.kind {
        return Ok(words.iter().map(|name| (kind.clone(), name.clone())).collect());
    }
    let slashed: Vec<_> = words.iter().filter_map(|word| word.split_once('/')).collect();
    if slashed.len() == words.len() {
        if slashed.iter().any(|(kind, name)| kind.is_empty() || name.is_empty()) {
            return Err(usage());
        }
        return Ok(slashed
            .into_iter()
            .map(|(kind, name)| (kind.to_owned(), name.to_owned()))
            .collect());
    }
    match words.split_first() {
        Some((kind, names)) if slashed.is_empty() && !names.is_empty() => {
            Ok(names.iter().map(|name| (kind.clone(), name.clone())).collect())
        }
        _ => Err(usage()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_in_two_ways() {
        let check = |line: &str, kind: Option<&str>, expected: Option<&[(&str, &str)]>| {
            let arguments = Arguments {
                objects: line.split_whitespace().map(str::to_owned).collect(),
                kind: kind.map(str::to_owned),
                api_version: kind.map(|_| "v1".to_owned()),
            };
            let found = wanted(&arguments).ok();
            let found: Option<Vec<(&str, &str)>> = found
                .as_ref()
                .map(|list| list.iter().map(|(kind, name)| (kind.as_str(), name.as_str())).collect());
            assert_eq!(found.as_deref(), expected, "{line}");
        };
        check("deployment web", None, Some(&[("deployment", "web")]));
        check(
            "deployment a b",
            None,
            Some(&[("deployment", "a"), ("deployment", "b")]),
        );
        check("pod/a cm/b", None, Some(&[("pod", "a"), ("cm", "b")]));
        check("web", Some("Pod"), Some(&[("Pod", "web")]));
        check("web", None, None);
        check("pod/a b", None, None);
        check("pod/", None, None);
    }
}
