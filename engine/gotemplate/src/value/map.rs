//! Maps: shared by reference and changeable, as in Go.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{GoType, Value};
use crate::func::Function;

/// The methods of a named map type: the method of this map with this name.
pub type MapMethods = fn(&Rc<Map>, &str) -> Option<Function>;

/// A Go map with string keys, kept sorted as printing and `range` want it.
///
/// No method keeps a borrow: values are handed out as clones, so a map can be read while it is being walked over.
pub struct Map {
    pub(super) entries: RefCell<BTreeMap<Rc<str>, Value>>,
    go_type: GoType,
    nil: bool,
    methods: Option<MapMethods>,
    /// Whose entries these are, where this is the same map under another type; never a map that is such a one itself.
    pub(super) view_of: Option<Rc<Map>>,
    /// Whether a template changed it: only such a map can be part of a cycle, see [`crate::Session`].
    pub(crate) watched: Cell<bool>,
}

impl Map {
    /// An empty map; `go_type` is the type of the map: [`GoType::ANY_MAP`], `GoType::NamedMap("common.Values", …)` …
    #[must_use]
    pub fn new(go_type: GoType) -> Self {
        Self {
            entries: RefCell::default(),
            go_type,
            nil: false,
            methods: None,
            view_of: None,
            watched: Cell::new(false),
        }
    }

    /// A map with these entries.
    #[must_use]
    pub fn with(go_type: GoType, entries: BTreeMap<Rc<str>, Value>) -> Self {
        Self {
            entries: RefCell::new(entries),
            go_type,
            nil: false,
            methods: None,
            view_of: None,
            watched: Cell::new(false),
        }
    }

    /// The nil map: empty, equal to nil, `null` in JSON. Nothing should be put into it; Go panics there.
    #[must_use]
    pub fn nil(go_type: GoType) -> Self {
        Self {
            entries: RefCell::default(),
            go_type,
            nil: true,
            methods: None,
            view_of: None,
            watched: Cell::new(false),
        }
    }

    /// The same map with methods, which come before its entries: Go's `chartutil.Values` has some.
    #[must_use]
    pub fn with_methods(mut self, methods: MapMethods) -> Self {
        self.methods = Some(methods);
        self
    }

    /// The same entries as a map of another type, without methods: a change of one is a change of both, as where Go
    /// converts a map.
    #[must_use]
    pub fn converted(self: &Rc<Self>, go_type: GoType) -> Self {
        let mut view = Self::new(go_type);
        view.nil = self.nil;
        view.view_of = Some(Rc::clone(self.base()));
        view
    }

    /// The map that has the entries.
    pub(crate) fn base(self: &Rc<Self>) -> &Rc<Self> {
        self.view_of.as_ref().unwrap_or(self)
    }

    fn cell(&self) -> &RefCell<BTreeMap<Rc<str>, Value>> {
        self.view_of.as_ref().map_or(&self.entries, |map| &map.entries)
    }

    pub(crate) fn method(self: &Rc<Self>, name: &str) -> Option<Function> {
        self.methods.and_then(|methods| methods(self, name))
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value> {
        self.cell().borrow().get(key).cloned()
    }

    /// Whether there is such a key, even with nil for a value.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.cell().borrow().contains_key(key)
    }

    /// Puts an entry. A template's function uses [`crate::Caller::set`] instead, which also accounts for it.
    pub fn insert(&self, key: impl Into<Rc<str>>, value: impl Into<Value>) -> Option<Value> {
        self.cell().borrow_mut().insert(key.into(), value.into())
    }

    /// Takes an entry out.
    pub fn remove(&self, key: &str) -> Option<Value> {
        self.cell().borrow_mut().remove(key)
    }

    /// Takes all entries out.
    pub fn clear(&self) {
        // Taken out first: dropping them may come back to this very map.
        let entries = std::mem::take(&mut *self.cell().borrow_mut());
        drop(entries);
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cell().borrow().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cell().borrow().is_empty()
    }

    /// Whether it is the nil map.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        self.nil
    }

    /// All entries as they are now, sorted by key.
    #[must_use]
    pub fn entries(&self) -> Vec<(Rc<str>, Value)> {
        self.cell()
            .borrow()
            .iter()
            .map(|(k, v)| (Rc::clone(k), v.clone()))
            .collect()
    }

    /// All keys as they are now, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<Rc<str>> {
        self.cell().borrow().keys().cloned().collect()
    }

    /// The type of the map.
    #[must_use]
    pub fn go_type(&self) -> GoType {
        self.go_type
    }

    /// The declared type of a value.
    #[must_use]
    pub fn elem(&self) -> GoType {
        match self.go_type {
            GoType::Map(elem) | GoType::NamedMap(_, elem) => *elem,
            _ => GoType::Any,
        }
    }
}
