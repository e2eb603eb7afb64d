//! What the tests share.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use nave_bed::{Registry, RegistryOptions};
use nave_net::{BasicAuth, SecretText};
use nave_oci::{Access, Credentials, PackedArtifact, Registries, Remote, Repository, flux_artifact};
use tokio::sync::OnceCell;

/// Nothing here should take long; a busy machine may.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A registry that asks for nothing, shared by the tests: each has a repository of its own.
pub async fn open_registry() -> &'static Registry {
    static REGISTRY: OnceCell<Registry> = OnceCell::const_new();
    REGISTRY
        .get_or_init(|| async {
            Registry::start(RegistryOptions::default())
                .await
                .expect("a registry starts")
        })
        .await
}

pub fn remote(url: &str, access: Access) -> Result<Remote> {
    Ok(Registries::default().open(&Repository::from_url(url)?, access)?)
}

pub fn user(name: &str, password: &str) -> Access {
    Access {
        credentials: Credentials::Basic(BasicAuth {
            username: name.to_owned(),
            password: SecretText::new(password),
        }),
        ..Access::default()
    }
}

pub fn artifact(content: &str) -> PackedArtifact {
    let annotations = BTreeMap::from([("org.opencontainers.image.revision".to_owned(), content.to_owned())]);
    flux_artifact(Bytes::from(content.to_owned()), annotations)
}

/// The message with everything that caused it.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
