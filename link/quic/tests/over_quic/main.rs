//! The link over QUIC, the race between carriers, and peers that mean harm: real sockets, TLS and certificates.
//!
//! `over_tcp` is the same program with every link over TCP.

mod bed;
mod carriers;
mod doctor;
mod flood;
mod hostile;
mod link;
mod live;
mod thrift;
