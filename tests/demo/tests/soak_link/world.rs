//! A hub and an agent with everything around them, and what must be so after a round.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, api::ListParams};
use nave_bed::{GitRepo, GitServer, GitServerOptions, Mark, Plane, PlaneOptions, UdpRelay, eventually};
use nave_crds::{Cluster, FleetKustomization, JoinToken};
use nave_demo::{Agent, Hub, Nave, fleet};
use nave_identity::JoinToken as Token;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    Trouble, Work,
    clock::{Clock, Preload},
    disk::Disk,
};

const WORKSPACE: &str = "fleet";
const NAMESPACE: &str = "soak";
const SPOKE: &str = "eu-1";
/// A hub that was killed, its agent's pauses, a disk that is looked at again: on a busy machine.
const DEADLINE: Duration = Duration::from_secs(240);

pub struct World {
    planes: [Plane; 2],
    hub: Hub,
    agent: Agent,
    relay: UdpRelay,
    disks: [Disk; 2],
    /// Of the hub and of the agent.
    clocks: [Clock; 2],
    repository: GitRepo,
    _server: GitServer,
    _folder: TempDir,
    /// What git says: the value of each ConfigMap.
    truth: BTreeMap<String, u64>,
    counter: u64,
    commit: String,
    /// UIDs of what stands from the beginning.
    uids: BTreeMap<String, String>,
    keys: Vec<String>,
    began: Mark,
    /// Names that were taken out of git, each as often as it was.
    removed: BTreeMap<String, u64>,
}

impl World {
    pub async fn start() -> Result<Self> {
        let names = ["soak-hub", "soak-spoke"];
        let planes = names.map(|name| PlaneOptions {
            audit: true,
            ..PlaneOptions::named(name)
        });
        let planes: [Plane; 2] = Plane::start_many(planes.into())
            .await?
            .try_into()
            .map_err(|_| anyhow::anyhow!("the bed started another number of planes"))?;
        let folder = tempfile::tempdir()?;
        let disks = [
            Disk::make(folder.path().join("hub"))?,
            Disk::make(folder.path().join("agent"))?,
        ];
        let client = planes[0].client();
        for namespace in ["nave-system", WORKSPACE] {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            fleet::apply(&client, &object).await?;
        }
        let preload = Preload::compile(folder.path())?;
        let clocks = [
            Clock::make(&preload, folder.path().join("clock-of-the-hub"))?,
            Clock::make(&preload, folder.path().join("clock-of-the-agent"))?,
        ];
        let mut hub = Hub::prepare(&planes[0], disks[0].folder(), &["--link-heartbeat=1s"])?;
        for (key, value) in clocks[0].environment() {
            hub.env(key, &value);
        }
        hub.restart().await?;
        let server = GitServer::start(GitServerOptions {
            hint_url: Some(hub.hint_url.clone()),
            ..GitServerOptions::default()
        })
        .await?;
        let repository = server.create_repo("soak").await?;
        let relay = UdpRelay::start(hub.link.parse()?)?;
        let nave = Nave::new(planes[0].kubeconfig_path())?;
        let more = ["--cluster", SPOKE, "--label", "soak=true"];
        let mut token: Token = Hub::token(&nave, WORKSPACE, SPOKE, &more).await?.parse()?;
        token.addresses = vec![relay.address().to_string()];
        let more = ["--link-transport=quic"];
        let mut agent = Agent::prepare(&planes[1], disks[1].folder(), Some(token.to_text().as_str()), &more)?;
        for (key, value) in clocks[1].environment() {
            agent.env(key, &value);
        }
        agent.restart().await?;
        let began = planes[1].audit()?.mark()?;
        let mut world = World {
            planes,
            hub,
            agent,
            relay,
            disks,
            clocks,
            repository,
            _server: server,
            _folder: folder,
            truth: BTreeMap::new(),
            counter: 0,
            commit: String::new(),
            uids: BTreeMap::new(),
            keys: Vec::new(),
            began,
            removed: BTreeMap::new(),
        };
        for name in ["always-0", "always-1"] {
            world.truth.insert(name.to_owned(), 0);
        }
        world.commit_truth().await?;
        fleet::apply(&client, &world.object()).await?;
        world.agrees().await.context("before the first round")?;
        world.uids = world
            .config_maps()
            .await?
            .into_iter()
            .map(|(name, (_, uid))| (name, uid))
            .collect();
        world.keys = world.cluster().await?.spec.identity.unwrap_or_default().keys;
        Ok(world)
    }

    /// Why no disk can be filled.
    pub fn disks_are_whole(&self) -> Option<&str> {
        self.disks[0].is_whole()
    }

    /// What people do.
    pub async fn work(&mut self, work: Work) -> Result<()> {
        self.counter += 1;
        let spare: Vec<String> = self
            .truth
            .keys()
            .filter(|name| name.starts_with("spare"))
            .cloned()
            .collect();
        match (work, spare.first()) {
            (Work::Add, _) => {
                self.truth.insert(format!("spare-{}", self.counter), self.counter);
            }
            (Work::Remove, Some(name)) => {
                self.truth.remove(name);
                *self.removed.entry(name.clone()).or_default() += 1;
            }
            (Work::Change | Work::Remove, _) => {
                for value in self.truth.values_mut() {
                    *value = self.counter;
                }
            }
        }
        self.commit_truth().await
    }

    /// What befalls them.
    pub async fn strike(&mut self, trouble: Trouble) -> Result<()> {
        match trouble {
            Trouble::KillHub => self.hub.kill9(),
            Trouble::KillAgent => self.agent.kill9(),
            Trouble::StopHub => self.hub.stop().await?,
            Trouble::StopAgent => self.agent.stop().await?,
            Trouble::FillHub => self.disks[0].fill()?,
            Trouble::FillAgent => self.disks[1].fill()?,
            Trouble::Cut => self.relay.cut(),
            Trouble::Rebind => self.relay.rebind(),
            Trouble::TurnHub(jump) => {
                self.clocks[0].jump(jump)?;
                if self.hub.pid().is_none() {
                    self.hub.launch()?;
                }
            }
            Trouble::TurnAgent(jump) => {
                self.clocks[1].jump(jump)?;
                if self.agent.pid().is_none() {
                    self.agent.launch()?;
                }
            }
        }
        Ok(())
    }

    /// The end of all trouble: disks have room, clocks are right, the way is open, processes run.
    pub async fn mend(&mut self) -> Result<()> {
        self.disks.iter().try_for_each(Disk::empty)?;
        self.clocks.iter().try_for_each(Clock::mend)?;
        self.relay.heal();
        if self.hub.pid().is_none() {
            self.hub.restart().await?;
        }
        if self.agent.pid().is_none() {
            self.agent.restart().await?;
        }
        // Of a hub that was away when it was pushed to, nobody said a word; it would look within the interval.
        let api: Api<FleetKustomization> = Api::namespaced(self.planes[0].client(), WORKSPACE);
        let now = json!({"metadata": {"annotations": {
            "reconcile.fluxcd.io/requestedAt": format!("{}", jiff::Timestamp::now()),
        }}});
        let patch = kube::api::Patch::Merge(now);
        api.patch("soak", &kube::api::PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Waits until the spoke is what git says and the hub knows; then nothing else has happened.
    pub async fn agrees(&self) -> Result<()> {
        let api: Api<FleetKustomization> = Api::namespaced(self.planes[0].client(), WORKSPACE);
        eventually(DEADLINE, &format!("the hub says ready at {}", self.commit), || async {
            let status = api.get("soak").await?.status.unwrap_or_default();
            let ready = status.clusters.as_ref().map_or(0, |counts| counts.ready);
            ensure!(
                ready == 1 && status.target_revision.ends_with(&self.commit),
                "{ready} ready at {:?}: {:?}",
                status.target_revision,
                status.unhealthy
            );
            Ok(())
        })
        .await?;
        eventually(DEADLINE, "the spoke is what git says", || async {
            let held = self.config_maps().await?;
            let held: BTreeMap<String, u64> = held.into_iter().map(|(name, (value, _))| (name, value)).collect();
            ensure!(held == self.truth, "{held:?} and not {:?}", self.truth);
            Ok(())
        })
        .await?;
        self.nothing_else().await
    }

    async fn nothing_else(&self) -> Result<()> {
        let held = self.config_maps().await?;
        for (name, uid) in &self.uids {
            ensure!(
                held.get(name).is_some_and(|(_, now)| now == uid),
                "{name} was made again"
            );
        }
        let deletions = self.planes[1]
            .audit()?
            .since(self.began)?
            .only(|request| request.verb.starts_with("delete") && request.resource == "configmaps");
        let ours = deletions.only(|request| request.agent.starts_with("nave-agent"));
        for request in ours.iter() {
            let name = request.uri.rsplit('/').next().unwrap_or_default();
            let name = name.split('?').next().unwrap_or_default();
            ensure!(
                self.removed.contains_key(name),
                "{} was deleted, which nobody wanted",
                request.uri
            );
        }
        if !self.keys.is_empty() {
            let keys = self.cluster().await?.spec.identity.unwrap_or_default().keys;
            ensure!(keys == self.keys, "it joined again: {keys:?}, before {:?}", self.keys);
        }
        let clusters: Api<Cluster> = Api::namespaced(self.planes[0].client(), WORKSPACE);
        let count = clusters.list(&ListParams::default()).await?.items.len();
        ensure!(count == 1, "{count} clusters");
        let tokens: Api<JoinToken> = Api::namespaced(self.planes[0].client(), WORKSPACE);
        let token = tokens.get(SPOKE).await?;
        let used = token.status.unwrap_or_default().used.len();
        ensure!(used == 1, "the token was used {used} times");
        Ok(())
    }

    /// What it came to.
    pub fn sums(&self) -> Result<String> {
        let requests = self.planes[1].audit()?.since(self.began)?;
        let deletions = requests.only(|request| request.verb == "delete" && request.resource == "configmaps");
        Ok(format!(
            "{} commits, {} ConfigMaps taken out of git, {} deletions, no other and nothing joined again",
            self.counter,
            self.removed.values().sum::<u64>(),
            deletions.len()
        ))
    }

    /// The ends of the logs.
    pub fn explain(&self) {
        for (name, log) in [("hub", self.hub.log()), ("agent", self.agent.log())] {
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- {name}\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }

    async fn cluster(&self) -> Result<Cluster> {
        let api: Api<Cluster> = Api::namespaced(self.planes[0].client(), WORKSPACE);
        Ok(api.get(SPOKE).await?)
    }

    /// Values and UIDs of what is there.
    async fn config_maps(&self) -> Result<BTreeMap<String, (u64, String)>> {
        let client: Client = self.planes[1].client();
        let api: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
        let mut found = BTreeMap::new();
        for map in api.list(&ListParams::default().labels("soak=true")).await? {
            let value = map
                .data
                .as_ref()
                .and_then(|data| data.get("value"))
                .context("it has a value")?;
            let (name, uid) = (map.metadata.name.clone(), map.metadata.uid.clone());
            found.insert(name.unwrap_or_default(), (value.parse()?, uid.unwrap_or_default()));
        }
        Ok(found)
    }

    /// One file of all ConfigMaps, committed and pushed.
    async fn commit_truth(&mut self) -> Result<()> {
        let mut text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n");
        for (name, value) in &self.truth {
            text += &format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {NAMESPACE}, labels: {{soak: \"true\"}}}}\ndata: {{value: \"{value}\"}}\n"
            );
        }
        // The commit's number makes it another one even when nothing else differs.
        text += &format!("# {}\n", self.counter);
        self.commit = self.repository.commit_files(&[("app/all.yaml", &text)]).await?;
        Ok(())
    }

    fn object(&self) -> serde_json::Value {
        json!({
            "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "FleetKustomization",
            "metadata": {"name": "soak", "namespace": WORKSPACE},
            "spec": {
                "placement": {"selector": {"matchLabels": {"soak": "true"}}},
                "source": {
                    "template": {"kind": "GitRepository", "spec": {
                        "url": self.repository.url(), "interval": "10s", "ref": {"branch": "main"},
                    }},
                    "include": ["app/**"],
                },
                "template": {"spec": {"interval": "1m", "retryInterval": "5s", "path": "./app", "prune": true}},
            },
        })
    }
}
