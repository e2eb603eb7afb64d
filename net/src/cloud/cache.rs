//! Credentials of the last minutes. Who asks for the same at once waits for one answer.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use crate::cloud::{CacheLimits, CloudError};

type Slot<V> = Arc<tokio::sync::Mutex<Option<(V, Timestamp)>>>;

/// By name; the names hold no secrets.
pub(crate) struct Cache<V> {
    limits: CacheLimits,
    slots: Mutex<HashMap<String, (Slot<V>, u64)>>,
    uses: std::sync::atomic::AtomicU64,
}

impl<V: Clone> Cache<V> {
    pub fn new(limits: CacheLimits) -> Self {
        Cache {
            limits,
            slots: Mutex::default(),
            uses: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// What is kept under that name, or what `fetch` gives. A failure is not kept.
    ///
    /// As in Flux, a fifth of their time before their end credentials are fetched anew.
    pub async fn get(
        &self,
        name: String,
        fetch: impl Future<Output = Result<(V, Timestamp), CloudError>>,
    ) -> Result<V, CloudError> {
        if self.limits.entries == 0 {
            return fetch.await.map(|(value, _)| value);
        }
        let slot = self.slot(name);
        let mut slot = slot.lock().await;
        let now = Timestamp::now();
        if let Some((value, until)) = &*slot
            && *until > now
        {
            return Ok(value.clone());
        }
        *slot = None;
        let (value, expires) = fetch.await?;
        let life = expires.duration_since(now).as_millis().max(0) * 4 / 5;
        let life = life.min(i128::try_from(self.limits.duration.as_millis()).unwrap_or(i128::MAX));
        let life = SignedDuration::from_millis(i64::try_from(life).unwrap_or(0));
        *slot = Some((value.clone(), now + life));
        Ok(value)
    }

    fn slot(&self, name: String) -> Slot<V> {
        let used = self.uses.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if !slots.contains_key(&name) && slots.len() >= self.limits.entries {
            // The one that nobody has asked for longest.
            if let Some(oldest) = slots
                .iter()
                .min_by_key(|(_, (_, used))| *used)
                .map(|(name, _)| name.clone())
            {
                slots.remove(&oldest);
            }
        }
        let (slot, last) = slots.entry(name).or_default();
        *last = used;
        slot.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };

    use super::*;

    async fn ask(cache: &Cache<u32>, name: &str, count: &AtomicU32, life: i64) -> u32 {
        let fetch = async {
            tokio::task::yield_now().await;
            let number = count.fetch_add(1, Ordering::SeqCst);
            Ok((number, Timestamp::now() + SignedDuration::from_secs(life)))
        };
        cache.get(name.to_owned(), fetch).await.expect("it is fetched")
    }

    #[tokio::test]
    async fn one_answer_serves_all_until_it_is_old() {
        let limits = |entries| CacheLimits {
            entries,
            duration: Duration::from_secs(60),
        };
        let (cache, count) = (Cache::new(limits(2)), AtomicU32::new(0));
        let both = tokio::join!(ask(&cache, "a", &count, 600), ask(&cache, "a", &count, 600));
        assert_eq!(both, (0, 0), "asked for at once");
        assert_eq!(ask(&cache, "b", &count, 0).await, 1);
        assert_eq!(ask(&cache, "b", &count, 600).await, 2, "the last one had ended");
        assert_eq!(ask(&cache, "a", &count, 600).await, 0);
        assert_eq!(ask(&cache, "c", &count, 600).await, 3);
        assert_eq!(ask(&cache, "b", &count, 600).await, 4, "it had to make room");
        let none = Cache::new(limits(0));
        assert_eq!(
            (ask(&none, "a", &count, 600).await, ask(&none, "a", &count, 600).await),
            (5, 6)
        );
        let failing = Cache::<u32>::new(limits(2));
        let error = failing.get("a".to_owned(), async { Err(CloudError::NoAccounts) }).await;
        error.expect_err("it fails");
        assert_eq!(ask(&failing, "a", &count, 600).await, 7);
    }
}
