//! Kubernetes objects as data: identity, YAML as Go reads and writes it, order, normal form.
//!
//! text ─► yaml::Node ─► Value ─► Object ─► normalize ─► order ─► text

pub mod digest;
pub mod duration;
mod id;
pub mod normalize;
mod object;
pub mod order;
pub mod pointer;
pub mod yaml;

pub use id::{InventoryIdError, ObjectId};
pub use object::{Gvk, Object, ObjectError};
