use nave_identity::{SignedRootSet, TrustedRoots};

use super::{
    keys::{Keys, RESET_KEY},
    *,
};

fn rotated(keys: &Keys, wish: &str) -> Keys {
    keys.rotated(wish, Timestamp::now()).unwrap()
}

#[test]
fn a_stored_authority_reads_back_and_a_damaged_one_names_its_key() {
    let made = Keys::generate(Timestamp::now()).unwrap();
    let mut secret = made.secret();
    let read = Keys::read("nave-system", &secret).unwrap();
    assert_eq!(read.server.fingerprint(), made.server.fingerprint());
    assert_eq!(read.reset_key, made.reset_key);
    assert_eq!(read.roots, made.roots);
    assert_ne!(read.client.fingerprint(), read.server.fingerprint());

    // As it stood before there was a history.
    secret.data.as_mut().unwrap().remove("history");
    assert_eq!(Keys::read("nave-system", &secret).unwrap().history, Default::default());
    secret.data.as_mut().unwrap().remove(RESET_KEY);
    let error = Keys::read("nave-system", &secret).err().unwrap();
    assert_eq!(
        error.to_string(),
        "Secret nave-system/nave-hub-authority has no usable key \"reset.key\"; restore it from a backup"
    );
}

#[test]
fn the_server_certificate_ends_in_the_pinned_root() {
    let made = HubAuthority::from(Keys::generate(Timestamp::now()).unwrap());
    let identity = made.server_identity(Timestamp::now()).unwrap();
    assert!(identity.is_consistent());
    let pinned = TrustedRoots::pinned(SignedRootSet::from_bytes(&made.signed_roots()).unwrap(), made.pin()).unwrap();
    assert_eq!(
        identity.chain.last(),
        pinned.roots().first(),
        "an agent that knows only the pin finds the root in the chain"
    );
}

#[test]
fn an_agent_follows_ten_rotations_from_where_it_is() {
    let first = Keys::generate(Timestamp::now()).unwrap();
    let mut keys = first;
    let mut agents = vec![keys.roots.clone()];
    for number in 0..10 {
        keys = rotated(&keys, &number.to_string());
        keys = Keys::read("nave-system", &keys.secret()).unwrap();
        assert_eq!(keys.roots.version(), number + 2);
        assert!(keys.way().len() <= 4, "a handshake stays small");
        // Those that are within reach come along; the oldest would have to be led by a person.
        for agent in agents.iter_mut().rev().take(7) {
            for set in keys.sets_after(agent.version()) {
                *agent = agent.advance(SignedRootSet::from_bytes(&set).unwrap()).unwrap();
            }
            assert_eq!(agent, &keys.roots);
        }
        agents.push(keys.roots.clone());
    }
    assert!(keys.sets_after(keys.roots.version()).is_empty());
    assert_eq!(keys.sets_after(0).len(), 8);
}

#[test]
fn tokens_of_before_and_after_a_rotation_believe_the_set() {
    let one = Keys::generate(Timestamp::now()).unwrap();
    let two = rotated(&one, "a");
    for pin in [one.server.fingerprint(), two.server.fingerprint()] {
        TrustedRoots::pinned(two.roots.signed().clone(), pin).unwrap();
    }
    let three = rotated(&two, "b");
    let error = TrustedRoots::pinned(three.roots.signed().clone(), one.server.fingerprint()).unwrap_err();
    assert!(error.to_string().contains("does not hold the pinned root"), "{error}");
}
