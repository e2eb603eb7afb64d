//! Ports that are free, for programs that must be told one.
//!
//! They lie below those that the kernel gives to outgoing connections: a program that is killed finds its port again when
//! it is started a second time. A lock file keeps a port for the process that was given it, so that tests that run side
//! by side, and a program of theirs that is down for a moment, do not take each other's.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};
use rand::Rng as _;

/// Above what services like to have: etcd, API servers, MinIO.
const LOWEST: u16 = 12_000;
/// Where outgoing connections begin, when the kernel does not say.
const OUTGOING: u16 = 32_768;

/// A TCP port of 127.0.0.1 that was free a moment ago. No process that asks here is given it while this one lives.
pub fn free_tcp_port() -> Result<u16> {
    claim(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop))
}

/// A port that is free for UDP, and for TCP too: hubs take both.
pub fn free_udp_port() -> Result<u16> {
    claim(|port| {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
    })
}

fn claim(is_free: impl Fn(u16) -> std::io::Result<()>) -> Result<u16> {
    static CLAIMED: Mutex<Option<HashMap<u16, File>>> = Mutex::new(None);
    let (folder, ports) = (locks()?, LOWEST..outgoing());
    let mut claimed = CLAIMED.lock().expect("nothing panics while it holds the ports");
    let claimed = claimed.get_or_insert_default();
    let first = rand::rng().random_range(ports.clone());
    for port in (first..ports.end).chain(ports.start..first) {
        if claimed.contains_key(&port) {
            continue;
        }
        let path = folder.join(port.to_string());
        let lock = OpenOptions::new().create(true).append(true).open(&path);
        let lock = lock.with_context(|| format!("opening {}", path.display()))?;
        if lock.try_lock().is_err() {
            continue;
        }
        match is_free(port) {
            Ok(()) => {
                claimed.insert(port, lock);
                return Ok(port);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(error).with_context(|| format!("binding to port {port} of 127.0.0.1")),
        }
    }
    bail!("no port of 127.0.0.1 is free in {}", describe(&ports))
}

/// The folder of the lock files of this user.
fn locks() -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("nave-test-ports-{}", nix::unistd::getuid()));
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

/// The first port that the kernel may give to an outgoing connection.
fn outgoing() -> u16 {
    let told = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    let first = told.and_then(|range| range.split_whitespace().next()?.parse().ok());
    // A machine that gives out nearly all has none that are safe, and then any will do.
    first.filter(|first| *first > LOWEST + 1_000).unwrap_or(OUTGOING)
}

fn describe(ports: &Range<u16>) -> String {
    format!("{}-{}", ports.start, ports.end - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_once_and_not_to_outgoing_connections() {
        let ports: Vec<u16> = (0..50)
            .map(|number| {
                if number % 2 == 0 {
                    free_tcp_port()
                } else {
                    free_udp_port()
                }
            })
            .collect::<Result<_>>()
            .unwrap();
        let mut distinct = ports.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), ports.len());
        assert!(
            ports.iter().all(|port| (LOWEST..outgoing()).contains(port)),
            "{ports:?}"
        );
    }

    #[test]
    fn another_process_is_not_given_what_this_one_has() {
        let port = free_tcp_port().unwrap();
        let lock = File::open(locks().unwrap().join(port.to_string())).unwrap();
        assert!(
            lock.try_lock().is_err(),
            "another description of the file finds it locked"
        );
    }
}
