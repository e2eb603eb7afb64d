//! Errors of templates in the form that Helm gives them: one place to a line, the innermost last.

use nave_gotemplate::{ExecError, ParseError, RenderError};

/// What stands around a message of `fail` and `required` inside Go's error.
pub(super) const WARNING_START: &str = "HELM_ERR_START";
pub(super) const WARNING_END: &str = "HELM_ERR_END";

/// A text that is no template.
pub(super) fn parse_error(file: &str, error: &ParseError) -> String {
    let text = error.to_string();
    let parts: Vec<&str> = text.split(": ").collect();
    match parts.as_slice() {
        [_, location, .., message] => format!("parse error at ({location}): {message}"),
        [_, location] => format!("parse error at ({location}): {location}"),
        _ => format!("parse error in ({file}): {text}"),
    }
}

/// A template that could not be executed.
pub(super) fn render_error(error: &RenderError) -> String {
    if let Some(limit) = error.limit() {
        return match error {
            RenderError::Exec(exec) => format!("{}: {limit}", location_of(exec)),
            _ => limit.to_string(),
        };
    }
    let text = error.to_string();
    if !matches!(error, RenderError::Exec(_)) {
        return text;
    }
    let mut parts = text.splitn(3, ": ");
    if let (Some(_), Some(location), Some(rest)) = (parts.next(), parts.next(), parts.next())
        && let Some(start) = rest.find(WARNING_START)
        && let Some(end) = rest.rfind(WARNING_END)
        && start + WARNING_START.len() <= end
    {
        let message = &rest[start + WARNING_START.len()..end];
        return format!("execution error at ({location}): {message}");
    }
    let mut places: Vec<Place> = Vec::new();
    for link in chain(&text) {
        match Place::read(link) {
            Some(place) if places.last() != Some(&place) => places.push(place),
            Some(_) => {}
            None => return text,
        }
    }
    let lines: String = places.iter().map(Place::lines).collect();
    lines.trim().to_owned()
}

fn location_of(error: &ExecError) -> String {
    format!("{}:{}:{}", error.parse_name, error.line, error.column)
}

/// The texts of an error and those that it wraps, as Go's `errors.Unwrap` walks them: the error of a function is what
/// stands behind `error calling NAME: `.
fn chain(text: &str) -> Vec<&str> {
    let mut texts = vec![text];
    while let Some(inner) = texts.last().and_then(|text| wrapped(text)) {
        texts.push(inner);
    }
    texts
}

fn wrapped(text: &str) -> Option<&str> {
    let (_, after) = text.strip_prefix("template: ")?.split_once(": executing ")?;
    let (_, message) = after.split_once(">: ")?;
    let (_, inner) = message.strip_prefix("error calling ")?.split_once(": ")?;
    Some(inner)
}

#[derive(Debug, PartialEq, Eq, Default)]
struct Place {
    location: String,
    message: String,
    executing: String,
}

impl Place {
    fn read(text: &str) -> Option<Place> {
        let rest = text.strip_prefix("template: ")?;
        if rest.starts_with("no template ") {
            return Some(Place {
                message: text.to_owned(),
                ..Place::default()
            });
        }
        Place::executing(rest).or_else(|| Place::simple(rest))
    }

    fn executing(text: &str) -> Option<Place> {
        let (location, after) = text.split_once(": executing ")?;
        let (name, after) = after.strip_prefix('"')?.split_once('"')?;
        let (expression, message) = after.strip_prefix(" at <")?.split_once(">: ")?;
        Some(Place {
            location: location.to_owned(),
            message: before_next(message),
            executing: format!("executing \"{name}\" at <{expression}>:"),
        })
    }

    fn simple(text: &str) -> Option<Place> {
        let (location, message) = text.rsplit_once(": ")?;
        Some(Place {
            location: location.to_owned(),
            message: before_next(message),
            executing: String::new(),
        })
    }

    fn lines(&self) -> String {
        let mut lines = String::new();
        for (text, after) in [
            (&self.location, "\n  "),
            (&self.executing, "\n    "),
            (&self.message, "\n"),
        ] {
            if !text.is_empty() {
                lines.push_str(text);
                lines.push_str(after);
            }
        }
        lines
    }
}

/// What comes before the error that is wrapped.
fn before_next(message: &str) -> String {
    message.split(" template:").next().unwrap_or(message).to_owned()
}
