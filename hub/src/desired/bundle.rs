//! From a planned item to the payload that travels.
//!
//! | Part | Content |
//! | --- | --- |
//! | key of the item | `FleetKustomization/<workspace>/<name>` |
//! | `objects` | each Flux object as one JSON document, sorted keys, `apiVersion` and `kind` included |
//! | `secrets` | each Secret as one JSON document, `metadata.namespace` is the one on the spoke |
//! | `artifact` | manifest digest; the ExternalArtifact that serves it is the only one among `objects` |
//! | `grant` | with `workspace` |
//!
//! The bytes depend on the item alone: a hub that restarts makes the same again, and nothing is sent twice.

use bytes::Bytes;
use nave_artifact::Digest;
use nave_object::Object;
use nave_placement::{Cause, OwnerKey, Policy};
use nave_placement_controller::{DeleteCause, DesiredItem};
use nave_proto::wire;
use prost::Message;
use serde_json::Value;

/// An item that cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The digest of the manifest is none.
    #[error("manifest digest {digest:?} of {owner} is not sha256")]
    ManifestDigest {
        /// Whose.
        owner: OwnerKey,
        /// The text.
        digest: String,
    },
}

/// The payload of an item, and the manifest that it names.
pub fn encode(item: &DesiredItem) -> Result<(Bytes, Option<Digest>), BundleError> {
    let manifest = item
        .artifact
        .as_ref()
        .map(|artifact| {
            let text = &artifact.handle.manifest_digest;
            let digest = text
                .parse::<Digest>()
                .ok()
                .filter(|digest| matches!(digest, Digest::Sha256(_)));
            digest.ok_or_else(|| BundleError::ManifestDigest {
                owner: item.owner.clone(),
                digest: text.clone(),
            })
        })
        .transpose()?;
    let artifact = item.artifact.as_ref().zip(manifest);
    let bundle = wire::Bundle {
        objects: item.objects.iter().map(document).collect(),
        artifact: artifact.map(|(artifact, digest)| wire::ArtifactRef {
            manifest_digest: digest.bytes().to_vec(),
            revision: artifact.handle.revision.clone(),
            origin: artifact.handle.origin.clone(),
            size: artifact.handle.size,
        }),
        secrets: item.secrets.iter().map(|secret| document(secret.expose())).collect(),
        grant: Some(wire::Grant {
            admin: item.grant.admin,
            service_account: item.grant.service_account.clone(),
            namespaces: item.grant.namespaces.clone(),
            lockdown: item.grant.lockdown,
            workspace: item.owner.namespace.clone(),
        }),
        change_id: item.change_id.clone(),
        requested_at: item.requested_at.clone().unwrap_or_default(),
        suspend: item.suspend,
    };
    Ok((bundle.encode_to_vec().into(), manifest))
}

/// The owner as messages carry it.
pub fn owner(owner: &OwnerKey) -> wire::OwnerRef {
    wire::OwnerRef {
        kind: owner.kind.clone(),
        ns: owner.namespace.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    }
}

/// The owner of an item, from its key and the UID that goes with it.
pub fn owner_of(key: &str, uid: &str) -> Option<OwnerKey> {
    let mut parts = key.splitn(3, '/');
    let (kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
    Some(OwnerKey {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
    })
}

/// A deletion as messages carry it.
pub fn deletion(of: &OwnerKey, why: &DeleteCause) -> nave_proto::Deletion {
    nave_proto::Deletion {
        owner: owner(of),
        cause: match why.cause {
            Cause::Excluded => wire::DeleteCause::NotPlaced,
            Cause::Retired => wire::DeleteCause::OwnerDeleted,
            Cause::GrantReduced => wire::DeleteCause::GrantEnded,
            Cause::Purge => wire::DeleteCause::Purge,
        },
        policy: match why.policy {
            Policy::Prune => wire::DeletePolicy::Prune,
            Policy::Orphan => wire::DeletePolicy::Orphan,
        },
        change_id: why.change_id.clone(),
    }
}

/// JSON with sorted keys, whatever map type the build of `serde_json` uses.
fn document(object: &Object) -> Bytes {
    let mut value = object.as_value().clone();
    sort(&mut value);
    serde_json::to_vec(&value)
        .expect("a JSON value with text keys can always be written")
        .into()
}

fn sort(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = std::mem::take(map).into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            for (key, mut value) in entries {
                sort(&mut value);
                map.insert(key, value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(sort),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_placement::Grant;
    use nave_placement_controller::ItemVersion;
    use nave_placement_controller::{ArtifactHandle, ItemArtifact, SensitiveObject};
    use serde_json::json;

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("a sound object")
    }

    fn item() -> DesiredItem {
        DesiredItem {
            owner: OwnerKey {
                kind: "FleetKustomization".into(),
                namespace: "team".into(),
                name: "apps".into(),
                uid: "u1".into(),
            },
            version: ItemVersion::of("v"),
            objects: vec![object(json!({
                "kind": "Kustomization",
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
                "metadata": {"name": "apps", "namespace": "team"},
            }))],
            artifact: Some(ItemArtifact {
                handle: ArtifactHandle {
                    manifest_digest: Digest::sha256(b"m").to_string(),
                    revision: "main@sha1:1".into(),
                    origin: "https://h/r".into(),
                    size: 3,
                },
                namespace: "team".into(),
                name: "apps".into(),
            }),
            secrets: vec![SensitiveObject::new(object(json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": "s", "namespace": "team"}, "data": {"k": "dg=="},
            })))],
            grant: Grant {
                admin: true,
                service_account: String::new(),
                namespaces: Vec::new(),
                lockdown: false,
            },
            change_id: "c".into(),
            requested_at: None,
            suspend: false,
        }
    }

    #[test]
    fn the_same_item_is_the_same_bytes_and_reads_back() {
        let (payload, manifest) = encode(&item()).unwrap();
        assert_eq!(encode(&item()).unwrap().0, payload);
        assert_eq!(manifest, Some(Digest::sha256(b"m")));
        let bundle = wire::Bundle::read(payload).unwrap();
        let first: Value = serde_json::from_slice(&bundle.objects[0]).unwrap();
        assert_eq!(first["kind"], "Kustomization");
        assert!(bundle.objects[0].starts_with(b"{\"apiVersion\":"));
        assert_eq!(bundle.grant.unwrap().workspace, "team");
        assert_eq!(bundle.secrets.len(), 1);
    }

    #[test]
    fn a_key_names_its_owner() {
        let owner = item().owner;
        assert_eq!(owner_of(&owner.item_key(), "u1"), Some(owner));
        assert_eq!(owner_of("FleetKustomization/team", "u1"), None);
    }
}
