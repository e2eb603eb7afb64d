//! An item of the hub, taken apart and checked before anything of it reaches the cluster.
//!
//! The hub has checked all this already. It is checked again because the spoke's owner trusts the hub only so far: what
//! stands here holds against a hub that was taken over.

use bytes::Bytes;
use nave_crds::labels;
use nave_object::Object;
use nave_proto::wire::{ArtifactRef, Bundle, OwnerRef};
use serde_json::Value;

use super::{
    policy::{Grant, SpokePolicy},
    report::Refusal,
};

/// An item that may be applied.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// The Flux objects, sources before what reads them.
    pub objects: Vec<Object>,
    /// The Secrets.
    pub secrets: Vec<Object>,
    /// The artifact behind the ExternalArtifact among the objects.
    pub artifact: Option<ArtifactRef>,
    /// What the workspace may do here.
    pub grant: Grant,
    /// The reconcile request.
    pub requested_at: String,
}

impl Unpacked {
    /// The Kustomization or HelmRelease among the objects.
    pub fn product(&self) -> Option<&Object> {
        self.objects.iter().find(|object| is_product(object.kind()))
    }

    /// The ExternalArtifact among the objects.
    pub fn external_artifact(&self) -> Option<&Object> {
        self.objects.iter().find(|object| object.kind() == "ExternalArtifact")
    }
}

/// The kinds that an item may hold, with the order they are applied in.
const KINDS: [(&str, &str); 6] = [
    ("source.toolkit.fluxcd.io", "ExternalArtifact"),
    ("source.toolkit.fluxcd.io", "GitRepository"),
    ("source.toolkit.fluxcd.io", "HelmRepository"),
    ("source.toolkit.fluxcd.io", "OCIRepository"),
    ("kustomize.toolkit.fluxcd.io", "Kustomization"),
    ("helm.toolkit.fluxcd.io", "HelmRelease"),
];

/// The type of Secrets that hold the token of a service account.
const ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";

/// Whether a kind is what a fleet object is a template of.
pub fn is_product(kind: &str) -> bool {
    matches!(kind, "Kustomization" | "HelmRelease")
}

/// Takes `payload`, sent for `owner`, apart.
pub fn unpack(payload: Bytes, owner: &OwnerRef, policy: &SpokePolicy) -> Result<Unpacked, Refusal> {
    let bundle: Bundle = Bundle::read(payload)
        .map_err(|error| refused("ApplyFailed", format!("the hub's item cannot be read: {error}")))?;
    let Some(grant) = bundle.grant else {
        return Err(refused("Denied", "the hub's item carries no grant".to_owned()));
    };
    let grant = Grant {
        workspace: grant.workspace,
        admin: grant.admin,
        service_account: grant.service_account,
        namespaces: grant.namespaces,
        lockdown: grant.lockdown,
    };
    policy.check_grant(&grant).map_err(|why| refused("Denied", why))?;
    let mut objects = Vec::with_capacity(bundle.objects.len());
    for bytes in &bundle.objects {
        let object = parse(bytes)?;
        if !KINDS.contains(&(object.gvk().group.as_str(), object.kind())) {
            return Err(refused(
                "Denied",
                format!("{} is not a kind that a hub may send", object.id()),
            ));
        }
        check(&object, owner, &grant, policy)?;
        objects.push(object);
    }
    objects.sort_by_key(|object| KINDS.iter().position(|(_, kind)| *kind == object.kind()));
    let mut secrets = Vec::with_capacity(bundle.secrets.len());
    for bytes in &bundle.secrets {
        let secret = parse(bytes)?;
        if (secret.api_version(), secret.kind()) != ("v1", "Secret") {
            return Err(refused("Denied", format!("{} stands among the secrets", secret.id())));
        }
        check(&secret, owner, &grant, policy)?;
        secrets.push(secret);
    }
    let unpacked = Unpacked {
        objects,
        secrets,
        artifact: bundle.artifact,
        grant,
        requested_at: bundle.requested_at,
    };
    if unpacked.external_artifact().is_some() != unpacked.artifact.is_some() {
        return Err(refused(
            "ApplyFailed",
            "an artifact and the object that exposes it come together or not at all".to_owned(),
        ));
    }
    Ok(unpacked)
}

fn parse(bytes: &[u8]) -> Result<Object, Refusal> {
    let unreadable = |error: String| {
        refused(
            "ApplyFailed",
            format!("an object of the hub's item cannot be read: {error}"),
        )
    };
    let value: Value = serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    Object::from_value(value).map_err(|error| unreadable(error.to_string()))
}

fn check(object: &Object, owner: &OwnerRef, grant: &Grant, policy: &SpokePolicy) -> Result<(), Refusal> {
    let denied = |what: String| Err(refused("Denied", format!("{}: {what}", object.id())));
    let namespace = object.namespace().unwrap_or_default();
    if namespace.is_empty() {
        return denied("metadata.namespace is missing".to_owned());
    }
    for (label, expected) in [
        (labels::FLEET_KIND, &owner.kind),
        (labels::FLEET_NAMESPACE, &owner.ns),
        (labels::FLEET_NAME, &owner.name),
        (labels::FLEET_UID, &owner.uid),
    ] {
        if object.label(label) != Some(expected.as_str()) {
            return denied(format!("label {label} does not name the owner it was sent for"));
        }
    }
    if policy.is_protected(&object.gvk().group, object.kind(), namespace, object.name()) {
        return denied("it belongs to the agent".to_owned());
    }
    let gvk = object.gvk();
    if let Err(why) = policy.check_object(&gvk.group, object.kind(), namespace, object.name()) {
        return denied(why);
    }
    // A controller fills such a Secret with the credentials of the account that it names.
    if object.kind() == "Secret" && object.pointer("/type").and_then(Value::as_str) == Some(ACCOUNT_TOKEN) {
        return denied(format!("type {ACCOUNT_TOKEN} would hold an account's credentials"));
    }
    let within = |named: &str| grant.admin || grant.namespaces.iter().any(|granted| granted == named);
    if !within(namespace) {
        return denied(format!(
            "workspace {} has no grant for namespace {namespace}",
            grant.workspace
        ));
    }
    if !is_product(object.kind()) {
        return Ok(());
    }
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if object.pointer("/spec/kubeConfig").is_some_and(|value| !value.is_null()) {
        return denied("spec.kubeConfig would leave this cluster".to_owned());
    }
    for field in ["targetNamespace", "storageNamespace"] {
        let named = text(&format!("/spec/{field}"));
        if !named.is_empty() && !within(named) {
            return denied(format!(
                "spec.{field}: workspace {} has no grant for {named}",
                grant.workspace
            ));
        }
    }
    if !grant.admin && (grant.service_account.is_empty() || text("/spec/serviceAccountName") != grant.service_account) {
        return denied(format!("spec.serviceAccountName must be {:?}", grant.service_account));
    }
    for field in ["sourceRef", "chartRef", "chart.spec.sourceRef"] {
        let source = text(&format!("/spec/{}/namespace", field.replace('.', "/")));
        if !source.is_empty() && source != namespace && (!grant.admin || grant.lockdown) {
            return denied(format!("spec.{field}.namespace {source} is another namespace"));
        }
    }
    Ok(())
}

fn refused(reason: &'static str, message: String) -> Refusal {
    Refusal { reason, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::joined::policy::PolicyFile;
    use nave_proto::wire;
    use prost::Message;
    use serde_json::json;

    fn owner() -> OwnerRef {
        OwnerRef {
            kind: "FleetKustomization".into(),
            ns: "team-a".into(),
            name: "apps".into(),
            uid: "u1".into(),
        }
    }

    fn tenant() -> wire::Grant {
        wire::Grant {
            admin: false,
            service_account: "team-a".into(),
            namespaces: vec!["team-a".into()],
            lockdown: true,
            workspace: "team-a".into(),
        }
    }

    fn kustomization(change: Value) -> Value {
        let mut object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "team-a", "labels": {
                labels::FLEET_KIND: "FleetKustomization", labels::FLEET_NAMESPACE: "team-a",
                labels::FLEET_NAME: "apps", labels::FLEET_UID: "u1",
            }},
            "spec": {"serviceAccountName": "team-a", "sourceRef": {"kind": "GitRepository", "name": "apps"}, "interval": "1m", "prune": true},
        });
        json_merge(&mut object, &change);
        object
    }

    fn json_merge(target: &mut Value, change: &Value) {
        match (target, change) {
            (Value::Object(target), Value::Object(change)) => {
                for (key, value) in change {
                    json_merge(target.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (target, change) => *target = change.clone(),
        }
    }

    #[track_caller]
    fn check_bundle(objects: Vec<Value>, secrets: Vec<Value>, grant: Option<wire::Grant>, named: Option<&str>) {
        let bytes = |values: Vec<Value>| values.iter().map(|value| Bytes::from(value.to_string())).collect();
        let bundle = Bundle {
            objects: bytes(objects),
            secrets: bytes(secrets),
            grant,
            ..Bundle::default()
        };
        let result = unpack(
            bundle.encode_to_vec().into(),
            &owner(),
            &SpokePolicy::new("flux-system", PolicyFile::default()),
        );
        match named {
            None => assert!(result.is_ok(), "{result:?}"),
            Some(named) => {
                let refusal = result.expect_err("it must be refused");
                assert!(refusal.message.contains(named), "{}", refusal.message);
            }
        }
    }

    #[test]
    fn what_the_grant_allows_is_taken() {
        check_bundle(vec![kustomization(json!({}))], vec![], Some(tenant()), None);
    }

    #[test]
    fn a_hub_that_was_taken_over_is_refused() {
        for (change, named) in [
            (json!({"metadata": {"namespace": "kube-system"}}), "kube-system"),
            (
                json!({"metadata": {"labels": {labels::FLEET_UID: "u2"}}}),
                labels::FLEET_UID,
            ),
            (
                json!({"spec": {"kubeConfig": {"secretRef": {"name": "x"}}}}),
                "kubeConfig",
            ),
            (json!({"spec": {"targetNamespace": "kube-system"}}), "targetNamespace"),
            (json!({"spec": {"serviceAccountName": "default"}}), "serviceAccountName"),
            (json!({"spec": {"serviceAccountName": null}}), "serviceAccountName"),
            (
                json!({"spec": {"sourceRef": {"namespace": "flux-system"}}}),
                "sourceRef",
            ),
            (
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding"}),
                "RoleBinding",
            ),
        ] {
            check_bundle(vec![kustomization(change)], vec![], Some(tenant()), Some(named));
        }
        check_bundle(vec![kustomization(json!({}))], vec![], None, Some("grant"));
        let not_a_secret = kustomization(json!({}));
        check_bundle(vec![], vec![not_a_secret], Some(tenant()), Some("among the secrets"));
    }

    #[test]
    fn a_release_is_checked_like_a_kustomization() {
        let release = |spec: Value| {
            let mut object = kustomization(json!({
                "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "spec": spec,
            }));
            let fields = object["spec"].as_object_mut().expect("it is an object");
            fields.remove("sourceRef");
            object
        };
        let artifact = json!({"chartRef": {"kind": "ExternalArtifact", "name": "apps"}});
        check_bundle(vec![release(artifact)], vec![], Some(tenant()), None);
        for (spec, named) in [
            (json!({"storageNamespace": "kube-system"}), "storageNamespace"),
            (json!({"targetNamespace": "kube-system"}), "targetNamespace"),
            (json!({"serviceAccountName": "default"}), "serviceAccountName"),
            (json!({"kubeConfig": {"secretRef": {"name": "x"}}}), "kubeConfig"),
            (json!({"chartRef": {"namespace": "flux-system"}}), "spec.chartRef"),
            (
                json!({"chart": {"spec": {"sourceRef": {"namespace": "flux-system"}}}}),
                "spec.chart.spec.sourceRef",
            ),
        ] {
            check_bundle(vec![release(spec)], vec![], Some(tenant()), Some(named));
        }
    }

    #[test]
    fn the_agents_own_secret_is_not_for_a_hub_to_write() {
        let secret = kustomization(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "nave-agent-hub", "namespace": "flux-system"},
        }));
        let admin = wire::Grant {
            admin: true,
            ..wire::Grant::default()
        };
        check_bundle(vec![], vec![secret], Some(admin), Some("belongs to the agent"));
    }

    #[test]
    fn the_policy_file_caps_what_an_item_itself_brings() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        std::fs::write(&path, "namespaces: [shop]\ndeniedKinds: [Secret]\n").unwrap();
        let policy = SpokePolicy::new("flux-system", PolicyFile::open(Some(&path)).unwrap());
        let mut secret =
            kustomization(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "shop"}}));
        let elsewhere = kustomization(json!({}));
        for (objects, secrets, field) in [
            (vec![&elsewhere], vec![], "(namespaces)"),
            (vec![], vec![&secret], "(deniedKinds)"),
        ] {
            let bytes = |values: Vec<&Value>| values.iter().map(|value| Bytes::from(value.to_string())).collect();
            let bundle = Bundle {
                objects: bytes(objects),
                secrets: bytes(secrets),
                grant: Some(wire::Grant {
                    admin: true,
                    ..wire::Grant::default()
                }),
                ..Bundle::default()
            };
            let refusal = unpack(bundle.encode_to_vec().into(), &owner(), &policy).expect_err("the policy refuses it");
            assert_eq!(refusal.reason, "Denied");
            assert!(refusal.message.ends_with(field), "{}", refusal.message);
        }
        secret["type"] = json!(ACCOUNT_TOKEN);
        let admin = wire::Grant {
            admin: true,
            ..wire::Grant::default()
        };
        check_bundle(vec![], vec![secret], Some(admin), Some("credentials"));
    }

    #[test]
    fn noise_is_an_error() {
        let result = unpack(
            Bytes::from_static(&[0xff; 64]),
            &owner(),
            &SpokePolicy::new("flux-system", PolicyFile::default()),
        );
        assert_eq!(result.expect_err("noise is no item").reason, "ApplyFailed");
    }
}
