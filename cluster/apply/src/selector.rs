//! Selecting objects as kustomize does: anchored regular expressions and label selectors.

use std::collections::BTreeMap;

use nave_crds::kustomize::Selector;
use nave_object::Object;
use regex::Regex;

/// A selector that can be asked.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    group: Option<Regex>,
    version: Option<Regex>,
    kind: Option<Regex>,
    namespace: Option<Regex>,
    name: Option<Regex>,
    labels: Vec<Requirement>,
    annotations: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

impl Matcher {
    /// The field that is no valid expression, with what is wrong.
    pub fn new(selector: &Selector) -> Result<Self, (&'static str, String)> {
        let regex = |field: &'static str, text: &str| {
            if text.is_empty() {
                return Ok(None);
            }
            Regex::new(&format!("^(?:{text})$"))
                .map(Some)
                .map_err(|_| (field, format!("{text:?} is no regular expression")))
        };
        Ok(Matcher {
            group: regex("group", &selector.group)?,
            version: regex("version", &selector.version)?,
            kind: regex("kind", &selector.kind)?,
            namespace: regex("namespace", &selector.namespace)?,
            name: regex("name", &selector.name)?,
            labels: requirements(&selector.label_selector).map_err(|problem| ("labelSelector", problem))?,
            annotations: requirements(&selector.annotation_selector)
                .map_err(|problem| ("annotationSelector", problem))?,
        })
    }

    pub fn matches(&self, object: &Object) -> bool {
        let gvk = object.gvk();
        let fits = |regex: &Option<Regex>, text: &str| regex.as_ref().is_none_or(|regex| regex.is_match(text));
        let texts = |map: Option<&serde_json::Map<String, serde_json::Value>>| -> BTreeMap<String, String> {
            map.into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect()
        };
        fits(&self.group, &gvk.group)
            && fits(&self.version, &gvk.version)
            && fits(&self.kind, &gvk.kind)
            && fits(&self.namespace, object.namespace().unwrap_or_default())
            && fits(&self.name, object.name())
            && all_hold(&self.labels, &texts(object.labels()))
            && all_hold(&self.annotations, &texts(object.annotations()))
    }
}

fn all_hold(requirements: &[Requirement], values: &BTreeMap<String, String>) -> bool {
    requirements.iter().all(|requirement| match requirement {
        Requirement::In(key, allowed) => values.get(key).is_some_and(|value| allowed.contains(value)),
        Requirement::NotIn(key, refused) => values.get(key).is_none_or(|value| !refused.contains(value)),
        Requirement::Exists(key) => values.contains_key(key),
        Requirement::Missing(key) => !values.contains_key(key),
    })
}

/// `a=b, c!=d, e in (f, g), h notin (i), j, !k`
fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut requirements = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        // A comma inside parentheses does not end a requirement.
        let end = match (rest.find(','), rest.find('(')) {
            (Some(comma), Some(open)) if open < comma => {
                let close = rest.find(')').ok_or_else(|| format!("{text:?} lacks a )"))?;
                rest[close..].find(',').map_or(rest.len(), |comma| close + comma)
            }
            (Some(comma), _) => comma,
            (None, _) => rest.len(),
        };
        requirements.push(requirement(rest[..end].trim()).ok_or_else(|| format!("{text:?} is no label selector"))?);
        rest = rest[end..].trim_start_matches(',').trim();
    }
    Ok(requirements)
}

fn requirement(text: &str) -> Option<Requirement> {
    let key = |text: &str| {
        let text = text.trim();
        let valid = !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
        valid.then(|| text.to_owned())
    };
    if let Some(rest) = text.strip_prefix('!') {
        return Some(Requirement::Missing(key(rest)?));
    }
    if let Some((left, right)) = text.split_once("!=") {
        return Some(Requirement::NotIn(key(left)?, vec![right.trim().to_owned()]));
    }
    if let Some((left, right)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(Requirement::In(key(left)?, vec![right.trim().to_owned()]));
    }
    if let Some((left, right)) = text.split_once('(') {
        let values: Vec<String> = right
            .strip_suffix(')')?
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        let (name, operator) = left.trim().rsplit_once(char::is_whitespace)?;
        return match operator {
            "in" => Some(Requirement::In(key(name)?, values)),
            "notin" => Some(Requirement::NotIn(key(name)?, values)),
            _ => None,
        };
    }
    Some(Requirement::Exists(key(text)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_matches(selector: Selector, wanted: bool) {
        let object = Object::from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web-1", "namespace": "n", "labels": {"app": "web", "tier": "front"}}}))
        .expect("it is valid");
        let found = Matcher::new(&selector).expect("the selector is valid").matches(&object);
        assert_eq!(found, wanted, "{selector:?}");
    }

    #[test]
    fn selectors() {
        let by = |change: fn(&mut Selector)| {
            let mut selector = Selector::default();
            change(&mut selector);
            selector
        };
        check_matches(Selector::default(), true);
        check_matches(by(|s| s.kind = "Deploy".into()), false);
        check_matches(by(|s| s.kind = "Deploy.*|Job".into()), true);
        check_matches(by(|s| s.name = "web-[0-9]".into()), true);
        check_matches(by(|s| s.group = "batch".into()), false);
        check_matches(by(|s| s.version = "v1".into()), true);
        check_matches(by(|s| s.namespace = "m".into()), false);
        for (labels, wanted) in [
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app in (web, api), tier notin (back)", true),
            ("app, !gone", true),
            ("!app", false),
            ("gone", false),
            ("app in (x,y)", false),
            ("gone!=x", true),
        ] {
            let mut selector = Selector {
                label_selector: labels.into(),
                ..Selector::default()
            };
            check_matches(selector.clone(), wanted);
            selector.annotation_selector = "note=x".into();
            check_matches(selector, false);
        }
    }

    #[test]
    fn nonsense_is_named() {
        let bad = |selector| Matcher::new(&selector).expect_err("it is nonsense").0;
        assert_eq!(
            bad(Selector {
                kind: "(".into(),
                ..Selector::default()
            }),
            "kind"
        );
        for labels in ["a in (b", "a b c", "=", "a like (b)", "a in b)"] {
            assert_eq!(
                bad(Selector {
                    label_selector: labels.into(),
                    ..Selector::default()
                }),
                "labelSelector",
                "{labels}"
            );
        }
    }
}
