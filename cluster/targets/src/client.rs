//! What every request of ours passes, whatever transport is below: the identity it is made under, and a limit on
//! how long the server may stay silent.

use std::time::Duration;

use http::{HeaderValue, Request};
use kube::{Client, client::Body};
use tower::BoxError;

/// The server has to begin its answer in this time (Flux: 30 s for remote clusters). Watches begin theirs at once.
pub(crate) const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// A server that took the request and stayed silent.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer within {} seconds", .0.as_secs())]
struct Silent(Duration);

/// `base` with a deadline, and acting as `user` if given. The base's connections, TLS, credentials and retries are used,
/// so any number of identities share one pool.
pub(crate) fn layered(base: Client, user: Option<HeaderValue>, deadline: Duration) -> Client {
    let namespace = base.default_namespace().to_owned();
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let base = base.clone();
        if let Some(user) = &user {
            request.headers_mut().insert("impersonate-user", user.clone());
        }
        async move {
            match tokio::time::timeout(deadline, base.send(request)).await {
                Ok(answer) => answer.map_err(BoxError::from),
                Err(_) => Err(BoxError::from(Silent(deadline))),
            }
        }
    });
    Client::new(service, namespace)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Api, api::ListParams};

    use super::*;

    type Seen = Arc<Mutex<Vec<(String, Vec<String>, Option<String>)>>>;

    /// A server that records who asked, and answers everything with an empty list.
    async fn recording_server(silent: bool) -> (String, Seen) {
        let seen = Seen::default();
        let recorded = seen.clone();
        let router = axum::Router::new().fallback(move |request: axum::extract::Request| {
            let headers = request.headers();
            let texts = |name: &str| -> Vec<String> {
                headers
                    .get_all(name)
                    .iter()
                    .map(|value| value.to_str().unwrap_or_default().to_owned())
                    .collect()
            };
            let entry = (
                request.uri().path().to_owned(),
                texts("impersonate-user"),
                texts("authorization").pop(),
            );
            recorded.lock().expect("no test panics with the lock held").push(entry);
            async move {
                if silent {
                    std::future::pending::<()>().await;
                }
                axum::Json(
                    serde_json::json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {}, "items": []}),
                )
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port has an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        (format!("http://{address}"), seen)
    }

    fn base(url: &str) -> Client {
        let mut config = kube::Config::new(url.parse().expect("the URL is valid"));
        config.auth_info.token = Some("secret-token".to_owned().into());
        Client::try_from(config).expect("the configuration is complete")
    }

    #[tokio::test]
    async fn impersonation_is_sent_beside_the_credentials_of_the_base() {
        let (url, seen) = recording_server(false).await;
        let base = base(&url);
        let user = HeaderValue::from_static("system:serviceaccount:apps:deployer");
        let tenant = layered(base.clone(), Some(user), ANSWER_DEADLINE);
        let own = layered(base, None, ANSWER_DEADLINE);
        for client in [&tenant, &own] {
            Api::<ConfigMap>::namespaced(client.clone(), "apps")
                .list(&ListParams::default())
                .await
                .expect("the server answers");
        }
        let seen = seen.lock().expect("no test panics with the lock held").clone();
        let path = "/api/v1/namespaces/apps/configmaps".to_owned();
        let token = Some("Bearer secret-token".to_owned());
        assert_eq!(
            seen,
            [
                (
                    path.clone(),
                    vec!["system:serviceaccount:apps:deployer".to_owned()],
                    token.clone()
                ),
                (path, vec![], token),
            ]
        );
    }

    #[tokio::test]
    async fn a_silent_server_is_an_error() {
        let (url, _) = recording_server(true).await;
        let client = layered(base(&url), None, Duration::from_millis(50));
        let error = Api::<ConfigMap>::all(client)
            .list(&ListParams::default())
            .await
            .expect_err("the server is silent");
        let text = format!("{error} {:?}", std::error::Error::source(&error));
        assert!(text.contains("did not answer"), "{text}");
    }
}
