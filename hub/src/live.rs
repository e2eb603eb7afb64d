//! Live reads of spokes: what a user of the hub's API server may see of a cluster, on request.
//!
//! ```text
//! user ─► API server ──── TLS, front proxy ────► door ─► routes ─► rights (SubjectAccessReview) ─► read ═ link ═► agent
//!           who is it?      its certificate               │         clusters/live-* of the workspace
//!           may he ask?     names the user                └─ audit: a line and a count for each, denied or not
//! ```
//!
//! The API server forwards the group `live.fleet.nave.dev` here (an APIService). It knows who the user is by whatever
//! means it has, and says so in headers that count only on a connection with its front-proxy certificate; no credential
//! of a user ever comes to the hub. A standby answers too, so that the group does not vanish while the leader changes.

mod audit;
mod door;
mod front_proxy;
mod history;
mod limits;
mod question;
mod read;
mod rights;
mod routes;
mod traffic;

use std::sync::Arc;

use kube::Client;
use nave_runtime::Tasks;

pub use door::{API_SERVICE, LiveDoor};

use crate::{memory::Memory, metrics::HubMetrics, sessions::Sessions};

/// The API group that the API server forwards.
const GROUP: &str = "live.fleet.nave.dev";
/// Its version.
const VERSION: &str = "v1alpha1";

/// What a hub that leads needs to answer.
#[derive(Clone)]
pub struct Active {
    client: Client,
    sessions: Arc<Sessions>,
    memory: Arc<Memory>,
    metrics: HubMetrics,
    limits: limits::Limits,
    tasks: Tasks,
}

impl Active {
    /// Rights are asked for with `client`.
    pub fn new(
        client: Client,
        sessions: Arc<Sessions>,
        memory: Arc<Memory>,
        metrics: HubMetrics,
        tasks: Tasks,
    ) -> Self {
        Active {
            client,
            sessions,
            memory,
            metrics,
            limits: limits::Limits::default(),
            tasks,
        }
    }
}
