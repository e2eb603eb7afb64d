//! How many live reads go on at once: the link opens no more than sixteen, and one user has no more than half of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nave_proto::wire::LiveEndCode;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Ended;

/// Of one user.
const OF_USER: usize = 8;
/// Answers of the API server that are held in memory at once; each is a page of a list at most.
const IN_MEMORY: usize = 2;

/// The counts.
pub struct Places {
    users: Arc<Mutex<HashMap<String, usize>>>,
    memory: Semaphore,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    users: Arc<Mutex<HashMap<String, usize>>>,
    user: String,
}

impl Default for Places {
    fn default() -> Self {
        Places {
            users: Arc::default(),
            memory: Semaphore::new(IN_MEMORY),
        }
    }
}

impl Places {
    /// Takes a place for one user.
    pub fn take(&self, user: &str) -> Result<Place, Ended> {
        let mut users = lock(&self.users);
        let count = users.entry(user.to_owned()).or_default();
        if *count >= OF_USER {
            let text = format!("user {user:?} has {OF_USER} live reads open here, which is as many as one may");
            return Err(Ended::new(LiveEndCode::Busy, text));
        }
        *count += 1;
        Ok(Place {
            users: self.users.clone(),
            user: user.to_owned(),
        })
    }

    /// Waits for the right to hold an answer in memory.
    pub async fn memory(&self) -> SemaphorePermit<'_> {
        self.memory.acquire().await.expect("the semaphore is never closed")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut users = lock(&self.users);
        if let Some(count) = users.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                users.remove(&self.user);
            }
        }
    }
}

fn lock(users: &Mutex<HashMap<String, usize>>) -> MutexGuard<'_, HashMap<String, usize>> {
    // Numbers, right after every operation.
    users.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_does_not_take_every_place() {
        let places = Places::default();
        let held: Vec<Place> = (0..OF_USER).map(|_| places.take("jane").ok().expect("free")).collect();
        let full = places.take("jane").expect_err("as many as one may");
        assert_eq!(full.code, LiveEndCode::Busy);
        assert!(places.take("john").is_ok());
        drop(held);
        assert!(places.take("jane").is_ok());
        assert!(lock(&places.users).is_empty());
    }
}
