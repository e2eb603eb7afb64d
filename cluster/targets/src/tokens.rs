//! Short-lived credentials: fetched when they are needed, and kept until some time before they end.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderValue, Request, StatusCode, header::AUTHORIZATION};
use jiff::Timestamp;
use kube::{Client, client::Body};
use tower::BoxError;

/// A token is replaced this long before it ends, so that no request is on its way with one that has.
const MARGIN: Duration = Duration::from_secs(60);

/// A bearer token.
#[derive(Clone)]
pub struct Token {
    /// The secret itself.
    pub value: String,
    /// When the server stops believing it.
    pub expires: Timestamp,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Makes tokens.
pub trait TokenSource: Send + Sync + 'static {
    /// A new token.
    fn fetch(&self) -> BoxFuture<'_, Result<Token, BoxError>>;
}

/// The latest token of a source.
pub(crate) struct Tokens {
    source: Arc<dyn TokenSource>,
    latest: Mutex<Option<Token>>,
}

impl Tokens {
    pub fn new(source: Arc<dyn TokenSource>) -> Self {
        Tokens {
            source,
            latest: Mutex::default(),
        }
    }

    /// Two requests at once may fetch two tokens; both are good.
    async fn header(&self) -> Result<HeaderValue, BoxError> {
        let known = self.lock().clone().filter(|token| is_good(token, Timestamp::now()));
        let token = match known {
            Some(token) => token,
            None => {
                let token = self.source.fetch().await?;
                *self.lock() = Some(token.clone());
                token
            }
        };
        let mut header = HeaderValue::from_str(&format!("Bearer {}", token.value))
            .map_err(|_| BoxError::from("the token cannot be sent in a header"))?;
        header.set_sensitive(true);
        Ok(header)
    }

    fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_good(token: &Token, now: Timestamp) -> bool {
    Duration::try_from(token.expires.duration_since(now)).is_ok_and(|left| left > MARGIN)
}

/// `base` with a token in every request. A token that the server refuses is fetched anew for the next one.
pub(crate) fn authorized(base: Client, tokens: Arc<Tokens>) -> Client {
    let namespace = base.default_namespace().to_owned();
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let (base, tokens) = (base.clone(), tokens.clone());
        async move {
            request.headers_mut().insert(AUTHORIZATION, tokens.header().await?);
            let answer = base.send(request).await.map_err(BoxError::from)?;
            if answer.status() == StatusCode::UNAUTHORIZED {
                tokens.forget();
            }
            Ok::<_, BoxError>(answer)
        }
    });
    Client::new(service, namespace)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// Tokens that are good for a given time, numbered.
    struct Numbered(AtomicI64, i64);

    impl TokenSource for Numbered {
        fn fetch(&self) -> BoxFuture<'_, Result<Token, BoxError>> {
            let number = self.0.fetch_add(1, Ordering::SeqCst);
            let expires = Timestamp::now() + jiff::SignedDuration::from_secs(self.1);
            let value = format!("t{number}");
            Box::pin(std::future::ready(Ok(Token { value, expires })))
        }
    }

    #[tokio::test]
    async fn a_token_is_kept_until_shortly_before_its_end() {
        let text = async |tokens: &Tokens| tokens.header().await.expect("there is one").to_str().map(str::to_owned);
        let long = Tokens::new(Arc::new(Numbered(AtomicI64::new(0), 3_600)));
        assert_eq!(text(&long).await.expect("text"), "Bearer t0");
        assert_eq!(text(&long).await.expect("text"), "Bearer t0");
        long.forget();
        assert_eq!(text(&long).await.expect("text"), "Bearer t1");
        let short = Tokens::new(Arc::new(Numbered(AtomicI64::new(0), 30)));
        assert_eq!(text(&short).await.expect("text"), "Bearer t0");
        assert_eq!(text(&short).await.expect("text"), "Bearer t1");
    }
}
