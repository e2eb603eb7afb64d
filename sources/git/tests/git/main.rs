//! The crate against a real `git http-backend`.

mod access;
mod caching;
mod files;
mod github_app;
mod push;
mod references;
mod server;
mod ssh;
mod submodules;
