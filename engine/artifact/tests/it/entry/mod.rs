//! What the fuzz targets run: bytes in, an archive or rules, and nothing that panics, leads out or runs away.
#![allow(dead_code, reason = "each user takes one of the two")]

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use nave_artifact::{Ignore, Limits, pack, unpack};

/// Small, so that they are met.
const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    files: 64,
};

/// Bytes as a gzipped tarball, and as the tarball inside of one, since few stirred bytes are still gzip.
pub fn archive(bytes: &[u8]) {
    check_archive(bytes);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(bytes).expect("writing to a vector does not fail");
    check_archive(&gzip.finish().expect("writing to a vector does not fail"));
}

fn check_archive(bytes: &[u8]) {
    let tree = match unpack(bytes, &LIMITS) {
        Ok(tree) => tree,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error says something");
            return;
        }
    };
    let mut total = 0;
    for (path, file) in tree.iter() {
        let is_inside = !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        assert!(is_inside && !path.contains('\0'), "{path:?} leads out");
        total += file.data.len() as u64;
    }
    assert!(total <= LIMITS.bytes && tree.len() <= LIMITS.files, "the limits hold");
    let again = unpack(pack(&tree).as_slice(), &LIMITS).expect("what was packed can be unpacked");
    assert!(again == tree, "packing loses nothing");
}

/// Bytes as paths, a line `==`, and rules: of the root, of a directory, and of the spec. A comment and a blank
/// line before them change nothing.
pub fn ignore(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (paths, rules) = text.split_once("\n==\n").unwrap_or(("a/b.yaml", &text));
    let padded = format!("# a comment\n\n{rules}");
    let of = |rules: &str| {
        [
            Ignore::new([(".sourceignore", rules.as_bytes())], None),
            Ignore::new([("a/.sourceignore", rules.as_bytes())], Some("*.md")),
            Ignore::without_defaults([], Some(rules)),
        ]
    };
    for (plain, padded) in of(rules).iter().zip(of(&padded)) {
        assert_eq!(plain.invalid(), padded.invalid());
        for path in paths.lines().take(16) {
            assert_eq!(plain.excludes(path), padded.excludes(path), "{path:?}");
        }
    }
}
