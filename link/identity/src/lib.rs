//! Keys, certificates, join tokens, root sets, and the rule that decides who a key is.
//!
//! ```text
//!  agent                               network                 hub
//!  Key ── self-signed ─┐                                ┌── Authority (server CA) ─► ServerIdentity
//!  JoinToken ─ pin ────┼─► client_config ═ TLS 1.3 ═ server_config
//!  RootSet ─ roots ────┘     checks the hub        checks possession of the key, nothing else
//!                                                       │
//!                                 after the handshake:  Registry::decide ─► Known | RenewOnly | Joining | Unknown | Revoked
//!                                 a join request:       decide_join      ─► what to write, or why not
//! ```
//!
//! The key is the identity and the certificate a lease: an expired certificate still proves the key, so it may ask for
//! a new one; a revoked key is refused although its certificate is valid. No function here reads a clock or does I/O:
//! time is an argument (keys and serial numbers come from the operating system's random source).

mod authority;
mod certificate;
mod clock;
mod fingerprint;
mod foreign;
mod join;
mod key;
mod recovery;
mod registry;
mod roots;
mod tls;
mod token;

pub use authority::{
    Authority, AuthorityError, AuthorityPem, AuthorityRole, CLIENT_CERTIFICATE_LIFETIME, IssuedCertificate,
    ServerIdentity,
};
pub use certificate::{CertificateError, CertificateFacts, CertificateRequest, PeerCertificate};
pub use clock::{BUILD_TIME_SECONDS, TimeFloor};
pub use fingerprint::{FingerprintError, KeyFingerprint};
pub use foreign::{ForeignCertificate, ForeignError};
pub use join::{Approval, ExistingCluster, JoinAttempt, JoinOutcome, JoinRefusal, TokenRecord, TokenUse, decide_join};
pub use key::{Key, KeyError};
pub use recovery::{carried, later_version, recover};
pub use registry::{ClusterKeys, ClusterRef, Registry, RenewReason, Standing, TokenKey, UnknownReason};
pub use roots::{RootSet, RootSetError, RootSignature, SignedRootSet, TrustedRoots};
pub use tls::{ALPN, SERVER_NAME, ServerCertificates, TlsError, Trust, client_config, provider, server_config};
pub use token::{IssuedToken, JoinToken, TokenError, TokenHash};
