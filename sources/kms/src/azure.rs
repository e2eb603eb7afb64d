//! Azure Key Vault.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nave_sops::Answer;
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

use crate::{Credentials, KeyServices, services::send};

/// A key, as a file names it.
pub(crate) struct Key<'a> {
    pub vault_url: &'a str,
    pub name: &'a str,
    pub version: &'a str,
}

/// The domains of vaults; tokens are for the domain, and go nowhere else: a file names its vault itself.
const DOMAINS: [&str; 5] = [
    "vault.azure.net",
    "vault.azure.cn",
    "vault.usgovcloudapi.net",
    "vault.microsoftazure.de",
    "managedhsm.azure.net",
];
const API: &str = "7.4";
/// What SOPS encrypts with.
const ALGORITHM: &str = "RSA-OAEP-256";

pub(crate) async fn decrypt(
    services: &KeyServices,
    endpoint: Option<&str>,
    key: Key<'_>,
    ciphertext: &str,
    credentials: &Credentials,
) -> Answer {
    let (address, domain) = vault(key.vault_url)?;
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if key.name.is_empty() || !plain(key.name) || !plain(key.version) {
        return Err("the name or the version of the key is none of Azure Key Vault".to_owned());
    }
    let scope = format!("https://{domain}/.default");
    // Static keys come first, as in Flux.
    let token = match (&credentials.azure, &credentials.ambient) {
        (Some(key), _) => services.exchange.azure_token_of_key(key, &scope).await,
        (None, Some((cloud, identity))) => {
            let cloud = cloud.during("decrypt_with_azure");
            cloud.azure_token(identity, &scope).await
        }
        (None, None) => return Err("there are no credentials for Azure".to_owned()),
    };
    let token = token.map_err(|error| error.to_string())?;
    let endpoint = endpoint.map_or(address, |endpoint| endpoint.trim_end_matches('/').to_owned());
    let version = if key.version.is_empty() {
        String::new()
    } else {
        format!("/{}", key.version)
    };
    let request = services
        .client
        .post(format!(
            "{endpoint}/keys/{}{version}/decrypt?api-version={API}",
            key.name
        ))
        .header("authorization", format!("Bearer {}", token.value.expose()))
        .header("content-type", "application/json")
        .body(json!({"alg": ALGORITHM, "value": ciphertext}).to_string());
    let (status, answer) = send(request).await?;
    if status != 200 {
        let field = |name: &str| answer.pointer(name).and_then(Value::as_str).unwrap_or_default();
        let text = format!(
            "Azure Key Vault answered {status}: {} {}",
            field("/error/code"),
            field("/error/message")
        );
        return Err(text.trim_end().to_owned());
    }
    let plain = answer.get("value").and_then(Value::as_str);
    match plain.and_then(|text| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()) {
        Some(plain) => Ok(Zeroizing::new(plain)),
        None => Err("the answer of Azure Key Vault has no value".to_owned()),
    }
}

/// The vault's address, and the domain that it is in.
fn vault(url: &str) -> Result<(String, &'static str), String> {
    let wrong = || "the vault's address is none of Azure Key Vault".to_owned();
    let url = Url::parse(url).map_err(|_| wrong())?;
    let host = url.host_str().unwrap_or_default();
    let domain = DOMAINS.iter().find(|domain| {
        host.strip_suffix(*domain)
            .and_then(|name| name.strip_suffix('.'))
            .is_some_and(|name| !name.is_empty() && !name.contains('.'))
    });
    match domain {
        Some(domain) if url.scheme() == "https" && url.port().is_none() => Ok((format!("https://{host}"), domain)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        Json, Router,
        extract::{Path, Query},
        http::{HeaderMap, StatusCode},
        routing::{get, post},
    };
    use nave_net::cloud::{CacheLimits, Cloud, Identity, Service, Settings};
    use nave_sops::{KeyService, Request};

    use super::*;

    #[test]
    fn tokens_go_to_vaults_only() {
        for (url, wanted) in [
            ("https://a.vault.azure.net", Some("vault.azure.net")),
            ("https://a.vault.azure.net/", Some("vault.azure.net")),
            ("https://a.managedhsm.azure.net", Some("managedhsm.azure.net")),
            ("http://a.vault.azure.net", None),
            ("https://a.vault.azure.net:8443", None),
            ("https://vault.azure.net", None),
            ("https://a.b.vault.azure.net", None),
            ("https://avault.azure.net", None),
            ("https://a.vault.azure.net.evil.example", None),
            ("https://evil.example/a.vault.azure.net", None),
            ("", None),
        ] {
            assert_eq!(vault(url).ok().map(|(_, domain)| domain), wanted, "{url}");
        }
    }

    /// A metadata service and a vault that take what the real ones take.
    async fn azure() -> String {
        type Pairs = Query<std::collections::BTreeMap<String, String>>;
        async fn token(Query(query): Pairs) -> Json<Value> {
            Json(json!({"access_token": format!("for {}", query["resource"]), "expires_in": "3599"}))
        }
        async fn answer(
            Path((name, version)): Path<(String, String)>,
            Query(query): Pairs,
            headers: HeaderMap,
            Json(body): Json<Value>,
        ) -> (StatusCode, Json<Value>) {
            let no = |status, code: &str, message: &str| {
                (status, Json(json!({"error": {"code": code, "message": message}})))
            };
            if headers
                .get("authorization")
                .is_none_or(|value| value != "Bearer for https://vault.azure.net")
            {
                return no(StatusCode::UNAUTHORIZED, "Unauthorized", "no token");
            }
            if (name.as_str(), version.as_str()) != ("k", "1a") || query["api-version"] != "7.4" {
                return no(StatusCode::NOT_FOUND, "KeyNotFound", "no such key");
            }
            if body != json!({"alg": "RSA-OAEP-256", "value": "AQ"}) {
                return no(StatusCode::BAD_REQUEST, "BadParameter", "it cannot be decrypted");
            }
            (
                StatusCode::OK,
                Json(json!({"kid": "x", "value": URL_SAFE_NO_PAD.encode([6; 32])})),
            )
        }
        let router = Router::new()
            .route("/metadata/identity/oauth2/token", get(token))
            .route("/keys/{name}/{version}/decrypt", post(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn data_keys_are_decrypted_by_a_vault() {
        nave_net::install_crypto_provider();
        let address = azure().await;
        let settings = Settings::default().with_endpoint(Service::AzureMetadata, address.as_str());
        let cloud = Cloud::new(settings, None, CacheLimits::default()).expect("a client can be made");
        let services = KeyServices::new()
            .expect("a client can be made")
            .with_azure_endpoint(&address);
        let credentials = Credentials {
            ambient: Some((cloud, Identity::Process)),
            ..Credentials::default()
        };
        let ask = async |vault_url: &str, name: &str, ciphertext: &str| {
            let request = Request {
                service: KeyService::AzureKeyVault {
                    vault_url: vault_url.to_owned(),
                    name: name.to_owned(),
                    version: "1a".to_owned(),
                },
                ciphertext: ciphertext.to_owned(),
            };
            services.decrypt(&request, &credentials).await
        };
        let vault = "https://v.vault.azure.net";
        assert_eq!(ask(vault, "k", "AQ").await.expect("all is right").as_slice(), [6; 32]);
        for (vault, name, ciphertext, wanted) in [
            (
                vault,
                "k",
                "AA",
                "Azure Key Vault answered 400: BadParameter it cannot be decrypted",
            ),
            (
                vault,
                "x",
                "AQ",
                "Azure Key Vault answered 404: KeyNotFound no such key",
            ),
            (
                vault,
                "../k",
                "AQ",
                "the name or the version of the key is none of Azure Key Vault",
            ),
            (
                "https://evil.example",
                "k",
                "AQ",
                "the vault's address is none of Azure Key Vault",
            ),
        ] {
            assert_eq!(ask(vault, name, ciphertext).await.unwrap_err(), wanted);
        }
    }
}
