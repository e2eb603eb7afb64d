//! Templates into texts.

use std::collections::BTreeMap;
use std::rc::Rc;

use nave_gotemplate::Map;

use super::RenderError;
use super::context::{in_order, templates};
use crate::text::base_name;
use crate::{Chart, RenderRequest};

/// Renders every template that is no partial, by path.
pub(super) fn all(
    chart: &Chart,
    request: &RenderRequest,
    values: Rc<Map>,
) -> Result<BTreeMap<String, String>, RenderError> {
    let templates = templates(chart, request, values);
    let mut files = BTreeMap::new();
    for path in in_order(&templates) {
        if base_name(&path).starts_with('_') {
            continue;
        }
        let template = &templates[&path];
        let text = String::from_utf8_lossy(template.text).into_owned();
        if text.contains("{{") {
            return Err(RenderError::Template {
                message: format!(
                    "{path}: template actions are not supported yet ({} keys below {})",
                    template.dot.len(),
                    template.base_path
                ),
            });
        }
        files.insert(path, text);
    }
    Ok(files)
}
