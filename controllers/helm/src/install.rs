//! Installing a chart.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use nave_crds::managers;
use nave_release::{Release, Status, last, next_version, objects};
use nave_targets::is_conflict;
use serde_json::json;

use crate::{
    act::{Act, Failed},
    cluster::describe,
    render::Wanted,
    settings,
    write::How,
};

impl Act<'_> {
    /// Installs the first version of a release. `stored` are versions of one that was uninstalled.
    pub async fn install(&mut self, wanted: &mut Wanted<'_>, stored: &[Release]) -> Result<(), Failed> {
        let spec = &self.object.spec;
        let install = settings::install(spec);
        let limit = settings::timeout(spec, install.timeout);
        if let Some(newest) = last(stored)
            && !(install.replace && matches!(newest.status(), Status::Uninstalled | Status::Failed))
        {
            return Err(Failed::new("cannot reuse a name that is still in use"));
        }
        wanted.revision = next_version(stored);
        wanted.is_upgrade = false;
        wanted.method = settings::install_method(spec, &self.options.gates);
        wanted.skip_schema_validation = install.disable_schema_validation;
        let crds = self.definitions_of(wanted).await?;
        self.apply_definitions(&crds, settings::crds_on_install(&install))
            .await?;
        if self.has_new_definitions {
            wanted.capabilities.forget(self.target);
        }
        let mut release = self.render(wanted).await?;
        let now = Timestamp::now();
        let info = release.info.get_or_insert_default();
        info.first_deployed = now.into();
        info.last_deployed = now.into();
        release.set_status(Status::PendingInstall, "Initial install underway");

        let mut found = objects(&release.manifest, &self.place.name).map_err(|error| Failed::of(&error))?;
        found.iter_mut().for_each(|object| self.ownership().mark(object));
        let placed = self.place_all(found).await?;
        if install.create_namespace && !spec.target_namespace.is_empty() {
            self.create_namespace().await?;
        }
        if let Some(newest) = last(stored).filter(|newest| newest.status() != Status::Failed) {
            let mut newest = newest.clone();
            newest.set_status(Status::Superseded, "superseded by new release");
            self.store(&newest).await?;
        }
        self.store_new(&release, stored, settings::max_history(spec)).await?;

        let result = async {
            if !install.disable_hooks {
                self.run_hooks(&mut release, "pre-install", limit)
                    .await
                    .map_err(|failed| failed.while_doing("failed pre-install"))?;
            }
            let how = How {
                method: wanted.method,
                is_strict: !install.disable_open_api_validation,
                respect_owners: install.disable_take_ownership,
                take_over_fields: true,
                notice_created: false,
            };
            self.notes.add(format!("creating {} resource(s)", placed.len()));
            let written = self.write_all(placed, &[], how).await.map_err(|(_, failed)| failed)?;
            self.note_definitions(&written);
            if !install.disable_wait {
                self.wait_for(&written, limit, !install.disable_wait_for_jobs).await?;
            }
            if !install.disable_hooks {
                self.run_hooks(&mut release, "post-install", limit)
                    .await
                    .map_err(|failed| failed.while_doing("failed post-install"))?;
            }
            Ok(())
        }
        .await;
        match result {
            Ok(()) => {
                release.set_status(Status::Deployed, "Install complete");
                self.store(&release).await
            }
            Err(failed) => {
                let failed: Failed = failed;
                let text = format!("Release {:?} failed: {}", release.name, failed.message);
                release.set_status(Status::Failed, text);
                self.store_anyway(&release).await;
                Err(failed)
            }
        }
    }

    async fn create_namespace(&self) -> Result<(), Failed> {
        let name = &self.place.namespace;
        let api: Api<Namespace> = Api::all(self.target.client().clone());
        let namespace = json!({"metadata": {"name": name, "labels": {"name": name}}});
        let namespace = serde_json::from_value(namespace).expect("it is a namespace");
        let parameters = PostParams {
            field_manager: Some(managers::HELM.to_owned()),
            ..PostParams::default()
        };
        match api.create(&parameters, &namespace).await {
            Ok(_) => Ok(()),
            Err(error) if is_conflict(&error) => Ok(()), // it is there
            Err(error) => Err(Failed::new(format!("creating namespace {name}: {}", describe(&error)))),
        }
    }
}
