//! What the templates of one render share.

use std::collections::HashMap;
use std::rc::{Rc, Weak};

use crate::func::Functions;
use crate::limits::{Limits, Meter};
use crate::template::ParsedText;
use crate::value::Map;

/// The name under which a text is parsed, and the text.
pub(crate) type TextKey = (String, Rc<[u8]>);

type Texts = HashMap<TextKey, Rc<ParsedText>>;

/// The account of one render: its limits, the texts it has parsed, the maps it has changed.
///
/// All templates of a chart are executed in one session. When it ends, maps that templates changed through
/// [`crate::Caller::set`] so that they could hold themselves are emptied: data must not be used after its session.
pub struct Session {
    pub(crate) meter: Meter,
    /// What has been parsed, by the functions it was parsed with.
    texts: Vec<(Rc<Functions>, Texts)>,
    watched: Vec<Weak<Map>>,
}

impl Session {
    /// A session with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            meter: Meter::new(limits),
            texts: Vec::new(),
            watched: Vec::new(),
        }
    }

    /// The text as it was parsed before with these functions.
    pub(crate) fn parsed(&self, functions: &Rc<Functions>, key: &TextKey) -> Option<Rc<ParsedText>> {
        let (_, texts) = self.texts.iter().find(|(f, _)| Rc::ptr_eq(f, functions))?;
        texts.get(key).map(Rc::clone)
    }

    pub(crate) fn remember(&mut self, functions: &Rc<Functions>, key: TextKey, parsed: Rc<ParsedText>) {
        let index = self
            .texts
            .iter()
            .position(|(f, _)| Rc::ptr_eq(f, functions))
            .unwrap_or_else(|| {
                self.texts.push((Rc::clone(functions), HashMap::new()));
                self.texts.len() - 1
            });
        self.texts[index].1.insert(key, parsed);
    }

    pub(crate) fn watch(&mut self, map: &Rc<Map>) {
        let map = map.base();
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
