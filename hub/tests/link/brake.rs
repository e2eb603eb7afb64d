//! Deletions over the budget of their fleet object wait for a person.

use anyhow::{Context, Result, ensure};
use kube::api::{Api, ListParams, Patch, PatchParams};
use nave_bed::eventually;
use nave_crds::FleetKustomization;
use nave_proto::wire::{PrunePermit, PrunePlan};
use serde_json::{Value, json};

use crate::{
    fake_agent::FakeAgent,
    stage::{DEADLINE, Stage},
};

/// What an agent of that item asks for, one thing after the other.
pub async fn brakes(stage: &Stage, agent: &FakeAgent, key: &str, change: &str) -> Result<()> {
    let ask = |number: u8, change: &str, deletes: u64, cascades: &[&str]| {
        let plan = PrunePlan {
            change_id: change.to_owned(),
            key: key.to_owned(),
            digest: vec![number; 32],
            deletes,
            cascades: cascades.iter().map(|line| (*line).to_owned()).collect(),
            sample: Vec::new(),
        };
        agent.handle.hold(plan)
    };
    let answer = async |number: u8, granted: bool| -> Result<PrunePermit> {
        let what = format!("the answer {granted} to plan {number}");
        let fits = |permit: &&PrunePermit| permit.plan_digest == [number; 32] && permit.granted == granted;
        let found = agent.disk.has(&what, |memory| {
            memory.permits.iter().find(|permit| fits(permit)).cloned()
        });
        found.await
    };
    let (name, namespace) = (key.rsplit('/').next().context("a name")?, crate::stage::WORKSPACE);
    let deletion = async |deletion: Value| -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"deletion": deletion}}));
        let fleets = stage.api::<FleetKustomization>();
        let written = fleets.patch(name, &PatchParams::default(), &patch).await?;
        let generation = written.metadata.generation.unwrap_or_default();
        let seen = |status: &Value| status["observedGeneration"].as_i64() >= Some(generation);
        stage.fleet_says(name, "a hub that has seen it", seen).await?;
        Ok(())
    };
    let plan_of = async |what: &str, fits: &dyn Fn(&Value) -> bool| -> Result<Value> {
        let status = stage.fleet_says(name, what, |status| fits(&status["plan"])).await?;
        Ok(status["plan"].clone())
    };

    // Without a budget anything goes, but for what takes others along.
    ensure!(ask(1, change, 40, &[]) && ask(2, change, 1, &["Namespace/shop"]));
    answer(1, true).await?;
    let held = answer(2, false).await?;
    ensure!(held.reason.contains("takes other objects along"), "{}", held.reason);
    let plan = plan_of("a held plan", &|plan| plan["cascades"] == 1).await?;
    ensure!(plan["deletes"] == 1 && plan["clusters"] == 1, "{plan}");
    let status = stage.fleet_says(name, "Held", is_held).await?;
    let digest = plan["digest"].as_str().context("a digest")?.to_owned();
    ensure!(status.to_string().contains(&digest), "{status}");
    eventually(DEADLINE, "an event about it", || async {
        let events: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(stage.client.clone(), namespace);
        let found = events.list(&ListParams::default()).await?.items;
        let told = found
            .iter()
            .filter(|event| event.reason.as_deref() == Some("DeletionsHeld"));
        let told = told.filter(|event| event.involved_object.name.as_deref() == Some(name));
        ensure!(told.count() > 0, "there are {} others", found.len());
        Ok(())
    })
    .await?;
    // A person says yes to another plan, and then to this one.
    deletion(json!({"approvedPlan": format!("sha256:{}", "0".repeat(64))})).await?;
    deletion(json!({"approvedPlan": digest})).await?;
    answer(2, true).await?;
    plan_of("nothing held any more", &Value::is_null).await?;

    // A budget counts what one change deletes. More than before is allowed, and what fits goes at once.
    deletion(json!({"budget": {"objects": 5}})).await?;
    ensure!(ask(3, "another", 3, &[]));
    answer(3, true).await?;
    ensure!(ask(4, "another", 3, &[]));
    let held = answer(4, false).await?;
    ensure!(held.reason.contains("5 objects"), "{}", held.reason);
    plan_of("a plan over the budget", &|plan| plan["deletes"] == 3).await?;
    let counted = |status: &Value| {
        let of_change = status["deletions"].as_array().into_iter().flatten();
        let mut of_change = of_change.filter(|one| one["change"] == "another");
        of_change.any(|one| one["objects"] == 3 && one["clusters"] == 1)
    };
    stage.fleet_says(name, "what was permitted", counted).await?;
    deletion(json!({"budget": {"objects": 6}})).await?;
    answer(4, true).await?;
    plan_of("nothing held after the budget grew", &Value::is_null).await?;

    // What is not needed any more is not asked for any more.
    deletion(json!({"budget": {"objects": 0}})).await?;
    ensure!(ask(5, "a third", 1, &[]));
    answer(5, false).await?;
    plan_of("a plan that is moot soon", &|plan| plan["deletes"] == 1).await?;
    Ok(())
}

/// After the agent said that all is well, nothing is held.
pub async fn released(stage: &Stage, name: &str) -> Result<()> {
    let nothing = |status: &Value| status["plan"].is_null() && !is_held(status);
    stage.fleet_says(name, "nothing to approve", nothing).await?;
    stage
        .api::<FleetKustomization>()
        .patch(
            name,
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"deletion": {"budget": null, "approvedPlan": null}}})),
        )
        .await?;
    Ok(())
}

fn is_held(status: &Value) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions
        .filter(|one| one["type"] == "Held" && one["status"] == "True")
        .any(|one| one["reason"] == "DeletionsHeld")
}
