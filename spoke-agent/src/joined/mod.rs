//! Life with a hub.
//!
//! ```text
//! config, state ─► join, link ─► handler ─► worker ─► cluster     items of the hub, checked and applied
//!                       ▲  ◄──── reporter ◄── watches              what became of them
//!                       ├─────── permits                           may this be pruned?
//!                       ├─────── told ◄── controllers              what they said, as history
//!                       └─────── live ──► cluster, as the caller   what somebody at the hub asks to see
//! ```

mod artifacts;
mod bundle;
mod carriers;
mod config;
pub mod doctor;
mod handler;
mod items;
mod live;
mod objects;
mod orders;
mod permits;
mod policy;
mod report;
mod reporter;
mod state;
mod told;
pub mod upgrade;
mod worker;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use nave_identity::JoinToken;
use nave_proto::Digest;
use nave_quic::{
    AgentEnd, AgentIdentity, AgentOptions, AttemptError, DialError, DialOptions, JoinError, JoinOptions, LinkError,
};
use nave_runtime::{
    EventListener, Tasks,
    ports::{ApplyPolicy, PrunePermits},
};
use tokio::sync::watch;

use crate::{args::Arguments, ports, ports::Ports};

use self::{
    artifacts::Assembled,
    config::HubConfig,
    handler::{Handler, LinkStatus, Myself, chain},
    items::Items,
    live::LiveReads,
    objects::FleetObjects,
    orders::{HubSecret, LinkReport, Orders},
    permits::LinkPermits,
    policy::{PolicyFile, SpokePolicy},
    reporter::Reporter,
    state::{LastCheckpoint, StateStore},
    told::ToldEvents,
    upgrade::Upgrades,
    worker::Worker,
};

/// First pause after a join that may yet succeed.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Longest pause between two tries to join, as between two tries to connect.
const LONGEST_RETRY: Duration = Duration::from_secs(15);
/// Pause after a refusal that only a person can change.
const AFTER_REFUSAL: Duration = Duration::from_secs(300);

/// A hub to be joined, and what of that is needed before the controllers start.
pub struct Joined {
    /// From the file; an agent that is joined by its secret follows that.
    config: Option<HubConfig>,
    secret: HubSecret,
    state: StateStore,
    items: Items,
    policy: SpokePolicy,
    permits: LinkPermits,
    events: ToldEvents,
    dial: DialOptions,
    upgrades: Arc<Upgrades>,
}

impl Joined {
    /// Reads what joins this agent to a hub; none for an agent that is alone.
    pub async fn prepare(arguments: &Arguments, client: &Client, tasks: &Tasks) -> Result<Option<Self>> {
        let secret = HubSecret {
            client: client.clone(),
            namespace: arguments.namespace.clone(),
            name: arguments
                .hub_secret
                .clone()
                .unwrap_or_else(|| orders::HUB_SECRET.to_owned()),
        };
        let (state, config) = match (&arguments.hub_config, &arguments.hub_secret) {
            (Some(path), _) => {
                let config = HubConfig::read(path)?;
                (StateStore::File(config.state.clone()), Some(config))
            }
            (None, Some(_)) => (StateStore::Secret(secret.clone()), None),
            (None, None) => return Ok(None),
        };
        let stored = state.load().await?;
        let mut proxy = config.as_ref().and_then(|config| config.proxy.clone());
        match &config {
            Some(config) => {
                let token = config.token_id();
                if stored.left.is_some() && (token.is_none() || token == stored.left) {
                    tracing::info!("this cluster has left its hub; a new token joins one again");
                    return Ok(None);
                }
                if token.is_none() && !stored.has_joined() {
                    bail!("--hub-config holds no token, and this agent has not joined a hub before");
                }
            }
            None => {
                let orders = secret
                    .read()
                    .await
                    .context("reading the secret that joins this agent to its hub")?;
                if orders.leave.is_some() {
                    tracing::info!("this cluster leaves its hub: this agent is alone");
                    return Ok(None);
                }
                proxy.clone_from(&orders.proxy);
                if orders.token.is_none() && !stored.has_joined() {
                    tracing::info!("the hub secret holds no token and no identity: this agent is alone");
                    start_over_when_asked(&secret, tasks);
                    return Ok(None);
                }
            }
        }
        let items = Items::open(&ports::link_folder(arguments))?;
        let file = PolicyFile::open(arguments.policy_file.as_ref())?;
        file.follow(tasks);
        let policy = SpokePolicy::new(&arguments.namespace, file);
        for item in items.all().into_values() {
            policy.set(&item.owner.uid, item.grant);
        }
        Ok(Some(Joined {
            config,
            secret,
            state,
            permits: LinkPermits::new(items.clone(), policy.clone()),
            events: ToldEvents::new(items.clone()),
            items,
            dial: carriers::dial_options(arguments.link_transport, proxy.as_deref())?,
            upgrades: Arc::new(Upgrades::new(arguments, client, policy.clone())),
            policy,
        }))
    }

    /// Who permits prunes.
    pub fn permits(&self) -> Arc<dyn PrunePermits> {
        Arc::new(self.permits.clone())
    }

    /// Who tells the hub what the controllers say.
    pub fn events(&self) -> Arc<dyn EventListener> {
        Arc::new(self.events.clone())
    }

    /// What fleet objects may touch.
    pub fn policy(&self) -> Arc<dyn ApplyPolicy> {
        Arc::new(self.policy.clone())
    }

    /// Joins if need be and stays connected, in the background: the controllers do not wait for a hub.
    pub async fn start(self, ports: &Ports, tasks: &Tasks) -> Result<()> {
        let instance_id = format!("{:032x}", rand::random::<u128>());
        // The fencing token: whoever raised it last is the agent.
        let stored = self
            .state
            .update(|state| {
                state.boot_seq += 1;
                state.instance_id = instance_id.clone();
            })
            .await
            .context("raising the agent's boot counter")?;
        let kube_system = Api::<Namespace>::all(ports.client.clone())
            .get_metadata("kube-system")
            .await
            .context("reading the cluster's UID from its namespace kube-system")?;
        let version = ports
            .client
            .apiserver_version()
            .await
            .context("asking the cluster for its version")?;
        let myself = Myself {
            instance_id,
            boot_seq: stored.boot_seq,
            cluster_uid: kube_system.uid().unwrap_or_default(),
            kubernetes_version: version.git_version,
        };
        let link = Arc::new(OnceLock::new());
        let reporter = Reporter::new(
            self.items.clone(),
            ports.kustomizations.clone(),
            ports.helm_releases.clone(),
            Arc::new(LinkStatus {
                link: link.clone(),
                permits: self.permits.clone(),
            }),
        );
        let worker = Worker {
            objects: FleetObjects::new(ports.client.clone()),
            items: self.items.clone(),
            assembled: Assembled::default(),
            store: ports.store.clone(),
            client: ports.client.clone(),
            policy: self.policy.clone(),
            reporter: reporter.clone(),
        };
        worker.resume_deletions(tasks);
        let orders = self.secret.follow(tasks);
        let report = match &self.config {
            Some(_) => LinkReport::to_nobody(),
            None => LinkReport::to(self.secret.clone(), orders.clone(), tasks),
        };
        if self.config.is_none() {
            start_over_when_asked(&self.secret, tasks);
        }
        let (upgrades, shutdown) = (self.upgrades.clone(), tasks.shutdown_token().clone());
        tasks.spawn("upgrade-watch", async move {
            tokio::select! {
                _ = shutdown.cancelled() => {}
                () = upgrades.watch_over() => {}
            }
        });
        let handler = Arc::new(Handler {
            myself,
            upgrades: self.upgrades.clone(),
            report: report.clone(),
            state: self.state.clone(),
            last: LastCheckpoint::new(stored.checkpoint.clone()),
            worker,
            permits: self.permits.clone(),
            live: LiveReads::new(ports.client.clone(), ports.metrics()),
            link: link.clone(),
            tasks: tasks.clone(),
        });
        let background = tasks.clone();
        tasks.spawn("link", async move {
            let shutdown = background.shutdown_token().clone();
            let identity = tokio::select! {
                identity = self.identity(&handler.myself, stored.identity, orders.clone(), &report) => identity,
                how = orders::leaving(orders.clone()) => return self.left(&how).await,
                _ = shutdown.cancelled() => return,
            };
            let items = self.items.all();
            let options = AgentOptions {
                dial: self.dial.clone(),
                ..AgentOptions::default()
            };
            let (handle, runner) = nave_quic::agent(identity, handler, Arc::new(self.state.clone()), options);
            handle.load_desired(|held| {
                for (key, item) in items.iter().filter(|(_, item)| item.leaving.is_none()) {
                    if let Some(digest) = Digest::from_slice(&items::unhex(&item.digest)) {
                        held.insert(key, digest, &item.owner.uid);
                    }
                }
            });
            self.permits.connect(handle.clone());
            self.events.connect(handle.clone());
            self.policy.tell(handle.clone(), &background);
            // There is one link in a process.
            let _ = link.set(handle);
            reporter.start(&background);
            let stop = shutdown.child_token();
            let mut running = Box::pin(runner.run(stop.clone()));
            let end = tokio::select! {
                end = &mut running => end,
                how = orders::leaving(orders) => {
                    stop.cancel();
                    running.await;
                    return self.left(&how).await;
                }
            };
            match end {
                AgentEnd::Shutdown => {}
                AgentEnd::Fenced(close) => {
                    tracing::error!(%close, "another process is this cluster's agent now; shutting down");
                    shutdown.cancel();
                }
                end => tracing::error!("the link ended: {}", chain(&end)),
            }
        });
        Ok(())
    }

    /// The cluster has left its hub: from now on this agent decides for itself, also after a restart.
    async fn left(&self, how: &str) {
        tracing::info!(how, "this cluster leaves its hub; the link is closed for good");
        self.permits.lift();
        self.policy.lift();
        if let Err(error) = self.items.clear() {
            tracing::warn!("forgetting the hub's items: {error:#}");
        }
        if let Some(config) = &self.config {
            let token = config.token_id().unwrap_or_default();
            let kept = self
                .state
                .update(|state| {
                    state.identity = None;
                    state.checkpoint = None;
                    state.left = Some(token.clone());
                })
                .await;
            if let Err(error) = kept {
                tracing::error!("noting that this cluster has left its hub: {error:#}");
                return; // not left: a restart would dial again
            }
        }
        if let Err(error) = self.secret.say("Left", "the agent has closed the link").await {
            tracing::warn!(%error, "telling that the link is closed");
        }
    }

    /// Token and name to join with, as they stand now.
    fn instructions(&self, orders: &watch::Receiver<Orders>) -> (Option<String>, String) {
        match &self.config {
            Some(config) => (config.token.clone(), config.name.clone().unwrap_or_default()),
            None => {
                let orders = orders.borrow();
                (orders.token.clone(), orders.name.clone().unwrap_or_default())
            }
        }
    }

    /// The identity that was kept, or the one that a hub admits. Tries until it is admitted; another token is tried at
    /// once.
    async fn identity(
        &self,
        myself: &Myself,
        kept: Option<AgentIdentity>,
        mut orders: watch::Receiver<Orders>,
        report: &LinkReport,
    ) -> AgentIdentity {
        let mut kept = kept;
        if kept.as_ref().is_none_or(|identity| !identity.is_joined()) && self.config.is_none() {
            // The watch has just begun.
            let _ = orders.wait_for(|orders| orders.token.is_some()).await;
        }
        let mut pause = FIRST_RETRY;
        loop {
            if let Some(identity) = kept.as_ref().filter(|identity| identity.is_joined()) {
                return identity.clone();
            }
            let (token, name) = self.instructions(&orders);
            let wait = match self.join(myself, &mut kept, token.as_deref(), &name).await {
                Ok(()) => {
                    report.say("Connecting", "");
                    continue;
                }
                Err(JoinFailure { text, passing: true }) => {
                    tracing::warn!(error = text, retry_in = ?pause, "joining the hub failed");
                    report.say("Retrying", &text);
                    let wait = pause;
                    pause = (pause * 2).min(LONGEST_RETRY);
                    wait
                }
                Err(JoinFailure { text, passing: false }) => {
                    tracing::error!(error = text, retry_in = ?AFTER_REFUSAL, "joining the hub was refused; the cluster is reconciled without it meanwhile");
                    report.say("Refused", &text);
                    AFTER_REFUSAL
                }
            };
            tokio::select! {
                _ = tokio::time::sleep(nave_runtime::schedule::jittered(wait, 20)) => {}
                () = orders::asked_again(orders.clone(), token.as_deref()), if self.config.is_none() => pause = FIRST_RETRY,
            }
        }
    }

    async fn join(
        &self,
        myself: &Myself,
        kept: &mut Option<AgentIdentity>,
        text: Option<&str>,
        name: &str,
    ) -> Result<(), JoinFailure> {
        let fatal = |text: String| JoinFailure { text, passing: false };
        let text = text.ok_or_else(|| fatal("there is no token".to_owned()))?;
        let token: JoinToken = text.parse().map_err(|error| fatal(chain(&error)))?;
        let mut identity = match kept.take() {
            // The same key may try again; another key on a used token is refused.
            Some(mut identity) => {
                identity.retarget(&token);
                identity
            }
            None => AgentIdentity::begin(&token).map_err(|error| fatal(chain(&error)))?,
        };
        let options = JoinOptions {
            name: name.to_owned(),
            cluster_uid: myself.cluster_uid.clone(),
            facts: handler::facts()
                .into_iter()
                .map(|fact| (fact.key, fact.value))
                .collect(),
            dial: self.dial.clone(),
        };
        let joined = nave_quic::join(&mut identity, &token, &self.state, options).await;
        let fingerprint = identity
            .key()
            .map(|key| key.fingerprint().to_string())
            .unwrap_or_default();
        let outcome = match joined {
            Ok(state) => {
                tracing::info!(
                    cluster = format!("{}/{}", identity.cluster_namespace, identity.cluster_name),
                    fingerprint,
                    ?state,
                    "joined the hub"
                );
                Ok(())
            }
            Err(error) => Err(JoinFailure {
                text: chain(&error),
                passing: passes(&error),
            }),
        };
        *kept = Some(identity);
        outcome
    }
}

/// `nave join` has made the secret anew: whatever this process holds of the former hub is of no use, and the next one
/// begins with the new token.
fn start_over_when_asked(secret: &HubSecret, tasks: &Tasks) {
    let (orders, shutdown) = (secret.follow(tasks), tasks.shutdown_token().clone());
    tasks.spawn("start-over", async move {
        tokio::select! {
            _ = shutdown.cancelled() => {}
            () = orders::replaced(orders) => {
                tracing::info!("the hub secret holds another token: ending, to begin anew with it");
                shutdown.cancel();
            }
        }
    });
}

struct JoinFailure {
    text: String,
    /// Whether the same token may succeed later without anybody doing anything.
    passing: bool,
}

/// A hub that shows another root than the token's pin will not show the right one a minute later.
fn passes(error: &JoinError) -> bool {
    let another_hub = match error {
        JoinError::Dial(DialError::Unreachable { attempts }) => attempts
            .iter()
            .any(|attempt| matches!(attempt.error, AttemptError::Link(LinkError::Carrier(_)))),
        _ => false,
    };
    error.may_pass() && !another_hub
}
