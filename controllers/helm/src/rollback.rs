//! Rolling a release back to an earlier version.

use jiff::Timestamp;
use nave_release::{HookExecution, Info, Release, Status, last, next_version, objects, rollback_target};

use crate::{
    act::{Act, Failed},
    settings,
    upgrade::{Change, Prepared},
    write::How,
};

impl Act<'_> {
    /// Finds what a roll-back to an earlier version writes, and asks for what it deletes.
    pub async fn prepare_roll_back(&mut self, version: i64, stored: &[Release]) -> Result<Prepared, Failed> {
        let spec = &self.object.spec;
        let rollback = settings::rollback(spec);
        let target =
            rollback_target(stored, version).ok_or_else(|| Failed::new(format!("release has no {version} version")))?;
        let current = last(stored)
            .ok_or_else(|| Failed::new("release: not found".to_owned()))?
            .clone();
        let mut release = target.clone();
        release.version = next_version(stored);
        let method = settings::rollback_method(&rollback, target);
        release.apply_method = Some(settings::recorded(method));
        release
            .hooks
            .iter_mut()
            .for_each(|hook| hook.last_run = HookExecution::default());
        release.info = Some(Info {
            first_deployed: current.info.clone().unwrap_or_default().first_deployed,
            last_deployed: Timestamp::now().into(),
            notes: target.info.clone().unwrap_or_default().notes,
            rollback_revision: version,
            ..Info::default()
        });
        release.set_status(Status::PendingRollback, format!("Rollback to {version}"));

        let old = objects(&current.manifest, &current.name).map_err(|error| Failed::of(&error))?;
        let mut new = objects(&release.manifest, &release.name).map_err(|error| Failed::of(&error))?;
        new.iter_mut().for_each(|object| self.ownership().mark(object));
        let change = Change {
            new: self.place_all(new).await?,
            old: self.place_known(old).await?,
            how: How {
                method,
                // What was applied once need not pass a check that was switched off then.
                is_strict: !settings::upgrade(spec).disable_open_api_validation,
                respect_owners: false,
                take_over_fields: true,
                notice_created: rollback.cleanup_on_fail,
            },
            clean_up: rollback.cleanup_on_fail,
            cause: format!("rollback to {version}"),
        };
        self.ask_to_delete(&change.doomed(), &change.cause, true).await?;
        Ok(Prepared {
            release,
            current,
            change,
        })
    }

    /// Makes a new version that is like an earlier one.
    pub async fn roll_back(&mut self, prepared: Prepared, stored: &[Release]) -> Result<(), Failed> {
        let Prepared {
            mut release,
            mut current,
            change,
        } = prepared;
        let spec = &self.object.spec;
        let rollback = settings::rollback(spec);
        let limit = settings::timeout(spec, rollback.timeout);
        let version = release.info.as_ref().map_or(0, |info| info.rollback_revision);
        self.store_new(&release, stored, settings::max_history(spec)).await?;
        let mut created = Vec::new();
        let result = async {
            if !rollback.disable_hooks {
                self.run_hooks(&mut release, "pre-rollback", limit).await?;
            }
            let written = self.change(&change, &mut created).await?;
            if !rollback.disable_wait {
                self.wait_for(&written, limit, !rollback.disable_wait_for_jobs).await?;
            }
            if !rollback.disable_hooks {
                self.run_hooks(&mut release, "post-rollback", limit).await?;
            }
            Ok(())
        }
        .await;
        if let Err(failed) = result {
            let failed: Failed = failed;
            let text = format!("Rollback {:?} failed: {}", release.name, failed.message);
            release.set_status(Status::Failed, text);
            if current.status() == Status::Deployed {
                let description = current.info.clone().unwrap_or_default().description;
                current.set_status(Status::Superseded, description);
                self.store_anyway(&current).await;
            }
            self.store_anyway(&release).await;
            if change.clean_up {
                self.clean_up(created).await;
            }
            return Err(failed);
        }
        for other in stored.iter().filter(|other| other.status() == Status::Deployed) {
            let mut other = other.clone();
            let description = other.info.clone().unwrap_or_default().description;
            other.set_status(Status::Superseded, description);
            self.store(&other).await?;
        }
        release.set_status(Status::Deployed, format!("Rollback to {version}"));
        self.store(&release).await
    }
}
