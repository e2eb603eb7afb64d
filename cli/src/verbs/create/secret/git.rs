//! `nave create secret git`.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nave_git::{SshAuth, SshKeyPair, scan_host_keys};
use nave_net::SecretText;

use super::{Data, OPAQUE, apply, key::KeyArguments};
use crate::{connection::ConnectionArguments, failure::advised, say, verbs::create::Common};

pub const EXAMPLES: &str = "\
For ssh a key is made unless one is given, and the server is asked for its host keys: compare the fingerprints that are
printed with those that its owner publishes.

Examples:
  nave create secret git app --url https://git.example.com/app -u me -p \"$TOKEN\"
  nave create secret git app --url https://git.example.com/app --bearer-token \"$TOKEN\"
  nave create secret git app --url ssh://git@git.example.com/app
  nave create secret git app --url ssh://git@git.example.com/app --private-key-file ~/.ssh/id_ed25519 --export";

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Name of the Secret
    name: String,
    /// Address of the repository
    #[arg(long)]
    url: String,
    /// User name
    #[arg(short, long)]
    username: Option<String>,
    /// Password or token; with --private-key-file its passphrase
    #[arg(short, long)]
    password: Option<String>,
    /// Token that is sent as it is
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["username", "password"])]
    bearer_token: Option<String>,
    /// File with the certificate authority of the server
    #[arg(long, value_name = "FILE")]
    ca_crt_file: Option<PathBuf>,
    #[command(flatten)]
    key: KeyArguments,
}

/// Everything that a Secret for git may be made of.
pub struct Credentials {
    pub url: String,
    pub username: Option<String>,
    pub password: Option<String>,
    pub bearer_token: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub key: KeyArguments,
}

/// Prints or writes it.
pub async fn run(arguments: Arguments, common: &Common, to: &ConnectionArguments) -> Result<()> {
    let credentials = Credentials {
        url: arguments.url,
        username: arguments.username,
        password: arguments.password,
        bearer_token: arguments.bearer_token,
        ca_file: arguments.ca_crt_file,
        key: arguments.key,
    };
    let data = credentials.data(to.timeout).await?;
    if let Some(public) = data.get("identity.pub") {
        say::generating(&format!("deploy key: {}", public.trim()));
    }
    apply(&arguments.name, OPAQUE, data, common, to).await
}

impl Credentials {
    /// What the Secret holds.
    ///
    /// # Errors
    /// Something is missing, a file cannot be read, or the server does not answer.
    pub async fn data(&self, timeout: Duration) -> Result<Data> {
        match self.url.split_once("://").map(|(scheme, _)| scheme) {
            Some("http" | "https") => self.over_http(),
            Some("ssh") => self.over_ssh(timeout).await,
            _ => Err(advised(
                format!(
                    "--url {:?} is not one of http, https or ssh",
                    nave_net::redact(&self.url)
                ),
                "an address such as git@host:path is written ssh://git@host/path",
            )),
        }
    }

    fn over_http(&self) -> Result<Data> {
        let mut data = Data::new();
        match (&self.username, &self.password, &self.bearer_token) {
            (Some(username), Some(password), None) => {
                data.insert("username", username.clone());
                data.insert("password", password.clone());
            }
            (None, None, Some(token)) => {
                data.insert("bearerToken", token.clone());
            }
            (None, None, None) if self.ca_file.is_some() => {}
            _ => bail!("for http and https, name --username and --password, or --bearer-token, or --ca-crt-file"),
        }
        if let Some(file) = &self.ca_file {
            let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            let tls = nave_net::TlsOptions {
                ca: Some(text.clone().into_bytes()),
                identity: None,
            };
            tls.client_config()
                .with_context(|| format!("reading {}", file.display()))?;
            data.insert("ca.crt", text);
        }
        Ok(data)
    }

    async fn over_ssh(&self, timeout: Duration) -> Result<Data> {
        ensure!(self.bearer_token.is_none(), "--bearer-token is of no use for ssh");
        let (host, port) = host_of(&self.url)?;
        let passphrase = self.password.as_deref().map(SecretText::new);
        let pair = match &self.key.private_key_file {
            Some(file) => {
                let identity = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
                SshKeyPair::of_private(&identity, passphrase.as_ref())
                    .with_context(|| format!("reading {}", file.display()))?
            }
            None => SshKeyPair::generate(self.key.kind())?,
        };
        let found = scan_host_keys(&host, port, timeout.min(Duration::from_secs(30))).await?;
        let mut known_hosts = String::new();
        for key in &found {
            say::detail(&format!("host key of {host}: {}", key.fingerprint));
            known_hosts += &key.line;
            known_hosts.push('\n');
        }
        // What the controller will read is read once here.
        SshAuth::new(
            pair.identity.expose().as_bytes(),
            passphrase.as_ref(),
            known_hosts.as_bytes(),
        )?;
        let mut data = Data::from([
            ("identity", pair.identity.expose().to_owned()),
            ("identity.pub", pair.public),
            ("known_hosts", known_hosts),
        ]);
        if self.key.private_key_file.is_some()
            && let Some(password) = &self.password
        {
            data.insert("password", password.clone());
        }
        Ok(data)
    }
}

/// Host and port of an address of ssh.
fn host_of(url: &str) -> Result<(String, u16)> {
    let shown = || nave_net::redact(url);
    let parsed = reqwest::Url::parse(url).with_context(|| format!("--url {:?} is no address", shown()))?;
    let host = parsed
        .host_str()
        .filter(|host| !host.is_empty())
        .with_context(|| format!("--url {:?} names no host", shown()))?;
    let host = host.trim_matches(['[', ']']).to_lowercase();
    Ok((host, parsed.port().unwrap_or(22)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(url: &str, username: Option<&str>, password: Option<&str>, token: Option<&str>) -> Credentials {
        Credentials {
            url: url.to_owned(),
            username: username.map(str::to_owned),
            password: password.map(str::to_owned),
            bearer_token: token.map(str::to_owned),
            ca_file: None,
            key: KeyArguments {
                ssh_key_algorithm: "ed25519".into(),
                ssh_rsa_bits: 2048,
                ssh_ecdsa_curve: "p384".into(),
                private_key_file: None,
            },
        }
    }

    #[test]
    fn keys_of_http() {
        let url = "https://host/a";
        let data = credentials(url, Some("me"), Some("secret"), None).over_http().unwrap();
        assert_eq!(
            data,
            Data::from([("username", "me".into()), ("password", "secret".into())])
        );
        let data = credentials(url, None, None, Some("token")).over_http().unwrap();
        assert_eq!(data, Data::from([("bearerToken", "token".into())]));
        assert!(credentials(url, Some("me"), None, None).over_http().is_err());
        assert!(credentials(url, None, None, None).over_http().is_err());
    }

    #[test]
    fn hosts_of_addresses() {
        assert_eq!(host_of("ssh://git@Host/a").unwrap(), ("host".to_owned(), 22));
        assert_eq!(host_of("ssh://git@[::1]:2222/a").unwrap(), ("::1".to_owned(), 2222));
        assert!(host_of("ssh:///a").is_err());
    }
}
