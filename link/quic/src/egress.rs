//! A budget for what a hub sends, shared fairly by its agents.
//!
//! ```text
//!  lane (agent, kind) ─┐
//!  lane ───────────────┼─► tickets, by how much each lane has had ─► so many bytes a second
//!  lane ───────────────┘
//! ```
//!
//! Start-time fair queueing: a ticket's place is how far the queue as a whole has come, or how far its own lane has, if
//! that is further. So a lane with much to send stands behind a lane with little, and who sends for the first time is
//! next. Bulk and items of one agent are lanes of their own: a large artifact does not hold back its own agent's items.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// So long a time's bytes may go at once after a pause: what a second's share of it is not sent is lost.
const BURST: Duration = Duration::from_millis(100);

/// Bytes in a second over all agents.
#[derive(Debug)]
pub struct EgressBudget {
    per_second: f64,
    queue: Mutex<Queue>,
}

/// One sender's place in the queue.
#[derive(Debug)]
pub(crate) struct Lane {
    budget: Option<Arc<EgressBudget>>,
    /// Where its last ticket ended.
    had: AtomicU64,
}

#[derive(Debug)]
struct Queue {
    /// Bytes that may go now; below zero after something large went.
    left: f64,
    filled: Instant,
    /// How far the queue has come: the place of the last ticket that went.
    come: u64,
    number: u64,
    waiting: BTreeMap<(u64, u64), Arc<Notify>>,
}

/// A place in the queue, given up when it is dropped.
struct Ticket<'a> {
    budget: &'a EgressBudget,
    place: (u64, u64),
    called: Arc<Notify>,
}

impl EgressBudget {
    /// A budget of so many bytes in a second, one at least. Must be called within a tokio runtime.
    pub fn new(per_second: u64) -> Arc<Self> {
        let per_second = per_second.max(1) as f64;
        Arc::new(Self {
            per_second,
            queue: Mutex::new(Queue {
                left: per_second * BURST.as_secs_f64(),
                filled: Instant::now(),
                come: 0,
                number: 0,
                waiting: BTreeMap::new(),
            }),
        })
    }

    /// Frames that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    fn ticket(&self, lane: &Lane, bytes: u64) -> Ticket<'_> {
        let mut queue = self.lock();
        let start = lane.had.load(Ordering::Relaxed).max(queue.come);
        lane.had.store(start + bytes, Ordering::Relaxed);
        queue.number += 1;
        let place = (start, queue.number);
        let called = Arc::new(Notify::new());
        queue.waiting.insert(place, called.clone());
        Ticket {
            budget: self,
            place,
            called,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // It is whole after every single operation on it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn fill(&mut self, per_second: f64, now: Instant) {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.left = (self.left + since * per_second).min((per_second * BURST.as_secs_f64()).max(1.0));
    }

    fn call_first(&self) {
        if let Some((_, first)) = self.waiting.first_key_value() {
            first.notify_one();
        }
    }
}

impl Ticket<'_> {
    /// Takes what it is for when it is its turn; otherwise how long that may take, if that is known.
    fn take(&self, bytes: u64, now: Instant) -> Result<(), Option<Duration>> {
        let mut queue = self.budget.lock();
        if queue
            .waiting
            .first_key_value()
            .is_some_and(|(place, _)| *place != self.place)
        {
            return Err(None);
        }
        queue.fill(self.budget.per_second, now);
        if queue.left <= 0.0 {
            let missing = Duration::from_secs_f64((1.0 - queue.left) / self.budget.per_second);
            return Err(Some(missing));
        }
        // What is large goes whole and is waited for afterwards.
        queue.left -= bytes as f64;
        queue.come = queue.come.max(self.place.0);
        Ok(())
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut queue = self.budget.lock();
        queue.waiting.remove(&self.place);
        queue.call_first();
    }
}

impl Lane {
    /// A sender that shares `budget`; without one it never waits.
    pub(crate) fn new(budget: Option<Arc<EgressBudget>>) -> Self {
        Self {
            budget,
            had: AtomicU64::new(0),
        }
    }

    /// Waits until so many bytes may go. Safe to cancel: others go on.
    pub(crate) async fn take(&self, bytes: usize) {
        let Some(budget) = &self.budget else { return };
        let bytes = bytes as u64;
        let ticket = budget.ticket(self, bytes);
        loop {
            match ticket.take(bytes, Instant::now()) {
                Ok(()) => return,
                Err(Some(wait)) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = ticket.called.notified() => {}
                    }
                }
                Err(None) => ticket.called.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    /// Who sends: frames of one size, one after another on each of some streams, from a moment on.
    struct Sender {
        lane: Lane,
        streams: usize,
        frames: usize,
        bytes: u64,
        from_ms: u64,
    }

    fn sender(budget: &Arc<EgressBudget>, streams: usize, frames: usize, kib: u64, from_ms: u64) -> Sender {
        Sender {
            lane: Lane::new(Some(budget.clone())),
            streams,
            frames,
            bytes: kib * KIB,
            from_ms,
        }
    }

    /// Plays them in virtual time, in steps of a millisecond; when each frame of each sender went.
    fn play(budget: &EgressBudget, senders: &[Sender]) -> Vec<Vec<u64>> {
        let begun = Instant::now();
        let mut went: Vec<Vec<u64>> = senders.iter().map(|_| Vec::new()).collect();
        let mut waiting: Vec<Vec<Ticket<'_>>> = senders.iter().map(|_| Vec::new()).collect();
        let mut asked: Vec<usize> = senders.iter().map(|_| 0).collect();
        for ms in 0..1_000_000 {
            let now = begun + Duration::from_millis(ms);
            loop {
                let mut moved = false;
                for (number, sender) in senders.iter().enumerate().filter(|(_, sender)| sender.from_ms <= ms) {
                    while waiting[number].len() < sender.streams && asked[number] < sender.frames {
                        waiting[number].push(budget.ticket(&sender.lane, sender.bytes));
                        asked[number] += 1;
                    }
                    let first = waiting[number]
                        .iter()
                        .position(|ticket| ticket.take(sender.bytes, now).is_ok());
                    if let Some(first) = first {
                        drop(waiting[number].remove(first));
                        went[number].push(ms);
                        moved = true;
                    }
                }
                if !moved {
                    break;
                }
            }
            if went
                .iter()
                .zip(senders)
                .all(|(went, sender)| went.len() == sender.frames)
            {
                return went;
            }
        }
        panic!(
            "not everything went: {:?}",
            went.iter().map(Vec::len).collect::<Vec<_>>()
        );
    }

    #[tokio::test]
    async fn the_budget_is_kept_and_used() {
        let budget = EgressBudget::new(100 * KIB);
        let went = play(&budget, &[sender(&budget, 1, 101, 10, 0)]);
        // 1,000 KiB before the last frame, of which a tenth of a second's may go at once.
        assert!((9_800..=10_000).contains(&went[0][100]), "{:?}", went[0].last());
    }

    #[tokio::test]
    async fn a_large_artifact_delays_nobodys_small_item() {
        let budget = EgressBudget::new(256 * KIB);
        // Eight fetches of one agent, 16 MiB: a minute's worth. Small items come in between.
        let mut senders = vec![sender(&budget, 8, 64, 256, 0)];
        senders.extend((1..=5).map(|number| sender(&budget, 1, 1, 2, 7_000 * number)));
        let went = play(&budget, &senders);
        for (went, sender) in went.iter().zip(&senders).skip(1) {
            let waited = went[0] - sender.from_ms;
            // The frame that went last is waited for, and nothing else.
            assert!(waited <= 1_010, "{waited} ms");
        }
        assert!((62_000..64_500).contains(&went[0][63]), "{:?}", went[0].last());
    }

    #[tokio::test]
    async fn agents_with_much_to_send_share_alike_whatever_their_frames_and_streams() {
        let budget = EgressBudget::new(100 * KIB);
        let senders = [
            sender(&budget, 8, 40, 100, 0),
            sender(&budget, 2, 40, 100, 0),
            sender(&budget, 1, 400, 10, 0),
        ];
        let went = play(&budget, &senders);
        for (went, sender) in went.iter().zip(&senders) {
            // In the first minute all three have something to send: 2,000 KiB each.
            let kib = went.iter().filter(|at| **at < 60_000).count() as u64 * sender.bytes / KIB;
            assert!((1_800..=2_200).contains(&kib), "{kib} KiB");
        }
    }

    #[tokio::test]
    async fn whoever_gives_up_leaves_no_gap() {
        let budget = EgressBudget::new(100 * KIB);
        let lanes = [0; 3].map(|_| Lane::new(Some(budget.clone())));
        lanes[0].take(200 * 1024).await;
        let given_up = {
            let mut waiting = std::pin::pin!(lanes[1].take(10));
            assert!(futures::poll!(&mut waiting).is_pending());
            budget.waiting()
        };
        assert_eq!((given_up, budget.waiting()), (1, 0));
        lanes[2].take(10).await;
        Lane::new(None).take(usize::MAX).await;
    }
}
