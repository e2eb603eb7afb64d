//! Whether the spec is one that can be honoured, and whether what there is is what it asks for. Pure.

use std::collections::{BTreeMap, BTreeSet};

use nave_artifact::Digest;
use nave_crds::{
    Artifact, ArtifactGenerator,
    annotations::ORIGIN_REVISION,
    conditions::READY,
    extensions::{ArtifactGeneratorSpec, ArtifactGeneratorStatus, OutputArtifact},
    reasons::{ACCESS_DENIED, generator as reasons},
};
use nave_runtime::Conditions;

/// A reason and a message.
pub(crate) type Refusal = (&'static str, String);

/// What `spec` says that cannot be.
pub(crate) fn check(spec: &ArtifactGeneratorSpec, namespace: &str, no_cross_namespace: bool) -> Result<(), Refusal> {
    let wrong = |message: String| Err((reasons::VALIDATION_FAILED, message));
    let mut aliases = BTreeSet::new();
    for source in &spec.sources {
        if !aliases.insert(source.alias.as_str()) {
            return wrong(format!("duplicate source alias '{}' found", source.alias));
        }
        if no_cross_namespace && !source.namespace.is_empty() && source.namespace != namespace {
            let message = format!(
                "cross-namespace reference to source {}/{}/{} is not allowed",
                source.kind, source.namespace, source.name
            );
            return Err((ACCESS_DENIED, message));
        }
    }
    let mut names = BTreeSet::new();
    for artifact in &spec.artifacts {
        if !names.insert(artifact.name.as_str()) {
            return wrong(format!("duplicate artifact name '{}' found", artifact.name));
        }
        if spec.path_pattern.is_empty() && !is_object_name(&artifact.name) {
            let name = &artifact.name;
            return wrong(format!("artifact name {name:?} is not a valid Kubernetes object name"));
        }
        for (field, value) in [
            ("revision", &artifact.revision),
            ("originRevision", &artifact.origin_revision),
        ] {
            let alias = value.trim_start_matches('@');
            if !value.is_empty() && !aliases.contains(alias) {
                let name = &artifact.name;
                return wrong(format!("artifact {name} {field} source alias '{alias}' not found"));
            }
        }
    }
    Ok(())
}

/// A DNS subdomain, as names of objects are.
pub(crate) fn is_object_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
            && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// `sha256:` over the artifacts of the sources, as source-watcher 2.2 makes it (`HashObservedSources`).
pub(crate) fn sources_digest(sources: &BTreeMap<String, Artifact>) -> String {
    let mut parts: Vec<String> = sources
        .iter()
        .map(|(alias, artifact)| {
            format!(
                "{alias}=[digest={},revision={},url={}]",
                artifact.digest, artifact.revision, artifact.url
            )
        })
        .collect();
    parts.sort();
    Digest::sha256(parts.join("|").as_bytes()).to_string()
}

/// Why everything has to be built; none when there is nothing to do, as far as the object tells.
pub(crate) fn drift(
    object: &ArtifactGenerator,
    status: &ArtifactGeneratorStatus,
    digest: &str,
) -> Option<&'static str> {
    let ready = status.conditions.get_condition(READY);
    if ready.is_none_or(|ready| ready.status != "True") {
        return Some("it is not ready");
    }
    if ready.and_then(|ready| ready.observed_generation) != object.metadata.generation {
        return Some("the spec is another one");
    }
    if status.observed_sources_digest != digest {
        return Some("sources have changed");
    }
    let spec = &object.spec;
    if spec.path_pattern.is_empty() && status.inventory.len() != spec.artifacts.len() {
        return Some("the number of artifacts is another one");
    }
    None
}

/// Revision and metadata of an artifact whose file has this digest.
pub(crate) fn revision(
    artifact: &OutputArtifact,
    digest: &str,
    sources: &BTreeMap<String, Artifact>,
) -> (String, BTreeMap<String, String>) {
    let of = |alias: &str| sources.get(alias.trim_start_matches('@'));
    let revision = match of(&artifact.revision) {
        Some(source) if !artifact.revision.is_empty() => source.revision.clone(),
        _ => format!("latest@{digest}"),
    };
    let mut metadata = BTreeMap::new();
    if let Some(source) = of(&artifact.origin_revision).filter(|_| !artifact.origin_revision.is_empty()) {
        let origin = source.metadata.get(ORIGIN_REVISION).unwrap_or(&source.revision);
        metadata.insert(ORIGIN_REVISION.to_owned(), origin.clone());
    }
    (revision, metadata)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};

    use super::*;

    fn spec(fields: Value) -> ArtifactGeneratorSpec {
        let mut spec = json!({
            "sources": [{"alias": "git", "kind": "GitRepository", "name": "g"}],
            "artifacts": [{"name": "a", "copy": [{"from": "@git/", "to": "@artifact/"}]}],
        });
        for (field, value) in fields.as_object().unwrap() {
            spec[field] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    #[track_caller]
    fn check_spec(fields: Value, expected: Result<(), (&str, &str)>) {
        let found = check(&spec(fields), "apps", true);
        let found = found
            .as_ref()
            .copied()
            .map_err(|(reason, message)| (*reason, message.as_str()));
        assert_eq!(found, expected);
    }

    #[test]
    fn specs_that_contradict_themselves_are_refused() {
        let source = |alias: &str, namespace: &str| json!({"alias": alias, "kind": "Bucket", "name": "b", "namespace": namespace});
        let artifact = |name: &str, revision: &str| json!({"name": name, "revision": revision, "copy": []});
        check_spec(json!({}), Ok(()));
        check_spec(json!({"sources": [source("a", "apps")]}), Ok(()));
        check_spec(
            json!({"sources": [source("a", ""), source("a", "")]}),
            Err(("ValidationFailed", "duplicate source alias 'a' found")),
        );
        check_spec(
            json!({"sources": [source("a", "other")]}),
            Err((
                "AccessDenied",
                "cross-namespace reference to source Bucket/other/b is not allowed",
            )),
        );
        check_spec(
            json!({"artifacts": [artifact("a", ""), artifact("a", "")]}),
            Err(("ValidationFailed", "duplicate artifact name 'a' found")),
        );
        check_spec(
            json!({"artifacts": [artifact("A", "")]}),
            Err((
                "ValidationFailed",
                "artifact name \"A\" is not a valid Kubernetes object name",
            )),
        );
        check_spec(
            json!({"pathPattern": "@git/{A}", "artifacts": [artifact("{A}", "")]}),
            Ok(()),
        );
        check_spec(
            json!({"artifacts": [artifact("a", "@x")]}),
            Err(("ValidationFailed", "artifact a revision source alias 'x' not found")),
        );
    }

    fn artifact(revision: &str, origin: Option<&str>) -> Artifact {
        Artifact {
            path: "p".into(),
            url: "http://s/p".into(),
            revision: revision.into(),
            digest: "sha256:1".into(),
            last_update_time: Time(jiff::Timestamp::UNIX_EPOCH),
            size: None,
            metadata: origin
                .map(|origin| (ORIGIN_REVISION.to_owned(), origin.to_owned()))
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn revisions_come_from_the_content_or_from_a_source() {
        let sources = BTreeMap::from([
            ("git".to_owned(), artifact("main@sha1:1", None)),
            ("oci".to_owned(), artifact("latest@sha256:2", Some("main@sha1:3"))),
        ]);
        // `printf 'git=[…]|oci=[…]' | sha256sum`
        let text = "git=[digest=sha256:1,revision=main@sha1:1,url=http://s/p]|oci=[digest=sha256:1,revision=latest@sha256:2,url=http://s/p]";
        assert_eq!(sources_digest(&sources), Digest::sha256(text.as_bytes()).to_string());
        let of = |revision: &str, origin: &str| {
            let output = OutputArtifact {
                revision: revision.into(),
                origin_revision: origin.into(),
                ..OutputArtifact::default()
            };
            let (revision, metadata) = super::revision(&output, "sha256:d", &sources);
            (revision, metadata.get(ORIGIN_REVISION).cloned())
        };
        assert_eq!(of("", ""), ("latest@sha256:d".into(), None));
        assert_eq!(of("@git", "@git"), ("main@sha1:1".into(), Some("main@sha1:1".into())));
        assert_eq!(of("", "@oci"), ("latest@sha256:d".into(), Some("main@sha1:3".into())));
    }

    #[test]
    fn nothing_is_built_twice() {
        let check = |change: fn(&mut ArtifactGenerator), expected: Option<&str>| {
            let mut object: ArtifactGenerator = serde_json::from_value(json!({
                "apiVersion": "source.extensions.fluxcd.io/v1beta1", "kind": "ArtifactGenerator",
                "metadata": {"name": "g", "generation": 2},
                "spec": spec(json!({})),
                "status": {
                    "conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "",
                                    "observedGeneration": 2, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                    "inventory": [{"name": "a", "namespace": "n", "digest": "d", "filename": "f"}],
                    "observedSourcesDigest": "x",
                },
            }))
            .unwrap();
            change(&mut object);
            let status = object.status.clone().unwrap_or_default();
            assert_eq!(drift(&object, &status, "x"), expected);
        };
        check(|_| {}, None);
        check(|object| object.status = None, Some("it is not ready"));
        check(
            |object| object.metadata.generation = Some(3),
            Some("the spec is another one"),
        );
        check(
            |object| object.status.as_mut().unwrap().observed_sources_digest = "y".into(),
            Some("sources have changed"),
        );
        check(
            |object| object.status.as_mut().unwrap().inventory.clear(),
            Some("the number of artifacts is another one"),
        );
    }
}
