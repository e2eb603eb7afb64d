//! The hub: fans fleet objects out to clusters, terminates agent links, rolls health up.

fn main() {}
