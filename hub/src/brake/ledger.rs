//! What one change deleted over the fleet so far, and what waits: pure.
//!
//! Under a budget the plans of a change are gathered for some seconds and then judged by their sum. From then on whoever
//! comes is judged by the sum of all that was granted and all that waits: a change is let go as a whole, or not at all.
//! What was granted is counted in memory; the sums stand in the status of the fleet object, from which a hub that starts
//! goes on. A change is over when nobody asked on its behalf for a day.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    sync::Mutex,
};

use jiff::{SignedDuration, Timestamp};
use nave_crds::{
    fleet::{ChangeDeletions, PlanStatus},
    meta::Time,
};
use nave_placement::ClusterKey;
use nave_proto::wire::{PrunePermit, PrunePlan};

use crate::locked;

/// Changes of one fleet object that are remembered: the present one, and those that lag behind on some clusters.
const CHANGES: usize = 16;
/// How long after the last plan a change is over.
const OVER: SignedDuration = SignedDuration::from_hours(24);
/// How long the plans of a change are gathered before the first is answered. Agents apply a change at about the same time,
/// and wait twice as long for an answer.
pub const GATHER: SignedDuration = SignedDuration::from_secs(5);
/// A product on the hub asks again every half minute while it is held; one that does not has nothing to ask for.
const PRODUCT_ASKS: SignedDuration = SignedDuration::from_mins(15);

/// An agent shows its plans in each session, and has one each day at least: its certificate lasts no longer.
const AGENT_ASKS: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Fleet objects of which one holder may have plans; no cluster has as many that prune.
const OWNERS_EACH: usize = 4096;

/// What an agent is told whose cluster was restored from a backup.
const RESTORED: &str = "the cluster was restored from a backup, so that what it deletes waits for approval: name the digest in \
the fleet object's status.plan, or confirm the cluster as its condition Restored says";

/// Who wants to delete.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// The agent of a cluster.
    Agent(ClusterKey),
    /// A Kustomization or HelmRelease of the hub, as `<kind>/<namespace>/<name>`.
    Product(String),
}

/// What applies to a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A budget.
    Limited(Budget),
    /// Nothing: it may go.
    Free,
    /// Nothing may go now, for this reason.
    Wait(String),
}

/// What a fleet object says about deleting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budget {
    /// Objects over all clusters; none for any number.
    pub objects: Option<u64>,
    /// Clusters that lose something; none for any number.
    pub clusters: Option<u64>,
    /// Digest of the plans that a person approved; empty for none.
    pub approved: String,
}

impl Budget {
    /// Whether it limits anything.
    fn limits(&self) -> bool {
        self.objects.is_some() || self.clusters.is_some()
    }
}

/// The plans of all fleet objects.
pub struct Ledger {
    /// By key of the item: the changes, the latest last.
    owners: Mutex<HashMap<String, VecDeque<Change>>>,
    /// Whose plans go by approval alone. Taken inside the lock of the owners.
    careful: Mutex<HashSet<Holder>>,
    owners_each: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            owners: Mutex::default(),
            careful: Mutex::default(),
            owners_each: OWNERS_EACH,
        }
    }
}

type Permits = Vec<(Holder, PrunePermit)>;

#[derive(Debug)]
struct Change {
    id: String,
    created: Timestamp,
    last: Timestamp,
    granted_objects: u64,
    /// When something was granted last.
    granted_at: Timestamp,
    /// Clusters that an earlier process of the hub permitted something.
    earlier: u64,
    /// Until when plans are gathered, while they are.
    gathers: Option<Timestamp>,
    /// Who was permitted something, and what last.
    granted: BTreeMap<Holder, Vec<u8>>,
    held: BTreeMap<Holder, Held>,
}

#[derive(Debug, Clone)]
struct Held {
    digest: Vec<u8>,
    deletes: u64,
    cascades: u64,
    asked: Timestamp,
}

impl Ledger {
    /// Whether the change is known.
    pub fn knows(&self, key: &str, change: &str) -> bool {
        let owners = locked::mutex(&self.owners);
        owners.get(key).into_iter().flatten().any(|known| known.id == change)
    }

    /// Goes on counting where an earlier process of the hub stopped.
    pub fn go_on(&self, key: &str, spent: &ChangeDeletions, now: Timestamp) {
        let last = spent.last.as_ref().map_or(now, |last| last.0);
        if now.duration_since(last) >= OVER || self.knows(key, &spent.change) {
            return;
        }
        let mut owners = locked::mutex(&self.owners);
        let changes = owners.entry(key.to_owned()).or_default();
        changes.push_back(Change {
            last,
            granted_at: last,
            granted_objects: spent.objects.unsigned_abs(),
            earlier: spent.clusters.unsigned_abs(),
            ..Change::new(&spent.change, now)
        });
    }

    /// What was granted without approval, by change.
    pub fn spent(&self, key: &str) -> Vec<ChangeDeletions> {
        let owners = locked::mutex(&self.owners);
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let spent = owners
            .get(key)
            .into_iter()
            .flatten()
            .filter(|change| change.clusters() > 0);
        spent
            .map(|change| ChangeDeletions {
                change: change.id.clone(),
                objects: number(change.granted_objects),
                clusters: number(change.clusters()),
                last: Some(Time(change.granted_at)),
            })
            .collect()
    }

    /// When the next plans have been gathered.
    pub fn gathered_at(&self) -> Option<Timestamp> {
        let owners = locked::mutex(&self.owners);
        owners.values().flatten().filter_map(Change::gathers_until).min()
    }

    /// Fleet objects whose plans have been gathered.
    pub fn gathered(&self, now: Timestamp) -> Vec<String> {
        let owners = locked::mutex(&self.owners);
        let is_over = |change: &Change| change.gathers_until().is_some_and(|until| until <= now);
        let over = owners.iter().filter(|(_, changes)| changes.iter().any(is_over));
        over.map(|(key, _)| key.clone()).collect()
    }

    /// A plan came. Answers the permits that are to be sent: those of others that it released, and one to who asks, unless
    /// plans are gathered still.
    pub fn ask(&self, holder: &Holder, plan: &PrunePlan, verdict: &Verdict, now: Timestamp) -> Permits {
        let mut owners = locked::mutex(&self.owners);
        let of_holder = |changes: &&VecDeque<Change>| changes.iter().any(|change| change.concerns(holder));
        if !owners.contains_key(&plan.key) && owners.values().filter(of_holder).count() >= self.owners_each {
            let reason = format!(
                "plans of {} other fleet objects are known of it already",
                self.owners_each
            );
            return vec![(holder.clone(), permit(plan, false, reason))];
        }
        let changes = owners.entry(plan.key.clone()).or_default();
        // There is one plan for an item and cluster: whatever was held for another change is not wanted any more.
        for change in changes.iter_mut() {
            change.held.remove(holder);
        }
        changes.retain(|change| change.id == plan.change_id || !change.is_idle());
        let is_new = changes
            .iter()
            .all(|change| change.id != plan.change_id || change.is_unheard());
        let Some(change) = place(changes, holder, &plan.change_id, now) else {
            let reason = format!("plans of {CHANGES} other changes of this fleet object wait already");
            return vec![(holder.clone(), permit(plan, false, reason))];
        };
        change.last = now;
        if change.granted.get(holder) == Some(&plan.digest) && !matches!(verdict, Verdict::Wait(_)) {
            // The permit was lost with its session; it counts once.
            return vec![(holder.clone(), permit(plan, true, String::new()))];
        }
        let held = Held {
            digest: plan.digest.clone(),
            deletes: plan.deletes.max((plan.cascades.len() + plan.sample.len()) as u64),
            cascades: plan.cascades.len() as u64,
            asked: now,
        };
        change.held.insert(holder.clone(), held);
        if is_new && matches!(verdict, Verdict::Limited(budget) if budget.limits()) {
            change.gathers = Some(now.saturating_add(GATHER).unwrap_or(now));
        }
        let careful = locked::mutex(&self.careful);
        let mut permits = change.judge(verdict, &careful, now);
        let is_answered = permits.iter().any(|(of, _)| of == holder);
        if !is_answered && change.gathers.is_none() {
            let reason = change.why(holder, verdict, &careful);
            permits.push((holder.clone(), permit(plan, false, reason)));
        }
        permits
    }

    /// What may go now, and what may not after plans were gathered; `verdict` tells what applies to a change.
    pub fn reconsider(&self, key: &str, verdict: impl Fn(&str) -> Verdict, now: Timestamp) -> Permits {
        let mut owners = locked::mutex(&self.owners);
        let changes = owners.get_mut(key).into_iter().flatten();
        let mut permits = Vec::new();
        for change in changes {
            let (verdict, careful) = (verdict(&change.id), locked::mutex(&self.careful));
            let gathered = change.gathers.is_some();
            let granted = change.judge(&verdict, &careful, now);
            if !granted.is_empty() {
                change.last = now;
                permits.extend(granted);
            }
            if gathered && change.gathers.is_none() {
                // They have heard nothing yet.
                permits.extend(change.refusals(&verdict, &careful));
            }
        }
        permits
    }

    /// Nothing waits there any more: it deleted nothing, or what it was to delete is wanted again. True when something did.
    pub fn settled(&self, holder: &Holder, key: &str) -> bool {
        let mut owners = locked::mutex(&self.owners);
        let changes = owners.get_mut(key).into_iter().flatten();
        changes.filter_map(|change| change.held.remove(holder)).count() > 0
    }

    /// Whether something waits there.
    pub fn holds(&self, holder: &Holder, key: &str) -> bool {
        let owners = locked::mutex(&self.owners);
        let mut changes = owners.get(key).into_iter().flatten();
        changes.any(|change| change.held.contains_key(holder))
    }

    /// Whether plans of that holder go by approval alone, from now on.
    pub fn be_careful(&self, holder: &Holder, careful: bool) {
        let mut all = locked::mutex(&self.careful);
        match careful {
            true => all.insert(holder.clone()),
            false => all.remove(holder),
        };
    }

    /// The holder came back from a backup: what it was permitted before is not what it asks for now.
    pub fn restored(&self, holder: &Holder) {
        for change in locked::mutex(&self.owners).values_mut().flatten() {
            if let Some(digest) = change.granted.get_mut(holder) {
                digest.clear();
            }
        }
    }

    /// Who waits there.
    pub fn holders_held(&self, key: &str) -> Vec<Holder> {
        let owners = locked::mutex(&self.owners);
        let held = owners
            .get(key)
            .into_iter()
            .flatten()
            .flat_map(|change| change.held.keys());
        held.cloned().collect()
    }

    /// Whoever it was is gone. Answers the keys where it held something.
    pub fn forget(&self, holder: &Holder) -> Vec<String> {
        let mut owners = locked::mutex(&self.owners);
        locked::mutex(&self.careful).remove(holder);
        let mut keys = Vec::new();
        for (key, changes) in owners.iter_mut() {
            if changes
                .iter_mut()
                .filter_map(|change| change.held.remove(holder))
                .count()
                > 0
            {
                keys.push(key.clone());
            }
        }
        keys
    }

    /// Forgets changes that are over, and plans that are not asked for any more. Answers whose were held.
    pub fn sweep(&self, now: Timestamp) -> Vec<String> {
        let mut owners = locked::mutex(&self.owners);
        let mut keys = Vec::new();
        owners.retain(|key, changes| {
            for change in changes.iter_mut() {
                let before = change.held.len();
                change.held.retain(|holder, held| {
                    let asks = match holder {
                        Holder::Agent(_) => AGENT_ASKS,
                        Holder::Product(_) => PRODUCT_ASKS,
                    };
                    now.duration_since(held.asked) < asks
                });
                if change.held.len() < before {
                    keys.push(key.clone());
                }
            }
            changes.retain(|change| {
                !change.is_idle() && (!change.held.is_empty() || now.duration_since(change.last) < OVER)
            });
            !changes.is_empty()
        });
        keys
    }

    /// What is held of a fleet object: of its latest change that holds anything.
    pub fn held(&self, key: &str) -> Option<PlanStatus> {
        let owners = locked::mutex(&self.owners);
        let waits = |change: &&Change| !change.held.is_empty() && change.gathers.is_none();
        let change = owners.get(key)?.iter().rev().find(waits)?;
        let sum = |part: fn(&Held) -> u64| {
            let sum = change.held.values().map(part).fold(0, u64::saturating_add);
            i64::try_from(sum).unwrap_or(i64::MAX)
        };
        Some(PlanStatus {
            digest: change.digest(),
            deletes: sum(|held| held.deletes),
            cascades: sum(|held| held.cascades),
            clusters: change.held.len() as i64,
            created: Some(Time(change.created)),
        })
    }

    /// Fleet objects of which something is held.
    pub fn keys_held(&self) -> Vec<String> {
        let owners = locked::mutex(&self.owners);
        let held = owners
            .iter()
            .filter(|(_, changes)| changes.iter().any(|change| !change.held.is_empty()));
        held.map(|(key, _)| key.clone()).collect()
    }

    /// How many plans are held.
    pub fn plans_held(&self) -> usize {
        let owners = locked::mutex(&self.owners);
        let waiting = owners.values().flatten().filter(|change| change.gathers.is_none());
        waiting.map(|change| change.held.len()).sum()
    }
}

/// The change of that name. When there are too many, one that matters to nobody else makes room, so that an agent which
/// makes up changes loses only its own.
fn place<'a>(changes: &'a mut VecDeque<Change>, holder: &Holder, id: &str, now: Timestamp) -> Option<&'a mut Change> {
    if let Some(at) = changes.iter().position(|change| change.id == id) {
        return changes.get_mut(at);
    }
    if changes.len() >= CHANGES {
        let only_ours = |change: &Change| {
            change.held.is_empty() && change.earlier == 0 && change.granted.keys().all(|of| of == holder)
        };
        let at = changes.iter().position(only_ours);
        let at = at.or_else(|| changes.iter().position(|change| change.held.is_empty()))?;
        changes.remove(at);
    }
    changes.push_back(Change::new(id, now));
    changes.back_mut()
}

impl Change {
    fn new(id: &str, now: Timestamp) -> Self {
        Change {
            id: id.to_owned(),
            created: now,
            last: now,
            granted_objects: 0,
            granted_at: now,
            earlier: 0,
            gathers: None,
            granted: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// Whether that holder was granted something or waits.
    fn concerns(&self, holder: &Holder) -> bool {
        self.granted.contains_key(holder) || self.held.contains_key(holder)
    }

    /// This process of the hub granted nothing of it, and nothing waits.
    fn is_unheard(&self) -> bool {
        self.granted.is_empty() && self.held.is_empty()
    }

    /// Nothing was granted and nothing waits.
    fn is_idle(&self) -> bool {
        self.is_unheard() && self.earlier == 0
    }

    /// Until when plans are gathered; none when nobody waits any more.
    fn gathers_until(&self) -> Option<Timestamp> {
        self.gathers.filter(|_| !self.held.is_empty())
    }

    /// Clusters that were permitted something.
    fn clusters(&self) -> u64 {
        self.granted.len() as u64 + self.earlier
    }

    /// Grants what may go, in the order of the clusters' names.
    fn judge(&mut self, verdict: &Verdict, careful: &HashSet<Holder>, now: Timestamp) -> Permits {
        let is_approved = matches!(verdict, Verdict::Limited(budget)
            if !self.held.is_empty() && budget.approved == self.digest());
        let gathers = self.gathers.is_some_and(|until| now < until);
        if gathers && !is_approved && matches!(verdict, Verdict::Limited(budget) if budget.limits()) {
            return Permits::new();
        }
        self.gathers = None;
        let fits = self.fits(verdict, careful);
        let mut permits = Vec::new();
        for (holder, held) in std::mem::take(&mut self.held) {
            let alone = match verdict {
                Verdict::Free => true,
                Verdict::Limited(_) => held.cascades == 0 && !careful.contains(&holder),
                Verdict::Wait(_) => false,
            };
            let goes = is_approved || (fits && alone);
            if !goes {
                self.held.insert(holder, held);
                continue;
            }
            // What a person approved is not part of what may go without one.
            if !is_approved {
                self.granted_objects = self.granted_objects.saturating_add(held.deletes);
            }
            self.granted_at = now;
            let permit = PrunePermit {
                change_id: self.id.clone(),
                plan_digest: held.digest.clone(),
                granted: true,
                reason: String::new(),
            };
            permits.push((holder.clone(), permit));
            self.granted.insert(holder, held.digest);
        }
        permits
    }

    /// Whether the change as a whole is within its budget: what was granted, and what waits. Clusters that came back from a
    /// backup are not in it, since what they ask for is not of this change alone, and goes by approval.
    fn fits(&self, verdict: &Verdict, careful: &HashSet<Holder>) -> bool {
        let budget = match verdict {
            Verdict::Free => return true,
            Verdict::Wait(_) => return false,
            Verdict::Limited(budget) => budget,
        };
        let (objects, clusters) = self.sum(careful);
        budget.objects.is_none_or(|most| objects <= most) && budget.clusters.is_none_or(|most| clusters <= most)
    }

    /// Objects and clusters, of what was granted and what waits.
    fn sum(&self, careful: &HashSet<Holder>) -> (u64, u64) {
        let waiting = self.held.iter().filter(|(holder, _)| !careful.contains(*holder));
        let (mut objects, mut clusters) = (self.granted_objects, self.clusters());
        for (holder, held) in waiting {
            objects = objects.saturating_add(held.deletes);
            clusters += u64::from(!self.granted.contains_key(holder));
        }
        (objects, clusters)
    }

    /// The word to everybody who waits.
    fn refusals(&self, verdict: &Verdict, careful: &HashSet<Holder>) -> Permits {
        let refuse = |(holder, held): (&Holder, &Held)| {
            let permit = PrunePermit {
                change_id: self.id.clone(),
                plan_digest: held.digest.clone(),
                granted: false,
                reason: self.why(holder, verdict, careful),
            };
            (holder.clone(), permit)
        };
        self.held.iter().map(refuse).collect()
    }

    /// Why a plan waits.
    fn why(&self, holder: &Holder, verdict: &Verdict, careful: &HashSet<Holder>) -> String {
        let budget = match verdict {
            Verdict::Free => return String::new(),
            Verdict::Wait(reason) => return reason.clone(),
            Verdict::Limited(_) if careful.contains(holder) => return RESTORED.to_owned(),
            Verdict::Limited(budget) => budget,
        };
        let (objects, clusters) = self.sum(careful);
        let number = |most: Option<u64>, what: &str| match most {
            None => format!("any number of {what}"),
            Some(most) => format!("{most} {what}"),
        };
        format!(
            "without approval one change may delete {} on {}, and nothing that takes other objects along; \
             this one asks for {objects} on {clusters} in all, of which {} on {} were permitted. An approval names the \
             digest in the fleet object's status.plan",
            number(budget.objects, "objects"),
            number(budget.clusters, "clusters"),
            self.granted_objects,
            self.clusters(),
        )
    }

    /// Of exactly the plans that are held.
    fn digest(&self) -> String {
        let mut text = format!("nave held plans v1\n{}\n", self.id).into_bytes();
        for (holder, held) in &self.held {
            for part in [holder.to_string().as_bytes(), &held.digest] {
                text.extend_from_slice(&(part.len() as u64).to_be_bytes());
                text.extend_from_slice(part);
            }
        }
        nave_artifact::Digest::sha256(&text).to_string()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Agent(cluster) => write!(f, "cluster {cluster}"),
            Holder::Product(name) => f.write_str(name),
        }
    }
}

fn permit(plan: &PrunePlan, granted: bool, reason: String) -> PrunePermit {
    PrunePermit {
        change_id: plan.change_id.clone(),
        plan_digest: plan.digest.clone(),
        granted,
        reason,
    }
}

#[cfg(test)]
mod tests;
