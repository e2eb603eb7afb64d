//! Recent builds: many Kustomizations of one artifact parse each file once, and a repetition builds nothing.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nave_object::Object;
use nave_runtime::Tasks;
use tokio::time::Instant;

/// Objects kept in all cached builds together: some megabytes.
const CACHED_OBJECTS: usize = 500;
/// A burst of builds is over after this time without one. At rest nothing is built: a no-op is known by its inputs.
const REST: Duration = Duration::from_secs(30);

/// Recent builds before substitution, by what went into them.
#[derive(Default)]
pub(crate) struct Cache(Mutex<Builds>);

#[derive(Default)]
struct Builds {
    /// Oldest first.
    entries: VecDeque<(String, Arc<Vec<Object>>)>,
    objects: usize,
    /// Parsed files, shared by all builds of one artifact.
    files: Option<(String, Arc<nave_kustomize::Cache>)>,
    used: Option<Instant>,
}

impl Cache {
    /// Forgets everything whenever a burst of builds is over.
    pub fn forget_at_rest(self: &Arc<Self>, tasks: &Tasks) {
        let (this, stop) = (self.clone(), tasks.shutdown_token().clone());
        tasks.spawn("forgetting builds", async move {
            while tokio::time::timeout(REST, stop.cancelled()).await.is_err() {
                this.forget_unused();
            }
        });
    }

    fn forget_unused(&self) {
        let mut builds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if builds.used.is_some_and(|used| used.elapsed() >= REST) {
            *builds = Builds::default();
        }
    }

    pub fn get(&self, key: &str) -> Option<Arc<Vec<Object>>> {
        let mut builds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        builds.used = Some(Instant::now());
        let position = builds.entries.iter().position(|(other, _)| other == key)?;
        let entry = builds.entries.remove(position)?;
        let found = entry.1.clone();
        builds.entries.push_back(entry);
        Some(found)
    }

    pub fn put(&self, key: String, objects: Arc<Vec<Object>>) {
        let mut builds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        builds.objects += objects.len();
        builds.entries.push_back((key, objects));
        while builds.objects > CACHED_OBJECTS {
            let Some((_, oldest)) = builds.entries.pop_front() else {
                break;
            };
            builds.objects -= oldest.len();
        }
    }

    pub fn files_of(&self, artifact: &str) -> Arc<nave_kustomize::Cache> {
        let mut builds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &builds.files {
            Some((of, files)) if of == artifact => files.clone(),
            _ => {
                let files = Arc::new(nave_kustomize::Cache::new());
                builds.files = Some((artifact.to_owned(), files.clone()));
                files
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded() {
        let cache = Cache::default();
        let objects = |count: usize| {
            let object =
                Object::from_value(serde_json::json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}}))
                    .expect("it is an object");
            Arc::new(vec![object; count])
        };
        cache.put("a".into(), objects(300));
        cache.put("b".into(), objects(175));
        assert!(cache.get("a").is_some()); // now the youngest
        cache.put("c".into(), objects(175));
        assert!(cache.get("b").is_none());
        assert!(cache.get("a").is_some() && cache.get("c").is_some());
        cache.put("huge".into(), objects(750));
        assert!(cache.get("huge").is_none());
    }
}
