//! Hints of git servers, turned into reconciles of the sources with that address.

use futures::{Stream, StreamExt, stream};
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use nave_crds::GitRepository;
use nave_runtime::{
    Watched,
    hints::{Hints, normalised},
};
use tokio::sync::broadcast::error::RecvError;

/// Every source whose address is hinted from now on.
pub fn triggers(
    hints: &Hints,
    sources: Watched<GitRepository>,
) -> impl Stream<Item = ObjectRef<GitRepository>> + Send + use<> {
    stream::unfold(hints.addresses(), |mut addresses| async move {
        loop {
            match addresses.recv().await {
                Ok(address) => return Some((address, addresses)),
                Err(RecvError::Lagged(_)) => {} // what was lost is found by the next poll
                Err(RecvError::Closed) => return None,
            }
        }
    })
    .flat_map(move |address| stream::iter(matching(&address, sources.store().state())))
}

fn matching(address: &str, sources: Vec<std::sync::Arc<GitRepository>>) -> Vec<ObjectRef<GitRepository>> {
    sources
        .iter()
        .filter(|source| normalised(&source.spec.url) == address)
        .map(|source| ObjectRef::new(&source.name_any()).within(&source.namespace().unwrap_or_default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_crds::source::GitRepositorySpec;
    use std::sync::Arc;

    #[test]
    fn any_spelling_of_the_address_finds_its_sources() {
        let source = |name: &str, url: &str| {
            let spec = GitRepositorySpec {
                url: url.into(),
                ..GitRepositorySpec::default()
            };
            let mut source = GitRepository::new(name, spec);
            source.metadata.namespace = Some("platform".into());
            Arc::new(source)
        };
        let all = vec![
            source("a", "https://git.example.com/fleet.git"),
            source("b", "https://reader@git.example.com/fleet"),
            source("c", "https://git.example.com/other"),
        ];
        let hit = matching(&normalised("https://GIT.example.com/fleet/"), all);
        let names: Vec<&str> = hit.iter().map(|object| object.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
