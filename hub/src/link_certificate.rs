//! The link's certificate from a Secret that somebody else writes, cert-manager for one. The authority of agents'
//! certificates stays the hub's own.
//!
//! A Secret that cannot be used ends the start of the hub: it was asked for. Later the certificate in use stays in use.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use futures::{StreamExt, pin_mut};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use nave_identity::{ForeignCertificate, ForeignError, ServerCertificates};
use tokio_util::sync::CancellationToken;

use crate::authority::HubAuthority;

/// Where the certificate comes from.
#[derive(Clone)]
pub struct LinkCertificate {
    client: Client,
    namespace: String,
    name: String,
}

impl LinkCertificate {
    /// None when no Secret is asked for.
    pub fn new(client: &Client, namespace: &str, name: &str) -> Option<Self> {
        (!name.is_empty()).then(|| LinkCertificate {
            client: client.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Has the authority show what the Secret holds.
    ///
    /// # Errors
    /// It does not exist, or a key of it cannot be used.
    pub async fn load(&self, authority: &HubAuthority) -> Result<()> {
        let what = || {
            format!(
                "using Secret {}/{} for the link's certificate",
                self.namespace, self.name
            )
        };
        let secret = self.api().get_opt(&self.name).await.with_context(what)?;
        let secret = secret.ok_or_else(|| anyhow!("it does not exist")).with_context(what)?;
        let foreign = read(&secret).with_context(what)?;
        authority.show(foreign, Timestamp::now()).with_context(what)?;
        Ok(())
    }

    /// Follows the Secret until shutdown. Open sessions keep what they were opened with.
    pub async fn follow(self, authority: Arc<HubAuthority>, served: ServerCertificates, shutdown: CancellationToken) {
        let secrets = watcher::watch_object(self.api(), &self.name).default_backoff();
        pin_mut!(secrets);
        let secret = format!("{}/{}", self.namespace, self.name);
        let mut looked_at = None;
        loop {
            let state = tokio::select! {
                _ = shutdown.cancelled() => return,
                state = secrets.next() => state,
            };
            match state {
                Some(Ok(Some(found))) => {
                    if looked_at != found.resource_version() {
                        looked_at = found.resource_version();
                        if let Err(error) = renewed(&found, &authority, &served) {
                            tracing::error!(
                                secret,
                                error = &*error as &dyn std::error::Error,
                                "the link's certificate is not renewed; the one before stays in use"
                            );
                        }
                    }
                }
                Some(Ok(None)) => {
                    tracing::error!(
                        secret,
                        "the Secret of the link's certificate is gone; the one before stays in use"
                    );
                }
                // The watcher begins again by itself, with a pause.
                Some(Err(error)) => tracing::debug!(secret, %error, "watching the Secret of the link's certificate"),
                None => return,
            }
        }
    }

    fn api(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

fn renewed(secret: &Secret, authority: &HubAuthority, served: &ServerCertificates) -> Result<()> {
    let foreign = read(secret)?;
    if authority.show(foreign, Timestamp::now())? {
        authority.serve(served)?;
    }
    Ok(())
}

fn read(secret: &Secret) -> Result<ForeignCertificate, ForeignError> {
    let part = |part: &'static str| {
        let found = secret.data.as_ref().and_then(|data| data.get(part));
        let why = "there is no such key in the Secret";
        found.map(|value| value.0.clone()).ok_or_else(|| ForeignError {
            part,
            why: why.to_owned(),
        })
    };
    Ok(ForeignCertificate {
        chain: part("tls.crt")?,
        key: part("tls.key")?,
        // An issuer that names no authority (ACME) leaves it out: then nobody can vouch for it.
        roots: part("ca.crt")?,
    })
}
