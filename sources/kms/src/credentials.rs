//! What a caller shows to the services.

use nave_net::SecretText;
use nave_object::yaml::{Dialect, read_documents};

/// Static credentials, each for the service that it is for.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// A token of Vault or OpenBao.
    pub vault_token: Option<SecretText>,
    /// An access key of AWS.
    pub aws: Option<AwsKey>,
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

#[cfg(test)]
mod tests {
    use super::*;

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
