//! How much a render may cost.

/// The bounds of a [`crate::Session`]: of everything that is rendered in it together.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Steps: evaluated nodes, iterations, values that functions visit.
    pub fuel: u64,
    /// Bytes of text and lists produced, also by what is thrown away again.
    pub bytes: u64,
    /// Templates within templates, by `template`, `include` and `tpl`.
    pub depth: usize,
}

impl Default for Limits {
    /// Two orders of magnitude above what the largest public charts need.
    fn default() -> Self {
        Self {
            fuel: 200_000_000,
            bytes: 1 << 30,
            depth: 1100,
        }
    }
}

/// A bound of the session was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// See [`Limits::fuel`].
    #[error("template takes more than {0} steps")]
    Fuel(u64),
    /// See [`Limits::bytes`].
    #[error("template produces more than {0} bytes")]
    Bytes(u64),
    /// See [`Limits::depth`].
    #[error("exceeded maximum template depth ({0})")]
    Depth(usize),
    /// A value is nested too deeply to be printed, or holds itself.
    #[error("value is nested more than {0} levels deep")]
    Nesting(usize),
}

/// What is left of the limits.
pub(crate) struct Meter {
    limits: Limits,
    fuel: u64,
    bytes: u64,
}

impl Meter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            fuel: limits.fuel,
            bytes: limits.bytes,
            limits,
        }
    }

    pub(crate) fn depth(&self) -> usize {
        self.limits.depth
    }

    pub(crate) fn bytes_left(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    pub(crate) fn charge(&mut self, fuel: u64) -> Result<(), LimitExceeded> {
        match self.fuel.checked_sub(fuel) {
            Some(left) => {
                self.fuel = left;
                Ok(())
            }
            None => {
                self.fuel = 0;
                Err(LimitExceeded::Fuel(self.limits.fuel))
            }
        }
    }

    pub(crate) fn charge_bytes(&mut self, bytes: usize) -> Result<(), LimitExceeded> {
        match self.bytes.checked_sub(bytes as u64) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => {
                self.bytes = 0;
                Err(LimitExceeded::Bytes(self.limits.bytes))
            }
        }
    }

    pub(crate) fn charge_items(&mut self, items: usize) -> Result<(), LimitExceeded> {
        self.charge(items as u64)?;
        self.charge_bytes(items.saturating_mul(size_of::<crate::value::Value>()))
    }
}
