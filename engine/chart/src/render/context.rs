//! What templates see: one map for each chart, and every template by its path.

use std::collections::BTreeMap;
use std::rc::Rc;

use nave_gotemplate::{Function, FunctionError, GoType, Map, Value};

use super::files::Files;
use super::host;
use crate::text::{base_name, clean_path, quote};
use crate::values::{table_at, value_at};
use crate::{Chart, RenderRequest};

/// The type that Helm's own maps have.
pub(super) const VALUES: GoType = GoType::NamedMap("common.Values", &GoType::Any);

/// A map of Helm's own type, which has methods.
pub(super) fn values_map(entries: BTreeMap<Rc<str>, Value>) -> Rc<Map> {
    Rc::new(Map::with(VALUES, entries).with_methods(methods))
}

/// Methods that a template can call on values. They hide keys with the same names.
fn methods(map: &Rc<Map>, name: &str) -> Option<Function> {
    const PATH: &[GoType] = &[GoType::String];
    let map = Rc::clone(map);
    let path = |args: &[Value]| args[0].as_string().unwrap_or_default().to_text().into_owned();
    Some(match name {
        "AsMap" => Function::new(&[], move |_, _| {
            let plain = match map.is_empty() {
                true => Map::new(GoType::ANY_MAP),
                false => map.converted(GoType::ANY_MAP),
            };
            Ok(Value::Map(Rc::new(plain)))
        }),
        "YAML" => Function::new(&[], move |caller, _| {
            let json = Value::Map(Rc::clone(&map)).to_json();
            let text = nave_object::yaml::write(&json.map_err(|error| FunctionError::new(error.to_string()))?);
            caller.charge_bytes(text.len())?;
            Ok(Value::string(text))
        }),
        "Table" => Function::new(PATH, move |_, args| {
            let path = path(args);
            let table =
                table_at(&map, &path).ok_or_else(|| FunctionError::new(format!("{} is not a table", quote(&path))))?;
            Ok(Value::Map(table))
        }),
        "PathValue" => Function::new(PATH, move |_, args| {
            let path = path(args);
            value_at(&map, &path).ok_or_else(|| FunctionError::new(format!("{} is not a value", quote(&path))))
        }),
        _ => return None,
    })
}

/// One template of one chart.
pub(super) struct Renderable<'a> {
    pub(super) text: &'a [u8],
    /// What `.` is.
    pub(super) dot: Rc<Map>,
    /// Such as `web/charts/db/templates`.
    pub(super) base_path: String,
}

/// The templates of a chart and of those below it, by path.
pub(super) fn templates<'a>(
    chart: &'a Chart,
    request: &RenderRequest,
    values: Rc<Map>,
) -> BTreeMap<String, Renderable<'a>> {
    let shared = Shared {
        release: host::release(&request.release),
        capabilities: host::capabilities(&request.capabilities),
    };
    let mut templates = BTreeMap::new();
    collect(chart, chart.name(), Value::Map(values), true, &shared, &mut templates);
    templates
}

struct Shared {
    release: Value,
    capabilities: Value,
}

fn collect<'a>(
    chart: &'a Chart,
    path: &str,
    values: Value,
    is_root: bool,
    shared: &Shared,
    templates: &mut BTreeMap<String, Renderable<'a>>,
) -> Value {
    let below = Rc::new(Map::new(GoType::ANY_MAP));
    for dependency in &chart.dependencies {
        let table = match &values {
            Value::Map(values) => values.get(dependency.name()),
            _ => None,
        };
        let table = match table {
            Some(table @ Value::Map(_)) => table,
            _ => Value::Map(values_map(BTreeMap::new())),
        };
        let path = format!("{path}/charts/{}", dependency.name());
        let dot = collect(dependency, &path, table, false, shared, templates);
        below.insert(dependency.name(), dot);
    }
    let dot = values_map(BTreeMap::new());
    dot.insert("Chart", host::chart(chart, is_root));
    dot.insert("Files", Value::object(Files::new(&chart.files)));
    dot.insert("Release", shared.release.clone());
    dot.insert("Capabilities", shared.capabilities.clone());
    dot.insert("Values", values);
    dot.insert("Subcharts", Value::Map(below));
    for file in &chart.templates {
        // A library has nothing but partials.
        if chart.is_library() && !base_name(&file.name).starts_with('_') {
            continue;
        }
        templates.insert(
            clean_path(&format!("{path}/{}", file.name)),
            Renderable {
                text: &file.data,
                dot: Rc::clone(&dot),
                base_path: format!("{path}/templates"),
            },
        );
    }
    Value::Map(dot)
}

/// The order in which templates are parsed and rendered: deep paths first, and names backwards.
pub(super) fn in_order(templates: &BTreeMap<String, Renderable<'_>>) -> Vec<String> {
    let mut paths: Vec<String> = templates.keys().cloned().collect();
    let depth = |path: &String| path.bytes().filter(|byte| *byte == b'/').count();
    paths.sort_by(|a, b| (depth(b), b).cmp(&(depth(a), a)));
    paths
}
