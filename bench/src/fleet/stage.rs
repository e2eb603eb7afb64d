//! A control plane, a git server and a hub, with the fleet objects that the agents get.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
    runtime::wait::await_condition,
};
use nave_bed::{GitRepo, GitServer, GitServerOptions, Plane, PlaneOptions, eventually};
use nave_crds::{Cluster, FleetKustomization, JoinToken, fleet::JoinTokenSpec, meta::Time};
use nave_demo::{Hub, fleet};
use nave_identity::{JoinToken as Token, KeyFingerprint};
use nave_runtime::Conditions;
use serde_json::{Value, json};

use super::{
    options::Options,
    pin,
    profile::{Profile, SMALL},
};

/// The workspace that everything is in.
pub const WORKSPACE: &str = "fleet";
/// The fleet object that changes with each commit.
pub const MOVING: &str = "moving";
/// The fleet object that is too large for agents of one profile.
pub const LARGE: &str = "large";
/// Long enough for five thousand agents on one core.
const WITHIN: Duration = Duration::from_secs(900);
/// Within this time one agent more has joined.
const JOINS: Duration = Duration::from_secs(120);
/// Writers of the fleet objects and tokens.
const WRITERS: usize = 8;

/// Everything but the agents.
pub struct Stage {
    pub plane: Plane,
    pub hub: Hub,
    pub client: Client,
    moving: GitRepo,
    still: GitRepo,
    _server: GitServer,
    _folder: tempfile::TempDir,
}

/// Makes tokens of one kind.
struct Issuer {
    addresses: Vec<String>,
    pin: KeyFingerprint,
    api: Api<JoinToken>,
    uses: usize,
    /// What the tokens say of the clusters.
    cluster: Value,
}

impl Issuer {
    async fn issue(&self, name: String) -> Result<String> {
        let issued = Token::issue(self.addresses.clone(), self.pin, format!("{WORKSPACE}/{name}"))?;
        let spec = JoinTokenSpec {
            hash: issued.hash.to_string(),
            expires_at: Time(Timestamp::now() + SignedDuration::from_hours(2)),
            uses: i32::try_from(self.uses)?,
            approval: Some(serde_json::from_value(json!("Automatic"))?),
            revoked: false,
            cluster_uid: String::new(),
            cluster: serde_json::from_value(self.cluster.clone())?,
        };
        self.api
            .create(&PostParams::default(), &JoinToken::new(&name, spec))
            .await?;
        Ok(issued.token.to_text().to_string())
    }
}

impl Stage {
    /// Starts it all; the hub is held to its core.
    pub async fn start(options: &Options) -> Result<Self> {
        let plane = Plane::start(PlaneOptions {
            audit: true,
            ..PlaneOptions::named("fleet")
        })
        .await?;
        if let Some(process) = plane.process() {
            pin::process(process.pid(), pin::OTHERS)?;
        }
        let client = plane.client();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": WORKSPACE}});
        fleet::apply(&client, &namespace).await?;
        let folder = tempfile::tempdir()?;
        let heartbeat = format!("--link-heartbeat={}s", options.heartbeat);
        let most = format!("--max-agents={}", options.agents + 100);
        let hub = Hub::start(&plane, folder.path(), &[&heartbeat, &most, "--log-level=info"]).await?;
        let server = GitServer::start(GitServerOptions {
            hint_url: Some(hub.hint_url.clone()),
            ..GitServerOptions::default()
        })
        .await?;
        let stage = Stage {
            moving: server.create_repo("moving").await?,
            still: server.create_repo("still").await?,
            plane,
            hub,
            client,
            _server: server,
            _folder: folder,
        };
        stage.hold()?;
        stage
            .still
            .commit_files(&[("app/app.yaml", &config_map("still"))])
            .await?;
        stage.moving.commit_files(&[("app/app.yaml", &config_map("0"))]).await?;
        Ok(stage)
    }

    /// Holds the hub to its core, once it runs.
    pub fn hold(&self) -> Result<bool> {
        pin::process(self.hub_pid()?, pin::HUB)
    }

    /// The port of the hub's link.
    pub fn port(&self) -> Result<u16> {
        let address: SocketAddr = self.hub.link.parse().context("reading the hub's address")?;
        Ok(address.port())
    }

    pub fn hub_pid(&self) -> Result<u32> {
        self.hub.pid().context("the hub runs")
    }

    /// Tokens for so many agents, each with `uses`.
    pub async fn tokens(&self, agents: usize, uses: usize) -> Result<Vec<String>> {
        self.more_tokens("sim", agents, uses).await
    }

    /// Tokens under other names.
    pub async fn more_tokens(&self, name: &str, agents: usize, uses: usize) -> Result<Vec<String>> {
        let cluster = json!({"namePrefix": "sim-", "labels": {"sim": "true"}});
        let issuer = self.issuer(uses, cluster).await?;
        let make = |number: usize| issuer.issue(format!("{name}-{number}"));
        stream::iter((0..agents.div_ceil(uses)).map(make))
            .buffered(WRITERS)
            .try_collect()
            .await
    }

    /// A token for one cluster of that name, which gets the same as the others.
    pub async fn token_of(&self, cluster: &str) -> Result<String> {
        let fixed = json!({"name": cluster, "labels": {"sim": "true"}});
        self.issuer(1, fixed).await?.issue(cluster.to_owned()).await
    }

    /// Waits until an agent is connected as that cluster.
    pub async fn connected(&self, cluster: &str) -> Result<()> {
        let api: Api<Cluster> = Api::namespaced(self.client.clone(), WORKSPACE);
        let is_connected = |object: Option<&Cluster>| {
            let status = object.and_then(|object| object.status.as_ref());
            status.is_some_and(|status| status.conditions.is_true("Connected"))
        };
        tokio::time::timeout(JOINS, await_condition(api, cluster, is_connected))
            .await
            .with_context(|| format!("cluster {cluster} does not connect within {} s", JOINS.as_secs()))??;
        Ok(())
    }

    async fn issuer(&self, uses: usize, cluster: Value) -> Result<Issuer> {
        let info: Api<ConfigMap> = Api::namespaced(self.client.clone(), "nave-system");
        let info = info.get("nave-hub-info").await?.data.unwrap_or_default();
        let value = |key: &str| info.get(key).with_context(|| format!("the hub publishes no {key}"));
        Ok(Issuer {
            addresses: value("addresses")?.split(',').map(str::to_owned).collect(),
            pin: value("rootPin")?.parse()?,
            api: Api::namespaced(self.client.clone(), WORKSPACE),
            uses,
            cluster,
        })
    }

    /// Applies the fleet objects: one that changes, the rest that do not, and one too large where the profile asks for it.
    pub async fn place(&self, options: &Options) -> Result<()> {
        let repository = |name: &str| if name == MOVING { &self.moving } else { &self.still };
        let names = options.names();
        let mut objects: Vec<Value> = names
            .map(|name| self.object(&name, repository(&name), json!({})))
            .collect();
        if options.profile == Profile::Oversize {
            let large = json!({"postBuild": {"substitute": {"large": "x".repeat(2 * SMALL)}}});
            objects.push(self.object(LARGE, &self.still, large));
        }
        stream::iter(&objects)
            .map(|object| fleet::apply(&self.client, object))
            .buffer_unordered(WRITERS)
            .try_collect()
            .await
    }

    fn object(&self, name: &str, repository: &GitRepo, more: Value) -> Value {
        // Where it is real, each has a namespace of its own: they all apply an object of one name.
        let mut spec = json!({"interval": "1h", "path": "./app", "prune": true, "targetNamespace": name});
        if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
            spec.extend(more.clone());
        }
        json!({
            "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "FleetKustomization",
            "metadata": {"name": name, "namespace": WORKSPACE},
            "spec": {
                "placement": {"selector": {"matchLabels": {"sim": "true"}}},
                "source": {
                    "template": {"kind": "GitRepository", "spec": {
                        "url": repository.url(), "interval": "1h", "ref": {"branch": "main"},
                    }},
                    "include": ["app/**"],
                },
                "template": {"spec": spec},
            },
        })
    }

    /// The head of the repository that changes.
    pub async fn head(&self) -> Result<String> {
        self.moving.head().await
    }

    /// Commits a change and pushes it; gives back the commit once the push was accepted.
    pub async fn commit(&self, round: usize) -> Result<String> {
        self.moving
            .write_files(&[("app/app.yaml", &config_map(&version(round)))])?;
        let commit = self.moving.commit_local(&format!("round {round}")).await?;
        self.moving.push().await?;
        Ok(commit)
    }

    /// Waits until the status of a fleet object counts so many clusters as ready at `commit`.
    pub async fn reported(&self, name: &str, commit: &str, agents: usize) -> Result<()> {
        let api: Api<FleetKustomization> = Api::namespaced(self.client.clone(), WORKSPACE);
        eventually(WITHIN, &format!("{name} ready everywhere"), || async {
            let status = api.get(name).await?.status.unwrap_or_default();
            let ready = status.clusters.as_ref().map_or(0, |counts| counts.ready);
            if ready == agents as i64 && status.target_revision.ends_with(commit) {
                return Ok(());
            }
            bail!("{ready} clusters are ready at {}", status.target_revision)
        })
        .await
    }

    /// Says of every cluster that its line is metered.
    pub async fn meter_all(&self) -> Result<()> {
        let api: Api<Cluster> = Api::namespaced(self.client.clone(), WORKSPACE);
        let patch = json!({"spec": {"link": {"profile": "Metered"}}});
        let clusters = api.list_metadata(&ListParams::default()).await?;
        let names = clusters.items.into_iter().filter_map(|cluster| cluster.metadata.name);
        stream::iter(names)
            .map(|name| {
                let (api, patch) = (&api, &patch);
                async move {
                    api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(WRITERS)
            .try_collect()
            .await
    }

    /// How many clusters have a condition in this status, once `wanted` have.
    pub async fn say(&self, condition: &str, status: &str, wanted: usize) -> Result<usize> {
        let api: Api<Cluster> = Api::namespaced(self.client.clone(), WORKSPACE);
        eventually(
            WITHIN,
            &format!("{wanted} clusters with {condition}={status}"),
            || async {
                let clusters = api.list(&ListParams::default()).await?;
                let says = |cluster: &&Cluster| {
                    let conditions = cluster.status.iter().flat_map(|status| &status.conditions);
                    conditions
                        .filter(|one| one.type_ == condition)
                        .any(|one| one.status == status)
                };
                let found = clusters.items.iter().filter(says).count();
                anyhow::ensure!(found >= wanted, "{found} have");
                Ok(found)
            },
        )
        .await
    }

    /// How many clusters failed to take the object that is too large, once all have said so.
    pub async fn refused(&self, agents: usize) -> Result<()> {
        let api: Api<FleetKustomization> = Api::namespaced(self.client.clone(), WORKSPACE);
        eventually(WITHIN, "the large object failed everywhere", || async {
            let status = api.get(LARGE).await?.status.unwrap_or_default();
            let failed = status.clusters.as_ref().map_or(0, |counts| counts.failed);
            if failed == agents as i64 {
                return Ok(());
            }
            bail!("{failed} clusters failed: {:?}", status.clusters)
        })
        .await
    }

    /// Waits until the hub has written nothing but leases for `quiet`.
    pub async fn at_rest(&self, quiet: Duration) -> Result<()> {
        let audit = self.plane.audit()?;
        let deadline = std::time::Instant::now() + WITHIN;
        loop {
            let mark = audit.mark()?;
            tokio::time::sleep(quiet).await;
            let writes = hub_writes(&audit.since(mark)?);
            if writes == 0 {
                return Ok(());
            }
            anyhow::ensure!(
                std::time::Instant::now() < deadline,
                "the hub never comes to rest: {writes} writes in {quiet:?}"
            );
        }
    }
}

/// Writes of the hub that are not leases.
pub fn hub_writes(requests: &nave_bed::Requests) -> usize {
    requests
        .writes()
        .only(|request| {
            request.agent.starts_with("nave-hub")
                && request.resource != "leases.coordination.k8s.io"
                && !request.uri.contains("dryRun")
        })
        .len()
}

/// What the object says after a commit.
pub fn version(round: usize) -> String {
    format!("round-{round}")
}

fn config_map(version: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app}}\ndata: {{version: \"{version}\"}}\n")
}
