//! Keys of Google Cloud as files: of a service account, of a user, or of another identity's exchange.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rustls::{SignatureScheme, crypto::aws_lc_rs::sign::any_supported_type};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json as value};
use sha2::{Digest, Sha256};

use crate::{
    SecretText,
    cloud::{
        CloudError, CloudToken,
        gcp::token_of,
        http::{form, json},
        sigv4::hex,
    },
};

/// Credentials of Google Cloud in JSON.
#[derive(Clone)]
pub struct GoogleKey {
    kind: Kind,
    name: String,
    token_uri: String,
}

#[derive(Clone)]
enum Kind {
    ServiceAccount {
        email: String,
        key_id: String,
        key: SecretText,
    },
    User {
        client_id: String,
        client_secret: SecretText,
        refresh_token: SecretText,
    },
}

impl fmt::Debug for GoogleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GoogleKey").field(&self.name).finish()
    }
}

const TOKENS: &str = "Google's token endpoint";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const LIFE: i64 = 3600;

impl GoogleKey {
    /// Reads credentials of the types `service_account` and `authorized_user`.
    ///
    /// # Errors
    /// It is no JSON, of another type, or something is missing.
    pub fn from_json(text: &str) -> Result<GoogleKey, CloudError> {
        let wrong = |detail: String| CloudError::Key {
            what: "credentials of Google Cloud",
            detail,
        };
        let json: Value = serde_json::from_str(text).map_err(|error| {
            wrong(format!(
                "it is no JSON (line {}, column {})",
                error.line(),
                error.column()
            ))
        })?;
        let field = |name: &str| {
            json.get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .ok_or_else(|| wrong(format!("it has no {name}")))
        };
        let token_uri = field("token_uri").unwrap_or_else(|_| TOKEN_URI.to_owned());
        if !token_uri.starts_with("https://") && !is_loopback(&token_uri) {
            return Err(wrong("its token_uri does not begin with https://".to_owned()));
        }
        let kind = match field("type")?.as_str() {
            "service_account" => Kind::ServiceAccount {
                email: field("client_email")?,
                key_id: field("private_key_id").unwrap_or_default(),
                key: SecretText::new(field("private_key")?),
            },
            "authorized_user" => Kind::User {
                client_id: field("client_id")?,
                client_secret: SecretText::new(field("client_secret")?),
                refresh_token: SecretText::new(field("refresh_token")?),
            },
            other => {
                return Err(wrong(format!(
                    "type '{other}' is not supported, use a key of a service account, or workload identity"
                )));
            }
        };
        // Two keys of one account are two.
        let digest = hex(&Sha256::digest(text));
        Ok(GoogleKey {
            kind,
            name: digest,
            token_uri,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) async fn token(&self, client: &reqwest::Client, scope: &str) -> Result<CloudToken, CloudError> {
        let request = client.post(&self.token_uri);
        let request = match &self.kind {
            Kind::ServiceAccount { email, key_id, key } => {
                let now = Timestamp::now().as_second();
                let claims = value!({
                    "iss": email, "scope": scope, "aud": self.token_uri, "iat": now, "exp": now + LIFE,
                });
                let header = value!({"alg": "RS256", "typ": "JWT", "kid": key_id});
                let assertion = signed_token(&header, &claims, key)?;
                let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
                form(request, &[grant, ("assertion", assertion.expose())])
            }
            Kind::User {
                client_id,
                client_secret,
                refresh_token,
            } => form(
                request,
                &[
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id),
                    ("client_secret", client_secret.expose()),
                    ("refresh_token", refresh_token.expose()),
                ],
            ),
        };
        token_of(TOKENS, &json(TOKENS, request).await?)
    }
}

/// A JSON web token with an RSA signature (RS256).
pub(crate) fn signed_token(header: &Value, claims: &Value, key: &SecretText) -> Result<SecretText, CloudError> {
    let wrong = |detail: &str| CloudError::Key {
        what: "private key",
        detail: detail.to_owned(),
    };
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| wrong("it is no PEM private key"))?;
    let key = any_supported_type(&key).map_err(|_| wrong("its kind is not supported"))?;
    let signer = key
        .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
        .ok_or_else(|| wrong("it is no RSA key"))?;
    let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", text(header), text(claims));
    let signature = signer.sign(signed.as_bytes()).map_err(|_| wrong("it does not sign"))?;
    Ok(SecretText::new(format!(
        "{signed}.{}",
        URL_SAFE_NO_PAD.encode(signature)
    )))
}

fn is_loopback(address: &str) -> bool {
    let url = url::Url::parse(address).ok();
    url.is_some_and(|url| match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        _ => false,
    })
}
