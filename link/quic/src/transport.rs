//! How QUIC is set up at both ends: small windows, no surprises. TLS over TCP has the same windows.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, Mac};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use sha2::Sha256;

/// The key of stateless resets. It must outlive the hub's process (a Secret), or agents learn of a restart only by their
/// idle timeout.
#[derive(Clone)]
pub struct ResetKey(pub [u8; 64]);

/// A stream may have so much under way to the hub: a status row and a half. Memory is taken only for what has arrived
/// and was not read.
pub(crate) const HUB_STREAM_WINDOW: u32 = 96 * 1024;
pub(crate) const HUB_WINDOW: u32 = 256 * 1024;
/// To an agent: at 100 ms of travel this is 10 MiB/s per chunk stream.
pub(crate) const AGENT_STREAM_WINDOW: u32 = 1024 * 1024;
pub(crate) const AGENT_WINDOW: u32 = 4 * 1024 * 1024;
/// What an end holds because it is not acknowledged yet.
const HUB_SEND_WINDOW: u64 = 512 * 1024;
const AGENT_SEND_WINDOW: u64 = 256 * 1024;
/// Control, state and eight fetches, and some for a later version's: as many as the tables that quinn makes for them at once
/// hold without growing to twice their size.
pub(crate) const HUB_STREAMS: u32 = 14;
/// Live reads that a hub may have open on one agent.
pub(crate) const AGENT_STREAMS: u32 = 16;
/// What an Ethernet path carries with IPv6's and UDP's heads.
const LARGEST_DATAGRAM: u16 = 1452;
/// After a path has swallowed large datagrams, they are tried again so much later.
const BLACK_HOLE_COOLDOWN: Duration = Duration::from_secs(300);
/// A restarted hub answers so many packets of old connections in a second: enough for a fleet to notice at once. A reset
/// is smaller than what it answers, so it multiplies nothing.
const RESETS_PER_SECOND: u32 = 10_000;

pub(crate) fn hub_transport(idle: Duration) -> Arc<TransportConfig> {
    let mut config = base(idle);
    config
        .stream_receive_window(HUB_STREAM_WINDOW.into())
        .receive_window(HUB_WINDOW.into())
        .send_window(HUB_SEND_WINDOW)
        .max_concurrent_bidi_streams(HUB_STREAMS.into());
    Arc::new(config)
}

pub(crate) fn agent_transport(idle: Duration) -> Arc<TransportConfig> {
    let mut config = base(idle);
    config
        .stream_receive_window(AGENT_STREAM_WINDOW.into())
        .receive_window(AGENT_WINDOW.into())
        .send_window(AGENT_SEND_WINDOW)
        .max_concurrent_bidi_streams(AGENT_STREAMS.into());
    Arc::new(config)
}

pub(crate) fn endpoint_config(reset_key: Option<&ResetKey>) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    if let Some(key) = reset_key {
        config.reset_key(Arc::new(key.clone()));
        // Connection ids are signed, so that garbage is dropped unanswered; the next process must know them for ours.
        let ids = key.connection_id_key();
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
        config.min_reset_interval(Duration::from_secs(1) / RESETS_PER_SECOND);
    }
    config
}

fn base(idle: Duration) -> TransportConfig {
    let mut config = TransportConfig::default();
    let longest = VarInt::from_u32(u32::MAX);
    let idle = IdleTimeout::try_from(idle).unwrap_or_else(|_| longest.into());
    // From 1,200 bytes, which every path carries, upwards while probes get through; a path that swallows what is larger
    // is noticed by what is lost and falls back.
    let mut discovery = MtuDiscoveryConfig::default();
    discovery
        .upper_bound(LARGEST_DATAGRAM)
        .black_hole_cooldown(BLACK_HOLE_COOLDOWN);
    config
        .max_concurrent_uni_streams(0u32.into())
        .datagram_receive_buffer_size(None)
        // Heartbeats keep the path open and carry something as well.
        .keep_alive_interval(None)
        .mtu_discovery_config(Some(discovery))
        .max_idle_timeout(Some(idle));
    config
}

impl ResetKey {
    fn connection_id_key(&self) -> u64 {
        let mac = self.mac(b"nave connection ids v1\0").finalize().into_bytes();
        u64::from_be_bytes(mac[..8].try_into().expect("8 of 32 bytes"))
    }

    fn mac(&self, data: &[u8]) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.0)
            .expect("HMAC takes keys of any length")
            .chain_update(data)
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&self.mac(data).finalize().into_bytes());
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.mac(data).verify_slice(signature).map_err(|_| CryptoError)
    }
}

impl std::fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResetKey")
    }
}
