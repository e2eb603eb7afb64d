//! The sending end of one map in one session.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::ProtocolError;
use crate::digest::Digest;
use crate::map::{Content, Item, ItemMap};
use crate::pool::shared_text;
use crate::tree::{Key, Leaf, Snapshot, lies_below};
use crate::wire::{
    Ack, Checkpoint, FailCode, FailedItem, ItemDelete, ItemPut, SetKind, StateBody, TreeEntry, TreeReply, TreeRequest,
};

/// Most items that are sent and not acknowledged. Enough to fill a path of 100 ms with small items; a receiver that
/// applies slowly holds back the sender, not its own memory.
const WINDOW_ITEMS: usize = 64;
/// Most bytes of such items, unless one alone is larger.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Most tree requests that wait for their replies.
const WALK_WINDOW: usize = 8;
/// Most requests of one walk: at 512 items each this reaches two million. A peer that answers nonsense cannot keep a
/// walk going for ever.
const WALK_REQUESTS: usize = 4096;
/// Most items that the other end may hold and this one not know. A cluster has fewer items altogether.
const MAX_ORPHANS: usize = 4096;
/// Most heartbeats between two tries of an item that failed for a reason that may pass.
const LONGEST_REST: u32 = 16;
/// How often a walk starts again because the snapshot was gone.
const WALK_RESTARTS: usize = 8;

/// What the owner of the map must hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SenderEvent {
    /// The other end took this version of the item.
    Taken { key: Key, version: u64 },
    /// The other end did not take it, or cannot. It is sent again when it changes, or later when the reason may pass.
    Failed {
        key: Key,
        version: u64,
        code: FailCode,
        message: String,
    },
    /// The other end holds an item that this map does not know, of this owner.
    Orphan { key: Key, owner_uid: Arc<str> },
    /// Everything was sent and acknowledged.
    InSync,
}

#[derive(Debug)]
pub(crate) struct Sender {
    set: SetKind,
    /// Everything up to this version of the map was sent in this session, or found equal, or is in `resend`.
    cursor: u64,
    resend: BTreeSet<Key>,
    in_flight: BTreeMap<u64, InFlight>,
    in_flight_bytes: usize,
    failed: BTreeMap<Key, Failed>,
    walk: Option<Box<Walk>>,
    /// The pair of roots (theirs, ours) that a walk has dealt with: what stays different after a walk differs for a
    /// reason (failed items, orphans), and the same pair is not walked again.
    walked: Option<(u64, u64)>,
    max_item: usize,
    checkpoint: Option<Checkpoint>,
    told_in_sync: bool,
    started: bool,
}

/// An item that was not taken.
#[derive(Debug)]
struct Failed {
    version: u64,
    /// Heartbeats until it is tried again, none when it would fail again. Zero lets it through.
    wait: Option<u32>,
    /// Heartbeats before this try.
    rest: u32,
}

#[derive(Debug)]
struct InFlight {
    key: Key,
    bytes: usize,
}

#[derive(Debug)]
struct Walk {
    /// What this end had when the walk began; later changes are sent as changes.
    own: Snapshot,
    base: u64,
    root: Vec<u8>,
    todo: VecDeque<Vec<u8>>,
    waiting: BTreeSet<Vec<u8>>,
    requests: usize,
    restarts: usize,
    /// The snapshot is gone; begin again with this root when the outstanding replies are in.
    again: Option<Vec<u8>>,
    orphans: BTreeSet<Key>,
    pair: (u64, u64),
}

impl Sender {
    pub(crate) fn new(set: SetKind) -> Self {
        Self {
            set,
            cursor: 0,
            resend: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            in_flight_bytes: 0,
            failed: BTreeMap::new(),
            walk: None,
            walked: None,
            max_item: usize::MAX,
            checkpoint: None,
            told_in_sync: false,
            started: false,
        }
    }

    /// Begins the session: `theirs` is the root that the receiver announced, `max_item` the largest payload it takes,
    /// `checkpoint` the last that it has seen.
    pub(crate) fn start(&mut self, map: &mut ItemMap, theirs: &[u8], max_item: usize, checkpoint: Option<Checkpoint>) {
        self.started = true;
        self.checkpoint = checkpoint;
        self.max_item = max_item;
        self.cursor = map.version();
        let ours = map.root();
        if theirs == ours.as_bytes() {
            // They hold exactly what should be, so nothing that was to be deleted is left there.
            map.forget_deletions(self.cursor, |_| false);
        } else {
            let short = Digest::from_slice(theirs).map_or(0, |root| root.short());
            self.begin_walk(map, theirs.to_vec(), (short, ours.short()));
        }
    }

    /// The receiver's root by heartbeat. Starts a walk when all is sent and acknowledged and the roots still differ.
    pub(crate) fn compare(&mut self, map: &mut ItemMap, theirs: u64) {
        if !self.started {
            return;
        }
        self.try_again();
        if !self.is_idle(map) {
            return;
        }
        let pair = (theirs, map.root().short());
        if pair.0 != pair.1 && self.walked != Some(pair) {
            self.begin_walk(map, Vec::new(), pair);
        }
    }

    /// Whether everything is sent and acknowledged.
    pub(crate) fn is_idle(&self, map: &ItemMap) -> bool {
        self.walk.is_none() && self.resend.is_empty() && self.in_flight.is_empty() && map.after(self.cursor).is_none()
    }

    pub(crate) fn handle_reply(
        &mut self,
        map: &mut ItemMap,
        reply: TreeReply,
        events: &mut VecDeque<SenderEvent>,
    ) -> Result<(), ProtocolError> {
        let inconsistent = |why| ProtocolError::Inconsistent {
            message: "TreeReply",
            why,
        };
        let Some(walk) = &mut self.walk else {
            return Err(ProtocolError::Unexpected {
                message: "TreeReply",
                why: "nothing was asked",
            });
        };
        if !walk.waiting.remove(&reply.prefix) {
            return Err(inconsistent("it answers a prefix that was not asked"));
        }
        if reply.gone {
            walk.restarts += 1;
            if walk.restarts > WALK_RESTARTS {
                return Err(inconsistent("its snapshots do not last"));
            }
            walk.todo.clear();
            walk.again = Some(reply.snapshot_root.clone());
        }
        if walk.again.is_some() {
            // Whatever else was asked of the old snapshot is of no use any more.
            if walk.waiting.is_empty() {
                walk.root = walk.again.take().expect("checked above");
                walk.todo.push_back(Vec::new());
            }
            return Ok(());
        }
        if walk.root.is_empty() {
            walk.root = reply.snapshot_root;
        } else if walk.root != reply.snapshot_root {
            return Err(inconsistent("it answers from another snapshot"));
        }
        if reply.children.is_empty() {
            self.compare_entries(map, &reply.prefix, reply.entries, events)?;
        } else {
            self.compare_children(map, &reply.prefix, &reply.children)?;
        }
        self.finish_walk(map);
        Ok(())
    }

    pub(crate) fn handle_ack(
        &mut self,
        map: &mut ItemMap,
        ack: Ack,
        events: &mut VecDeque<SenderEvent>,
    ) -> Result<(), ProtocolError> {
        let sent = self.in_flight.remove(&ack.version);
        let InFlight { key, bytes } = sent.ok_or(ProtocolError::Inconsistent {
            message: "Ack",
            why: "it names a version that is not in flight",
        })?;
        self.in_flight_bytes -= bytes;
        match ack.failed.into_iter().next() {
            None => {
                map.acknowledged(&key, ack.version);
                self.failed.remove(&key);
                events.push_back(SenderEvent::Taken {
                    key,
                    version: ack.version,
                });
            }
            Some(FailedItem { code, message, .. }) => {
                let code = FailCode::try_from(code).unwrap_or(FailCode::Internal);
                self.fail(key, ack.version, code, message, events);
            }
        }
        Ok(())
    }

    /// The next frame to send, if the window is open.
    pub(crate) fn poll(&mut self, map: &ItemMap, events: &mut VecDeque<SenderEvent>) -> Option<StateBody> {
        if !self.started {
            return None;
        }
        if let Some(checkpoint) = map
            .checkpoint()
            .filter(|current| self.checkpoint.as_ref() != Some(*current))
        {
            self.checkpoint = Some(checkpoint.clone());
            return Some(StateBody::Checkpoint(checkpoint.clone()));
        }
        if let Some(request) = self.poll_walk() {
            return Some(StateBody::TreeRequest(request));
        }
        while self.in_flight.len() < WINDOW_ITEMS && self.in_flight_bytes < WINDOW_BYTES {
            let (key, item) = self.next_item(map)?;
            if self.rests(&key, item.version) || self.in_flight.contains_key(&item.version) {
                continue;
            }
            let bytes = item.size();
            if bytes > self.max_item {
                let message = format!("the payload has {bytes} bytes, the other end takes {}", self.max_item);
                self.fail(key, item.version, FailCode::TooLarge, message, events);
                continue;
            }
            self.told_in_sync = false;
            self.in_flight_bytes += bytes;
            self.in_flight.insert(
                item.version,
                InFlight {
                    key: key.clone(),
                    bytes,
                },
            );
            return Some(item.message(self.set, &key));
        }
        None
    }

    /// Says once that everything has arrived.
    pub(crate) fn poll_in_sync(&mut self, map: &ItemMap, events: &mut VecDeque<SenderEvent>) {
        if self.started && !self.told_in_sync && self.is_idle(map) {
            self.told_in_sync = true;
            events.push_back(SenderEvent::InSync);
        }
    }

    fn next_item<'a>(&mut self, map: &'a ItemMap) -> Option<(Key, &'a Item)> {
        while let Some(key) = self.resend.pop_first() {
            // What changed since the walk is sent as a change; what is gone needs nothing.
            if let Some(item) = map.get(&key).filter(|item| item.version <= self.cursor) {
                return Some((key, item));
            }
        }
        let (key, item) = map.after(self.cursor)?;
        self.cursor = item.version;
        Some((key.clone(), item))
    }

    /// Whether the item failed as it is now, and is not to be tried again yet.
    fn rests(&self, key: &Key, version: u64) -> bool {
        let failed = self.failed.get(key);
        failed.is_some_and(|failed| failed.version == version && failed.wait != Some(0))
    }

    /// Trouble of the other end passes and a conflict is lifted without anything changing here, so that only trying
    /// tells. Each time it takes twice as many heartbeats.
    fn try_again(&mut self) {
        for (key, failed) in &mut self.failed {
            match &mut failed.wait {
                None | Some(0) => {}
                Some(wait) => {
                    *wait -= 1;
                    if *wait == 0 {
                        self.resend.insert(key.clone());
                    }
                }
            }
        }
    }

    fn fail(&mut self, key: Key, version: u64, code: FailCode, message: String, events: &mut VecDeque<SenderEvent>) {
        let before = self.failed.get(&key).filter(|before| before.version == version);
        let rest = before.map_or(1, |before| (before.rest * 2).min(LONGEST_REST));
        let wait = may_pass(code).then_some(rest);
        self.failed.insert(key.clone(), Failed { version, wait, rest });
        events.push_back(SenderEvent::Failed {
            key,
            version,
            code,
            message,
        });
    }

    fn begin_walk(&mut self, map: &ItemMap, root: Vec<u8>, pair: (u64, u64)) {
        self.told_in_sync = false;
        self.walk = Some(Box::new(Walk {
            own: map.snapshot(),
            base: map.version(),
            root,
            todo: VecDeque::from([Vec::new()]),
            waiting: BTreeSet::new(),
            requests: 0,
            restarts: 0,
            again: None,
            orphans: BTreeSet::new(),
            pair,
        }));
    }

    fn poll_walk(&mut self) -> Option<TreeRequest> {
        let walk = self.walk.as_mut().filter(|walk| walk.waiting.len() < WALK_WINDOW)?;
        // Until the first reply names the snapshot there is only one request.
        let prefix = walk.todo.pop_front()?;
        walk.requests += 1;
        walk.waiting.insert(prefix.clone());
        Some(TreeRequest {
            set: self.set as i32,
            snapshot_root: walk.root.clone(),
            prefix,
        })
    }

    fn compare_children(&mut self, map: &ItemMap, prefix: &[u8], children: &[Vec<u8>]) -> Result<(), ProtocolError> {
        let walk = self.walk.as_mut().expect("called while walking");
        for (child, theirs) in (0u8..16).zip(children) {
            let below = [prefix, &[child]].concat();
            if walk.own.digest_below(&below).as_bytes() == theirs.as_slice() {
                continue;
            }
            if *theirs == Digest::default().as_bytes() {
                let missing = walk
                    .own
                    .below(&below)
                    .iter()
                    .filter(|leaf| unchanged(map, leaf, walk.base));
                self.resend.extend(missing.map(|leaf| leaf.key.clone()));
                continue;
            }
            if walk.requests + walk.todo.len() >= WALK_REQUESTS || below.len() > 64 {
                let why = "its tree has no end";
                return Err(ProtocolError::Inconsistent {
                    message: "TreeReply",
                    why,
                });
            }
            walk.todo.push_back(below);
        }
        Ok(())
    }

    fn compare_entries(
        &mut self,
        map: &mut ItemMap,
        prefix: &[u8],
        entries: Vec<TreeEntry>,
        events: &mut VecDeque<SenderEvent>,
    ) -> Result<(), ProtocolError> {
        let walk = self.walk.as_mut().expect("called while walking");
        if entries.iter().any(|entry| !lies_below(&entry.key, prefix)) {
            let why = "it names an item outside the prefix";
            return Err(ProtocolError::Inconsistent {
                message: "TreeReply",
                why,
            });
        }
        let theirs: HashMap<&str, &TreeEntry> = entries.iter().map(|entry| (entry.key.as_str(), entry)).collect();
        let own = walk.own.below(prefix);
        let differs = |leaf: &&Leaf| {
            theirs
                .get(&*leaf.key)
                .is_none_or(|entry| entry.digest.as_slice() != leaf.digest.as_bytes())
        };
        let differing = own
            .iter()
            .filter(differs)
            .filter(|leaf| unchanged(map, leaf, walk.base));
        self.resend.extend(differing.map(|leaf| leaf.key.clone()));
        for entry in theirs.values() {
            let known = map
                .get(&entry.key)
                .map(|item| (item.version, &item.content, item.owner.uid.as_str()));
            match known {
                // Compared above, or sent as a change.
                Some((_, Content::Present { .. }, _)) => {}
                Some((version, _, _)) if version > walk.base => {}
                // A deletion speaks of one owner's item; what another owner left under the same key is not it.
                Some((_, Content::Deleted { .. }, uid)) if uid == entry.owner_uid => {
                    self.resend.insert(entry.key.as_str().into());
                }
                Some(_) | None => {
                    let key = shared_text(&entry.key);
                    if walk.orphans.len() >= MAX_ORPHANS && !walk.orphans.contains(&key) {
                        let why = "it names more unknown items than anybody can hold";
                        return Err(ProtocolError::Inconsistent {
                            message: "TreeReply",
                            why,
                        });
                    }
                    if walk.orphans.insert(key.clone()) {
                        events.push_back(SenderEvent::Orphan {
                            key,
                            owner_uid: entry.owner_uid.as_str().into(),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn finish_walk(&mut self, map: &mut ItemMap) {
        let done = |walk: &&mut Box<Walk>| walk.todo.is_empty() && walk.waiting.is_empty();
        let Some(walk) = self.walk.as_mut().filter(done) else {
            return;
        };
        let base = walk.base;
        self.walked = Some(walk.pair);
        self.walk = None;
        // A deletion that was neither found wanting nor refused has been done.
        map.forget_deletions(base, |key| self.resend.contains(key) || self.failed.contains_key(key));
    }
}

/// Whether the same item may be taken later.
fn may_pass(code: FailCode) -> bool {
    match code {
        FailCode::Internal | FailCode::Conflict | FailCode::Denied => true,
        FailCode::OwnerMismatch
        | FailCode::TooLarge
        | FailCode::Malformed
        | FailCode::BadDigest
        | FailCode::Unsupported => false,
    }
}

/// Whether the item is still as it was when the walk began; otherwise its change is sent as such.
fn unchanged(map: &ItemMap, leaf: &Leaf, base: u64) -> bool {
    map.get(&leaf.key).is_some_and(|item| item.version <= base)
}

impl Item {
    fn size(&self) -> usize {
        match &self.content {
            Content::Present { payload, .. } => payload.len(),
            Content::Deleted { .. } => 0,
        }
    }

    fn message(&self, set: SetKind, key: &Key) -> StateBody {
        let (set, key, version) = (set as i32, key.to_string(), self.version);
        let owner = Some((*self.owner).clone());
        match &self.content {
            Content::Present { payload, salt } => StateBody::ItemPut(ItemPut {
                set,
                key,
                version,
                owner,
                digest: self.digest.to_vec(),
                payload: payload.bytes(),
                chunks: Vec::new(),
                sensitive: salt.is_some(),
                salt: salt.as_ref().map(|salt| salt.to_vec()).unwrap_or_default(),
            }),
            Content::Deleted {
                cause,
                policy,
                change_id,
            } => StateBody::ItemDelete(ItemDelete {
                set,
                key,
                version,
                owner,
                cause: *cause as i32,
                policy: *policy as i32,
                change_id: change_id.to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
