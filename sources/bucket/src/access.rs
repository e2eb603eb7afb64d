//! The way into a bucket, from a spec and its Secrets.

use nave_net::{ProxyOptions, SecretData, SecretText, TlsOptions};

use crate::CloudAsk;

/// Which protocol a storage speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Storage {
    /// S3, whoever's.
    S3,
    /// Google Cloud Storage (JSON API).
    Google,
    /// Azure Blob Storage.
    Azure,
}

/// Everything needed to reach one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// What it speaks.
    pub storage: Storage,
    /// Host and port; for Azure the account's URL.
    pub endpoint: String,
    /// Name of the bucket or container.
    pub bucket: String,
    /// Region, if known.
    pub region: String,
    /// http in place of https.
    pub insecure: bool,
    /// Roots and client certificate.
    pub tls: TlsOptions,
    /// Proxy, if it takes one.
    pub proxy: Option<ProxyOptions>,
    /// Who asks.
    pub keys: Keys,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// Nobody in particular.
    Anonymous,
    /// `accesskey` and `secretkey`.
    Static {
        /// The access key's identifier.
        access: String,
        /// The access key.
        secret: SecretText,
    },
    /// A user of a directory, whom a service gives short-lived keys (`AssumeRoleWithLDAPIdentity`).
    Ldap {
        /// Address of the service.
        endpoint: String,
        /// User name and password; none sends neither.
        user: Option<(String, SecretText)>,
        /// TLS with the service.
        tls: TlsOptions,
    },
    /// `serviceaccount`: the JSON of a Google service account's key.
    Google(SecretText),
    /// One of the sets of keys for Azure.
    Azure(AzureKeys),
    /// An identity of a cloud, see [`crate::CloudCredentials`].
    Cloud(CloudAsk),
}

/// Sets of keys for Azure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AzureKeys {
    /// `tenantId`, `clientId`, `clientSecret`, and `authorityHost` if it is not the public one.
    ClientSecret {
        /// Directory.
        tenant: String,
        /// Application.
        client: String,
        /// Its secret.
        secret: SecretText,
        /// Where tokens are asked for.
        authority: Option<String>,
    },
    /// `clientId` alone: a managed identity of the node.
    Managed {
        /// Application.
        client: String,
    },
    /// `accountKey`.
    Account(SecretText),
    /// `sasKey`.
    Signature(SecretText),
}

impl Keys {
    /// Reads the keys of `spec.secretRef`. None: the Secret holds settings but no keys (Azure's `authorityHost` alone).
    ///
    /// # Errors
    /// Keys are missing, no text, or of a kind that is not supported; says which.
    pub fn from_secret(storage: Storage, data: &SecretData) -> Result<Option<Keys>, String> {
        match storage {
            Storage::S3 => {
                let missing = "required fields 'accesskey' and 'secretkey'";
                if !data.contains_key("accesskey") || !data.contains_key("secretkey") {
                    return Err(missing.to_owned());
                }
                Ok(Some(match (text(data, "accesskey")?, text(data, "secretkey")?) {
                    (Some(access), Some(secret)) => Keys::Static {
                        access: access.to_owned(),
                        secret: SecretText::new(secret),
                    },
                    // As in Flux: empty keys mean none.
                    (None, None) => Keys::Anonymous,
                    _ => return Err(missing.to_owned()),
                }))
            }
            Storage::Google => match data.get("serviceaccount") {
                Some(json) => {
                    let json = std::str::from_utf8(json).map_err(|_| "key 'serviceaccount' is not text".to_owned())?;
                    Ok(Some(Keys::Google(SecretText::new(json))))
                }
                None => Err("required fields 'serviceaccount'".to_owned()),
            },
            Storage::Azure => azure(data),
        }
    }

    /// Reads the Secret of `spec.sts.secretRef`: `username` and `password`.
    ///
    /// # Errors
    /// One of them is missing or no text.
    pub fn ldap_user(data: &SecretData) -> Result<(String, SecretText), String> {
        match (text(data, "username")?, text(data, "password")?) {
            (Some(username), Some(password)) => Ok((username.to_owned(), SecretText::new(password))),
            _ => Err("invalid data for 'ldap' STS provider: required fields username, password".to_owned()),
        }
    }
}

/// The order in which Flux looks for them.
fn azure(data: &SecretData) -> Result<Option<Keys>, String> {
    let client = text(data, "clientId")?;
    let authority = text(data, "authorityHost")?;
    if let (Some(tenant), Some(client)) = (text(data, "tenantId")?, client) {
        if let Some(secret) = text(data, "clientSecret")? {
            return Ok(Some(Keys::Azure(AzureKeys::ClientSecret {
                tenant: tenant.to_owned(),
                client: client.to_owned(),
                secret: SecretText::new(secret),
                authority: authority.map(str::to_owned),
            })));
        }
        if data.get("clientCertificate").is_some_and(|text| !text.is_empty()) {
            return Err(
                "key 'clientCertificate' is not supported by this version; use 'clientSecret', 'accountKey' or \
                        'sasKey'"
                    .to_owned(),
            );
        }
    }
    if let Some(client) = client {
        let client = client.to_owned();
        return Ok(Some(Keys::Azure(AzureKeys::Managed { client })));
    }
    if let Some(key) = text(data, "accountKey")? {
        return Ok(Some(Keys::Azure(AzureKeys::Account(SecretText::new(key)))));
    }
    if let Some(key) = text(data, "sasKey")? {
        return Ok(Some(Keys::Azure(AzureKeys::Signature(SecretText::new(key)))));
    }
    if authority.is_some() {
        return Ok(None);
    }
    Err(
        "requires a 'clientId' or 'accountKey' field, a combination of 'tenantId', 'clientId' and 'clientSecret', or 'sasKey'"
            .to_owned(),
    )
}

/// A key of a Secret: trimmed, and none when it is empty. What goes into a header must fit into one.
fn text<'a>(data: &'a SecretData, key: &str) -> Result<Option<&'a str>, String> {
    let Some(bytes) = data.get(key) else { return Ok(None) };
    let text = std::str::from_utf8(bytes).map_err(|_| format!("key '{key}' is not text"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.chars().any(char::is_control) {
        return Err(format!("key '{key}' holds a line break or another control character"));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(keys: &[(&str, &str)]) -> SecretData {
        keys.iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    #[track_caller]
    fn check(storage: Storage, keys: &[(&str, &str)], expected: Result<&str, &str>) {
        let found = Keys::from_secret(storage, &secret(keys)).map(|keys| format!("{keys:?}"));
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert!(found.contains(expected), "{found}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            _ => panic!("{found:?} where {expected:?} was expected"),
        }
        if let Ok(found) = found {
            assert!(!found.contains("hidden"), "{found}");
        }
    }

    #[test]
    fn keys_are_looked_for_in_the_order_of_flux() {
        let all = [
            ("tenantId", "t"),
            ("clientId", "c"),
            ("clientSecret", "hidden"),
            ("accountKey", "hidden"),
            ("sasKey", "hidden"),
            ("authorityHost", "https://login.example"),
        ];
        check(Storage::Azure, &all, Ok("ClientSecret { tenant: \"t\""));
        check(Storage::Azure, &all[1..], Ok("Managed { client: \"c\" }"));
        check(Storage::Azure, &all[3..], Ok("Account"));
        check(Storage::Azure, &all[4..], Ok("Signature"));
        check(Storage::Azure, &all[5..], Ok("None"));
        check(Storage::Azure, &[("password", "x")], Err("requires a 'clientId'"));
        let certificate = [("tenantId", "t"), ("clientId", "c"), ("clientCertificate", "PEM")];
        check(
            Storage::Azure,
            &certificate,
            Err("'clientCertificate' is not supported"),
        );
        check(
            Storage::S3,
            &[("accesskey", "a"), ("secretkey", "hidden\n")],
            Ok("Static"),
        );
        check(Storage::S3, &[("accesskey", ""), ("secretkey", "")], Ok("Anonymous"));
        check(
            Storage::S3,
            &[("accesskey", "a")],
            Err("required fields 'accesskey' and 'secretkey'"),
        );
        check(
            Storage::S3,
            &[("accesskey", "a\nb"), ("secretkey", "x")],
            Err("control character"),
        );
        check(Storage::Google, &[], Err("required fields 'serviceaccount'"));
        check(Storage::Google, &[("serviceaccount", "{\"hidden\":1}")], Ok("Google"));
    }
}
