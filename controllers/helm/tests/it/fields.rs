//! Fields of the spec that change how an action goes: each does what it says.

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use nave_bed::eventually;
use nave_runtime::Conditions;
use serde_json::json;

use crate::{
    charts::{config, deployment, hook},
    stage::{DEADLINE, Stage, options},
};

const NEVER: &str = "bed.nave.dev/ready-after: \"1h\"";

fn definition(group: &str, description: &str) -> String {
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: things.{group}\nspec:\n  group: {group}\n  \
         scope: Namespaced\n  names: {{kind: Thing, plural: things, singular: thing, listKind: ThingList}}\n  versions:\n  - name: v1\n    \
         served: true\n    storage: true\n    schema:\n      openAPIV3Schema:\n        type: object\n        description: {description}\n        \
         x-kubernetes-preserve-unknown-fields: true\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_are_created_replaced_and_never_deleted() -> Result<()> {
    let stage = Stage::start("definitions").await?;
    let group = format!("{}.example.com", stage.namespace);
    let thing = format!("apiVersion: {group}/v1\nkind: Thing\nmetadata:\n  name: one\n");
    let files = |text: &str| {
        [
            ("crds/things.yaml", definition(&group, text)),
            ("templates/one.yaml", thing.clone()),
        ]
    };
    let api: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    let name = format!("things.{group}");
    let described = async || -> Result<String> {
        let found = api.get(&name).await?;
        let schema = found.spec.versions[0]
            .schema
            .clone()
            .and_then(|one| one.open_api_v3_schema);
        Ok(schema.and_then(|schema| schema.description).unwrap_or_default())
    };
    stage.publish("1.0.0", &files("first")).await?;
    stage.apply(json!({"install": {"crds": "Skip"}})).await?;
    stage.failed("InstallFailed", "Thing").await?;
    assert!(api.get_opt(&name).await?.is_none());
    stage.apply(json!({})).await?;
    let status = stage.ready("1.0.0").await?;
    let labels = api.get(&name).await?.metadata.labels.unwrap_or_default();
    assert_eq!(
        labels.get("helm.toolkit.fluxcd.io/name").map(String::as_str),
        Some("shop")
    );
    let inventory = status.inventory.context("it has one")?;
    let entry = format!("_{name}_apiextensions.k8s.io_CustomResourceDefinition");
    assert!(inventory.entries.iter().any(|one| one.id == entry), "{inventory:?}");

    // What is there stays as it is, unless it is to be replaced.
    stage.publish("1.0.1", &files("second")).await?;
    stage.ready("1.0.1").await?;
    assert_eq!(described().await?, "first");
    stage.apply(json!({"upgrade": {"crds": "CreateReplace"}})).await?;
    stage.publish("1.0.2", &files("third")).await?;
    stage.ready("1.0.2").await?;
    assert_eq!(described().await?, "third");

    stage.delete().await?;
    assert_eq!(described().await?, "third");
    api.delete(&name, &DeleteParams::default()).await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_upgrade_made_is_deleted_where_that_is_wanted() -> Result<()> {
    let stage = Stage::start("cleanup").await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    let action = json!({"timeout": "1s", "cleanupOnFail": true});
    stage.apply(json!({"upgrade": action})).await?;
    stage.ready("1.0.0").await?;
    let bad = [
        ("templates/a.yaml", config("a", "2", "")),
        ("templates/b.yaml", config("b", "2", "")),
        ("templates/web.yaml", deployment("web", NEVER)),
    ];
    stage.publish("2.0.0", &bad).await?;
    stage.condition("Stalled", "True", "RetriesExceeded").await?;
    assert_eq!(stage.value("b").await?, None, "it was made by what failed");
    assert_eq!(stage.value("a").await?.as_deref(), Some("2"), "it was there before");
    assert_eq!(stage.versions().await?, ["1:deployed", "2:failed"]);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_earlier_version_there_is_nothing_to_roll_back_to() -> Result<()> {
    let stage = Stage::start("no-target").await?;
    let never = |value: &str| {
        [
            ("templates/a.yaml", config("a", value, "")),
            ("templates/web.yaml", deployment("web", NEVER)),
        ]
    };
    stage.publish("1.0.0", &never("1")).await?;
    stage
        .apply(json!({"install": {"timeout": "1s"}, "upgrade": {"timeout": "1s", "remediation": {"retries": 1}}}))
        .await?;
    stage.condition("Stalled", "True", "RetriesExceeded").await?;
    stage.publish("1.0.1", &never("2")).await?;
    let status = stage.condition("Stalled", "True", "MissingRollbackTarget").await?;
    assert!(!status.conditions.is_true("Ready"));
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_and_hooks_may_be_switched_off() -> Result<()> {
    let stage = Stage::start("switched-off").await?;
    let fails = hook(
        "Job",
        "pre",
        "pre-install,pre-upgrade,pre-delete",
        "before-hook-creation",
        "bed.nave.dev/fail: Error",
    );
    let files = [
        ("templates/web.yaml", deployment("web", NEVER)),
        ("templates/pre.yaml", fails),
    ];
    stage.publish("1.0.0", &files).await?;
    let off = json!({"disableWait": true, "disableHooks": true});
    stage
        .apply(json!({"install": off, "upgrade": off, "uninstall": off}))
        .await?;
    stage.ready("1.0.0").await?;
    stage.publish("1.0.1", &files).await?;
    stage.ready("1.0.1").await?;
    let jobs: Api<k8s_openapi::api::batch::v1::Job> = Api::namespaced(stage.client.clone(), &stage.namespace);
    assert!(jobs.get_opt("pre").await?.is_none());
    stage.delete().await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_deployment_is_not_waited_for() -> Result<()> {
    let stage = Stage::start("paused").await?;
    let paused = deployment("web", NEVER).replace("spec:\n  selector", "spec:\n  paused: true\n  selector");
    stage.publish("1.0.0", &[("templates/web.yaml", paused)]).await?;
    stage.apply(json!({})).await?;
    stage.ready("1.0.0").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_may_be_switched_off() -> Result<()> {
    let stage = Stage::start("checks").await?;
    let files = |more: &str| {
        let schema = json!({"type": "object", "required": ["size"]}).to_string();
        let object = config("a", "1", "") + more;
        [("templates/a.yaml", object), ("values.schema.json", schema)]
    };
    stage.publish("1.0.0", &files("")).await?;
    stage.apply(json!({"install": {"serverSideApply": false}})).await?;
    stage.failed("InstallFailed", "size").await?;
    let install = json!({"serverSideApply": false, "disableSchemaValidation": true});
    let upgrade = json!({"force": true, "disableSchemaValidation": true});
    stage.apply(json!({"install": install, "upgrade": upgrade})).await?;
    stage.ready("1.0.0").await?;
    // The server itself knows every field that it applies; one that is replaced may have others where that is wanted.
    stage.publish("1.0.1", &files("colour: red\n")).await?;
    stage.failed("UpgradeFailed", "colour").await?;
    let upgrade = json!({"force": true, "disableSchemaValidation": true, "disableOpenAPIValidation": true});
    stage.apply(json!({"install": install, "upgrade": upgrade})).await?;
    stage.ready("1.0.1").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_namespace_is_made_where_that_is_asked_for() -> Result<()> {
    let stage = Stage::start("made").await?;
    let target = format!("{}-target", stage.namespace);
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    let uninstalled = json!({"remediateLastFailure": true});
    stage
        .apply(json!({"targetNamespace": target, "install": {"remediation": uninstalled}}))
        .await?;
    stage
        .failed("InstallFailed", &format!("namespaces \"{target}\" not found"))
        .await?;
    stage
        .apply(json!({"targetNamespace": target, "install": {"createNamespace": true}}))
        .await?;
    stage.ready("1.0.0").await?;
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    let labels = namespaces.get(&target).await?.metadata.labels.unwrap_or_default();
    assert_eq!(labels.get("name"), Some(&target));
    let there: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &target);
    assert!(there.get_opt("a").await?.is_some());
    stage.delete().await?;
    assert!(there.get_opt("a").await?.is_none());
    assert!(
        namespaces.get_opt(&target).await?.is_some(),
        "a namespace is nobody's to delete"
    );
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_the_version_before_are_kept_where_that_is_asked_for() -> Result<()> {
    let stage = Stage::start("preserve").await?;
    stage
        .publish(
            "1.0.0",
            &[(
                "templates/a.yaml",
                config("a", "{{ .Values.a }}{{ with .Values.b }} {{ .c }}{{ end }}", ""),
            )],
        )
        .await?;
    let keep = json!({"preserveValues": true});
    stage.apply(json!({"values": {"a": 1}, "upgrade": keep})).await?;
    stage.ready("1.0.0").await?;
    stage.apply(json!({"values": {"b": {"c": 2}}, "upgrade": keep})).await?;
    eventually(DEADLINE, "the second version", || async {
        ensure!(
            stage.versions().await? == ["1:superseded", "2:deployed"],
            "{:?}",
            stage.versions().await?
        );
        Ok(())
    })
    .await?;
    stage.ready("1.0.0").await?;
    let stored = stage.stored().await?;
    assert_eq!(nave_release::to_go_json(&stored[1].config), r#"{"a":1,"b":{"c":2}}"#);
    assert_eq!(stage.value("a").await?.as_deref(), Some("1 2"));
    // And it stays so: values that were kept are no difference.
    stage.request("again", &[]).await?;
    stage.ready("1.0.0").await?;
    assert_eq!(stage.versions().await?, ["1:superseded", "2:deployed"]);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_chart_is_installed_anew_or_in_place() -> Result<()> {
    let stage = Stage::start("renamed").await?;
    let files = [("templates/a.yaml", config("a", "1", ""))];
    stage.publish("1.0.0", &files).await?;
    stage.apply(json!({})).await?;
    stage.ready("1.0.0").await?;
    let uid = stage.config("a").await?.context("it is there")?.metadata.uid;
    stage.publish_named("store", "2.0.0", &files).await?;
    let status = stage.ready("2.0.0").await?;
    assert_eq!((status.history[0].version, status.history.len()), (1, 1));
    let anew = stage.config("a").await?.context("it is there")?.metadata.uid;
    assert_ne!(anew, uid);
    stage
        .apply(json!({"upgrade": {"chartNameChangeStrategy": "InPlaceUpdate"}}))
        .await?;
    stage.ready("2.0.0").await?;
    stage.publish_named("shop", "3.0.0", &files).await?;
    let status = stage.ready("3.0.0").await?;
    assert_eq!(status.history[0].version, 2);
    let kept = stage.config("a").await?.context("it is there")?.metadata.uid;
    assert_eq!(kept, anew);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_what_expressions_say() -> Result<()> {
    let stage = Stage::start("expressions").await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "wait", ""))])
        .await?;
    let expressions = json!([{"apiVersion": "v1", "kind": "ConfigMap", "current": "data.value == 'go'",
        "failed": "data.value == 'bad'"}]);
    stage
        .apply(json!({"healthCheckExprs": expressions, "timeout": "2s", "upgrade": {"timeout": "1m"}}))
        .await?;
    stage.failed("InstallFailed", "ConfigMap").await?;
    // What says that it failed is not waited for.
    stage
        .publish("1.0.1", &[("templates/a.yaml", config("a", "bad", ""))])
        .await?;
    stage.failed("UpgradeFailed", "ConfigMap").await?;
    stage
        .publish("1.0.2", &[("templates/a.yaml", config("a", "go", ""))])
        .await?;
    stage.ready("1.0.2").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_of_overridden_managers_are_the_release_s() -> Result<()> {
    let mut options = options();
    options.override_managers = vec!["meddler".to_owned()];
    let stage = Stage::start_with("override", options).await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    stage.apply(json!({})).await?;
    stage.ready("1.0.0").await?;
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    for manager in ["meddler", "colleague"] {
        let change =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {manager: "x"}});
        api.patch("a", &PatchParams::apply(manager), &Patch::Apply(&change))
            .await?;
    }
    stage
        .publish("1.0.1", &[("templates/a.yaml", config("a", "2", ""))])
        .await?;
    stage.ready("1.0.1").await?;
    let data = stage.config("a").await?.context("it is there")?.data;
    assert_eq!(serde_json::to_value(data)?, json!({"value": "2", "colleague": "x"}));
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_may_opt_out_of_the_correction_of_drift() -> Result<()> {
    let stage = Stage::start("opt-out").await?;
    let out = "helm.toolkit.fluxcd.io/driftDetection: disabled";
    let files = [
        ("templates/a.yaml", config("a", "1", "")),
        ("templates/b.yaml", config("b", "1", out)),
    ];
    stage.publish("1.0.0", &files).await?;
    stage.apply(json!({"driftDetection": {"mode": "enabled"}})).await?;
    stage.ready("1.0.0").await?;
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    for name in ["a", "b"] {
        let patch = Patch::Merge(json!({"data": {"value": "9"}}));
        api.patch(name, &PatchParams::default(), &patch).await?;
    }
    stage.request("look", &[]).await?;
    assert_eq!(stage.value("a").await?.as_deref(), Some("1"));
    assert_eq!(stage.value("b").await?.as_deref(), Some("9"));
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_hook_printed_is_told_where_it_asks_for_that() -> Result<()> {
    let stage = Stage::start("printed").await?;
    let fails = "bed.nave.dev/fail: Error";
    let asks = hook("Job", "pre", "pre-install", "before-hook-creation", fails).replace(
        "    helm.sh/hook-delete-policy",
        "    helm.sh/hook-output-log-policy: hook-failed\n    helm.sh/hook-delete-policy",
    );
    stage.publish("1.0.0", &[("templates/pre.yaml", asks)]).await?;
    stage.apply(json!({})).await?;
    stage.condition("Stalled", "True", "RetriesExceeded").await?;
    // Where the cluster has no logs, that is said: imaginary nodes print nothing.
    eventually(DEADLINE, "the event with the log", || async {
        let events = stage.events().await?;
        let told = events.iter().find(|event| event.starts_with("InstallFailed"));
        let told = told.with_context(|| format!("{events:?}"))?;
        ensure!(told.contains("hook pre: pre-"), "{told}");
        Ok(())
    })
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_that_come_with_a_chart_are_known_to_what_follows() -> Result<()> {
    for persistent in [true, false] {
        let stage = Stage::start("kinds").await?;
        let (hooked, plain) = (
            format!("hooked.{}.example.com", stage.namespace),
            format!("plain.{}.example.com", stage.namespace),
        );
        let thing = |group: &str, name: &str| {
            format!(
                "apiVersion: {group}/v1\nkind: Thing\nmetadata:\n  name: {name}\n  annotations:\n    helm.sh/hook: post-install\n"
            )
        };
        let before = definition(&hooked, "first").replacen(
            "\nspec:",
            "\n  annotations:\n    helm.sh/hook: pre-install\nspec:",
            1,
        );
        let files = [
            ("templates/before.yaml", before),
            ("templates/plain.yaml", definition(&plain, "first")),
            ("templates/one.yaml", thing(&hooked, "one")),
            ("templates/two.yaml", thing(&plain, "two")),
        ];
        stage.publish("1.0.0", &files).await?;
        let install = json!({"disableWait": true});
        stage
            .apply(json!({"persistentClient": persistent, "install": install}))
            .await?;
        stage.ready("1.0.0").await?;
        let definitions: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
        for group in [hooked, plain] {
            definitions
                .delete(&format!("things.{group}"), &DeleteParams::default())
                .await?;
        }
        stage.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_are_deleted_after_their_end_are_done() -> Result<()> {
    let stage = Stage::start("vanishing").await?;
    let ends = "bed.nave.dev/complete-after: \"0s\"";
    let soon = |text: String| text.replacen("spec:\n", "spec:\n  ttlSecondsAfterFinished: 0\n", 1);
    let job = hook("Job", "work", "none", "none", ends)
        .lines()
        .filter(|line| !line.contains("helm.sh/hook") && *line != "  annotations:")
        .map(|line| format!("{line}\n"))
        .collect();
    let files = [
        (
            "templates/pre.yaml",
            soon(hook("Job", "pre", "pre-install", "before-hook-creation", ends)),
        ),
        ("templates/work.yaml", soon(job)),
    ];
    stage.publish("1.0.0", &files).await?;
    stage.apply(json!({})).await?;
    let status = stage.ready("1.0.0").await?;
    assert_eq!(status.failures, 0);
    let jobs: Api<k8s_openapi::api::batch::v1::Job> = Api::namespaced(stage.client.clone(), &stage.namespace);
    eventually(DEADLINE, "both Jobs are gone", || async {
        let left = jobs.list(&Default::default()).await?.items.len();
        ensure!(left == 0, "{left} are there");
        Ok(())
    })
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_an_expression_calls_failed_may_still_succeed() -> Result<()> {
    let stage = Stage::start("patient").await?;
    let asks = config("h", "bad", "helm.sh/hook: pre-install");
    stage.publish("1.0.0", &[("templates/h.yaml", asks)]).await?;
    let expressions = json!([{"apiVersion": "v1", "kind": "ConfigMap", "current": "data.value == 'go'",
        "failed": "data.value == 'bad'"}]);
    stage.apply(json!({"healthCheckExprs": expressions})).await?;
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    eventually(DEADLINE, "the hook is written", || async {
        Ok(maps.get("h").await.map(|_| ())?)
    })
    .await?;
    let status = stage.status().await?;
    assert_eq!(status.conditions.reason_of("Ready"), Some("Progressing"), "{status:?}");
    maps.patch(
        "h",
        &PatchParams::default(),
        &Patch::Merge(json!({"data": {"value": "go"}})),
    )
    .await?;
    stage.ready("1.0.0").await?;
    stage.stop().await
}
