//! The hub's UDP socket: quinn's own, with less memory for each connection.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};

/// Datagrams that one call of the kernel sends. A connection keeps a buffer for as many of the largest for as long as it
/// lives, and grows it by doubling: with the ten that quinn would give the kernel, an agent that is at rest has the room of
/// twenty.
const SEGMENTS: usize = 2;

#[derive(Debug)]
struct HubSocket(Arc<dyn AsyncUdpSocket>);

/// Hands a bound socket to quinn. Must be called within a tokio runtime.
pub(crate) fn hub_socket(socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    Ok(Arc::new(HubSocket(TokioRuntime.wrap_udp_socket(socket)?)))
}

impl AsyncUdpSocket for HubSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.0.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_transmit_segments().min(SEGMENTS)
    }

    fn max_receive_segments(&self) -> usize {
        self.0.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}
