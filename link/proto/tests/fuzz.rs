//! A short run of the fuzz targets: recorded messages, cut, joined and stirred. Long runs are `cargo fuzz run`, see
//! `fuzz/Cargo.toml`.

mod entry;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Inputs of each target in one run.
const ROUNDS: usize = 20_000;

/// Every message as it was recorded.
fn recorded() -> Vec<Vec<u8>> {
    let hex = |text: &str| -> Vec<u8> {
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("the file holds hex");
        (0..text.len() / 2).map(|at| byte(2 * at)).collect()
    };
    include_str!("fixtures/v1.txt")
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, text)| hex(text.trim()))
        .collect()
}

/// Changes a few places: bytes, lengths, pieces of other messages.
fn stir(rng: &mut StdRng, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..rng.random_range(0..4) {
        let place = rng.random_range(0..=bytes.len());
        match rng.random_range(0..5) {
            0 => bytes.insert(place, rng.random()),
            1 => {
                let end = (place + rng.random_range(0..20)).min(bytes.len());
                bytes.drain(place..end);
            }
            2 => {
                let other = &others[rng.random_range(0..others.len())];
                let start = rng.random_range(0..=other.len());
                let end = (start + rng.random_range(0..100)).min(other.len());
                bytes.splice(place..place, other[start..end].iter().copied());
            }
            3 => bytes.truncate(place),
            _ => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = byte.wrapping_add(rng.random_range(1..=255));
                }
            }
        }
    }
}

#[test]
fn no_bytes_break_a_decoder() {
    let recorded = recorded();
    assert!(recorded.len() > 20, "every message was recorded");
    let mut rng = StdRng::seed_from_u64(1);
    for message in &recorded {
        entry::decoders(message);
    }
    for _ in 0..ROUNDS {
        let mut bytes = recorded[rng.random_range(0..recorded.len())].clone();
        stir(&mut rng, &mut bytes, &recorded);
        entry::decoders(&bytes);
    }
}

#[test]
fn no_peer_breaks_a_session() {
    let recorded = recorded();
    let mut rng = StdRng::seed_from_u64(2);
    for _ in 0..ROUNDS {
        let mut bytes = vec![rng.random()];
        for _ in 0..rng.random_range(1..12) {
            let mut frame = recorded[rng.random_range(0..recorded.len())].clone();
            if rng.random_bool(0.3) {
                stir(&mut rng, &mut frame, &recorded);
            }
            frame.truncate(usize::from(u16::MAX));
            bytes.push(rng.random());
            bytes.extend(u16::try_from(frame.len()).expect("it was cut").to_le_bytes());
            bytes.extend(frame);
        }
        entry::sessions(&bytes);
    }
}
