//! Real control planes, git servers and processes for tests and the demo; none is ever left behind.
//!
//! ```text
//!  test ─► Plane ──► controlplane (Go, built once) ─► etcd, API server, controllers, scheduler, imaginary nodes
//!     ├──► Proc ───► nave-hub, nave-agent, … (binary())
//!     ├──► GitServer ─► git http-backend             all of them ─► keeper: ended with us, however we end
//!     ├──► git_ssh::SshServer ─► git upload-pack
//!     ├──► Registry (Go, built once), RegistryFront: one that lies
//!     ├──► S3Server (SeaweedFS, fetched once)
//!     ├──► Sigstore, Notary: sign as cosign and notation do, with roots of their own
//!     ├──► HttpProxy: with a user, counting
//!     ├──► ApiProxy: an API server with faults
//!     └──► TcpRelay, UdpRelay: a network that can be cut, slow and lossy
//! ```

mod api_proxy;
mod assets;
mod audit;
mod background;
mod binaries;
mod git;
mod git_backend;
mod git_repo;
pub mod git_ssh;
mod go_tool;
mod http_proxy;
mod keeper;
mod net;
mod notary;
mod plane;
mod ports;
mod process;
mod program;
mod registry;
mod registry_front;
mod s3;
mod sigstore;
mod tls;
mod tls_listener;
mod wait;

pub use api_proxy::{ApiFault, ApiProxy};
pub use audit::{AuditLog, Mark, Request, Requests};
pub use binaries::binary;
pub use git::{Auth, Fault, GitServer, GitServerOptions, SeenRequest};
pub use git_repo::GitRepo;
pub use http_proxy::HttpProxy;
pub use keeper::scratch_dir;
pub use net::{TcpRelay, UdpRelay};
pub use notary::Notary;
pub use plane::{Plane, PlaneOptions};
pub use ports::{free_tcp_port, free_udp_port};
pub use process::{Launch, Proc};
pub use program::build_controlplane;
pub use registry::{Registry, RegistryOptions};
pub use registry_front::{RegistryFault, RegistryFront, RegistryRequest};
pub use s3::{S3Options, S3Server};
pub use sigstore::{CosignKey, Signatory, Sigstore, TagSignature};
pub use tls::{Authority, Issued, install_crypto_provider};
pub use tls_listener::TlsListener;
pub use wait::eventually;
