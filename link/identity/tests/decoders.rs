//! A short run of the fuzz target: what a stranger sends, cut, joined and stirred. A long run is `cargo fuzz run identity`
//! in `link/proto`, see `link/proto/fuzz/Cargo.toml`.

mod entry;

use jiff::{SignedDuration, Timestamp};
use nave_identity::{Authority, AuthorityRole, Key, RootSet, SignedRootSet, carried};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const ROUNDS: usize = 3_000;
const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

/// One of each as it should be: a root set, a certificate that carries it, a request, a certificate, a token.
fn right() -> Vec<Vec<u8>> {
    let now = Timestamp::from_second(1_800_000_000).expect("a time");
    let authority = Authority::generate(AuthorityRole::Server, now, YEAR).expect("an authority");
    let set = RootSet::first(vec![authority.certificate().clone()], None)
        .sign(&[authority.key()])
        .expect("it signs");
    let carrier = authority.carry(&set, now, YEAR).expect("a certificate");
    let key = Key::generate().expect("a key");
    let token = nave_identity::JoinToken::issue(
        vec!["hub.example.org:9443".to_owned()],
        authority.fingerprint(),
        "platform/t1".to_owned(),
    );
    vec![
        set.to_bytes(),
        carrier.to_vec(),
        key.request().expect("a request").to_vec(),
        key.self_signed(now).expect("a certificate").to_vec(),
        token.expect("a token").token.to_text().as_bytes().to_vec(),
        format!("sha256:{}", "0a".repeat(32)).into_bytes(),
    ]
}

fn stir(rng: &mut StdRng, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..rng.random_range(0..4) {
        let place = rng.random_range(0..=bytes.len());
        match rng.random_range(0..4) {
            0 => bytes.insert(place, rng.random()),
            1 => bytes.truncate(place),
            2 => {
                let other = &others[rng.random_range(0..others.len())];
                let start = rng.random_range(0..=other.len());
                let end = (start + rng.random_range(0..100)).min(other.len());
                bytes.splice(place..place, other[start..end].iter().copied());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = byte.wrapping_add(rng.random_range(1..=255));
                }
            }
        }
    }
}

#[test]
fn no_bytes_of_a_stranger_break_a_decoder() {
    let right = right();
    assert!(SignedRootSet::from_bytes(&right[0]).is_ok() && carried(&right[1]).is_some());
    let mut rng = StdRng::seed_from_u64(1);
    for bytes in &right {
        entry::decoders(bytes);
    }
    for _ in 0..ROUNDS {
        let mut bytes = right[rng.random_range(0..right.len())].clone();
        stir(&mut rng, &mut bytes, &right);
        entry::decoders(&bytes);
    }
}
