//! What has to happen in a process of its own: this test program, started again.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use nave_bed::{Launch, Plane, PlaneOptions, Proc, build_controlplane, scratch_dir};

use crate::{DEADLINE, planes};

/// Starts this program again to run nothing but `child`, which does what `role` says.
pub fn start_child(role: &str, environment: &[(&str, &OsStr)]) -> Result<Proc> {
    let mut launch = Launch::new(role, std::env::current_exe()?)
        .args([
            "--exact",
            "children::child",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env_remove("KUBEBUILDER_ASSETS")
        .env_remove("NAVE_TEST_KUBECONFIGS")
        .env_remove("NAVE_BED_LOGS")
        .env("BED_CHILD", role);
    for (key, value) in environment {
        launch = launch.env(key, value);
    }
    launch.start()
}

#[tokio::test]
#[ignore = "it is run by other tests in a process of its own"]
async fn child() -> Result<()> {
    match std::env::var("BED_CHILD").context("it is run by other tests")?.as_str() {
        "assets" => assets().await,
        "borrowed" => borrowed().await,
        role => crate::leftovers::child(role).await,
    }
}

async fn succeeds(child: &Proc) -> Result<()> {
    let status = child.wait_exit(DEADLINE * 3).await?;
    if status.success() {
        Ok(())
    } else {
        bail!("it ended with {status}:\n{}", child.log())
    }
}

/// The program is also etcd and kube-apiserver when it is called so, which makes it an assets folder.
#[tokio::test]
async fn a_plane_can_come_from_an_assets_folder() -> Result<()> {
    let program = tokio::task::spawn_blocking(build_controlplane).await??;
    let folder = scratch_dir("assets")?;
    for name in ["etcd", "kube-apiserver"] {
        symlink(&program, folder.path().join(name)).context("linking the program")?;
    }
    succeeds(&start_child(
        "assets",
        &[("KUBEBUILDER_ASSETS", folder.path().as_os_str())],
    )?)
    .await
}

async fn assets() -> Result<()> {
    let first = Plane::start(PlaneOptions {
        audit: true,
        ..PlaneOptions::named("first")
    })
    .await?;
    let shared = first.etcd_url().map(str::to_owned);
    let second = Plane::start(PlaneOptions {
        etcd: shared,
        ..PlaneOptions::named("second")
    })
    .await?;
    for plane in [&first, &second] {
        assert!(plane.skip("workloads", plane.has_workloads(), "it has no controllers"));
        let namespaces: Api<Namespace> = Api::all(plane.client());
        namespaces.get("kube-system").await?;
    }
    let namespace: Namespace = serde_json::from_value(serde_json::json!({"metadata": {"name": "only-here"}}))?;
    Api::all(first.client()).create(&Default::default(), &namespace).await?;
    assert!(
        Api::<Namespace>::all(second.client())
            .get_opt("only-here")
            .await?
            .is_none()
    );
    assert!(
        !first
            .audit()?
            .since(Default::default())?
            .of_user("bed-admin")
            .writes()
            .is_empty()
    );
    first.pause()?;
    let answer = tokio::time::timeout(Duration::from_millis(300), first.client().apiserver_version()).await;
    assert!(answer.is_err(), "it answered while it was paused");
    first.resume()?;
    second.stop().await;
    first.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_cluster_can_be_borrowed_and_is_given_back() -> Result<()> {
    let paths = std::env::join_paths(planes().await.iter().map(Plane::kubeconfig_path))?;
    succeeds(&start_child("borrowed", &[("NAVE_TEST_KUBECONFIGS", &paths)])?).await?;
    for plane in planes().await {
        plane.client().apiserver_version().await?;
    }
    Ok(())
}

async fn borrowed() -> Result<()> {
    let mut planes = Plane::start_many(vec![PlaneOptions::named("a"), PlaneOptions::named("b")]).await?;
    assert_ne!(planes[0].url(), planes[1].url());
    let error = Plane::start(PlaneOptions::named("c"))
        .await
        .expect_err("there are two clusters");
    assert_eq!(
        format!("{error:#}"),
        "starting control plane c: NAVE_TEST_KUBECONFIGS names 2 clusters, and all are in use"
    );
    for plane in &planes {
        plane.client().apiserver_version().await?;
        assert!(plane.has_workloads() && !plane.obeys_annotations());
        assert!(plane.pause().is_err() && plane.audit().is_err());
    }
    let url = planes[0].url().to_owned();
    planes.remove(0).stop().await;
    assert_eq!(Plane::start(PlaneOptions::named("again")).await?.url(), url);
    Ok(())
}
