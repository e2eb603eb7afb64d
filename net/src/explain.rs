//! What an HTTP error comes down to, for people.

use std::{error::Error, io};

use rustls::CertificateError;

/// The cause at the bottom of a failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explained {
    /// TLS did not come about.
    Tls(String),
    /// Anything else: name not found, connection refused, connection cut.
    Other(String),
}

/// Looks through a chain of errors for what a person can act on. The text carries no credentials.
pub fn explain(error: &(dyn Error + 'static)) -> Explained {
    let mut deepest = error.to_string();
    let mut current = Some(error);
    while let Some(cause) = current {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return Explained::Tls(explain_tls(tls));
        }
        // An I/O error wraps what it carries without naming it as its source.
        let inner = cause
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref())
            .map(|inner| inner as &(dyn Error + 'static));
        deepest = cause.to_string();
        current = inner.or_else(|| cause.source());
    }
    Explained::Other(crate::redact(&deepest))
}

fn explain_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the certificate is signed by an unknown authority (put its certificate into ca.crt of the secret)"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the certificate has expired".to_owned()
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "the certificate is not valid yet".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the certificate is for another host name".to_owned(),
        rustls::Error::AlertReceived(alert) => format!("the server refused the connection: {alert:?}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottom_of_the_chain_is_found() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let nested = io::Error::other(io::Error::other(tls));
        assert_eq!(
            explain(&nested),
            Explained::Tls("the certificate has expired".to_owned())
        );
        let plain = io::Error::other(io::Error::other("https://me:secret@host broke"));
        assert_eq!(explain(&plain), Explained::Other("https://***@host broke".to_owned()));
    }
}
