//! `nave-agent doctor`: why this agent does not reach its hub, from where it runs.

use anyhow::{Context, Result, bail};
use nave_identity::JoinToken;
use nave_quic::{
    AgentIdentity,
    doctor::{Finding, Health, clock_finding, examine, healthy},
};

use super::{
    carriers,
    config::HubConfig,
    orders::{self, HubSecret},
    state::StateStore,
};
use crate::{args::Arguments, ports};

/// Looks, and prints a line for each finding and one for what to do. False when the link cannot work.
///
/// # Errors
/// There is nothing to look at: no hub secret, no hub config.
pub async fn run(arguments: &Arguments) -> Result<bool> {
    let mut findings = Vec::new();
    let (identity, token, proxy) = match &arguments.hub_config {
        Some(path) => {
            let config = HubConfig::read(path)?;
            let state = StateStore::File(config.state.clone()).load().await?;
            (state.identity, config.token, config.proxy)
        }
        None => {
            let secret = HubSecret {
                client: ports::client(arguments).await?,
                namespace: arguments.namespace.clone(),
                name: arguments
                    .hub_secret
                    .clone()
                    .unwrap_or_else(|| orders::HUB_SECRET.to_owned()),
            };
            match nave_runtime::api_clock::seconds_ahead(&secret.client).await {
                Ok(ahead) => findings.extend(ahead.map(|ahead| clock_finding("the API server's", ahead))),
                Err(error) => findings.push(Finding {
                    health: Health::Worse,
                    what: "clock".to_owned(),
                    said: format!("the API server was not asked for the time: {error}"),
                    advice: "see whether the cluster's API server answers".to_owned(),
                }),
            }
            let said = secret
                .read()
                .await
                .context("reading the secret that joins this agent to its hub")?;
            let state = StateStore::Secret(secret).load().await?;
            (state.identity, said.token, said.proxy)
        }
    };
    let identity = match (identity, token) {
        (Some(identity), _) => identity,
        (None, Some(token)) => {
            let token: JoinToken = token.parse().context("reading the join token")?;
            AgentIdentity::begin(&token).context("making a key for the join token")?
        }
        (None, None) => bail!("this agent has neither joined a hub nor been given a token: it is alone"),
    };
    let options = carriers::dial_options(arguments.link_transport, proxy.as_deref())?;
    findings.extend(examine(&identity, &options).await?);
    for finding in &findings {
        let mark = match finding.health {
            Health::Good => "✔",
            Health::Worse => "⚠️",
            Health::Bad => "✗",
        };
        println!("{mark} {finding}");
        if !finding.advice.is_empty() {
            println!("  hint: {}", finding.advice);
        }
    }
    Ok(healthy(&findings))
}
