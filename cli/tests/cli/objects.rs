//! Looking at objects and asking for things, against a real API server; the controllers are played by the tests.

use std::time::Duration;

use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
    runtime::wait::await_condition,
};
use nave_bed::eventually;
use serde_json::{Value, json};

use super::support::{RUNTIME, condition, kustomizations, namespace, on, put, shared};

fn kustomization(namespace: &str, name: &str, suspend: bool, ready: &str, message: &str) -> Value {
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": name, "namespace": namespace, "labels": {"team": name}},
        "spec": {
            "interval": "10m", "prune": true, "suspend": suspend,
            "sourceRef": {"kind": "GitRepository", "name": "platform"}
        },
        "status": {
            "observedGeneration": 1, "lastAppliedRevision": format!("main@sha1:{}", "a".repeat(40)),
            "lastHandledReconcileAt": "before",
            "conditions": [condition("Ready", ready, "X", message)]
        }
    })
}

#[test]
fn get_shows_what_flux_shows() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "get").await;
        put(
            &client,
            "kustomizations",
            kustomization("get", "apps", false, "True", "Applied"),
        )
        .await;
        put(
            &client,
            "kustomizations",
            kustomization("get", "infra", true, "False", "build failed"),
        )
        .await;
        let table = on(plane, "get kustomizations -n get").await.ok();
        assert_eq!(
            table,
            "NAME    REVISION             SUSPENDED   READY   MESSAGE\n\
             apps    main@sha1:aaaaaaaa   False       True    Applied\n\
             infra   main@sha1:aaaaaaaa   True        False   build failed\n"
        );
        let row = "infra   main@sha1:aaaaaaaa   True        False   build failed\n";
        assert_eq!(
            on(plane, "get ks -n get --status-selector ready=false --no-header")
                .await
                .ok(),
            row
        );
        assert_eq!(on(plane, "get ks infra -n get --no-header").await.ok(), row);
        assert_eq!(on(plane, "get ks -n get -l team=infra --no-header").await.ok(), row);
        assert_eq!(
            on(plane, "get ks -n get -o name").await.ok(),
            "kustomization.kustomize.toolkit.fluxcd.io/apps\nkustomization.kustomize.toolkit.fluxcd.io/infra\n"
        );
        let one: Value = serde_json::from_str(&on(plane, "get ks apps -n get -o json").await.ok()).expect("JSON");
        assert_eq!(one["kind"], "Kustomization");
        assert_eq!(one["apiVersion"], "kustomize.toolkit.fluxcd.io/v1");
        assert!(one["metadata"]["managedFields"].is_null());
        let list: Value = serde_json::from_str(&on(plane, "get ks -n get -o json").await.ok()).expect("JSON");
        assert_eq!(
            (list["kind"].as_str(), list["items"].as_array().map(Vec::len)),
            (Some("List"), Some(2))
        );
        let yaml = on(plane, "get ks apps -n get -o yaml").await.ok();
        assert!(
            yaml.starts_with("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\n"),
            "{yaml}"
        );
        assert!(
            on(plane, "get ks -n get -o wide --show-source")
                .await
                .ok()
                .contains("gitrepository/platform")
        );
        let all = on(plane, "get all -n get").await.ok();
        assert!(all.contains("kustomization/apps"), "{all}");
    });
}

#[test]
fn nothing_found_is_an_error_with_a_hint() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        namespace(&plane.client(), "empty").await;
        let error = on(plane, "get sources git -n empty").await.fails(1);
        assert!(
            error.contains("✗ no GitRepository objects found in \"empty\" namespace\nhint: "),
            "{error}"
        );
        let error = on(plane, "get ks nobody -n empty").await.fails(1);
        assert!(error.contains("Kustomization \"nobody\" not found"), "{error}");
        on(plane, "get all -n empty").await.fails(1);
        let error = on(plane, "get ks -A -n empty").await.fails(1);
        assert!(error.contains("exclude each other"), "{error}");
        let error = on(plane, "get all --watch").await.fails(1);
        assert!(error.contains("one kind at a time"), "{error}");
    });
}

#[test]
fn suspend_and_resume_change_the_spec_and_nothing_else() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "suspend").await;
        for name in ["a", "b"] {
            put(
                &client,
                "kustomizations",
                kustomization("suspend", name, false, "True", "fine"),
            )
            .await;
        }
        let api = kustomizations(&client, "suspend");
        let suspended = || async {
            let all = api.list(&Default::default()).await.expect("a list").items;
            all.iter()
                .map(|object| object.data["spec"]["suspend"].as_bool().unwrap_or_default())
                .collect::<Vec<_>>()
        };
        // A name that does not exist is reported and changes nothing else.
        let outcome = on(plane, "suspend ks a nobody b -n suspend").await;
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("✗ Kustomization \"nobody\" not found"),
            "{}",
            outcome.stderr
        );
        assert!(
            outcome
                .stderr
                .contains("► suspending Kustomization a in suspend namespace"),
            "{}",
            outcome.stderr
        );
        assert_eq!(suspended().await, [true, true]);
        let error = on(plane, "reconcile ks a -n suspend").await.fails(1);
        assert!(
            error.contains("is suspended\nhint: `nave resume kustomization a -n suspend`"),
            "{error}"
        );
        on(plane, "resume ks --all -n suspend").await.ok();
        assert_eq!(suspended().await, [false, false]);
        let error = on(plane, "suspend ks --all -n suspend-nothing").await.fails(1);
        assert!(error.contains("no Kustomization objects found"), "{error}");
        // Resuming one waits, here in vain, because nobody reconciles it.
        on(plane, "suspend ks a -n suspend").await.ok();
        let error = on(plane, "resume ks a -n suspend --timeout 1s").await.fails(1);
        assert!(
            error.contains("was not ready within 1s") && error.contains("hint: "),
            "{error}"
        );
    });
}

#[test]
fn reconcile_asks_and_waits_for_the_answer() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "reconcile").await;
        let check = async |name: &'static str, ready: &'static str, message: &'static str| {
            put(
                &client,
                "kustomizations",
                kustomization("reconcile", name, false, "True", "old"),
            )
            .await;
            let api = kustomizations(&client, "reconcile");
            let controller = async {
                let requested = |object: Option<&kube::api::DynamicObject>| {
                    object.is_some_and(|object| object.annotations().contains_key("reconcile.fluxcd.io/requestedAt"))
                };
                let object = await_condition(api.clone(), name, requested)
                    .await
                    .expect("a watch")
                    .expect("an object");
                let handled = &object.annotations()["reconcile.fluxcd.io/requestedAt"];
                let status = json!({"status": {
                    "lastHandledReconcileAt": handled, "conditions": [condition("Ready", ready, "X", message)]
                }});
                api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
                    .await
                    .expect("a status");
            };
            let line = format!("reconcile ks {name} -n reconcile --timeout 60s");
            let (outcome, ()) = tokio::join!(on(plane, &line), controller);
            outcome
        };
        let outcome = check("good", "True", "Applied").await;
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("✔ applied revision main@sha1:aaaaaaaa"),
            "{}",
            outcome.stderr
        );
        let error = check("bad", "False", "building: no such file").await.fails(1);
        assert!(
            error.contains("✗ Kustomization reconciliation failed: bad: building: no such file"),
            "{error}"
        );
        let error = on(plane, "reconcile ks nobody -n reconcile").await.fails(1);
        assert!(error.contains("not found in \"reconcile\" namespace"), "{error}");
        let error = on(plane, "reconcile ks good --with-source -n reconcile").await.fails(1);
        assert!(error.contains("GitRepository \"platform\" not found"), "{error}");
    });
}

#[test]
fn events_are_shown_oldest_first_and_only_of_our_kinds() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "events").await;
        put(&client, "kustomizations", kustomization("events", "apps", false, "True", "fine")).await;
        let event = |name: &str, kind: &str, object: &str, type_: &str, message: &str, minute: u8| {
            json!({
                "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "events"},
                "involvedObject": {"kind": kind, "name": object, "namespace": "events"},
                "type": type_, "reason": "R", "message": message,
                "firstTimestamp": format!("2026-11-21T07:{minute:02}:00Z"), "lastTimestamp": format!("2026-11-21T07:{minute:02}:00Z")
            })
        };
        for object in [
            event("c", "Kustomization", "apps", "Warning", "third", 30),
            event("a", "GitRepository", "platform", "Normal", "first", 10),
            event("b", "Kustomization", "other", "Normal", "second", 20),
            event("d", "Pod", "apps", "Normal", "not ours", 40),
        ] {
            put(&client, "events", object).await;
        }
        let messages = async |line: &str| {
            let table = on(plane, line).await.ok();
            let rows = table.lines().skip(1).map(|row| row.split_whitespace().last().unwrap_or_default().to_owned());
            rows.collect::<Vec<_>>()
        };
        assert_eq!(messages("events -n events").await, ["first", "second", "third"]);
        assert_eq!(messages("events -n events --types warning").await, ["third"]);
        // The source of a Kustomization is part of its story.
        assert_eq!(messages("events -n events --for Kustomization/apps").await, ["first", "third"]);
        let error = on(plane, "events -n events --for Kustomization/nobody").await.fails(1);
        assert!(error.contains("no events found for Kustomization/nobody"), "{error}");
        on(plane, "events --for Pod/x").await.fails(2);
    });
}

#[test]
fn a_watch_shows_changes_as_they_come() {
    RUNTIME.block_on(async {
        use tokio::io::{AsyncBufReadExt, BufReader};
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "watch").await;
        put(
            &client,
            "kustomizations",
            kustomization("watch", "apps", false, "True", "one"),
        )
        .await;
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_nave"))
            .args(["get", "ks", "-n", "watch", "--watch"])
            .env("KUBECONFIG", plane.kubeconfig_path())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut next = async || {
            let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line());
            line.await.expect("in time").expect("text").expect("a line")
        };
        assert!(next().await.starts_with("NAME   REVISION"));
        assert!(next().await.ends_with("True    one"));
        put(
            &client,
            "kustomizations",
            kustomization("watch", "apps", false, "False", "two"),
        )
        .await;
        assert!(next().await.ends_with("False   two"));
        child.kill().await.expect("it runs");
    });
}

#[test]
fn what_one_may_not_do_is_refused_with_a_way_out() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        namespace(&plane.client(), "denied").await;
        let error = on(plane, "get ks -n denied --as somebody --as-group nobody")
            .await
            .fails(1);
        assert!(
            error.contains("kustomizations.kustomize.toolkit.fluxcd.io is forbidden: User \"somebody\""),
            "{error}"
        );
        assert!(error.contains("hint: ") && !error.contains("Status {"), "{error}");
        let error = on(plane, "get ks --as-group nobody").await.fails(1);
        assert!(error.contains("need --as"), "{error}");
        let error = on(plane, "check --pre --as somebody").await.fails(1);
        assert!(
            error.contains("✗ these credentials may not create namespaces"),
            "{error}"
        );
        // The deadline of `eventually` is for the shared plane's service account, which comes a moment after it.
        let kubeconfig = eventually(Duration::from_secs(30), "a token", || async {
            plane.service_account_kubeconfig("denied", "default").await
        })
        .await
        .expect("a kubeconfig");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("kubeconfig");
        std::fs::write(&file, kubeconfig.replace("token\": \"", "token\": \"x")).expect("a file");
        let error = super::support::nave(Some(&file), &["get", "ks"]).await.fails(1);
        assert!(error.contains("Unauthorized") && error.contains("hint: "), "{error}");
    });
}
