//! Version ranges: `^1.2 || >=2.0, <2.5 || 1.0 - 1.4`.

use std::fmt;

use crate::lenient::{self, Pieces};
use crate::version::{Version, compare_prereleases};

/// The longest text read as a range, in bytes.
const MAX_BYTES: usize = 512;

/// The largest number of alternatives separated by `||`.
const MAX_ALTERNATIVES: usize = 32;

/// A set of versions: alternatives separated by `||`, each a list of conditions that must all hold.
///
/// A pre-release is admitted only by an alternative in which some condition names a pre-release.
#[derive(Debug, Clone)]
pub struct Range {
    alternatives: Vec<Alternative>,
    include_prereleases: bool,
}

#[derive(Debug, Clone)]
struct Alternative {
    conditions: Vec<Condition>,
    names_prerelease: bool,
}

/// Why a text is not a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// One alternative is not a list of conditions (it may be empty).
    #[error("improper constraint: {0:?}")]
    Improper(String),
    /// A condition has the shape of one, but its version cannot be read (`1|2`, `1x`, a number beyond 64 bits).
    #[error("improper version in constraint: {0:?}")]
    Version(String),
    /// The text is longer than 512 bytes.
    #[error("constraint string is too long (max {MAX_BYTES} bytes)")]
    TooLong,
    /// The text has more than 32 alternatives.
    #[error("too many constraint groups (max {MAX_ALTERNATIVES})")]
    TooManyAlternatives,
}

/// Why a version is not in a range: one entry per condition that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{version:?} {reason}")]
pub struct Mismatch {
    /// The version as it is written canonically.
    pub version: String,
    /// What does not fit, ready to follow the version in a sentence.
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Tilde,
    Caret,
}

/// Every spelling of an operator; the longest that fits is taken.
const OPERATORS: [(&str, Operator); 11] = [
    ("!=", Operator::NotEqual),
    (">=", Operator::GreaterEqual),
    ("=>", Operator::GreaterEqual),
    ("<=", Operator::LessEqual),
    ("=<", Operator::LessEqual),
    ("~>", Operator::Tilde),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("=", Operator::Equal),
];

/// One comparison such as `>=1.2`.
#[derive(Debug, Clone)]
struct Condition {
    operator: Operator,
    /// The operator as it was written.
    spelling: String,
    /// The version as it was written.
    text: String,
    /// The version with wildcards and missing numbers as zeros.
    version: Version,
    /// A number is missing or a wildcard.
    open: bool,
    /// The minor number is the first that is missing or a wildcard.
    open_minor: bool,
    /// The patch number is the first that is missing or a wildcard.
    open_patch: bool,
}

impl Range {
    /// Reads a range. An empty text is not a range.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        if text.len() > MAX_BYTES {
            return Err(RangeError::TooLong);
        }
        let text = hyphens_to_comparisons(text);
        if text.split("||").count() > MAX_ALTERNATIVES {
            return Err(RangeError::TooManyAlternatives);
        }
        let alternatives = text.split("||").map(Alternative::parse).collect::<Result<_, _>>()?;
        Ok(Self {
            alternatives,
            include_prereleases: false,
        })
    }

    /// The same range, admitting pre-releases everywhere.
    #[must_use]
    pub fn including_prereleases(mut self) -> Self {
        self.include_prereleases = true;
        self
    }

    /// Is `version` in the range.
    pub fn matches(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|alternative| {
            let prereleases = self.include_prereleases || alternative.names_prerelease;
            alternative
                .conditions
                .iter()
                .all(|condition| condition.check(version, prereleases).is_ok())
        })
    }

    /// Nothing if `version` is in the range, else every condition it fails; that it is a pre-release is said once.
    pub fn check(&self, version: &Version) -> Result<(), Vec<Mismatch>> {
        let mut mismatches = Vec::new();
        let mut said = false;
        for alternative in &self.alternatives {
            let prereleases = self.include_prereleases || alternative.names_prerelease;
            let before = mismatches.len();
            let mut failed = false;
            for condition in &alternative.conditions {
                let Err(reason) = condition.check(version, prereleases) else {
                    continue;
                };
                failed = true;
                if !prereleases && !version.prerelease().is_empty() && std::mem::replace(&mut said, true) {
                    continue;
                }
                mismatches.push(Mismatch {
                    version: version.to_string(),
                    reason,
                });
            }
            if !failed {
                debug_assert_eq!(before, mismatches.len());
                return Ok(());
            }
        }
        Err(mismatches)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, alternative) in self.alternatives.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { " || " })?;
            for (index, condition) in alternative.conditions.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { " " })?;
                write!(f, "{}{}", condition.spelling, condition.text)?;
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        Self::parse(text)
    }
}

impl Alternative {
    /// Conditions separated by white space or by one comma.
    fn parse(text: &str) -> Result<Self, RangeError> {
        let improper = || RangeError::Improper(text.to_owned());
        let mut rest = skip_space(text);
        let mut conditions = Vec::new();
        loop {
            let (condition, after) = Condition::take(rest).ok_or_else(improper)?;
            conditions.push(condition?);
            rest = skip_space(after);
            if rest.is_empty() {
                break;
            }
            if let Some(next) = rest.strip_prefix(',') {
                rest = skip_space(next);
            } else if rest.len() == after.len() {
                return Err(improper());
            }
        }
        let names_prerelease = conditions
            .iter()
            .any(|condition| !condition.version.prerelease().is_empty());
        Ok(Self {
            conditions,
            names_prerelease,
        })
    }
}

impl Condition {
    /// Takes one condition from the start of `text`; `None` if there is none.
    fn take(text: &str) -> Option<(Result<Self, RangeError>, &str)> {
        let (spelling, operator) = OPERATORS
            .iter()
            .find(|(spelling, _)| text.starts_with(spelling))
            .copied()
            .unwrap_or(("", Operator::Equal));
        let text = skip_space(&text[spelling.len()..]);
        let (pieces, end) = lenient::take(text, is_number)?;
        let condition = Self::new(spelling, operator, &text[..end], &pieces);
        Some((condition, &text[end..]))
    }

    fn new(spelling: &str, operator: Operator, text: &str, pieces: &Pieces<'_>) -> Result<Self, RangeError> {
        let open = |number: Option<&str>| number.is_none_or(|number| matches!(number, "x" | "X" | "*"));
        let open_major = open(Some(pieces.major));
        let open_minor = !open_major && open(pieces.minor);
        let open_patch = !open_major && !open_minor && open(pieces.patch);
        let prerelease = pieces.prerelease.map(|text| format!("-{text}")).unwrap_or_default();
        let minor = pieces.minor.unwrap_or_default();
        let full = if open_major {
            format!("0.0.0{prerelease}")
        } else if open_minor {
            format!("{}.0.0{prerelease}", pieces.major)
        } else if open_patch {
            format!("{}.{minor}.0{prerelease}", pieces.major)
        } else {
            text.to_owned()
        };
        let version = Version::parse(&full).map_err(|_| RangeError::Version(format!("{spelling}{text}")))?;
        Ok(Self {
            operator,
            spelling: spelling.to_owned(),
            text: text.to_owned(),
            version,
            open: open_major || open_minor || open_patch,
            open_minor,
            open_patch,
        })
    }

    fn check(&self, version: &Version, prereleases: bool) -> Result<(), String> {
        if !version.prerelease().is_empty() && !prereleases {
            return Err("is a prerelease version and the constraint is only looking for release versions".to_owned());
        }
        let wanted = &self.text;
        let holds = |holds: bool, reason: &str| {
            if holds {
                Ok(())
            } else {
                Err(format!("{reason} {wanted:?}"))
            }
        };
        match self.operator {
            Operator::Equal if self.open => self.tilde(version),
            Operator::Equal => holds(*version == self.version, "is not equal to"),
            Operator::NotEqual => holds(self.differs(version), "is equal to"),
            Operator::Greater => holds(self.is_exceeded_by(version), "is less than or equal to"),
            Operator::Less => holds(*version < self.version, "is greater than or equal to"),
            Operator::GreaterEqual => holds(*version >= self.version, "is less than"),
            Operator::LessEqual => holds(self.bounds(version), "is greater than"),
            Operator::Tilde => self.tilde(version),
            Operator::Caret => self.caret(version),
        }
    }

    fn differs(&self, version: &Version) -> bool {
        let own = &self.version;
        if !self.open {
            return version != own;
        }
        if own.major() != version.major() {
            return true;
        }
        if self.open_minor {
            return false;
        }
        if own.minor() != version.minor() {
            return true;
        }
        if self.open_patch {
            return compare_prereleases(version.prerelease(), own.prerelease()).is_ne();
        }
        // A wildcard in place of the major number leaves 0.0.0 to compare with.
        own.patch() != version.patch() || version != own
    }

    /// `>11` begins at 12, `>11.1` at 11.2.
    fn is_exceeded_by(&self, version: &Version) -> bool {
        let own = &self.version;
        if !self.open || version.major() == own.major() && !self.open_minor && !self.open_patch {
            return version > own;
        }
        if version.major() != own.major() {
            return version.major() > own.major();
        }
        !self.open_minor && version.minor() > own.minor()
    }

    /// `<=11` ends before 12, `<=11.1` before 11.2.
    fn bounds(&self, version: &Version) -> bool {
        let own = &self.version;
        if !self.open {
            return version <= own;
        }
        version.major() < own.major()
            || version.major() == own.major() && (self.open_minor || version.minor() <= own.minor())
    }

    /// `~1` is 1.x, `~1.2` and `~1.2.3` stay within 1.2; `~0.0.0` and `~*` are any version from there on.
    fn tilde(&self, version: &Version) -> Result<(), String> {
        let (own, wanted) = (&self.version, &self.text);
        if version < own {
            return Err(format!("is less than {wanted:?}"));
        }
        if (own.major(), own.minor(), own.patch()) == (0, 0, 0) && !self.open_minor && !self.open_patch {
            return Ok(());
        }
        if version.major() != own.major() {
            return Err(format!("does not have same major version as {wanted:?}"));
        }
        if version.minor() != own.minor() && !self.open_minor {
            return Err(format!("does not have same major and minor version as {wanted:?}"));
        }
        Ok(())
    }

    /// `^1.2.3` is below 2, `^0.2.3` below 0.3, `^0.0.3` is 0.0.3, `^0.0` below 0.1, `^0` below 1.
    fn caret(&self, version: &Version) -> Result<(), String> {
        let (own, wanted) = (&self.version, &self.text);
        let holds = |holds: bool, reason: &str| {
            if holds {
                Ok(())
            } else {
                Err(format!("{reason} {wanted:?}"))
            }
        };
        if version < own {
            return Err(format!("is less than {wanted:?}"));
        }
        if own.major() > 0 || self.open_minor || version.major() > 0 {
            return holds(version.major() == own.major(), "does not have same major version as");
        }
        if own.minor() > 0 || self.open_patch || version.minor() > 0 {
            return holds(version.minor() == own.minor(), "does not have same minor version as");
        }
        holds(own.patch() == version.patch(), "does not have same patch version as")
    }
}

/// What the numbers of a version inside a range are made of. The bar is there because the reference's pattern has it.
fn is_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'x' | b'X' | b'*' | b'|')
}

fn skip_space(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

/// Rewrites every `1.2 - 1.4` to `>= 1.2, <= 1.4`.
fn hyphens_to_comparisons(text: &str) -> String {
    let mut out = text.to_owned();
    let mut at = 0;
    while at < text.len() {
        if let Some((low, high, end)) = text.get(at..).and_then(take_hyphen_range) {
            // The reference replaces the first occurrence of the matched text, wherever that is.
            out = out.replacen(&text[at..at + end], &format!(">= {low}, <= {high} "), 1);
            at += end;
        } else {
            at += 1;
        }
    }
    out
}

fn take_hyphen_range(text: &str) -> Option<(&str, &str, usize)> {
    let start = skip_space(text);
    let (_, low) = lenient::take(start, is_number)?;
    let middle = skip_space(&start[low..]);
    let after = middle.strip_prefix('-').filter(|_| middle.len() < start.len() - low)?;
    let second = skip_space(after);
    if second.len() == after.len() {
        return None;
    }
    let (_, high) = lenient::take(second, is_number)?;
    let rest = skip_space(&second[high..]);
    Some((&start[..low], &second[..high], text.len() - rest.len()))
}
