//! TLS settings of one object: more roots than the system's, and a client certificate.

use std::{
    fmt,
    sync::{Arc, LazyLock, Once},
};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::secret::SecretData;

/// PEM texts as they stand in a Secret. Empty means: the system's roots and no client certificate.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Roots trusted in addition to the system's (`ca.crt`).
    pub ca: Option<Vec<u8>>,
    /// Client certificate with its intermediates, and private key (`tls.crt`, `tls.key`).
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("ca", &self.ca.is_some())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

/// TLS settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of certificate and key without the other.
    #[error("key {missing:?} is missing, {present:?} is set")]
    Half {
        /// The key that is there.
        present: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
    /// A `certSecretRef` without anything to use.
    #[error("neither \"ca.crt\" nor \"tls.crt\" and \"tls.key\" is set")]
    Empty,
    /// No certificate in the PEM text.
    #[error("{what} holds no PEM certificate")]
    NoCertificate {
        /// `ca.crt` or `tls.crt`.
        what: &'static str,
    },
    /// PEM or certificate that cannot be read.
    #[error("reading {what}")]
    Pem {
        /// `ca.crt`, `tls.crt` or `tls.key`.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// Certificate or key that TLS cannot use.
    #[error("using {what}")]
    Unusable {
        /// `ca.crt` or `tls.crt with tls.key`.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
}

impl TlsOptions {
    /// Reads `ca.crt`, `tls.crt` and `tls.key`, or their older names `caFile`, `certFile` and `keyFile`.
    ///
    /// # Errors
    /// Only one of certificate and key is set.
    pub fn from_secret(data: &SecretData) -> Result<Self, TlsError> {
        let get = |name: &str, legacy: &str| {
            [name, legacy]
                .iter()
                .find_map(|key| data.get(*key).filter(|value| !value.is_empty()))
                .cloned()
        };
        let identity = match (get("tls.crt", "certFile"), get("tls.key", "keyFile")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                return Err(TlsError::Half {
                    present: "tls.crt",
                    missing: "tls.key",
                });
            }
            (None, Some(_)) => {
                return Err(TlsError::Half {
                    present: "tls.key",
                    missing: "tls.crt",
                });
            }
        };
        Ok(TlsOptions {
            ca: get("ca.crt", "caFile"),
            identity,
        })
    }

    /// [`TlsOptions::from_secret`] for a `certSecretRef`, which must hold something.
    ///
    /// # Errors
    /// As there, and when neither a root nor a pair is set.
    pub fn from_certificate_secret(data: &SecretData) -> Result<Self, TlsError> {
        let options = Self::from_secret(data)?;
        if options.is_empty() {
            return Err(TlsError::Empty);
        }
        Ok(options)
    }

    /// Nothing beyond the system's roots.
    pub fn is_empty(&self) -> bool {
        self.ca.is_none() && self.identity.is_none()
    }

    /// The configuration of a TLS client. Everyone without settings of their own shares one.
    ///
    /// # Errors
    /// A text is not PEM, holds no certificate, or certificate and key do not belong together.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        install_crypto_provider();
        if self.is_empty() {
            return Ok(SYSTEM.clone());
        }
        let mut roots = (*SYSTEM_ROOTS).clone();
        if let Some(ca) = &self.ca {
            for certificate in certificates("ca.crt", ca)? {
                roots
                    .add(certificate)
                    .map_err(|source| TlsError::Unusable { what: "ca.crt", source })?;
            }
        }
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("tls.crt", certificate)?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsError::Pem {
                    what: "tls.key",
                    source,
                })?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|source| TlsError::Unusable {
                        what: "tls.crt with tls.key",
                        source,
                    })?
            }
        };
        Ok(Arc::new(config))
    }
}

/// Makes aws-lc the process's TLS provider. Every program calls it first; calling it again does nothing.
///
/// Libraries choose a provider by their features when none is installed, and panic when two are compiled in.
pub fn install_crypto_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that one is installed already, which is what is wanted.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

/// Read once: it is a few hundred certificates, and a container's do not change under it.
static SYSTEM_ROOTS: LazyLock<RootCertStore> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
});

static SYSTEM: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let config = ClientConfig::builder()
        .with_root_certificates((*SYSTEM_ROOTS).clone())
        .with_no_client_auth();
    Arc::new(config)
});

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { what, source })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { what });
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn secret(keys: &[(&str, &str)]) -> SecretData {
        keys.iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn present_and_older_names() {
        let (certificate, key) = pair();
        for names in [["ca.crt", "tls.crt", "tls.key"], ["caFile", "certFile", "keyFile"]] {
            let data = secret(&[(names[0], &certificate), (names[1], &certificate), (names[2], &key)]);
            let options = TlsOptions::from_certificate_secret(&data).unwrap();
            assert!(options.ca.is_some() && options.identity.is_some());
            options.client_config().unwrap();
            assert_eq!(format!("{options:?}"), "TlsOptions { ca: true, identity: true }");
        }
    }

    #[track_caller]
    fn check_error(keys: &[(&str, &str)], expected: &str) {
        let result = TlsOptions::from_certificate_secret(&secret(keys)).and_then(|options| options.client_config());
        let error = result.map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (certificate, key) = pair();
        let (_, other) = pair();
        check_error(&[], "neither \"ca.crt\" nor \"tls.crt\" and \"tls.key\" is set");
        check_error(
            &[("tls.crt", &certificate)],
            "key \"tls.key\" is missing, \"tls.crt\" is set",
        );
        check_error(&[("tls.key", &key)], "key \"tls.crt\" is missing, \"tls.key\" is set");
        check_error(&[("ca.crt", "no pem")], "ca.crt holds no PEM certificate");
        check_error(
            &[(
                "ca.crt",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            )],
            "using ca.crt",
        );
        check_error(&[("tls.crt", &certificate), ("tls.key", "x")], "reading tls.key");
        check_error(
            &[("tls.crt", &certificate), ("tls.key", &other)],
            "using tls.crt with tls.key",
        );
    }
}
