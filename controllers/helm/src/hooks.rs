//! Running the hooks of an event.

use std::time::Duration;

use jiff::Timestamp;
use nave_release::{HookExecution, Release, delete_policies, delete_policy, executing, objects, phase};

use crate::{
    act::{Act, Failed},
    settings, testing,
    write::How,
};

impl Act<'_> {
    /// Runs the hooks of an event one after the other, and then deletes those that say so. How each went is stored with
    /// the release as it happens.
    pub async fn run_hooks(&mut self, release: &mut Release, event: &str, limit: Duration) -> Result<(), Failed> {
        let order = executing(release, event);
        self.run_in_order(release, order, event, limit).await
    }

    /// The same for chosen hooks, as positions among those of the release.
    pub async fn run_in_order(
        &mut self,
        release: &mut Release,
        order: Vec<usize>,
        event: &str,
        limit: Duration,
    ) -> Result<(), Failed> {
        for (position, at) in order.iter().copied().enumerate() {
            if let Err(failed) = self.run_hook(release, at, event, limit).await {
                let hook = release.hooks[at].clone();
                self.note_logs(&hook, delete_policy::FAILED).await;
                self.delete_hook(release, at, delete_policy::FAILED, limit).await.ok();
                for earlier in &order[..position] {
                    self.delete_hook(release, *earlier, delete_policy::SUCCEEDED, limit)
                        .await?;
                }
                return Err(failed);
            }
        }
        for at in order.iter().rev().copied() {
            let hook = release.hooks[at].clone();
            self.note_logs(&hook, delete_policy::SUCCEEDED).await;
            self.delete_hook(release, at, delete_policy::SUCCEEDED, limit).await?;
        }
        Ok(())
    }

    async fn run_hook(&mut self, release: &mut Release, at: usize, event: &str, limit: Duration) -> Result<(), Failed> {
        if release.hooks[at].delete_policies.is_empty() {
            release.hooks[at].delete_policies = delete_policies(&release.hooks[at]);
        }
        self.delete_hook(release, at, delete_policy::BEFORE_CREATION, limit)
            .await?;
        let path = release.hooks[at].path.clone();
        let failed = |failed: Failed| failed.while_doing(&format!("hook {event} {path} failed"));
        let found = objects(&release.hooks[at].manifest, &path).map_err(|error| failed(Failed::of(&error)))?;
        let placed = self.place_all(found).await.map_err(failed)?;
        release.hooks[at].last_run = HookExecution {
            started_at: Timestamp::now().into(),
            phase: phase::RUNNING.to_owned(),
            ..HookExecution::default()
        };
        self.store(release).await?;
        self.notes.add(format!("running hook {event} {path}"));
        let how = How {
            method: settings::method_of(release),
            is_strict: true,
            ..How::default()
        };
        let result = match self.write_all(placed, &[], how).await {
            Ok(written) => {
                self.note_definitions(&written);
                self.wait_for_hook(&written, limit, event == testing::EVENT).await
            }
            Err((_, failed)) => Err(failed),
        };
        let run = &mut release.hooks[at].last_run;
        if result.as_ref().is_err_and(Failed::is_canceled) {
            *run = HookExecution::default();
            return result.map_err(failed);
        }
        run.completed_at = Timestamp::now().into();
        run.phase = match result {
            Ok(()) => phase::SUCCEEDED,
            Err(_) => phase::FAILED,
        }
        .to_owned();
        result.map_err(failed)
    }

    /// Deletes a hook's objects if its policy says so, and waits for their end.
    async fn delete_hook(&mut self, release: &Release, at: usize, policy: &str, limit: Duration) -> Result<(), Failed> {
        let hook = &release.hooks[at];
        if !delete_policies(hook).iter().any(|known| known == policy) {
            return Ok(());
        }
        let found = objects(&hook.manifest, &hook.path).map_err(|error| Failed::of(&error))?;
        let placed = self.place_known(found).await?;
        let mut waits = Vec::with_capacity(placed.len());
        for one in &placed {
            self.delete(one, None, "Background").await?;
            waits.push(one.wait_item(None));
        }
        self.wait_until_gone(waits, limit).await
    }
}
