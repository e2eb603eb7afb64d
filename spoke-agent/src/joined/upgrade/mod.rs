//! The agent runs the version that the hub wants, or says why not.
//!
//! ```text
//! Welcome{agent_version} ─► plan ─► Job (guard, present image) ─► Deployment (new image, attempt) ─► new pod ─► Welcome
//!                             └► refused: told in the next Hello       guard: no Welcome in time ─► image before
//! ```

mod deployment;
mod plan;
#[cfg(test)]
mod tests;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use jiff::Timestamp;

use deployment::{GUARDED_IMAGE, GUARDED_UNTIL, OwnDeployment};
use k8s_openapi::api::apps::v1::Deployment;
use plan::{Seen, Step, Watch};

use super::policy::SpokePolicy;
use crate::{args::Arguments, ports};

/// How often who watches over an attempt looks.
const LOOK: Duration = Duration::from_secs(10);

/// How often a Deployment that cannot be read is looked at again.
const TRIES: u32 = 6;
/// What runs, as it calls itself.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Follows what the hub wants.
pub struct Upgrades {
    deployment: OwnDeployment,
    allowed: Vec<String>,
    policy: Option<SpokePolicy>,
    running: &'static str,
    /// The version that was wanted last and why it does not run, as the hub was told.
    told: Mutex<Option<(String, String)>>,
}

impl Upgrades {
    /// For the agent with these arguments.
    pub fn new(arguments: &Arguments, client: &kube::Client, policy: SpokePolicy) -> Self {
        let deployment = OwnDeployment {
            client: client.clone(),
            namespace: arguments.namespace.clone(),
            name: arguments.deployment.clone(),
        };
        Upgrades {
            policy: Some(policy),
            ..Self::of(deployment, arguments.upgrade_from.clone(), VERSION)
        }
    }

    fn of(deployment: OwnDeployment, allowed: Vec<String>, running: &'static str) -> Self {
        Upgrades {
            deployment,
            allowed,
            policy: None,
            running,
            told: Mutex::default(),
        }
    }

    /// The version that was wanted last and why it does not run; empty when there is nothing to tell.
    pub async fn outcome(&self) -> (String, String) {
        if let Some(told) = self.told().clone() {
            return told;
        }
        match self.deployment.read().await {
            Ok(found) => found.and_then(|(_, seen)| plan::outcome(&seen)).unwrap_or_default(),
            Err(error) => {
                tracing::debug!(%error, "reading the agent's own Deployment");
                Default::default()
            }
        }
    }

    /// The hub has taken this agent in and wants this version (empty: none in particular). True when the hub is to be told
    /// why it does not run: connect again.
    pub async fn welcomed(&self, wanted: &str) -> bool {
        let is_wanted = !wanted.is_empty() && wanted.trim_start_matches('v') != self.running;
        let refused = match self.follow(wanted, is_wanted).await {
            Ok(refused) => refused,
            Err(error) => Some(format!("{error:#}")),
        };
        let refused = refused.filter(|_| is_wanted);
        let refused = refused.map(|why| (wanted.to_owned(), why));
        let mut told = self.told();
        let is_news = refused.is_some() && *told != refused;
        if let Some((version, why)) = refused.as_ref().filter(|_| is_news) {
            tracing::warn!(
                wanted = version,
                why,
                "the agent does not run the version that the hub wants"
            );
        }
        *told = refused;
        is_news
    }

    /// Answers why the wanted version will not be run, if that is so.
    async fn follow(&self, wanted: &str, is_wanted: bool) -> Result<Option<String>> {
        let own = &self.deployment;
        let Some((found, seen)) = self.read().await? else {
            return Ok(is_wanted.then(|| {
                format!(
                    "this agent does not run as Deployment {}/{}; whoever started it can upgrade it",
                    own.namespace, own.name
                )
            }));
        };
        if let Some(attempt) = plan::arrived(self.running, &seen) {
            // Unnoted, it would be taken back.
            while let Err(error) = own.note(&seen, &attempt, None).await {
                tracing::warn!("noting that the agent was upgraded: {error:#}");
                if Timestamp::now() >= attempt.deadline {
                    return Ok(None);
                }
                tokio::time::sleep(LOOK).await;
            }
            tracing::info!(version = self.running, image = seen.image, "the agent was upgraded");
            return Ok(None);
        }
        match plan::begin(self.running, wanted, &seen, &self.allowed(), Timestamp::now()) {
            Step::Nothing => Ok(None),
            Step::Refuse(why) => Ok(Some(why)),
            Step::Try(attempt) => {
                own.guard(&found, &attempt)
                    .await
                    .context("making the Job that watches over the upgrade")?;
                let what = || format!("changing the image of Deployment {}/{}", own.namespace, own.name);
                own.note(&seen, &attempt, Some(&attempt.to)).await.with_context(what)?;
                tracing::warn!(from = attempt.from, to = attempt.to, until = %attempt.deadline, "the agent is upgraded");
                Ok(None)
            }
        }
    }

    /// Repositories that images may come from: those of the policy file, else those of the arguments.
    fn allowed(&self) -> Vec<String> {
        match self.policy.as_ref().and_then(SpokePolicy::upgrade_from) {
            Some(none) if none.is_empty() => vec!["none".to_owned()],
            Some(named) => named,
            None => self.allowed.clone(),
        }
    }

    /// Reads the Deployment, from an API server that may not answer at once.
    async fn read(&self) -> Result<Option<(Deployment, Seen)>> {
        let own = &self.deployment;
        let mut tries = 0;
        loop {
            tries += 1;
            match own.read().await {
                Err(error) if tries < TRIES => tracing::debug!(%error, "reading the agent's own Deployment"),
                other => {
                    let what = || format!("reading Deployment {}/{}", own.namespace, own.name);
                    return other.with_context(what);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Watches over an attempt that is under way, as its guard does: from within the new agent.
    pub async fn watch_over(&self) {
        let seen = match self.deployment.read().await {
            Ok(Some((_, seen))) => seen,
            _ => return, // the guard is there
        };
        if let Some(attempt) = seen.attempt.filter(|attempt| attempt.state == plan::State::Trying) {
            guard(&self.deployment, &attempt.to, attempt.deadline).await;
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Option<(String, String)>> {
        // It is replaced as a whole.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `nave-agent guard-upgrade`: watches over the attempt that its environment names, to its end.
///
/// # Errors
/// The environment names none, or there is no cluster.
pub async fn run_guard(arguments: &Arguments) -> Result<()> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("reading {name}"));
    let (image, until) = (variable(GUARDED_IMAGE)?, variable(GUARDED_UNTIL)?);
    let until: Timestamp = until.parse().with_context(|| format!("reading {GUARDED_UNTIL}"))?;
    let deployment = OwnDeployment {
        client: ports::client(arguments).await?,
        namespace: arguments.namespace.clone(),
        name: arguments.deployment.clone(),
    };
    guard(&deployment, &image, until).await;
    Ok(())
}

async fn guard(deployment: &OwnDeployment, image: &str, until: Timestamp) {
    loop {
        match deployment.read().await {
            Ok(Some((_, seen))) => match plan::watch(image, until, &seen, Timestamp::now()) {
                Watch::Wait => {}
                Watch::Leave => return,
                Watch::Restore(attempt) => match deployment.note(&seen, &attempt, Some(&attempt.from)).await {
                    Ok(()) => {
                        tracing::error!(from = attempt.to, to = attempt.from, "the upgrade was taken back");
                        return;
                    }
                    // Changed in this moment, or not reached: look again.
                    Err(error) => tracing::warn!("taking the upgrade back: {error:#}"),
                },
            },
            Ok(None) => return, // the agent was uninstalled
            Err(error) => tracing::warn!(%error, "reading the agent's Deployment"),
        }
        tokio::time::sleep(LOOK).await;
    }
}
