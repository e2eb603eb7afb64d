//! The agent's side of the link: a secret and an argument.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use nave_crds::{annotations, labels};
use serde_json::{Value, json};

use crate::{api, connection::Connection, manifests, say, verbs::join::HUB_SECRET, wait};

/// An agent that was joined by a file answers within this time, if there is one.
const ANSWER: Duration = Duration::from_secs(20);
/// Deployment of the agent.
const AGENT: &str = "nave-agent";

/// What joins the agent to a hub.
pub(super) struct Link {
    namespace: String,
    secret: Option<String>,
    /// The agent's arguments, when it runs as a Deployment with the flag that joins it.
    arguments: Option<Vec<Value>>,
}

impl Link {
    /// Looks for the agent's secret and Deployment.
    pub(super) async fn find(connection: &Connection, namespace: &str) -> Result<Link> {
        let deployments: Api<Deployment> = Api::namespaced(connection.client.clone(), namespace);
        let deployment = deployments
            .get_opt(AGENT)
            .await
            .with_context(|| format!("looking for Deployment {namespace}/{AGENT}"))?
            .map(serde_json::to_value)
            .transpose()?;
        let named = deployment
            .as_ref()
            .and_then(|deployment| manifests::argument(deployment, "hub-secret"));
        let name = named.unwrap_or(HUB_SECRET).to_owned();
        let secrets: Api<Secret> = Api::namespaced(connection.client.clone(), namespace);
        let secret = secrets
            .get_metadata_opt(&name)
            .await
            .with_context(|| format!("looking for Secret {namespace}/{name}"))?
            .map(|_| name);
        let arguments = deployment.as_ref().filter(|_| named.is_some()).and_then(|deployment| {
            deployment
                .pointer("/spec/template/spec/containers/0/args")?
                .as_array()
                .cloned()
        });
        Ok(Link {
            namespace: namespace.to_owned(),
            secret,
            arguments,
        })
    }

    /// Whether the agent is joined, or was told to join.
    pub(super) fn exists(&self) -> bool {
        self.secret.is_some() || self.arguments.is_some()
    }

    /// From here on the hub cannot put back what is taken away.
    pub(super) async fn cut(&self, connection: &Connection, how: &str, timeout: Duration) -> Result<()> {
        self.mark(connection, how).await?;
        let Some(arguments) = &self.arguments else {
            return self.wait_for_answer(connection, timeout).await;
        };
        say::action("cutting the link");
        let resource = ApiResource::erase::<Deployment>(&());
        let deployments: Api<DynamicObject> =
            Api::namespaced_with(connection.client.clone(), &self.namespace, &resource);
        let patch = without_hub(arguments);
        deployments
            .patch(
                AGENT,
                &PatchParams::apply(api::FIELD_MANAGER),
                &Patch::Strategic(&patch),
            )
            .await
            .with_context(|| format!("changing Deployment {}/{AGENT}", self.namespace))?;
        match wait::until(deployments, AGENT, "restarting the agent", timeout, |object| {
            wait::deployment(object, 1)
        })
        .await
        {
            Ok(_) => say::success("the agent runs without a hub"),
            // It no longer dials, whether it becomes ready or not.
            Err(error) => say::warning(&format!("the agent is not ready: {}", crate::hints::describe(&error))),
        }
        Ok(())
    }

    /// Tells the agent to leave. One that was joined by a file has no secret of its own, and looks for this one.
    async fn mark(&self, connection: &Connection, how: &str) -> Result<()> {
        let secrets: Api<Secret> = Api::namespaced(connection.client.clone(), &self.namespace);
        let name = self.secret_name();
        let marked = json!({"metadata": {
            "name": name,
            "labels": {labels::PART_OF: labels::PART_OF_FLUX},
            "annotations": {annotations::FLEET_LEAVE: how, annotations::FLEET_LINK_STATE: ""},
        }});
        let params = PatchParams::apply(api::FIELD_MANAGER);
        let written = if self.secret.is_some() {
            secrets
                .patch_metadata(name, &params, &Patch::Merge(&marked))
                .await
                .map(drop)
        } else {
            let secret: Secret = serde_json::from_value(marked)?;
            secrets.create(&PostParams::default(), &secret).await.map(drop)
        };
        written.with_context(|| format!("marking Secret {}/{name}", self.namespace))
    }

    async fn wait_for_answer(&self, connection: &Connection, timeout: Duration) -> Result<()> {
        say::action("telling the agent to close the link");
        let resource = ApiResource::erase::<Secret>(&());
        let secrets: Api<DynamicObject> = Api::namespaced_with(connection.client.clone(), &self.namespace, &resource);
        let name = self.secret_name();
        let answer = wait::until(
            secrets,
            name,
            "waiting for the agent",
            ANSWER.min(timeout),
            |object| match object
                .annotations()
                .get(annotations::FLEET_LINK_STATE)
                .map(String::as_str)
            {
                Some("Left") => wait::Verdict::Done(String::new()),
                _ => wait::Verdict::Waiting("the agent has not answered".to_owned()),
            },
        );
        match answer.await {
            Ok(_) => say::success("the agent has closed the link and runs without a hub"),
            Err(_) => say::warning(&format!(
                "no agent in namespace {} has answered; one that is run by hand elsewhere has to be stopped by hand",
                self.namespace
            )),
        }
        Ok(())
    }

    fn secret_name(&self) -> &str {
        self.secret.as_deref().unwrap_or(HUB_SECRET)
    }

    /// The last step: without the secret there is nothing to leave any more.
    pub(super) async fn forget(&self, connection: &Connection) -> Result<()> {
        let name = self.secret_name();
        let secrets: Api<Secret> = Api::namespaced(connection.client.clone(), &self.namespace);
        match secrets.delete(name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error).with_context(|| format!("deleting Secret {}/{name}", self.namespace)),
        }
    }
}

/// The container is named `manager` in every installation of ours.
fn without_hub(arguments: &[Value]) -> Value {
    let kept: Vec<&Value> = arguments
        .iter()
        .filter(|argument| !argument.as_str().is_some_and(|text| text.starts_with("--hub-secret")))
        .collect();
    json!({"spec": {"template": {"spec": {"containers": [{"name": "manager", "args": kept}]}}}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_flag_that_joins_goes() {
        let arguments = [
            json!("--log-level=info"),
            json!("--hub-secret=nave-agent-hub"),
            json!("--storage-path=/data"),
        ];
        assert_eq!(
            without_hub(&arguments).pointer("/spec/template/spec/containers/0/args"),
            Some(&json!(["--log-level=info", "--storage-path=/data"]))
        );
    }
}
