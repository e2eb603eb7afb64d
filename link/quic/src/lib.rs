//! The link carried over QUIC.
