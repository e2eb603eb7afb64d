//! Flux's own controllers beside Nave: behaviour and moving.

mod behaviour;
mod handover;
