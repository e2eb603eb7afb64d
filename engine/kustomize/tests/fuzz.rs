//! A short run of the fuzz targets: golden cases, cut, joined and stirred. Long runs are `cargo fuzz run`, see
//! `fuzz/Cargo.toml`.

mod entry;

use std::fs;
use std::path::{Path, PathBuf};

/// Inputs of each target in one run.
const ROUNDS: u64 = 800;

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

/// The golden cases as inputs of the loader.
fn cases() -> Vec<Vec<u8>> {
    fn add(root: &Path, dir: &Path, into: &mut Vec<u8>) {
        let mut paths: Vec<PathBuf> = fs::read_dir(dir)
            .expect("golden directories are readable")
            .map(|entry| entry.expect("golden directories are readable").path())
            .collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                add(root, &path, into);
                continue;
            }
            let name = path.strip_prefix(root).expect("read below the root");
            into.extend(format!("== {}\n", name.display()).as_bytes());
            into.extend(fs::read(&path).expect("golden files are readable"));
            into.push(b'\n');
        }
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut dirs: Vec<PathBuf> = fs::read_dir(golden)
        .expect("the golden directory is readable")
        .map(|entry| entry.expect("the golden directory is readable").path().join("in"))
        .filter(|path| path.is_dir())
        .collect();
    dirs.sort();
    let read = |dir: &PathBuf| {
        let mut bytes = Vec::new();
        add(dir, dir, &mut bytes);
        bytes
    };
    dirs.iter().map(read).collect()
}

/// Changes a few places: bytes, pieces of other inputs, words of the dictionary.
fn stir(numbers: &mut Numbers, bytes: &mut Vec<u8>, others: &[Vec<u8>], words: &[&str]) {
    for _ in 0..1 + numbers.below(4) {
        let place = numbers.below(bytes.len());
        match numbers.below(6) {
            0 => bytes.insert(place, (numbers.next() & 0xFF) as u8),
            1 => {
                let end = (place + numbers.below(20)).min(bytes.len());
                bytes.drain(place..end);
            }
            2 => {
                let other = &others[numbers.below(others.len())];
                let start = numbers.below(other.len());
                let end = (start + numbers.below(200)).min(other.len());
                bytes.splice(place..place, other[start..end].iter().copied());
            }
            3 => {
                let end = (place + numbers.below(60)).min(bytes.len());
                let piece: Vec<u8> = bytes[place..end].to_vec();
                let to = numbers.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            4 => {
                let word = words[numbers.below(words.len())];
                bytes.splice(place..place, word.bytes());
            }
            _ => {
                const SIGNS: &[u8] = b" \n:-[]{}\"'#&*!|>%@`0aA\t/$.~";
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = SIGNS[numbers.below(SIGNS.len())];
                }
            }
        }
    }
}

fn words() -> Vec<&'static str> {
    let lines = include_str!("../fuzz/yaml.dict").lines();
    lines
        .map(|line| line.trim_matches('"'))
        .filter(|word| !word.contains('\\'))
        .collect()
}

#[test]
fn no_tree_of_files_breaks_the_loader() {
    let (cases, words) = (cases(), words());
    let mut numbers = Numbers(1);
    for case in &cases {
        entry::loader(case);
    }
    for _ in 0..ROUNDS {
        let mut bytes = cases[numbers.below(cases.len())].clone();
        stir(&mut numbers, &mut bytes, &cases, &words);
        entry::loader(&bytes);
    }
}

#[test]
fn no_patch_breaks_an_object() {
    let (cases, words) = (cases(), words());
    let documents: Vec<Vec<u8>> = cases
        .iter()
        .flat_map(|case| case.split(|byte| *byte == b'='))
        .filter(|piece| piece.len() > 20)
        .map(|piece| piece[piece.iter().position(|byte| *byte == b'\n').unwrap_or_default()..].to_vec())
        .collect();
    let mut numbers = Numbers(2);
    for _ in 0..ROUNDS {
        let mut bytes = documents[numbers.below(documents.len())].clone();
        bytes.extend(b"\n==\n");
        bytes.extend(&documents[numbers.below(documents.len())]);
        stir(&mut numbers, &mut bytes, &documents, &words);
        entry::patches(&bytes);
    }
}
