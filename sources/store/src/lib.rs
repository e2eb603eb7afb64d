//! The artifact store: atomic writes, digests, retention, and the HTTP file server that publishes it.
