//! When each cluster's status may be written: at once when a condition turns, unless it turns and turns, else once in a
//! while.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::Duration,
};

use tokio::time::Instant;

/// Changes that turn no condition (counts, versions) are gathered for this long.
const GATHER: Duration = Duration::from_secs(30);

/// Keys in the order in which they are due.
#[derive(Debug)]
pub struct Pace<Key> {
    queue: BTreeSet<(Instant, Key)>,
    due: HashMap<Key, Instant>,
    /// The last two writes, the last one first.
    written: HashMap<Key, (Instant, Option<Instant>)>,
}

impl<Key> Default for Pace<Key> {
    fn default() -> Self {
        Pace {
            queue: BTreeSet::new(),
            due: HashMap::new(),
            written: HashMap::new(),
        }
    }
}

impl<Key: Clone + Ord + Hash> Pace<Key> {
    /// Look at `key` at `due`, or earlier if that was asked for already.
    pub fn mark(&mut self, key: Key, due: Instant) {
        match self.due.get(&key) {
            Some(known) if *known <= due => return,
            Some(known) => {
                self.queue.remove(&(*known, key.clone()));
            }
            None => {}
        }
        self.due.insert(key.clone(), due);
        self.queue.insert((due, key));
    }

    /// When something is due next.
    pub fn next_due(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// Takes the first key that is due.
    pub fn take(&mut self, now: Instant) -> Option<Key> {
        if self.next_due()? > now {
            return None;
        }
        let (_, key) = self.queue.pop_first()?;
        self.due.remove(&key);
        Some(key)
    }

    /// When a change may be written, if not now. One that cannot wait does so too after two in a short time, or an agent
    /// that comes and goes would write as often as it does.
    pub fn hold(&self, key: &Key, can_wait: bool, now: Instant) -> Option<Instant> {
        let (last, before) = *self.written.get(key)?;
        let allowed = if can_wait { last } else { before? } + GATHER;
        (allowed > now).then_some(allowed)
    }

    /// Remembers a write.
    pub fn wrote(&mut self, key: Key, now: Instant) {
        let before = self.written.get(&key).map(|(last, _)| *last);
        self.written.insert(key, (now, before));
    }

    /// Forgets a key that is gone.
    pub fn forget(&mut self, key: &Key) {
        if let Some(due) = self.due.remove(key) {
            self.queue.remove(&(due, key.clone()));
        }
        self.written.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_wish_counts_and_each_key_waits_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        pace.mark("a", at(45));
        pace.mark("b", at(1));
        pace.mark("a", at(2));
        pace.mark("a", at(60));
        assert_eq!(pace.take(at(0)), None);
        assert_eq!(pace.take(at(50)), Some("b"));
        assert_eq!(pace.take(at(50)), Some("a"));
        assert_eq!((pace.take(at(99)), pace.next_due()), (None, None));
    }

    #[test]
    fn small_changes_are_gathered_and_turns_are_not() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.hold(&"a", true, start), None, "nothing was written yet");
        pace.wrote("a", start);
        let soon = start + Duration::from_secs(1);
        assert_eq!(pace.hold(&"a", true, soon), Some(start + GATHER));
        assert_eq!(pace.hold(&"a", false, soon), None);
        pace.wrote("a", soon);
        assert_eq!(pace.hold(&"a", false, soon), Some(start + GATHER), "the third");
        assert_eq!(pace.hold(&"a", false, start + GATHER), None);
        let mut pace = Pace::default();
        pace.wrote("a", start);
        assert_eq!(pace.hold(&"a", true, start + GATHER), None);
        pace.forget(&"a");
        assert_eq!(pace.hold(&"a", true, soon), None);
    }
}
