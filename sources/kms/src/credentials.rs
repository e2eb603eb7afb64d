//! What a caller shows to the services.

use nave_net::{
    SecretText,
    cloud::{AzureKey, Cloud, GoogleKey, Identity},
};
use nave_object::yaml::{Dialect, read_documents};

use crate::VaultLogin;

/// Static credentials, each for the service that it is for, and whose identity counts where there are none.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// A token of Vault or OpenBao.
    pub vault_token: Option<SecretText>,
    /// How Vault is logged in to where there is no token.
    pub vault_login: Option<VaultLogin>,
    /// An access key of AWS.
    pub aws: Option<AwsKey>,
    /// A key of Google Cloud.
    pub gcp: Option<GoogleKey>,
    /// A key of Azure.
    pub azure: Option<AzureKey>,
    /// The clouds, and as whom they are asked where there is no key.
    pub ambient: Option<(Cloud, Identity)>,
}

/// An access key of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKey {
    /// `AKIA…`; not secret.
    pub id: String,
    /// Signs requests.
    pub secret: SecretText,
    /// Of temporary keys.
    pub session_token: Option<SecretText>,
}

/// AWS credentials that cannot be used. Shows nothing of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AwsKeyError {
    /// Not YAML.
    #[error("it is no YAML map")]
    Yaml,
    /// A field is absent or no text.
    #[error("it has no {0}")]
    Missing(&'static str),
}

impl AwsKey {
    /// Reads `aws_access_key_id`, `aws_secret_access_key` and `aws_session_token` from YAML, as Flux has them.
    ///
    /// # Errors
    /// It is no YAML, or has no id or secret.
    pub fn from_yaml(text: &str) -> Result<AwsKey, AwsKeyError> {
        let documents = read_documents(text, Dialect::K8s).map_err(|_| AwsKeyError::Yaml)?;
        let map = documents.first().ok_or(AwsKeyError::Yaml)?;
        let field = |name: &str| {
            map.get(name)
                .and_then(|value| value.as_str())
                .filter(|text| !text.is_empty())
        };
        Ok(AwsKey {
            id: field("aws_access_key_id")
                .ok_or(AwsKeyError::Missing("aws_access_key_id"))?
                .to_owned(),
            secret: SecretText::new(
                field("aws_secret_access_key").ok_or(AwsKeyError::Missing("aws_secret_access_key"))?,
            ),
            session_token: field("aws_session_token").map(SecretText::new),
        })
    }
}

/// Reads Azure's credentials from YAML or JSON, as Flux has them: `tenantId`, `clientId`, and `clientSecret` or
/// `clientCertificate`; `clientId` alone for a managed identity; or what `az ad sp create` prints.
///
/// # Errors
/// It is no YAML, or the fields together name no credentials. Shows nothing of them.
pub fn azure_key_from_text(text: &str) -> Result<AzureKey, String> {
    let documents = read_documents(text, Dialect::K8s).map_err(|_| "it is no YAML map".to_owned())?;
    let map = documents.first().ok_or("it is no YAML map")?;
    let field = |name: &str| {
        let text = map.get(name).and_then(|value| value.as_str());
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    if field("clientCertificatePassword").is_some() {
        return Err(
            "clientCertificatePassword is not supported, use a PEM certificate with a key that has none".to_owned(),
        );
    }
    let authority = field("authorityHost");
    let found = [
        ("tenantId", "clientId", "clientSecret"),
        ("tenant", "appId", "password"),
    ]
    .iter()
    .find_map(|(tenant, client, secret)| Some((field(tenant)?, field(client)?, field(secret)?)));
    if let Some((tenant, client, secret)) = found {
        return Ok(AzureKey::Secret {
            tenant,
            client,
            secret: SecretText::new(secret),
            authority,
        });
    }
    match (field("tenantId"), field("clientId"), field("clientCertificate")) {
        (Some(tenant), Some(client), Some(pem)) => Ok(AzureKey::Certificate {
            tenant,
            client,
            pem: SecretText::new(pem),
            send_chain: map
                .get("clientCertificateSendChain")
                .is_some_and(|value| *value == true || matches!(value.as_str(), Some("1" | "true"))),
            authority,
        }),
        (None, Some(client), None) => Ok(AzureKey::Managed { client }),
        _ => Err(
            "it has neither tenantId, clientId and clientSecret, nor a clientCertificate, nor a clientId alone"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azure_keys_are_read_as_flux_has_them() {
        for (text, wanted) in [
            (
                "tenantId: t\nclientId: c\nclientSecret: s\n",
                "AzureKey(\"secret\", \"c\")",
            ),
            (
                r#"{"appId": "c", "password": "s", "tenant": "t"}"#,
                "AzureKey(\"secret\", \"c\")",
            ),
            (
                "tenantId: t\nclientId: c\nclientCertificate: PEM\n",
                "AzureKey(\"certificate\", \"c\")",
            ),
            ("clientId: c", "AzureKey(\"managed\", \"c\")"),
        ] {
            let key = azure_key_from_text(text).expect(text);
            assert_eq!(format!("{key:?}"), wanted);
        }
        for text in ["", "a: [", "tenantId: canary", "clientSecret: canary"] {
            let error = azure_key_from_text(text).unwrap_err();
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn aws_keys_are_read_as_flux_has_them() {
        let key = AwsKey::from_yaml("aws_access_key_id: AKIA\naws_secret_access_key: s\n").expect("it is complete");
        assert_eq!(
            (key.id.as_str(), key.secret.expose(), &key.session_token),
            ("AKIA", "s", &None)
        );
        let key = AwsKey::from_yaml("aws_access_key_id: a\naws_secret_access_key: s\naws_session_token: t\n");
        assert_eq!(key.expect("it is complete").session_token, Some(SecretText::new("t")));
        assert_eq!(
            AwsKey::from_yaml("aws_access_key_id: canary"),
            Err(AwsKeyError::Missing("aws_secret_access_key"))
        );
        assert_eq!(AwsKey::from_yaml("a: ["), Err(AwsKeyError::Yaml));
        assert_eq!(AwsKey::from_yaml(""), Err(AwsKeyError::Yaml));
    }
}
