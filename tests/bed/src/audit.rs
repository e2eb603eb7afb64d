//! What an API server was asked, from its audit log: the measure for floors and bounds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The log of one plane.
#[derive(Debug, Clone)]
pub struct AuditLog {
    path: PathBuf,
}

/// A place in the log, to read from there on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark(u64);

/// One request. A watch counts when it begins, everything else when it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for other paths the HTTP method.
    pub verb: String,
    /// Who asked; the impersonated user when there is one.
    pub user: String,
    /// How the client calls itself.
    pub agent: String,
    /// `pods`, `deployments.apps`; empty for paths that are no resource.
    pub resource: String,
    /// `status`, `token`, …, or empty.
    pub subresource: String,
    /// Empty for cluster-wide objects and lists over all namespaces.
    pub namespace: String,
    /// Empty for lists.
    pub name: String,
    /// Path and query.
    pub uri: String,
    /// The HTTP status of the answer.
    pub code: u16,
}

/// Requests in the order of the log.
#[derive(Debug, Clone, Default)]
pub struct Requests(Vec<Request>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<ObjectRef>,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    resource: String,
    namespace: String,
    name: String,
    api_group: String,
    subresource: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    code: u16,
}

impl AuditLog {
    /// The log in this file, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> AuditLog {
        AuditLog { path: path.into() }
    }

    /// The end of the log as it is now. The API server writes an entry before its answer is complete, so all that was
    /// answered before stands before the mark.
    pub fn mark(&self) -> Result<Mark> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) => Ok(Mark(metadata.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Mark(0)),
            Err(error) => Err(error).with_context(|| format!("looking at {}", self.path.display())),
        }
    }

    /// All requests after the mark; `Mark::default()` is the beginning. A line that is being written is left out.
    pub fn since(&self, mark: Mark) -> Result<Requests> {
        let text = read_from(&self.path, mark.0).with_context(|| format!("reading {}", self.path.display()))?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .filter_map(|line| {
                Request::parse(line)
                    .with_context(|| format!("reading the audit entry {line}"))
                    .transpose()
            })
            .collect::<Result<_>>()
            .map(Requests)
    }
}

impl Request {
    /// Whether it could change an object. Reviews (of access and tokens) are created but change nothing.
    pub fn is_write(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        ) && !self.resource.ends_with("reviews.authorization.k8s.io")
            && !self.resource.ends_with("reviews.authentication.k8s.io")
            && !self.uri.contains("dryRun=All")
    }

    /// Nothing for the second entry of one request.
    fn parse(line: &str) -> Result<Option<Request>> {
        let event: Event = serde_json::from_str(line)?;
        let object = event.object_ref.unwrap_or_default();
        let code = event.response_status.unwrap_or_default().code;
        // Only what runs long has an entry for its beginning, and none when it was refused.
        let runs_long =
            event.verb == "watch" || matches!(object.subresource.as_str(), "exec" | "attach" | "portforward" | "proxy");
        if event.stage == "ResponseComplete" && runs_long && code < 400 {
            return Ok(None);
        }
        let group = if object.api_group.is_empty() {
            String::new()
        } else {
            format!(".{}", object.api_group)
        };
        Ok(Some(Request {
            verb: event.verb,
            user: event.impersonated_user.unwrap_or(event.user).username,
            agent: event.user_agent,
            resource: format!("{}{group}", object.resource),
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            uri: event.request_uri,
            code,
        }))
    }
}

impl Requests {
    /// Keeps what the condition holds for.
    pub fn only(&self, condition: impl Fn(&Request) -> bool) -> Requests {
        Requests(self.0.iter().filter(|request| condition(request)).cloned().collect())
    }

    /// Keeps what one user asked, for instance `bed-admin` or `system:serviceaccount:flux-system:nave-agent`.
    pub fn of_user(&self, user: &str) -> Requests {
        self.only(|request| request.user == user)
    }

    /// Keeps what could change objects.
    pub fn writes(&self) -> Requests {
        self.only(Request::is_write)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The requests one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Request> {
        self.0.iter()
    }

    /// Counts by any key.
    pub fn count_by<K: Ord>(&self, key: impl Fn(&Request) -> K) -> BTreeMap<K, usize> {
        let mut counts = BTreeMap::new();
        for request in &self.0 {
            *counts.entry(key(request)).or_default() += 1;
        }
        counts
    }

    /// Counts by verb, resource (with its subresource), namespace and user: one readable line each, for messages of
    /// failed tests.
    pub fn summary(&self) -> String {
        let counts = self.count_by(|request| {
            let subresource = if request.subresource.is_empty() {
                String::new()
            } else {
                format!("/{}", request.subresource)
            };
            let what = if request.resource.is_empty() {
                &request.uri
            } else {
                &request.resource
            };
            let namespace = if request.namespace.is_empty() {
                "-"
            } else {
                &request.namespace
            };
            format!(
                "{} {what}{subresource} in {namespace} by {}",
                request.verb, request.user
            )
        });
        counts
            .iter()
            .map(|(what, count)| format!("{count:>6} {what}\n"))
            .collect()
    }
}

fn read_from(path: &Path, offset: u64) -> std::io::Result<String> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"kind":"Event","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/pods?limit=500","verb":"list","user":{"username":"u","groups":[]},"userAgent":"x/1","objectRef":{"resource":"pods","namespace":"a","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200}}"#;
    const PATCH: &str = r#"{"stage":"ResponseComplete","requestURI":"/apis/apps/v1/namespaces/a/deployments/d/status","verb":"patch","user":{"username":"u"},"impersonatedUser":{"username":"v"},"objectRef":{"resource":"deployments","namespace":"a","name":"d","apiGroup":"apps","subresource":"status"},"responseStatus":{"code":409}}"#;
    const WATCH_BEGINS: &str = r#"{"stage":"ResponseStarted","requestURI":"/api/v1/pods?watch=1","verb":"watch","user":{"username":"u"},"objectRef":{"resource":"pods"},"responseStatus":{"code":200}}"#;
    const WATCH_ENDS: &str = r#"{"stage":"ResponseComplete","requestURI":"/api/v1/pods?watch=1","verb":"watch","user":{"username":"u"},"objectRef":{"resource":"pods"},"responseStatus":{"code":200}}"#;
    const WATCH_REFUSED: &str = r#"{"stage":"ResponseComplete","requestURI":"/api/v1/secrets?watch=1","verb":"watch","user":{"username":"u"},"objectRef":{"resource":"secrets"},"responseStatus":{"code":403}}"#;
    const REVIEW: &str = r#"{"stage":"ResponseComplete","requestURI":"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews","verb":"create","user":{"username":"u"},"objectRef":{"resource":"selfsubjectaccessreviews","apiGroup":"authorization.k8s.io"},"responseStatus":{"code":201}}"#;

    fn requests(lines: &[&str], unfinished: &str) -> Requests {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        text.push_str(unfinished);
        std::fs::write(&path, text).unwrap();
        AuditLog::new(path).since(Mark::default()).unwrap()
    }

    #[test]
    fn requests_are_counted_once() {
        let all = requests(
            &[LIST, PATCH, WATCH_BEGINS, WATCH_ENDS, WATCH_REFUSED, REVIEW],
            &LIST[..40],
        );
        let counts = all.count_by(|request| format!("{} {}", request.verb, request.resource));
        let seen: Vec<_> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
        assert_eq!(
            seen,
            [
                "1 create selfsubjectaccessreviews.authorization.k8s.io",
                "1 list pods",
                "1 patch deployments.apps",
                "1 watch pods",
                "1 watch secrets"
            ]
        );
    }

    #[test]
    fn writes_are_attributed_to_who_was_impersonated() {
        let all = requests(&[LIST, PATCH, REVIEW], "");
        assert_eq!(
            all.writes().summary(),
            "     1 patch deployments.apps/status in a by v\n"
        );
        assert_eq!(all.of_user("v").len(), 1);
        assert_eq!(all.writes().iter().next().unwrap().code, 409);
    }

    #[test]
    fn a_mark_hides_what_came_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let log = AuditLog::new(&path);
        assert_eq!(log.mark().unwrap(), Mark::default());
        std::fs::write(&path, format!("{LIST}\n")).unwrap();
        let mark = log.mark().unwrap();
        std::fs::write(&path, format!("{LIST}\n{PATCH}\n")).unwrap();
        assert_eq!(log.since(mark).unwrap().len(), 1);
        assert!(log.since(log.mark().unwrap()).unwrap().is_empty());
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        std::fs::write(&path, "nonsense\n").unwrap();
        let text = format!("{:#}", AuditLog::new(path).since(Mark::default()).unwrap_err());
        assert!(text.contains("nonsense"), "{text}");
    }
}
