//! Certificates to throw away.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use time::OffsetDateTime;

/// A certificate authority that lives in memory.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    key_pem: String,
}

/// A certificate with its key, both PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate, without its issuer.
    pub certificate: String,
    /// The private key, PKCS#8.
    pub key: String,
}

/// Chooses aws-lc for this process. Choosing twice is not an error.
pub fn install_crypto_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

impl Authority {
    /// Makes a new one; the name is its common name.
    pub fn new(name: &str) -> Result<Authority> {
        let key = KeyPair::generate().context("generating a key")?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params
            .self_signed(&key)
            .with_context(|| format!("signing authority {name}"))?
            .pem();
        let key_pem = key.serialize_pem();
        Ok(Authority {
            issuer: Issuer::new(params, key),
            pem,
            key_pem,
        })
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its private key, PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// A server certificate for these DNS names and IP addresses.
    pub fn server(&self, names: &[&str]) -> Result<Issued> {
        self.issue(Self::of_server(names)?)
    }

    /// The same, but it ran out yesterday.
    pub fn expired_server(&self, names: &[&str]) -> Result<Issued> {
        let mut params = Self::of_server(names)?;
        params.not_after = OffsetDateTime::now_utc() - time::Duration::days(1);
        params.not_before = params.not_after - time::Duration::days(30);
        self.issue(params)
    }

    fn of_server(names: &[&str]) -> Result<CertificateParams> {
        let common_name = names.first().context("a server certificate needs a name")?;
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params =
            CertificateParams::new(names.clone()).with_context(|| format!("reading the names {names:?}"))?;
        params.distinguished_name = subject(common_name, None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok(params)
    }

    /// A client certificate; for Kubernetes the common name is the user and the organization is its group.
    pub fn client(&self, common_name: &str, organization: Option<&str>) -> Result<Issued> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(common_name, organization);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Issued> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context("generating a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("signing a certificate")?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl Issued {
    /// A TLS server configuration that presents this certificate and asks for none.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>> {
        self.server_config_for(None)
    }

    /// The same; with an authority, it wants a client certificate of that.
    pub fn server_config_for(&self, clients: Option<&Authority>) -> Result<Arc<rustls::ServerConfig>> {
        install_crypto_provider();
        let certificates = CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .context("reading a certificate")?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).context("reading a key")?;
        let builder = rustls::ServerConfig::builder();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).context("reading an authority")?;
                roots.add(root).context("trusting an authority")?;
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
                    .build()
                    .context("making a verifier of clients")?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let config = builder
            .with_single_cert(certificates, key)
            .context("using a certificate with its key")?;
        Ok(Arc::new(config))
    }
}

fn subject(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name
}
