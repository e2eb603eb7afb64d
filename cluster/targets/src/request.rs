//! The requests that applying needs, on plain JSON, so that no field is lost on the way.

use http::{Request, header::CONTENT_TYPE};
use kube::Client;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Value, json};

use crate::discovery::Resource;

/// Whether an apply is real.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyMode {
    /// The server says what would come out and stores nothing.
    DryRun,
    /// The object is written.
    Write,
}

/// How an object is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteMode {
    /// Only if the object still has this UID.
    pub uid: Option<String>,
}

/// 404.
pub fn is_not_found(error: &kube::Error) -> bool {
    code(error) == Some(404)
}

/// 401 or 403.
pub fn is_forbidden(error: &kube::Error) -> bool {
    matches!(code(error), Some(401 | 403))
}

/// 409.
pub fn is_conflict(error: &kube::Error) -> bool {
    code(error) == Some(409)
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// The path of one object, for requests that [`crate::Target`] has no method for.
pub fn object_path(resource: &Resource, namespace: &str, name: &str) -> String {
    // Names of RBAC objects may hold `:`, which is allowed in a path; the server refuses `/` and `%` in every name.
    format!("{}/{}", resource.path(namespace), escaped(name))
}

/// Percent-encodes what would end the path segment; the server then says that such a name is invalid or not found.
fn escaped(segment: &str) -> String {
    segment
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

async fn send<T: DeserializeOwned>(client: &Client, request: http::Result<Request<Vec<u8>>>) -> kube::Result<T> {
    client.request(request.map_err(kube::Error::HttpError)?).await
}

/// None when there is no such object.
pub(crate) async fn get(
    client: &Client,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> kube::Result<Option<Value>> {
    let request = Request::get(object_path(resource, namespace, name)).body(Vec::new());
    match send(client, request).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Server-side apply that takes over what others own.
pub(crate) async fn apply(
    client: &Client,
    resource: &Resource,
    namespace: &str,
    name: &str,
    manager: &str,
    object: &Value,
    mode: ApplyMode,
) -> kube::Result<Value> {
    send(client, apply_request(resource, namespace, name, manager, object, mode)?).await
}

/// Whether the object could be applied and does not exist. Little of the answer is looked at.
pub(crate) async fn would_create(
    client: &Client,
    resource: &Resource,
    namespace: &str,
    name: &str,
    manager: &str,
    object: &Value,
) -> kube::Result<bool> {
    let request = apply_request(resource, namespace, name, manager, object, ApplyMode::DryRun)?;
    let answer: Answer = send(client, request).await?;
    // What is not stored has no version.
    Ok(answer.metadata.resource_version.is_empty())
}

#[derive(Deserialize)]
struct Answer {
    metadata: AnswerMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerMetadata {
    #[serde(default)]
    resource_version: String,
}

fn apply_request(
    resource: &Resource,
    namespace: &str,
    name: &str,
    manager: &str,
    object: &Value,
    mode: ApplyMode,
) -> kube::Result<http::Result<Request<Vec<u8>>>> {
    let dry_run = match mode {
        ApplyMode::DryRun => "&dryRun=All",
        ApplyMode::Write => "",
    };
    let url = format!(
        "{}?fieldManager={}&force=true{dry_run}",
        object_path(resource, namespace, name),
        escaped(manager)
    );
    // JSON is YAML.
    Ok(Request::patch(url)
        .header(CONTENT_TYPE, "application/apply-patch+yaml")
        .body(serde_json::to_vec(object).map_err(kube::Error::SerdeError)?))
}

/// RFC 6902.
pub(crate) async fn json_patch(
    client: &Client,
    resource: &Resource,
    namespace: &str,
    name: &str,
    manager: &str,
    patch: &Value,
) -> kube::Result<Value> {
    let url = format!(
        "{}?fieldManager={}",
        object_path(resource, namespace, name),
        escaped(manager)
    );
    let request = Request::patch(url)
        .header(CONTENT_TYPE, "application/json-patch+json")
        .body(serde_json::to_vec(patch).map_err(kube::Error::SerdeError)?);
    send(client, request).await
}

/// Deletes in the background. False when there was no such object.
pub(crate) async fn delete(
    client: &Client,
    resource: &Resource,
    namespace: &str,
    name: &str,
    mode: &DeleteMode,
) -> kube::Result<bool> {
    let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    if let Some(uid) = &mode.uid {
        options["preconditions"] = json!({ "uid": uid });
    }
    let request = Request::delete(object_path(resource, namespace, name))
        .header(CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(&options).map_err(kube::Error::SerdeError)?);
    match send::<IgnoredAny>(client, request).await {
        Ok(_) => Ok(true),
        Err(error) if is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use nave_object::Gvk;

    use super::*;

    #[test]
    fn paths() {
        let resource = |api_version: &str, kind: &str, plural: &str, namespaced| Resource {
            gvk: Gvk::new(api_version, kind),
            plural: plural.to_owned(),
            namespaced,
        };
        let deployment = resource("apps/v1", "Deployment", "deployments", true);
        assert_eq!(
            object_path(&deployment, "a", "b"),
            "/apis/apps/v1/namespaces/a/deployments/b"
        );
        let role = resource("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", false);
        assert_eq!(
            object_path(&role, "ignored", "system:x"),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:x"
        );
        let namespace = resource("v1", "Namespace", "namespaces", false);
        assert_eq!(object_path(&namespace, "", "../x?y"), "/api/v1/namespaces/..%2Fx%3Fy");
    }
}
