//! Templates into texts.

use std::collections::BTreeMap;
use std::rc::Rc;

use nave_gotemplate::{Map, MissingKey, Session, Templates, Value};
use nave_sprig::Context;

use super::RenderError;
use super::context::{VALUES, in_order, templates};
use super::failure::{parse_error, render_error};
use super::functions::{self, ROOT, without_no_value};
use crate::text::base_name;
use crate::{Chart, RenderRequest};

/// Renders every template that is no partial, by path.
pub(super) fn all(
    chart: &Chart,
    request: &RenderRequest,
    values: Rc<Map>,
) -> Result<BTreeMap<String, String>, RenderError> {
    let context = Context {
        now: request.now,
        seed: request.seed,
    };
    let mut functions = nave_sprig::functions(&context);
    functions::add(&mut functions, request);

    let found = templates(chart, request, values);
    let order = in_order(&found);
    let mut set = Templates::new(ROOT, functions);
    set.set_missing_key(MissingKey::Zero);
    for path in &order {
        let parsed = set.parse(path, found[path].text);
        parsed.map_err(|error| RenderError::Template {
            message: parse_error(path, &error),
        })?;
    }
    // The session empties maps that templates made to hold themselves; `found` has them, and goes first.
    let mut session = Session::new(request.limits.clone());
    let mut files = BTreeMap::new();
    for path in order {
        if base_name(&path).starts_with('_') {
            continue;
        }
        let template = &found[&path];
        let about = Map::new(VALUES);
        about.insert("Name", Value::string(path.as_str()));
        about.insert("BasePath", Value::string(template.base_path.as_str()));
        template.dot.insert("Template", Value::Map(Rc::new(about)));
        let text = set
            .execute(&mut session, &path, Value::Map(Rc::clone(&template.dot)))
            .map_err(|error| RenderError::Template {
                message: render_error(&error),
            })?;
        let text = without_no_value(text);
        let text =
            String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        files.insert(path, text);
    }
    Ok(files)
}
