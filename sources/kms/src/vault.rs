//! The transit engine of HashiCorp Vault and OpenBao.

use base64::{Engine, engine::general_purpose::STANDARD};
use nave_sops::Answer;
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

use crate::{Credentials, services::send};

/// `address` as the file has it, and the URL that it makes.
pub(crate) async fn decrypt(
    client: &reqwest::Client,
    (address, url): (&str, Url),
    ciphertext: &str,
    credentials: &Credentials,
) -> Answer {
    // A token of a Secret comes first, as in Flux.
    let token = match (&credentials.vault_token, &credentials.vault_login) {
        (Some(token), _) => token.clone(),
        (None, Some(login)) => login.token(client, address).await?,
        (None, None) => return Err("there is no token for Vault".to_owned()),
    };
    let request = client
        .post(url)
        .header("X-Vault-Token", token.expose())
        .header("X-Vault-Request", "true")
        .json_body(&json!({"ciphertext": ciphertext}));
    let (status, answer) = send(request).await?;
    if status != 200 {
        return Err(refusal(status, &answer));
    }
    let plain = answer.pointer("/data/plaintext").and_then(Value::as_str);
    match plain.and_then(|text| STANDARD.decode(text).ok()) {
        Some(plain) => Ok(Zeroizing::new(plain)),
        None => Err("Vault's answer has no plain text".to_owned()),
    }
}

/// What Vault says when it does not do it.
pub(crate) fn refusal(status: u16, answer: &Value) -> String {
    let errors = answer.get("errors").and_then(Value::as_array).into_iter().flatten();
    let errors: Vec<&str> = errors.filter_map(Value::as_str).collect();
    format!("Vault answered {status}: {}", errors.join("; "))
}

/// `{address}/v1/{engine path}/decrypt/{key}`
pub(crate) fn url_of(address: &str, engine_path: &str, key_name: &str) -> Result<Url, String> {
    let wrong = "the path of the engine or the name of the key is no path";
    if key_name.is_empty() || matches!(key_name, "." | "..") {
        return Err(wrong.to_owned());
    }
    let mut url = path_of(address, engine_path).ok_or_else(|| wrong.to_owned())??;
    url.path_segments_mut()
        .map_err(|()| "the address is no base".to_owned())?
        .extend(["decrypt", key_name]);
    Ok(url)
}

/// `{address}/v1/{path}`; none when the path climbs.
pub(crate) fn path_of(address: &str, path: &str) -> Option<Result<Url, String>> {
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return None;
    }
    Some(api_of(address).and_then(|mut url| {
        url.path_segments_mut()
            .map_err(|()| "the address is no base".to_owned())?
            .extend(path.split('/').filter(|part| !part.is_empty()));
        Ok(url)
    }))
}

/// `{address}/v1`
fn api_of(address: &str) -> Result<Url, String> {
    let mut url = Url::parse(address).map_err(|_| "the address is no URL".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the address is no HTTP URL".to_owned());
    }
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut()
        .map_err(|()| "the address is no base".to_owned())?
        .pop_if_empty()
        .push("v1");
    Ok(url)
}

pub(crate) trait JsonBody {
    fn json_body(self, body: &Value) -> Self;
}

impl JsonBody for reqwest::RequestBuilder {
    fn json_body(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, extract::Path, http::HeaderMap, http::StatusCode, routing::post};
    use nave_net::SecretText;
    use nave_sops::{KeyService, Request};

    use super::*;
    use crate::KeyServices;

    /// A stand-in that takes what Vault takes and refuses what Vault refuses.
    async fn vault() -> String {
        async fn answer(
            Path((mount, key)): Path<(String, String)>,
            headers: HeaderMap,
            Json(body): Json<Value>,
        ) -> (StatusCode, Json<Value>) {
            let refused = |status, text: &str| (status, Json(json!({"errors": [text]})));
            if headers.get("X-Vault-Token").and_then(|token| token.to_str().ok()) != Some("s.token") {
                return refused(StatusCode::FORBIDDEN, "permission denied");
            }
            if (mount.as_str(), key.as_str()) != ("transit", "k") {
                return refused(StatusCode::BAD_REQUEST, "encryption key not found");
            }
            match body["ciphertext"].as_str() {
                Some("vault:v1:x") => (
                    StatusCode::OK,
                    Json(json!({"data": {"plaintext": STANDARD.encode([7; 32])}})),
                ),
                _ => refused(StatusCode::BAD_REQUEST, "invalid ciphertext: no prefix"),
            }
        }
        let router = Router::new().route("/v1/{mount}/decrypt/{key}", post(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    async fn ask(address: &str, mount: &str, key: &str, ciphertext: &str, token: Option<&str>) -> Answer {
        let services = KeyServices::new()
            .expect("a client can be made")
            .allow_local_addresses(true);
        let request = Request {
            service: KeyService::Vault {
                address: address.to_owned(),
                engine_path: mount.to_owned(),
                key_name: key.to_owned(),
            },
            ciphertext: ciphertext.to_owned(),
        };
        let credentials = Credentials {
            vault_token: token.map(SecretText::new),
            ..Credentials::default()
        };
        services.decrypt(&request, &credentials).await
    }

    #[tokio::test]
    async fn data_keys_are_decrypted_by_the_transit_engine() {
        nave_net::install_crypto_provider();
        let address = vault().await;
        let ok = ask(&address, "transit", "k", "vault:v1:x", Some("s.token")).await;
        assert_eq!(ok.expect("all is right").as_slice(), [7; 32]);
        for (mount, key, ciphertext, token, wanted) in [
            ("transit", "k", "vault:v1:x", None, "there is no token for Vault"),
            (
                "transit",
                "k",
                "vault:v1:x",
                Some("canary"),
                "Vault answered 403: permission denied",
            ),
            (
                "transit",
                "other",
                "vault:v1:x",
                Some("s.token"),
                "Vault answered 400: encryption key not found",
            ),
            (
                "transit",
                "k",
                "y",
                Some("s.token"),
                "Vault answered 400: invalid ciphertext: no prefix",
            ),
            (
                "transit/..",
                "k",
                "y",
                Some("s.token"),
                "the path of the engine or the name of the key is no path",
            ),
            ("none/here", "k", "y", Some("s.token"), "Vault answered 404: "),
        ] {
            assert_eq!(ask(&address, mount, key, ciphertext, token).await.unwrap_err(), wanted);
        }
        let error = ask("http://127.0.0.1:1", "transit", "k", "x", Some("canary"))
            .await
            .unwrap_err();
        assert!(
            error.contains("error sending request") && !error.contains("canary"),
            "{error}"
        );
        let request = Request {
            service: KeyService::Vault {
                address,
                engine_path: "transit".to_owned(),
                key_name: "k".to_owned(),
            },
            ciphertext: "vault:v1:x".to_owned(),
        };
        let services = KeyServices::new().expect("a client can be made");
        let error = services.decrypt(&request, &Credentials::default()).await.unwrap_err();
        assert_eq!(error, "the address is one of this machine, which is not allowed");
        let error = ask("file:///x", "transit", "k", "x", Some("canary")).await.unwrap_err();
        assert_eq!(error, "the address is no HTTP URL");
    }

    #[test]
    fn addresses_may_have_a_path() {
        for (address, engine, wanted) in [
            ("https://v:8200", "transit", "https://v:8200/v1/transit/decrypt/k"),
            ("https://v/base/", "a/b/", "https://v/base/v1/a/b/decrypt/k"),
            ("https://v?x=1#y", "a?b", "https://v/v1/a%3Fb/decrypt/k"),
        ] {
            assert_eq!(url_of(address, engine, "k").map(String::from).as_deref(), Ok(wanted));
        }
    }
}
