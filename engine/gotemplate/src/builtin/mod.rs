//! Go's built-in functions.

mod compare;
mod escape;
mod index;

use crate::func::{Builtin, Function, Functions};
use crate::value::{GoType, Value};

const ANY: &[GoType] = &[GoType::Any];
const ONE: &[GoType] = &[GoType::Reflect];
const TWO: &[GoType] = &[GoType::Reflect, GoType::Reflect];

/// Adds them all.
pub(crate) fn install(functions: &mut Functions) {
    // The evaluator carries these out itself; the bodies only say what a function of no arguments would.
    functions.insert("and", special(Builtin::And));
    functions.insert("or", special(Builtin::Or));
    functions.insert("call", special(Builtin::Call));
    let mut len = Function::new(ONE, |_, args| index::length(&args[0]));
    len.builtin = Some(Builtin::Len);
    functions.insert("len", len);

    functions.insert("not", Function::new(ONE, |_, args| Ok(Value::Bool(!args[0].truth()))));
    functions.insert("index", Function::variadic(TWO, |_, args| index::index(args)));
    functions.insert("slice", Function::variadic(TWO, index::slice));

    functions.insert(
        "print",
        Function::variadic(ANY, |caller, args| Ok(Value::Str(caller.sprint(args)?))),
    );
    functions.insert(
        "println",
        Function::variadic(ANY, |caller, args| Ok(Value::Str(caller.sprintln(args)?))),
    );
    let printf = Function::variadic(&[GoType::String, GoType::Any], |caller, args| {
        let format = args[0].as_string().unwrap_or_default();
        Ok(Value::Str(caller.sprintf(format.as_bytes(), &args[1..])?))
    });
    functions.insert("printf", printf);

    functions.insert("html", Function::variadic(ANY, escape::html));
    functions.insert("js", Function::variadic(ANY, escape::js));
    functions.insert("urlquery", Function::variadic(ANY, escape::urlquery));

    functions.insert(
        "eq",
        Function::variadic(TWO, |_, args| compare::eq(args).map(Value::Bool)),
    );
    functions.insert(
        "ne",
        Function::new(TWO, |_, args| compare::eq(args).map(|equal| Value::Bool(!equal))),
    );
    functions.insert("lt", Function::new(TWO, |_, args| compare::lt(args).map(Value::Bool)));
    functions.insert("le", Function::new(TWO, |_, args| compare::le(args).map(Value::Bool)));
    functions.insert(
        "gt",
        Function::new(TWO, |_, args| compare::le(args).map(|le| Value::Bool(!le))),
    );
    functions.insert(
        "ge",
        Function::new(TWO, |_, args| compare::lt(args).map(|lt| Value::Bool(!lt))),
    );
}

fn special(builtin: Builtin) -> Function {
    let mut function = Function::variadic(TWO, |_, args| Ok(args.last().cloned().unwrap_or_default()));
    function.builtin = Some(builtin);
    function
}
