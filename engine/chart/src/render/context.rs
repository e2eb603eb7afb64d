//! What templates see: one map for each chart, and every template by its path.

use std::collections::BTreeMap;
use std::rc::Rc;

use nave_gotemplate::{GoType, Map, Value};

use super::files::Files;
use super::host;
use crate::text::{base_name, clean_path};
use crate::{Chart, RenderRequest};

/// The type that Helm's own maps have.
pub(super) const VALUES: GoType = GoType::NamedMap("common.Values", &GoType::Any);

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
            _ => Value::Map(Rc::new(Map::new(VALUES))),
        };
        let path = format!("{path}/charts/{}", dependency.name());
        let dot = collect(dependency, &path, table, false, shared, templates);
        below.insert(dependency.name(), dot);
    }
    let dot = Rc::new(Map::new(VALUES));
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
