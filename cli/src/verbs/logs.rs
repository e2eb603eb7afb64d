//! `nave logs`: what the agent or the hub wrote, line by line, filtered by object.

mod line;
mod pods;

use std::{io::Write, time::Duration};

use anyhow::{Context, Result, bail};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::LogParams};

use self::line::{Filter, Level, Line};
use crate::{
    connection::{self, Connection, ConnectionArguments, HUB_NAMESPACE},
    failure::{advised, quiet},
    hints,
    live::{LiveArguments, LiveCluster, What},
    output, say,
};

/// Show what the agent, or the hub, wrote about objects
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
One pod of each Deployment that is part of Flux is asked, so that controllers of Flux beside an agent are heard too. Lines
about objects of other namespaces than that of -n are left out; -A shows every line.

Examples:
  nave logs -A
  nave logs -A --level error --follow
  nave logs --kind Kustomization --name apps --since 10m
  nave logs --hub --tail 100
  nave logs --cluster eu-1 -n shop web-1 -c web --follow")]
pub struct Arguments {
    /// Pod of the cluster that --cluster names
    #[arg(value_name = "POD", requires = "cluster")]
    pod: Option<String>,
    /// Container of the pod
    #[arg(short, long, value_name = "NAME", requires = "pod")]
    container: Option<String>,
    /// The container before its last restart
    #[arg(short, long, requires = "pod")]
    previous: bool,
    /// The time before each line
    #[arg(long, requires = "pod")]
    timestamps: bool,
    #[command(flatten)]
    live: LiveArguments,
    /// Only lines of this level
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// Only lines about objects of this kind
    #[arg(long)]
    kind: Option<String>,
    /// Only lines about objects of this name
    #[arg(long)]
    name: Option<String>,
    /// Go on showing new lines
    #[arg(short, long)]
    follow: bool,
    /// How many of the latest lines to look at; -1 for all
    #[arg(long, value_name = "COUNT", default_value_t = -1, allow_negative_numbers = true)]
    tail: i64,
    /// Namespace that the pods are in
    #[arg(long, value_name = "NAMESPACE", conflicts_with = "hub")]
    flux_namespace: Option<String>,
    /// The hub's lines in place of the agent's
    #[arg(long)]
    hub: bool,
    /// Lines about objects of every namespace, and about none
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only lines that are younger
    #[arg(long, value_name = "DURATION", value_parser = connection::duration)]
    since: Option<Duration>,
    /// Only lines after this time
    #[arg(long, value_name = "TIME", conflicts_with = "since")]
    since_time: Option<Timestamp>,
}

/// Reads, filters and prints.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    if arguments.tail < -1 {
        bail!("--tail {} is no count of lines", arguments.tail);
    }
    let connection = to.connect().await?;
    if let Some(cluster) = &arguments.live.cluster {
        return of_cluster(&arguments, to, &connection, cluster).await;
    }
    let home = match (&arguments.flux_namespace, arguments.hub) {
        (Some(namespace), _) => namespace.clone(),
        (None, true) => HUB_NAMESPACE.to_owned(),
        (None, false) => "flux-system".to_owned(),
    };
    let namespace = match (arguments.all_namespaces, arguments.hub) {
        (true, _) => None,
        // A hub's objects are in many workspaces.
        (false, true) => to.workspace_filter(&connection),
        (false, false) => Some(to.flux_namespace(&connection)),
    };
    let filter = Filter {
        level: arguments.level,
        kind: arguments.kind.clone(),
        name: arguments.name.clone(),
        namespace,
    };
    let pods = pods::pods(&connection.client, &home, arguments.hub).await?;
    let api: Api<Pod> = Api::namespaced(connection.client.clone(), &home);
    // One after the other, or all at once when there is no end to the first.
    let at_once = if arguments.follow { pods.len() } else { 1 };
    let mut outcomes = stream::iter(&pods)
        .map(|pod| show(&api, pod, arguments.parameters(pod), &filter))
        .buffer_unordered(at_once);
    let mut failed = false;
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Err(error) if hints::is_broken_pipe(&error) => return Err(error),
            Err(error) => {
                failed = true;
                say::failure(&hints::describe(&error));
            }
            Ok(()) => {}
        }
    }
    if failed { Err(quiet()) } else { Ok(()) }
}

/// The log of a pod of a cluster of the fleet, as it is.
async fn of_cluster(
    arguments: &Arguments,
    to: &ConnectionArguments,
    connection: &Connection,
    cluster: &str,
) -> Result<()> {
    let Some(pod) = &arguments.pod else {
        return Err(advised(
            "--cluster shows the log of a pod, and none is named",
            "`nave get pods --cluster NAME -n NAMESPACE` lists them",
        ));
    };
    if arguments.level.is_some()
        || arguments.kind.is_some()
        || arguments.name.is_some()
        || arguments.since_time.is_some()
    {
        bail!("--level, --kind, --name and --since-time are for the logs of the agent and the hub, not for --cluster");
    }
    let cluster = LiveCluster::find(connection, cluster).await?;
    let flag = |set: bool| if set { "true".to_owned() } else { String::new() };
    let tail = if arguments.tail > 0 {
        arguments.tail.to_string()
    } else {
        String::new()
    };
    let since = arguments.since.map_or_else(String::new, |since| {
        (since.as_secs() + u64::from(since.subsec_nanos() > 0)).to_string()
    });
    let parameters = [
        (
            "namespace",
            to.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        ),
        ("name", pod.clone()),
        ("container", arguments.container.clone().unwrap_or_default()),
        ("follow", flag(arguments.follow)),
        ("previous", flag(arguments.previous)),
        ("timestamps", flag(arguments.timestamps)),
        ("tailLines", tail),
        ("sinceSeconds", since),
    ];
    let mut answer = cluster.ask(connection, What::Log, &parameters).await?;
    while let Some(piece) = answer.next().await? {
        output::print_data(&piece)?;
    }
    Ok(())
}

async fn show(api: &Api<Pod>, pod: &Pod, parameters: LogParams, filter: &Filter) -> Result<()> {
    let name = pod.name_any();
    let what = || format!("getting the logs of pod {name}");
    let stream = api.log_stream(&name, &parameters).await.with_context(what)?;
    let mut lines = std::pin::pin!(stream.lines());
    while let Some(text) = lines.try_next().await.with_context(what)? {
        // What is no JSON comes from before logging began, or from a panic; flux leaves it out, too.
        if let Some(line) = Line::parse(&text).filter(|line| filter.selects(line)) {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{line}")?;
            out.flush()?;
        }
    }
    Ok(())
}

impl Arguments {
    fn parameters(&self, pod: &Pod) -> LogParams {
        let containers = pod.spec.as_ref().map_or(&[][..], |spec| &spec.containers[..]);
        // Beside the controller there may be what a mesh puts into every pod.
        let container = (containers.len() > 1).then(|| {
            let names: Vec<&str> = containers.iter().map(|container| container.name.as_str()).collect();
            let known = ["manager", "agent", "hub"]
                .into_iter()
                .find(|name| names.contains(name));
            known.unwrap_or(names[0]).to_owned()
        });
        LogParams {
            container,
            follow: self.follow,
            since_seconds: self.since.map(|since| {
                let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
                i64::try_from(seconds).unwrap_or(i64::MAX)
            }),
            since_time: self.since_time,
            tail_lines: (self.tail >= 0).then_some(self.tail),
            ..LogParams::default()
        }
    }
}
