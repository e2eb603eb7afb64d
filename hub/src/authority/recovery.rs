//! What an operator with a recovery key asks of the hub, in the Secret with its authorities: pin this key, or show that
//! the key vouches for the present authority. Who may write that Secret owns the authorities anyway.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use nave_identity::{KeyFingerprint, SignedRootSet};

use super::{HubAuthority, HubAuthorityError, SECRET, failed, keys::Keys, parameters};
use crate::locked;

/// The fingerprint of a recovery key that is to be pinned, as text.
const PIN: &str = "recovery-key";
/// A root set that the recovery key signed.
const ROOTS: &str = "recovery-roots";

/// Whether the Secret holds a wish.
pub fn asks(secret: &Secret) -> bool {
    let data = secret.data.as_ref();
    data.is_some_and(|data| data.contains_key(PIN) || data.contains_key(ROOTS))
}

/// What is asked for, and how that is called in an answer.
struct Wish {
    name: String,
    next: Result<Keys, String>,
}

impl HubAuthority {
    /// Does what the Secret asks for, or notes why not, and takes the wish out of it. Of several hubs that read one wish
    /// the first to write fulfils it.
    pub async fn heed_recovery(&self, client: &Client, namespace: &str) -> Result<(), HubAuthorityError> {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let mut secret = api.get(SECRET).await.map_err(failed("reading", namespace))?;
        let stored = Keys::read(namespace, &secret)?;
        let Some(wish) = wish(&stored, &secret) else {
            return Ok(());
        };
        let (next, refused) = match wish.next {
            Ok(next) => (next, String::new()),
            Err(why) => {
                tracing::error!(wish = wish.name, why, "a wish about the recovery key is refused");
                (stored, format!("{}: {why}", wish.name))
            }
        };
        secret.data = next.secret().data;
        api.replace(SECRET, &parameters(), &secret)
            .await
            .map_err(failed("writing", namespace))?;
        if refused.is_empty() {
            tracing::warn!(
                wish = wish.name,
                version = next.roots.version(),
                "the hub's root set was replaced"
            );
        }
        *locked::write(&self.keys) = Arc::new(next);
        *locked::write(&self.refused) = refused;
        Ok(())
    }

    /// The recovery key that agents of this hub pin.
    pub fn recovery_key(&self) -> Option<KeyFingerprint> {
        self.keys().roots.recovery_key()
    }

    /// Which wish came to nothing and why, as `NAME: WHY`; empty when the last one was fulfilled.
    pub fn recovery_refused(&self) -> String {
        locked::read(&self.refused).clone()
    }
}

fn wish(stored: &Keys, secret: &Secret) -> Option<Wish> {
    let data = secret.data.as_ref()?;
    if let Some(roots) = data.get(ROOTS) {
        let next = SignedRootSet::from_bytes(&roots.0).map_err(HubAuthorityError::from);
        let name = next
            .as_ref()
            .map_or_else(|_| ROOTS.to_owned(), |set| set.version().to_string());
        let next = next
            .and_then(|set| stored.recovered(set))
            .map_err(|error| words(&error));
        return Some(Wish { name, next });
    }
    let text = String::from_utf8_lossy(&data.get(PIN)?.0).trim().to_owned();
    let next = match text.parse() {
        Ok(key) => pin(stored, key),
        Err(error) => Err(format!("{error}")),
    };
    let name = text.chars().filter(|c| !c.is_control()).take(71).collect();
    Some(Wish { name, next })
}

fn pin(stored: &Keys, key: KeyFingerprint) -> Result<Keys, String> {
    match stored.roots.recovery_key() {
        Some(pinned) if pinned != key => Err(format!(
            "this hub's agents have pinned recovery key {pinned}; only a root set that it signed may name another"
        )),
        Some(_) => Ok(stored.clone()),
        None => stored.pinning(key).map_err(|error| words(&error)),
    }
}

/// The cause: what was being prepared is known to whoever asked.
fn words(error: &HubAuthorityError) -> String {
    match error {
        HubAuthorityError::Roots(why) => why.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::ByteString;
    use nave_identity::{Key, TrustedRoots, later_version, recover};

    use super::*;

    fn with(keys: &Keys, key: &str, value: Vec<u8>) -> Secret {
        let mut secret = keys.secret();
        secret
            .data
            .get_or_insert_default()
            .insert(key.to_owned(), ByteString(value));
        secret
    }

    fn granted(keys: &Keys, key: &str, value: Vec<u8>) -> Keys {
        let secret = with(keys, key, value);
        assert!(asks(&secret) && !asks(&keys.secret()));
        wish(keys, &secret).expect("it asks").next.expect("granted")
    }

    fn refused(keys: &Keys, key: &str, value: Vec<u8>) -> String {
        let wish = wish(keys, &with(keys, key, value)).expect("it asks");
        format!("{}: {}", wish.name, wish.next.err().expect("refused"))
    }

    fn led(agent: &TrustedRoots, keys: &Keys) -> TrustedRoots {
        let mut agent = agent.clone();
        for set in keys.sets_after(agent.version()) {
            if let Ok(next) = agent.advance(SignedRootSet::from_bytes(&set).unwrap()) {
                agent = next;
            }
        }
        agent
    }

    #[test]
    fn a_key_is_pinned_once_and_outlives_the_authorities() {
        let (recovery, other) = (Key::generate().unwrap(), Key::generate().unwrap());
        let pin = |key: &Key| key.fingerprint().to_string().into_bytes();
        let first = Keys::generate(Timestamp::now()).unwrap();
        let pinned = granted(&first, PIN, pin(&recovery));
        assert_eq!(pinned.roots.version(), 2);
        assert_eq!(led(&first.roots, &pinned), pinned.roots, "agents follow the chain");
        let again = granted(&pinned, PIN, pin(&recovery));
        assert_eq!(again.roots, pinned.roots, "nothing is made twice");
        let why = refused(&pinned, PIN, pin(&other));
        assert!(
            why.contains(&format!("have pinned recovery key {}", recovery.fingerprint())),
            "{why}"
        );
        assert!(refused(&first, PIN, b"x".to_vec()).starts_with("x: key fingerprint is not"));
        let rotated = pinned.rotated("w", Timestamp::now()).unwrap();
        assert_eq!(rotated.roots.recovery_key(), Some(recovery.fingerprint()));
    }

    #[test]
    fn an_agent_that_missed_ten_rotations_is_led_back_by_the_recovery_key() {
        let recovery = Key::generate().unwrap();
        let pin = recovery.fingerprint().to_string().into_bytes();
        let mut keys = granted(&Keys::generate(Timestamp::now()).unwrap(), PIN, pin);
        let agent = keys.roots.clone();
        for number in 0..10 {
            keys = keys.rotated(&number.to_string(), Timestamp::now()).unwrap();
        }
        assert_ne!(led(&agent, &keys), keys.roots, "the chain is too long for it");
        let root = keys.server.certificate().clone();
        let signed = recover(&keys.roots, root, &recovery, None).unwrap().to_bytes();
        let mut keys = granted(&keys, ROOTS, signed.clone());
        assert!(keys.carrier(Timestamp::now()).unwrap().is_some());
        assert_eq!(led(&agent, &keys), keys.roots);
        assert!(refused(&keys, ROOTS, signed).contains("does not follow"));
        // The word counts for as long as the way from there is known.
        for number in 0..3 {
            keys = keys.rotated(&format!("later {number}"), Timestamp::now()).unwrap();
            keys = Keys::read("nave-system", &keys.secret()).unwrap();
            assert_eq!(led(&agent, &keys), keys.roots);
        }
    }

    #[test]
    fn a_new_hub_takes_the_word_for_itself_alone() {
        let (recovery, now) = (Key::generate().unwrap(), Timestamp::now());
        let pin = recovery.fingerprint().to_string().into_bytes();
        let lost = granted(&Keys::generate(now).unwrap(), PIN, pin);
        let (hub, another) = (Keys::generate(now).unwrap(), Keys::generate(now).unwrap());
        let by = |key: &Key, of: &Keys| {
            let root = of.server.certificate().clone();
            recover(&hub.roots, root, key, Some(later_version(now)))
                .unwrap()
                .to_bytes()
        };
        let why = refused(&hub, ROOTS, by(&recovery, &another));
        assert!(why.contains("does not hold the hub's root"), "{why}");
        let hub = granted(&hub, ROOTS, by(&recovery, &hub));
        assert_eq!(led(&lost.roots, &hub), hub.roots);
        assert!(refused(&hub, ROOTS, b"no".to_vec()).starts_with("recovery-roots: "));
    }
}
