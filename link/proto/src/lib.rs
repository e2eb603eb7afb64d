//! The hub-spoke protocol as a state machine with no socket and no clock.
