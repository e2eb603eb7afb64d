//! A tenant of the hub looks into a cluster through the link: he sees the pods of his namespace and their logs, and
//! nothing else; never a Secret; what is refused is refused clearly and written down at both ends; and a cluster that is
//! away is said to be away. The agent listens nowhere for it.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use nave_bed::{Authority, eventually, free_tcp_port};
use nave_demo::{
    Fleet, FleetOptions, Nave, examples,
    fleet::{self, WORKSPACE},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

use crate::support::{CHANGE, connected, with_some};

const TENANT: &str = "team-a";
const USER: &str = "system:serviceaccount:team-a:viewer";
const ON_SPOKE: &str = "nave-live:system:serviceaccount:team-a:viewer";
const CLUSTER: &str = "platform/eu-1";
/// A value of a Secret, which must be seen nowhere.
const HIDDEN: &str = "correct-horse-battery-staple";

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_his_own() -> Result<()> {
    let port = free_tcp_port()?;
    let options = FleetOptions {
        audit: true,
        spokes: vec!["eu-1"],
        hub_arguments: vec!["--live-addr".to_owned(), format!("127.0.0.1:{port}")],
    };
    with_some(options, |mut fleet| async move {
        let result = promise(&mut fleet, port).await;
        (fleet, result)
    })
    .await
}

async fn promise(fleet: &mut Fleet, port: u16) -> Result<()> {
    let spoke = fleet.spokes[0];
    fleet.add(spoke).await?;
    connected(fleet, "eu-1").await?;
    prepare_hub(fleet, port).await?;
    let kubelet = Kubelet::start().await?;
    prepare_spoke(&fleet.planes["eu-1"].client(), kubelet.port).await?;
    let tenant = tenant(fleet).await?;

    // Nothing is allowed that nobody has allowed; the agent does not even hear of it.
    let pods = ["get", "pods", "--cluster", CLUSTER, "-n", TENANT];
    let refused = fails(&tenant, &pods).await?;
    ensure!(refused.contains("may not list clusters/live-objects"), "{refused}");
    let denied = audited(&fleet.hub.log(), "denied");
    ensure!(denied.len() == 1 && denied[0]["user"] == USER, "{denied:?}");
    ensure!(
        audited(&fleet.agents["eu-1"].log(), "asked").is_empty(),
        "the agent was asked"
    );

    // Allowed on the hub, for this workspace.
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "tenant-looks", "namespace": WORKSPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "nave-fleet-live-nave-system"},
        "subjects": [{"kind": "ServiceAccount", "name": "viewer", "namespace": TENANT}],
    });
    fleet::apply(&fleet.hub_plane.client(), &binding).await?;
    let shown = eventually(CHANGE, "the tenant sees his pod", || async { tenant.run(&pods).await }).await?;
    let lines: Vec<&str> = shown.lines().collect();
    ensure!(
        lines.len() == 2 && lines[0].starts_with("NAME") && lines[0].contains("READY") && lines[1].starts_with("web"),
        "{shown}"
    );
    let yaml = tenant
        .run(&["get", "po", "web", "--cluster", CLUSTER, "-n", TENANT, "-o", "yaml"])
        .await?;
    ensure!(
        yaml.contains("kind: Pod") && yaml.contains("image: app") && !yaml.contains("managedFields"),
        "{yaml}"
    );
    let described = tenant
        .run(&["describe", "pod/web", "--cluster", CLUSTER, "-n", TENANT])
        .await?;
    ensure!(
        described.contains("kind: Pod") && described.contains("Looked"),
        "{described}"
    );
    let events = tenant.run(&["events", "--cluster", CLUSTER, "-n", TENANT]).await?;
    ensure!(events.contains("Looked") && events.contains("Pod/web"), "{events}");

    refusals_of_the_spoke(fleet, &tenant).await?;
    logs_stream(fleet, &tenant, &kubelet).await?;

    // The spoke's API server knows who asked, and through whom.
    let audit = fleet.planes["eu-1"].audit_log().context("audit logs were asked for")?;
    let audit = std::fs::read_to_string(audit)?;
    ensure!(
        audit
            .lines()
            .any(|line| line.contains("\"impersonatedUser\"") && line.contains(ON_SPOKE)),
        "the spoke's audit log does not name the caller"
    );
    for log in [&audit, &fleet.hub.log(), &fleet.agents["eu-1"].log()] {
        ensure!(!log.contains(HIDDEN), "a value of a Secret stands in a log");
    }

    // Away is away.
    fleet.agents.get_mut("eu-1").context("its agent runs")?.stop().await?;
    let refused = eventually(CHANGE, "the hub notices that the cluster is away", || async {
        let refused = fails(&tenant, &pods).await?;
        ensure!(refused.contains("is not connected"), "{refused}");
        Ok(refused)
    })
    .await?;
    ensure!(refused.contains(CLUSTER), "{refused}");
    Ok(())
}

/// The rights that the manifests bring, and the APIService of the component; the Service leads to this machine.
async fn prepare_hub(fleet: &Fleet, port: u16) -> Result<()> {
    let client = fleet.hub_plane.client();
    let deploy = examples::folder().with_file_name("deploy");
    let roles = ["nave-live-ask-nave-system", "nave-fleet-live-nave-system"];
    let mut applied = 0;
    for object in examples::objects(&deploy.join("base/hub/rbac.yaml"))? {
        if roles.iter().any(|role| object["metadata"]["name"] == *role) {
            fleet::apply(&client, &object).await?;
            applied += 1;
        }
    }
    ensure!(applied == 3, "the manifests hold {applied} of three objects");
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "nave-hub-live", "namespace": "nave-system"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"name": "live", "port": port}]},
    });
    fleet::apply(&client, &service).await?;
    for mut object in examples::objects(&deploy.join("components/live-access/api-service.yaml"))? {
        object["spec"]["service"]["port"] = json!(port);
        fleet::apply(&client, &object).await?;
    }
    eventually(CHANGE, "the API server reaches the hub", || async {
        let (version, name) = ("apiregistration.k8s.io/v1", "v1alpha1.live.fleet.nave.dev");
        let service = fleet::get(&client, version, "APIService", "", name).await?;
        let conditions = service["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let available = conditions
            .iter()
            .any(|condition| condition["type"] == "Available" && condition["status"] == "True");
        ensure!(available, "{conditions:?}");
        Ok(())
    })
    .await
}

/// Two namespaces with a pod each, a Secret, and rights for the tenant in one of them. He may even read its Secrets.
async fn prepare_spoke(client: &Client, kubelet: u16) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let node = nodes.list(&Default::default()).await?.items.into_iter().next();
    let node = node
        .and_then(|node| node.metadata.name)
        .context("the plane has a node")?;
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet}},
    }});
    nodes
        .patch_status(&node, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    for namespace in [TENANT, "other"] {
        fleet::apply(
            client,
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        )
        .await?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let pod = json!({
            "metadata": {"name": "web"},
            "spec": {
                "nodeName": node, "serviceAccountName": "default", "automountServiceAccountToken": false,
                "containers": [{"name": "main", "image": "app"}],
            },
        });
        let pod = serde_json::from_value(pod)?;
        // The namespace's service account comes a moment after it.
        eventually(CHANGE, "the pod is made", || async {
            match pods.create(&Default::default(), &pod).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        eventually(CHANGE, "the pod runs", || async {
            let phase = pods.get("web").await?.status.and_then(|status| status.phase);
            ensure!(phase.as_deref() == Some("Running"), "{phase:?}");
            Ok(())
        })
        .await?;
    }
    for object in [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden", "namespace": TENANT},
            "stringData": {"password": HIDDEN}}),
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "looked", "namespace": TENANT},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": TENANT},
            "type": "Normal", "reason": "Looked", "message": "somebody looked",
            "lastTimestamp": "2026-01-01T00:00:00Z", "firstTimestamp": "2026-01-01T00:00:00Z"}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "seen-from-the-hub", "namespace": TENANT},
            "rules": [{"apiGroups": [""], "resources": ["pods", "pods/log", "events", "secrets"], "verbs": ["get", "list"]}]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "seen-from-the-hub", "namespace": TENANT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "seen-from-the-hub"},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": ON_SPOKE}]}),
    ] {
        fleet::apply(client, &object).await?;
    }
    Ok(())
}

/// `nave` as the tenant: an account of the hub with no rights but what everybody has.
async fn tenant(fleet: &Fleet) -> Result<Nave> {
    let client = fleet.hub_plane.client();
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TENANT}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "viewer", "namespace": TENANT}}),
    ] {
        fleet::apply(&client, &object).await?;
    }
    let kubeconfig = fleet.hub_plane.service_account_kubeconfig(TENANT, "viewer").await?;
    let path: PathBuf = fleet.folder.path().join("tenant.kubeconfig");
    std::fs::write(&path, kubeconfig)?;
    Nave::new(path)
}

/// Another namespace, every namespace, and Secrets, whatever the spoke's RBAC says.
async fn refusals_of_the_spoke(fleet: &Fleet, tenant: &Nave) -> Result<()> {
    let of = |log: String| audited(&log, "denied").len();
    for (asked, told) in [
        (
            &["get", "pods", "--cluster", CLUSTER, "-n", "other"][..],
            "cannot list resource",
        ),
        (&["get", "pods", "--cluster", CLUSTER, "-A"], "cannot list resource"),
        (&["get", "nodes", "--cluster", CLUSTER], "cannot list resource"),
        (
            &["logs", "web", "--cluster", CLUSTER, "-n", "other"],
            "cannot get resource",
        ),
        (&["events", "--cluster", CLUSTER, "-n", "other"], "cannot list resource"),
        (
            &["get", "secrets", "--cluster", CLUSTER, "-n", TENANT],
            "Secrets are not read",
        ),
        (
            &["get", "secret/hidden", "--cluster", CLUSTER, "-n", TENANT, "-o", "yaml"],
            "Secrets are not read",
        ),
    ] {
        let (hub, agent) = (of(fleet.hub.log()), of(fleet.agents["eu-1"].log()));
        let refused = fails(tenant, asked).await?;
        ensure!(
            refused.contains(told) && !refused.contains(HIDDEN),
            "{asked:?}: {refused}"
        );
        // Both write before the caller has his answer.
        ensure!(of(fleet.hub.log()) == hub + 1, "{asked:?} is not in the hub's log");
        ensure!(
            of(fleet.agents["eu-1"].log()) == agent + 1,
            "{asked:?} is not in the agent's log"
        );
    }
    // One id joins the two lines.
    let (hub, agent) = (
        audited(&fleet.hub.log(), "denied"),
        audited(&fleet.agents["eu-1"].log(), "denied"),
    );
    let last = |lines: &[Value]| lines.last().map(|line| line["id"].clone());
    ensure!(last(&hub) == last(&agent) && last(&hub).is_some(), "{hub:?}\n{agent:?}");
    ensure!(agent[0]["user"] == ON_SPOKE, "{}", agent[0]);
    // Nothing runs there either.
    let unknown = fails(tenant, &["get", "pods/exec", "--cluster", CLUSTER, "-n", TENANT]).await?;
    ensure!(!unknown.is_empty());
    Ok(())
}

/// A log that is followed comes line by line, and nobody reads it any more when the caller has gone.
async fn logs_stream(fleet: &Fleet, tenant: &Nave, kubelet: &Kubelet) -> Result<()> {
    let whole = tenant.run(&["logs", "web", "--cluster", CLUSTER, "-n", TENANT]).await?;
    ensure!(whole == "line 0\n", "{whole:?}");
    let mut follow = tokio::process::Command::new(tokio::task::block_in_place(|| nave_bed::binary("nave"))?)
        .args(["logs", "web", "--cluster", CLUSTER, "-n", TENANT, "--follow"])
        .env("KUBECONFIG", fleet.folder.path().join("tenant.kubeconfig"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(follow.stdout.take().context("its output is ours")?).lines();
    for number in 0..3 {
        let line = tokio::time::timeout(CHANGE, lines.next_line())
            .await
            .context("no line came")??;
        ensure!(line.as_deref() == Some(format!("line {number}").as_str()), "{line:?}");
        kubelet.lines.send_modify(|lines| *lines += 1);
    }
    follow.kill().await?;
    eventually(CHANGE, "nobody reads the log any more", || async {
        let open = *kubelet.open.borrow();
        ensure!(open == 0, "{open} still read");
        Ok(())
    })
    .await?;
    eventually(CHANGE, "the caller is written down as gone", || async {
        ensure!(!audited(&fleet.agents["eu-1"].log(), "gone").is_empty(), "not yet");
        Ok(())
    })
    .await
}

async fn fails(nave: &Nave, arguments: &[&str]) -> Result<String> {
    let output = tokio::time::timeout(Duration::from_secs(120), nave.output(arguments)).await??;
    ensure!(
        !output.status.success(),
        "{arguments:?} succeeded: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The lines of a log that say what came of live reads.
fn audited(log: &str, outcome: &str) -> Vec<Value> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["audit"] == "live-read" && line["outcome"] == outcome)
        .collect()
}

/// Plays the part of a kubelet that the imaginary nodes do not have: it serves logs, and a followed one goes on.
struct Kubelet {
    port: u16,
    /// How many lines there are beside the first.
    lines: watch::Sender<usize>,
    /// Followed logs that are being read.
    open: watch::Sender<usize>,
    _ends_with_it: tokio::task::JoinHandle<()>,
}

impl Kubelet {
    async fn start() -> Result<Kubelet> {
        let authority = Authority::new("kubelets")?;
        let acceptor = TlsAcceptor::from(authority.server(&["127.0.0.1"])?.server_config()?);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (lines, open) = (watch::Sender::new(0), watch::Sender::new(0));
        let (of_lines, of_open) = (lines.clone(), open.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, lines, open) = (acceptor.clone(), of_lines.subscribe(), of_open.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        // It fails when the reader has gone.
                        let _ = serve(stream, lines, open).await;
                    }
                });
            }
        });
        Ok(Kubelet {
            port,
            lines,
            open,
            _ends_with_it: task,
        })
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self._ends_with_it.abort();
    }
}

async fn serve(
    stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    mut lines: watch::Receiver<usize>,
    open: watch::Sender<usize>,
) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if stream.read_line(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{head}line 0\n").as_bytes()).await?;
    stream.flush().await?;
    let follows = request.lines().next().is_some_and(|line| line.contains("follow=true"));
    if !follows {
        stream.shutdown().await?;
        return Ok(());
    }
    open.send_modify(|open| *open += 1);
    let mut told = 0;
    let mut byte = [0; 1];
    let result: Result<()> = async {
        loop {
            while told < *lines.borrow_and_update() {
                told += 1;
                stream.write_all(format!("line {told}\n").as_bytes()).await?;
                stream.flush().await?;
            }
            tokio::select! {
                changed = lines.changed() => changed?,
                // The reader says nothing more until it goes.
                read = stream.read(&mut byte) => {
                    let _ = read?;
                    return Ok(());
                }
            }
        }
    }
    .await;
    open.send_modify(|open| *open -= 1);
    result
}
