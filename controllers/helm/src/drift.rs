//! Changes that others made to the objects of a release.

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use nave_apply::{Drift, IgnoreRules};
use nave_crds::{
    annotations::{DISABLED, HELM_DRIFT_DETECTION},
    managers,
};
use nave_object::Object;
use nave_release::{Release, objects};
use nave_targets::ApplyMode;

use crate::{
    act::{Act, Failed},
    cluster::{Placed, describe},
    settings,
    write::How,
};

/// How many objects, and fields of each, a message names.
const NAMED: usize = 10;

/// An object that is not as the release says.
#[derive(Debug)]
pub(crate) struct Drifted {
    placed: Placed,
    /// What is different about it; none when it is not there.
    drift: Option<Drift>,
}

impl std::fmt::Display for Drifted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = self.placed.id();
        let Some(drift) = &self.drift else {
            return write!(f, "{id} removed");
        };
        let named = drift.fields.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        write!(f, "{id} changed: {named}")?;
        match drift.fields.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// What drifted, by object and field.
pub(crate) fn list(drifted: &[Drifted]) -> String {
    let mut lines: Vec<String> = drifted.iter().take(NAMED).map(ToString::to_string).collect();
    if drifted.len() > NAMED {
        lines.push(format!("and {} more objects", drifted.len() - NAMED));
    }
    lines.join("\n")
}

impl Act<'_> {
    /// Compares every object with the cluster by a dry run, hooks apart; in the order of the manifest.
    pub async fn find_drift(&self, release: &Release, ignore: &IgnoreRules) -> Result<Vec<Drifted>, Failed> {
        let mut wanted = objects(&release.manifest, &release.name).map_err(|error| Failed::of(&error))?;
        wanted.retain(|object| !is_left_out(object));
        wanted.iter_mut().for_each(|object| self.ownership().mark(object));
        let looks: Vec<_> = self
            .place_all(wanted)
            .await?
            .into_iter()
            .map(|placed| self.look(placed, ignore).boxed())
            .collect();
        let found: Vec<Option<Drifted>> = stream::iter(looks)
            .buffered(self.options.concurrent_requests.max(1))
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn look(&self, placed: Placed, ignore: &IgnoreRules) -> Result<Option<Drifted>, Failed> {
        let (id, resource) = (placed.id(), &placed.resource);
        let failed = |error: kube::Error| Failed::new(format!("{id}: {}", describe(&error)));
        let live = self.target.get(resource, &id.namespace, &id.name).await;
        let Some(live) = live.map_err(failed)? else {
            return Ok(Some(Drifted { placed, drift: None }));
        };
        if Object::from_value(live.clone()).is_ok_and(|live| is_left_out(&live)) {
            return Ok(None);
        }
        let (desired, mode) = (placed.object.as_value(), ApplyMode::DryRun);
        let applied = self
            .target
            .apply(resource, &id.namespace, &id.name, managers::HELM, desired, mode)
            .await
            .map_err(failed)?;
        let drift = Drift::between(&live, &applied, &placed.object, ignore);
        Ok(drift.map(|drift| Drifted {
            placed,
            drift: Some(drift),
        }))
    }

    /// Makes them as the release says, ignored fields apart: what is missing is created, and of the rest only what drifted
    /// is written.
    pub async fn correct(&self, release: &Release, drifted: Vec<Drifted>) -> Result<(), Failed> {
        let how = How {
            method: settings::method_of(release),
            ..How::default()
        };
        let mut failures = Vec::new();
        for Drifted { placed, drift } in drifted {
            let result = match drift {
                None => match self.write_all(vec![placed], &[], how).await {
                    Ok(_) => Ok(()),
                    Err((_, failed)) => Err(failed),
                },
                Some(drift) => self.undo(&placed, &drift).await,
            };
            failures.extend(result.err().map(|failed| failed.message));
        }
        match failures.is_empty() {
            true => Ok(()),
            false => Err(Failed::new(failures.join(" && "))),
        }
    }

    async fn undo(&self, placed: &Placed, drift: &Drift) -> Result<(), Failed> {
        let id = placed.id();
        self.may_apply(&id)?;
        self.target
            .json_patch(&placed.resource, &id.namespace, &id.name, managers::HELM, &drift.patch)
            .await
            .map(|_| ())
            .map_err(|error| Failed::new(format!("{id}: {}", describe(&error))))
    }
}

fn is_left_out(object: &Object) -> bool {
    [
        object.annotation(HELM_DRIFT_DETECTION),
        object.label(HELM_DRIFT_DETECTION),
    ]
    .contains(&Some(DISABLED))
}
