//! A Kubernetes control plane as a value.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::Deserialize;
use tempfile::TempDir;

use crate::audit::AuditLog;
use crate::process::{Launch, Proc};
use crate::{assets, keeper, program, tls};

/// A plane takes four seconds alone on two cores; this is for several at once on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(180);

/// What kind of plane to start.
#[derive(Debug, Clone)]
pub struct PlaneOptions {
    /// Its name in messages and in its kubeconfig.
    pub name: String,
    /// Whether requests are recorded, see [`Plane::audit`].
    pub audit: bool,
    /// Whether the bodies of writes are recorded as well; only by our own planes.
    pub audit_bodies: bool,
    /// How many imaginary nodes it has.
    pub nodes: u32,
    /// The port of the API server; any free one by default.
    pub port: Option<u16>,
    /// The client URL of an etcd to share (see [`Plane::etcd_url`]) instead of one of its own.
    pub etcd: Option<String>,
}

/// A running control plane with an administrator's kubeconfig. Dropping it ends it, unless it is somebody's own cluster.
#[derive(Debug)]
pub struct Plane {
    /// The name it was started under.
    pub name: String,
    url: String,
    kubeconfig_path: PathBuf,
    kubeconfig: String,
    config: Config,
    audit_log: Option<PathBuf>,
    etcd: Option<String>,
    millis: BTreeMap<String, u64>,
    kind: Kind,
    _dir: TempDir,
}

#[derive(Debug)]
enum Kind {
    /// Our own program: all five components in one process.
    Whole(Box<Proc>),
    /// etcd and API server out of `KUBEBUILDER_ASSETS`.
    Assets(Box<assets::Assets>),
    /// A cluster out of `NAVE_TEST_KUBECONFIGS`; the number is its place in the list.
    Borrowed(usize),
}

/// The line the program prints when it is ready.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    url: String,
    kubeconfig: PathBuf,
    etcd: String,
    millis: BTreeMap<String, u64>,
}

/// Which of the clusters in `NAVE_TEST_KUBECONFIGS` are in use by this process.
static BORROWED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

impl Default for PlaneOptions {
    fn default() -> PlaneOptions {
        PlaneOptions {
            name: "plane".into(),
            audit: false,
            audit_bodies: false,
            nodes: 1,
            port: None,
            etcd: None,
        }
    }
}

impl PlaneOptions {
    /// The default with a name.
    pub fn named(name: impl Into<String>) -> PlaneOptions {
        PlaneOptions {
            name: name.into(),
            ..PlaneOptions::default()
        }
    }
}

impl Plane {
    /// Starts a plane and waits until pods can run in it.
    ///
    /// The environment may ask for something else: `NAVE_TEST_KUBECONFIGS=a:b` lends clusters of the user's own, one
    /// per plane; `KUBEBUILDER_ASSETS=<dir>` names a folder with `etcd` and `kube-apiserver`, which make a plane
    /// without controllers and nodes, see [`Plane::has_workloads`].
    pub async fn start(options: PlaneOptions) -> Result<Plane> {
        tls::install_crypto_provider();
        let name = options.name.clone();
        let started = if let Some(paths) = std::env::var_os("NAVE_TEST_KUBECONFIGS").filter(|paths| !paths.is_empty()) {
            Plane::borrow(options, std::env::split_paths(&paths).collect()).await
        } else if let Some(dir) = std::env::var_os("KUBEBUILDER_ASSETS").filter(|dir| !dir.is_empty()) {
            Plane::start_assets(options, Path::new(&dir)).await
        } else {
            Plane::start_whole(options).await
        };
        started.with_context(|| format!("starting control plane {name}"))
    }

    /// Starts several at the same time. When one fails, all end.
    pub async fn start_many(options: Vec<PlaneOptions>) -> Result<Vec<Plane>> {
        try_join_all(options.into_iter().map(Plane::start)).await
    }

    /// A file with the administrator's kubeconfig; it lives as long as the plane.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig_path
    }

    /// The administrator's kubeconfig, YAML with inline certificates.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig.clone()
    }

    /// The address of the API server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client with all rights.
    ///
    /// # Panics
    /// Outside a tokio runtime: a client's connections live in the runtime that made it, so every test asks for its own.
    pub fn client(&self) -> Client {
        Client::try_from(self.config.clone()).expect("a client was made of it when the plane started")
    }

    /// The file with the audit log, when it was asked for.
    pub fn audit_log(&self) -> Option<&Path> {
        self.audit_log.as_deref()
    }

    /// The audit log, parsed. Fails when the plane was started without, or is somebody's own cluster.
    pub fn audit(&self) -> Result<AuditLog> {
        let path = self
            .audit_log()
            .with_context(|| format!("plane {} was started without an audit log", self.name))?;
        Ok(AuditLog::new(path))
    }

    /// The client URL of its etcd, for other planes to share. Nothing for a cluster of the user's own.
    pub fn etcd_url(&self) -> Option<&str> {
        self.etcd.as_deref()
    }

    /// Whether controllers and nodes are there, so that Deployments become ready, Jobs end, namespaces go away, and
    /// owned objects are collected.
    ///
    /// A plane out of `KUBEBUILDER_ASSETS` has none; tests that need them return early after [`Plane::skip`].
    pub fn has_workloads(&self) -> bool {
        !matches!(self.kind, Kind::Assets(_))
    }

    /// Whether the plane obeys the `bed.nave.dev/` annotations, which a cluster of the user's own does not.
    pub fn obeys_annotations(&self) -> bool {
        matches!(self.kind, Kind::Whole(_))
    }

    /// Prints that a test was skipped on this plane, and why. Returns what was asked, for use in a condition.
    pub fn skip(&self, test: &str, unless: bool, why: &str) -> bool {
        if !unless {
            eprintln!("SKIPPED {test}: plane {}: {why}", self.name);
        }
        !unless
    }

    /// Milliseconds from the start of its process until each phase was reached (`etcd`, `api-server`, `started`,
    /// `ready`); empty for planes that are not our own.
    pub fn start_millis(&self) -> &BTreeMap<String, u64> {
        &self.millis
    }

    /// Its process, when it is one of ours with all components in it.
    pub fn process(&self) -> Option<&Proc> {
        match &self.kind {
            Kind::Whole(process) => Some(process),
            Kind::Assets(_) | Kind::Borrowed(_) => None,
        }
    }

    /// A kubeconfig with a token of a service account that is valid for an hour.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("requesting a token of service account {namespace}/{name}"))?;
        let token = answer
            .status
            .and_then(|status| status.token)
            .context("the token request was answered without a token")?;
        let mut config = parse(&self.kubeconfig)?;
        for user in &mut config.auth_infos {
            user.auth_info = Some(kube::config::AuthInfo {
                token: Some(token.clone().into()),
                ..Default::default()
            });
        }
        for context in &mut config.contexts {
            if let Some(context) = &mut context.context {
                context.namespace = Some(namespace.to_owned());
            }
        }
        serde_json::to_string_pretty(&config).context("writing a kubeconfig")
    }

    /// Stops all its processes from running (SIGSTOP): its clients get no answer until [`Plane::resume`].
    pub fn pause(&self) -> Result<()> {
        self.each_process("paused", Proc::pause)
    }

    /// Ends the pause.
    pub fn resume(&self) -> Result<()> {
        self.each_process("resumed", Proc::resume)
    }

    /// Ends the plane in order: its processes are asked to end and waited for. A borrowed cluster goes on.
    pub async fn stop(self) {
        // Asking first is a courtesy to their logs; what does not listen is killed by the drop that follows.
        let grace = Duration::from_secs(5);
        match &self.kind {
            Kind::Whole(process) => drop(process.terminate(grace).await),
            Kind::Assets(assets) => {
                for process in assets.processes() {
                    drop(process.terminate(grace).await);
                }
            }
            Kind::Borrowed(_) => {}
        }
    }

    async fn start_whole(options: PlaneOptions) -> Result<Plane> {
        let program = tokio::task::spawn_blocking(program::build_controlplane)
            .await
            .context("building the control plane in the background")??;
        let dir = keeper::scratch_dir(&options.name)?;
        let ready_file = dir.path().join("ready.json");
        let audit_log = options.audit.then(|| dir.path().join("audit.log"));
        let mut launch = Launch::new(options.name.as_str(), program)
            .args(["up", "--name", options.name.as_str(), "--dir"])
            .arg(dir.path().join("data"))
            .args(["--nodes", &options.nodes.to_string()])
            .args(["--port", &options.port.unwrap_or(0).to_string()])
            .stdout_to(&ready_file)
            .hold_stdin();
        if let Some(path) = &audit_log {
            launch = launch.arg("--audit-log").arg(path);
            if options.audit_bodies {
                launch = launch.arg("--audit-bodies");
            }
        }
        if let Some(etcd) = &options.etcd {
            launch = launch.args(["--etcd", etcd.as_str()]);
        }
        let process = launch.start()?;
        let ready = wait_ready(&process, &ready_file).await?;
        let kubeconfig = read(&ready.kubeconfig)?;
        let config = client_config(&kubeconfig).await?;
        Ok(Plane {
            name: options.name,
            url: ready.url,
            kubeconfig_path: ready.kubeconfig,
            kubeconfig,
            config,
            audit_log,
            etcd: Some(ready.etcd),
            millis: ready.millis,
            kind: Kind::Whole(Box::new(process)),
            _dir: dir,
        })
    }

    async fn start_assets(options: PlaneOptions, binaries: &Path) -> Result<Plane> {
        let dir = keeper::scratch_dir(&options.name)?;
        let assets = assets::Assets::start(&options, binaries, dir.path()).await?;
        let kubeconfig = read(&assets.kubeconfig)?;
        let config = client_config(&kubeconfig).await?;
        Ok(Plane {
            name: options.name,
            url: assets.url.clone(),
            kubeconfig_path: assets.kubeconfig.clone(),
            kubeconfig,
            config,
            audit_log: assets.audit_log.clone(),
            etcd: Some(assets.etcd_url.clone()),
            millis: BTreeMap::new(),
            kind: Kind::Assets(Box::new(assets)),
            _dir: dir,
        })
    }

    async fn borrow(options: PlaneOptions, paths: Vec<PathBuf>) -> Result<Plane> {
        if options.port.is_some() || options.etcd.is_some() {
            bail!("a cluster out of NAVE_TEST_KUBECONFIGS has its own port and etcd");
        }
        let number = {
            let mut borrowed = BORROWED.lock().expect("nothing panics while it holds the list");
            let number = (0..paths.len())
                .find(|number| !borrowed.contains(number))
                .with_context(|| {
                    format!(
                        "NAVE_TEST_KUBECONFIGS names {} clusters, and all are in use",
                        paths.len()
                    )
                })?;
            borrowed.push(number);
            number
        };
        // From here on the drop of `Kind` gives the cluster back.
        let kind = Kind::Borrowed(number);
        let path = paths[number].clone();
        let kubeconfig = read(&path)?;
        let config = client_config(&kubeconfig)
            .await
            .with_context(|| format!("using {}", path.display()))?;
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        Ok(Plane {
            name: options.name,
            url,
            kubeconfig_path: path,
            kubeconfig,
            config,
            audit_log: None,
            etcd: None,
            millis: BTreeMap::new(),
            kind,
            _dir: keeper::scratch_dir("borrowed")?,
        })
    }

    fn each_process(&self, done: &str, action: impl Fn(&Proc) -> Result<()>) -> Result<()> {
        match &self.kind {
            Kind::Whole(process) => action(process),
            Kind::Assets(assets) => assets.processes().into_iter().try_for_each(action),
            Kind::Borrowed(_) => bail!(
                "plane {} is a cluster of the user's own and cannot be {done}",
                self.name
            ),
        }
    }
}

impl Drop for Kind {
    fn drop(&mut self) {
        if let Kind::Borrowed(number) = self {
            BORROWED
                .lock()
                .expect("nothing panics while it holds the list")
                .retain(|other| other != number);
        }
    }
}

async fn wait_ready(process: &Proc, file: &Path) -> Result<Ready> {
    let started = Instant::now();
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if let Some((line, _)) = text.split_once('\n') {
            return serde_json::from_str(line).with_context(|| format!("reading its ready line {line:?}"));
        }
        let tail = || process.log_tail(40);
        if let Some(status) = process.exit_status() {
            bail!("it ended with {status}; its log ends with:\n{}", tail());
        }
        if started.elapsed() > START_DEADLINE {
            bail!(
                "it was not ready within {START_DEADLINE:?}; its log ends with:\n{}",
                tail()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn parse(kubeconfig: &str) -> Result<Kubeconfig> {
    Kubeconfig::from_yaml(kubeconfig).context("reading a kubeconfig")
}

/// Reads a kubeconfig so that making clients of it cannot fail any more.
pub(crate) async fn client_config(kubeconfig: &str) -> Result<Config> {
    let config = Config::from_custom_kubeconfig(parse(kubeconfig)?, &KubeConfigOptions::default())
        .await
        .context("using a kubeconfig")?;
    Client::try_from(config.clone()).context("making a client of a kubeconfig")?;
    Ok(config)
}
