//! Uninstalling a release.

use jiff::Timestamp;
use nave_chart::{KindOrder, sort_manifests};
use nave_object::Object;
use nave_release::{Release, Status, last, objects, stays_on_uninstall};

use crate::{
    act::{Act, Failed},
    cluster::Placed,
    settings,
};

/// What the plan of an uninstallation says that it is for.
const DELETION: &str = "deletion";

impl Act<'_> {
    /// Asks for what an uninstallation deletes.
    pub async fn prepare_uninstall(&mut self, stored: &[Release]) -> Result<(), Failed> {
        match last(stored) {
            Some(newest) if newest.status() != Status::Uninstalled => {
                let doomed = self.doomed_with(newest).await?;
                self.ask_to_uninstall(&doomed, DELETION, worked_once(stored)).await
            }
            _ => Ok(()),
        }
    }

    /// The objects that go with a version.
    async fn doomed_with(&self, release: &Release) -> Result<Vec<Placed>, Failed> {
        let mut doomed = in_order_of_deletion(release)?;
        doomed.retain(|object| !stays_on_uninstall(object));
        self.place_known(doomed).await
    }

    /// Deletes the objects of a release and forgets its versions. One that is gone already is fine.
    ///
    /// Nothing newer cuts it short: what would be installed over objects that are on their way out would go with them.
    pub async fn uninstall(&mut self, stored: &[Release]) -> Result<(), Failed> {
        let spec = &self.object.spec;
        let uninstall = settings::uninstall(spec);
        let limit = settings::timeout(spec, uninstall.timeout);
        let Some(newest) = last(stored) else {
            return Ok(());
        };
        let mut release = newest.clone();
        if release.status() == Status::Uninstalled {
            if !uninstall.keep_history {
                self.purge(stored).await?;
            }
            return Ok(());
        }
        release.info.get_or_insert_default().deleted = Timestamp::now().into();
        release.set_status(Status::Uninstalling, "Deletion in progress (or silently failed)");
        if !uninstall.disable_hooks {
            self.run_hooks(&mut release, "pre-delete", limit).await?;
        }
        self.store(&release).await?;

        let doomed = self.doomed_with(&release).await?;
        let waits = self
            .delete_all(doomed, DELETION, settings::propagation(&uninstall), false)
            .await?;
        let mut problem = None;
        if !uninstall.disable_wait
            && let Err(failed) = self.wait_until_gone(waits, limit).await
        {
            problem = Some(failed);
        }
        if !uninstall.disable_hooks
            && let Err(failed) = self.run_hooks(&mut release, "post-delete", limit).await
        {
            problem = problem.or(Some(failed));
        }
        release.set_status(Status::Uninstalled, "Uninstallation complete");
        self.store(&release).await?;
        if uninstall.keep_history {
            for other in stored.iter().filter(|other| other.status() == Status::Deployed) {
                if other.version != release.version {
                    let mut other = other.clone();
                    other.set_status(Status::Superseded, "Superseded");
                    self.store(&other).await?;
                }
            }
        } else {
            self.purge(stored).await?;
        }
        match problem {
            None => Ok(()),
            Some(failed) => Err(failed.while_doing("uninstallation completed with an error")),
        }
    }

    async fn purge(&mut self, stored: &[Release]) -> Result<(), Failed> {
        for release in stored {
            self.storage
                .delete(release.version)
                .await
                .map_err(|error| Failed::of(&error))?;
        }
        Ok(())
    }
}

/// Whether any version was ever deployed: an installation that failed leaves nothing behind that anybody used.
fn worked_once(stored: &[Release]) -> bool {
    let worked = |release: &Release| matches!(release.status(), Status::Deployed | Status::Superseded);
    stored.iter().any(worked)
}

/// What goes first: Helm deletes by kind, users before what they use.
fn in_order_of_deletion(release: &Release) -> Result<Vec<Object>, Failed> {
    let files = [("manifest", release.manifest.as_str())];
    let sorted = sort_manifests(files, KindOrder::Uninstall).map_err(|error| {
        Failed::of(&error).while_doing("corrupted release record. You must manually delete the resources")
    })?;
    let mut found = Vec::with_capacity(sorted.manifests.len());
    for manifest in &sorted.manifests {
        found.extend(objects(&manifest.text, &release.name).map_err(|error| Failed::of(&error))?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_deployed_once_has_worked() {
        let of = |statuses: &[Status]| {
            let made = statuses.iter().map(|status| {
                let mut release = Release::default();
                release.set_status(status.clone(), "");
                release
            });
            worked_once(&made.collect::<Vec<_>>())
        };
        assert!(!of(&[]) && !of(&[Status::Failed]) && !of(&[Status::PendingInstall]));
        assert!(of(&[Status::Deployed]) && of(&[Status::Superseded, Status::Failed]));
    }
}
