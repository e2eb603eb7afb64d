//! How a function has something rendered.

use super::{Caller, FunctionError};
use crate::error::RenderError;
use crate::value::{Str, Value};

/// What a function made with [`super::Function::rendering`] wants rendered, and how it goes on.
///
/// ```
/// use nave_gotemplate::{Function, FunctionError, GoType, Render, Value};
///
/// let include = Function::rendering(&[GoType::String, GoType::Any], |_, args| {
///     let name = args[0].as_string().unwrap_or_default();
///     Ok(Render::template(&name.to_text(), args[1].clone(), |_, text| match text {
///         Ok(text) => Ok(Value::Str(text)),
///         Err(error) => Err(FunctionError::rendering("", &error)),
///     }))
/// });
/// # drop(include);
/// ```
pub struct Render {
    pub(crate) source: RenderSource,
    pub(crate) dot: Value,
    pub(crate) then: Then,
}

pub(crate) type Then = Box<dyn FnOnce(&mut Caller<'_>, Result<Str, RenderError>) -> Result<Value, FunctionError>>;

/// Which template to render.
#[derive(Clone, Debug)]
pub enum RenderSource {
    /// The template with this name, as the calling template sees the set.
    Template(String),
    /// A text which is parsed as a template with this name, in a copy of the set: what it defines is seen by itself and
    /// what it renders, and nowhere else. Equal texts are parsed once per [`crate::Session`].
    Text {
        /// The name, for error messages.
        name: String,
        /// The template.
        text: Str,
    },
}

impl Render {
    /// Renders the named template with `dot`; `then` makes the function's result from the text or the error.
    pub fn template(
        name: &str,
        dot: Value,
        then: impl FnOnce(&mut Caller<'_>, Result<Str, RenderError>) -> Result<Value, FunctionError> + 'static,
    ) -> Self {
        Self {
            source: RenderSource::Template(name.to_owned()),
            dot,
            then: Box::new(then),
        }
    }

    /// Renders `text` as a template called `name` with `dot`; `then` makes the function's result from the text or the
    /// error.
    pub fn text(
        name: &str,
        text: Str,
        dot: Value,
        then: impl FnOnce(&mut Caller<'_>, Result<Str, RenderError>) -> Result<Value, FunctionError> + 'static,
    ) -> Self {
        Self {
            source: RenderSource::Text {
                name: name.to_owned(),
                text,
            },
            dot,
            then: Box::new(then),
        }
    }
}
