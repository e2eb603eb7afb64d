//! What a spec asks for, and whether this version can do it. Pure.

use std::time::Duration;

use nave_artifact::Digest;
use nave_crds::{
    conditions::FETCH_FAILED,
    reasons::source as reasons,
    source::{OciLayerOperation, OciLayerSelector, OciRepositorySpec},
};
use nave_oci::{Descriptor, Manifest, Repository, media_type};
use nave_version::{Range, sort_descending};
use regex::Regex;

use crate::failure::{Failure, Retry, chain};

/// What to pull.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub repository: Repository,
    pub wanted: Wanted,
    pub timeout: Duration,
}

/// Which manifest is wanted.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// This one.
    Digest(Digest),
    /// The highest version within a range.
    Version(VersionChoice),
    /// What a tag stands for.
    Tag(String),
}

/// How a tag is chosen among all.
#[derive(Debug, Clone)]
pub(crate) struct VersionChoice {
    range: Range,
    text: String,
    filter: Option<Regex>,
    /// Registries allow no `+` in tags; Helm writes `_` for it.
    is_chart: bool,
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_TAG: &str = "latest";

/// Reads a spec.
///
/// Whatever this version does not do yet stalls the object with the field's name: a source that silently left out a
/// signature check would be worse than none.
pub(crate) fn plan(spec: &OciRepositorySpec) -> Result<Plan, Failure> {
    let stalled = |reason, message: String| Failure::new(Retry::Stalled, FETCH_FAILED, reason, message);
    let repository =
        Repository::from_url(&spec.url).map_err(|error| stalled(reasons::URL_INVALID, format!("spec.url: {error}")))?;
    Ok(Plan {
        repository,
        wanted: wanted(spec)?,
        timeout: spec.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.get()),
    })
}

/// Digest before semver before tag.
fn wanted(spec: &OciRepositorySpec) -> Result<Wanted, Failure> {
    let wrong = |message: String| {
        Failure::new(
            Retry::Stalled,
            FETCH_FAILED,
            reasons::READ_OPERATION_FAILED,
            format!("failed to determine the artifact tag for '{}': {message}", spec.url),
        )
    };
    let Some(reference) = &spec.reference else {
        return Ok(Wanted::Tag(DEFAULT_TAG.to_owned()));
    };
    if !reference.digest.is_empty() {
        let digest = reference
            .digest
            .parse()
            .map_err(|error| wrong(format!("spec.ref.digest: {error}")))?;
        return Ok(Wanted::Digest(digest));
    }
    if !reference.semver.is_empty() {
        let range = Range::parse(&reference.semver)
            .map_err(|error| wrong(format!("spec.ref.semver '{}': {}", reference.semver, chain(&error))))?;
        let filter = match reference.semver_filter.as_str() {
            "" => None,
            pattern => Some(
                Regex::new(pattern).map_err(|error| wrong(format!("spec.ref.semverFilter '{pattern}': {error}")))?,
            ),
        };
        let selector = spec.layer_selector.as_ref();
        return Ok(Wanted::Version(VersionChoice {
            range,
            text: reference.semver.clone(),
            filter,
            is_chart: selector.is_some_and(|selector| selector.media_type == media_type::HELM_CHART),
        }));
    }
    Ok(Wanted::Tag(match reference.tag.as_str() {
        "" => DEFAULT_TAG.to_owned(),
        tag => tag.to_owned(),
    }))
}

impl VersionChoice {
    /// The tag of the highest version within the range.
    pub fn choose(&self, tags: &[String]) -> Result<String, String> {
        let candidates: Vec<(String, &String)> = tags
            .iter()
            .filter(|tag| self.filter.as_ref().is_none_or(|filter| filter.is_match(tag)))
            .map(|tag| {
                let version = if self.is_chart {
                    tag.replace('_', "+")
                } else {
                    tag.clone()
                };
                (version, tag)
            })
            .collect();
        let best = sort_descending(
            Some(&self.range),
            candidates.iter().map(|(version, _)| version.as_str()),
        );
        best.first()
            .and_then(|best| candidates.iter().find(|(version, _)| version == best))
            .map(|(_, tag)| (*tag).clone())
            .ok_or_else(|| format!("no match found for semver: {}", self.text))
    }
}

/// The layer to take, and what to do with it.
pub(crate) fn layer<'a>(
    manifest: &'a Manifest,
    selector: Option<&OciLayerSelector>,
) -> Result<(&'a Descriptor, OciLayerOperation), String> {
    let operation = selector.and_then(|selector| selector.operation).unwrap_or_default();
    let wanted = selector.map_or("", |selector| selector.media_type.as_str());
    let found = if wanted.is_empty() {
        manifest.layers.first()
    } else {
        manifest.layers.iter().find(|layer| layer.media_type == wanted)
    };
    match found {
        Some(layer) => Ok((layer, operation)),
        None if wanted.is_empty() => Err("no layers found in artifact".to_owned()),
        None => Err(format!("failed to find layer with media type '{wanted}' in artifact")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(fields: Value) -> OciRepositorySpec {
        let mut whole = json!({"url": "oci://registry.example.com/app", "interval": "1m"});
        for (name, value) in fields.as_object().unwrap() {
            whole[name] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    fn shown(wanted: &Wanted) -> String {
        match wanted {
            Wanted::Digest(digest) => digest.to_string(),
            Wanted::Version(choice) => format!("range {}", choice.text),
            Wanted::Tag(tag) => format!("tag {tag}"),
        }
    }

    #[test]
    fn precedence_of_references() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let of = |reference: Value| shown(&plan(&spec(json!({"ref": reference}))).unwrap().wanted);
        assert_eq!(of(json!({"digest": digest, "semver": "1.x", "tag": "t"})), digest);
        assert_eq!(of(json!({"semver": "1.x", "tag": "t"})), "range 1.x");
        assert_eq!(of(json!({"tag": "t"})), "tag t");
        assert_eq!(of(json!({})), "tag latest");
        assert_eq!(shown(&plan(&spec(json!({}))).unwrap().wanted), "tag latest");
    }

    #[track_caller]
    fn check_stalled(fields: Value, reason: &str, message: &str) {
        let failure = plan(&spec(fields)).unwrap_err();
        assert_eq!((failure.retry, failure.reason), (Retry::Stalled, reason));
        assert!(failure.message.contains(message), "{}", failure.message);
    }

    #[test]
    fn what_cannot_be_done_stalls_and_is_named() {
        check_stalled(
            json!({"url": "oci://h/a:v1"}),
            "URLInvalid",
            "spec.url: 'oci://h/a:v1' names a tag",
        );
        check_stalled(json!({"url": "oci://h"}), "URLInvalid", "spec.url");
        check_stalled(
            json!({"ref": {"semver": "a range"}}),
            "ReadOperationFailed",
            "spec.ref.semver 'a range'",
        );
        check_stalled(
            json!({"ref": {"semver": "1.x", "semverFilter": "("}}),
            "ReadOperationFailed",
            "spec.ref.semverFilter '('",
        );
        check_stalled(
            json!({"ref": {"digest": "sha256:x"}}),
            "ReadOperationFailed",
            "spec.ref.digest",
        );
    }

    #[track_caller]
    fn check_choice(reference: Value, selector: Value, tags: &[&str], expected: Result<&str, &str>) {
        let fields = json!({"ref": reference, "layerSelector": selector});
        let Wanted::Version(choice) = plan(&spec(fields)).unwrap().wanted else {
            panic!("a range is wanted");
        };
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let found = choice.choose(&tags);
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn the_highest_version_is_chosen() {
        let none = json!({});
        let tags = [
            "latest",
            "1.2",
            "v1.2.3",
            "1.10.0",
            "2.0.0-rc.1",
            "1.9.9",
            "sha256-abc.sig",
        ];
        check_choice(json!({"semver": "1.x"}), none.clone(), &tags, Ok("1.10.0"));
        check_choice(json!({"semver": "~1.2"}), none.clone(), &tags, Ok("v1.2.3"));
        check_choice(json!({"semver": ">=1.0.0-0"}), none.clone(), &tags, Ok("2.0.0-rc.1"));
        check_choice(
            json!({"semver": "9.x"}),
            none.clone(),
            &tags,
            Err("no match found for semver: 9.x"),
        );
        let filtered = json!({"semver": ">=1.0.0-0", "semverFilter": ".*-rc.*"});
        check_choice(filtered, none.clone(), &["1.0.0-rc.1", "1.0.0"], Ok("1.0.0-rc.1"));
        let chart = json!({"mediaType": media_type::HELM_CHART});
        check_choice(json!({"semver": "1.x"}), chart, &["1.0.0_b1", "0.9.0"], Ok("1.0.0_b1"));
        check_choice(json!({"semver": "1.x"}), none, &["1.0.0_b1", "1.0.0"], Ok("1.0.0"));
    }

    #[test]
    fn layers_are_selected_by_media_type() {
        let manifest = Manifest {
            layers: vec![
                Descriptor::of("a", b"1"),
                Descriptor::of("b", b"2"),
                Descriptor::of("b", b"3"),
            ],
            ..Manifest::default()
        };
        let select = |fields: Value| {
            let selector: OciLayerSelector = serde_json::from_value(fields).unwrap();
            layer(&manifest, Some(&selector)).map(|(layer, operation)| (layer.digest.clone(), operation))
        };
        let digest = |data: &[u8]| Digest::sha256(data).to_string();
        assert_eq!(select(json!({})), Ok((digest(b"1"), OciLayerOperation::Extract)));
        assert_eq!(
            select(json!({"mediaType": "b", "operation": "copy"})),
            Ok((digest(b"2"), OciLayerOperation::Copy))
        );
        let error = select(json!({"mediaType": "c"})).unwrap_err();
        assert_eq!(error, "failed to find layer with media type 'c' in artifact");
        assert_eq!(
            layer(&Manifest::default(), None).unwrap_err(),
            "no layers found in artifact"
        );
    }
}
