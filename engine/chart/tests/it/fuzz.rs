//! A short run of the fuzz targets: golden charts, cut, joined and stirred. Long runs are `cargo fuzz run`, see
//! `fuzz/Cargo.toml`.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};

use crate::entry;
use crate::support::read_folder;

/// Inputs of each target in one run.
const ROUNDS: usize = 300;

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

fn charts() -> Vec<Vec<(String, Vec<u8>)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/charts");
    let mut cases: Vec<_> = fs::read_dir(root)
        .expect("golden cases are readable")
        .map(|entry| entry.expect("golden cases are readable").path().join("chart"))
        .collect();
    cases.sort();
    let sorted = |path: &std::path::PathBuf| {
        let mut files = read_folder(path);
        files.sort();
        files
    };
    cases.iter().map(sorted).collect()
}

fn stir(numbers: &mut Numbers, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..1 + numbers.below(4) {
        let place = numbers.below(bytes.len());
        match numbers.below(5) {
            0 => bytes.insert(place, (numbers.next() & 0xFF) as u8),
            1 => drop(bytes.drain(place..(place + numbers.below(20)).min(bytes.len()))),
            2 => {
                let other = &others[numbers.below(others.len())];
                let start = numbers.below(other.len());
                let end = (start + numbers.below(200)).min(other.len());
                bytes.splice(place..place, other[start..end].iter().copied());
            }
            3 => {
                let piece: Vec<u8> = bytes[place..(place + numbers.below(60)).min(bytes.len())].to_vec();
                let to = numbers.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => {
                const SIGNS: &[u8] = b" \n:-[]{}\"'#&*!|>%@`0aA\t/$.~()=";
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = SIGNS[numbers.below(SIGNS.len())];
                }
            }
        }
    }
}

#[test]
fn no_folder_breaks_the_engine() {
    let text = |files: &Vec<(String, Vec<u8>)>| {
        let mut bytes = Vec::new();
        for (name, content) in files {
            bytes.extend(format!("\n== {name}\n").bytes());
            bytes.extend(content);
        }
        bytes
    };
    let cases: Vec<Vec<u8>> = charts().iter().map(text).collect();
    let mut numbers = Numbers(1);
    for round in 0..ROUNDS {
        let mut bytes = cases[round % cases.len()].clone();
        stir(&mut numbers, &mut bytes, &cases);
        entry::folder(&bytes);
    }
}

#[test]
fn no_archive_breaks_the_loader() {
    let packed = |files: &Vec<(String, Vec<u8>)>| {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            archive
                .append_data(&mut header, format!("chart/{name}"), content.as_slice())
                .expect("memory");
        }
        archive.into_inner().expect("memory")
    };
    let cases: Vec<Vec<u8>> = charts().iter().map(packed).collect();
    let mut numbers = Numbers(2);
    for round in 0..ROUNDS {
        // Inside the compression, where the checksum does not catch it, and outside.
        let mut bytes = cases[round % cases.len()].clone();
        stir(&mut numbers, &mut bytes, &cases);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&bytes).expect("memory");
        let mut bytes = encoder.finish().expect("memory");
        entry::archive(&bytes);
        stir(&mut numbers, &mut bytes, &cases);
        entry::archive(&bytes);
    }
}
