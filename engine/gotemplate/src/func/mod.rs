//! Functions and methods that templates call.

mod caller;
mod error;
mod render;

pub use caller::Caller;
pub use error::FunctionError;
pub(crate) use render::Then;
pub use render::{Render, RenderSource};

use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::value::{GoType, Value};

type Body = Rc<dyn Fn(&mut Caller<'_>, &[Value]) -> Result<Outcome, FunctionError>>;

/// A function or a bound method: the types of its parameters, and what it does.
///
/// The evaluator checks the number and the types of the arguments by Go's rules and in Go's words before the body runs,
/// so a body that asked for a `string` gets a [`Value::Str`]; for [`GoType::Any`] it may get anything, nil included.
///
/// ```
/// use nave_gotemplate::{Function, GoType, Value};
///
/// let upper = Function::new(&[GoType::String], |_, args| {
///     Ok(Value::string(args[0].as_string().unwrap_or_default().to_text().to_uppercase()))
/// });
/// let list = Function::variadic(&[GoType::Any], |caller, args| {
///     caller.charge_items(args.len())?;
///     Ok(Value::list(args.to_vec()))
/// });
/// # drop((upper, list));
/// ```
#[derive(Clone)]
pub struct Function {
    params: &'static [GoType],
    variadic: bool,
    pub(crate) body: Body,
    pub(crate) builtin: Option<Builtin>,
}

/// Built-in functions that the evaluator itself carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builtin {
    /// Evaluates its arguments only as far as needed: the first false one decides.
    And,
    /// Evaluates its arguments only as far as needed: the first true one decides.
    Or,
    /// Calls a function that is a value.
    Call,
    /// Complains about an empty place otherwise than about what does not exist.
    Len,
}

/// What a body answers: a value, or something to render first.
pub(crate) enum Outcome {
    Value(Value),
    Render(Box<Render>),
}

impl Function {
    /// A function of fixed parameters.
    pub fn new(
        params: &'static [GoType],
        body: impl Fn(&mut Caller<'_>, &[Value]) -> Result<Value, FunctionError> + 'static,
    ) -> Self {
        let body: Body = Rc::new(move |caller, args| body(caller, args).map(Outcome::Value));
        Self {
            params,
            variadic: false,
            body,
            builtin: None,
        }
    }

    /// A function whose last parameter may be given any number of times, also never.
    pub fn variadic(
        params: &'static [GoType],
        body: impl Fn(&mut Caller<'_>, &[Value]) -> Result<Value, FunctionError> + 'static,
    ) -> Self {
        Self {
            variadic: true,
            ..Self::new(params, body)
        }
    }

    /// A function that has a template rendered: `include`, `tpl`.
    ///
    /// It does not call the evaluator: it says what to render and how to go on with the text, so that templates within
    /// templates cost no stack.
    pub fn rendering(
        params: &'static [GoType],
        body: impl Fn(&mut Caller<'_>, &[Value]) -> Result<Render, FunctionError> + 'static,
    ) -> Self {
        let body: Body = Rc::new(move |caller, args| Ok(Outcome::Render(Box::new(body(caller, args)?))));
        Self {
            params,
            variadic: false,
            body,
            builtin: None,
        }
    }

    /// The types of its parameters; the last one is repeated if [`Function::is_variadic`].
    #[must_use]
    pub fn params(&self) -> &'static [GoType] {
        self.params
    }

    /// Whether the last parameter may be repeated.
    #[must_use]
    pub fn is_variadic(&self) -> bool {
        self.variadic
    }
}

/// The functions that a set of templates may call, by name: its own, and behind them those that many sets share.
#[derive(Clone, Default)]
pub struct Functions {
    /// Never has shared functions itself.
    shared: Option<Rc<Functions>>,
    table: Vec<(Rc<str>, Function)>,
    /// Names come from the program and not from templates, so that nobody can make them collide.
    by_name: FxHashMap<Rc<str>, usize>,
}

/// Room for Go's functions, sprig's and Helm's.
const USUAL: usize = 320;

impl Functions {
    /// No function at all, not even the built-in ones.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Go's built-in functions: `and or not len index slice print printf println html js urlquery call eq ne lt le gt ge`.
    #[must_use]
    pub fn builtin() -> Self {
        let mut functions = Self {
            shared: None,
            table: Vec::with_capacity(USUAL),
            by_name: FxHashMap::with_capacity_and_hasher(USUAL, rustc_hash::FxBuildHasher),
        };
        crate::builtin::install(&mut functions);
        functions
    }

    /// All of `shared`, without a copy of them; what is inserted stands before them.
    ///
    /// # Panics
    /// When `shared` was made by this function too.
    #[must_use]
    pub fn over(shared: Rc<Functions>) -> Self {
        assert!(shared.shared.is_none(), "functions are shared on one level");
        Self {
            shared: Some(shared),
            ..Self::default()
        }
    }

    /// Adds a function, in place of one with the same name.
    pub fn insert(&mut self, name: &str, function: Function) {
        if let Some(index) = self.by_name.get(name) {
            self.table[*index].1 = function;
        } else {
            let name: Rc<str> = Rc::from(name);
            self.by_name.insert(Rc::clone(&name), self.table.len());
            self.table.push((name, function));
        }
    }

    /// The function with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Function> {
        self.index_of(name).map(|index| self.at(index).1)
    }

    /// Whether there is a function with this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.index_of(name).is_some()
    }

    /// All names: the shared ones first, each part in the order of its insertion.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let shared = self.shared.iter().flat_map(|shared| &shared.table);
        shared
            .filter(|(name, _)| !self.by_name.contains_key(name))
            .chain(&self.table)
            .map(|(name, _)| &**name)
    }

    /// Shared functions have the first numbers, so that they do not change when another one is inserted.
    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        match self.by_name.get(name) {
            Some(index) => Some(self.shared_count() + index),
            None => self.shared.as_ref()?.by_name.get(name).copied(),
        }
    }

    pub(crate) fn at(&self, index: usize) -> (&Rc<str>, &Function) {
        let (name, function) = match &self.shared {
            Some(shared) if index < shared.table.len() => &shared.table[index],
            _ => &self.table[index - self.shared_count()],
        };
        (name, function)
    }

    fn shared_count(&self) -> usize {
        self.shared.as_ref().map_or(0, |shared| shared.table.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answering(answer: bool) -> Function {
        Function::new(&[], move |_, _| Ok(answer.into()))
    }

    #[test]
    fn own_functions_stand_before_shared_ones() {
        let mut shared = Functions::none();
        shared.insert("a", answering(true));
        shared.insert("b", answering(false));
        let mut functions = Functions::over(Rc::new(shared));
        let before = functions.index_of("b").unwrap();
        functions.insert("c", answering(true));
        functions.insert("a", answering(false));
        assert_eq!(functions.names().collect::<Vec<_>>(), ["b", "c", "a"]);
        assert_eq!(functions.index_of("b"), Some(before));
        for name in ["a", "b", "c"] {
            let index = functions.index_of(name).unwrap();
            assert_eq!(&**functions.at(index).0, name);
        }
        assert!(functions.index_of("a").unwrap() >= 2, "the own one, not the shared one");
        assert!(functions.has("c") && !functions.has("d") && functions.get("b").is_some());
    }
}
