//! The chain of certificates in an envelope: does it hold together, whose is it, and where does it lead.

use sigstore_verify::{
    crypto::{SigningScheme, VerificationKey},
    types::{DerPublicKey, SignatureBytes},
};
use x509_parser::{
    certificate::X509Certificate, extensions::ParsedExtension, pem::Pem, prelude::FromDer, time::ASN1Time,
    x509::X509Name,
};

use super::envelope::{Algorithm, Envelope, malformed};
use crate::SignatureError;

/// A chain whose signatures hold, the signer's certificate first.
pub(crate) struct Chain {
    certificates: Vec<Vec<u8>>,
    subject: String,
    names: Vec<(String, String)>,
    /// Valid from and until, of each.
    validity: Vec<(i64, i64)>,
    /// A certificate whose revocation somebody would have to be asked about.
    asks: Option<String>,
}

const LONGEST: usize = 16;

/// The certificates of a file: PEM, or one in DER.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let parsed = |der: Vec<u8>| match X509Certificate::from_der(&der) {
        Ok(([], _)) => Ok(der),
        _ => Err("it is no certificate".to_owned()),
    };
    if !bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        return parsed(bytes.to_vec()).map(|one| vec![one]);
    }
    let mut found = Vec::new();
    for pem in Pem::iter_from_buffer(bytes) {
        let pem = pem.map_err(|_| "it is not PEM".to_owned())?;
        if pem.label == "CERTIFICATE" {
            found.push(parsed(pem.contents)?);
        }
    }
    if found.is_empty() {
        return Err("it holds no certificate".to_owned());
    }
    Ok(found)
}

impl Chain {
    /// Reads a chain, and checks that each certificate was issued by the next one and the first one may sign.
    pub fn read(certificates: &[Vec<u8>]) -> Result<Self, SignatureError> {
        if certificates.is_empty() || certificates.len() > LONGEST {
            return Err(malformed(format!("its chain has {} certificates", certificates.len())));
        }
        let mut parsed = Vec::new();
        for der in certificates {
            match X509Certificate::from_der(der) {
                Ok(([], certificate)) => parsed.push(certificate),
                _ => return Err(malformed("its chain holds something else than certificates")),
            }
        }
        for (at, certificate) in parsed.iter().enumerate() {
            let issuer = parsed.get(at + 1).unwrap_or(certificate);
            let name = certificate.subject();
            if certificate.issuer() != issuer.subject() {
                return Err(malformed(format!(
                    "certificate '{name}' was not issued by the next one of its chain"
                )));
            }
            if at > 0 && !certificate.is_ca() {
                return Err(malformed(format!(
                    "certificate '{name}' of its chain may not issue any"
                )));
            }
            certificate
                .verify_signature(Some(issuer.public_key()))
                .map_err(|_| malformed(format!("the signature of certificate '{name}' does not hold")))?;
        }
        let leaf = &parsed[0];
        may_sign(leaf).map_err(malformed)?;
        Ok(Chain {
            certificates: certificates.to_vec(),
            subject: leaf.subject().to_string(),
            names: names(leaf.subject()),
            validity: parsed
                .iter()
                .map(|certificate| {
                    let validity = certificate.validity();
                    (validity.not_before.timestamp(), validity.not_after.timestamp())
                })
                .collect(),
            asks: parsed
                .iter()
                .find(|found| asks(found))
                .map(|found| found.subject().to_string()),
        })
    }

    /// The signature over the envelope, by the key of the first certificate.
    pub fn check_signature(&self, envelope: &Envelope) -> Result<(), SignatureError> {
        let (_, leaf) = X509Certificate::from_der(&self.certificates[0]).map_err(|_| malformed("its chain"))?;
        let key = DerPublicKey::new(leaf.public_key().raw.to_vec());
        let (scheme, size) = match envelope.algorithm {
            Algorithm::Ps256 => (SigningScheme::RsaPssSha256, None),
            Algorithm::Ps384 => (SigningScheme::RsaPssSha384, None),
            Algorithm::Ps512 => (SigningScheme::RsaPssSha512, None),
            Algorithm::Es256 => (SigningScheme::EcdsaP256Sha256, Some(32)),
            Algorithm::Es384 => (SigningScheme::EcdsaP384Sha384, Some(48)),
            Algorithm::Es512 => {
                return Err(SignatureError::Rejected(
                    "keys on the curve P-521 are not supported".to_owned(),
                ));
            }
        };
        let wrong = || SignatureError::Rejected("the signature does not hold".to_owned());
        let signature = match size {
            None => envelope.signature.clone(),
            Some(size) => der_of_pair(&envelope.signature, size).ok_or_else(wrong)?,
        };
        let key = VerificationKey::from_spki_with_scheme(&key, scheme)
            .map_err(|error| malformed(format!("the key of its certificate: {error}")))?;
        key.verify(&envelope.signed, &SignatureBytes::new(signature))
            .map_err(|_| wrong())
    }

    pub fn subject(&self) -> &str {
        &self.subject
    }

    pub fn names(&self) -> Vec<(String, String)> {
        self.names.clone()
    }

    /// Whether a certificate of the chain is one of those.
    pub fn is_rooted_in(&self, roots: &[Vec<u8>]) -> bool {
        self.certificates.iter().any(|certificate| roots.contains(certificate))
    }

    pub fn valid_at(&self, second: i64) -> Result<(), String> {
        let is_valid = self
            .validity
            .iter()
            .all(|(from, until)| (*from..=*until).contains(&second));
        if is_valid {
            return Ok(());
        }
        let at = ASN1Time::from_timestamp(second)
            .map(|time| time.to_string())
            .unwrap_or_default();
        Err(format!(
            "the certificates of '{}' are not all valid at {at}",
            self.subject
        ))
    }

    /// Nobody is asked: a chain that wants it fails the check.
    pub fn revocation(&self) -> Result<(), String> {
        match &self.asks {
            None => Ok(()),
            Some(name) => Err(format!(
                "whether certificate '{name}' is revoked would have to be asked by OCSP or CRL, which is not supported by \
                 this version; the trust policy can override 'revocation'"
            )),
        }
    }
}

fn asks(certificate: &X509Certificate<'_>) -> bool {
    certificate.extensions().iter().any(|extension| {
        matches!(
            extension.parsed_extension(),
            ParsedExtension::CRLDistributionPoints(_) | ParsedExtension::AuthorityInfoAccess(_)
        )
    })
}

/// What the specification wants of a signer's certificate.
fn may_sign(certificate: &X509Certificate<'_>) -> Result<(), String> {
    let name = certificate.subject();
    let usage = certificate.key_usage().ok().flatten();
    if !usage.is_some_and(|usage| usage.value.digital_signature()) {
        return Err(format!("certificate '{name}' is not one for digital signatures"));
    }
    let extended = certificate.extended_key_usage().ok().flatten();
    if extended.is_some_and(|extended| !extended.value.code_signing) {
        return Err(format!("certificate '{name}' is not one for signing code"));
    }
    Ok(())
}

/// Short names of the attributes, as trust policies have them.
fn names(subject: &X509Name<'_>) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for (kind, short) in [
        ("2.5.4.6", "C"),
        ("2.5.4.8", "ST"),
        ("2.5.4.7", "L"),
        ("2.5.4.10", "O"),
        ("2.5.4.11", "OU"),
        ("2.5.4.3", "CN"),
    ] {
        for attribute in subject.iter_attributes() {
            if attribute.attr_type().to_id_string() == kind
                && let Ok(value) = attribute.as_str()
            {
                names.push((short.to_owned(), value.to_owned()));
            }
        }
    }
    names
}

/// Two numbers of `size` bytes as DER, as libraries want an ECDSA signature.
fn der_of_pair(pair: &[u8], size: usize) -> Option<Vec<u8>> {
    if pair.len() != 2 * size {
        return None;
    }
    let mut content = Vec::new();
    for number in pair.chunks(size) {
        let first = number.iter().position(|byte| *byte != 0)?;
        let number = &number[first..];
        let padding = usize::from(number[0] >= 0x80);
        content.extend([0x02, u8::try_from(number.len() + padding).ok()?]);
        content.extend(std::iter::repeat_n(0, padding));
        content.extend(number);
    }
    let mut out = vec![0x30, u8::try_from(content.len()).ok().filter(|length| *length < 0x80)?];
    out.extend(content);
    Some(out)
}
