//! Tokens of GitHub Apps: kept for as long as they are good, and asked for once for all objects of an App.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use nave_git::{GitError, GitHubApp, GitHubAppError, InstallationToken};
use nave_net::{ProxyOptions, SecretText, TlsOptions};

/// A token is replaced so long before its end: a clone may take a while.
const BEFORE_END: SignedDuration = SignedDuration::from_mins(5);
/// Apps of one process. Beyond that the tokens that end first are asked for again.
const MAX_TOKENS: usize = 1000;

/// By the App's identity. Each has a lock of its own, so that a slow answer holds up no other App.
#[derive(Default)]
pub(crate) struct Tokens {
    by_app: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<InstallationToken>>>>>,
}

impl Tokens {
    /// A token that is good for some time yet.
    pub async fn token(
        &self,
        app: &GitHubApp,
        tls: &TlsOptions,
        proxy: Option<&ProxyOptions>,
        timeout: Duration,
    ) -> Result<SecretText, GitHubAppError> {
        let slot = {
            let mut all = self.by_app.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= MAX_TOKENS {
                all.clear();
            }
            all.entry(app.identity()).or_default().clone()
        };
        let mut kept = slot.lock().await;
        let now = Timestamp::now();
        if let Some(token) = kept
            .as_ref()
            .filter(|token| token.expires.duration_since(now) > BEFORE_END)
        {
            return Ok(token.token.clone());
        }
        let token = app.token(tls, proxy, timeout, now).await?;
        let text = token.token.clone();
        *kept = Some(token);
        Ok(text)
    }

    /// A server that refuses access may have been shown a token that was taken back.
    pub fn refused(&self, identity: Option<&str>, error: &GitError) {
        if let (Some(identity), GitError::Unauthorized { .. }) = (identity, error) {
            self.by_app
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(identity);
        }
    }
}
