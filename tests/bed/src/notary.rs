//! A signer as the Notary Project has them: a certificate of an authority of its own, and envelopes in JWS.

use anyhow::{Context as _, Result};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SigningKey as _,
};
use serde_json::json;

/// Signs what it is given.
#[derive(Debug)]
pub struct Notary {
    key: KeyPair,
    /// The signer's first, DER.
    chain: Vec<Vec<u8>>,
    root: String,
}

impl Notary {
    /// Makes an authority and a signer with the subject `C=US, ST=WA, O=<organization>`.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn new(organization: &str) -> Result<Notary> {
        let subject = |common: &str| {
            let mut name = DistinguishedName::new();
            name.push(DnType::CountryName, "US");
            name.push(DnType::StateOrProvinceName, "WA");
            name.push(DnType::OrganizationName, organization);
            name.push(DnType::CommonName, common);
            name
        };
        let root_key = KeyPair::generate().context("generating a key")?;
        let mut root = CertificateParams::default();
        root.distinguished_name = subject("root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = root.self_signed(&root_key).context("signing the authority")?;
        let (pem, root_der) = (certificate.pem(), certificate.der().to_vec());
        let issuer = Issuer::new(root, root_key);
        let key = KeyPair::generate().context("generating a key")?;
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name = subject("signer");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let leaf = leaf.signed_by(&key, &issuer).context("signing the signer")?;
        Ok(Notary {
            key,
            chain: vec![leaf.der().to_vec(), root_der],
            root: pem,
        })
    }

    /// The certificate of its authority, PEM.
    pub fn root_pem(&self) -> &str {
        &self.root
    }

    /// An envelope of the media type `application/jose+json` for the manifest of that digest and size.
    ///
    /// # Errors
    /// The key does not sign.
    pub fn sign(&self, digest: &str, size: u64) -> Result<Vec<u8>> {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let payload = json!({"targetArtifact": {"mediaType": kind, "digest": digest, "size": size}}).to_string();
        let protected = json!({
            "alg": "ES256",
            "cty": "application/vnd.cncf.notary.payload.v1+json",
            "crit": ["io.cncf.notary.signingScheme"],
            "io.cncf.notary.signingScheme": "notary.x509",
            "io.cncf.notary.signingTime": "2025-01-01T00:00:00Z",
        })
        .to_string();
        let (payload, protected) = (URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(protected));
        let signature = self.key.sign(format!("{protected}.{payload}").as_bytes())?;
        let pair = pair_of_der(&signature).context("an ECDSA signature is two numbers")?;
        let chain: Vec<String> = self.chain.iter().map(|der| STANDARD.encode(der)).collect();
        let envelope = json!({
            "payload": payload,
            "protected": protected,
            "header": {"x5c": chain, "io.cncf.notary.signingAgent": "bed"},
            "signature": URL_SAFE_NO_PAD.encode(pair),
        });
        Ok(envelope.to_string().into_bytes())
    }
}

/// Two numbers of 32 bytes, as JWS wants them (RFC 7518, section 3.4).
fn pair_of_der(der: &[u8]) -> Option<Vec<u8>> {
    let mut rest = der.get(2..)?;
    let mut out = Vec::new();
    for _ in 0..2 {
        let length = usize::from(*rest.get(1)?);
        let number = rest.get(2..2 + length)?;
        rest = rest.get(2 + length..)?;
        let start = number.iter().position(|byte| *byte != 0)?;
        let number = &number[start..];
        out.extend(std::iter::repeat_n(0, 32usize.checked_sub(number.len())?));
        out.extend(number);
    }
    Some(out)
}
