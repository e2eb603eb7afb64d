//! What two ends may be able to do beyond the protocol's first version, one bit each. A bit that was used is never used
//! for something else.

/// The agent serves live reads, with credit.
pub const FEATURE_LIVE: u64 = 1 << 0;
/// A session may be metered: rare heartbeats, no events, status gathered.
pub const FEATURE_METERED: u64 = 1 << 1;
/// Chunks may be packed with older content as a dictionary.
pub const FEATURE_DICTIONARIES: u64 = 1 << 2;

/// The agent runs the version that `Welcome` names, or says in its next `Hello` why not.
pub const FEATURE_UPGRADE: u64 = 1 << 3;

const NAMES: [(u64, &str); 4] = [
    (FEATURE_LIVE, "live"),
    (FEATURE_METERED, "metered"),
    (FEATURE_DICTIONARIES, "dictionaries"),
    (FEATURE_UPGRADE, "upgrade"),
];

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
        assert_eq!(feature_names(u64::MAX), ["live", "metered", "dictionaries", "upgrade"]);
    }
}
