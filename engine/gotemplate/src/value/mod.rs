//! What a template computes with: Go's dynamic values, as far as templates can see them.

mod drop;
pub(crate) mod json;
mod list;
mod map;
mod object;
mod text;
mod types;

pub use json::JsonError;
pub use list::List;
pub use map::{Map, MapMethods};
pub(crate) use object::pointee;
pub use object::{Object, Shape};
pub use text::Str;
pub use types::{GoType, IntKind, Kind};

use std::rc::Rc;

use crate::func::Function;

/// One value. Cloning is cheap: everything large is shared.
///
/// A render runs on one thread, so sharing is by `Rc`. A [`Map`] is shared *by reference*, as in Go: a function that
/// changes a map changes what every holder of that map sees. Everything else never changes.
#[derive(Clone, Default)]
pub enum Value {
    /// The untyped nil, also the result of asking for what is not there.
    #[default]
    Nil,
    /// `bool`.
    Bool(bool),
    /// An integer of any of Go's integer types. The bits of a signed one are its two's complement.
    Int(IntKind, u64),
    /// `float64`.
    Float(f64),
    /// `complex128`: the real and the imaginary part.
    Complex(f64, f64),
    /// `string`: bytes that are usually, but not always, UTF-8.
    Str(Str),
    /// `[]uint8`.
    Bytes(Rc<[u8]>),
    /// A slice of anything else.
    List(Rc<List>),
    /// A map with string keys, shared by reference.
    Map(Rc<Map>),
    /// A function held as a value, for the built-in `call`.
    Func(Rc<Function>),
    /// A value of the host: fields, methods and text of its own.
    Object(Rc<dyn Object>),
}

impl Value {
    /// An `int`.
    #[must_use]
    pub fn int(n: i64) -> Self {
        Self::Int(IntKind::Int, n.cast_unsigned())
    }

    /// An `int64`.
    #[must_use]
    pub fn int64(n: i64) -> Self {
        Self::Int(IntKind::Int64, n.cast_unsigned())
    }

    /// A `string` from text or bytes.
    #[must_use]
    pub fn string(text: impl Into<Str>) -> Self {
        Self::Str(text.into())
    }

    /// A `[]interface {}`.
    #[must_use]
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(Rc::new(List::new(GoType::ANY_LIST, items)))
    }

    /// A `[]string`.
    pub fn strings<S: Into<Str>>(items: impl IntoIterator<Item = S>) -> Self {
        Self::List(Rc::new(List::new(
            GoType::STRING_LIST,
            items.into_iter().map(Self::string).collect(),
        )))
    }

    /// An empty `map[string]interface {}`.
    #[must_use]
    pub fn map() -> Self {
        Self::Map(Rc::new(Map::new(GoType::ANY_MAP)))
    }

    /// A host object.
    pub fn object(object: impl Object + 'static) -> Self {
        Self::Object(Rc::new(object))
    }

    /// Whether this is the untyped nil.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// Whether Go's `== nil` holds: the untyped nil, a nil slice, a nil map.
    #[must_use]
    pub fn is_any_nil(&self) -> bool {
        match self {
            Self::Nil => true,
            Self::List(list) => list.is_nil(),
            Self::Map(map) => map.is_nil(),
            _ => false,
        }
    }

    /// The truth of `if`: not the zero of its type, and not empty. A struct is always true.
    #[must_use]
    pub fn truth(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(b) => *b,
            Self::Int(_, bits) => *bits != 0,
            Self::Float(f) => *f != 0.0,
            Self::Complex(re, im) => *re != 0.0 || *im != 0.0,
            Self::Str(s) => !s.is_empty(),
            Self::Bytes(b) => !b.is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Func(_) => true,
            Self::Object(object) => match object.shape() {
                Shape::Struct(_) | Shape::Opaque => true,
                Shape::Map(entries) => object.is_pointer() || !entries.is_empty(),
                Shape::List(items) => object.is_pointer() || !items.is_empty(),
                Shape::Basic(value) => object.is_pointer() || value.truth(),
            },
        }
    }

    /// What `reflect.Value.Kind` says.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Nil => Kind::Invalid,
            Self::Bool(_) => Kind::Bool,
            Self::Int(kind, _) => Kind::Int(*kind),
            Self::Float(_) => Kind::Float64,
            Self::Complex(..) => Kind::Complex128,
            Self::Str(_) => Kind::String,
            Self::Bytes(_) | Self::List(_) => Kind::Slice,
            Self::Map(_) => Kind::Map,
            Self::Func(_) => Kind::Func,
            Self::Object(object) if object.is_pointer() => Kind::Ptr,
            Self::Object(object) => match object.shape() {
                Shape::Struct(_) | Shape::Opaque => Kind::Struct,
                Shape::Map(_) => Kind::Map,
                Shape::List(_) => Kind::Slice,
                Shape::Basic(value) => value.kind(),
            },
        }
    }

    /// The dynamic type; `None` for the untyped nil.
    #[must_use]
    pub fn go_type(&self) -> Option<GoType> {
        Some(match self {
            Self::Nil => return None,
            Self::Bool(_) => GoType::Bool,
            Self::Int(kind, _) => GoType::Int(*kind),
            Self::Float(_) => GoType::Float64,
            Self::Complex(..) => GoType::Complex128,
            Self::Str(_) => GoType::String,
            Self::Bytes(_) => GoType::Bytes,
            Self::List(list) => list.go_type(),
            Self::Map(map) => map.go_type(),
            Self::Func(_) => GoType::Func,
            Self::Object(object) => GoType::Named(object.type_name()),
        })
    }

    /// The name of the dynamic type as `%T` prints it: `<nil>` for the untyped nil.
    #[must_use]
    pub fn type_name(&self) -> String {
        self.go_type().map_or_else(|| "<nil>".to_owned(), |t| t.to_string())
    }

    /// The text of the value as `%v` prints it.
    ///
    /// # Errors
    ///
    /// When it is longer than `max` bytes, or nested too deeply.
    pub fn display(&self, max: usize) -> Result<Str, crate::limits::LimitExceeded> {
        crate::format::sprint(std::slice::from_ref(self), max)
    }

    /// A signed integer of any width, also behind a named type such as `time.Duration`; `None` for anything else.
    #[must_use]
    pub fn as_signed(&self) -> Option<i64> {
        match self.basic() {
            Self::Int(kind, bits) if kind.is_signed() => Some(bits.cast_signed()),
            _ => None,
        }
    }

    /// An unsigned integer of any width; `None` for anything else.
    #[must_use]
    pub fn as_unsigned(&self) -> Option<u64> {
        match self.basic() {
            Self::Int(kind, bits) if !kind.is_signed() => Some(bits),
            _ => None,
        }
    }

    /// A `float64`; `None` for anything else.
    #[must_use]
    pub fn as_float(&self) -> Option<f64> {
        match self.basic() {
            Self::Float(f) => Some(f),
            _ => None,
        }
    }

    /// A `bool`; `None` for anything else.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.basic() {
            Self::Bool(b) => Some(b),
            _ => None,
        }
    }

    /// A `string`; `None` for anything else.
    #[must_use]
    pub fn as_string(&self) -> Option<Str> {
        match self.basic() {
            Self::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The slice; `None` for anything else, a host object or `[]uint8` included (see [`Value::items`]).
    #[must_use]
    pub fn as_list(&self) -> Option<&Rc<List>> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    /// The map; `None` for anything else, a host object included.
    #[must_use]
    pub fn as_map(&self) -> Option<&Rc<Map>> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The elements of any slice: a list, bytes (as `uint8`) or a host object that is a slice.
    #[must_use]
    pub fn items(&self) -> Option<Vec<Self>> {
        match self {
            Self::List(list) => Some(list.items().to_vec()),
            Self::Bytes(bytes) => Some(bytes.iter().map(|b| Self::Int(IntKind::Uint8, u64::from(*b))).collect()),
            Self::Object(object) => match object.shape() {
                Shape::List(items) => Some(items),
                _ => None,
            },
            _ => None,
        }
    }

    /// The entries of any map, sorted by key: a map or a host object that is one.
    #[must_use]
    pub fn entries(&self) -> Option<Vec<(Rc<str>, Self)>> {
        match self {
            Self::Map(map) => Some(map.entries()),
            Self::Object(object) => match object.shape() {
                Shape::Map(entries) => Some(entries),
                _ => None,
            },
            _ => None,
        }
    }

    /// The basic value under a named type of the host; the value itself if it is none.
    pub(crate) fn basic(&self) -> Self {
        match self {
            Self::Object(object) if !object.is_pointer() => match object.shape() {
                Shape::Basic(value) => value,
                _ => self.clone(),
            },
            _ => self.clone(),
        }
    }
}

impl std::fmt::Debug for Value {
    /// As `%#v`, for tests and assertions.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match crate::format::sprintf(b"%#v", std::slice::from_ref(self), 1 << 16) {
            Ok(text) => f.write_str(&text.to_text()),
            Err(_) => f.write_str(&self.type_name()),
        }
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<f64> for Value {
    fn from(f: f64) -> Self {
        Self::Float(f)
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Self::string(s)
    }
}

impl From<String> for Value {
    fn from(s: String) -> Self {
        Self::string(s)
    }
}

impl From<Str> for Value {
    fn from(s: Str) -> Self {
        Self::Str(s)
    }
}
