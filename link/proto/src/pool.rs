//! Equal values held once.
//!
//! A hub has one fleet object on a thousand clusters: its key, its owner and its payload are the same a thousand times.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;

use crate::tree::Key;
use crate::wire::OwnerRef;

/// What is not held by anybody is looked for when so many more are in the pool than after the last look.
const SLACK: usize = 64;

/// A value of which many hold one copy.
pub trait Shared: Clone + Eq + Hash {
    /// Whether no one else holds it.
    fn is_alone(&self) -> bool;
}

impl<T: ?Sized + Eq + Hash> Shared for Arc<T> {
    fn is_alone(&self) -> bool {
        Arc::strong_count(self) == 1
    }
}

impl Shared for Bytes {
    fn is_alone(&self) -> bool {
        self.is_unique()
    }
}

/// Values that are held somewhere, to be found by what they are. What nobody holds any more is let go when the pool has
/// doubled.
#[derive(Debug)]
pub struct Pool<S> {
    held: HashSet<S>,
    look_at: usize,
}

impl<S: Shared> Pool<S> {
    /// Nothing held.
    pub fn new() -> Self {
        Self {
            held: HashSet::new(),
            look_at: SLACK,
        }
    }

    /// The one that is held, or what `make` makes of it.
    pub fn share<Q>(&mut self, value: &Q, make: impl FnOnce() -> S) -> S
    where
        S: Borrow<Q>,
        Q: ?Sized + Eq + Hash,
    {
        if let Some(held) = self.held.get(value) {
            return held.clone();
        }
        if self.held.len() >= self.look_at {
            self.held.retain(|held| !held.is_alone());
            self.held.shrink_to(self.held.len() + SLACK);
            self.look_at = 2 * self.held.len() + SLACK;
        }
        let made = make();
        self.held.insert(made.clone());
        made
    }

    /// How many there are, held elsewhere or not.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl<S: Shared> Default for Pool<S> {
    fn default() -> Self {
        Self::new()
    }
}

/// The one copy of a text in this process: keys of items, UIDs of owners, words of a status.
pub fn shared_text(text: &str) -> Key {
    static TEXTS: LazyLock<Mutex<Pool<Arc<str>>>> = LazyLock::new(Mutex::default);
    // The pool is whole after every operation on it.
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    texts.share(text, || text.into())
}

/// The one copy of an owner in this process.
pub fn shared_owner(owner: &OwnerRef) -> Arc<OwnerRef> {
    static OWNERS: LazyLock<Mutex<Pool<Arc<OwnerRef>>>> = LazyLock::new(Mutex::default);
    let mut owners = OWNERS.lock().unwrap_or_else(PoisonError::into_inner);
    owners.share(owner, || Arc::new(owner.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one() {
        let mut pool: Pool<Arc<str>> = Pool::new();
        let first = pool.share("a", || "a".into());
        let again = pool.share("a", || unreachable!("it is held"));
        assert!(Arc::ptr_eq(&first, &again));
        let owner = OwnerRef {
            uid: "u".into(),
            ..OwnerRef::default()
        };
        assert!(Arc::ptr_eq(&shared_owner(&owner), &shared_owner(&owner.clone())));
        assert!(Arc::ptr_eq(&shared_text("some key"), &shared_text("some key")));
    }

    #[test]
    fn what_nobody_holds_is_let_go() {
        let mut pool: Pool<Bytes> = Pool::new();
        let kept = pool.share(&b"kept"[..], || Bytes::from(b"kept".to_vec()));
        for number in 0_u32..100_000 {
            let value = number.to_be_bytes();
            drop(pool.share(&value[..], || Bytes::from(value.to_vec())));
            assert!(pool.len() <= 2 * SLACK + 2, "{} after {number}", pool.len());
        }
        let again = pool.share(&b"kept"[..], || unreachable!("it is held"));
        assert_eq!(again.as_ptr(), kept.as_ptr());
    }
}
