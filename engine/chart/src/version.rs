//! Whether a version is in a range.

use nave_version::{Range, Version};

/// Whether a version is one and in a range that is one.
pub(crate) fn is_compatible(range: &str, version: &str) -> bool {
    match (Range::parse(range), Version::parse(version)) {
        (Ok(range), Ok(version)) => range.matches(&version),
        _ => false,
    }
}

/// Whether a text is a semantic version, or close to one.
pub(crate) fn is_version(text: &str) -> bool {
    Version::parse(text).is_ok()
}
