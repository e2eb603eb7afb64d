//! Writing the objects of a release: by the server's apply, by the client's merge of three versions, or by replacing.

use futures::{FutureExt, StreamExt, stream};
use http::{Method as Verb, Request, header::CONTENT_TYPE};
use nave_apply::{WaitItem, judge};
use nave_crds::managers;
use nave_health::Health;
use nave_object::Object;
use nave_release::{merge_patch, three_way, two_way};
use nave_targets::{is_conflict, object_path};
use serde_json::Value;

use crate::{
    act::{Act, Failed},
    cluster::{Placed, blanked, describe},
    managers::fold,
};

const DEFINITION: &str = "CustomResourceDefinition";
/// A merge that somebody else came before is made anew, so often.
const TRIES: usize = 5;

/// Groups of kinds that Helm has types of, beside those of one word; for all others it knows no keys of lists.
const TYPED_GROUPS: [&str; 17] = [
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// Who works out what becomes of a live object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Method {
    /// The server, from who owns which field.
    #[default]
    ServerSide,
    /// We, from the manifests before and after.
    ClientSide,
    /// Nobody: it becomes the new manifest, whatever it was.
    Replace,
}

/// How objects are written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How {
    pub method: Method,
    /// The server refuses fields that it does not know.
    pub is_strict: bool,
    /// Objects of somebody else are not taken over.
    pub respect_owners: bool,
    /// Fields that Helm's client-side merge wrote become ours.
    pub take_over_fields: bool,
    /// It has to be known which objects are new.
    pub notice_created: bool,
}

/// An object that was written.
pub(crate) struct Written {
    pub placed: Placed,
    pub created: bool,
    health: Option<(u64, Health)>,
}

impl Written {
    pub fn wait_item(&self) -> WaitItem {
        self.placed.wait_item(self.health.clone())
    }

    /// The same where other rules than those of [`judge`] say how it is. That it was there is known all the same: a Job that
    /// is deleted soon after its end may be gone before anybody looks.
    pub fn wait_item_unjudged(&self) -> WaitItem {
        let version = self.health.as_ref().map(|(version, _)| *version);
        self.placed
            .wait_item(version.map(|version| (version, Health::in_progress("unknown"))))
    }
}

impl Act<'_> {
    /// What was written may have brought kinds along, which are served in a moment.
    pub fn note_definitions(&mut self, written: &[Written]) {
        for one in written.iter().filter(|one| one.placed.object.kind() == DEFINITION) {
            if let Some(group) = one.placed.object.pointer("/spec/group").and_then(Value::as_str) {
                self.target.forget_group(group);
                self.has_new_definitions = true;
            }
        }
    }

    /// Writes objects in their order; those of one kind that follow each other at once. `known` are those that the
    /// release had before, whoever owns them now.
    ///
    /// What was written before an error is given back with it.
    pub async fn write_all(
        &self,
        placed: Vec<Placed>,
        known: &[Placed],
        how: How,
    ) -> Result<Vec<Written>, (Vec<Written>, Failed)> {
        let mut written = Vec::with_capacity(placed.len());
        let mut rest = placed;
        while let Some(first) = rest.first() {
            let kind = first.resource.gvk.clone();
            let same = rest.iter().take_while(|other| other.resource.gvk == kind).count();
            let later = rest.split_off(same);
            let writes: Vec<_> = rest
                .into_iter()
                .map(|one| {
                    let before = known.iter().find(|known| known.id() == one.id());
                    self.write(one, before.map(|before| &before.object), how).boxed()
                })
                .collect();
            let results: Vec<Result<Written, Failed>> = stream::iter(writes)
                .buffered(self.options.concurrent_requests.max(1))
                .collect()
                .await;
            let mut failures = Vec::new();
            for result in results {
                match result {
                    Ok(one) => written.push(one),
                    Err(failed) => failures.push(failed.message),
                }
            }
            if !failures.is_empty() {
                return Err((written, Failed::new(failures.join(" && "))));
            }
            rest = later;
        }
        Ok(written)
    }

    async fn write(&self, placed: Placed, before: Option<&Object>, how: How) -> Result<Written, Failed> {
        let id = placed.id();
        self.may_apply(&id)?;
        let (live, created) = match how.method {
            Method::ServerSide => self.apply(&placed, before.is_some(), how).await?,
            Method::ClientSide | Method::Replace => self.merge(&placed, before, how).await?,
        };
        let version = live
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .and_then(|version| version.parse().ok());
        let health = judge(self.expressions.clone())(&live);
        Ok(Written {
            placed,
            created,
            health: version.map(|version| (version, health)),
        })
    }

    async fn apply(&self, placed: &Placed, is_known: bool, how: How) -> Result<(Value, bool), Failed> {
        let mut created = false;
        if how.notice_created || how.respect_owners && !is_known {
            let live = self.read(placed).await?;
            created = live.is_none();
            if let Some(live) = live {
                self.check_owner(placed, &live, is_known, how)?;
            }
        }
        let apply = || self.send(placed, Write::Apply, placed.object.as_value(), how);
        let failed = |error: kube::Error| problem(placed, "server-side apply failed for object", &error);
        let live = apply().await.map_err(failed)?;
        // What an update of Helm's wrote belongs to nobody who applies, and would stay for ever.
        if how.take_over_fields
            && let Some(patch) = fold(&live, &self.options.override_managers)
        {
            let id = placed.id();
            self.target
                .json_patch(&placed.resource, &id.namespace, &id.name, managers::HELM, &patch)
                .await
                .map_err(|error| problem(placed, "taking over the fields of", &error))?;
            return Ok((apply().await.map_err(failed)?, created));
        }
        Ok((live, created))
    }

    /// The same by the client's merge, or by replacing.
    async fn merge(&self, placed: &Placed, before: Option<&Object>, how: How) -> Result<(Value, bool), Failed> {
        let mut last = None;
        for _ in 0..TRIES {
            let Some(live) = self.read(placed).await? else {
                match self.send(placed, Write::Create, placed.object.as_value(), how).await {
                    Ok(live) => return Ok((live, true)),
                    Err(error) if is_conflict(&error) => last = Some(error),
                    Err(error) => return Err(problem(placed, "failed to create resource", &error)),
                }
                continue;
            };
            self.check_owner(placed, &live, before.is_some(), how)?;
            let version = live
                .pointer("/metadata/resourceVersion")
                .cloned()
                .unwrap_or(Value::Null);
            let (write, mut body) = match how.method {
                Method::Replace => (Write::Replace, placed.object.as_value().clone()),
                _ => (Write::Merge, merge_patch(&live, &merged(&placed.object, before, &live))),
            };
            if body.as_object().is_some_and(serde_json::Map::is_empty) {
                return Ok((live, false)); // nothing to do
            }
            // A change in between makes a conflict instead of being undone.
            body["metadata"]["resourceVersion"] = version;
            match self.send(placed, write, &body, how).await {
                Ok(live) => return Ok((live, false)),
                Err(error) if is_conflict(&error) => last = Some(error),
                Err(error) => return Err(problem(placed, write.complaint(), &error)),
            }
        }
        let error = last.expect("every try ended in a conflict");
        Err(problem(placed, "somebody else keeps changing", &error))
    }

    async fn read(&self, placed: &Placed) -> Result<Option<Value>, Failed> {
        let id = placed.id();
        let live = self.target.get(&placed.resource, &id.namespace, &id.name).await;
        live.map_err(|error| problem(placed, "reading", &error))
    }

    async fn send(&self, placed: &Placed, write: Write, body: &Value, how: How) -> kube::Result<Value> {
        let id = placed.id();
        let (verb, media_type) = match write {
            Write::Apply => (Verb::PATCH, "application/apply-patch+yaml"), // JSON is YAML
            Write::Merge => (Verb::PATCH, "application/merge-patch+json"),
            Write::Create => (Verb::POST, "application/json"),
            Write::Replace => (Verb::PUT, "application/json"),
        };
        let path = match write {
            Write::Create => placed.resource.path(&id.namespace),
            _ => object_path(&placed.resource, &id.namespace, &id.name),
        };
        let mut url = format!("{path}?fieldManager={}", managers::HELM);
        if write == Write::Apply {
            url.push_str("&force=true");
        }
        if how.is_strict && matches!(write, Write::Apply | Write::Replace) {
            url.push_str("&fieldValidation=Strict");
        }
        let request = Request::builder()
            .method(verb)
            .uri(url)
            .header(CONTENT_TYPE, media_type)
            .body(serde_json::to_vec(body).map_err(kube::Error::SerdeError)?)
            .map_err(kube::Error::HttpError)?;
        self.target.client().request(request).await
    }

    fn check_owner(&self, placed: &Placed, live: &Value, is_known: bool, how: How) -> Result<(), Failed> {
        if is_known || !how.respect_owners {
            return Ok(());
        }
        let Ok(live) = Object::from_value(live.clone()) else {
            return Ok(());
        };
        match self.ownership().problem(&live) {
            None => Ok(()),
            Some(problem) => Err(Failed::new(format!(
                "{} exists and cannot be imported into the current release: {problem}",
                placed.object
            ))),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Apply,
    Create,
    Merge,
    Replace,
}

impl Write {
    fn complaint(self) -> &'static str {
        match self {
            Write::Apply => "server-side apply failed for object",
            Write::Create => "failed to create resource",
            Write::Merge => "cannot patch",
            Write::Replace => "failed to replace object",
        }
    }
}

fn problem(placed: &Placed, what: &str, error: &kube::Error) -> Failed {
    let text = format!("{what} {}: {}", placed.id(), describe(error));
    Failed::new(blanked(&placed.object, text))
}

/// What becomes of a live object by Helm's client-side apply.
fn merged(object: &Object, before: Option<&Object>, live: &Value) -> Value {
    let gvk = object.gvk();
    let is_typed = !gvk.group.contains('.') || TYPED_GROUPS.contains(&gvk.group.as_str());
    match before {
        Some(before) if !is_typed => two_way(before.as_value(), object.as_value(), live),
        _ => {
            let api_version = gvk.api_version();
            let keys = |path: &[&str]| nave_kustomize::merge_keys(&api_version, &gvk.kind, path);
            three_way(before.map(Object::as_value), object.as_value(), live, &keys)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    #[test]
    fn kinds_that_helm_has_types_of_are_merged_by_keys_and_others_are_not() {
        let deployment = |image: &str| {
            object(
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
                "spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}),
            )
        };
        let live = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "by-hand"}, {"name": "injected"}]}}}});
        let result = merged(&deployment("2"), Some(&deployment("1")), &live);
        assert_eq!(
            result.pointer("/spec/template/spec/containers"),
            Some(&json!([{"name": "app", "image": "2"}, {"name": "injected"}]))
        );
        let widget = |size: i64| {
            object(
                json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": size, "colour": "red"}}),
            )
        };
        let live = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1, "colour": "blue"}});
        let result = merged(&widget(2), Some(&widget(1)), &live);
        assert_eq!(
            result["spec"],
            json!({"size": 2, "colour": "blue"}),
            "what others changed stays"
        );
        let result = merged(&widget(2), None, &live);
        assert_eq!(result["spec"], json!({"size": 2, "colour": "red"}));
    }
}
