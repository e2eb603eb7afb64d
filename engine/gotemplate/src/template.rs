//! A set of templates that know each other.

use std::collections::HashMap;
use std::rc::Rc;

use crate::error::{ParseError, RenderError};
use crate::exec::{self, Template};
use crate::func::Functions;
use crate::limits::LimitExceeded;
use crate::parse;
use crate::session::Session;
use crate::value::{Str, Value};

/// What to do when a map has no entry for the key asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// The result is the untyped nil, which prints as `<no value>`.
    #[default]
    Default,
    /// The result is the zero of the map's element type.
    Zero,
    /// The render ends with an error.
    Error,
}

/// Templates by name, and the functions they call.
///
/// ```
/// use nave_gotemplate::{Functions, Session, Templates, Value};
///
/// let mut templates = Templates::new("greetings", Functions::builtin());
/// templates.parse("hello", b"{{define \"who\"}}{{.}}!{{end}}Hello, {{template \"who\" .}}")?;
/// let text = templates.execute(&mut Session::default(), "hello", Value::string("world"))?;
/// assert_eq!(text, b"Hello, world!");
/// # Ok::<(), nave_gotemplate::RenderError>(())
/// ```
#[derive(Clone)]
pub struct Templates {
    settings: Settings,
    layer: Rc<Layer>,
}

impl Templates {
    /// An empty set. Its name only stands in messages.
    #[must_use]
    pub fn new(name: &str, functions: Functions) -> Self {
        let settings = Settings {
            name: Rc::from(name),
            functions: Rc::new(functions),
            missing_key: MissingKey::default(),
        };
        Self {
            settings,
            layer: Rc::default(),
        }
    }

    /// Says what happens when a map has no entry for a key.
    pub fn set_missing_key(&mut self, missing_key: MissingKey) {
        self.settings.missing_key = missing_key;
    }

    /// Parses a text as the template `name`, and adds it and all that it defines to the set.
    ///
    /// A definition replaces one with the same name from an earlier text, unless it is empty but for space.
    ///
    /// # Errors
    ///
    /// When the text is no template, or defines a name twice. The set is then as before.
    pub fn parse(&mut self, name: &str, text: &[u8]) -> Result<(), ParseError> {
        let parsed = ParsedText::new(name, text, &self.settings.functions)?;
        let layer = Rc::make_mut(&mut self.layer);
        for template in parsed.layer.templates.values() {
            let old = layer.templates.get(&template.name);
            if old.is_none() || !template.empty {
                layer.templates.insert(Rc::clone(&template.name), Rc::clone(template));
            }
        }
        Ok(())
    }

    /// Whether there is a template with this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.layer.templates.contains_key(name)
    }

    /// The names of all templates, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<Rc<str>> {
        let mut names: Vec<_> = self.layer.templates.keys().cloned().collect();
        names.sort();
        names
    }

    /// Runs a template with this data as its dot and gives its text.
    ///
    /// # Errors
    ///
    /// When there is no such template, it fails, or the session's limits do not allow it.
    pub fn execute(&self, session: &mut Session, name: &str, data: Value) -> Result<Vec<u8>, RenderError> {
        let scope = Rc::new(Scope {
            layer: Rc::clone(&self.layer),
            around: None,
        });
        let Some(template) = scope.lookup(name) else {
            return Err(self.settings.not_found(name.to_owned()));
        };
        exec::execute(session, &self.settings, &scope, template, data)
    }
}

/// What holds for all templates of a set.
#[derive(Clone)]
pub(crate) struct Settings {
    name: Rc<str>,
    pub(crate) functions: Rc<Functions>,
    pub(crate) missing_key: MissingKey,
}

impl Settings {
    pub(crate) fn not_found(&self, name: String) -> RenderError {
        RenderError::NotFound {
            name,
            set: self.name.to_string(),
        }
    }

    /// Parses a text that a function wants rendered, and sees its definitions before those of `around`.
    pub(crate) fn scope_of_text(
        &self,
        session: &mut Session,
        around: &Rc<Scope>,
        name: &str,
        text: Str,
    ) -> Result<(Rc<Template>, Rc<Scope>), RenderError> {
        let key = (name.to_owned(), text.into_shared());
        let parsed = match session.parsed(&self.functions, &key) {
            Some(parsed) => parsed,
            None => {
                charge_parsing(session, &key.1)?;
                let parsed = Rc::new(ParsedText::new(name, &key.1, &self.functions)?);
                session.remember(&self.functions, key, Rc::clone(&parsed));
                parsed
            }
        };
        let scope = Scope {
            layer: Rc::clone(&parsed.layer),
            around: Some(Rc::clone(around)),
        };
        Ok((Rc::clone(&parsed.root), Rc::new(scope)))
    }
}

/// A parsed text takes some multiple of its length.
fn charge_parsing(session: &mut Session, text: &[u8]) -> Result<(), LimitExceeded> {
    session.meter.charge(text.len() as u64 / 8)?;
    session.meter.charge_bytes(text.len().saturating_mul(8))
}

/// A text, parsed and compiled.
pub(crate) struct ParsedText {
    root: Rc<Template>,
    layer: Rc<Layer>,
}

impl ParsedText {
    fn new(name: &str, text: &[u8], functions: &Functions) -> Result<Self, ParseError> {
        let (source, definitions) = parse::parse(name, text, functions)?;
        let source = Rc::new(source);
        let mut layer = Layer::default();
        for definition in &definitions {
            let template = Rc::new(exec::compile(&source, definition, functions));
            layer.templates.insert(Rc::clone(&definition.name), template);
        }
        let root = layer
            .templates
            .get(name)
            .map(Rc::clone)
            .expect("the parser defines the text's own template");
        Ok(Self {
            root,
            layer: Rc::new(layer),
        })
    }
}

/// The templates of one text, or of one set.
#[derive(Clone, Default)]
pub(crate) struct Layer {
    templates: HashMap<Rc<str>, Rc<Template>>,
}

/// The templates that a template sees: those of its own text first, then those around it.
pub(crate) struct Scope {
    layer: Rc<Layer>,
    around: Option<Rc<Scope>>,
}

impl Scope {
    /// The template with this name. An empty one hides none further out.
    pub(crate) fn lookup(&self, name: &str) -> Option<&Rc<Template>> {
        let mut found = None;
        let mut scope = Some(self);
        while let Some(Self { layer, around }) = scope {
            if let Some(template) = layer.templates.get(name) {
                found = Some(template);
                if !template.empty {
                    break;
                }
            }
            scope = around.as_deref();
        }
        found
    }
}
