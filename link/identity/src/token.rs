//! The join token that a person copies from hub to spoke, and the hash of it that the hub keeps.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use rand::Rng;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::fingerprint::{KeyFingerprint, parse_hex32, write_hex};

const PREFIX: &str = "nave1.";
const SECRET_BYTES: usize = 32;
/// Longest accepted text: eight addresses of 261 characters and the fixed fields, in base64, fit well below.
const MAX_TEXT: usize = 4096;
const MAX_ADDRESSES: usize = 8;
/// A DNS name (253), a colon and a port (5).
const MAX_ADDRESS: usize = 259;
/// A namespace (63), a slash and an object name (253).
const MAX_ID: usize = 317;

/// What a join token says: where the hub is, which root it will show, and the secret that admits one cluster.
///
/// Prints as `nave1.` and base64url; `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// `host:port`, tried in order; 1–8 of them.
    pub addresses: Vec<String>,
    /// Fingerprint of the root that the hub's chain must end in.
    pub root_pin: KeyFingerprint,
    /// Names the token to the hub (by convention `namespace/name` of its JoinToken object).
    pub id: String,
    secret: Secret,
}

/// A new token and the hash under which the hub keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// To be shown once to whoever asked.
    pub token: JoinToken,
    /// `JoinToken.spec.hash`.
    pub hash: TokenHash,
}

/// `sha256:` of a token's secret, hashed in a domain of its own. Comparison takes constant time.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

/// A text that is not a usable join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not begin with `nave1.`.
    #[error("join token does not begin with `{PREFIX}`")]
    Prefix,
    /// Too long to be one.
    #[error("join token has {length} characters, at most {MAX_TEXT} are possible")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// Cut off or changed while it was copied.
    #[error("join token is damaged: {what}; copy it again, whole")]
    Damaged {
        /// What does not fit.
        what: &'static str,
    },
    /// An address in it (or given for a new token) cannot be used.
    #[error("join token address {address:?} is not host:port")]
    Address {
        /// The address, shortened.
        address: String,
    },
    /// A token needs one to eight addresses.
    #[error("join token has {count} addresses, 1 to {MAX_ADDRESSES} are possible")]
    AddressCount {
        /// How many there are.
        count: usize,
    },
    /// A stored hash that is not one.
    #[error("join token hash is not `sha256:` and 64 lower-case hex digits")]
    Hash,
}

#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
struct Secret([u8; SECRET_BYTES]);

/// The bytes behind `nave1.`; fields are only ever added.
#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(string, repeated, tag = "1")]
    addresses: Vec<String>,
    #[prost(bytes = "vec", tag = "2")]
    root_pin: Vec<u8>,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(bytes = "vec", tag = "4")]
    secret: Vec<u8>,
    /// First four bytes of the SHA-256 of the fields before it: tells a damaged copy from a refused token.
    #[prost(bytes = "vec", tag = "5")]
    check: Vec<u8>,
}

impl JoinToken {
    /// A new token with a fresh 256-bit secret.
    ///
    /// # Errors
    /// Addresses must be 1–8 and `host:port`; the id at most 317 visible ASCII characters.
    pub fn issue(addresses: Vec<String>, root_pin: KeyFingerprint, id: String) -> Result<IssuedToken, TokenError> {
        let secret = Secret(rand::rng().random());
        let hash = TokenHash::of_secret(&secret.0);
        let token = Self {
            addresses,
            root_pin,
            id,
            secret,
        };
        token.validate()?;
        Ok(IssuedToken { token, hash })
    }

    /// The secret, for the join request.
    pub fn secret(&self) -> &[u8] {
        &self.secret.0
    }

    /// The text that a person copies. It holds the secret, so it is wiped when dropped.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut body = Body {
            addresses: self.addresses.clone(),
            root_pin: self.root_pin.as_bytes().to_vec(),
            id: self.id.clone(),
            secret: self.secret.0.to_vec(),
            check: Vec::new(),
        };
        body.check = checksum(&body);
        let bytes = Zeroizing::new(body.encode_to_vec());
        body.secret.zeroize();
        let mut text = Zeroizing::new(String::from(PREFIX));
        URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
        text
    }

    fn validate(&self) -> Result<(), TokenError> {
        if !(1..=MAX_ADDRESSES).contains(&self.addresses.len()) {
            return Err(TokenError::AddressCount {
                count: self.addresses.len(),
            });
        }
        if let Some(address) = self.addresses.iter().find(|address| !is_address(address)) {
            let address = address.chars().take(80).filter(|c| !c.is_control()).collect();
            return Err(TokenError::Address { address });
        }
        let id_fits = (1..=MAX_ID).contains(&self.id.len()) && self.id.bytes().all(|byte| byte.is_ascii_graphic());
        if id_fits {
            Ok(())
        } else {
            Err(TokenError::Damaged {
                what: "its id is empty, too long or unprintable",
            })
        }
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() > MAX_TEXT {
            return Err(TokenError::TooLong { length: text.len() });
        }
        let body = text.strip_prefix(PREFIX).ok_or(TokenError::Prefix)?;
        let damaged = |what| TokenError::Damaged { what };
        let bytes = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| damaged("its characters are not base64url"))?;
        let bytes = Zeroizing::new(bytes);
        let mut body = Body::decode(&**bytes).map_err(|_| damaged("its fields cannot be read"))?;
        if checksum(&body) != body.check {
            return Err(damaged("its checksum does not fit"));
        }
        let pin = body
            .root_pin
            .as_slice()
            .try_into()
            .map_err(|_| damaged("its root pin has the wrong length"))?;
        let secret = body
            .secret
            .as_slice()
            .try_into()
            .map_err(|_| damaged("its secret has the wrong length"))?;
        body.secret.zeroize();
        let token = Self {
            addresses: body.addresses,
            root_pin: KeyFingerprint::from_bytes(pin),
            id: body.id,
            secret: Secret(secret),
        };
        token.validate()?;
        Ok(token)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("addresses", &self.addresses)
            .field("root_pin", &self.root_pin)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl TokenHash {
    /// The hash of a secret as it was presented, of any length.
    pub fn of_secret(secret: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"nave join token secret v1\0");
        hash.update(secret);
        Self(hash.finalize().into())
    }
}

impl PartialEq for TokenHash {
    /// Takes the same time wherever the two differ.
    fn eq(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0u8, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl Eq for TokenHash {}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenHash {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix("sha256:").ok_or(TokenError::Hash)?;
        parse_hex32(hex).map(Self).ok_or(TokenError::Hash)
    }
}

fn checksum(body: &Body) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(b"nave join token check v1\0");
    for part in
        body.addresses
            .iter()
            .map(String::as_bytes)
            .chain([&body.root_pin[..], body.id.as_bytes(), &body.secret])
    {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize()[..4].to_vec()
}

/// `host:port` or `[v6]:port`, with a port that is not zero.
fn is_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let port_fits = port.parse::<u16>().is_ok_and(|port| port != 0);
    let host_fits = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_')
        }
    };
    address.len() <= MAX_ADDRESS && port_fits && host_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued() -> IssuedToken {
        let addresses = vec!["hub.example.com:9443".to_owned(), "[::1]:9443".to_owned()];
        let pin = KeyFingerprint::of_spki(b"root");
        JoinToken::issue(addresses, pin, "platform/eu-1".to_owned()).expect("valid arguments")
    }

    #[test]
    fn text_round_trips() {
        let issued = issued();
        let text = issued.token.to_text();
        assert!(text.starts_with("nave1."));
        let read: JoinToken = format!("  {}\n", *text)
            .parse()
            .expect("own text, with blanks around it");
        assert_eq!(read, issued.token);
        assert_eq!(TokenHash::of_secret(read.secret()), issued.hash);
        assert_eq!(issued.hash.to_string().parse::<TokenHash>(), Ok(issued.hash));
    }

    #[test]
    fn recorded_text_is_still_read() {
        // Made by this version; later versions must go on reading it.
        let token = JoinToken {
            addresses: vec!["10.0.0.1:9443".to_owned()],
            root_pin: KeyFingerprint::from_bytes([7; 32]),
            id: "platform/eu-1".to_owned(),
            secret: Secret([9; 32]),
        };
        let text = "nave1.Cg0xMC4wLjAuMTo5NDQzEiAHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBxoNcGxhdGZvcm0vZXUtMSIgCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkqBD6mHs4";
        assert_eq!(*token.to_text(), text);
        assert_eq!(text.parse::<JoinToken>().expect("recorded"), token);
    }

    #[test]
    fn every_single_damage_is_noticed() {
        let text = issued().token.to_text();
        for at in PREFIX.len()..text.len() {
            let mut damaged = text.to_string().into_bytes();
            damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(damaged).expect("ASCII");
            assert!(damaged.parse::<JoinToken>().is_err(), "character {at} changed");
            assert!(text[..at].parse::<JoinToken>().is_err(), "cut at {at}");
        }
        assert_eq!("eyJ".parse::<JoinToken>(), Err(TokenError::Prefix));
        assert!(matches!(
            "x".repeat(5000).parse::<JoinToken>(),
            Err(TokenError::TooLong { .. })
        ));
    }

    #[test]
    fn nothing_shows_the_secret() {
        let issued = issued();
        let hex: String = issued.token.secret().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!format!("{issued:?}").contains(&hex));
        assert!(!format!("{issued:?}").contains(&format!("{:?}", issued.token.secret())));
    }

    #[test]
    fn addresses_are_checked() {
        fn check(address: &str, fits: bool) {
            assert_eq!(is_address(address), fits, "{address}");
        }
        check("hub:9443", true);
        check("10.1.2.3:1", true);
        check("[2001:db8::1]:9443", true);
        check("hub", false);
        check("hub:0", false);
        check("hub:99999", false);
        check(":9443", false);
        check("https://hub:9443", false);
        check("2001:db8::1:9443", false);
        check("a b:1", false);
        let none = JoinToken::issue(Vec::new(), KeyFingerprint::of_spki(b""), "a".to_owned());
        assert_eq!(none.expect_err("no address"), TokenError::AddressCount { count: 0 });
    }
}
