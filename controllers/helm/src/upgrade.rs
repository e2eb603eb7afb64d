//! Upgrading a release.

use std::sync::Arc;

use jiff::Timestamp;
use nave_chart::values::merge_maps;
use nave_object::{Object, ObjectId};
use nave_release::{Release, Status, deployed, last, left_behind, next_version, objects};

use crate::{
    act::{Act, Failed},
    cluster::Placed,
    render::Wanted,
    settings,
    write::{How, Written},
};

/// What writing a new version comes to.
pub(crate) struct Change {
    /// Objects of the version before.
    pub old: Vec<Placed>,
    /// Those of the new one.
    pub new: Vec<Placed>,
    pub how: How,
    pub clean_up: bool,
    /// What caused it, for whoever permits deletions.
    pub cause: String,
}

impl Change {
    /// What is left behind, in the order in which it goes.
    pub fn doomed(&self) -> Vec<Placed> {
        let old: Vec<Object> = self.old.iter().map(|one| one.object.clone()).collect();
        let new: Vec<ObjectId> = self.new.iter().map(Placed::id).collect();
        let gone = left_behind(&old, &new);
        let doomed = self.old.iter().rev().filter(|one| gone.contains(&one.id()));
        doomed.cloned().collect()
    }
}

/// A version that can be made: nothing of it was written yet, and what it deletes is permitted.
pub(crate) struct Prepared {
    pub release: Release,
    /// What it takes the place of.
    pub current: Release,
    pub change: Change,
}

impl Act<'_> {
    /// Renders the next version of a release that is there, whoever made it, and asks for what it deletes.
    pub async fn prepare_upgrade(&mut self, wanted: &mut Wanted<'_>, stored: &[Release]) -> Result<Prepared, Failed> {
        let upgrade = settings::upgrade(&self.object.spec);
        let newest =
            last(stored).ok_or_else(|| Failed::new(format!("{:?} has no deployed releases", self.place.name)))?;
        let current = deployed(stored).unwrap_or(newest).clone();
        wanted.revision = next_version(stored);
        wanted.is_upgrade = true;
        wanted.method = settings::upgrade_method(&upgrade, newest);
        wanted.skip_schema_validation = upgrade.disable_schema_validation;

        let (mut values, mut chart) = (wanted.values.clone(), wanted.chart.clone());
        if upgrade.preserve_values {
            // The values of the release before stand below the new ones, and its defaults take the place of the chart's.
            let mut below = current.config.clone();
            merge_maps(&mut below, values);
            values = below;
            let mut defaults = current
                .chart
                .as_ref()
                .and_then(|chart| chart.values.clone())
                .unwrap_or_default();
            merge_maps(&mut defaults, current.config.clone());
            Arc::make_mut(&mut chart).values = defaults;
        }
        let now = Wanted {
            chart: &chart,
            values: &values,
            ..*wanted
        };
        let crds = self.definitions_of(&now).await?;
        self.apply_definitions(&crds, settings::crds_on_upgrade(&upgrade))
            .await?;
        if self.has_new_definitions {
            wanted.capabilities.forget(self.target);
        }
        let mut release = self.render(&now).await?;
        release.namespace.clone_from(&current.namespace);
        let first_deployed = current.info.clone().unwrap_or_default().first_deployed;
        let info = release.info.get_or_insert_default();
        info.first_deployed = first_deployed;
        info.last_deployed = Timestamp::now().into();
        release.set_status(Status::PendingUpgrade, "Preparing upgrade");

        let old = objects(&current.manifest, &current.name).map_err(|error| {
            Failed::of(&error).while_doing("unable to build kubernetes objects from current release manifest")
        })?;
        let mut new = objects(&release.manifest, &release.name).map_err(|error| Failed::of(&error))?;
        new.iter_mut().for_each(|object| self.ownership().mark(object));
        let change = Change {
            new: self.place_all(new).await?,
            old: self.place_known(old).await?,
            how: How {
                method: wanted.method,
                is_strict: !upgrade.disable_open_api_validation,
                respect_owners: upgrade.disable_take_ownership,
                // Costs nothing where there is nothing: what a client's merge or a correction of drift wrote, and whoever
                // `--override-manager` names.
                take_over_fields: true,
                notice_created: upgrade.cleanup_on_fail,
            },
            clean_up: upgrade.cleanup_on_fail,
            cause: format!("{}@{}", release.chart_name(), release.chart_version()),
        };
        self.ask_to_delete(&change.doomed(), &change.cause, true).await?;
        Ok(Prepared {
            release,
            current,
            change,
        })
    }

    /// Makes the version that was prepared.
    pub async fn upgrade(&mut self, prepared: Prepared, stored: &[Release]) -> Result<(), Failed> {
        let Prepared {
            mut release,
            mut current,
            change,
        } = prepared;
        let spec = &self.object.spec;
        let upgrade = settings::upgrade(spec);
        let limit = settings::timeout(spec, upgrade.timeout);
        self.store_new(&release, stored, settings::max_history(spec)).await?;
        let mut created = Vec::new();
        let result = async {
            if !upgrade.disable_hooks {
                self.run_hooks(&mut release, "pre-upgrade", limit)
                    .await
                    .map_err(|failed| failed.while_doing("pre-upgrade hooks failed"))?;
            }
            let written = self.change(&change, &mut created).await?;
            if !upgrade.disable_wait {
                self.wait_for(&written, limit, !upgrade.disable_wait_for_jobs).await?;
            }
            if !upgrade.disable_hooks {
                self.run_hooks(&mut release, "post-upgrade", limit)
                    .await
                    .map_err(|failed| failed.while_doing("post-upgrade hooks failed"))?;
            }
            Ok(())
        }
        .await;
        match result {
            Ok(()) => {
                if current.status() == Status::Deployed {
                    let description = current.info.clone().unwrap_or_default().description;
                    current.set_status(Status::Superseded, description);
                    self.store(&current).await?;
                }
                release.set_status(Status::Deployed, "Upgrade complete");
                self.store(&release).await
            }
            Err(failed) => {
                let failed: Failed = failed;
                let text = format!("Upgrade {:?} failed: {}", release.name, failed.message);
                release.set_status(Status::Failed, text);
                self.store_anyway(&release).await;
                if change.clean_up {
                    self.clean_up(created).await;
                }
                Err(failed)
            }
        }
    }

    /// Writes what is new and deletes what is left behind. `created` gets what did not exist before.
    pub async fn change(&mut self, change: &Change, created: &mut Vec<Placed>) -> Result<Vec<Written>, Failed> {
        self.notes.add(format!("updating {} resource(s)", change.new.len()));
        let (written, result) = match self.write_all(change.new.clone(), &change.old, change.how).await {
            Ok(written) => (written, Ok(())),
            Err((written, failed)) => (written, Err(failed)),
        };
        created.extend(written.iter().filter(|one| one.created).map(|one| one.placed.clone()));
        self.note_definitions(&written);
        result?;
        // Whatever the manifest said: the live object decides whether it is kept.
        self.delete_all(change.doomed(), &change.cause, "Background", true)
            .await?;
        Ok(written)
    }

    /// Deletes what a failed action created. What cannot be deleted stays, and the action has failed anyway.
    pub async fn clean_up(&self, created: Vec<Placed>) {
        for one in created.into_iter().rev() {
            if let Err(failed) = self.delete(&one, None, "Background").await {
                tracing::warn!(object = %one.id(), error = failed.message, "cleaning up after a failure");
            }
        }
    }
}
