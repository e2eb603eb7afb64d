use super::*;
use crate::model::{OwnerKey, Placement, Policy};

fn fleet(kind: &str, source_kind: &str, spec: Value, template: Value) -> FleetObject {
    let Value::Object(spec) = spec else {
        unreachable!("it is an object")
    };
    FleetObject {
        owner: OwnerKey {
            kind: kind.into(),
            namespace: "platform".into(),
            name: "apps".into(),
            uid: "u".into(),
        },
        suspend: false,
        requested_at: None,
        spoke_namespace: None,
        placement: Placement::default(),
        source: Source::Template {
            kind: source_kind.into(),
            spec,
        },
        include: vec![],
        delivery: Delivery::Artifact,
        template,
        overrides: vec![],
        secrets: vec![],
        policy: Policy::Prune,
    }
}

#[test]
fn passwords_do_not_travel_in_addresses() {
    for (given, told) in [
        ("https://git.example.com/fleet.git", "https://git.example.com/fleet.git"),
        ("https://bot:secret@git.example.com/a@b", "https://git.example.com/a@b"),
        ("https://token@git.example.com", "https://git.example.com"),
        ("ssh://git@git.example.com/fleet", "ssh://git@git.example.com/fleet"),
        ("nonsense", "nonsense"),
    ] {
        let spec = json!({"url": given, "suspend": true, "secretRef": {"name": "git"}});
        let fleet = fleet(names::FLEET_KUSTOMIZATION, "GitRepository", spec, json!({"spec": {}}));
        let told = json!({"kind": "GitRepository", "spec": {"secretRef": {"name": "git"}, "url": told}});
        assert_eq!(real_source(&fleet)[names::REAL_SOURCE], Value::String(told.to_string()));
    }
}

#[test]
fn a_chart_is_told_with_its_source() {
    let template = json!({"spec": {"chart": {"spec": {"chart": "web", "version": "1.x"}}}});
    let spec = json!({"url": "https://charts.example.com"});
    let fleet = fleet(names::FLEET_HELM_RELEASE, "HelmRepository", spec, template);
    assert_eq!(
        real_source(&fleet)[names::REAL_SOURCE],
        r#"{"chart":{"chart":"web","version":"1.x"},"kind":"HelmRepository","spec":{"url":"https://charts.example.com"}}"#
    );
}

#[test]
fn a_release_is_named_on_the_hub_as_on_a_spoke() {
    let check = |spec: Value, name: &str, release: &str, target: &str, storage: &str| {
        let Value::Object(mut spec) = spec else {
            unreachable!("it is an object")
        };
        release::as_on_spoke(&mut spec, name, "shop");
        assert_eq!(spec["releaseName"], release);
        assert_eq!(spec["targetNamespace"], target);
        assert_eq!(spec["storageNamespace"], storage);
    };
    check(json!({}), "web", "web", "shop", "shop");
    check(json!({"targetNamespace": "team"}), "web", "team-web", "team", "team");
    check(
        json!({"targetNamespace": "team", "storageNamespace": "x", "releaseName": "r"}),
        "web",
        "r",
        "team",
        "x",
    );
    // The first 40 characters, and 12 of the digest of all of it, as the controller does it on a spoke.
    let long = "a".repeat(54);
    let digest = nave_object::digest::sha256(&long);
    let hex = digest.trim_start_matches("sha256:");
    check(
        json!({}),
        &long,
        &format!("{}-{}", &long[..40], &hex[..12]),
        "shop",
        "shop",
    );
}
