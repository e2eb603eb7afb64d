//! Buckets of object storages: what is in them, and its content.
//!
//! ```text
//! Secret ─► Keys ─┐
//!                 ▼
//! spec ───► Access ─► Buckets ─► Remote ─┬─► list ─────► Index: keys, etags ─► revision
//!                                        └─► download ─► files in a directory, with the paths they stand for
//! ```
//!
//! Listing is our own: `object_store`, which signs and gets tokens here, knows neither prefixes that end within a name
//! nor keys that end with a slash, and Flux's revisions are made of both.

mod access;
mod azure;
mod buckets;
mod cloud;
mod download;
mod error;
mod google;
mod http_service;
mod index;
mod keys;
mod ldap;
mod list;
mod paths;
mod remote;
mod request;
mod s3;

pub use access::{Access, AzureKeys, Keys, Storage};
pub use buckets::Buckets;
pub use cloud::{CloudAsk, CloudCredentials, CloudKey};
pub use download::{Fetched, FetchedFile};
pub use error::BucketError;
pub use index::{Index, Object};
pub use list::Listing;
pub use remote::Remote;
