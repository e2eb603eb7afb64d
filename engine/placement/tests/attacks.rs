//! What a tenant tries, one test per rule of the threat model.

mod support;

use nave_placement::{Claims, Cluster, ClusterKey, Delivery, FleetObject, Outcome, Place, Planner, SecretUse, Source};
use serde_json::{Value, json};
use support::*;

/// A cluster of the platform team that lets team-a act as `team-a` in two namespaces.
fn shared_cluster() -> Cluster {
    let mut cluster = cluster("platform", "eu-1", &[("env", "prod")]);
    cluster.access = vec![
        admin("platform"),
        tenant("team-a", "team-a", &["team-a", "team-a-jobs"]),
    ];
    cluster
}

fn tenant_fleet(change: impl FnOnce(&mut FleetObject)) -> FleetObject {
    fleet("team-a", |fleet| {
        fleet.spoke_namespace = Some("team-a".into());
        change(fleet);
    })
}

/// Whatever way the spec comes to be as `spec` says, it is denied with this text.
fn check_denied(spec: Value, want: &str) {
    let by_template = tenant_fleet(|fleet| fleet.template = json!({"spec": spec}));
    let by_merge = tenant_fleet(|fleet| {
        fleet.overrides = vec![override_for(json!({}), json!({"spec": spec}), json!([]))];
    });
    let by_patch = tenant_fleet(|fleet| {
        fleet.template = json!({"spec": {}});
        let operations = spec
            .as_object()
            .expect("an object")
            .iter()
            .map(|(key, value)| json!({"op": "add", "path": format!("/spec/{key}"), "value": value}))
            .collect();
        fleet.overrides = vec![override_for(json!({}), Value::Null, Value::Array(operations))];
    });
    for (way, fleet) in [("template", by_template), ("merge", by_merge), ("patch", by_patch)] {
        let denial = denied(&fleet, &shared_cluster());
        assert_eq!(denial.to_string(), want, "by {way}: {spec}");
        assert_eq!(denial.reason(), "Denied", "by {way}: {spec}");
        assert!(!denial.withdraws());
    }
}

#[test]
fn a_kustomization_without_service_account_does_not_run_as_cluster_admin() {
    let bundle = placed(&tenant_fleet(|_| {}), &shared_cluster());
    assert_eq!(bundle.objects[1].as_value()["spec"]["serviceAccountName"], "team-a");
    assert_eq!(bundle.objects[1].namespace(), Some("team-a"));
    assert!(!bundle.grant.admin && bundle.grant.lockdown);

    let empty = tenant_fleet(|fleet| fleet.template = json!({"spec": {"serviceAccountName": ""}}));
    let null = tenant_fleet(|fleet| fleet.template = json!({"spec": {"serviceAccountName": null}}));
    for fleet in [empty, null] {
        let bundle = placed(&fleet, &shared_cluster());
        assert_eq!(bundle.objects[1].as_value()["spec"]["serviceAccountName"], "team-a");
    }
}

#[test]
fn another_service_account_is_refused() {
    check_denied(
        json!({"serviceAccountName": "cluster-admin"}),
        "spec.template.spec.serviceAccountName is \"cluster-admin\", but workspace team-a acts as \"team-a\" here",
    );
    check_denied(
        json!({"decryption": {"provider": "sops", "serviceAccountName": "kms"}}),
        "spec.template.spec.decryption.serviceAccountName is \"kms\", but workspace team-a acts as \"team-a\" here",
    );
}

#[test]
fn a_kubeconfig_is_refused_from_everybody() {
    check_denied(
        json!({"kubeConfig": {"secretRef": {"name": "prod"}}}),
        "spec.template.spec.kubeConfig must not be set: clusters are reached through Cluster objects only",
    );
    check_denied(
        json!({"kubeConfig": {}}),
        "spec.template.spec.kubeConfig must not be set: clusters are reached through Cluster objects only",
    );
    let by_admin = fleet("platform", |fleet| {
        fleet.template = json!({"spec": {"kubeConfig": {"configMapRef": {"name": "x"}}}});
    });
    assert_eq!(denied(&by_admin, &shared_cluster()).reason(), "Denied");
}

#[test]
fn a_source_of_another_namespace_is_refused() {
    check_denied(
        json!({"sourceRef": {"kind": "GitRepository", "name": "x", "namespace": "platform"}}),
        "spec.template.spec.sourceRef must not be set: it follows from spec.source",
    );
}

#[test]
fn a_dependency_in_another_namespace_is_for_admins() {
    let spec = json!({"dependsOn": [{"name": "a"}, {"name": "infra", "namespace": "flux-system"}]});
    check_denied(
        spec.clone(),
        "spec.template.spec.dependsOn[1].namespace refers to namespace \"flux-system\"; only an admin of the cluster may refer to other namespaces",
    );
    let by_admin = fleet("platform", |fleet| fleet.template = json!({"spec": spec}));
    placed(&by_admin, &shared_cluster());
    let own = tenant_fleet(|fleet| {
        fleet.template = json!({"spec": {"dependsOn": [{"name": "a", "namespace": "team-a"}]}});
    });
    placed(&own, &shared_cluster());
}

#[test]
fn namespaces_outside_of_the_grant_are_refused() {
    check_denied(
        json!({"targetNamespace": "kube-system"}),
        "spec.template.spec.targetNamespace is \"kube-system\", but workspace team-a may use only team-a, team-a-jobs here",
    );
    let spoke = tenant_fleet(|fleet| fleet.spoke_namespace = Some("flux-system".into()));
    assert_eq!(
        denied(&spoke, &shared_cluster()).to_string(),
        "spec.spokeNamespace is \"flux-system\", but workspace team-a may use only team-a, team-a-jobs here"
    );
    let granted = tenant_fleet(|fleet| {
        fleet.template = json!({"spec": {"targetNamespace": "team-a-jobs"}});
    });
    placed(&granted, &shared_cluster());
    let unsaid = tenant_fleet(|fleet| fleet.spoke_namespace = None);
    let bundle = placed(&unsaid, &shared_cluster());
    assert!(bundle.objects.iter().all(|one| one.namespace() == Some("team-a")));
}

#[test]
fn a_template_has_no_name_namespace_or_kind_of_its_own() {
    for (merge, field) in [
        (
            json!({"metadata": {"namespace": "kube-system"}}),
            "spec.template.metadata.namespace",
        ),
        (json!({"metadata": {"name": "agent"}}), "spec.template.metadata.name"),
        (
            json!({"metadata": {"ownerReferences": []}}),
            "spec.template.metadata.ownerReferences",
        ),
        (
            json!({"metadata": {"finalizers": ["x"]}}),
            "spec.template.metadata.finalizers",
        ),
        (json!({"kind": "ClusterRoleBinding"}), "spec.template.kind"),
        (json!({"apiVersion": "v1"}), "spec.template.apiVersion"),
        (json!({"status": {}}), "spec.template.status"),
    ] {
        let fleet = tenant_fleet(|fleet| {
            fleet.overrides = vec![override_for(json!({}), merge.clone(), json!([]))];
        });
        let denial = denied(&fleet, &shared_cluster()).to_string();
        assert!(
            denial.starts_with(&format!("{field} must not be set")),
            "{merge}: {denial}"
        );
    }
}

#[test]
fn a_template_cannot_be_replaced_by_something_else() {
    for value in [json!([]), json!("x"), json!(null), json!({"spec": []}), json!({})] {
        let fleet = tenant_fleet(|fleet| {
            fleet.overrides = vec![override_for(
                json!({}),
                Value::Null,
                json!([{"op": "replace", "path": "", "value": value}]),
            )];
        });
        assert_eq!(denied(&fleet, &shared_cluster()).reason(), "InvalidSpec", "{value}");
    }
}

#[test]
fn owner_labels_cannot_be_forged() {
    for key in [
        "fleet.nave.dev/uid",
        "fleet.nave.dev/namespace",
        "fleet.nave.dev/anything",
        "kustomize.toolkit.fluxcd.io/name",
        "kustomize.toolkit.fluxcd.io/namespace",
    ] {
        for template in [
            json!({"metadata": {"labels": {key: "x"}}, "spec": {}}),
            json!({"metadata": {"annotations": {key: "x"}}, "spec": {}}),
            json!({"spec": {"commonMetadata": {"labels": {key: "x"}}}}),
            json!({"spec": {"commonMetadata": {"annotations": {key: "x"}}}}),
        ] {
            let fleet = tenant_fleet(|fleet| fleet.template = template.clone());
            let denial = denied(&fleet, &shared_cluster());
            assert_eq!(denial.reason(), "Denied", "{template}");
            assert!(denial.to_string().contains(key), "{denial}");
        }
    }
}

#[test]
fn variables_smuggle_nothing() {
    // The result is checked, so a variable that holds a namespace is as good as writing it.
    let mut cluster = shared_cluster();
    cluster.variables.insert("ns".into(), "kube-system".into());
    cluster.variables.insert("account".into(), "root".into());
    for (spec, field) in [
        (json!({"targetNamespace": "${cluster.variables.ns}"}), "targetNamespace"),
        (
            json!({"serviceAccountName": "${cluster.variables.account}"}),
            "serviceAccountName",
        ),
        (
            json!({"dependsOn": [{"name": "x", "namespace": "${cluster.variables.ns}"}]}),
            "dependsOn[0].namespace",
        ),
    ] {
        let fleet = tenant_fleet(|fleet| fleet.template = json!({"spec": spec}));
        let denial = denied(&fleet, &cluster).to_string();
        assert!(denial.starts_with(&format!("spec.template.spec.{field}")), "{denial}");
    }
    // A variable cannot become structure.
    cluster.variables.insert(
        "inject".into(),
        "x\",\"kubeConfig\":{\"a\":\"b\"},\"y\":\"\n  kubeConfig: {}".into(),
    );
    let fleet = tenant_fleet(|fleet| {
        fleet.template = json!({"spec": {"path": "${cluster.variables.inject}"}});
    });
    let bundle = placed(&fleet, &cluster);
    let spec = &bundle.objects[1].as_value()["spec"];
    assert_eq!(spec.get("kubeConfig"), None);
    assert_eq!(spec["path"], Value::String(cluster.variables["inject"].clone()));
    let bytes = bundle.bytes();
    let again: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(again["objects"][1]["spec"].get("kubeConfig"), None);
}

#[test]
fn sensitive_fields_have_to_be_of_their_type() {
    for spec in [
        json!({"targetNamespace": ["kube-system"]}),
        json!({"serviceAccountName": {"name": "x"}}),
        json!({"dependsOn": {"namespace": "x"}}),
        json!({"dependsOn": ["x"]}),
        json!({"dependsOn": [{"name": "x", "namespace": 5}]}),
        json!({"decryption": "x"}),
        json!({"commonMetadata": []}),
        json!({"commonMetadata": {"labels": [{"fleet.nave.dev/uid": "x"}]}}),
        json!({"postBuild": []}),
        json!({"postBuild": {"substitute": "x"}}),
    ] {
        let fleet = tenant_fleet(|fleet| fleet.template = json!({"spec": spec}));
        assert_eq!(denied(&fleet, &shared_cluster()).reason(), "InvalidSpec", "{spec}");
    }
}

#[test]
fn a_workspace_does_not_reach_a_cluster_that_does_not_name_it() {
    for placement in [
        json!({"selector": {}}),
        json!({"selector": {"env": "prod"}}),
        json!({"names": ["platform/eu-1"]}),
        json!({"names": ["eu-1"]}),
    ] {
        let fleet = fleet("team-b", |fleet| fleet.placement = placement_of(&placement));
        let clusters = [shared_cluster(), cluster("platform", "us-1", &[("env", "prod")])];
        let set = Planner::new(&fleet)
            .expect("plannable")
            .plan(&clusters, &Claims::default());
        assert!(set.plans.is_empty(), "{placement}");
    }
}

#[test]
fn losing_access_withdraws_and_shrinking_it_is_seen() {
    let mut cluster = shared_cluster();
    cluster.access = vec![tenant("team-a", "team-a", &["team-a"])];
    let own = fleet("platform", |_| {});
    let denial = denied(&own, &cluster);
    assert_eq!(
        denial.to_string(),
        "cluster platform/eu-1 gives workspace platform no access; add it to spec.access of the cluster"
    );
    assert!(denial.withdraws());
}

#[test]
fn a_source_cannot_use_another_account_either() {
    let fleet = tenant_fleet(|fleet| {
        fleet.delivery = Delivery::Source;
        fleet.source = Source::Template {
            kind: "GitRepository".into(),
            spec: map(json!({"url": "https://x", "provider": "azure", "serviceAccountName": "admin"})),
        };
    });
    assert_eq!(denied(&fleet, &shared_cluster()).reason(), "Denied");
}

#[test]
fn the_first_owner_of_an_object_keeps_it() {
    let mut cluster = shared_cluster();
    cluster.access.push(tenant("team-b", "team-a", &["team-a"]));
    let first = tenant_fleet(|_| {});
    let second = fleet("team-b", |fleet| {
        fleet.owner.uid = "another".into();
        fleet.spoke_namespace = Some("team-a".into());
    });
    let mut claims = Claims::default();
    let bundle = placed(&first, &cluster);
    claims.claim(
        &first.owner,
        &cluster.key,
        &Place::Spoke(cluster.key.clone()),
        bundle.objects.iter().map(|object| object.id()),
    );
    let plan = |fleet: &FleetObject, claims: &Claims| {
        Planner::new(fleet)
            .expect("plannable")
            .plan([&cluster], claims)
            .plans
            .remove(0)
            .outcome
    };
    match plan(&second, &claims) {
        Outcome::Denied(denial) => {
            assert_eq!(denial.reason(), "Conflict");
            assert_eq!(
                denial.to_string(),
                "ExternalArtifact/team-a/apps already belongs to FleetKustomization/team-a/apps"
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(plan(&first, &claims), Outcome::Place(_)));
    claims.release(&first.owner.uid);
    assert!(matches!(plan(&second, &claims), Outcome::Place(_)));
}

#[test]
fn two_names_that_join_to_one_on_the_hub_conflict() {
    let kustomization_of = |fleet_name: &str, cluster_name: &str, claims: &mut Claims| {
        let mut cluster = cluster("platform", cluster_name, &[]);
        cluster.mode = kubeconfig("k", "");
        let fleet = fleet("platform", |fleet| fleet.owner = owner("platform", fleet_name));
        let set = Planner::new(&fleet).expect("plannable").plan([&cluster], claims);
        let plan = set.plans.into_iter().next().expect("selected");
        if let Outcome::Place(bundle) = &plan.outcome {
            let ids: Vec<_> = bundle.objects.iter().map(|object| object.id()).collect();
            claims.claim(&fleet.owner, &plan.cluster, &plan.place, ids);
        }
        plan.outcome
    };
    let mut claims = Claims::default();
    assert!(matches!(kustomization_of("a-b", "c", &mut claims), Outcome::Place(_)));
    match kustomization_of("a", "b-c", &mut claims) {
        Outcome::Denied(denial) => assert_eq!(denial.reason(), "Conflict"),
        other => panic!("{other:?}"),
    }
}

/// A tenant of a cluster that the hub reaches itself.
fn hub_tenant(change: impl FnOnce(&mut FleetObject)) -> (FleetObject, Cluster) {
    let mut cluster = cluster("team-a", "on-prem", &[]);
    cluster.mode = kubeconfig("k", "");
    cluster.access = vec![tenant("team-a", "deployer", &["team-a"])];
    (fleet("team-a", change), cluster)
}

#[test]
fn secrets_leave_the_hub_only_when_listed() {
    let uses = json!({"postBuild": {"substituteFrom": [
        {"kind": "ConfigMap", "name": "plain"}, {"kind": "Secret", "name": "vars"},
    ]}});
    let (unlisted, cluster) = hub_tenant(|fleet| fleet.template = json!({"spec": uses}));
    assert_eq!(
        denied(&unlisted, &cluster).to_string(),
        "spec.template.spec.postBuild.substituteFrom[1]: Secret \"vars\" would leave the hub but is not listed in spec.secrets"
    );
    let (decryption, _) = hub_tenant(|fleet| {
        fleet.template = json!({"spec": {"decryption": {"provider": "sops", "secretRef": {"name": "keys"}}}});
    });
    assert!(denied(&decryption, &cluster).to_string().contains("\"keys\""));
    let listed = |template: Value| {
        hub_tenant(|fleet| {
            fleet.template = template;
            fleet.secrets = vec![SecretUse {
                name: "vars".into(),
                optional: false,
            }];
        })
        .0
    };
    let bundle = placed(&listed(json!({"spec": uses})), &cluster);
    assert_eq!(bundle.objects[0].as_value()["spec"]["serviceAccountName"], "deployer");
    assert!(
        denied(&listed(json!({"spec": {}})), &cluster)
            .to_string()
            .starts_with("spec.secrets: Secret \"vars\" is not copied")
    );
}

#[test]
fn credentials_of_another_workspace_are_not_copied() {
    let (fleet, mut cluster) = hub_tenant(|_| {});
    cluster.key = ClusterKey::new("platform", cluster.key.name.as_str());
    assert!(denied(&fleet, &cluster).to_string().contains("of another workspace"));
}

#[test]
fn the_account_on_a_kubeconfig_cluster_is_within_the_grant() {
    let (fleet, mut cluster) = hub_tenant(|_| {});
    cluster.access = vec![tenant("team-a", "deployer", &["elsewhere"])];
    assert_eq!(
        denied(&fleet, &cluster).to_string(),
        "the namespace of the service account is \"team-a\", but workspace team-a may use only elsewhere here"
    );
}

#[test]
fn huge_objects_fail_alone() {
    let fleet = tenant_fleet(|fleet| {
        fleet.template = json!({"spec": {"path": "${cluster.variables.big}${cluster.variables.big}"}});
    });
    let mut big = shared_cluster();
    big.variables.insert("big".into(), "x".repeat(300 * 1024));
    let mut small = shared_cluster();
    small.key = ClusterKey::new(small.key.namespace.as_str(), "us-1");
    small.variables.insert("big".into(), "x".into());
    let set = Planner::new(&fleet)
        .expect("plannable")
        .plan([&big, &small], &Claims::default());
    assert!(matches!(&set.plans[0].outcome, Outcome::Denied(denial) if denial.reason() == "InvalidSpec"));
    assert!(matches!(&set.plans[1].outcome, Outcome::Place(_)));
}
