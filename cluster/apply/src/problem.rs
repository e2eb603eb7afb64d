//! What went wrong with which object.

use std::collections::HashMap;

use nave_object::ObjectId;
use nave_targets::ResolveError;
use serde_json::Value;

use crate::wait::WaitError;

/// Shorter values would blank out half of a message and protect nothing.
const SHORTEST_SECRET: usize = 3;

/// What went wrong with one object.
#[derive(Debug, thiserror::Error)]
#[error("{object}{file} {step}: {reason}")]
pub struct Problem {
    /// `<Kind>/<namespace>/<name>`.
    pub object: ObjectId,
    file: FileNote,
    /// What was being done, such as `dry-run failed`.
    pub step: &'static str,
    /// The cause in one line, with values of Secrets blanked out.
    pub reason: String,
    /// Nothing is wrong: whoever may permit it has not yet.
    is_held: bool,
}

/// The file that an object comes from, where the build says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FileNote(Option<String>);

impl std::fmt::Display for FileNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(file) => write!(f, " (from {file})"),
            None => Ok(()),
        }
    }
}

/// Why an apply stopped. Stages before the one that failed stay applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Objects of one stage cannot be applied. All of them are named.
    #[error("{}", list(.0))]
    Objects(Vec<Problem>),
    /// Definitions or classes were applied but did not become ready, so that what needs them was not applied.
    #[error("{0}")]
    NotReady(WaitError),
}

impl ApplyError {
    /// Whether all that is missing is a permit.
    pub fn is_held(&self) -> bool {
        matches!(self, ApplyError::Objects(problems) if problems.iter().all(|problem| problem.is_held))
    }

    /// Names the files that objects come from, where an object does not say it itself.
    #[must_use]
    pub fn in_files(mut self, files: &HashMap<ObjectId, String>) -> Self {
        if let ApplyError::Objects(problems) = &mut self {
            for problem in problems.iter_mut().filter(|problem| problem.file.0.is_none()) {
                problem.file = FileNote(files.get(&problem.object).cloned());
            }
        }
        self
    }
}

impl Problem {
    /// `object` is what was to be applied: its annotations may name the file, and its values are blanked out if it is a Secret.
    pub(crate) fn new(id: &ObjectId, object: &Value, step: &'static str, reason: impl Into<String>) -> Self {
        Problem {
            object: id.clone(),
            file: FileNote(file_of(object)),
            step,
            reason: blanked(object, reason.into()),
            is_held: false,
        }
    }

    /// It is to be re-created, and its deletion is not permitted yet.
    pub(crate) fn held(id: &ObjectId, object: &Value, reason: &str) -> Self {
        Problem {
            is_held: true,
            ..Problem::new(id, object, "waits for a permit to be re-created", reason)
        }
    }

    pub(crate) fn api(id: &ObjectId, object: &Value, step: &'static str, error: &kube::Error) -> Self {
        Problem::new(id, object, step, describe(error))
    }

    pub(crate) fn resolve(id: &ObjectId, object: &Value, error: &ResolveError) -> Self {
        let reason = match error {
            ResolveError::NoMatch(_) => error.to_string(),
            ResolveError::Request { source, .. } => format!("{error}: {}", describe(source)),
        };
        Problem::new(id, object, "cannot be addressed", reason)
    }
}

/// The API server's own words, or the chain of causes of what kept us from asking it.
pub(crate) fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.reason.is_empty() => {
            format!("{} (HTTP {})", status.message, status.code)
        }
        kube::Error::Api(status) => format!("{} ({})", status.message, status.reason),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(error) = cause {
                let next = error.to_string();
                // kube's own texts repeat their source.
                if !text.contains(&next) {
                    text = format!("{text}: {next}");
                }
                cause = error.source();
            }
            text
        }
    }
}

/// `config.kubernetes.io/origin` is there with `buildMetadata: [originAnnotations]`.
fn file_of(object: &Value) -> Option<String> {
    let origin = object
        .pointer("/metadata/annotations/config.kubernetes.io~1origin")?
        .as_str()?;
    origin
        .lines()
        .find_map(|line| line.trim().strip_prefix("path:"))
        .map(|path| path.trim().to_owned())
}

fn blanked(object: &Value, mut text: String) -> String {
    if object.get("kind").and_then(Value::as_str) != Some("Secret") {
        return text;
    }
    for field in ["data", "stringData"] {
        for value in object
            .get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|values| values.values())
            .filter_map(Value::as_str)
            .filter(|value| value.len() >= SHORTEST_SECRET)
        {
            text = text.replace(value, "*****");
        }
    }
    text
}

fn list(problems: &[Problem]) -> String {
    let [first, rest @ ..] = problems else {
        return String::new();
    };
    if rest.is_empty() {
        return first.to_string();
    }
    // A cluster that does not answer says the same about every object.
    if rest
        .iter()
        .all(|other| (other.step, &other.reason) == (first.step, &first.reason))
    {
        return format!("{} objects failed, the first one: {first}", problems.len());
    }
    let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
    format!("{} objects failed:\n{}", texts.len(), texts.join("\n"))
}

#[cfg(test)]
mod tests {
    use nave_object::Object;
    use serde_json::json;

    use super::*;

    #[test]
    fn problems_name_object_file_and_reason_but_no_secret() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n",
            "annotations": {"config.kubernetes.io/origin": "path: apps/secret.yaml\n"}}, "data": {"k": "Y2FuYXJ5", "short": "ab"}});
        let id = Object::from_value(secret.clone()).expect("it is valid").id();
        let problem = Problem::new(&id, &secret, "dry-run failed", "bad value Y2FuYXJ5 about k");
        assert_eq!(
            problem.to_string(),
            "Secret/n/s (from apps/secret.yaml) dry-run failed: bad value ***** about k"
        );
        let two = ApplyError::Objects(vec![
            Problem::new(&id, &json!({}), "dry-run failed", "a"),
            Problem::new(&id, &json!({}), "dry-run failed", "b"),
        ]);
        assert_eq!(
            two.to_string(),
            "2 objects failed:\nSecret/n/s dry-run failed: a\nSecret/n/s dry-run failed: b"
        );
        let files = HashMap::from([(id.clone(), "apps/x.yaml".to_owned())]);
        let named = ApplyError::Objects(vec![Problem::new(&id, &json!({}), "dry-run failed", "a")]).in_files(&files);
        assert_eq!(named.to_string(), "Secret/n/s (from apps/x.yaml) dry-run failed: a");
        let same = || Problem::new(&id, &json!({}), "cannot be read", "no route to host");
        assert_eq!(
            ApplyError::Objects(vec![same(), same(), same()]).to_string(),
            "3 objects failed, the first one: Secret/n/s cannot be read: no route to host"
        );
    }
}
