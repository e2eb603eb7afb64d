//! FleetHelmRelease: what a cluster gets, and what a tenant may not.

mod support;

use nave_placement::{Cluster, Delivery, FleetObject, Planner, SecretUse, Source};
use serde_json::{Value, json};
use support::*;

/// A cluster of the platform team that lets team-a act as `team-a` in one namespace.
fn shared_cluster() -> Cluster {
    let mut cluster = cluster("platform", "eu-1", &[("env", "prod")]);
    cluster.access = vec![admin("platform"), tenant("team-a", "team-a", &["team-a"])];
    cluster
}

fn kubeconfig_cluster() -> Cluster {
    let mut cluster = cluster("platform", "on-prem", &[("env", "prod")]);
    cluster.mode = kubeconfig("on-prem", "");
    cluster
}

fn merged(template: &mut Value, spec: Value) {
    let target = template["spec"].as_object_mut().expect("an object");
    for (key, value) in spec.as_object().expect("an object") {
        target.insert(key.clone(), value.clone());
    }
}

#[track_caller]
fn check_denied(fleet: &FleetObject, cluster: &Cluster, want: &str) {
    assert_eq!(denied(fleet, cluster).to_string(), want);
}

#[test]
fn an_agent_gets_the_chart_as_files_and_a_release_of_it() {
    let fleet = fleet_release("platform", |fleet| {
        fleet.overrides = vec![override_for(
            json!({"env": "prod"}),
            json!({"spec": {"values": {"replicas": 3}}}),
            json!([{"op": "add", "path": "/spec/values/tier", "value": "${cluster.labels.env}"}]),
        )];
    });
    let bundle = placed(&fleet, &shared_cluster());
    let kinds: Vec<&str> = bundle.objects.iter().map(|object| object.kind()).collect();
    assert_eq!(kinds, ["ExternalArtifact", "HelmRelease"]);
    let release = bundle.objects[1].as_value();
    assert_eq!(release["apiVersion"], "helm.toolkit.fluxcd.io/v2");
    assert_eq!(release["metadata"]["labels"]["fleet.nave.dev/kind"], "FleetHelmRelease");
    assert_eq!(
        release["spec"],
        json!({
            "interval": "5m",
            "chartRef": {"kind": "ExternalArtifact", "name": "apps"},
            "values": {"host": "eu-1.example.com", "replicas": 3, "tier": "prod"},
        })
    );
    let artifact = bundle.artifact.expect("the chart goes along");
    assert_eq!(artifact.source.to_string(), "HelmChart/platform/apps");
}

#[test]
fn a_registrys_artifact_is_the_chart_itself() {
    let fleet = fleet_release("platform", |fleet| {
        fleet.source = Source::Reference {
            kind: "OCIRepository".into(),
            name: "web".into(),
            spec: Some(map(json!({"url": "oci://registry/web", "interval": "1m"}))),
        };
        fleet.template = json!({"spec": {"interval": "5m"}});
    });
    let bundle = placed(&fleet, &shared_cluster());
    let artifact = bundle.artifact.expect("the chart goes along");
    assert_eq!(artifact.source.to_string(), "OCIRepository/platform/web");
    let with_chart = fleet_release("platform", |with_chart| with_chart.source = fleet.source.clone());
    check_denied(
        &with_chart,
        &shared_cluster(),
        "spec.template.spec.chart must not be set: the source of this kind is a chart by itself",
    );
}

#[test]
fn with_delivery_source_a_cluster_fetches_by_itself() {
    let fleet = fleet_release("platform", |fleet| {
        fleet.delivery = Delivery::Source;
        // Each cluster may then have a version of its own.
        fleet.overrides = vec![override_for(
            json!({"env": "prod"}),
            json!({"spec": {"chart": {"spec": {"version": "1.2.3"}}}}),
            json!([]),
        )];
    });
    let bundle = placed(&fleet, &shared_cluster());
    assert!(bundle.artifact.is_none());
    let source = bundle.objects[0].as_value();
    assert_eq!(
        (&source["kind"], &source["spec"]["url"]),
        (&json!("HelmRepository"), &json!("https://charts.example.com"))
    );
    assert_eq!(
        bundle.objects[1].as_value()["spec"]["chart"]["spec"],
        json!({"chart": "web", "version": "1.2.3", "sourceRef": {"kind": "HelmRepository", "name": "apps"}})
    );
}

#[test]
fn one_packed_chart_serves_all_clusters() {
    let overridden = |delivery| {
        fleet_release("platform", |fleet| {
            fleet.delivery = delivery;
            let merge = json!({"spec": {"chart": {"spec": {"version": "2.x"}}}});
            fleet.overrides = vec![override_for(json!({"env": "prod"}), merge, json!([]))];
        })
    };
    check_denied(
        &overridden(Delivery::Artifact),
        &shared_cluster(),
        "spec.template.spec.chart.spec: it differs for this cluster, which needs spec.delivery Source: with Artifact the hub packs one chart for all clusters",
    );
    check_denied(
        &overridden(Delivery::Source),
        &kubeconfig_cluster(),
        "spec.template.spec.chart.spec: it differs for this cluster, but kubeconfig clusters share one chart on the hub",
    );
    let by_variable = fleet_release("platform", |fleet| {
        fleet.template["spec"]["chart"]["spec"]["version"] = json!("${cluster.labels.env}");
    });
    let text = denied(&by_variable, &shared_cluster()).to_string();
    assert!(text.contains("packs one chart for all clusters"), "{text}");
}

#[test]
fn a_kubeconfig_cluster_has_its_release_on_the_hub() {
    let fleet = fleet_release("platform", |fleet| {
        fleet.spoke_namespace = Some("shop".into());
        fleet.secrets = vec![SecretUse {
            name: "values".into(),
            optional: false,
        }];
        let spec = json!({"valuesFrom": [{"kind": "Secret", "name": "values"}], "dependsOn": [{"name": "base"}]});
        merged(&mut fleet.template, spec);
    });
    let bundle = placed(&fleet, &kubeconfig_cluster());
    assert_eq!(bundle.objects.len(), 1);
    let release = bundle.objects[0].as_value();
    assert_eq!(release["metadata"]["name"], "apps-on-prem");
    let spec = &release["spec"];
    assert_eq!(spec["chartRef"], json!({"kind": "HelmChart", "name": "apps"}));
    assert_eq!(spec["kubeConfig"], json!({"secretRef": {"name": "on-prem"}}));
    assert_eq!(spec["dependsOn"], json!([{"name": "base-on-prem"}]));
    assert_eq!(
        (&spec["releaseName"], &spec["targetNamespace"]),
        (&json!("apps"), &json!("shop"))
    );

    let unlisted = fleet_release("platform", |fleet| {
        merged(
            &mut fleet.template,
            json!({"valuesFrom": [{"kind": "Secret", "name": "other"}]}),
        );
    });
    check_denied(
        &unlisted,
        &kubeconfig_cluster(),
        "spec.template.spec.valuesFrom[0]: Secret \"other\" would leave the hub but is not listed in spec.secrets",
    );
}

#[test]
fn what_follows_from_the_source_is_not_the_templates() {
    for (spec, want) in [
        (
            json!({"chartRef": {"kind": "OCIRepository", "name": "x", "namespace": "platform"}}),
            "spec.template.spec.chartRef must not be set: it follows from spec.source",
        ),
        (
            json!({"chart": {"spec": {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "x"}}}}),
            "spec.template.spec.chart.spec.sourceRef must not be set: it follows from spec.source",
        ),
        (
            json!({"kubeConfig": {"secretRef": {"name": "prod"}}}),
            "spec.template.spec.kubeConfig must not be set: clusters are reached through Cluster objects only",
        ),
        (
            json!({"chart": null}),
            "spec.template.spec.chart.spec.chart: it must say which chart of the HelmRepository is meant",
        ),
        (json!({"values": ["a"]}), "spec.template.spec.values must be an object"),
    ] {
        let fleet = fleet_release("platform", |fleet| merged(&mut fleet.template, spec));
        check_denied(&fleet, &shared_cluster(), want);
    }
}

#[test]
fn a_tenants_release_stays_in_the_grant() {
    let plain = fleet_release("team-a", |_| {});
    let bundle = placed(&plain, &shared_cluster());
    let release = bundle.objects[1].as_value();
    assert_eq!(release["metadata"]["namespace"], "team-a");
    assert_eq!(release["spec"]["serviceAccountName"], "team-a");
    for (spec, want) in [
        (
            json!({"serviceAccountName": "cluster-admin"}),
            "spec.template.spec.serviceAccountName is \"cluster-admin\", but workspace team-a acts as \"team-a\" here",
        ),
        (
            json!({"targetNamespace": "kube-system"}),
            "spec.template.spec.targetNamespace is \"kube-system\", but workspace team-a may use only team-a here",
        ),
        (
            json!({"storageNamespace": "kube-system"}),
            "spec.template.spec.storageNamespace is \"kube-system\", but workspace team-a may use only team-a here",
        ),
        (
            json!({"dependsOn": [{"name": "infra", "namespace": "flux-system"}]}),
            "spec.template.spec.dependsOn[0].namespace refers to namespace \"flux-system\"; only an admin of the cluster may refer to other namespaces",
        ),
        (
            json!({"commonMetadata": {"labels": {"helm.toolkit.fluxcd.io/name": "other"}}}),
            "spec.template.spec.commonMetadata.labels must not contain \"helm.toolkit.fluxcd.io/name\": only the hub writes it",
        ),
    ] {
        let fleet = fleet_release("team-a", |fleet| merged(&mut fleet.template, spec));
        check_denied(&fleet, &shared_cluster(), want);
    }
    let elsewhere = fleet_release("team-a", |fleet| fleet.spoke_namespace = Some("shop".into()));
    check_denied(
        &elsewhere,
        &shared_cluster(),
        "spec.spokeNamespace is \"shop\", but workspace team-a may use only team-a here",
    );
    // On a kubeconfig cluster, too, where the HelmRelease itself is elsewhere.
    let mut cluster = kubeconfig_cluster();
    cluster.access = vec![tenant("platform", "team", &["platform"])];
    let elsewhere = fleet_release("platform", |fleet| fleet.spoke_namespace = Some("shop".into()));
    check_denied(
        &elsewhere,
        &cluster,
        "spec.spokeNamespace is \"shop\", but workspace platform may use only platform here",
    );
}

#[test]
fn what_a_cluster_cannot_fetch_is_no_source_for_it() {
    let fleet = fleet_release("platform", |fleet| {
        fleet.delivery = Delivery::Source;
        fleet.template = json!({"spec": {"interval": "5m"}});
        fleet.source = Source::Reference {
            kind: "HelmChart".into(),
            name: "web".into(),
            spec: None,
        };
    });
    assert_eq!(
        Planner::new(&fleet).expect_err("refused").to_string(),
        "spec.source.ref names an object of kind HelmChart, which a cluster cannot fetch; use spec.delivery Artifact"
    );
}
