//! Names of releases.

/// The longest name of a release; objects' names are made from it, and need room for more.
const LONGEST: usize = 53;

/// A name that no release can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReleaseName {
    /// There is none.
    #[error("no name provided")]
    Missing,
    /// It is too long, or has other characters.
    #[error(
        "invalid release name, must match regex ^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$ \
         and the length must not be longer than 53"
    )]
    Invalid,
}

/// Whether a release can have this name.
///
/// # Errors
/// It cannot.
pub fn check_release_name(name: &str) -> Result<(), InvalidReleaseName> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(is_inner)
    };
    match name {
        "" => Err(InvalidReleaseName::Missing),
        name if name.len() <= LONGEST && name.split('.').all(is_label) => Ok(()),
        _ => Err(InvalidReleaseName::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kubernetes() {
        for name in ["a", "a-b.c1", "1", &"x".repeat(53)] {
            assert_eq!(check_release_name(name), Ok(()), "{name}");
        }
        for name in ["A", "a_b", "-a", "a-", "a..b", ".a", &"x".repeat(54)] {
            assert_eq!(check_release_name(name), Err(InvalidReleaseName::Invalid), "{name}");
        }
        assert_eq!(check_release_name(""), Err(InvalidReleaseName::Missing));
    }
}
