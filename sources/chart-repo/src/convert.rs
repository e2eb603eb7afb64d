//! From `index.yaml` to the JSON that is stored: entries checked, versions sorted, one chart in memory at a time.

use std::{
    collections::HashSet,
    io::{Read, Write},
};

use nave_version::Version;
use serde_json::{Map, Value, json};

use crate::stream::{Events, StreamError, Token};

/// What an index holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Converted {
    /// Charts with at least one version.
    pub charts: usize,
    /// Versions of all charts.
    pub versions: usize,
    /// Versions that were left out because they cannot be used, the first ones, as `<chart> <version>: <why>`.
    pub dropped: Vec<String>,
}

/// An index that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Not YAML, or not of an index' form.
    #[error(transparent)]
    Form(#[from] StreamError),
    /// No `apiVersion`, which every index since Helm 2 has.
    #[error("no API version specified")]
    NoApiVersion,
    /// Nothing at all.
    #[error("the index is empty")]
    Empty,
    /// Where the JSON should have gone.
    #[error("writing the index")]
    Write(#[source] std::io::Error),
}

/// How many values one chart may have; a chart with a thousand versions has about fifty thousand.
const MAX_VALUES: usize = 2_000_000;
/// Names of all charts are kept, to find the one that is there twice.
const MAX_CHARTS: usize = 200_000;
const MAX_DROPPED: usize = 20;

/// Reads an index and writes it as JSON, indented by two spaces.
///
/// Versions are sorted, highest first; those that Helm would not load (no or another name, no valid version) are left
/// out. The order of charts stays.
///
/// # Errors
/// The index is no index, a reader's or a writer's.
pub fn convert(index: impl Read, json: &mut impl Write) -> Result<Converted, IndexError> {
    let mut events = Events::new(index);
    let mut out = Output {
        json,
        is_first_field: true,
    };
    let mut converted = Converted::default();
    match events.next()? {
        Token::MappingStart => {}
        Token::End => return Err(IndexError::Empty),
        Token::Scalar(Value::Null, _) => return Err(IndexError::Empty),
        _ => return Err(events.wrong("an index is a map").into()),
    }
    let (mut has_api_version, mut has_entries) = (false, false);
    out.raw("{")?;
    while let Some(key) = events.key()? {
        let token = events.next()?;
        if key == "entries" {
            if has_entries {
                return Err(events.wrong("key \"entries\" is set twice").into());
            }
            has_entries = true;
            match token {
                Token::MappingStart => entries(&mut events, &mut out, &mut converted)?,
                Token::Scalar(Value::Null, _) => out.field("entries", &json!({}))?,
                _ => return Err(events.wrong("\"entries\" is a map of lists").into()),
            }
            continue;
        }
        let value = events.value(token, &mut MAX_VALUES.clone())?;
        if key == "apiVersion" {
            has_api_version |= value.as_str().is_some_and(|version| !version.is_empty());
        }
        out.field(&key, &value)?;
    }
    if !has_api_version {
        return Err(IndexError::NoApiVersion);
    }
    if !has_entries {
        out.field("entries", &json!({}))?;
    }
    out.raw("\n}\n")?;
    Ok(converted)
}

fn entries<R: Read, W: Write>(
    events: &mut Events<R>,
    out: &mut Output<'_, W>,
    converted: &mut Converted,
) -> Result<(), IndexError> {
    out.name("entries")?;
    out.raw("{")?;
    let mut names = HashSet::new();
    let mut is_first = true;
    while let Some(chart) = events.key()? {
        if !names.insert(chart.clone()) {
            return Err(events.wrong(format!("chart {chart:?} is set twice")).into());
        }
        if names.len() > MAX_CHARTS {
            return Err(events.wrong(format!("there are more than {MAX_CHARTS} charts")).into());
        }
        let versions = match events.next()? {
            Token::SequenceStart => versions(events, &chart, converted)?,
            Token::Scalar(Value::Null, _) => Vec::new(),
            _ => return Err(events.wrong(format!("chart {chart:?} is no list of versions")).into()),
        };
        converted.charts += usize::from(!versions.is_empty());
        converted.versions += versions.len();
        out.raw(if is_first { "\n" } else { ",\n" })?;
        is_first = false;
        let name = serde_json::to_string(&chart).expect("texts are JSON");
        out.raw(&format!("    {name}: "))?;
        out.value(&Value::Array(versions), 4)?;
    }
    out.raw(if is_first { "}" } else { "\n  }" })?;
    Ok(())
}

fn versions<R: Read>(events: &mut Events<R>, chart: &str, converted: &mut Converted) -> Result<Vec<Value>, IndexError> {
    let mut room = MAX_VALUES;
    let mut kept: Vec<(Version, Value)> = Vec::new();
    loop {
        let token = events.next()?;
        if token == Token::SequenceEnd {
            break;
        }
        let value = events.value(token, &mut room)?;
        match check(chart, value) {
            Ok(version) => kept.push(version),
            Err(why) if converted.dropped.len() < MAX_DROPPED => converted.dropped.push(why),
            Err(_) => {}
        }
    }
    // As in Helm, a stable sort: equal versions keep their order.
    kept.sort_by(|(left, _), (right, _)| right.cmp(left));
    Ok(kept.into_iter().map(|(_, value)| value).collect())
}

/// An entry that Helm loads, with its version; or why it does not.
fn check(chart: &str, value: Value) -> Result<(Version, Value), String> {
    let Value::Object(mut entry) = value else {
        return Err(format!("{chart}: an entry is no map"));
    };
    for field in TEXTS {
        as_text(&mut entry, field);
    }
    let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, version) = (text("name"), text("version"));
    let wrong = |why: &str| Err(format!("{chart} {version}: {why}"));
    // Old charts have no API version, which means the first.
    if name.is_empty() {
        return wrong("chart.metadata.name is required");
    }
    if name.contains('/') || name == "." || name == ".." {
        return wrong("chart.metadata.name is invalid");
    }
    if version.is_empty() {
        return wrong("chart.metadata.version is required");
    }
    match Version::parse(&version) {
        Ok(parsed) => Ok((parsed, Value::Object(entry))),
        Err(_) => wrong("chart.metadata.version is invalid"),
    }
}

/// Fields that are texts whatever they look like: `appVersion: 1.10` is not a number.
const TEXTS: [&str; 8] = [
    "name",
    "version",
    "appVersion",
    "apiVersion",
    "kubeVersion",
    "digest",
    "created",
    "description",
];

fn as_text(entry: &mut Map<String, Value>, field: &str) {
    if let Some(value) = entry.get_mut(field)
        && matches!(value, Value::Number(_) | Value::Bool(_))
    {
        *value = Value::String(value.to_string());
    }
}

struct Output<'a, W> {
    json: &'a mut W,
    is_first_field: bool,
}

impl<W: Write> Output<'_, W> {
    fn raw(&mut self, text: &str) -> Result<(), IndexError> {
        self.json.write_all(text.as_bytes()).map_err(IndexError::Write)
    }

    fn name(&mut self, name: &str) -> Result<(), IndexError> {
        let comma = if self.is_first_field { "" } else { "," };
        self.is_first_field = false;
        let name = serde_json::to_string(name).expect("texts are JSON");
        self.raw(&format!("{comma}\n  {name}: "))
    }

    fn field(&mut self, name: &str, value: &Value) -> Result<(), IndexError> {
        self.name(name)?;
        self.value(value, 2)
    }

    /// A value whose lines after the first are `indent` spaces further in.
    fn value(&mut self, value: &Value, indent: usize) -> Result<(), IndexError> {
        let text = serde_json::to_string_pretty(value).expect("a value is JSON");
        for (number, line) in text.lines().enumerate() {
            if number > 0 {
                self.raw(&format!("\n{:indent$}", ""))?;
            }
            self.raw(line)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(yaml: &str) -> (Value, Converted) {
        let mut json = Vec::new();
        let converted = convert(yaml.as_bytes(), &mut json).unwrap();
        let text = String::from_utf8(json).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        (value, converted)
    }

    #[test]
    fn versions_are_sorted_and_the_rest_stays() {
        let (value, converted) = check(
            "apiVersion: v1\ngenerated: \"2026-01-01T00:00:00Z\"\nentries:\n  b: []\n  a:\n  - name: a\n    version: 1.2.0\n    \
             appVersion: 1.10\n    urls: [a-1.2.0.tgz]\n  - {name: a, version: 1.10.0, created: 2026-01-01T00:00:00Z}\n  \
             - name: a\n    version: not a version\n  - version: 1.0.0\n  - text\n  none:\n",
        );
        assert_eq!(
            value,
            json!({
                "apiVersion": "v1",
                "generated": "2026-01-01T00:00:00Z",
                "entries": {
                    "b": [],
                    "a": [
                        {"name": "a", "version": "1.10.0", "created": "2026-01-01T00:00:00Z"},
                        {"name": "a", "version": "1.2.0", "appVersion": "1.1", "urls": ["a-1.2.0.tgz"]},
                    ],
                    "none": [],
                },
            })
        );
        assert_eq!((converted.charts, converted.versions), (1, 2));
        assert_eq!(
            converted.dropped,
            [
                "a not a version: chart.metadata.version is invalid",
                "a 1.0.0: chart.metadata.name is required",
                "a: an entry is no map",
            ]
        );
    }

    #[test]
    fn the_text_is_indented_by_two() {
        let mut json = Vec::new();
        convert(
            "{\"apiVersion\": \"v1\", \"entries\": {\"a\": [{\"name\": \"a\", \"version\": \"1.0.0\"}]}}".as_bytes(),
            &mut json,
        )
        .unwrap();
        let expected = "{\n  \"apiVersion\": \"v1\",\n  \"entries\": {\n    \"a\": [\n      {\n        \"name\": \"a\",\n        \
                        \"version\": \"1.0.0\"\n      }\n    ]\n  }\n}\n";
        assert_eq!(String::from_utf8(json).unwrap(), expected);
        let mut json = Vec::new();
        convert("apiVersion: v1\n".as_bytes(), &mut json).unwrap();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            "{\n  \"apiVersion\": \"v1\",\n  \"entries\": {}\n}\n"
        );
    }

    #[track_caller]
    fn check_error(yaml: &[u8], expected: &str) {
        let error = convert(yaml, &mut Vec::new()).unwrap_err();
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            text.push_str(&format!(": {source}"));
        }
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn what_is_no_index_is_refused() {
        check_error(b"", "the index is empty");
        check_error(b"# nothing\n", "the index is empty");
        check_error(b"<html>", "line 1: an index is a map");
        check_error(b"entries: {}\n", "no API version specified");
        check_error(
            b"apiVersion: v1\nentries: []\n",
            "line 2: \"entries\" is a map of lists",
        );
        check_error(
            b"apiVersion: v1\nentries:\n  a: x\n",
            "line 3: chart \"a\" is no list of versions",
        );
        check_error(
            b"apiVersion: v1\nentries:\n  a: []\n  a: []\n",
            "line 4: chart \"a\" is set twice",
        );
        check_error(
            b"apiVersion: v1\nentries:\n  a:\n  - {x: 1, x: 2}\n",
            "key \"x\" is set twice",
        );
        check_error(b"apiVersion: v1\nentries: {a: [", "line");
        check_error(b"apiVersion: v1\nx: &a b\ny: *a\n", "aliases are not allowed");
        check_error(b"apiVersion: \xff\xfe\n", "it is not valid UTF-8");
        let deep: String = (1..100).map(|depth| format!("\n{:depth$}a:", "")).collect();
        let deep = format!("apiVersion: v1\nx:{deep} b\n");
        check_error(deep.as_bytes(), "nested more than 64 levels deep");
    }

    /// A reader that makes an index of any size without holding it.
    struct Endless {
        left: usize,
        line: Vec<u8>,
        at: usize,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.at == self.line.len() {
                if self.left == 0 {
                    return Ok(0);
                }
                self.left -= 1;
                let number = self.left;
                self.line = format!(
                    "  chart-{number}:\n  - name: chart-{number}\n    version: 1.0.{number}\n    description: {}\n",
                    "text ".repeat(50)
                )
                .into_bytes();
                self.at = 0;
            }
            let length = buffer.len().min(self.line.len() - self.at);
            buffer[..length].copy_from_slice(&self.line[self.at..self.at + length]);
            self.at += length;
            Ok(length)
        }
    }

    #[test]
    fn a_large_index_goes_through() {
        let index = Endless {
            left: 2_000,
            line: b"apiVersion: v1\nentries:\n".to_vec(),
            at: 0,
        };
        let converted = convert(index, &mut std::io::sink()).unwrap();
        assert_eq!((converted.charts, converted.versions), (2_000, 2_000));
    }
}
