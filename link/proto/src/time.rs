//! Time as an argument: nothing in this crate reads a clock.

/// A moment on two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds since some moment of the caller's, never going back: deadlines are measured on it.
    pub mono: u64,
    /// Milliseconds since 1970 by the system clock, which may jump: only told to the peer, never compared with itself.
    pub wall: i64,
}

impl Now {
    /// The moment `milliseconds` later on both clocks.
    pub fn plus(self, milliseconds: u64) -> Self {
        Self {
            mono: self.mono + milliseconds,
            wall: self.wall.saturating_add_unsigned(milliseconds),
        }
    }
}
