//! Joins with one token stand in a line, and whoever is at its head takes all of them along: one read of the token and
//! one write for many uses.
//!
//! ```text
//! join ─► line of the token ─► turn ─► everybody in line: decide in order ─► one compare-and-swap ─► each its answer
//! ```
//!
//! What is written is what was counted, before anybody is answered: however the hub ends, no more keys are admitted than
//! the token has uses.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::{Mutex as Turn, oneshot};

use crate::locked;

/// So many are taken along at once: their clusters are read before the write, and nobody should wait long for that.
const TOGETHER: usize = 128;

/// The lines of all tokens that somebody joins with at the moment.
pub struct Lines<T, A>(Mutex<HashMap<String, Arc<Line<T, A>>>>);

/// One line: who waits, and whose turn it is.
struct Line<T, A> {
    waiting: Mutex<Vec<Ticket<T, A>>>,
    turn: Turn<()>,
}

/// One who waits.
pub struct Ticket<T, A> {
    /// What is asked.
    pub asked: T,
    answer: oneshot::Sender<A>,
}

impl<T, A> Ticket<T, A> {
    /// Answers. Whoever asked may be gone, which is its own affair.
    pub fn answer(self, answer: A) {
        let _ = self.answer.send(answer);
    }
}

impl<T, A> Default for Lines<T, A> {
    fn default() -> Self {
        Lines(Mutex::default())
    }
}

impl<T, A> Lines<T, A> {
    /// Waits for the answer to `asked`. `serve` is called by whoever is at the head of the line, with everybody in it; a
    /// ticket that it drops without an answer, or that is lost with its caller, is asked anew. None when that happened
    /// too often.
    pub async fn ask<F>(&self, id: &str, asked: T, tries: usize, serve: impl Fn(Vec<Ticket<T, A>>) -> F) -> Option<A>
    where
        T: Clone,
        F: Future<Output = ()>,
    {
        let place = self.place(id);
        let line = place.line.as_ref().expect("it is given up when it is dropped");
        for _ in 0..tries {
            let (answer, mut answered) = oneshot::channel();
            let ticket = Ticket {
                asked: asked.clone(),
                answer,
            };
            locked::mutex(&line.waiting).push(ticket);
            let _turn = tokio::select! {
                biased;
                answer = &mut answered => match answer {
                    Ok(answer) => return Some(answer),
                    Err(_) => continue,
                },
                turn = line.turn.lock() => turn,
            };
            // Several turns when the line is long: this one's ticket is in one of them.
            loop {
                let together = line.take();
                if together.is_empty() {
                    break;
                }
                serve(together).await;
                match answered.try_recv() {
                    Ok(answer) => return Some(answer),
                    Err(oneshot::error::TryRecvError::Closed) => break,
                    Err(oneshot::error::TryRecvError::Empty) => {}
                }
            }
            // Between the last turn and this one, somebody else answered.
            if let Ok(answer) = answered.try_recv() {
                return Some(answer);
            }
        }
        None
    }

    fn place<'a>(&'a self, id: &'a str) -> Place<'a, T, A> {
        let mut lines = locked::mutex(&self.0);
        let line = lines.entry(id.to_owned()).or_insert_with(|| {
            Arc::new(Line {
                waiting: Mutex::default(),
                turn: Turn::new(()),
            })
        });
        Place {
            lines: self,
            id,
            line: Some(line.clone()),
        }
    }
}

impl<T, A> Line<T, A> {
    fn take(&self) -> Vec<Ticket<T, A>> {
        let mut waiting = locked::mutex(&self.waiting);
        waiting.retain(|ticket| !ticket.answer.is_closed());
        let count = waiting.len().min(TOGETHER);
        waiting.drain(..count).collect()
    }
}

/// A place in a line; the last that is given up takes the line away, since strangers may name tokens as they like.
struct Place<'a, T, A> {
    lines: &'a Lines<T, A>,
    id: &'a str,
    line: Option<Arc<Line<T, A>>>,
}

impl<T, A> Drop for Place<'_, T, A> {
    fn drop(&mut self) {
        let mut lines = locked::mutex(&self.lines.0);
        self.line = None;
        if lines.get(self.id).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn many_are_served_together_and_each_gets_its_own_answer() {
        let lines: Lines<usize, usize> = Lines::default();
        let turns = AtomicUsize::new(0);
        let serve = |together: Vec<Ticket<usize, usize>>| {
            turns.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::task::yield_now().await;
                for ticket in together {
                    let asked = ticket.asked;
                    ticket.answer(asked * 2);
                }
            }
        };
        let asked = (0..500).map(|number| lines.ask("t", number, 8, &serve));
        let answers = join_all(asked).await;
        assert_eq!(answers, (0..500).map(|number| Some(number * 2)).collect::<Vec<_>>());
        let turns = turns.load(Ordering::Relaxed);
        assert!((4..=6).contains(&turns), "500 in {turns} turns of at most {TOGETHER}");
        assert!(locked::mutex(&lines.0).is_empty(), "no line is left behind");
    }

    #[tokio::test]
    async fn those_whose_head_of_the_line_went_away_ask_again() {
        let lines: Lines<usize, usize> = Lines::default();
        let turns = AtomicUsize::new(0);
        let serve = |together: Vec<Ticket<usize, usize>>| {
            let turn = turns.fetch_add(1, Ordering::Relaxed);
            async move {
                if turn == 0 {
                    assert_eq!(together.len(), 2);
                    std::future::pending::<()>().await;
                }
                for ticket in together {
                    let asked = ticket.asked;
                    ticket.answer(asked + 1);
                }
            }
        };
        let place = lines.place("t");
        let held = place.line.as_ref().unwrap().turn.lock().await;
        let mut head = Box::pin(lines.ask("t", 1, 8, &serve));
        let mut second = Box::pin(lines.ask("t", 2, 8, &serve));
        assert!(futures::poll!(head.as_mut()).is_pending());
        assert!(futures::poll!(second.as_mut()).is_pending());
        drop(held);
        assert!(futures::poll!(head.as_mut()).is_pending(), "it is served, for ever");
        drop(head);
        assert_eq!(second.await, Some(3));
        drop(place);
        assert!(locked::mutex(&lines.0).is_empty());
    }

    #[tokio::test]
    async fn who_is_never_answered_is_told_so() {
        let lines: Lines<usize, usize> = Lines::default();
        let drops = |together: Vec<Ticket<usize, usize>>| async move { drop(together) };
        assert_eq!(lines.ask("t", 1, 3, drops).await, None);
        assert!(locked::mutex(&lines.0).is_empty());
    }
}
