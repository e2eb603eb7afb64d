//! How functions are put into the table, and how their arguments are read.

use std::rc::Rc;

use nave_gotemplate::{Caller, Function, FunctionError, Functions, GoType, Map, Str, Value};

/// What a function gives back.
pub(crate) type Result = std::result::Result<Value, FunctionError>;

pub(crate) const ANY: GoType = GoType::Any;
pub(crate) const STRING: GoType = GoType::String;
pub(crate) const INT: GoType = GoType::INT;
pub(crate) const BOOL: GoType = GoType::Bool;
pub(crate) const MAP: GoType = GoType::ANY_MAP;
pub(crate) const LIST: GoType = GoType::ANY_LIST;
pub(crate) const TIME: GoType = GoType::Named("time.Time");

/// Go's complaint about the use of a nil interface.
pub(crate) const NIL_POINTER: &str = "runtime error: invalid memory address or nil pointer dereference";

pub(crate) struct Table<'a> {
    functions: &'a mut Functions,
}

impl<'a> Table<'a> {
    pub(crate) fn new(functions: &'a mut Functions) -> Self {
        Self { functions }
    }

    /// One function under one or more names, separated by spaces.
    pub(crate) fn add(
        &mut self,
        names: &str,
        params: &'static [GoType],
        body: impl Fn(&mut Caller<'_>, &[Value]) -> Result + 'static,
    ) {
        self.insert(names, Function::new(params, body));
    }

    /// As [`Table::add`], with a last parameter that may be repeated.
    pub(crate) fn rest(
        &mut self,
        names: &str,
        params: &'static [GoType],
        body: impl Fn(&mut Caller<'_>, &[Value]) -> Result + 'static,
    ) {
        self.insert(names, Function::variadic(params, body));
    }

    fn insert(&mut self, names: &str, function: Function) {
        for name in names.split(' ') {
            self.functions.insert(name, function.clone());
        }
    }
}

/// The `string` at a place; the evaluator has checked the type.
pub(crate) fn str_at(args: &[Value], index: usize) -> Str {
    args.get(index).and_then(Value::as_string).unwrap_or_default()
}

/// The `string` at a place as text, with U+FFFD for what is not UTF-8.
pub(crate) fn text_at(args: &[Value], index: usize) -> String {
    str_at(args, index).to_text().into_owned()
}

/// The `int` at a place.
pub(crate) fn int_at(args: &[Value], index: usize) -> i64 {
    args.get(index).and_then(Value::as_signed).unwrap_or_default()
}

/// The map at a place; nil is the nil map.
pub(crate) fn map_at(args: &[Value], index: usize) -> Rc<Map> {
    match args.get(index) {
        Some(Value::Map(map)) => Rc::clone(map),
        _ => Rc::new(Map::nil(GoType::ANY_MAP)),
    }
}

pub(crate) fn fail(message: impl Into<String>) -> Result {
    Err(FunctionError::new(message))
}

pub(crate) fn nil_pointer() -> FunctionError {
    FunctionError::new(NIL_POINTER)
}

/// A count that a template asked for, as a size; charged before anything of that size is made.
pub(crate) fn size(count: i128) -> usize {
    usize::try_from(count).unwrap_or(if count < 0 { 0 } else { usize::MAX })
}
