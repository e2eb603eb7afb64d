//! The hub: fans fleet objects out to clusters, terminates the links of agents, rolls their health up.
//!
//! ```text
//! FleetKustomization ─► placement ─► desired ─► checkpoint ─► sessions ═ link ═► agents
//!                          ▲                                     │
//!                          └────────────── view ◄────────────────┘ status
//!                          view ◄─► memory (state file, over a restart)
//! plans of agents ─► brake ─► permits             what is over a budget waits for a person
//! Cluster, JoinToken ─► identities, join, renew      Cluster.status ◄─ cluster_status
//! API server ─► live ─► sessions                 what a user may see of a spoke, on request
//! GitRepository ─► source ─► artifacts (manifests, chunks)     kubeconfig clusters ◄─ kustomize, probe
//! ```

mod active_pod;
mod args;
mod artifacts;
mod artifacts_port;
mod authority;
mod brake;
mod cluster_status;
mod desired;
mod hub;
mod hub_state;
mod identities;
mod info;
mod join;
mod limiter;
mod link_certificate;
mod live;
mod locked;
mod memory;
mod metrics;
mod outlook;
mod permits;
mod ports;
mod probe;
mod referenced;
mod renew;
mod rotation;
mod sessions;
mod traffic;
mod view;

pub use active_pod::ActivePod;
pub use args::{Arguments, LogEncoding};
pub use authority::SECRET as AUTHORITY_SECRET;
pub use hub::{Hub, LEASE};
pub use hub_state::NAME as HUB_STATE;
pub use info::CONFIG_MAP as INFO_CONFIG_MAP;
pub use live::API_SERVICE as LIVE_API_SERVICE;
pub use ports::client;
