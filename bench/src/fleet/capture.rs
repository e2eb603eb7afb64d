//! Bytes as they are on the wire, beside those that the carrier's own statistics tell.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

/// IPv4, as packet sockets name it: the kernel wants the number in the order of the network. Packets that leave are shown
/// only to those who ask for every protocol, so on the loopback interface each is seen once, when it arrives.
const IPV4: i32 = 0x0800_u16.to_be() as i32;
/// Room for the packets of a busy moment.
const BUFFER: usize = 8 * 1024 * 1024;
/// How often the reader looks whether it shall end.
const LOOK: Duration = Duration::from_millis(100);

/// What a capture saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Bytes, heads of IP and UDP or TCP included.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

/// A capture of the packets to and from one port of this machine.
pub struct Capture {
    stop: Arc<AtomicBool>,
    reader: JoinHandle<Seen>,
}

impl Capture {
    /// Begins; it takes CAP_NET_RAW.
    ///
    /// # Errors
    /// This process may not.
    pub fn start(port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(IPV4)))?;
        socket.set_recv_buffer_size(BUFFER)?;
        socket.set_read_timeout(Some(LOOK))?;
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let reader = std::thread::spawn(move || read(socket, port, &until));
        Ok(Capture { stop, reader })
    }

    /// Ends it.
    pub fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.reader.join().unwrap_or_default()
    }
}

fn read(mut socket: Socket, port: u16, stop: &AtomicBool) -> Seen {
    let (mut seen, mut packet) = (Seen::default(), vec![0; 64 * 1024]);
    while !stop.load(Ordering::Relaxed) {
        // Nothing came in time, mostly.
        let Ok(length) = socket.read(&mut packet) else { continue };
        if let Some(bytes) = bytes_of(&packet[..length], port) {
            seen.bytes += bytes;
            seen.packets += 1;
        }
    }
    seen
}

/// The length of an IPv4 packet that goes to a port or comes from it.
fn bytes_of(packet: &[u8], port: u16) -> Option<u64> {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    let first = *packet.first()?;
    let carries_ports = matches!(*packet.get(9)?, TCP | UDP);
    if first >> 4 != 4 || !carries_ports {
        return None;
    }
    let head = usize::from(first & 0xf) * 4;
    let number = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    let is_ours = number(head)? == port || number(head + 2)? == port;
    is_ours.then_some(packet.len() as u64)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn packets_are_told_by_their_ports() {
        let packet = |protocol: u8, from: u16, to: u16| {
            let mut packet = vec![0; 20];
            (packet[0], packet[9]) = (0x45, protocol);
            packet.extend(from.to_be_bytes());
            packet.extend(to.to_be_bytes());
            packet.extend([0; 16]);
            packet
        };
        assert_eq!(bytes_of(&packet(17, 7, 9443), 9443), Some(40));
        assert_eq!(bytes_of(&packet(6, 9443, 7), 9443), Some(40));
        assert_eq!(bytes_of(&packet(17, 7, 8), 9443), None);
        assert_eq!(bytes_of(&packet(1, 7, 9443), 9443), None, "ICMP has no ports");
        assert_eq!(bytes_of(&[0x45; 12], 9443), None);
        assert_eq!(bytes_of(&[], 9443), None);
    }

    #[test]
    fn what_goes_through_the_loopback_interface_is_counted_once() {
        let near = UdpSocket::bind("127.0.0.1:0").unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = far.local_addr().unwrap().port();
        let capture = match Capture::start(port) {
            Ok(capture) => capture,
            Err(error) => return eprintln!("skipped: packets cannot be captured here: {error}"),
        };
        for _ in 0..3 {
            near.send_to(&[7; 72], ("127.0.0.1", port)).unwrap();
            far.recv(&mut [0; 100]).unwrap();
        }
        // What has arrived was shown to the capture before.
        std::thread::sleep(LOOK);
        assert_eq!(
            capture.finish(),
            Seen {
                bytes: 3 * 100,
                packets: 3
            }
        );
    }
}
