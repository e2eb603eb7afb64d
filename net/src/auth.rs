//! User names, passwords and tokens from Secrets.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::secret::{NotText, SecretData, SecretText, text};

/// A user name with its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicAuth {
    /// The user.
    pub username: String,
    /// The password, which may be empty.
    pub password: SecretText,
}

/// Credentials in a Secret that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// One of `username` and `password` without the other.
    #[error("key {missing:?} is missing, {present:?} is set")]
    Half {
        /// The key that is there.
        present: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
    /// Not UTF-8.
    #[error("key {key:?} is not valid UTF-8")]
    NotText {
        /// The key.
        key: &'static str,
    },
}

impl From<NotText> for AuthError {
    fn from(NotText(key): NotText) -> Self {
        AuthError::NotText { key }
    }
}

impl BasicAuth {
    /// Reads `username` and `password`; none when neither is set.
    ///
    /// # Errors
    /// Only one of them is set, or one is not text.
    pub fn from_secret(data: &SecretData) -> Result<Option<Self>, AuthError> {
        match (text(data, "username")?, text(data, "password")?) {
            (Some(username), Some(password)) => Ok(Some(BasicAuth {
                username: username.to_owned(),
                password: SecretText::new(password),
            })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(AuthError::Half {
                present: "username",
                missing: "password",
            }),
            (None, Some(_)) => Err(AuthError::Half {
                present: "password",
                missing: "username",
            }),
        }
    }

    /// The value of an `Authorization` header.
    pub fn header(&self) -> SecretText {
        let pair = format!("{}:{}", self.username, self.password.expose());
        SecretText::new(format!("Basic {}", STANDARD.encode(pair)))
    }
}

/// Reads `bearerToken`; none when it is not set.
///
/// # Errors
/// It is not text.
pub fn bearer_token(data: &SecretData) -> Result<Option<SecretText>, AuthError> {
    Ok(text(data, "bearerToken")?.map(SecretText::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(keys: &[(&str, &str)]) -> SecretData {
        keys.iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn both_or_neither() {
        let auth = BasicAuth::from_secret(&secret(&[("username", "a"), ("password", "b\n")]))
            .unwrap()
            .unwrap();
        assert_eq!(auth.header().expose(), "Basic YTpi");
        assert_eq!(format!("{auth:?}"), "BasicAuth { username: \"a\", password: *** }");
        assert_eq!(
            BasicAuth::from_secret(&secret(&[("other", "x"), ("password", "")])),
            Ok(None)
        );
        let half = BasicAuth::from_secret(&secret(&[("password", "x")])).unwrap_err();
        assert_eq!(half.to_string(), "key \"username\" is missing, \"password\" is set");
        let binary = SecretData::from([("bearerToken".to_owned(), vec![0xff])]);
        assert_eq!(bearer_token(&binary), Err(AuthError::NotText { key: "bearerToken" }));
    }
}
