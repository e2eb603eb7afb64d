//! What the templates of one render share.

use std::collections::HashMap;
use std::rc::{Rc, Weak};

use crate::limits::{Limits, Meter};
use crate::template::Layer;
use crate::value::Map;

/// The account of one render: its limits, the texts it has parsed, the maps it has changed.
///
/// All templates of a chart are executed in one session. When it ends, maps that templates changed through
/// [`crate::Caller::set`] so that they could hold themselves are emptied: data must not be used after its session.
pub struct Session {
    pub(crate) meter: Meter,
    /// Parsed texts of `tpl`, by the functions' and the text's identity.
    pub(crate) texts: HashMap<(String, Rc<[u8]>), Rc<Layer>>,
    watched: Vec<Weak<Map>>,
}

impl Session {
    /// A session with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            meter: Meter::new(limits),
            texts: HashMap::new(),
            watched: Vec::new(),
        }
    }

    pub(crate) fn watch(&mut self, map: &Rc<Map>) {
        if !map.watched.replace(true) {
            self.watched.push(Rc::downgrade(map));
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for map in self.watched.drain(..).filter_map(|map| map.upgrade()) {
            map.clear();
        }
    }
}
