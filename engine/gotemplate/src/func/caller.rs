//! What a function has besides its arguments.

use std::rc::Rc;

use crate::format;
use crate::limits::LimitExceeded;
use crate::session::Session;
use crate::template::Scope;
use crate::value::{Map, Str, Value};

/// The evaluator as a function sees it: accounts to charge, templates to ask for.
pub struct Caller<'a> {
    pub(crate) session: &'a mut Session,
    pub(crate) scope: &'a Scope,
}

impl Caller<'_> {
    /// Charges work: about one unit per value visited. A call itself is charged by the evaluator.
    ///
    /// # Errors
    ///
    /// When the fuel of the session is spent. The error ends the whole render.
    pub fn charge(&mut self, fuel: u64) -> Result<(), LimitExceeded> {
        self.session.meter.charge(fuel)
    }

    /// Charges text or other memory of this many bytes. To be called before it is allocated.
    ///
    /// # Errors
    ///
    /// When the session has produced too many bytes. The error ends the whole render.
    pub fn charge_bytes(&mut self, bytes: usize) -> Result<(), LimitExceeded> {
        self.session.meter.charge_bytes(bytes)
    }

    /// Charges a list or map of this many entries: work and memory. To be called before it is allocated.
    ///
    /// # Errors
    ///
    /// As [`Caller::charge`] and [`Caller::charge_bytes`].
    pub fn charge_items(&mut self, items: usize) -> Result<(), LimitExceeded> {
        self.session.meter.charge_items(items)
    }

    /// Puts an entry into a map that others hold too, as `set` and the merge functions do.
    ///
    /// A map can come to hold itself in this way. The session remembers the maps changed here and empties them when it
    /// ends, so that nothing leaks.
    ///
    /// # Errors
    ///
    /// As [`Caller::charge_items`].
    pub fn set(&mut self, map: &Rc<Map>, key: impl Into<Rc<str>>, value: Value) -> Result<(), LimitExceeded> {
        self.charge_items(1)?;
        if matches!(
            value,
            Value::Map(_) | Value::List(_) | Value::Object(_) | Value::Func(_)
        ) {
            self.session.watch(map);
        }
        map.insert(key, value);
        Ok(())
    }

    /// `fmt.Sprint` of the values, charged.
    ///
    /// # Errors
    ///
    /// As [`Caller::charge_bytes`]; also when a value is nested too deeply.
    pub fn sprint(&mut self, values: &[Value]) -> Result<Str, LimitExceeded> {
        let text = format::sprint(values, self.session.meter.bytes_left())?;
        self.charge_bytes(text.len())?;
        Ok(text)
    }

    /// `fmt.Sprintln` of the values, charged.
    ///
    /// # Errors
    ///
    /// As [`Caller::sprint`].
    pub fn sprintln(&mut self, values: &[Value]) -> Result<Str, LimitExceeded> {
        let text = format::sprintln(values, self.session.meter.bytes_left())?;
        self.charge_bytes(text.len())?;
        Ok(text)
    }

    /// `fmt.Sprintf` of the values, charged.
    ///
    /// # Errors
    ///
    /// As [`Caller::sprint`].
    pub fn sprintf(&mut self, template: &[u8], values: &[Value]) -> Result<Str, LimitExceeded> {
        let text = format::sprintf(template, values, self.session.meter.bytes_left())?;
        self.charge_bytes(text.len())?;
        Ok(text)
    }

    /// How many bytes may still be charged.
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        self.session.meter.bytes_left()
    }

    /// Whether the calling template could render a template with this name.
    #[must_use]
    pub fn has_template(&self, name: &str) -> bool {
        self.scope.lookup(name).is_some()
    }
}
