//! A plane with a hub in this process.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use nave_bed::{Launch, Plane, PlaneOptions, Proc, eventually, free_tcp_port, free_udp_port};
use nave_crds::{
    Cluster, FleetKustomization, JoinToken,
    fleet::{ClusterStatus, JoinTokenSpec},
    meta::Time,
};
use nave_hub::{Arguments, Hub};
use nave_identity::{JoinToken as Token, TokenHash};
use nave_runtime::{Conditions, Tasks};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Long enough for two busy cores; nothing waits this long when it works.
pub const DEADLINE: Duration = Duration::from_secs(120);
pub const WORKSPACE: &str = "platform";

/// A management cluster.
pub struct Stage {
    /// Ends with the stage.
    plane: Plane,
    pub client: Client,
    storage: tempfile::TempDir,
}

/// Where a hub in a process of its own listens.
#[derive(Debug, Clone, Copy)]
pub struct HubPorts {
    pub link: u16,
    pub metrics: u16,
    pub health: u16,
}

/// A hub in this process, as if it were one of its own.
pub struct RunningHub {
    pub link: SocketAddr,
    pub hints: SocketAddr,
    hub: Hub,
    stop: CancellationToken,
}

impl Stage {
    pub async fn start(name: &str) -> Result<Self> {
        nave_net::install_crypto_provider();
        let plane = Plane::start(PlaneOptions::named(name)).await?;
        let client = plane.client();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": WORKSPACE}}))?;
        namespaces.create(&PostParams::default(), &namespace).await?;
        Ok(Stage {
            plane,
            client,
            storage: tempfile::tempdir()?,
        })
    }

    /// Starts a hub; the next one may take the address of the one before.
    pub async fn hub(&self, listen: &str) -> Result<RunningHub> {
        self.hub_with(listen, &[]).await
    }

    /// The same with more flags.
    pub async fn hub_with(&self, listen: &str, flags: &[&str]) -> Result<RunningHub> {
        // A socket outlives its hub until its connections are drained, which takes as long as the machine is busy.
        eventually(DEADLINE, &format!("{listen} to be free"), || async {
            Ok(std::net::UdpSocket::bind(listen).map(drop)?)
        })
        .await?;
        let storage = self.storage.path().join("artifacts");
        let storage = storage.to_str().context("temporary paths are text")?;
        let mut words = vec![
            "nave-hub",
            "--install-crds",
            "--listen",
            listen,
            "--storage-path",
            storage,
            "--storage-addr=127.0.0.1:0",
            "--storage-adv-addr=127.0.0.1:1",
            "--metrics-addr=127.0.0.1:0",
            "--health-addr=127.0.0.1:0",
            "--hint-addr=127.0.0.1:0",
        ];
        words.extend(flags);
        let arguments = Arguments::parse_from(words);
        let stop = CancellationToken::new();
        let tasks = Tasks::new(stop.clone());
        let hub = Hub::start(&arguments, self.client.clone(), tasks)
            .await?
            .context("the hub shut down at once")?;
        Ok(RunningHub {
            link: hub.link_addr(),
            hints: hub.hint_addr().context("hints were asked for")?,
            hub,
            stop,
        })
    }

    /// Starts a hub in a process of its own, that can be killed; the next one has the same addresses and files.
    #[allow(dead_code, reason = "of two test programs one kills")]
    pub async fn hub_process(&self, ports: HubPorts) -> Result<Proc> {
        let process = Launch::new("nave-hub", env!("CARGO_BIN_EXE_nave-hub"))
            .arg("--kubeconfig")
            .arg(self.plane.kubeconfig_path())
            .arg("--install-crds")
            .arg(format!("--listen=127.0.0.1:{}", ports.link))
            .arg("--storage-path")
            .arg(self.storage.path().join("artifacts"))
            .args(["--storage-addr=127.0.0.1:0", "--storage-adv-addr=127.0.0.1:1"])
            .arg(format!("--metrics-addr=127.0.0.1:{}", ports.metrics))
            .arg(format!("--health-addr=127.0.0.1:{}", ports.health))
            .args(["--log-encoding=console", "--log-level=info"])
            .start()?;
        let ready = format!("http://127.0.0.1:{}/readyz", ports.health);
        process.wait_ready(&ready, DEADLINE).await?;
        Ok(process)
    }

    /// The state file of [`Stage::hub_process`].
    #[allow(dead_code, reason = "of two test programs one kills")]
    pub fn state_file(&self) -> PathBuf {
        self.storage.path().join("artifacts.state/state.redb")
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), WORKSPACE)
    }

    /// Makes a token for one cluster, as the command line does. `change` may spoil it.
    pub async fn token(&self, name: &str, cluster: &str, change: impl FnOnce(&mut JoinTokenSpec)) -> Result<Token> {
        let info: Api<ConfigMap> = Api::namespaced(self.client.clone(), "nave-system");
        let info = info.get(nave_hub::INFO_CONFIG_MAP).await?.data.unwrap_or_default();
        let addresses = info["addresses"].split(',').map(str::to_owned).collect();
        let issued = Token::issue(addresses, info["rootPin"].parse()?, format!("{WORKSPACE}/{name}"))?;
        let mut spec = JoinTokenSpec {
            hash: issued.hash.to_string(),
            expires_at: Time(Timestamp::now() + SignedDuration::from_mins(10)),
            uses: 1,
            approval: None,
            revoked: false,
            cluster_uid: String::new(),
            cluster: serde_json::from_value(json!({
                "name": cluster,
                "labels": {"env": "prod"},
                "variables": {"region": "eu"},
            }))?,
        };
        change(&mut spec);
        ensure!(spec.hash.parse::<TokenHash>().is_ok(), "tests spoil tokens, not hashes");
        self.api::<JoinToken>()
            .create(&PostParams::default(), &JoinToken::new(name, spec))
            .await?;
        Ok(issued.token)
    }

    pub async fn cluster(&self, name: &str) -> Result<Cluster> {
        Ok(self.api::<Cluster>().get(name).await?)
    }

    /// Waits until a condition of a cluster has a status and a reason.
    pub async fn cluster_says(&self, name: &str, kind: &str, status: &str, reason: &str) -> Result<ClusterStatus> {
        eventually(DEADLINE, &format!("{kind}={status} of cluster {name}"), || async {
            let found = self.cluster(name).await?.status.unwrap_or_default();
            let condition = found.conditions.get_condition(kind).cloned();
            let fits = condition
                .as_ref()
                .is_some_and(|c| c.status == status && c.reason == reason);
            fits.then_some(found).ok_or_else(|| anyhow!("it is {condition:?}"))
        })
        .await
    }

    pub async fn patch_cluster(&self, name: &str, patch: Value) -> Result<()> {
        let api = self.api::<Cluster>();
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    pub async fn fleet(&self, name: &str, spec: Value) -> Result<()> {
        let object = json!({
            "apiVersion": "fleet.nave.dev/v1alpha1",
            "kind": "FleetKustomization",
            "metadata": {"name": name, "namespace": WORKSPACE},
            "spec": spec,
        });
        let api = self.api::<FleetKustomization>();
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object))
            .await?;
        Ok(())
    }

    /// Waits until the fleet object's status fits.
    pub async fn fleet_says(&self, name: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(DEADLINE, &format!("{what} of fleet object {name}"), || async {
            let object = self.api::<FleetKustomization>().get(name).await?;
            let status = serde_json::to_value(object.status.unwrap_or_default())?;
            if fits(&status) {
                Ok(status)
            } else {
                Err(anyhow!("its status is {status}"))
            }
        })
        .await
    }
}

impl HubPorts {
    #[allow(dead_code, reason = "of two test programs one kills")]
    pub fn free() -> Result<Self> {
        Ok(HubPorts {
            link: free_udp_port()?,
            metrics: free_tcp_port()?,
            health: free_tcp_port()?,
        })
    }

    /// A series of the hub, by its name and labels as they are printed.
    #[allow(dead_code, reason = "of two test programs one kills")]
    pub async fn metric(&self, series: &str) -> Result<f64> {
        let url = format!("http://127.0.0.1:{}/metrics", self.metrics);
        let text = reqwest::get(url).await?.error_for_status()?.text().await?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(line.map_or(Ok(0.0), str::parse)?)
    }
}

impl RunningHub {
    /// Ends it as SIGTERM does.
    pub async fn stop(self) -> Result<()> {
        self.stop.cancel();
        ensure!(self.hub.finish().await, "some tasks of the hub did not end in time");
        Ok(())
    }
}
