//! `spec.pathPattern`: one artifact per directory that matches. Pure.

use std::collections::BTreeMap;

use nave_artifact::FileTree;
use nave_crds::extensions::{ArtifactGeneratorSpec, OutputArtifact};
use regex::Regex;

use super::{compose::Trees, plan::is_object_name};

/// An artifact to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub artifact: OutputArtifact,
    /// What was captured, in lower case: labels of the ExternalArtifact.
    pub labels: BTreeMap<String, String>,
}

/// Regular expressions of Go with names so long compile for ages.
const LONGEST_LABEL: usize = 63;

/// What is to be made. An error is for people to repair.
pub(crate) fn requests(spec: &ArtifactGeneratorSpec, sources: &Trees) -> Result<Vec<Request>, String> {
    if spec.path_pattern.is_empty() {
        let plain = |artifact: &OutputArtifact| Request {
            artifact: artifact.clone(),
            labels: BTreeMap::new(),
        };
        return Ok(spec.artifacts.iter().map(plain).collect());
    }
    let whole = &spec.path_pattern;
    let (alias, pattern) = whole
        .strip_prefix('@')
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(|| format!("invalid pathPattern format: {whole}"))?;
    let failed = |problem: String| format!("pathPattern {whole:?}: {problem}");
    let source = sources
        .get(alias)
        .ok_or_else(|| failed(format!("source alias {alias} not found in local sources")))?;
    let (matcher, names) = compile(pattern).map_err(failed)?;
    let mut requests = Vec::new();
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for directory in directories(source) {
        let Some(found) = matcher.captures(&directory) else {
            continue;
        };
        let raw: BTreeMap<String, String> = names
            .iter()
            .enumerate()
            .filter_map(|(index, name)| Some((name.clone(), found.get(index + 1)?.as_str().to_owned())))
            .collect();
        let labels: BTreeMap<String, String> = raw
            .iter()
            .map(|(name, value)| (name.clone(), value.to_lowercase()))
            .collect();
        for (name, value) in &labels {
            if !is_label_value(value) {
                return Err(failed(format!(
                    "captured value {value:?} for variable {name:?} is not a valid Kubernetes label value"
                )));
            }
        }
        for template in &spec.artifacts {
            let artifact = rendered(template, &labels, &raw).map_err(|problem| {
                failed(format!(
                    "failed to render artifact {} for match {directory}: {problem}",
                    template.name
                ))
            })?;
            if !is_object_name(&artifact.name) {
                return Err(failed(format!(
                    "rendered artifact name {:?} is not a valid Kubernetes object name",
                    artifact.name
                )));
            }
            if let Some(other) = seen.insert(artifact.name.clone(), directory.clone()) {
                return Err(failed(format!(
                    "directories {other:?} and {directory:?} both resolve to artifact name {:?}",
                    artifact.name
                )));
            }
            let labels = labels.clone();
            requests.push(Request { artifact, labels });
        }
    }
    Ok(requests)
}

/// The pattern as an expression, and the names of its groups in their order.
fn compile(pattern: &str) -> Result<(Regex, Vec<String>), String> {
    let mut names: Vec<String> = Vec::new();
    let mut expression = String::from("^");
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', '}']) {
        expression.push_str(&regex::escape(&rest[..at]));
        let offset = pattern.len() - rest.len() + at;
        let (name, after) = capture(&rest[at..])
            .ok_or_else(|| format!("invalid capture at offset {offset}: braces must enclose a name"))?;
        if !is_capture_name(name) {
            return Err(format!(
                "capture variable {name:?} must be a valid capture name matching [A-Za-z_][A-Za-z0-9_]*"
            ));
        }
        if name.len() > LONGEST_LABEL || name.starts_with('_') || name.ends_with('_') {
            return Err(format!("capture variable {name:?} is not a valid Kubernetes label key"));
        }
        if names.iter().any(|other| other == name) {
            return Err(format!("duplicate capture variable {name:?}"));
        }
        names.push(name.to_owned());
        expression.push_str("([^/]+)");
        rest = after;
    }
    expression.push_str(&regex::escape(rest));
    expression.push('$');
    let matcher = Regex::new(&expression).map_err(|error| format!("failed to compile path pattern: {error}"))?;
    Ok((matcher, names))
}

/// `{name}rest` in its parts.
fn capture(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.strip_prefix('{')?.split_once('}')?;
    Some((name, rest)).filter(|(name, _)| !name.is_empty())
}

fn rendered(
    template: &OutputArtifact,
    labels: &BTreeMap<String, String>,
    raw: &BTreeMap<String, String>,
) -> Result<OutputArtifact, String> {
    let mut artifact = template.clone();
    artifact.name = filled(&template.name, labels)?;
    for operation in &mut artifact.copy {
        operation.from = filled(&operation.from, raw)?;
        operation.to = filled(&operation.to, raw)?;
    }
    Ok(artifact)
}

fn filled(template: &str, values: &BTreeMap<String, String>) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let (name, after) =
            capture(&rest[at..]).ok_or_else(|| format!("invalid template {template:?}: braces must enclose a name"))?;
        let value = values.get(name).ok_or_else(|| {
            format!("invalid template {template:?}: capture variable {name:?} is not defined by pathPattern")
        })?;
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// Every directory, sorted.
fn directories(tree: &FileTree) -> std::collections::BTreeSet<String> {
    let mut found = std::collections::BTreeSet::new();
    for (path, _) in tree.iter() {
        for (at, _) in path.rmatch_indices('/') {
            if !found.insert(path[..at].to_owned()) {
                break;
            }
        }
    }
    found
}

fn is_capture_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_label_value(value: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    value.len() <= LONGEST_LABEL
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && ends(value.bytes().next())
        && ends(value.bytes().last())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nave_artifact::File;
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(pattern: &str, artifact: Value, expected: Result<&[&str], &str>) {
        let mut tree = FileTree::new();
        for path in [
            "apps/One/envs/prod/a",
            "apps/two/envs/prod/a",
            "apps/two/envs/dev/a",
            "x",
        ] {
            tree.insert(path, File::plain(b"".as_slice())).unwrap();
        }
        let sources = Trees::from([("git".to_owned(), Arc::new(tree))]);
        let spec: ArtifactGeneratorSpec = serde_json::from_value(json!({
            "pathPattern": pattern,
            "sources": [{"alias": "git", "kind": "GitRepository", "name": "g"}],
            "artifacts": [artifact],
        }))
        .unwrap();
        let found = requests(&spec, &sources).map(|requests| {
            requests
                .iter()
                .map(|request| {
                    let copy = &request.artifact.copy[0];
                    format!("{} {} {:?}", request.artifact.name, copy.from, request.labels)
                })
                .collect::<Vec<_>>()
        });
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{found:?} where {expected:?} was expected"),
        }
    }

    #[test]
    fn every_directory_that_matches_yields_one() {
        let artifact =
            json!({"name": "{app}-{env}", "copy": [{"from": "@git/apps/{app}/envs/{env}", "to": "@artifact/"}]});
        check(
            "@git/apps/{app}/envs/{env}",
            artifact.clone(),
            Ok(&[
                "one-prod @git/apps/One/envs/prod {\"app\": \"one\", \"env\": \"prod\"}",
                "two-dev @git/apps/two/envs/dev {\"app\": \"two\", \"env\": \"dev\"}",
                "two-prod @git/apps/two/envs/prod {\"app\": \"two\", \"env\": \"prod\"}",
            ]),
        );
        check("@git/none/{app}/{env}", artifact.clone(), Ok(&[]));
        check(
            "@git/apps/{app}",
            artifact.clone(),
            Err("capture variable \"env\" is not defined"),
        );
        check(
            "@git/apps/{app}/{app}",
            artifact.clone(),
            Err("duplicate capture variable \"app\""),
        );
        check("@git/apps/{app", artifact.clone(), Err("invalid capture at offset 5"));
        check("@git/apps/}", artifact.clone(), Err("invalid capture at offset 5"));
        check("@git/apps/{}", artifact.clone(), Err("invalid capture at offset 5"));
        check("@git/apps/{a-b}", artifact.clone(), Err("must be a valid capture name"));
        check(
            "@git/apps/{_a}",
            artifact.clone(),
            Err("not a valid Kubernetes label key"),
        );
        check("@x/apps/{app}", artifact, Err("source alias x not found"));
        let same = json!({"name": "{env}", "copy": [{"from": "@git/x", "to": "@artifact/"}]});
        check(
            "@git/apps/{app}/envs/{env}",
            same,
            Err("directories \"apps/One/envs/prod\" and \"apps/two/envs/prod\" both resolve to artifact name \"prod\""),
        );
        let wrong = json!({"name": "-{app}", "copy": [{"from": "@git/x", "to": "@artifact/"}]});
        check("@git/apps/{app}", wrong, Err("is not a valid Kubernetes object name"));
    }
}
