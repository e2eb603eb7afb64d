//! The functions that the recorded cases call beside Go's built-in ones; `tests/data/record.go` has the same.

use std::rc::Rc;

use nave_gotemplate::{Function, FunctionError, Functions, GoType, List, Map, Render, Session, Templates, Value};

/// Go's built-in functions and those of the recorded cases.
pub fn all() -> Functions {
    let mut f = Functions::builtin();
    f.insert(
        "list",
        Function::variadic(&[GoType::Any], |caller, args| {
            caller.charge_items(args.len())?;
            Ok(Value::list(args.to_vec()))
        }),
    );
    f.insert(
        "strs",
        Function::variadic(&[GoType::String], |_, args| {
            Ok(Value::List(Rc::new(List::new(GoType::STRING_LIST, args.to_vec()))))
        }),
    );
    f.insert(
        "dict",
        Function::variadic(&[GoType::Any], |_, args| Ok(map(GoType::ANY_MAP, args))),
    );
    f.insert(
        "smap",
        Function::variadic(&[GoType::String], |_, args| Ok(map(GoType::STRING_MAP, args))),
    );
    f.insert(
        "set",
        Function::new(&[GoType::ANY_MAP, GoType::String, GoType::Any], |caller, args| {
            let map = args[0].as_map().expect("checked");
            caller.set(map, args[1].as_string().expect("checked").to_text(), args[2].clone())?;
            Ok(args[0].clone())
        }),
    );
    f.insert("i64", Function::new(&[GoType::INT64], |_, args| Ok(args[0].clone())));
    f.insert(
        "i8",
        Function::new(&[GoType::Int(nave_gotemplate::IntKind::Int8)], |_, args| {
            Ok(args[0].clone())
        }),
    );
    f.insert(
        "u8",
        Function::new(&[GoType::Int(nave_gotemplate::IntKind::Uint8)], |_, args| {
            Ok(args[0].clone())
        }),
    );
    f.insert(
        "u64",
        Function::new(&[GoType::Int(nave_gotemplate::IntKind::Uint64)], |_, args| {
            Ok(args[0].clone())
        }),
    );
    f.insert(
        "bytes",
        Function::new(&[GoType::String], |_, args| {
            Ok(Value::Bytes(args[0].as_string().expect("checked").into_shared()))
        }),
    );
    f.insert(
        "add",
        Function::new(&[GoType::INT, GoType::INT], |_, args| {
            Ok(Value::int(args.iter().filter_map(Value::as_signed).sum()))
        }),
    );
    f.insert(
        "half",
        Function::new(&[GoType::Float64], |_, args| {
            Ok(Value::Float(args[0].as_float().expect("checked") / 2.0))
        }),
    );
    f.insert(
        "neg",
        Function::new(&[GoType::Bool], |_, args| Ok(Value::Bool(!args[0].truth()))),
    );
    f.insert(
        "up",
        Function::new(&[GoType::String], |_, args| {
            Ok(Value::string(
                args[0].as_string().expect("checked").to_text().to_uppercase(),
            ))
        }),
    );
    f.insert("none", Function::new(&[], |_, _| Ok(Value::Nil)));
    f.insert(
        "nilm",
        Function::new(&[], |_, _| Ok(Value::Map(Rc::new(Map::nil(GoType::ANY_MAP))))),
    );
    f.insert(
        "nils",
        Function::new(&[], |_, _| Ok(Value::List(Rc::new(List::nil(GoType::STRING_LIST))))),
    );
    f.insert(
        "fail",
        Function::new(&[GoType::String], |_, args| {
            Err(FunctionError::new(args[0].as_string().expect("checked").to_text()))
        }),
    );
    let two = |caller: &mut nave_gotemplate::Caller<'_>, args: &[Value]| {
        let rest = Value::list(args[1..].to_vec());
        Ok(Value::Str(caller.sprint(&[args[0].clone(), rest])?))
    };
    f.insert("two", Function::variadic(&[GoType::String, GoType::INT], two));
    f.insert(
        "fn",
        Function::new(&[], move |_, _| {
            Ok(Value::Func(Rc::new(Function::variadic(
                &[GoType::INT, GoType::String],
                two,
            ))))
        }),
    );
    let length = |args: &[Value]| Value::int(i64::try_from(args[0].items().map_or(0, |i| i.len())).expect("short"));
    f.insert(
        "lists",
        Function::new(&[GoType::ANY_LIST], move |_, args| Ok(length(args))),
    );
    f.insert(
        "maps",
        Function::new(&[GoType::ANY_MAP], |_, args| {
            Ok(Value::int(
                i64::try_from(args[0].as_map().map_or(0, |m| m.len())).expect("short"),
            ))
        }),
    );
    f.insert(
        "include",
        Function::rendering(&[GoType::String, GoType::Any], |_, args| {
            let name = args[0].as_string().expect("checked");
            Ok(Render::template(
                &name.to_text(),
                args[1].clone(),
                |_, text| match text {
                    Ok(text) => Ok(Value::Str(text)),
                    Err(error) => Err(FunctionError::rendering("", &error)),
                },
            ))
        }),
    );
    f.insert(
        "tpl",
        Function::rendering(&[GoType::String, GoType::Any], |_, args| {
            let text = args[0].as_string().expect("checked");
            let own = text.clone();
            Ok(Render::text("set", text, args[1].clone(), move |_, text| match text {
                Ok(text) => Ok(Value::Str(text)),
                Err(error @ nave_gotemplate::RenderError::Parse(_)) => Err(FunctionError::rendering(
                    &format!("cannot parse template {own:?}: "),
                    &error,
                )),
                Err(error) => Err(FunctionError::rendering(
                    &format!("error during tpl function execution for {own:?}: "),
                    &error,
                )),
            }))
        }),
    );
    f
}

fn map(go_type: GoType, args: &[Value]) -> Value {
    let map = Map::new(go_type);
    for pair in args.chunks_exact(2) {
        map.insert(pair[0].as_string().expect("a key").to_text(), pair[1].clone());
    }
    Value::Map(Rc::new(map))
}

/// The text of one template, or the error's.
pub fn render(session: &mut Session, templates: &Templates, name: &str, data: Value) -> Result<String, String> {
    let text = templates.execute(session, name, data).map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
