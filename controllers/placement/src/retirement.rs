//! The retirement log: written before anything of a deleted fleet object goes.

use std::collections::HashMap;

use jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use nave_crds::fleet::{FleetResource, Retirement, RetirementLogSpec};
use nave_crds::meta::Time;
use nave_crds::{RetirementLog, managers};
use nave_placement::Policy;
use nave_runtime::conditions::whole_seconds;

use crate::convert::{self, policy_of};

/// The log could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RetireError {
    /// The API server refused.
    #[error("writing RetirementLog {namespace}/{}", RetirementLog::NAME)]
    Write {
        namespace: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// Others wrote it again and again.
    #[error(
        "RetirementLog {namespace}/{} changed with every attempt to write it",
        RetirementLog::NAME
    )]
    Contended { namespace: String },
}

/// Workspaces delete fleet objects one by one; more than a few writers at once are not expected.
const ATTEMPTS: usize = 8;

/// Policies by UID, as a log says.
pub(crate) fn entries(log: &RetirementLog) -> HashMap<String, Policy> {
    log.spec
        .entries
        .iter()
        .map(|entry| (entry.uid.clone(), policy_of(entry.policy)))
        .collect()
}

/// Notes a fleet object in the log of its namespace, by compare-and-swap.
pub(crate) async fn write<K: FleetResource>(client: &Client, fleet: &K, now: Timestamp) -> Result<(), RetireError> {
    let owner = convert::owner_of(fleet);
    let api: Api<RetirementLog> = Api::namespaced(client.clone(), &owner.namespace);
    let failed = |source| RetireError::Write {
        namespace: owner.namespace.clone(),
        source: Box::new(source),
    };
    let entry = Retirement {
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        policy: fleet.parts().deletion.policy,
        time: Time(whole_seconds(now)),
    };
    let parameters = PostParams {
        field_manager: Some(managers::HUB.to_owned()),
        ..PostParams::default()
    };
    for _ in 0..ATTEMPTS {
        let found = api.get_opt(RetirementLog::NAME).await.map_err(failed)?;
        let result = match found {
            None => {
                let spec = RetirementLogSpec {
                    entries: vec![entry.clone()],
                };
                let log = RetirementLog::new(RetirementLog::NAME, spec);
                api.create(&parameters, &log).await
            }
            Some(mut log) => {
                if !add(&mut log.spec.entries, entry.clone()) {
                    return Ok(());
                }
                log.managed_fields_mut().clear();
                api.replace(RetirementLog::NAME, &parameters, &log).await
            }
        };
        match result {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(RetireError::Contended {
        namespace: owner.namespace.clone(),
    })
}

/// Adds an entry; the oldest go when there are too many. False when it was there already.
fn add(entries: &mut Vec<Retirement>, entry: Retirement) -> bool {
    if entries.iter().any(|one| one.uid == entry.uid) {
        return false;
    }
    entries.push(entry);
    let excess = entries.len().saturating_sub(RetirementLog::MAX_ENTRIES);
    entries.drain(..excess);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_crds::fleet::FleetDeletionPolicy;

    fn entry(uid: usize) -> Retirement {
        Retirement {
            kind: "FleetKustomization".into(),
            name: "apps".into(),
            uid: uid.to_string(),
            policy: FleetDeletionPolicy::Orphan,
            time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn the_log_is_bounded_and_notes_each_life_once() {
        let mut entries = Vec::new();
        for uid in 0..RetirementLog::MAX_ENTRIES + 3 {
            assert!(add(&mut entries, entry(uid)));
        }
        assert!(!add(&mut entries, entry(100)));
        assert_eq!(entries.len(), RetirementLog::MAX_ENTRIES);
        assert_eq!(entries[0].uid, "3");
    }
}
