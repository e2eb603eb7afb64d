//! Ports that nobody listens on.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;

use anyhow::{Context as _, Result};

/// A TCP port of 127.0.0.1 that was free a moment ago; this process is never given it twice.
///
/// Another process can take it before it is used, so prefer binding to port 0 where the program under test can.
pub fn free_tcp_port() -> Result<u16> {
    once(|| Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port()))
}

/// A port that is free for UDP, and for TCP too: hubs take both.
pub fn free_udp_port() -> Result<u16> {
    once(|| {
        let taken = loop {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            let port = socket.local_addr()?.port();
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                Ok(_) => break port,
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        };
        Ok(taken)
    })
}

fn once(pick: impl Fn() -> std::io::Result<u16>) -> Result<u16> {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    loop {
        let port = pick().context("binding to any free port of 127.0.0.1")?;
        let mut given = GIVEN.lock().expect("nothing panics while it holds the set");
        if given.get_or_insert_default().insert(port) {
            return Ok(port);
        }
    }
}
