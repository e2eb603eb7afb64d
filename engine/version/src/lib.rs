//! Semantic versions and version ranges as Helm and Flux read them.
//!
//! text ─► [`Version`] ─┐
//!                      ├─► does it match, and why not
//! text ─► [`Range`] ───┘
//!
//! The rules are those of `github.com/Masterminds/semver/v3` 3.5.0, which both use: versions are read leniently
//! (`v1.2`, `1`), pre-releases match only ranges that name one, and the text a version was read from is kept.

mod lenient;
mod range;
mod version;

pub use range::{Mismatch, Range, RangeError};
pub use version::{Version, VersionError};

/// Reads a version as `github.com/fluxcd/pkg/version` 0.16.0 does: leniently, but with all three numbers present.
///
/// Leading zeros and a leading `v` are allowed (`v2025.02.03-rc.1`).
pub fn parse_three_part(text: &str) -> Result<Version, VersionError> {
    if text.splitn(3, '.').count() != 3 {
        return Err(VersionError::Invalid);
    }
    Version::parse(text)
}

/// The texts of `versions` that [`parse_three_part`] reads and `range` admits, highest version first.
///
/// Versions of the same precedence (they differ in metadata only) keep the order in which they came.
pub fn sort_descending<'a>(range: Option<&Range>, versions: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut kept: Vec<(Version, &str)> = versions
        .into_iter()
        .filter_map(|text| Some((parse_three_part(text).ok()?, text)))
        .filter(|(version, _)| range.is_none_or(|range| range.matches(version)))
        .collect();
    kept.sort_by(|(left, _), (right, _)| right.cmp(left));
    kept.into_iter().map(|(_, text)| text).collect()
}
