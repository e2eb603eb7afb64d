//! What hooks print, where their annotation `helm.sh/hook-output-log-policy` asks for it.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams},
};
use nave_release::{Hook, objects};

use crate::act::Act;

/// The end of each container's log that is read.
const LINES: i64 = 10;
const BYTES: i64 = 4096;

impl Act<'_> {
    /// Notes the last lines of a hook's containers, if it says so for this outcome. What cannot be read is noted instead:
    /// the hook has succeeded or failed whatever its log says.
    pub async fn note_logs(&mut self, hook: &Hook, policy: &str) {
        if !hook.output_log_policies.iter().any(|known| known == policy) {
            return;
        }
        let parameters = match hook.kind.as_str() {
            "Job" => ListParams::default().labels(&format!("job-name={}", hook.name)),
            "Pod" => ListParams::default().fields(&format!("metadata.name={}", hook.name)),
            _ => return,
        };
        let found = objects(&hook.manifest, &hook.path).unwrap_or_default();
        let namespace = found
            .first()
            .and_then(|object| object.namespace())
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or(&self.place.namespace)
            .to_owned();
        let api: Api<Pod> = Api::namespaced(self.target.client().clone(), &namespace);
        let pods = match api.list(&parameters).await {
            Ok(pods) => pods.items,
            Err(error) => {
                self.notes
                    .add(format!("logs of hook {} cannot be read: {error}", hook.path));
                return;
            }
        };
        for pod in pods {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            for container in containers.map(|container| container.name.clone()) {
                let parameters = LogParams {
                    container: Some(container.clone()),
                    tail_lines: Some(LINES),
                    limit_bytes: Some(BYTES),
                    ..LogParams::default()
                };
                let name = pod.name_any();
                match api.logs(&name, &parameters).await {
                    Ok(text) => text.lines().for_each(|line| {
                        self.notes
                            .add(format!("hook {}: {name}/{container}: {line}", hook.name))
                    }),
                    Err(error) => self
                        .notes
                        .add(format!("logs of hook {}: {name}/{container}: {error}", hook.name)),
                }
            }
        }
    }
}
