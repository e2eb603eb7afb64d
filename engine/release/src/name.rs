//! Names of releases.

use nave_object::digest::sha256_hex;

/// Helm takes no longer ones.
pub const LONGEST_NAME: usize = 53;

/// The name of a release: as given, else `<target namespace>-<name>`, else `<name>`; a long one is cut to 40 characters
/// and 12 of its digest.
pub fn release_name(given: &str, target_namespace: &str, name: &str) -> String {
    let full = match (given, target_namespace) {
        ("", "") => name.to_owned(),
        ("", namespace) => format!("{namespace}-{name}"),
        (given, _) => given.to_owned(),
    };
    if full.len() <= LONGEST_NAME {
        return full;
    }
    let mut cut = 40;
    while !full.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}-{}", &full[..cut], &sha256_hex(&full)[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_enough() {
        for (given, namespace, name, wanted) in [
            ("", "", "shop", "shop"),
            ("", "market", "shop", "market-shop"),
            ("mine", "market", "shop", "mine"),
            (
                "",
                "",
                "podinfo-with-a-very-long-name-that-does-not-fit-in-53",
                "podinfo-with-a-very-long-name-that-does-not-fit-in-53",
            ),
            (
                // `printf %s NAME | sha256sum` begins with the last 12.
                "",
                "",
                "podinfo-with-a-very-long-name-that-does-not-fit-in-533",
                "podinfo-with-a-very-long-name-that-does--4122ce3b6f44",
            ),
        ] {
            let found = release_name(given, namespace, name);
            assert_eq!(found, wanted);
            assert!(found.len() <= LONGEST_NAME);
        }
        assert_eq!(release_name("", "", &"é".repeat(40)).chars().count(), 20 + 1 + 12);
    }
}
