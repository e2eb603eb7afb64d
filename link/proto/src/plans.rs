//! Prune plans that wait for the hub's word, kept by the agent across sessions.
//!
//! A plan is sent in every session until it is permitted, so a lost message loses no plan; a permit is handed out once,
//! so a repeated one deletes nothing twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::wire::{MAX_PLAN_LINES, PrunePermit, PrunePlan};

/// Plans that are held.
#[derive(Debug, Default)]
pub struct Plans {
    held: BTreeMap<Digest, PrunePlan>,
}

/// Which plans a session has sent.
#[derive(Debug, Default)]
pub(crate) struct SentPlans(BTreeSet<Digest>);

impl Plans {
    /// No plan.
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds a plan until it is permitted or withdrawn. Lists longer than the message takes are cut; the digest and
    /// `deletes` still speak of the whole. A plan whose digest is not 32 bytes is not one and is ignored with `false`.
    pub fn hold(&mut self, mut plan: PrunePlan) -> bool {
        let Some(digest) = Digest::from_slice(&plan.digest) else {
            return false;
        };
        plan.cascades.truncate(MAX_PLAN_LINES);
        plan.sample.truncate(MAX_PLAN_LINES);
        self.held.insert(digest, plan);
        true
    }

    /// The plan is not needed any more: it changed, or there is nothing left to delete.
    pub fn withdraw(&mut self, digest: &Digest) -> bool {
        self.held.remove(digest).is_some()
    }

    /// Plans that are held.
    pub fn iter(&self) -> impl Iterator<Item = &PrunePlan> {
        self.held.values()
    }

    /// The plan that a permit speaks of, for the first permit that grants it. A refusal leaves it held.
    pub(crate) fn answer(&mut self, permit: &PrunePermit) -> Option<PrunePlan> {
        let digest = Digest::from_slice(&permit.plan_digest)?;
        let matches = self
            .held
            .get(&digest)
            .is_some_and(|plan| plan.change_id == permit.change_id);
        match (matches, permit.granted) {
            (false, _) => None,
            (true, true) => self.held.remove(&digest),
            (true, false) => self.held.get(&digest).cloned(),
        }
    }
}

impl SentPlans {
    pub(crate) fn next<'a>(&mut self, plans: &'a Plans) -> Option<&'a PrunePlan> {
        if self.0.len() > plans.held.len() {
            self.0.retain(|digest| plans.held.contains_key(digest));
        }
        let (digest, plan) = plans.held.iter().find(|(digest, _)| !self.0.contains(*digest))?;
        self.0.insert(*digest);
        Some(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(number: u8) -> PrunePlan {
        PrunePlan {
            change_id: "c".into(),
            key: "k".into(),
            digest: vec![number; 32],
            ..PrunePlan::default()
        }
    }

    fn permit(number: u8, granted: bool) -> PrunePermit {
        PrunePermit {
            change_id: "c".into(),
            plan_digest: vec![number; 32],
            granted,
            reason: String::new(),
        }
    }

    #[test]
    fn a_permit_counts_once_and_only_for_its_plan() {
        let mut plans = Plans::new();
        assert!(plans.hold(plan(1)));
        assert!(!plans.hold(PrunePlan::default()));
        assert_eq!(plans.answer(&permit(2, true)), None);
        assert_eq!(
            plans.answer(&PrunePermit {
                change_id: "other".into(),
                ..permit(1, true)
            }),
            None
        );
        assert_eq!(plans.answer(&permit(1, false)), Some(plan(1)));
        assert_eq!(plans.answer(&permit(1, true)), Some(plan(1)));
        assert_eq!(plans.answer(&permit(1, true)), None);
    }

    #[test]
    fn every_session_sends_every_plan_once() {
        let mut plans = Plans::new();
        plans.hold(plan(1));
        plans.hold(plan(2));
        for _session in 0..2 {
            let mut sent = SentPlans::default();
            assert_eq!(sent.next(&plans), Some(&plan(1)));
            assert_eq!(sent.next(&plans), Some(&plan(2)));
            assert_eq!(sent.next(&plans), None);
        }
        assert!(plans.withdraw(&Digest::from_bytes([1; 32])));
        assert_eq!(SentPlans::default().next(&plans), Some(&plan(2)));
    }
}
