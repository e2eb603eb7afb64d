//! What two ends may be able to do beyond the protocol's first version, one bit each. A bit that was used is never used
//! for something else.

/// The agent serves live reads, with credit.
pub const FEATURE_LIVE: u64 = 1 << 0;

/// The agent runs the version that `Welcome` names, or says in its next `Hello` why not.
pub const FEATURE_UPGRADE: u64 = 1 << 1;

const NAMES: [(u64, &str); 2] = [(FEATURE_LIVE, "live"), (FEATURE_UPGRADE, "upgrade")];

/// The names of the bits that are known here, for people.
pub fn feature_names(features: u64) -> Vec<String> {
    let known = NAMES.iter().filter(|(bit, _)| features & bit != 0);
    known.map(|(_, name)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_have_no_name() {
        assert_eq!(feature_names(0), Vec::<String>::new());
        assert_eq!(feature_names(u64::MAX), ["live", "upgrade"]);
    }
}
