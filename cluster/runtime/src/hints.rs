//! Hints: a git server's hook says that a repository changed, long before the next poll would notice.
//!
//! A hint is not believed, it only makes us look: whoever sends one causes a poll of a remote that is polled anyway, at
//! most once in [`QUIET`] each. So it needs no authentication and carries nothing but the address.

use std::{
    collections::HashMap,
    fmt::Debug,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use futures::{StreamExt, stream, stream::BoxStream};
use kube::{Resource, runtime::reflector::ObjectRef};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{
    Tasks, Watched,
    serve::{self, ServeError},
};

/// Hints for one address that come faster than this are one hint.
const QUIET: Duration = Duration::from_millis(100);
/// More addresses than anybody has repositories; beyond it the memory of recent hints starts over.
const REMEMBERED: usize = 4096;
/// A slow reader loses the oldest hints and finds the change at its next poll.
const WAITING: usize = 256;

/// The endpoint's state, and the feed of what was hinted.
#[derive(Clone)]
pub struct Hints {
    inner: Arc<Inner>,
}

struct Inner {
    recent: Mutex<HashMap<String, Instant>>,
    feed: broadcast::Sender<String>,
}

#[derive(Deserialize)]
struct Hint {
    url: String,
}

impl Default for Hints {
    fn default() -> Self {
        Self::new()
    }
}

impl Hints {
    /// No hints yet.
    pub fn new() -> Self {
        Hints {
            inner: Arc::new(Inner {
                recent: Mutex::default(),
                feed: broadcast::channel(WAITING).0,
            }),
        }
    }

    /// Serves `POST /hint` with `{"url": "https://…"}` on `addr`. Returns the address in use.
    pub async fn serve(&self, addr: &str, tasks: &Tasks) -> Result<SocketAddr, ServeError> {
        let routes = Router::new().route("/hint", post(take)).with_state(self.clone());
        serve::serve(addr, "hints", routes, tasks).await
    }

    /// The normalised addresses hinted from now on.
    pub fn addresses(&self) -> broadcast::Receiver<String> {
        self.inner.feed.subscribe()
    }

    /// The objects among `watched` whose address is hinted, from now on. Never ends.
    pub fn objects<K>(
        &self,
        watched: Watched<K>,
        address_of: impl Fn(&K) -> &str + Send + 'static,
    ) -> BoxStream<'static, ObjectRef<K>>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let addresses = stream::unfold(self.addresses(), |mut addresses| async move {
            loop {
                match addresses.recv().await {
                    Ok(address) => return Some((address, addresses)),
                    Err(RecvError::Lagged(_)) => {} // what was lost is found by the next poll
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        addresses
            .flat_map(move |address| stream::iter(matching(&address, watched.store().state(), &address_of)))
            // A stream that ended would end the controller that looks at it.
            .chain(stream::pending())
            .boxed()
    }

    fn hint(&self, url: &str, now: Instant) -> bool {
        let url = normalised(url);
        let mut recent = self.inner.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.get(&url).is_some_and(|last| now.duration_since(*last) < QUIET) {
            return false;
        }
        if recent.len() >= REMEMBERED {
            recent.clear();
        }
        recent.insert(url.clone(), now);
        drop(recent);
        let _ = self.inner.feed.send(url); // nobody listening is fine
        true
    }
}

fn matching<K>(address: &str, objects: Vec<Arc<K>>, address_of: impl Fn(&K) -> &str) -> Vec<ObjectRef<K>>
where
    K: Resource<DynamicType = ()>,
{
    objects
        .iter()
        .filter(|object| normalised(address_of(object)) == address)
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}

async fn take(State(hints): State<Hints>, Json(hint): Json<Hint>) -> StatusCode {
    hints.hint(&hint.url, Instant::now());
    StatusCode::ACCEPTED
}

/// The same repository by any spelling: no credentials, no trailing slash or `.git`, host in lower case.
pub fn normalised(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let path = path.trim_end_matches('/').trim_end_matches(".git");
    format!("{}://{}/{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    #[test]
    fn any_spelling_of_the_address_finds_its_objects() {
        let object = |name: &str, url: &str| {
            let mut object = ConfigMap::default();
            object.metadata.name = Some(name.to_owned());
            object.metadata.namespace = Some("platform".to_owned());
            object.data = Some([("url".to_owned(), url.to_owned())].into());
            Arc::new(object)
        };
        let all = vec![
            object("a", "https://git.example.com/fleet.git"),
            object("b", "https://reader@git.example.com/fleet"),
            object("c", "https://git.example.com/other"),
        ];
        fn url(object: &ConfigMap) -> &str {
            object.data.as_ref().map_or("", |data| &data["url"])
        }
        let hit = matching(&normalised("https://GIT.example.com/fleet/"), all, url);
        let names: Vec<&str> = hit.iter().map(|object| object.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn one_repository_has_one_name() {
        for spelling in [
            "https://git.example.com/a/B.git",
            "https://git.example.com/a/B",
            "https://user:secret@GIT.example.com/a/B/",
        ] {
            assert_eq!(normalised(spelling), "https://git.example.com/a/B");
        }
        assert_ne!(
            normalised("https://git.example.com/a/B"),
            normalised("https://git.example.com/a/b")
        );
    }

    #[test]
    fn a_burst_is_one_hint() {
        let hints = Hints::new();
        let mut feed = hints.addresses();
        let now = Instant::now();
        assert!(hints.hint("https://h/a.git", now));
        assert!(!hints.hint("https://h/a", now + QUIET / 2));
        assert!(hints.hint("https://h/b", now + QUIET / 2));
        assert!(hints.hint("https://h/a", now + QUIET * 2));
        let seen: Vec<String> = std::iter::from_fn(|| feed.try_recv().ok()).collect();
        assert_eq!(seen, ["https://h/a", "https://h/b", "https://h/a"]);
    }
}
