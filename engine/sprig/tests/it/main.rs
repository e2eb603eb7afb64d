//! The functions of Helm templates against what Sprig and Helm gave for the same templates.

mod bounds;
mod charts;
mod crypto;
mod recorded;

use nave_gotemplate::{Limits, MissingKey, RenderError, Session, Templates, Value};
use nave_sprig::{Context, functions};

/// Renders one template as Helm does, with `values` as `.Values`.
fn render_within(template: &str, values: &serde_json::Value, limits: Limits) -> Result<String, RenderError> {
    let now = "2024-05-06T07:08:09.123456789Z".parse().expect("a time");
    let functions = functions(&Context { now, seed: [7; 32] });
    let mut templates = Templates::new("t", functions);
    templates.set_missing_key(MissingKey::Zero);
    templates.parse("t", template.as_bytes())?;
    let mut session = Session::new(limits);
    let root = Value::from_json(&serde_json::json!({ "Values": values }));
    let text = templates.execute(&mut session, "t", root)?;
    Ok(String::from_utf8_lossy(&text).replace("<no value>", ""))
}

fn render(template: &str) -> Result<String, String> {
    render_within(template, &serde_json::Value::Null, Limits::default()).map_err(|error| error.to_string())
}

/// The text of a template that must not fail.
fn text(template: &str) -> String {
    render(template).unwrap_or_else(|error| panic!("{template}: {error}"))
}
