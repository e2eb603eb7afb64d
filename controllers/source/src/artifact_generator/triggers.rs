//! A new revision of a source wakes what is made of it.

use std::collections::HashMap;

use futures::{StreamExt, future, stream, stream::BoxStream};
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use nave_crds::{Artifact, ArtifactGenerator, ExternalArtifact, GitRepository};
use nave_runtime::Watched;

use super::observe::HasArtifact;
use crate::run::Watches;

/// The generators to look at now.
pub(crate) fn triggers(
    generators: &Watched<ArtifactGenerator>,
    git_repositories: &Watched<GitRepository>,
    watches: &Watches,
) -> BoxStream<'static, ObjectRef<ArtifactGenerator>> {
    let by_external: BoxStream<'static, _> = woken_by::<ExternalArtifact>(&watches.external_artifacts, generators);
    stream::select_all([
        woken_by(git_repositories, generators),
        woken_by(&watches.oci_repositories, generators),
        match &watches.buckets {
            Some(buckets) => woken_by(buckets, generators),
            None => stream::empty().boxed(),
        },
        woken_by(&watches.helm_charts, generators),
        by_external,
    ])
    // A stream that ended would end the controller.
    .chain(stream::pending())
    .boxed()
}

/// Revision and digest by UID.
type Seen = HashMap<String, (String, String)>;

fn woken_by<K: HasArtifact>(
    sources: &Watched<K>,
    generators: &Watched<ArtifactGenerator>,
) -> BoxStream<'static, ObjectRef<ArtifactGenerator>> {
    let generators = generators.clone();
    let mut seen = Seen::new();
    sources
        .changes()
        .filter(move |source| future::ready(is_news(&mut seen, source.as_ref())))
        .flat_map(move |source| {
            let (namespace, name) = (source.namespace().unwrap_or_default(), source.name_any());
            let woken: Vec<_> = generators
                .store()
                .state()
                .iter()
                .filter(|generator| is_made_of(generator, &K::kind(&()), &namespace, &name))
                .map(|generator| ObjectRef::from_obj(generator.as_ref()))
                .collect();
            stream::iter(woken)
        })
        .boxed()
}

/// Whether there is an artifact that was not there before: neither a condition nor a time is news.
fn is_news<K: HasArtifact>(seen: &mut Seen, source: &K) -> bool {
    let uid = source.uid().unwrap_or_default();
    if source.meta().deletion_timestamp.is_some() {
        seen.remove(&uid);
        return false;
    }
    let Some(Artifact { revision, digest, .. }) = source.artifact() else {
        return false;
    };
    let state = (revision.clone(), digest.clone());
    seen.insert(uid, state.clone()).as_ref() != Some(&state)
}

fn is_made_of(generator: &ArtifactGenerator, kind: &str, namespace: &str, name: &str) -> bool {
    let own = generator.metadata.namespace.as_deref().unwrap_or_default();
    generator.spec.sources.iter().any(|source| {
        let of = if source.namespace.is_empty() {
            own
        } else {
            &source.namespace
        };
        source.kind == kind && source.name == name && of == namespace
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_new_artifact_of_an_own_source_wakes() {
        let generator: ArtifactGenerator = serde_json::from_value(json!({
            "apiVersion": "source.extensions.fluxcd.io/v1beta1", "kind": "ArtifactGenerator",
            "metadata": {"name": "g", "namespace": "n"},
            "spec": {"artifacts": [], "sources": [
                {"alias": "a", "kind": "GitRepository", "name": "s"},
                {"alias": "b", "kind": "Bucket", "name": "s", "namespace": "m"},
            ]},
        }))
        .unwrap();
        assert!(is_made_of(&generator, "GitRepository", "n", "s"));
        assert!(!is_made_of(&generator, "GitRepository", "m", "s"));
        assert!(is_made_of(&generator, "Bucket", "m", "s"));
        assert!(!is_made_of(&generator, "Bucket", "n", "s"));

        let source = |revision: &str, condition: &str| -> GitRepository {
            serde_json::from_value(json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
                "metadata": {"name": "s", "namespace": "n", "uid": "u"},
                "spec": {"url": "https://h/a", "interval": "1m"},
                "status": {
                    "artifact": {"path": "p", "url": "u", "revision": revision, "digest": "sha256:1",
                                 "lastUpdateTime": "2026-01-01T00:00:00Z"},
                    "lastHandledReconcileAt": condition,
                },
            }))
            .unwrap()
        };
        let mut seen = Seen::new();
        assert!(is_news(&mut seen, &source("1", "")));
        assert!(!is_news(&mut seen, &source("1", "now")));
        assert!(is_news(&mut seen, &source("2", "now")));
        assert!(!is_news(&mut seen, &GitRepository::default()));
    }
}
