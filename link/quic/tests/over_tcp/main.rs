//! The same tests as `over_quic`, with every link over TCP.

#[path = "../over_quic/bed/mod.rs"]
mod bed;
#[path = "../over_quic/hostile.rs"]
mod hostile;
#[path = "../over_quic/link.rs"]
mod link;
#[path = "../over_quic/live.rs"]
mod live;
#[path = "../over_quic/thrift.rs"]
mod thrift;
