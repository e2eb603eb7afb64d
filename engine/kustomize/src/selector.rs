//! Choosing resources: anchored regular expressions, label and annotation selectors.

use regex::Regex;

use crate::error::BuildError;
use crate::ids::{Gvk, Id};
use crate::kustomization::Selector;
use crate::resource::{ResMap, Resource};
use crate::schema::Schemas;

/// A selector ready for matching.
pub(crate) struct Matcher {
    group: Option<Regex>,
    version: Option<Regex>,
    kind: Option<Regex>,
    name: Option<Regex>,
    namespace: Option<Regex>,
    pub labels: LabelSelector,
    pub annotations: LabelSelector,
}

/// A label selector: all requirements must hold.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

#[derive(Debug, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

impl Matcher {
    /// # Errors
    /// A pattern that is no regular expression, or a broken label selector.
    pub fn new(selector: &Selector) -> Result<Matcher, BuildError> {
        let pattern = |field: &str, text: &str| {
            if text.is_empty() {
                return Ok(None);
            }
            Regex::new(&format!("^(?:{text})$"))
                .map(Some)
                .map_err(|_| BuildError::selection(format!("target {field} `{text}` is no regular expression")))
        };
        let labels = |field: &str, text: &str| {
            LabelSelector::parse(text)
                .map_err(|problem| BuildError::selection(format!("target {field} `{text}`: {problem}")))
        };
        Ok(Matcher {
            group: pattern("group", &selector.group)?,
            version: pattern("version", &selector.version)?,
            kind: pattern("kind", &selector.kind)?,
            name: pattern("name", &selector.name)?,
            namespace: pattern("namespace", &selector.namespace)?,
            labels: labels("labelSelector", &selector.label_selector)?,
            annotations: labels("annotationSelector", &selector.annotation_selector)?,
        })
    }

    pub fn matches_gvk(&self, gvk: &Gvk) -> bool {
        fits(&self.group, &gvk.group) && fits(&self.version, &gvk.version) && fits(&self.kind, &gvk.kind)
    }

    /// Whether kind, name and namespace of an id fit, the namespace as it is written.
    pub fn matches_id(&self, id: &Id) -> bool {
        self.matches_gvk(&id.gvk) && fits(&self.name, &id.name) && fits(&self.namespace, &id.namespace)
    }

    /// Whether only kind, name or namespace are asked for at all.
    pub fn asks_for_id(&self) -> bool {
        [&self.group, &self.version, &self.kind, &self.name, &self.namespace]
            .iter()
            .any(|pattern| pattern.is_some())
    }

    /// Whether labels and annotations fit.
    pub fn matches_metadata(&self, resource: &Resource) -> bool {
        self.annotations.matches(|key| resource.annotation(key)) && self.labels.matches(|key| resource.label(key))
    }

    fn matches(&self, resource: &Resource, schemas: &Schemas) -> bool {
        if !self.matches_gvk(&resource.gvk()) {
            return false;
        }
        let (current, original) = (resource.current_id(schemas), resource.original_id(schemas));
        let namespace = |id: &Id| fits(&self.namespace, id.effective_namespace());
        (namespace(&original) || namespace(&current))
            && (fits(&self.name, &original.name) || fits(&self.name, &current.name))
            && self.matches_metadata(resource)
    }
}

/// Places of the resources that a selector takes; patterns look at the original id, too.
pub(crate) fn select(resources: &ResMap, selector: &Selector, schemas: &Schemas) -> Result<Vec<usize>, BuildError> {
    let matcher = Matcher::new(selector)?;
    let list = resources.list.iter().enumerate();
    Ok(list
        .filter(|(_, resource)| matcher.matches(resource, schemas))
        .map(|(index, _)| index)
        .collect())
}

fn fits(pattern: &Option<Regex>, text: &str) -> bool {
    pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
}

impl LabelSelector {
    /// Reads `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1`.
    pub fn parse(text: &str) -> Result<LabelSelector, String> {
        let mut requirements = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (requirement, tail) = parse_requirement(rest)?;
            requirements.push(requirement);
            rest = match tail.trim_start().strip_prefix(',') {
                Some(tail) if tail.trim().is_empty() => {
                    return Err("expected a requirement after the last comma".to_owned());
                }
                Some(tail) => tail.trim_start(),
                None if tail.trim().is_empty() => "",
                None => return Err(format!("expected a comma before `{}`", tail.trim())),
            };
        }
        Ok(LabelSelector(requirements))
    }

    pub fn matches<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => value(key).is_some_and(|value| values.iter().any(|wanted| wanted == value)),
            Requirement::NotIn(key, values) => value(key).is_none_or(|value| values.iter().all(|other| other != value)),
            Requirement::Exists(key) => value(key).is_some(),
            Requirement::Absent(key) => value(key).is_none(),
            Requirement::Greater(key, bound) => number(value(key)).is_some_and(|value| value > *bound),
            Requirement::Less(key, bound) => number(value(key)).is_some_and(|value| value < *bound),
        })
    }
}

fn number(text: Option<&str>) -> Option<i64> {
    text?.parse().ok()
}

fn parse_requirement(text: &str) -> Result<(Requirement, &str), String> {
    if let Some(rest) = text.strip_prefix('!') {
        let (key, rest) = word(rest.trim_start());
        return match key {
            "" => Err("expected a label after `!`".to_owned()),
            key => Ok((Requirement::Absent(key.to_owned()), rest)),
        };
    }
    let (key, rest) = word(text);
    if key.is_empty() {
        return Err(format!("expected a label, found `{text}`"));
    }
    let key = key.to_owned();
    let rest = rest.trim_start();
    for (operator, negated) in [("!=", true), ("==", false), ("=", false)] {
        if let Some(rest) = rest.strip_prefix(operator) {
            let (value, rest) = word(rest.trim_start());
            let values = vec![value.to_owned()];
            let made = if negated {
                Requirement::NotIn(key, values)
            } else {
                Requirement::In(key, values)
            };
            return Ok((made, rest));
        }
    }
    for (operator, greater) in [(">", true), ("<", false)] {
        if let Some(rest) = rest.strip_prefix(operator) {
            let (value, rest) = word(rest.trim_start());
            let bound = value
                .parse()
                .map_err(|_| format!("`{value}` after `{operator}` is no whole number"))?;
            let made = if greater {
                Requirement::Greater(key, bound)
            } else {
                Requirement::Less(key, bound)
            };
            return Ok((made, rest));
        }
    }
    let (operator, after) = word(rest);
    let negated = match operator {
        "in" => false,
        "notin" => true,
        _ => return Ok((Requirement::Exists(key), rest)),
    };
    let inside = after
        .trim_start()
        .strip_prefix('(')
        .ok_or_else(|| format!("expected `(` after `{operator}`"))?;
    let (list, rest) = inside
        .split_once(')')
        .ok_or_else(|| format!("expected `)` after `{inside}`"))?;
    let values: Vec<String> = list.split(',').map(|value| value.trim().to_owned()).collect();
    Ok((
        if negated {
            Requirement::NotIn(key, values)
        } else {
            Requirement::In(key, values)
        },
        rest,
    ))
}

/// Text up to the next character that has a meaning in selectors.
fn word(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| c.is_whitespace() || matches!(c, ',' | '=' | '!' | '(' | ')' | '>' | '<'))
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors_match_as_in_kubernetes() {
        let labels = |key: &str| match key {
            "app" => Some("web"),
            "tier" => Some("2"),
            _ => None,
        };
        for (text, wanted) in [
            ("", true),
            ("app=web", true),
            ("app == web,tier!=3", true),
            ("app!=web", false),
            ("none!=x", true),
            ("app in (a, web)", true),
            ("app notin (web)", false),
            ("app", true),
            ("!app", false),
            ("!none,app", true),
            ("tier>1", true),
            ("tier<2", false),
        ] {
            let selector = LabelSelector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(selector.matches(labels), wanted, "{text}");
        }
        for text in ["=a", "a in b", "a in (b", "a=b c", "a=b,", "a>b", "!"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }
}
