//! Values of the host: what a template sees of them.

use std::any::Any;
use std::rc::Rc;

use super::Value;
use crate::func::Function;

/// What a host object is underneath its name: how it prints, ranges, indexes and compares.
pub enum Shape {
    /// A struct: its exported fields, in order.
    Struct(Vec<(&'static str, Value)>),
    /// A map with string keys, sorted.
    Map(Vec<(Rc<str>, Value)>),
    /// A slice.
    List(Vec<Value>),
    /// A named basic type: `time.Duration` is an `int64`, `release.Status` a `string`.
    Basic(Value),
    /// A struct without exported fields whose inside nobody sees, such as `time.Time`.
    Opaque,
}

/// A value of the host with a Go type of its own: Helm's files, a parsed version, a time.
///
/// `{{ .Files.Get "x" }}` asks for [`Object::method`] first and for [`Object::field`] then, as Go does.
pub trait Object {
    /// The name of the type as `%T` prints it, with a leading `*` for a pointer: `engine.files`, `*semver.Version`.
    fn type_name(&self) -> &'static str;

    /// What it is underneath. For a pointer: what it points to.
    fn shape(&self) -> Shape;

    /// A method with this name. It does not get the object as an argument: it has captured it.
    fn method(&self, name: &str) -> Option<Function> {
        let _ = name;
        None
    }

    /// A field of a struct, or an entry of a map, with this name.
    ///
    /// The default looks into [`Object::shape`]; an object with many entries does better.
    fn field(&self, name: &str) -> Option<Value> {
        match self.shape() {
            Shape::Struct(fields) => fields.into_iter().find(|(n, _)| *n == name).map(|(_, v)| v),
            Shape::Map(entries) => entries.into_iter().find(|(n, _)| &**n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text of its `String` or `Error` method, which `%v` and `%s` print; `None` when it has neither.
    fn text(&self) -> Option<String> {
        None
    }

    /// Whether Go's `==` holds between the two, which have the same [`Object::type_name`]; `None` when the type has no `==`.
    fn equals(&self, other: &dyn Object) -> Option<bool> {
        let _ = other;
        None
    }

    /// Whether the type is a pointer: by the star that its name begins with.
    fn is_pointer(&self) -> bool {
        self.type_name().starts_with('*')
    }

    /// Itself, for functions that know the type and want its inside.
    fn as_any(&self) -> &dyn Any;
}

/// What a pointer points to, as a value of its own.
pub(crate) fn pointee(pointer: &Rc<dyn Object>) -> Rc<dyn Object> {
    Rc::new(Pointee(Rc::clone(pointer)))
}

struct Pointee(Rc<dyn Object>);

impl Object for Pointee {
    fn type_name(&self) -> &'static str {
        self.0.type_name().trim_start_matches('*')
    }

    fn shape(&self) -> Shape {
        self.0.shape()
    }

    fn as_any(&self) -> &dyn Any {
        self.0.as_any()
    }
}
