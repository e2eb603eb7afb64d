//! Google Cloud Key Management Service.

use base64::{Engine, engine::general_purpose::STANDARD};
use nave_sops::Answer;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{Credentials, KeyServices, services::send};

const ENDPOINT: &str = "https://cloudkms.googleapis.com";

pub(crate) async fn decrypt(
    services: &KeyServices,
    endpoint: Option<&str>,
    resource_id: &str,
    ciphertext: &str,
    credentials: &Credentials,
) -> Answer {
    if !is_key(resource_id) {
        return Err("the resource id is not one of a key of GCP KMS".to_owned());
    }
    // Static keys come first, as in Flux.
    let token = match (&credentials.gcp, &credentials.ambient) {
        (Some(key), _) => services.exchange.gcp_token_of_key(key).await,
        (None, Some((cloud, identity))) => cloud.during("decrypt_with_gcp").gcp_token(identity).await,
        (None, None) => return Err("there are no credentials for Google Cloud".to_owned()),
    };
    let token = token.map_err(|error| error.to_string())?;
    let endpoint = endpoint.unwrap_or(ENDPOINT).trim_end_matches('/');
    let request = services
        .client
        .post(format!("{endpoint}/v1/{resource_id}:decrypt"))
        .header("authorization", format!("Bearer {}", token.value.expose()))
        .header("content-type", "application/json")
        .body(json!({"ciphertext": ciphertext}).to_string());
    let (status, answer) = send(request).await?;
    if status != 200 {
        let field = |name: &str| answer.pointer(name).and_then(Value::as_str).unwrap_or_default();
        let text = format!(
            "GCP KMS answered {status}: {} {}",
            field("/error/status"),
            field("/error/message")
        );
        return Err(text.trim_end().to_owned());
    }
    let plain = answer.get("plaintext").and_then(Value::as_str);
    match plain.and_then(|text| STANDARD.decode(text).ok()) {
        Some(plain) => Ok(Zeroizing::new(plain)),
        None => Err("the answer of GCP KMS has no plain text".to_owned()),
    }
}

/// `projects/…/locations/…/keyRings/…/cryptoKeys/…`; it becomes part of an address.
fn is_key(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let plain = |text: &&str| {
        !text.is_empty()
            && !matches!(*text, "." | "..")
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
    };
    let names = matches!(
        parts[..],
        ["projects", _, "locations", _, "keyRings", _, "cryptoKeys", _]
    );
    names && parts.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use axum::{
        Json, Router,
        extract::Path,
        http::HeaderMap,
        http::StatusCode,
        routing::{get, post},
    };
    use nave_net::cloud::{CacheLimits, Cloud, Identity, Service, Settings};
    use nave_sops::{KeyService, Request};

    use super::*;

    const KEY: &str = "projects/p/locations/global/keyRings/r/cryptoKeys/k";

    /// A metadata server and a key service that take what the real ones take.
    async fn google() -> String {
        async fn token() -> Json<Value> {
            Json(json!({"access_token": "at", "expires_in": 3599, "token_type": "Bearer"}))
        }
        async fn answer(
            Path(path): Path<String>,
            headers: HeaderMap,
            Json(body): Json<Value>,
        ) -> (StatusCode, Json<Value>) {
            let no = |status: StatusCode, code: &str, message: &str| {
                (
                    status,
                    Json(json!({"error": {"code": status.as_u16(), "status": code, "message": message}})),
                )
            };
            if headers.get("authorization").is_none_or(|value| value != "Bearer at") {
                return no(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", "no token");
            }
            if path != format!("{KEY}:decrypt") {
                return no(StatusCode::NOT_FOUND, "NOT_FOUND", "no such key");
            }
            match body["ciphertext"].as_str() {
                Some("AQ==") => (StatusCode::OK, Json(json!({"plaintext": STANDARD.encode([5; 32])}))),
                _ => no(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "Decryption failed"),
            }
        }
        let router = Router::new()
            .route(
                "/computeMetadata/v1/instance/service-accounts/default/token",
                get(token),
            )
            .route("/v1/{*path}", post(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn data_keys_are_decrypted_by_google() {
        nave_net::install_crypto_provider();
        let address = google().await;
        let settings = Settings::default().with_endpoint(Service::GcpMetadata, address.as_str());
        let cloud = Cloud::new(settings, None, CacheLimits::default()).expect("a client can be made");
        let services = KeyServices::new()
            .expect("a client can be made")
            .with_gcp_endpoint(&address);
        let credentials = Credentials {
            ambient: Some((cloud, Identity::Process)),
            ..Credentials::default()
        };
        let ask = async |resource_id: &str, ciphertext: &str, credentials: &Credentials| {
            let request = Request {
                service: KeyService::GcpKms {
                    resource_id: resource_id.to_owned(),
                },
                ciphertext: ciphertext.to_owned(),
            };
            services.decrypt(&request, credentials).await
        };
        let plain = ask(KEY, "AQ==", &credentials).await.expect("all is right");
        assert_eq!(plain.as_slice(), [5; 32]);
        for (key, ciphertext, wanted) in [
            (KEY, "AA==", "GCP KMS answered 400: INVALID_ARGUMENT Decryption failed"),
            (
                "projects/p/locations/global/keyRings/r/cryptoKeys/x",
                "AQ==",
                "GCP KMS answered 404: NOT_FOUND no such key",
            ),
            (
                "projects/p/../..",
                "AQ==",
                "the resource id is not one of a key of GCP KMS",
            ),
        ] {
            assert_eq!(ask(key, ciphertext, &credentials).await.unwrap_err(), wanted);
        }
        let error = ask(KEY, "AQ==", &Credentials::default()).await.unwrap_err();
        assert_eq!(error, "there are no credentials for Google Cloud");
    }
}
