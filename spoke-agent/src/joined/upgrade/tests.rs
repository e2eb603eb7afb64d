//! Upgrades against a real API server: what is patched, made, refused and taken back.

use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job};
use kube::{Api, ResourceExt, api::PostParams};
use nave_bed::{Plane, PlaneOptions};
use serde_json::json;

use super::{
    deployment::ANNOTATION,
    plan::{Attempt, State},
    *,
};

const NAMESPACE: &str = "default";

fn attempt_of(deployment: &Deployment) -> Attempt {
    serde_json::from_str(&deployment.annotations()[ANNOTATION]).unwrap()
}

fn image_of(deployment: &Deployment) -> String {
    let pod = deployment.spec.template.spec.as_ref().unwrap();
    pod.containers[1].image.clone().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_changed_noted_and_taken_back() -> Result<()> {
    nave_net::install_crypto_provider();
    let plane = Plane::start(PlaneOptions::named("agent-upgrade")).await?;
    let deployments: Api<Deployment> = Api::namespaced(plane.client(), NAMESPACE);
    let own = OwnDeployment {
        client: plane.client(),
        namespace: NAMESPACE.to_owned(),
        name: "nave-agent".to_owned(),
    };
    let upgrades = Upgrades::of(own.clone(), Vec::new(), VERSION);

    // An agent that somebody runs by hand says so, once.
    assert!(!upgrades.welcomed("").await && !upgrades.welcomed(VERSION).await);
    assert!(upgrades.welcomed("99.0.0").await);
    assert!(!upgrades.welcomed("99.0.0").await, "the hub knows");
    let (version, why) = upgrades.outcome().await;
    assert_eq!(version, "99.0.0");
    assert!(
        why.starts_with("this agent does not run as Deployment default/nave-agent"),
        "{why}"
    );

    let before = format!("registry.example/nave-agent:v{VERSION}");
    let deployment = json!({
        "metadata": {"name": "nave-agent", "namespace": NAMESPACE},
        "spec": {
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": "nave-agent"}},
            "template": {"metadata": {"labels": {"app": "nave-agent"}}, "spec": {"containers": [
                {"name": "sidecar", "image": "registry.example/sidecar:v1"},
                {"name": "manager", "image": before, "args": ["--hub-secret=nave-agent-hub"],
                    "ports": [{"containerPort": 9440, "name": "healthz"}],
                    "env": [{"name": "RUNTIME_NAMESPACE", "value": NAMESPACE}]},
            ]}},
        },
    });
    let deployment = serde_json::from_value(deployment)?;
    deployments.create(&PostParams::default(), &deployment).await?;

    // What is not allowed is not run, and changes nothing.
    let strict = Upgrades::of(own.clone(), vec!["elsewhere/nave-agent".to_owned()], VERSION);
    assert!(strict.welcomed("99.0.0").await);
    assert!(strict.outcome().await.1.contains("not allowed here: --upgrade-from"));
    assert_eq!(image_of(&deployments.get("nave-agent").await?), before);

    // The guard is there, of the image that works, and then the image is changed.
    assert!(!upgrades.welcomed("v99.0.0").await);
    let changed = deployments.get("nave-agent").await?;
    assert_eq!(image_of(&changed), "registry.example/nave-agent:v99.0.0");
    let attempt = attempt_of(&changed);
    assert_eq!((attempt.state, attempt.from.as_str()), (State::Trying, before.as_str()));
    let jobs: Api<Job> = Api::namespaced(plane.client(), NAMESPACE);
    let job = jobs
        .get(&format!("nave-agent-upgrade-{}", attempt.deadline.as_second()))
        .await?;
    let pod = job.spec.as_ref().unwrap().template.spec.clone().unwrap();
    let [guard] = pod.containers.as_slice() else {
        panic!("one container guards, not {}", pod.containers.len());
    };
    assert_eq!(guard.image.as_deref(), Some(before.as_str()));
    assert_eq!(guard.args.as_ref().unwrap()[0], "guard-upgrade");
    let environment = guard.env.clone().unwrap();
    let value = |name: &str| environment.iter().find(|one| one.name == name)?.value.clone();
    assert_eq!(
        value(GUARDED_IMAGE).as_deref(),
        Some("registry.example/nave-agent:v99.0.0")
    );
    assert_eq!(value(GUARDED_UNTIL), Some(attempt.deadline.to_string()));
    assert_eq!(value("RUNTIME_NAMESPACE").as_deref(), Some(NAMESPACE));

    // The process before proves nothing. The new one reaches the hub, and the guard leaves.
    assert!(!upgrades.welcomed("99.0.0").await);
    assert_eq!(attempt_of(&deployments.get("nave-agent").await?), attempt);
    let new = Upgrades::of(own.clone(), Vec::new(), "99.0.0");
    assert!(!new.welcomed("99.0.0").await);
    let done = deployments.get("nave-agent").await?;
    assert_eq!(attempt_of(&done).state, State::Done);
    super::guard(&own, &attempt.to, attempt.deadline).await;
    assert_eq!(image_of(&deployments.get("nave-agent").await?), attempt.to);

    // Another does not by its deadline: the image before runs again, and this version is not tried again.
    let late = Attempt {
        version: "99.1.0".to_owned(),
        from: attempt.to.clone(),
        to: "registry.example/nave-agent:v99.1.0".to_owned(),
        deadline: Timestamp::now(),
        state: State::Trying,
    };
    let (_, seen) = own.read().await?.expect("it is there");
    own.note(&seen, &late, Some(&late.to)).await?;
    let error = own.note(&seen, &late, None).await.expect_err("it is another now");
    assert_eq!(error.to_string(), "somebody has changed it meanwhile");
    super::guard(&own, &late.to, late.deadline).await;
    let back = deployments.get("nave-agent").await?;
    assert_eq!(
        (image_of(&back), attempt_of(&back).state),
        (attempt.to.clone(), State::RolledBack)
    );
    let restarted = Upgrades::of(own, Vec::new(), "99.0.0");
    let (version, why) = restarted.outcome().await;
    assert_eq!(version, "99.1.0");
    assert!(why.contains("did not reach the hub until"), "{why}");
    assert!(restarted.welcomed("99.1.0").await);
    assert_eq!(image_of(&deployments.get("nave-agent").await?), attempt.to);
    Ok(())
}
