//! A short run of the fuzz target: recorded templates, cut, joined and stirred. Long runs are `cargo fuzz run`, see
//! `fuzz/Cargo.toml`.

use crate::entry;

/// Inputs in one run.
const ROUNDS: u64 = 4000;

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
        usize::try_from(self.next() % bound.max(1) as u64).expect("below a usize")
    }
}

fn templates() -> Vec<Vec<u8>> {
    let recorded: serde_json::Value = serde_json::from_str(include_str!("../data/language.json")).expect("JSON");
    let cases = recorded["cases"].as_array().expect("a list");
    cases
        .iter()
        .filter_map(|case| case["template"].as_str())
        .map(|text| text.as_bytes().to_vec())
        .collect()
}

/// Changes a few places: bytes, pieces of other templates, words of the dictionary.
fn stir(numbers: &mut Numbers, bytes: &mut Vec<u8>, others: &[Vec<u8>], words: &[String]) {
    for _ in 0..1 + numbers.below(4) {
        let place = numbers.below(bytes.len() + 1).min(bytes.len());
        match numbers.below(5) {
            0 => bytes.insert(place, (numbers.next() & 0xFF) as u8),
            1 => {
                let end = (place + numbers.below(20)).min(bytes.len());
                bytes.drain(place..end);
            }
            2 => {
                let other = &others[numbers.below(others.len())];
                let start = numbers.below(other.len());
                bytes.splice(place..place, other[start..].iter().copied());
            }
            3 => {
                let other = &others[numbers.below(others.len())];
                bytes.extend_from_slice(other);
            }
            _ => {
                let word = &words[numbers.below(words.len())];
                bytes.splice(place..place, word.bytes());
            }
        }
    }
}

#[test]
fn no_template_breaks_the_engine() {
    let templates = templates();
    let words: Vec<String> = include_str!("../../fuzz/template.dict")
        .lines()
        .map(|line| line.trim_matches('"').replace("\\\"", "\"").replace("\\\\", "\\"))
        .collect();
    let mut numbers = Numbers(1);
    for _ in 0..ROUNDS {
        let mut bytes = templates[numbers.below(templates.len())].clone();
        stir(&mut numbers, &mut bytes, &templates, &words);
        entry::template(&bytes);
    }
}
