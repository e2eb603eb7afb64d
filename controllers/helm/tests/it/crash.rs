//! A reconciler in a process of its own that is killed with signal 9 at a named moment of an action. Another one comes
//! after it, finds what the first one left, and brings the release to its end by itself.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use kube::{
    Client, Config,
    api::{DeleteParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use nave_bed::eventually;
use nave_helm_controller::{ChartArtifacts, run};
use nave_runtime::{
    Metrics, Tasks,
    ports::{Action, ApplyPolicy, OwnerRef},
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    charts::{config, deployment, hook},
    stage::{DEADLINE, Stage, options, ports},
};

/// Set for the process that is killed; without them it does nothing as a test.
const NAMESPACE: &str = "NAVE_CRASH_NAMESPACE";
const KUBECONFIG: &str = "NAVE_CRASH_KUBECONFIG";
/// `<action>/<kind>/<name>/<n>`: the process ends before it does this for the nth time.
const MOMENT: &str = "NAVE_CRASH_MOMENT";

/// Every write asks a policy first: that is the moment.
struct Deadly {
    moment: String,
    times: AtomicUsize,
}

impl ApplyPolicy for Deadly {
    fn check(
        &self,
        _owner: &OwnerRef,
        action: Action,
        _group: &str,
        kind: &str,
        _namespace: &str,
        name: &str,
    ) -> Result<(), String> {
        let Some((what, times)) = self.moment.rsplit_once('/') else {
            return Ok(());
        };
        if what == format!("{action:?}/{kind}/{name}")
            && (self.times.fetch_add(1, Ordering::SeqCst) + 1).to_string() == times
        {
            let own = std::process::id().to_string();
            // Nothing of ours runs any more after this, as with the kernel's own kill.
            let _ = std::process::Command::new("kill").args(["-9", &own]).status();
            loop {
                std::thread::park();
            }
        }
        Ok(())
    }
}

/// The reconciler that dies: this test binary again, with only this test in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_child() -> Result<()> {
    let (Ok(namespace), Ok(kubeconfig), Ok(moment)) = (
        std::env::var(NAMESPACE),
        std::env::var(KUBECONFIG),
        std::env::var(MOMENT),
    ) else {
        return Ok(()); // it is not asked for
    };
    nave_net::install_crypto_provider();
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let tasks = Tasks::new(Default::default());
    let policy = Arc::new(Deadly {
        moment,
        times: AtomicUsize::new(0),
    });
    let artifacts = ChartArtifacts::new(None, reqwest::Client::new(), 3);
    let ports = ports(&client, &namespace, artifacts, policy, Metrics::new(), &tasks);
    run(ports, options()).await;
    Ok(())
}

/// A stage whose artifacts another process can read.
async fn served(test: &str) -> Result<(Stage, tokio::task::JoinHandle<()>)> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let stage = Stage::idle(test, &address).await?;
    let routes = stage.store.routes();
    let server = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            eprintln!("the server of artifacts ended: {error}");
        }
    });
    Ok((stage, server))
}

/// Runs a reconciler until it is dead.
async fn die_at(stage: &Stage, moment: &str) -> Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "crash::crash_child", "--nocapture"])
        .env(NAMESPACE, &stage.namespace)
        .env(KUBECONFIG, stage.plane.kubeconfig_path())
        .env(MOMENT, moment)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("starting the reconciler")?;
    let ended = tokio::time::timeout(DEADLINE, child.wait()).await;
    let status = ended.with_context(|| format!("it never came to {moment}: {:?}", stage.namespace))??;
    ensure!(!status.success(), "{moment}: it ended by itself: {status}");
    Ok(())
}

/// A chart with hooks at every event; `more` are annotations of the Deployment's pods.
fn chart(value: &str, more: &str) -> Vec<(&'static str, String)> {
    let ends = "bed.nave.dev/complete-after: \"0s\"";
    let (before, after) = (
        "pre-install,pre-upgrade,pre-rollback",
        "post-install,post-upgrade,post-rollback",
    );
    let policy = "before-hook-creation";
    vec![
        ("templates/a.yaml", config("a", value, "")),
        ("templates/web.yaml", deployment("web", more)),
        ("templates/pre.yaml", hook("Job", "pre", before, policy, ends)),
        ("templates/post.yaml", hook("Job", "post", after, policy, ends)),
        ("templates/bye.yaml", hook("Job", "bye", "pre-delete", policy, ends)),
        ("templates/check.yaml", hook("Pod", "check", "test", policy, ends)),
    ]
}

/// No version is pending any more, and exactly one is deployed.
async fn check_settled(stage: &Stage, moment: &str) -> Result<()> {
    let versions = stage.versions().await?;
    let deployed = versions.iter().filter(|version| version.ends_with(":deployed")).count();
    ensure!(
        deployed == 1 && versions.iter().all(|version| !version.contains("pending")),
        "{moment}: {versions:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_that_was_killed_is_made_up_for() -> Result<()> {
    for (moment, left) in [
        ("Apply/Job/pre/1", "1:pending-install"),
        ("Apply/ConfigMap/a/1", "1:pending-install"),
        ("Apply/Deployment/web/1", "1:pending-install"),
        ("Apply/Job/post/1", "1:pending-install"),
        ("Apply/Pod/check/1", "1:deployed"),
    ] {
        let (mut stage, server) = served("crash-install").await?;
        stage.publish("1.0.0", &chart("1", "")).await?;
        stage.apply(json!({"test": {"enable": true}})).await?;
        die_at(&stage, moment).await?;
        assert_eq!(stage.versions().await?, [left], "{moment}");
        stage.run();
        let status = stage.ready("1.0.0").await.with_context(|| moment.to_owned())?;
        check_settled(&stage, moment).await?;
        assert_eq!(stage.value("a").await?.as_deref(), Some("1"));
        let tests = status.history[0].test_hooks.clone().unwrap_or_default();
        assert_eq!(
            tests.get("check").map(|test| test.phase.as_str()),
            Some("Succeeded"),
            "{moment}"
        );
        stage.stop().await?;
        server.abort();
    }
    Ok(())
}

/// A stage with version 1.0.0 installed and nobody at work.
async fn installed(test: &str, spec: Value) -> Result<(Stage, tokio::task::JoinHandle<()>)> {
    let (mut stage, server) = served(test).await?;
    let mut files = chart("1", "");
    files.push(("templates/b.yaml", config("b", "1", "")));
    stage.publish("1.0.0", &files).await?;
    stage.apply(spec).await?;
    stage.run();
    stage.ready("1.0.0").await?;
    stage.halt().await?;
    Ok((stage, server))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_was_killed_is_made_up_for() -> Result<()> {
    for moment in [
        "Apply/Job/pre/1",
        "Apply/ConfigMap/a/1",
        "Delete/ConfigMap/b/1",
        "Apply/Job/post/1",
    ] {
        let (mut stage, server) = installed("crash-upgrade", json!({})).await?;
        stage.publish("2.0.0", &chart("2", "")).await?;
        die_at(&stage, moment).await?;
        assert_eq!(stage.versions().await?, ["1:deployed", "2:pending-upgrade"], "{moment}");
        stage.run();
        let status = stage.ready("2.0.0").await.with_context(|| moment.to_owned())?;
        let known: Vec<i64> = status.history.iter().map(|one| one.version).collect();
        assert_eq!(known, [3, 2, 1], "{moment}: what can be gone back to is still known");
        check_settled(&stage, moment).await?;
        assert_eq!(stage.value("a").await?.as_deref(), Some("2"));
        assert_eq!(stage.value("b").await?, None, "{moment}: what left the chart is gone");
        stage.told("PendingRelease Unlocked Helm release").await?;
        stage.stop().await?;
        server.abort();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roll_back_that_was_killed_is_made_up_for() -> Result<()> {
    let spec = json!({"upgrade": {"timeout": "2s", "remediation": {"remediateLastFailure": true}}});
    // The upgrade applies it first, the roll-back second.
    for moment in ["Apply/Job/pre/2", "Apply/ConfigMap/a/2"] {
        let (mut stage, server) = installed("crash-rollback", spec.clone()).await?;
        let never = "bed.nave.dev/ready-after: \"1h\"";
        stage.publish("2.0.0", &chart("2", never)).await?;
        die_at(&stage, moment).await?;
        let versions = stage.versions().await?;
        assert_eq!(
            versions.last().map(String::as_str),
            Some("3:pending-rollback"),
            "{moment}: {versions:?}"
        );
        stage.run();
        // The version before is back, and the reason of the failure can be read.
        let status = stage.condition("Stalled", "True", "RetriesExceeded").await?;
        check_settled(&stage, moment).await?;
        assert_eq!(stage.value("a").await?.as_deref(), Some("1"), "{moment}: {status:?}");
        stage.publish("3.0.0", &chart("3", "")).await?;
        stage.ready("3.0.0").await.with_context(|| moment.to_owned())?;
        stage.stop().await?;
        server.abort();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uninstallation_that_was_killed_is_made_up_for() -> Result<()> {
    for moment in ["Apply/Job/bye/1", "Delete/ConfigMap/a/1"] {
        let (mut stage, server) = installed("crash-uninstall", json!({})).await?;
        stage.releases().delete("shop", &DeleteParams::default()).await?;
        die_at(&stage, moment).await?;
        ensure!(
            stage.releases().get_opt("shop").await?.is_some(),
            "the finalizer holds it"
        );
        stage.run();
        eventually(DEADLINE, &format!("{moment}: it is gone"), || async {
            let left = stage.releases().get_opt("shop").await?;
            ensure!(left.is_none(), "{:?}", left.and_then(|left| left.status));
            Ok(())
        })
        .await?;
        assert!(stage.versions().await?.is_empty(), "{moment}");
        assert_eq!(stage.value("a").await?, None, "{moment}");
        stage.stop().await?;
        server.abort();
    }
    Ok(())
}

/// Killed while it waits for health, from outside; what was wanted meanwhile is what comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_was_killed_is_made_up_for() -> Result<()> {
    let (mut stage, server) = served("crash-wait").await?;
    let never = "bed.nave.dev/ready-after: \"1h\"";
    stage.publish("1.0.0", &chart("1", never)).await?;
    stage.apply(json!({"timeout": "30m"})).await?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "crash::crash_child", "--nocapture"])
        .env(NAMESPACE, &stage.namespace)
        .env(KUBECONFIG, stage.plane.kubeconfig_path())
        .env(MOMENT, "")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    eventually(DEADLINE, "everything is applied and waited for", || async {
        ensure!(stage.versions().await? == ["1:pending-install"], "it is not pending");
        ensure!(stage.value("a").await?.is_some(), "nothing is applied");
        let web: kube::Api<k8s_openapi::api::apps::v1::Deployment> =
            kube::Api::namespaced(stage.client.clone(), &stage.namespace);
        web.get("web").await?;
        Ok(())
    })
    .await?;
    child.kill().await?; // SIGKILL
    let values = json!({"spec": {"values": {"by": "hand"}}});
    stage
        .releases()
        .patch("shop", &PatchParams::default(), &Patch::Merge(values))
        .await?;
    stage.publish("1.0.1", &chart("1", "")).await?;
    stage.run();
    stage.ready("1.0.1").await?;
    check_settled(&stage, "waiting").await?;
    stage.stop().await?;
    server.abort();
    Ok(())
}
