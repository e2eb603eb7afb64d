//! The crate against a real `git http-backend`.

mod access;
mod caching;
mod files;
mod references;
mod server;
