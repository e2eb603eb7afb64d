//! Changes that others made to the objects of a release.

use nave_apply::{Brought, IgnoreRules, Preview, preview};
use nave_crds::annotations::{DISABLED, HELM_DRIFT_DETECTION};
use nave_object::Object;
use nave_release::{Release, objects};

use crate::{
    act::{Act, Failed},
    cluster::{How, Placed, describe},
};

/// An object that is not as the release says.
pub(crate) struct Drifted {
    placed: Placed,
    /// It is not there.
    is_missing: bool,
}

impl std::fmt::Display for Drifted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.is_missing {
            true => "removed",
            false => "changed",
        };
        write!(f, "{} {what}", self.placed.object)
    }
}

impl Act<'_> {
    /// Compares every object with the cluster by a dry run, hooks apart.
    pub async fn find_drift(&self, release: &Release, ignore: &IgnoreRules) -> Result<Vec<Drifted>, Failed> {
        let mut wanted = objects(&release.manifest, &release.name).map_err(|error| Failed::of(&error))?;
        wanted.retain(|object| !is_left_out(object));
        wanted.iter_mut().for_each(|object| self.ownership().mark(object));
        let mut found = Vec::new();
        for placed in self.place_all(wanted).await? {
            let seen = preview(self.target, &placed.object, ignore, false, &Brought::default()).await;
            match seen.map_err(|problem| Failed::new(problem.to_string()))? {
                Preview::Skipped | Preview::Unchanged { .. } => {}
                Preview::Created => found.push(Drifted {
                    placed,
                    is_missing: true,
                }),
                Preview::Changed { live, .. } => {
                    let live_says_no = Object::from_value(live).is_ok_and(|live| is_left_out(&live));
                    if !live_says_no {
                        found.push(Drifted {
                            placed,
                            is_missing: false,
                        });
                    }
                }
            }
        }
        Ok(found)
    }

    /// Writes them as the release says, ignored fields apart.
    pub async fn correct(&self, drifted: Vec<Drifted>, ignore: &IgnoreRules) -> Result<(), Failed> {
        let mut placed = Vec::with_capacity(drifted.len());
        for Drifted { placed: mut one, .. } in drifted {
            let id = one.id();
            let live = self.target.get(&one.resource, &id.namespace, &id.name).await;
            let live = live.map_err(|error| Failed::new(format!("reading {id}: {}", describe(&error))))?;
            if let Some(live) = live
                && let Ok(spared) = Object::from_value(ignore.spare(&one.object, &live))
            {
                one.object = spared;
            }
            placed.push(one);
        }
        self.write_all(placed, &[], How::default())
            .await
            .map(|_| ())
            .map_err(|(_, failed)| failed)
    }
}

fn is_left_out(object: &Object) -> bool {
    [
        object.annotation(HELM_DRIFT_DETECTION),
        object.label(HELM_DRIFT_DETECTION),
    ]
    .contains(&Some(DISABLED))
}
