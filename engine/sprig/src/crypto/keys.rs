//! Private keys: making, reading and writing them, and signing with them.

use num_bigint_dig::prime::probably_prime;
use num_bigint_dig::{BigUint, RandBigInt};
use p256::ecdsa::signature::Signer;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::pkcs8::EncodePublicKey;
use rsa::sha2::Sha256;
use rsa::signature::SignatureEncoding;

use super::der::{self, Reader};
use super::pem;
use crate::random::Shared;

const OID_RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
const OID_SHA256_RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B];
const OID_EC: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
const OID_P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
const OID_ECDSA_SHA256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02];
const OID_ED25519: &[u8] = &[0x2B, 0x65, 0x70];

/// The largest RSA key that is worked with, in bits.
const MAX_RSA: usize = 8192;

/// A private key.
pub(super) enum Key {
    Rsa(Box<rsa::RsaPrivateKey>),
    P256(Box<p256::ecdsa::SigningKey>),
    Ed25519(Box<ed25519_dalek::SigningKey>),
    /// Can be written, but not sign certificates, as in Go.
    Dsa(Box<Dsa>),
}

/// The numbers of a DSA key.
pub(super) struct Dsa {
    numbers: [BigUint; 5],
}

/// What making a key costs.
pub(super) fn fuel(kind: &str) -> u64 {
    match kind {
        "" | "rsa" | "dsa" => 20_000_000,
        _ => 50_000,
    }
}

/// What making an RSA key of 2048 bits costs.
pub(super) const RSA_2048_FUEL: u64 = 4_000_000;

/// `genPrivateKey`: the kind may be `rsa` (4096 bits), `dsa`, `ecdsa` (P-256) or `ed25519`.
pub(super) fn generate_pem(kind: &str, random: &Shared) -> String {
    let key = match kind {
        "" | "rsa" => Key::rsa(4096, random),
        "dsa" => Ok(Key::Dsa(Box::new(Dsa::generate(random)))),
        "ecdsa" => {
            let mut random = random.borrow_mut();
            Ok(Key::P256(Box::new(p256::ecdsa::SigningKey::random(random.generator()))))
        }
        "ed25519" => {
            let seed = random.borrow_mut().bytes();
            Ok(Key::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&seed))))
        }
        other => return format!("Unknown type {other}"),
    };
    match key.and_then(|key| key.to_pem()) {
        Ok(pem) => pem,
        Err(error) => format!("failed to generate private key: {error}"),
    }
}

impl Key {
    pub(super) fn rsa(bits: usize, random: &Shared) -> Result<Self, String> {
        let mut random = random.borrow_mut();
        let key = rsa::RsaPrivateKey::new(random.generator(), bits).map_err(|error| error.to_string())?;
        Ok(Self::Rsa(Box::new(key)))
    }

    /// A key in PEM: PKCS #8, PKCS #1, SEC 1 or the DSA form.
    pub(super) fn from_pem(text: &str) -> Result<Self, String> {
        let block = pem::decode(text).ok_or("no PEM data in input")?;
        match block.label.as_str() {
            "PRIVATE KEY" => from_pkcs8(&block.bytes).map_err(|error| format!("decoding PEM as PKCS#8: {error}")),
            "RSA PRIVATE KEY" => {
                from_pkcs1(&block.bytes).map_err(|error| format!("parsing RSA private key from PEM: {error}"))
            }
            "EC PRIVATE KEY" => {
                from_sec1(&block.bytes, false).map_err(|error| format!("parsing EC private key from PEM: {error}"))
            }
            "DSA PRIVATE KEY" => Dsa::read(&block.bytes)
                .map(|key| Self::Dsa(Box::new(key)))
                .ok_or_else(|| "parsing DSA private key from PEM: asn1: structure error".to_owned()),
            label if label.ends_with(" PRIVATE KEY") => Err(format!("invalid private key type {label}")),
            label => Err(format!("no private key data in PEM block of type {label}")),
        }
    }

    /// The key in the form that Go gives it: PKCS #1, SEC 1, and PKCS #8 for Ed25519.
    pub(super) fn to_pem(&self) -> Result<String, String> {
        Ok(match self {
            Self::Rsa(key) => {
                let der = key.to_pkcs1_der().map_err(|error| error.to_string())?;
                pem::encode("RSA PRIVATE KEY", der.as_bytes())
            }
            Self::P256(key) => {
                let public = key.verifying_key().to_encoded_point(false);
                let der = der::sequence(&[
                    &der::integer(&[1]),
                    &der::element(der::OCTET_STRING, &key.to_bytes()),
                    &der::element(0xA0, &der::element(der::OID, OID_P256)),
                    &der::element(0xA1, &der::bits(public.as_bytes())),
                ]);
                pem::encode("EC PRIVATE KEY", &der)
            }
            Self::Ed25519(key) => {
                let seed = der::element(der::OCTET_STRING, &key.to_bytes());
                let der = der::sequence(&[
                    &der::integer(&[]),
                    &der::sequence(&[&der::element(der::OID, OID_ED25519)]),
                    &der::element(der::OCTET_STRING, &seed),
                ]);
                pem::encode("PRIVATE KEY", &der)
            }
            Self::Dsa(key) => pem::encode("DSA PRIVATE KEY", &key.to_der()),
        })
    }

    /// The public key with its algorithm, as a certificate has it.
    pub(super) fn public_info(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Rsa(key) => {
                let der = key
                    .to_public_key()
                    .to_public_key_der()
                    .map_err(|error| error.to_string())?;
                Ok(der.as_bytes().to_vec())
            }
            Self::P256(key) => {
                let public = key.verifying_key().to_encoded_point(false);
                let algorithm = [der::element(der::OID, OID_EC), der::element(der::OID, OID_P256)].concat();
                Ok(der::sequence(&[
                    &der::element(der::SEQUENCE, &algorithm),
                    &der::bits(public.as_bytes()),
                ]))
            }
            Self::Ed25519(key) => {
                let public = key.verifying_key().to_bytes();
                let algorithm = der::sequence(&[&der::element(der::OID, OID_ED25519)]);
                Ok(der::sequence(&[&algorithm, &der::bits(&public)]))
            }
            Self::Dsa(_) => Err("x509: unsupported public key type: *dsa.PublicKey".to_owned()),
        }
    }

    /// The algorithm of [`Key::sign`], as a certificate has it.
    pub(super) fn signature_algorithm(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Rsa(_) => Ok(der::sequence(&[&der::element(der::OID, OID_SHA256_RSA), &[5, 0]])),
            Self::P256(_) => Ok(der::sequence(&[&der::element(der::OID, OID_ECDSA_SHA256)])),
            Self::Ed25519(_) => Ok(der::sequence(&[&der::element(der::OID, OID_ED25519)])),
            Self::Dsa(_) => Err("x509: certificate private key does not implement crypto.Signer".to_owned()),
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::Rsa(key) => {
                let signer = rsa::pkcs1v15::SigningKey::<Sha256>::new((**key).clone());
                signer
                    .try_sign(message)
                    .map(|signature| signature.to_vec())
                    .map_err(|error| error.to_string())
            }
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Self::Ed25519(key) => Ok(key.sign(message).to_bytes().to_vec()),
            Self::Dsa(_) => Err("x509: certificate private key does not implement crypto.Signer".to_owned()),
        }
    }
}

fn from_pkcs1(bytes: &[u8]) -> Result<Key, String> {
    if bytes.len() > MAX_RSA {
        return Err(format!("keys of more than {MAX_RSA} bits are not supported"));
    }
    let key = rsa::RsaPrivateKey::from_pkcs1_der(bytes).map_err(|error| error.to_string())?;
    Ok(Key::Rsa(Box::new(key)))
}

/// SEC 1. Within PKCS #8 the curve stands outside.
fn from_sec1(bytes: &[u8], known_curve: bool) -> Result<Key, String> {
    let malformed = || "x509: failed to parse EC private key".to_owned();
    let mut reader = Reader(bytes).expect(der::SEQUENCE).ok_or_else(malformed)?.reader();
    reader.expect(der::INTEGER).ok_or_else(malformed)?;
    let secret = reader.expect(der::OCTET_STRING).ok_or_else(malformed)?.content;
    if !known_curve {
        let curve = reader
            .expect(0xA0)
            .and_then(|element| element.reader().expect(der::OID));
        if curve.is_none_or(|curve| curve.content != OID_P256) {
            return Err("the elliptic curve is not supported, only P-256 is".to_owned());
        }
    }
    let key = p256::ecdsa::SigningKey::from_slice(secret).map_err(|_| malformed())?;
    Ok(Key::P256(Box::new(key)))
}

fn from_pkcs8(bytes: &[u8]) -> Result<Key, String> {
    let malformed = || "asn1: structure error".to_owned();
    let mut reader = Reader(bytes).expect(der::SEQUENCE).ok_or_else(malformed)?.reader();
    reader.expect(der::INTEGER).ok_or_else(malformed)?;
    let mut algorithm = reader.expect(der::SEQUENCE).ok_or_else(malformed)?.reader();
    let oid = algorithm.expect(der::OID).ok_or_else(malformed)?.content;
    let key = reader.expect(der::OCTET_STRING).ok_or_else(malformed)?.content;
    if oid == OID_RSA {
        from_pkcs1(key)
    } else if oid == OID_EC {
        if algorithm.expect(der::OID).is_none_or(|curve| curve.content != OID_P256) {
            return Err("the elliptic curve is not supported, only P-256 is".to_owned());
        }
        from_sec1(key, true)
    } else if oid == OID_ED25519 {
        let seed = Reader(key).expect(der::OCTET_STRING).ok_or_else(malformed)?.content;
        let seed = seed
            .try_into()
            .map_err(|_| "x509: invalid Ed25519 private key length".to_owned())?;
        Ok(Key::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(seed))))
    } else {
        Err("x509: PKCS#8 wrapping contained private key with unknown algorithm".to_owned())
    }
}

impl Dsa {
    /// A key with a prime of 2048 bits and a subgroup of 256.
    fn generate(random: &Shared) -> Self {
        const LARGE: usize = 2048;
        const SMALL: usize = 256;
        const ROUNDS: usize = 20;
        let one = BigUint::from(1u32);
        let mut random = random.borrow_mut();
        let generator = random.generator();
        let mut odd = |bits: usize| {
            let mut n = generator.gen_biguint(bits);
            n |= &one;
            n |= &one << (bits - 1);
            n
        };
        let (p, q) = 'found: loop {
            let q = odd(SMALL);
            if !probably_prime(&q, ROUNDS) {
                continue;
            }
            for _ in 0..4 * LARGE {
                let mut p = odd(LARGE);
                let rest = &p % &q;
                p -= rest;
                p += &one;
                if p.bits() == LARGE && probably_prime(&p, ROUNDS) {
                    break 'found (p, q);
                }
            }
        };
        let exponent = (&p - &one) / &q;
        let mut base = BigUint::from(2u32);
        let g = loop {
            let g = base.modpow(&exponent, &p);
            if g != one {
                break g;
            }
            base += &one;
        };
        let x = loop {
            let x = generator.gen_biguint(SMALL);
            if x >= one && x < q {
                break x;
            }
        };
        let y = g.modpow(&x, &p);
        Self {
            numbers: [p, q, g, y, x],
        }
    }

    fn to_der(&self) -> Vec<u8> {
        let numbers = self.numbers.iter().map(|n| der::integer(&n.to_bytes_be()));
        let content: Vec<u8> = std::iter::once(der::integer(&[])).chain(numbers).flatten().collect();
        der::element(der::SEQUENCE, &content)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes).expect(der::SEQUENCE)?.reader();
        reader.expect(der::INTEGER)?;
        let mut number = || Some(BigUint::from_bytes_be(reader.expect(der::INTEGER)?.content));
        Some(Self {
            numbers: [number()?, number()?, number()?, number()?, number()?],
        })
    }
}
