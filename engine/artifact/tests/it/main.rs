//! A short run of the fuzz targets: archives and rules, cut, joined and stirred. Long runs are `cargo fuzz run`, see
//! `fuzz/Cargo.toml`.

mod entry;

use nave_artifact::{File, FileTree, pack};

/// Inputs of each target in one run.
const ROUNDS: u64 = 2000;

/// A small generator of numbers (splitmix64), so that a run repeats.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ (number >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn stir(numbers: &mut Numbers, bytes: &mut Vec<u8>, words: &[&[u8]]) {
    for _ in 0..=numbers.below(4) {
        let place = numbers.below(bytes.len());
        match numbers.below(5) {
            0 => bytes.truncate(place),
            1 if place < bytes.len() => bytes[place] ^= 1 << numbers.below(8),
            2 if place < bytes.len() => bytes[place] = numbers.next() as u8,
            3 => {
                let word = words[numbers.below(words.len())];
                bytes.splice(place..place, word.iter().copied());
            }
            _ => {
                let copy = bytes[place..(place + numbers.below(600)).min(bytes.len())].to_vec();
                bytes.extend(copy);
            }
        }
    }
}

/// Tarballs, not compressed: of ours, with links, specials, long names and ways out.
fn tarballs() -> Vec<Vec<u8>> {
    let mut tree = FileTree::new();
    for (path, text) in [("a.yaml", "a: 1"), ("b/c.sh", "#!/bin/sh"), ("b/d/e", "")] {
        tree.insert(path, File::plain(text.as_bytes())).expect("it is plain");
    }
    let packed = pack(&tree);
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(packed.as_slice()), &mut plain)
        .expect("it is gzip");
    let mut built = tar::Builder::new(Vec::new());
    for (path, kind) in [
        ("x/../../y", tar::EntryType::Regular),
        ("/etc/passwd", tar::EntryType::Regular),
        ("link", tar::EntryType::Symlink),
        ("device", tar::EntryType::Char),
        ("pipe", tar::EntryType::Fifo),
        ("folder", tar::EntryType::Directory),
    ] {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().expect("it is one").name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        built
            .append(&header, std::io::empty())
            .expect("writing to a vector does not fail");
    }
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    built
        .append_data(&mut header, "long/".repeat(60) + "name", &b"abc"[..])
        .expect("writing to a vector does not fail");
    vec![plain, built.into_inner().expect("it is whole")]
}

#[test]
fn no_archive_leads_out_or_breaks() {
    let cases = tarballs();
    let words: [&[u8]; 5] = [b"../", b"/", b"\0", b"ustar", &[b'7'; 12]];
    let mut numbers = Numbers(1);
    for case in &cases {
        entry::archive(case);
    }
    for _ in 0..ROUNDS {
        let mut bytes = cases[numbers.below(cases.len())].clone();
        stir(&mut numbers, &mut bytes, &words);
        entry::archive(&bytes);
    }
}

#[test]
fn no_rules_break() {
    let cases = [
        "a/b.yaml\ndocs/x.md\n==\n*.md\n!/docs\n/a/**\n",
        "a/b\nc\n==\n/*\n!/a\n\\#x\n[a-z]?{b,c}\n",
        "deep/er/file.tar.gz\n==\n**/file*\nfoo/**/bar\n\\!x \n",
    ];
    let words: [&[u8]; 9] = [b"**", b"!", b"[", b"]", b"{", b"}", b"\\", b"\n", "\u{fc}".as_bytes()];
    let mut numbers = Numbers(2);
    for case in cases {
        entry::ignore(case.as_bytes());
    }
    for _ in 0..ROUNDS {
        let mut bytes = cases[numbers.below(cases.len())].as_bytes().to_vec();
        stir(&mut numbers, &mut bytes, &words);
        entry::ignore(&bytes);
    }
}
