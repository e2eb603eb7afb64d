//! One semantic version: reading, comparing, incrementing.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::lenient::{self, is_identifier};

/// The longest text read as a version, in bytes.
const MAX_BYTES: usize = 256;

/// A semantic version that remembers the text it was read from.
///
/// Equality and order are those of semantic versioning: metadata and the original text do not count.
#[derive(Debug, Clone)]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    prerelease: String,
    metadata: String,
    original: String,
}

/// Why a text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The text has not the shape of a version.
    #[error("invalid semantic version")]
    Invalid,
    /// Strict reading of an empty text.
    #[error("version string empty")]
    Empty,
    /// Strict reading found something else than digits in a number.
    #[error("invalid characters in version")]
    Characters,
    /// A number, or a numeric pre-release identifier, has a leading zero.
    #[error("version segment starts with 0")]
    LeadingZero,
    /// The part behind `+` is not a list of identifiers.
    #[error("invalid metadata string")]
    Metadata,
    /// The part behind `-` is not a list of identifiers.
    #[error("invalid prerelease string")]
    Prerelease,
    /// The text is longer than 256 bytes.
    #[error("version string is too long (max {MAX_BYTES} bytes)")]
    TooLong,
    /// A number does not fit into 64 bits.
    #[error("version number {0} is out of range")]
    OutOfRange(String),
}

impl Version {
    /// A version from its parts, which are taken as they are; the original text is the canonical one.
    pub fn new(major: u64, minor: u64, patch: u64, prerelease: &str, metadata: &str) -> Self {
        let mut version = Self {
            major,
            minor,
            patch,
            prerelease: prerelease.to_owned(),
            metadata: metadata.to_owned(),
            original: String::new(),
        };
        version.original = version.to_string();
        version
    }

    /// Reads a version leniently: an optional `v`, missing minor and patch numbers, leading zeros.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        if text.len() > MAX_BYTES {
            return Err(VersionError::TooLong);
        }
        let (pieces, end) = lenient::take(text, |byte| byte.is_ascii_digit()).ok_or(VersionError::Invalid)?;
        if end != text.len() {
            return Err(VersionError::Invalid);
        }
        let prerelease = pieces.prerelease.unwrap_or_default();
        let version = Self {
            major: number(pieces.major)?,
            minor: pieces.minor.map_or(Ok(0), number)?,
            patch: pieces.patch.map_or(Ok(0), number)?,
            prerelease: prerelease.to_owned(),
            metadata: pieces.metadata.unwrap_or_default().to_owned(),
            original: text.to_owned(),
        };
        if !prerelease.is_empty() {
            check_prerelease(prerelease)?;
        }
        Ok(version)
    }

    /// Reads a version strictly, as semver.org has it: three numbers without leading zeros, no `v`.
    pub fn parse_strict(text: &str) -> Result<Self, VersionError> {
        if text.is_empty() {
            return Err(VersionError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(VersionError::TooLong);
        }
        let mut parts = text.splitn(3, '.');
        let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VersionError::Invalid);
        };
        let (rest, metadata) = rest
            .split_once('+')
            .map_or((rest, None), |(rest, metadata)| (rest, Some(metadata)));
        metadata.map_or(Ok(()), check_metadata)?;
        let (patch, prerelease) = rest
            .split_once('-')
            .map_or((rest, None), |(patch, pre)| (patch, Some(pre)));
        prerelease.map_or(Ok(()), check_prerelease)?;
        for part in [major, minor, patch] {
            if !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(VersionError::Characters);
            }
            if part.len() > 1 && part.starts_with('0') {
                return Err(VersionError::LeadingZero);
            }
        }
        Ok(Self {
            major: number(major)?,
            minor: number(minor)?,
            patch: number(patch)?,
            prerelease: prerelease.unwrap_or_default().to_owned(),
            metadata: metadata.unwrap_or_default().to_owned(),
            original: text.to_owned(),
        })
    }

    /// The first number.
    pub fn major(&self) -> u64 {
        self.major
    }

    /// The second number.
    pub fn minor(&self) -> u64 {
        self.minor
    }

    /// The third number.
    pub fn patch(&self) -> u64 {
        self.patch
    }

    /// What stands behind `-`, empty if nothing does.
    pub fn prerelease(&self) -> &str {
        &self.prerelease
    }

    /// What stands behind `+`, empty if nothing does.
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// The text the version was read from.
    pub fn original(&self) -> &str {
        &self.original
    }

    /// The release after this one: a pre-release becomes its release, anything else gets the next patch number.
    ///
    /// `None` if the number would not fit into 64 bits. A `v` at the start of the original text is kept.
    pub fn inc_patch(&self) -> Option<Self> {
        let patch = if self.prerelease.is_empty() {
            self.patch.checked_add(1)?
        } else {
            self.patch
        };
        Some(self.with(self.major, self.minor, patch))
    }

    /// The next minor version; `None` if the number would not fit into 64 bits.
    pub fn inc_minor(&self) -> Option<Self> {
        Some(self.with(self.major, self.minor.checked_add(1)?, 0))
    }

    /// The next major version; `None` if the number would not fit into 64 bits.
    pub fn inc_major(&self) -> Option<Self> {
        Some(self.with(self.major.checked_add(1)?, 0, 0))
    }

    /// This version with another pre-release (without the `-`); an empty text removes it.
    pub fn with_prerelease(&self, prerelease: &str) -> Result<Self, VersionError> {
        if !prerelease.is_empty() {
            check_prerelease(prerelease)?;
        }
        Ok(self.reworded(Self {
            prerelease: prerelease.to_owned(),
            ..self.clone()
        }))
    }

    /// This version with other metadata (without the `+`); an empty text removes it.
    pub fn with_metadata(&self, metadata: &str) -> Result<Self, VersionError> {
        if !metadata.is_empty() {
            check_metadata(metadata)?;
        }
        Ok(self.reworded(Self {
            metadata: metadata.to_owned(),
            ..self.clone()
        }))
    }

    fn with(&self, major: u64, minor: u64, patch: u64) -> Self {
        self.reworded(Self::new(major, minor, patch, "", ""))
    }

    fn reworded(&self, mut next: Self) -> Self {
        let v = if self.original.starts_with('v') { "v" } else { "" };
        next.original = format!("{v}{next}");
        next
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.prerelease.is_empty() {
            write!(f, "-{}", self.prerelease)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        Self::parse(text)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.major, self.minor, self.patch, &self.prerelease).hash(state);
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.major, self.minor, self.patch)
            .cmp(&(other.major, other.minor, other.patch))
            .then_with(|| match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => compare_prereleases(&self.prerelease, &other.prerelease),
            })
    }
}

/// The order of two pre-releases; an empty one comes before any other here.
pub(crate) fn compare_prereleases(left: &str, right: &str) -> Ordering {
    let mut left = left.split('.');
    let mut right = right.split('.');
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) => compare_identifiers(left.unwrap_or_default(), right.unwrap_or_default()),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Numbers compare as numbers and come before words; what does not fit into 64 bits counts as a word.
fn compare_identifiers(left: &str, right: &str) -> Ordering {
    if left.is_empty() || right.is_empty() {
        return right.is_empty().cmp(&left.is_empty());
    }
    match (numeric(left), numeric(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => left.cmp(right),
    }
}

fn numeric(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

fn number(text: &str) -> Result<u64, VersionError> {
    if text.is_empty() {
        return Err(VersionError::Characters);
    }
    text.parse().map_err(|_| VersionError::OutOfRange(text.to_owned()))
}

fn check_prerelease(text: &str) -> Result<(), VersionError> {
    for part in text.split('.') {
        if part.is_empty() || !part.bytes().all(is_identifier) {
            return Err(VersionError::Prerelease);
        }
        if part.len() > 1 && part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(VersionError::LeadingZero);
        }
    }
    Ok(())
}

fn check_metadata(text: &str) -> Result<(), VersionError> {
    if text
        .split('.')
        .all(|part| !part.is_empty() && part.bytes().all(is_identifier))
    {
        Ok(())
    } else {
        Err(VersionError::Metadata)
    }
}
