//! The hub's checkpoints: a ring kept in the HubState object and written before desired state is sent.
//!
//! Agents show the last checkpoint they saw. One that this hub does not know was given by a hub that no longer exists:
//! the object was restored from a backup or lost, and so may be everything else. Then the hub is *Behind*: it deletes
//! nothing, sends no desired state and admits nobody, until a person has looked and confirmed. One that no hub gave says
//! something about who shows it, and nothing about the hub.

mod ring;

use std::sync::Mutex;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, ResourceExt, api::PostParams};
use nave_crds::{
    HubState, annotations, conditions,
    fleet::{Checkpoint, HubStateSpec, Outlook},
    managers,
};
use nave_proto::{CheckpointRing, Issuer, Relation, wire};
use nave_runtime::{Conditions, Status};
use rand::Rng;
use tokio::sync::watch;

use crate::locked;
pub use ring::of_object as wire_checkpoint;

/// Name of the one object, in the hub's namespace.
pub const NAME: &str = "hub";
const TRIES: usize = 8;

/// The checkpoints of this hub.
pub struct Checkpoints {
    api: Api<HubState>,
    hub_uid: String,
    current: Mutex<HubState>,
    issuer: Issuer,
    behind: watch::Sender<Option<Behind>>,
    /// Only one write is under way at a time; a second one waits and then usually finds nothing left to do.
    writing: tokio::sync::Mutex<()>,
}

/// Where the checkpoint comes from that an agent shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This hub gave it, as far as it knows, or the agent shows none.
    Ours,
    /// The hub gave it and does not know of it any more.
    Lost,
    /// Nobody gave it.
    Forged,
}

/// Why the hub does not trust its own memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// What was shown and by whom.
    pub reason: String,
    /// The incarnation that a person has to confirm.
    pub confirm: i64,
}

/// The hub's state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HubStateError {
    /// The API server refused.
    #[error("{what} HubState {NAME}")]
    Api {
        /// What was being done.
        what: &'static str,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// Another process advanced the checkpoints.
    #[error(
        "HubState {NAME} was advanced by another hub (it holds checkpoint {theirs}, this process wrote {ours}); only one hub may be active"
    )]
    Foreign {
        /// Sequence number in the object.
        theirs: i64,
        /// Ours.
        ours: i64,
    },
    /// It kept changing.
    #[error("HubState {NAME} kept changing while it was written")]
    Contended,
}

impl Checkpoints {
    /// Reads the object, or makes it for a hub that is new. Checkpoints are signed with `key`.
    pub async fn ensure(client: &Client, namespace: &str, key: [u8; 32]) -> Result<Self, HubStateError> {
        let issuer = Issuer::new(key, rand::rng().random());
        let api: Api<HubState> = Api::namespaced(client.clone(), namespace);
        let failed = |what| {
            move |source| HubStateError::Api {
                what,
                source: Box::new(source),
            }
        };
        let object = match api.get_opt(NAME).await.map_err(failed("reading"))? {
            Some(object) => object,
            None => match api.create(&parameters(), &first(&issuer)).await {
                Ok(object) => object,
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    api.get(NAME).await.map_err(failed("reading"))?
                }
                Err(error) => return Err(failed("creating")(error)),
            },
        };
        let remembered = object
            .status
            .as_ref()
            .filter(|status| status.conditions.is_true(conditions::BEHIND))
            .and_then(|status| status.conditions.get_condition(conditions::BEHIND))
            .map(|condition| Behind {
                reason: condition.message.clone(),
                confirm: object.spec.incarnation.saturating_add(1),
            });
        Ok(Checkpoints {
            api,
            hub_uid: object.spec.hub_uid.clone(),
            current: Mutex::new(object),
            issuer,
            behind: watch::channel(remembered).0,
            writing: tokio::sync::Mutex::default(),
        })
    }

    /// Names this hub to its agents.
    pub fn hub_uid(&self) -> &str {
        &self.hub_uid
    }

    /// Whether, and why, the hub is behind.
    pub fn behind(&self) -> watch::Receiver<Option<Behind>> {
        self.behind.subscribe()
    }

    /// Looks at the checkpoint that an agent shows. The hub is Behind from now on when it lost it.
    pub fn admit(&self, agent: &str, seen: Option<&wire::Checkpoint>) -> Origin {
        let (relation, latest, incarnation) = {
            let current = locked::mutex(&self.current);
            let ring = ring::read(&current.spec);
            let relation = ring.relation(seen, &self.issuer);
            (relation, ring::latest(&current.spec), ring.incarnation())
        };
        let Some(seen) = seen.filter(|_| relation.means_behind()) else {
            return if relation == Relation::Forged {
                tracing::error!(agent, "an agent shows a checkpoint that this hub never gave");
                Origin::Forged
            } else {
                Origin::Ours
            };
        };
        // A number that leaves no room for the next one was never given by anybody.
        let higher = seen.incarnation.max(incarnation).checked_add(1);
        let Some(confirm) = higher.and_then(|higher| i64::try_from(higher).ok()) else {
            return Origin::Forged;
        };
        let behind = Behind {
            reason: format!(
                "agent {agent} has seen checkpoint {}/{} of this hub, which knows {}/{} as its last: its state was restored or lost",
                seen.incarnation, seen.seq, latest.incarnation, latest.seq
            ),
            confirm,
        };
        tracing::error!(
            reason = behind.reason,
            confirm = behind.confirm,
            "the hub is behind its agents"
        );
        self.behind.send_if_modified(|current| {
            let worse = current.as_ref().is_none_or(|known| known.confirm < behind.confirm);
            if worse {
                *current = Some(behind);
            }
            worse
        });
        Origin::Lost
    }

    /// Writes the next checkpoint and returns it.
    ///
    /// # Errors
    /// Another process wrote checkpoints meanwhile: this one must stop sending.
    pub async fn advance(&self) -> Result<Checkpoint, HubStateError> {
        self.write(|ring| drop(ring.advance(&self.issuer))).await
    }

    /// Writes the condition, and takes over a confirmation when there is one. True when the hub is no longer behind.
    /// `outlook` is what a confirmation leads to.
    pub async fn report(&self, outlook: Outlook, now: Timestamp) -> Result<bool, HubStateError> {
        let failed = |what| {
            move |source| HubStateError::Api {
                what,
                source: Box::new(source),
            }
        };
        let behind = self.behind.borrow().clone();
        let object = self.api.get(NAME).await.map_err(failed("reading"))?;
        let confirmed = behind
            .as_ref()
            .is_some_and(|behind| confirmation(&object) == Some(behind.confirm));
        let behind = if let (true, Some(behind)) = (confirmed, &behind) {
            self.write(|ring| ring.confirm(behind.confirm.unsigned_abs(), &self.issuer))
                .await?;
            tracing::warn!(incarnation = behind.confirm, "an operator confirmed this hub's state");
            self.behind.send_replace(None);
            None
        } else {
            behind
        };
        let old = object.status.clone().unwrap_or_default();
        let mut new = old.clone();
        let generation = object.metadata.generation.unwrap_or_default();
        match &behind {
            Some(behind) => new.conditions.set(
                conditions::BEHIND,
                Status::True,
                "AgentsSawMore",
                format!(
                    "{}; nothing is sent or deleted. To go on with what this hub holds: annotate with {}={}",
                    behind.reason,
                    annotations::FLEET_CONFIRM_INCARNATION,
                    behind.confirm
                ),
                generation,
                now,
            ),
            None if new.conditions.is_true(conditions::BEHIND) => new.conditions.set(
                conditions::BEHIND,
                Status::False,
                "Confirmed",
                "an operator confirmed the state of this hub",
                generation,
                now,
            ),
            None => {}
        }
        new.outlook = behind.is_some().then_some(outlook);
        nave_runtime::status::patch(&self.api, NAME, managers::HUB, &old, &new)
            .await
            .map_err(failed("writing the status of"))?;
        Ok(behind.is_none())
    }

    async fn write(&self, change: impl Fn(&mut CheckpointRing)) -> Result<Checkpoint, HubStateError> {
        let failed = |what| {
            move |source| HubStateError::Api {
                what,
                source: Box::new(source),
            }
        };
        let _turn = self.writing.lock().await;
        for _ in 0..TRIES {
            let before = locked::mutex(&self.current).clone();
            let mut next = before.clone();
            let mut ring = ring::read(&next.spec);
            change(&mut ring);
            ring::write(&mut next.spec, &ring);
            match self.api.replace(NAME, &parameters(), &next).await {
                Ok(written) => {
                    let latest = ring::latest(&written.spec);
                    *locked::mutex(&self.current) = written;
                    return Ok(latest);
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    let theirs = self.api.get(NAME).await.map_err(failed("reading"))?;
                    let (ours, found) = (ring::latest(&before.spec), ring::latest(&theirs.spec));
                    // Annotations and status may change under us, the ring may not.
                    if ours != found {
                        return Err(HubStateError::Foreign {
                            theirs: found.seq,
                            ours: ours.seq,
                        });
                    }
                    *locked::mutex(&self.current) = theirs;
                }
                Err(error) => return Err(failed("writing")(error)),
            }
        }
        Err(HubStateError::Contended)
    }
}

fn first(issuer: &Issuer) -> HubState {
    let uid: [u8; 16] = rand::rng().random();
    let mut spec = HubStateSpec {
        hub_uid: ring::hex(&uid),
        ..HubStateSpec::default()
    };
    ring::write(&mut spec, &CheckpointRing::new(issuer));
    HubState {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

fn confirmation(object: &HubState) -> Option<i64> {
    object
        .annotations()
        .get(annotations::FLEET_CONFIRM_INCARNATION)?
        .trim()
        .parse()
        .ok()
}

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(managers::HUB.to_owned()),
        ..PostParams::default()
    }
}
