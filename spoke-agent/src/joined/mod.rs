//! Life with a hub.
//!
//! ```text
//! config, state ─► link ─► worker ─► cluster        items of the hub, checked and applied
//!                   ▲  ◄── reporter ◄── watches     what became of them
//!                   └───── permits                  may this be pruned?
//! ```

mod artifacts;
mod bundle;
mod config;
mod items;
mod objects;
mod policy;
mod report;
mod reporter;
mod state;
mod worker;
