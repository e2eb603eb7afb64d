//! Keys where OpenSSH keeps those of a person or a pod.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::auth::{SshAuth, SshAuthError};

/// In ssh(1)'s order, as far as these kinds go.
const IDENTITIES: [&str; 3] = ["id_rsa", "id_ecdsa", "id_ed25519"];
const KNOWN_HOSTS: &str = "known_hosts";

/// A folder that has a key which cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SshFolderError {
    /// A file cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key or the known hosts are no such thing.
    #[error("{path}: {source}")]
    Unusable {
        /// The key.
        path: PathBuf,
        /// What is wrong.
        source: SshAuthError,
    },
}

impl SshAuth {
    /// The first of `id_rsa`, `id_ecdsa` and `id_ed25519` in a folder, with the `known_hosts` beside it; none when there
    /// is no key.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be. Keys with a passphrase cannot be used.
    pub async fn of_folder(folder: &Path) -> Result<Option<SshAuth>, SshFolderError> {
        for name in IDENTITIES {
            let path = folder.join(name);
            let Some(identity) = read(&path).await? else { continue };
            let hosts = folder.join(KNOWN_HOSTS);
            let known_hosts = tokio::fs::read(&hosts)
                .await
                .map_err(|source| SshFolderError::Read { path: hosts, source })?;
            let auth = SshAuth::new(&identity, None, &known_hosts);
            return auth
                .map(Some)
                .map_err(|source| SshFolderError::Unusable { path, source });
        }
        Ok(None)
    }
}

async fn read(path: &Path) -> Result<Option<Vec<u8>>, SshFolderError> {
    match tokio::fs::read(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SshFolderError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}
