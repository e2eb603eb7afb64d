//! The versions of a release in storage.

use crate::record::{Release, Status};

/// The newest version.
pub fn last(stored: &[Release]) -> Option<&Release> {
    stored.iter().max_by_key(|release| release.version)
}

/// The newest version with the status `deployed`.
pub fn deployed(stored: &[Release]) -> Option<&Release> {
    stored
        .iter()
        .filter(|release| release.status() == Status::Deployed)
        .max_by_key(|release| release.version)
}

/// The version after the newest.
pub fn next_version(stored: &[Release]) -> i64 {
    last(stored).map_or(1, |release| release.version.saturating_add(1))
}

/// The version that a roll-back goes back to.
pub fn rollback_target(stored: &[Release], version: i64) -> Option<&Release> {
    stored.iter().find(|release| release.version == version)
}

/// Versions to forget before one is added, so that `max` remain; 0 keeps all. The deployed one always stays.
pub fn superfluous(stored: &[Release], max: i64) -> Vec<i64> {
    if max <= 0 {
        return Vec::new();
    }
    let keep = deployed(stored).map(|release| release.version);
    let room = usize::try_from(max - 1).unwrap_or(usize::MAX);
    let mut versions: Vec<i64> = stored.iter().map(|release| release.version).collect();
    versions.sort_unstable();
    let too_many = versions.len().saturating_sub(room);
    versions.retain(|version| Some(*version) != keep);
    versions.truncate(too_many);
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(versions: &[(i64, Status)]) -> Vec<Release> {
        versions
            .iter()
            .map(|(version, status)| {
                let mut release = Release {
                    version: *version,
                    ..Release::default()
                };
                release.set_status(status.clone(), "");
                release
            })
            .collect()
    }

    #[test]
    fn old_versions_go_and_the_deployed_one_stays() {
        let list = stored(&[
            (3, Status::Failed),
            (1, Status::Deployed),
            (2, Status::Failed),
            (4, Status::Failed),
        ]);
        assert_eq!(last(&list).map(|release| release.version), Some(4));
        assert_eq!(deployed(&list).map(|release| release.version), Some(1));
        assert_eq!(next_version(&list), 5);
        assert_eq!(superfluous(&list, 3), [2, 3]);
        assert_eq!(superfluous(&list, 1), [2, 3, 4]);
        assert!(superfluous(&list, 0).is_empty() && superfluous(&list, 9).is_empty());
        assert_eq!(next_version(&[]), 1);
    }
}
