//! What happens when a HelmRelease is deleted.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, ResourceExt};
use nave_crds::{finalizers, helm::HelmRelease, managers};
use nave_health::HealthExpressions;
use nave_runtime::{Next, finalizer};

use crate::{
    act::Failed,
    chart_object,
    job::{Ended, Job},
    running::{Finished, Turn},
    settings::Place,
    target::{TargetOfError, target_of},
};

impl Job {
    /// Uninstalls the release, deletes the HelmChart, and gives the object up.
    pub async fn finalize(mut self) -> Finished {
        let mut turn = Turn::take(self.shared.turns.clone()).await;
        let next = match self.clean_up(&mut turn).await {
            Ok(()) => match self.give_up().await {
                Ok(()) => {
                    let (namespace, name) = &self.key;
                    self.shared.ports.metrics.forget("HelmRelease", namespace, name);
                    self.shared.backoff.succeeded(&self.key);
                    return Finished {
                        status: self.written,
                        next: Next::Await,
                        gone: true,
                    };
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "removing the finalizer");
                    Next::After(Duration::from_secs(1))
                }
            },
            Err(failed) => self.end(Ended::of_uninstall(failed)).await,
        };
        Finished {
            status: self.written,
            next,
            gone: false,
        }
    }

    async fn clean_up(&mut self, turn: &mut Turn) -> Result<(), Failed> {
        if self.object.spec.suspend {
            return Ok(());
        }
        self.uninstall_own(turn).await?;
        let helm_chart = self.status.helm_chart.clone();
        let deleted = chart_object::delete(&self.object, &helm_chart, &self.shared.ports).await;
        deleted.map_err(Failed::new)
    }

    async fn uninstall_own(&mut self, turn: &mut Turn) -> Result<(), Failed> {
        let newest = self.status.history.first().cloned();
        let (Some(newest), false) = (newest, self.status.storage_namespace.is_empty()) else {
            return Ok(()); // nothing was ever installed
        };
        let shared = self.shared.clone();
        let target = match target_of(&self.object, &shared.ports, &shared.options).await {
            Ok(target) => target,
            // Without it there is no way to the cluster, and perhaps no cluster.
            Err(error @ TargetOfError::SecretMissing { .. }) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the release is left in place");
                return Ok(());
            }
            Err(error) => return Err(Failed::new(error.to_string())),
        };
        if let Some(account) = target.account()
            && self.object.spec.kube_config.is_none()
        {
            let api: Api<ServiceAccount> = Api::namespaced(shared.ports.client.clone(), &account.namespace);
            let found = api.get_opt(&account.name).await;
            let found =
                found.map_err(|error| Failed::new(format!("reading ServiceAccount {}: {error}", account.name)))?;
            if found.is_none() {
                tracing::warn!(
                    account = account.name,
                    "its ServiceAccount is gone: the release is left in place"
                );
                return Ok(());
            }
        }
        let place = Place {
            name: newest.name,
            namespace: newest.namespace,
            storage_namespace: self.status.storage_namespace.clone(),
        };
        let expressions = Arc::new(HealthExpressions::default());
        self.uninstall_at(&place, &target, &expressions, turn).await?;
        self.status.history.clear();
        self.status.storage_namespace.clear();
        self.write().await;
        Ok(())
    }

    async fn give_up(&self) -> kube::Result<()> {
        let api: Api<HelmRelease> = Api::namespaced(self.shared.ports.client.clone(), &self.key.0);
        // The watch may be behind what we wrote; the finalizers are those of the server.
        match api.get_opt(&self.key.1).await? {
            Some(current) if current.uid() == self.object.uid() => {
                finalizer::remove(&api, &current, finalizers::FLUX, managers::HELM).await
            }
            _ => Ok(()),
        }
    }
}
