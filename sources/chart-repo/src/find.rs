//! One chart out of a stored index, without reading the others into memory.

use std::{fmt, io::Read};

use nave_version::{Range, Version, parse_three_part};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor},
};

/// One version of a chart, as far as it is needed to fetch it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ChartVersion {
    /// Its name.
    pub name: String,
    /// Its version, as it is written.
    pub version: String,
    /// Where its package lies, relative to the repository or not; any of them will do.
    #[serde(default, deserialize_with = "null_is_default")]
    pub urls: Vec<String>,
    /// SHA-256 of the package in hexadecimal digits; may be empty.
    #[serde(default, deserialize_with = "null_is_default")]
    pub digest: String,
    /// When it was made; may be empty.
    #[serde(default, deserialize_with = "null_is_default")]
    pub created: String,
}

/// An index that cannot be searched.
#[derive(Debug, thiserror::Error)]
#[error("reading the stored index")]
pub struct FindError(#[source] serde_json::Error);

/// All versions of `chart` in an index that [`crate::convert`] wrote; none when the chart is not there.
///
/// # Errors
/// It is no such index, or the reader's.
pub fn find(index: impl Read, chart: &str) -> Result<Option<Vec<ChartVersion>>, FindError> {
    let mut deserializer = serde_json::Deserializer::from_reader(std::io::BufReader::with_capacity(1 << 16, index));
    Top { chart }.deserialize(&mut deserializer).map_err(FindError)
}

/// The version that `wanted` means: the very text, or else the highest within the range; of equal ones the one that was
/// made last.
///
/// # Errors
/// `wanted` is neither, or nothing matches.
pub fn choose<'a>(chart: &str, versions: &'a [ChartVersion], wanted: &str) -> Result<&'a ChartVersion, String> {
    let wanted = if wanted.is_empty() { "*" } else { wanted };
    if let Some(exact) = versions.iter().find(|version| version.version == wanted) {
        return Ok(exact);
    }
    let range = Range::parse(wanted).map_err(|error| {
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            text.push_str(&format!(": {source}"));
        }
        format!("'{wanted}' is neither a version of chart '{chart}' nor a range of versions: {text}")
    })?;
    let mut matching: Vec<(Version, &ChartVersion)> = versions
        .iter()
        .filter_map(|version| Some((parse_three_part(&version.version).ok()?, version)))
        .filter(|(version, _)| range.matches(version))
        .collect();
    matching.sort_by(|(left, a), (right, b)| right.cmp(left).then_with(|| b.created.cmp(&a.created)));
    matching
        .first()
        .map(|(_, version)| *version)
        .ok_or_else(|| format!("no '{chart}' chart with version matching '{wanted}' found"))
}

struct Top<'a> {
    chart: &'a str,
}

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = Option<Vec<ChartVersion>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = Option<Vec<ChartVersion>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an index")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "entries" {
                found = map.next_value_seed(Entries { chart: self.chart })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct Entries<'a> {
    chart: &'a str,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = Option<Vec<ChartVersion>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = Option<Vec<ChartVersion>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("charts by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == self.chart {
                if found.is_some() {
                    return Err(A::Error::custom("a chart is there twice"));
                }
                found = Some(map.next_value::<Vec<ChartVersion>>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "apiVersion: v1\nentries:\n  other:\n  - {name: other, version: 9.0.0}\n  app:\n  - {name: app, version: \
         1.2.3, urls: [app-1.2.3.tgz], digest: 0a, created: 2026-01-01T00:00:00Z}\n  - {name: app, version: v1.10.0}\n  \
         - {name: app, version: 2.0.0-rc.1}\n  - {name: app, version: 1.2.3+b, created: 2026-02-01T00:00:00Z}\n";

    fn versions(chart: &str) -> Option<Vec<ChartVersion>> {
        let mut json = Vec::new();
        crate::convert(INDEX.as_bytes(), &mut json).unwrap();
        find(json.as_slice(), chart).unwrap()
    }

    #[test]
    fn a_chart_is_found() {
        let all = versions("app").unwrap();
        assert_eq!(all.len(), 4);
        let exact = choose("app", &all, "1.2.3").unwrap();
        assert_eq!((exact.urls[0].as_str(), exact.digest.as_str()), ("app-1.2.3.tgz", "0a"));
        assert!(versions("missing").is_none());
        assert!(find(b"[]".as_slice(), "app").is_err());
    }

    #[track_caller]
    fn check(wanted: &str, expected: Result<&str, &str>) {
        let all = versions("app").unwrap();
        let found = choose("app", &all, wanted);
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.version, expected, "{wanted}"),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
            _ => panic!("{wanted}: {found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn versions_and_ranges() {
        check("", Ok("v1.10.0"));
        check("*", Ok("v1.10.0"));
        check("1.2.3", Ok("1.2.3"));
        check(">=2.0.0-0", Ok("2.0.0-rc.1"));
        // The same but for its metadata: the later one.
        check("~1.2.0", Ok("1.2.3+b"));
        check("3.x", Err("no 'app' chart with version matching '3.x' found"));
        check(
            "a range",
            Err("'a range' is neither a version of chart 'app' nor a range"),
        );
    }
}
