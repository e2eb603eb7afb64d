//! Credentials of the last minutes. Who asks for the same at once waits for one answer.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp};

use crate::cloud::{
    CacheLimits, CloudError,
    usage::{Observed, Usage},
};

type Slot<V> = Arc<tokio::sync::Mutex<Option<(V, Timestamp)>>>;

/// By name; the names hold no secrets.
pub(crate) struct Cache<V> {
    limits: CacheLimits,
    observed: Observed,
    slots: Mutex<HashMap<String, (Slot<V>, u64)>>,
    uses: AtomicU64,
}

impl<V: Clone> Cache<V> {
    pub fn new(limits: CacheLimits, observed: Observed) -> Self {
        Cache {
            limits,
            observed,
            slots: Mutex::default(),
            uses: AtomicU64::new(0),
        }
    }

    /// What is kept under that name, or what `fetch` gives. A failure is not kept.
    ///
    /// As in Flux, a fifth of their time before their end credentials are fetched anew.
    pub async fn get(
        &self,
        name: String,
        usage: Option<&Usage>,
        fetch: impl Future<Output = Result<(V, Timestamp), CloudError>>,
    ) -> Result<V, CloudError> {
        if self.limits.entries == 0 {
            return fetch.await.map(|(value, _)| value);
        }
        let shared = self.slot(&name);
        let mut slot = shared.lock().await;
        let now = Timestamp::now();
        let known = slot.as_ref().filter(|(_, until)| *until > now);
        if let Some(usage) = usage {
            self.observed
                .tell(|observer| observer.looked_up(known.is_some(), usage));
        }
        if let Some((value, _)) = known {
            self.observed.tell(|observer| observer.answered(true));
            return Ok(value.clone());
        }
        *slot = None;
        let (value, expires) = match fetch.await {
            Ok(fetched) => fetched,
            Err(error) => {
                drop(slot);
                self.forget(&name, &shared);
                self.observed.tell(|observer| observer.answered(false));
                return Err(error);
            }
        };
        self.observed.tell(|observer| observer.answered(true));
        let life = expires.duration_since(now).as_millis().max(0) * 4 / 5;
        let life = life.min(i128::try_from(self.limits.duration.as_millis()).unwrap_or(i128::MAX));
        let life = SignedDuration::from_millis(i64::try_from(life).unwrap_or(0));
        *slot = Some((value.clone(), now + life));
        Ok(value)
    }

    fn slot(&self, name: &str) -> Slot<V> {
        let used = self.uses.fetch_add(1, Ordering::Relaxed);
        let mut slots = self.lock();
        if let Some((slot, last)) = slots.get_mut(name) {
            *last = used;
            return slot.clone();
        }
        if slots.len() >= self.limits.entries {
            // The one that nobody has asked for longest.
            if let Some(oldest) = slots
                .iter()
                .min_by_key(|(_, (_, used))| *used)
                .map(|(name, _)| name.clone())
            {
                slots.remove(&oldest);
                self.observed.tell(|observer| {
                    observer.evicted();
                    observer.kept(-1);
                });
            }
        }
        let slot = Slot::<V>::default();
        slots.insert(name.to_owned(), (slot.clone(), used));
        self.observed.tell(|observer| observer.kept(1));
        slot
    }

    /// Who waits for the same asks for himself; the place of what was not given is free again.
    fn forget(&self, name: &str, slot: &Slot<V>) {
        let mut slots = self.lock();
        if slots.get(name).is_some_and(|(found, _)| Arc::ptr_eq(found, slot)) {
            slots.remove(name);
            self.observed.tell(|observer| observer.kept(-1));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Slot<V>, u64)>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicI64, AtomicU32},
        time::Duration,
    };

    use super::*;
    use crate::cloud::CacheObserver;

    async fn ask(cache: &Cache<u32>, name: &str, count: &AtomicU32, life: i64) -> u32 {
        let fetch = async {
            tokio::task::yield_now().await;
            let number = count.fetch_add(1, Ordering::SeqCst);
            Ok((number, Timestamp::now() + SignedDuration::from_secs(life)))
        };
        cache.get(name.to_owned(), None, fetch).await.expect("it is fetched")
    }

    fn limits(entries: usize) -> CacheLimits {
        CacheLimits {
            entries,
            duration: Duration::from_secs(60),
        }
    }

    #[tokio::test]
    async fn one_answer_serves_all_until_it_is_old() {
        let (cache, count) = (Cache::new(limits(2), Observed::default()), AtomicU32::new(0));
        let both = tokio::join!(ask(&cache, "a", &count, 600), ask(&cache, "a", &count, 600));
        assert_eq!(both, (0, 0), "asked for at once");
        assert_eq!(ask(&cache, "b", &count, 0).await, 1);
        assert_eq!(ask(&cache, "b", &count, 600).await, 2, "the last one had ended");
        assert_eq!(ask(&cache, "a", &count, 600).await, 0);
        assert_eq!(ask(&cache, "c", &count, 600).await, 3);
        assert_eq!(ask(&cache, "b", &count, 600).await, 4, "it had to make room");
        let none = Cache::new(limits(0), Observed::default());
        assert_eq!(
            (ask(&none, "a", &count, 600).await, ask(&none, "a", &count, 600).await),
            (5, 6)
        );
        let failing = Cache::<u32>::new(limits(2), Observed::default());
        let none = async { Err(CloudError::NoAccounts) };
        let error = failing.get("a".to_owned(), None, none).await;
        error.expect_err("it fails");
        assert_eq!(ask(&failing, "a", &count, 600).await, 7);
    }

    #[derive(Default)]
    struct Counts {
        events: Mutex<Vec<(bool, String)>>,
        good: AtomicU32,
        bad: AtomicU32,
        evicted: AtomicU32,
        kept: AtomicI64,
    }

    impl CacheObserver for Counts {
        fn looked_up(&self, hit: bool, usage: &Usage) {
            let Usage {
                kind,
                namespace,
                name,
                operation,
            } = usage;
            self.events
                .lock()
                .expect("no test panics with it")
                .push((hit, format!("{kind}/{namespace}/{name} {operation}")));
        }

        fn answered(&self, succeeded: bool) {
            let counter = if succeeded { &self.good } else { &self.bad };
            counter.fetch_add(1, Ordering::SeqCst);
        }

        fn evicted(&self) {
            self.evicted.fetch_add(1, Ordering::SeqCst);
        }

        fn kept(&self, change: i64) {
            self.kept.fetch_add(change, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn what_happens_is_counted() {
        let (observed, counts, count) = (Observed::default(), Arc::new(Counts::default()), AtomicU32::new(0));
        observed.set(counts.clone());
        let cache = Cache::new(limits(2), observed);
        let usage = Usage {
            kind: "Kustomization",
            namespace: "n".to_owned(),
            name: "app".to_owned(),
            operation: "decrypt_with_aws",
        };
        for _ in 0..2 {
            let fetch = async { Ok((1, Timestamp::now() + SignedDuration::from_secs(600))) };
            cache
                .get("a".to_owned(), Some(&usage), fetch)
                .await
                .expect("it is fetched");
        }
        let who = "Kustomization/n/app decrypt_with_aws".to_owned();
        assert_eq!(
            *counts.events.lock().expect("it is free"),
            [(false, who.clone()), (true, who)]
        );
        let failed = async { Err(CloudError::NoAccounts) };
        cache.get("b".to_owned(), None, failed).await.expect_err("it fails");
        assert_eq!(counts.kept.load(Ordering::SeqCst), 1, "a failure is not kept");
        for name in ["c", "d"] {
            ask(&cache, name, &count, 600).await;
        }
        let number = |counter: &AtomicU32| counter.load(Ordering::SeqCst);
        assert_eq!(
            (number(&counts.good), number(&counts.bad), number(&counts.evicted)),
            (4, 1, 1)
        );
        assert_eq!(counts.kept.load(Ordering::SeqCst), 2);
    }
}
