//! What is known of one registry as one user: how it is spoken to, what it asks for, the token of the moment.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use nave_net::{Explained, SecretText, explain};
use reqwest::{StatusCode, header::WWW_AUTHENTICATE};

use crate::{
    Credentials, OciError, Repository,
    auth::{Challenge, Token},
    request::bounded_body,
};

/// Talking to one repository with one set of credentials.
pub(crate) struct Session {
    pub repository: Repository,
    pub credentials: Credentials,
    pub client: reqwest::Client,
    insecure: bool,
    known: tokio::sync::OnceCell<&'static str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    token: Option<Token>,
}

/// What a request is allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    Pull,
    Push,
}

const MAX_PING: u64 = 64 << 10;
/// How often more a registry is greeted whose connection ended after the handshake, without a word.
const GREETINGS: usize = 2;

impl Session {
    pub fn new(repository: Repository, credentials: Credentials, client: reqwest::Client, insecure: bool) -> Self {
        Session {
            repository,
            credentials,
            client,
            insecure,
            known: tokio::sync::OnceCell::new(),
            state: Mutex::default(),
        }
    }

    pub fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// `https` until a registry was found to speak `http`.
    pub fn scheme(&self) -> &'static str {
        self.known.get().copied().unwrap_or("https")
    }

    /// Finds out once how the registry is spoken to and what it asks for.
    pub async fn greet(&self) -> Result<(), OciError> {
        self.known.get_or_try_init(|| self.find()).await?;
        Ok(())
    }

    /// TLS first. Plain HTTP only where the object allows it or the registry is near, and only when the other side does
    /// not speak TLS: a certificate that is wrong is an error and no reason to go without.
    async fn find(&self) -> Result<&'static str, OciError> {
        let mut greeted = self.ping("https").await;
        // The end of a connection may overtake what the registry says about a missing certificate: it is asked again.
        for _ in 0..GREETINGS {
            if !matches!(greeted, Err((OciError::Connect { .. }, true))) {
                break;
            }
            greeted = self.ping("https").await;
        }
        match greeted {
            Ok(()) => Ok("https"),
            Err((error, speaks_tls)) if speaks_tls || !(self.insecure || self.repository.is_near()) => Err(error),
            Err((error, _)) => match self.ping("http").await {
                Ok(()) => Ok("http"),
                // The first error tells more, unless the connection stood.
                Err((second, _)) => Err(match (&error, &second) {
                    (OciError::Connect { .. }, OciError::Connect { .. }) => error,
                    _ => second,
                }),
            },
        }
    }

    /// The error comes with whether the other side speaks TLS.
    async fn ping(&self, scheme: &str) -> Result<(), (OciError, bool)> {
        let url = format!("{scheme}://{}/v2/", self.repository.registry());
        let response = self.client.get(url).send().await.map_err(|error| {
            // What breaks after the handshake breaks within TLS: so does a registry that misses a client's certificate, of
            // which TLS 1.3 says so only then, if the words arrive before the end of the connection.
            let speaks_tls = speaks_tls(&error) || !(error.is_connect() || error.is_timeout());
            (self.unreachable(&error), speaks_tls)
        })?;
        let status = response.status();
        let challenge = challenge(&response);
        // Read to the end, so that the connection can be used again.
        let body = bounded_body(response, MAX_PING, "greeting", &self.repository).await;
        match status {
            StatusCode::UNAUTHORIZED => self.learn(challenge),
            status if status.is_success() => {}
            // Some registries do not serve this path; what they want is said in the answer to the first request.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => {}
            status => {
                let body = body.map_err(|error| (error, true))?;
                return Err((self.failure("greeting", String::new(), status, &body), true));
            }
        }
        Ok(())
    }

    /// Remembers what the registry asks for.
    pub fn learn(&self, challenge: Challenge) {
        self.lock().challenge = Some(challenge);
    }

    pub fn challenge(&self) -> Option<Challenge> {
        self.lock().challenge.clone()
    }

    /// Forgets the token, which the registry no longer takes.
    pub fn forget_token(&self) {
        self.lock().token = None;
    }

    /// The value of `Authorization` for a request, as far as it is known what the registry wants.
    pub async fn authorization(&self, right: Right) -> Result<Option<SecretText>, OciError> {
        if let Credentials::Token(token) = &self.credentials {
            return Ok(Some(SecretText::new(format!("Bearer {}", token.expose()))));
        }
        match self.challenge() {
            None | Some(Challenge::None) => Ok(None),
            Some(Challenge::Basic) => Ok(match &self.credentials {
                Credentials::Basic(basic) => Some(basic.header()),
                _ => None,
            }),
            Some(Challenge::Bearer { realm, service, scope }) => {
                let own = match right {
                    Right::Pull => format!("repository:{}:pull", self.repository.name()),
                    Right::Push => format!("repository:{}:pull,push", self.repository.name()),
                };
                // A registry may ask for more than the specification knows of.
                let scope = match scope {
                    Some(scope) if right == Right::Pull || scope.contains("push") => scope,
                    _ => own,
                };
                let held = self.lock().token.clone();
                if let Some(token) = held
                    && token.until > Instant::now()
                    && (token.scope == scope || (right == Right::Pull && token.scope.ends_with(":pull,push")))
                {
                    return Ok(Some(SecretText::new(format!("Bearer {}", token.value.expose()))));
                }
                let token = self.fetch_token(&realm, service.as_deref(), &scope).await?;
                let header = SecretText::new(format!("Bearer {}", token.value.expose()));
                self.lock().token = Some(token);
                Ok(Some(header))
            }
        }
    }

    pub fn unreachable(&self, error: &reqwest::Error) -> OciError {
        let registry = self.repository.registry().to_owned();
        match explain(error) {
            Explained::Tls(detail) => OciError::Tls { registry, detail },
            Explained::Other(detail) => OciError::Connect { registry, detail },
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an answer asks for.
pub(crate) fn challenge(response: &reqwest::Response) -> Challenge {
    let headers = response.headers().get_all(WWW_AUTHENTICATE);
    Challenge::parse(headers.iter().filter_map(|value| value.to_str().ok()))
}

/// Whether a failed connection failed within TLS, with somebody who speaks it.
fn speaks_tls(error: &reqwest::Error) -> bool {
    let mut current: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = current {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            // An answer in clear text is no TLS record.
            return !matches!(tls, rustls::Error::InvalidMessage(_));
        }
        let inner = cause
            .downcast_ref::<std::io::Error>()
            .and_then(|error| error.get_ref())
            .map(|inner| inner as &(dyn std::error::Error + 'static));
        current = inner.or_else(|| cause.source());
    }
    false
}
