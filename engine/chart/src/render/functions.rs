//! The functions that need the templates, the cluster or Helm's errors.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use nave_gotemplate::{Function, FunctionError, Functions, GoType, Map, Render, RenderError, Value};

use super::failure::{WARNING_END, WARNING_START};
use crate::text::quote;
use crate::values::json_to_go;
use crate::{Lookup, RenderRequest, Resolve};

/// How often a template may be included within itself.
const MAX_INCLUDES: usize = 1000;

/// The name that texts of `tpl` are parsed under, which errors show.
pub(super) const ROOT: &str = "gotpl";

/// Adds `include`, `tpl`, `required`, `fail`, `lookup` and `getHostByName`.
pub(super) fn add(functions: &mut Functions, request: &RenderRequest) {
    functions.insert("include", include());
    functions.insert("tpl", tpl());
    functions.insert("required", required());
    functions.insert(
        "fail",
        Function::new(&[GoType::String], |_, args| Err(warning(&text(&args[0])))),
    );
    functions.insert("lookup", lookup_function(request.lookup.clone()));
    functions.insert("getHostByName", host_by_name(request.resolve.clone()));
}

fn text(value: &Value) -> String {
    value.as_string().unwrap_or_default().to_text().into_owned()
}

fn warning(message: &str) -> FunctionError {
    FunctionError::new(format!("{WARNING_START}{message}{WARNING_END}"))
}

fn include() -> Function {
    let nested: Rc<RefCell<HashMap<String, usize>>> = Rc::default();
    Function::rendering(&[GoType::String, GoType::Any], move |_, args| {
        let name = text(&args[0]);
        let mut counts = nested.borrow_mut();
        let count = counts.entry(name.clone()).or_default();
        if *count > MAX_INCLUDES {
            return Err(FunctionError::new(format!(
                "rendering template has a nested reference name: {name}: unable to execute template"
            )));
        }
        *count += 1;
        let nested = Rc::clone(&nested);
        let included = name.clone();
        Ok(Render::template(&name, args[1].clone(), move |_, result| {
            if let Some(count) = nested.borrow_mut().get_mut(&included) {
                *count -= 1;
            }
            result
                .map(Value::Str)
                .map_err(|error| FunctionError::rendering("", &error))
        }))
    })
}

fn tpl() -> Function {
    Function::rendering(&[GoType::String, GoType::Any], |_, args| {
        let template = args[0].as_string().unwrap_or_default();
        let shown = template.clone();
        Ok(Render::text(
            ROOT,
            template,
            args[1].clone(),
            move |_, result| match result {
                Ok(text) => Ok(Value::string(without_no_value(text.as_bytes().to_vec()))),
                Err(error) => {
                    let shown = quote(&shown.to_text());
                    let prefix = match error {
                        RenderError::Parse(_) => format!("cannot parse template {shown}: "),
                        _ => format!("error during tpl function execution for {shown}: "),
                    };
                    Err(FunctionError::rendering(&prefix, &error))
                }
            },
        ))
    })
}

/// What Go prints for a value that is not there is taken out of every text, as Helm does.
pub(super) fn without_no_value(text: Vec<u8>) -> Vec<u8> {
    const NO_VALUE: &[u8] = b"<no value>";
    let mut kept: Option<Vec<u8>> = None;
    let mut copied = 0;
    let mut from = 0;
    while let Some(found) = text[from..].iter().position(|byte| *byte == b'<') {
        let at = from + found;
        from = at + 1;
        if text[at..].starts_with(NO_VALUE) {
            kept.get_or_insert_default().extend_from_slice(&text[copied..at]);
            copied = at + NO_VALUE.len();
            from = copied;
        }
    }
    match kept {
        None => text,
        Some(mut kept) => {
            kept.extend_from_slice(&text[copied..]);
            kept
        }
    }
}

fn required() -> Function {
    Function::new(&[GoType::String, GoType::Any], |_, args| {
        let is_missing = args[1].is_nil() || matches!(&args[1], Value::Str(text) if text.is_empty());
        match is_missing {
            true => Err(warning(&text(&args[0]))),
            false => Ok(args[1].clone()),
        }
    })
}

fn lookup_function(lookup: Option<Arc<dyn Lookup>>) -> Function {
    const TEXTS: &[GoType] = &[GoType::String; 4];
    Function::new(TEXTS, move |caller, args| {
        let Some(lookup) = &lookup else {
            return Ok(Value::map());
        };
        let [api_version, kind, namespace, name] = [0, 1, 2, 3].map(|index| text(&args[index]));
        let found = lookup
            .lookup(&api_version, &kind, &namespace, &name)
            .map_err(|error| FunctionError::new(error_text(&error)))?;
        match found {
            None => Ok(Value::Map(Rc::new(Map::new(GoType::ANY_MAP)))),
            Some(object) => {
                caller.charge_items(count(&object))?;
                Ok(json_to_go(&object))
            }
        }
    })
}

/// Where Helm takes any of a host's addresses, this takes the first, so that the text does not change by chance.
fn host_by_name(resolve: Option<Arc<dyn Resolve>>) -> Function {
    Function::new(&[GoType::String], move |_, args| {
        let Some(resolve) = &resolve else {
            return Ok(Value::string(""));
        };
        let host = text(&args[0]);
        let mut addresses = resolve
            .resolve(&host)
            .map_err(|error| FunctionError::new(format!("resolving {}: {}", quote(&host), error_text(&error))))?;
        addresses.sort();
        match addresses.into_iter().next() {
            Some(address) => Ok(Value::string(address)),
            None => Err(FunctionError::new(format!("host {} has no address", quote(&host)))),
        }
    })
}

fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn count(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        serde_json::Value::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        _ => 1,
    }
}
