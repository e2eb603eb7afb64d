//! `nave doctor`: why a link does not come up, from this machine.

mod clusters;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::ListParams};
use nave_crds::Cluster;
use nave_identity::JoinToken;
use nave_quic::{
    AgentIdentity, DialOptions, ProxyRules,
    doctor::{Finding, Health, clock_finding, examine, healthy},
};
use serde::Deserialize;

use super::{
    hub::HubInfo,
    join::{HUB_SECRET, LinkView, read_token},
};
use crate::{
    connection::{Connection, ConnectionArguments, FLUX_NAMESPACE, HUB_NAMESPACE},
    failure::{advised, quiet},
    say,
};

/// Find out why an agent does not reach its hub
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Looks from this machine: name, UDP, TCP, proxy (HTTPS_PROXY, NO_PROXY), certificate, clock and key. Nothing is changed
and no token is used. With --token it needs no cluster; otherwise the cluster is a spoke, whose agent's secret is read,
or the hub's. From where the agent runs, the same is

  kubectl -n flux-system exec deploy/nave-agent -- nave-agent doctor --hub-secret nave-agent-hub

The exit code is 1 when the link cannot work.

Examples:
  nave doctor --token nave1.…
  nave doctor --context eu-1
  nave doctor --context hub")]
pub struct Arguments {
    /// Join token that is to be used; `-` reads it from standard input
    // Has the identifier of the global flag for a bearer token and takes its place below this verb.
    #[arg(long, value_name = "TOKEN", help_heading = None)]
    token: Option<String>,
    /// Namespace of the agent
    #[arg(long, value_name = "NAMESPACE", default_value = FLUX_NAMESPACE)]
    agent_namespace: String,
    /// Namespace of the hub
    #[arg(long, value_name = "NAMESPACE", default_value = HUB_NAMESPACE)]
    hub_namespace: String,
}

/// What the agent keeps, as far as it matters here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AgentState {
    identity: Option<AgentIdentity>,
}

/// Examines and prints a line for each finding.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let findings = match &arguments.token {
        Some(text) => {
            let token = parse(&read_token(text)?)?;
            say::action(&format!("the hub at {}, for a token", token.addresses.join(", ")));
            look(&AgentIdentity::begin(&token)?, None).await?
        }
        None => {
            let to = ConnectionArguments {
                token: None,
                ..to.clone()
            };
            of_cluster(&arguments, &to.connect().await?).await?
        }
    };
    for finding in &findings {
        print(finding);
    }
    if healthy(&findings) {
        return Ok(());
    }
    Err(quiet())
}

async fn of_cluster(arguments: &Arguments, connection: &Connection) -> Result<Vec<Finding>> {
    let secrets: Api<Secret> = Api::namespaced(connection.client.clone(), &arguments.agent_namespace);
    let secret = secrets
        .get_opt(HUB_SECRET)
        .await
        .with_context(|| format!("getting secret {}/{HUB_SECRET}", arguments.agent_namespace))?;
    let mut findings: Vec<Finding> = nave_runtime::api_clock::seconds_ahead(&connection.client)
        .await
        .context("asking the API server for the time")?
        .map(|ahead| clock_finding("the API server's", ahead))
        .into_iter()
        .collect();
    match secret {
        Some(secret) => {
            let (identity, proxy) = of_secret(&secret)?;
            say::action(&format!(
                "the hub at {}, with the agent's key, from this machine",
                identity.addresses.join(", ")
            ));
            findings.extend(look(&identity, proxy.as_deref()).await?);
            findings.push(clusters::agent_says(&LinkView::of(&secret)));
        }
        None => {
            let info = HubInfo::read(connection, &arguments.hub_namespace).await?;
            say::action(&format!("the hub at {}, from this machine", info.addresses.join(", ")));
            let token = JoinToken::issue(info.addresses, info.root_pin, "doctor/doctor".to_owned())?.token;
            findings.extend(look(&AgentIdentity::begin(&token)?, None).await?);
            let clusters: Api<Cluster> = Api::all(connection.client.clone());
            let found = clusters
                .list(&ListParams::default())
                .await
                .context("listing the hub's clusters")?;
            findings.extend(found.items.iter().flat_map(clusters::findings));
        }
    }
    Ok(findings)
}

/// The agent's key, or a new one for the token that waits for it; and the proxy of the link.
fn of_secret(secret: &Secret) -> Result<(AgentIdentity, Option<String>)> {
    let data = secret.data.as_ref();
    let bytes = |key: &str| data.and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    let text = |key: &str| Some(std::str::from_utf8(bytes(key)?).ok()?.trim().to_owned());
    let state: AgentState = match bytes("state") {
        Some(state) => {
            serde_json::from_slice(state).context("reading what the agent keeps (key state of its secret)")?
        }
        None => AgentState::default(),
    };
    let identity = match (state.identity, text("token")) {
        (Some(identity), _) => identity,
        (None, Some(token)) => AgentIdentity::begin(&parse(&token)?)?,
        (None, None) => {
            return Err(advised(
                format!("secret {HUB_SECRET} holds neither a token nor an identity"),
                "`nave join --token nave1.…` joins this cluster to a hub",
            ));
        }
    };
    Ok((identity, text("proxy").filter(|proxy| !proxy.is_empty())))
}

async fn look(identity: &AgentIdentity, proxy: Option<&str>) -> Result<Vec<Finding>> {
    let proxy = match proxy {
        Some(proxy) => ProxyRules::new(Some(proxy.parse().context("key proxy of the agent's secret")?), ""),
        None => ProxyRules::from_environment(|name| std::env::var(name).ok())
            .map_err(|(name, error)| anyhow::Error::new(error).context(format!("environment variable {name}")))?,
    };
    let options = DialOptions {
        proxy,
        ..DialOptions::default()
    };
    Ok(examine(identity, &options).await?)
}

fn parse(text: &str) -> Result<JoinToken> {
    text.parse().map_err(|error| {
        advised(
            format!("{error}"),
            "a token is one line that begins with nave1.; `nave hub token create` prints one",
        )
    })
}

fn print(finding: &Finding) {
    let text = finding.to_string();
    match finding.health {
        Health::Good => say::success(&text),
        Health::Worse => say::warning(&text),
        Health::Bad => say::failure(&text),
    }
    if !finding.advice.is_empty() {
        say::hint(&finding.advice);
    }
}
