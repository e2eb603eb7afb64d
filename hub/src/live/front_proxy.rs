//! How the API server shows that it is the API server, and how it names a user: ConfigMap
//! `kube-system/extension-apiserver-authentication`, as every aggregated API reads it.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Namespace of the ConfigMap.
pub const NAMESPACE: &str = "kube-system";
/// Name of the ConfigMap.
pub const CONFIG_MAP: &str = "extension-apiserver-authentication";

/// A user has at most so many groups and extra values here; the link takes 64 groups.
const MAX_GROUPS: usize = 64;
const MAX_EXTRA: usize = 64;

/// Who may forward, and in which headers the user stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontProxy {
    /// Authorities of the front proxy's certificate.
    pub roots: Vec<CertificateDer<'static>>,
    /// Common names of it; any when there are none.
    names: Vec<String>,
    users: Vec<String>,
    groups: Vec<String>,
    extra: Vec<String>,
}

/// The user for whom the API server asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Name.
    pub user: String,
    /// Groups.
    pub groups: Vec<String>,
    /// What else the API server knows, for authorizers that look at it.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The ConfigMap does not say what is needed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrontProxyError {
    /// A key is missing: the API server runs without an aggregation layer.
    #[error("ConfigMap {NAMESPACE}/{CONFIG_MAP} has no {0}: the API server has no aggregation layer")]
    Missing(&'static str),
    /// A key cannot be read.
    #[error("ConfigMap {NAMESPACE}/{CONFIG_MAP}: {key} cannot be read: {why}")]
    Malformed {
        /// The key.
        key: &'static str,
        /// Why.
        why: String,
    },
}

impl FrontProxy {
    /// Reads the data of the ConfigMap.
    pub fn read(data: &BTreeMap<String, String>) -> Result<Self, FrontProxyError> {
        const CA: &str = "requestheader-client-ca-file";
        let pem = data.get(CA).ok_or(FrontProxyError::Missing(CA))?;
        let roots = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| FrontProxyError::Malformed {
                key: CA,
                why: error.to_string(),
            })?;
        if roots.is_empty() {
            return Err(FrontProxyError::Missing(CA));
        }
        let users = list(data, "requestheader-username-headers")?;
        if users.is_empty() {
            return Err(FrontProxyError::Missing("requestheader-username-headers"));
        }
        Ok(FrontProxy {
            roots,
            names: list(data, "requestheader-allowed-names")?,
            users,
            groups: list(data, "requestheader-group-headers")?,
            extra: list(data, "requestheader-extra-headers-prefix")?,
        })
    }

    /// Whether this certificate, which one of the roots has signed, is the front proxy's: the authority may have signed
    /// others, such as those of users.
    pub fn admits(&self, certificate: &[u8]) -> bool {
        if self.names.is_empty() {
            return true;
        }
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
            return false;
        };
        let mut names = certificate.subject().iter_common_name();
        let name = names.next().and_then(|name| name.as_str().ok());
        name.is_some_and(|name| names.next().is_none() && self.names.iter().any(|allowed| allowed == name))
    }

    /// The user that the headers name; none when they name nobody.
    pub fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let all = |names: &[String], most: usize| -> Vec<String> {
            let values = names.iter().flat_map(|name| headers.get_all(name.as_str()));
            values.filter_map(|value| text(value.as_bytes())).take(most).collect()
        };
        let user = all(&self.users, 1).pop()?;
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            let key = self.extra.iter().find_map(|prefix| {
                let start = name.as_str().get(..prefix.len())?;
                start
                    .eq_ignore_ascii_case(prefix)
                    .then(|| &name.as_str()[prefix.len()..])
            });
            if let (Some(key), Some(value)) = (key.and_then(unescape), text(value.as_bytes()))
                && extra.len() < MAX_EXTRA
            {
                extra.entry(key).or_default().push(value);
            }
        }
        Some(Caller {
            user,
            groups: all(&self.groups, MAX_GROUPS),
            extra,
        })
    }
}

/// A list in JSON; none when the key is not there.
fn list(data: &BTreeMap<String, String>, key: &'static str) -> Result<Vec<String>, FrontProxyError> {
    let Some(text) = data.get(key) else {
        return Ok(Vec::new());
    };
    serde_json::from_str(text).map_err(|error| FrontProxyError::Malformed {
        key,
        why: error.to_string(),
    })
}

/// A name as it can be written down and compared: nothing that is empty, too long or has control characters.
fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    nave_proto::is_clean(text, nave_proto::wire::MAX_NAME).then(|| text.to_owned())
}

/// Keys of extra values are percent-encoded in header names.
fn unescape(key: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, used) = match (first, after) {
            (b'%', [high, low, ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).ok()?;
                (u8::from_str_radix(digits, 16).ok()?, 3)
            }
            _ => (*first, 1),
        };
        bytes.push(byte);
        rest = &rest[used..];
    }
    text(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{SignedDuration, Timestamp};
    use nave_identity::{Authority, AuthorityRole};

    fn pem(authority: &Authority) -> String {
        authority.to_pem().certificate.clone()
    }

    fn data(ca: &str, names: &str) -> BTreeMap<String, String> {
        [
            ("requestheader-client-ca-file", ca),
            ("requestheader-allowed-names", names),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#),
            ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
            ("requestheader-extra-headers-prefix", r#"["X-Remote-Extra-"]"#),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
    }

    fn authority() -> Authority {
        Authority::generate(AuthorityRole::Server, Timestamp::now(), SignedDuration::from_hours(1)).expect("made")
    }

    #[test]
    fn only_the_allowed_names_forward() {
        let authority = authority();
        let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
        let issued = |name: &str| {
            let identity = authority.issue_server_for(name, now, hour).expect("issued");
            identity.chain[0].to_vec()
        };
        let proxy = FrontProxy::read(&data(&pem(&authority), r#"["front-proxy-client"]"#)).expect("sound");
        assert!(proxy.admits(&issued("front-proxy-client")));
        assert!(
            !proxy.admits(&issued("jane")),
            "a user's certificate of the same authority"
        );
        assert!(!proxy.admits(b"nothing"));
        let any = FrontProxy::read(&data(&pem(&authority), "[]")).expect("sound");
        assert!(any.admits(&issued("jane")));
    }

    #[test]
    fn users_stand_in_headers() {
        let proxy = FrontProxy::read(&data(&pem(&authority()), "[]")).expect("sound");
        let mut headers = HeaderMap::new();
        assert_eq!(proxy.caller(&headers), None);
        for (name, value) in [
            ("x-remote-user", "jane"),
            ("x-remote-group", "devs"),
            ("x-remote-group", "system:authenticated"),
            ("x-remote-extra-example.org%2fscope", "a"),
            ("x-other", "b"),
        ] {
            headers.append(name, value.parse().expect("a header"));
        }
        let caller = proxy.caller(&headers).expect("named");
        assert_eq!(caller.user, "jane");
        assert_eq!(caller.groups, ["devs", "system:authenticated"]);
        assert_eq!(
            caller.extra,
            BTreeMap::from([("example.org/scope".to_owned(), vec!["a".to_owned()])])
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = FrontProxy::read(&BTreeMap::new()).expect_err("no aggregation layer");
        assert!(error.to_string().contains("requestheader-client-ca-file"), "{error}");
        let mut data = data(&pem(&authority()), "not json");
        let error = FrontProxy::read(&data).expect_err("malformed");
        assert!(error.to_string().contains("requestheader-allowed-names"), "{error}");
        data.remove("requestheader-allowed-names");
        data.remove("requestheader-username-headers");
        assert!(FrontProxy::read(&data).is_err());
    }
}
