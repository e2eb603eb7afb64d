//! Slices: they never change, so they are shared freely.

use super::{GoType, Value};

/// A Go slice other than `[]uint8`.
///
/// An element of a `[]interface {}` may be anything; the elements of a typed slice are of that type. Its capacity is
/// its length.
pub struct List {
    pub(super) items: Vec<Value>,
    go_type: GoType,
    nil: bool,
}

impl List {
    /// A slice of `items`; `go_type` is the type of the slice: [`GoType::ANY_LIST`], [`GoType::STRING_LIST`] …
    #[must_use]
    pub fn new(go_type: GoType, items: Vec<Value>) -> Self {
        Self {
            items,
            go_type,
            nil: false,
        }
    }

    /// The nil slice: empty, equal to nil, `null` in JSON.
    #[must_use]
    pub fn nil(go_type: GoType) -> Self {
        Self {
            items: Vec::new(),
            go_type,
            nil: true,
        }
    }

    /// The elements.
    #[must_use]
    pub fn items(&self) -> &[Value] {
        &self.items
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether it is the nil slice.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        self.nil
    }

    /// The type of the slice.
    #[must_use]
    pub fn go_type(&self) -> GoType {
        self.go_type
    }

    /// The declared type of an element.
    #[must_use]
    pub fn elem(&self) -> GoType {
        match self.go_type {
            GoType::List(elem) => *elem,
            _ => GoType::Any,
        }
    }
}
