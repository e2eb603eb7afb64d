//! `nave create source git`.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    confirm::confirm,
    connection::ConnectionArguments,
    failure::advised,
    kinds::GIT_REPOSITORY,
    say,
    verbs::create::{
        Common, create, go,
        secret::{self, git::Credentials, key::KeyArguments},
    },
};

pub const EXAMPLES: &str = "\
Without --secret-ref, credentials that are given, and a key for ssh, go into a Secret of the source's name.

Examples:
  nave create source git app --url https://git.example.com/app --branch main
  nave create source git app --url https://git.example.com/app --tag-semver '>=1.0.0' -u me -p \"$TOKEN\"
  nave create source git app --url ssh://git@git.example.com/app --branch main --ssh-key-algorithm ed25519
  nave create source git app --url https://git.example.com/app --branch main --export > app.yaml";

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Name of the source
    name: String,
    /// Address: https://…, http://… or ssh://…
    #[arg(long)]
    url: String,
    /// Branch to follow
    #[arg(long, default_value = "", hide_default_value = true)]
    branch: String,
    /// Tag
    #[arg(long, default_value = "", hide_default_value = true)]
    tag: String,
    /// Range of versions; the highest tag within it is followed
    #[arg(long, default_value = "", hide_default_value = true, value_name = "RANGE")]
    tag_semver: String,
    /// Full name of a reference, such as refs/pull/1/head
    #[arg(long, default_value = "", hide_default_value = true, value_name = "REFERENCE")]
    ref_name: String,
    /// Commit
    #[arg(long, default_value = "", hide_default_value = true, value_name = "HASH")]
    commit: String,
    /// User name
    #[arg(short, long)]
    username: Option<String>,
    /// Password, token or, with --private-key-file, passphrase
    #[arg(short, long)]
    password: Option<String>,
    #[command(flatten)]
    key: KeyArguments,
    /// Secret with credentials, which exists already
    #[arg(long, value_name = "SECRET")]
    secret_ref: Option<String>,
    /// Secret with the proxy to use
    #[arg(long, value_name = "SECRET")]
    proxy_secret_ref: Option<String>,
    /// Who authenticates
    #[arg(long, value_parser = ["generic", "github", "aws", "azure"])]
    provider: Option<String>,
    /// File with the certificate authority of the server
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Fetch submodules too
    #[arg(long)]
    recurse_submodules: bool,
    /// Do not ask whether the deploy key was added
    #[arg(short, long)]
    silent: bool,
    /// Patterns of files to leave out, several with commas
    #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
    ignore_paths: Vec<String>,
    /// Directories to take, several with commas; everything otherwise
    #[arg(long, value_delimiter = ',', value_name = "PATH")]
    sparse_checkout_paths: Vec<String>,
}

/// Prints or creates it, with its Secret where that is needed.
pub async fn run(
    arguments: Arguments,
    fetch_timeout: Option<Duration>,
    common: &Common,
    to: &ConnectionArguments,
) -> Result<()> {
    let mut spec = arguments.spec(fetch_timeout, common)?;
    let is_ssh = arguments.url.starts_with("ssh://");
    let given = arguments.username.is_some()
        || arguments.password.is_some()
        || arguments.ca_file.is_some()
        || arguments.key.private_key_file.is_some();
    if !common.export && arguments.secret_ref.is_none() && (is_ssh || given) {
        let credentials = Credentials {
            url: arguments.url.clone(),
            username: arguments.username.clone(),
            password: arguments.password.clone(),
            bearer_token: None,
            ca_file: arguments.ca_file.clone(),
            key: arguments.key.clone(),
        };
        let data = credentials.data(to.timeout).await?;
        if let Some(public) = data.get("identity.pub") {
            say::success(&format!("deploy key: {}", public.trim()));
            if arguments.key.private_key_file.is_none() && !arguments.silent {
                confirm("Have you added the deploy key to your repository", "--silent")?;
            }
        }
        secret::apply(&arguments.name, secret::OPAQUE, data, common, to).await?;
        spec["secretRef"] = json!({"name": arguments.name});
    }
    let Some(made) = create(&GIT_REPOSITORY, &arguments.name, spec, common, to).await? else {
        return Ok(());
    };
    super::say_fetched(&made);
    Ok(())
}

impl Arguments {
    fn spec(&self, fetch_timeout: Option<Duration>, common: &Common) -> Result<Value> {
        if let Err(error) =
            nave_git::Remote::new(&self.url, nave_git::Auth::None, nave_net::TlsOptions::default(), None)
            && !matches!(error, nave_git::RemoteError::Key(_))
        {
            return Err(advised(
                format!("--url: {error}"),
                "git repositories are at https://…, http://… or ssh://…",
            ));
        }
        ensure!(
            self.provider.as_deref() != Some("github") || self.secret_ref.is_some(),
            "--provider github needs --secret-ref; `nave create secret githubapp` makes such a secret"
        );
        let references = [
            ("branch", &self.branch),
            ("tag", &self.tag),
            ("semver", &self.tag_semver),
            ("name", &self.ref_name),
            ("commit", &self.commit),
        ];
        let reference: serde_json::Map<String, Value> = references
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(field, value)| (field.to_owned(), json!(value)))
            .collect();
        if reference.is_empty() {
            return Err(advised(
                "nothing says what to follow",
                "name one of --branch, --tag, --tag-semver, --ref-name and --commit",
            ));
        }
        let mut spec = json!({"url": self.url, "interval": go(common.interval), "ref": reference});
        if let Some(timeout) = fetch_timeout {
            spec["timeout"] = go(timeout);
        }
        for (field, secret) in [
            ("secretRef", &self.secret_ref),
            ("proxySecretRef", &self.proxy_secret_ref),
        ] {
            if let Some(secret) = secret {
                spec[field] = json!({"name": secret});
            }
        }
        if let Some(provider) = &self.provider {
            spec["provider"] = json!(provider);
        }
        if self.recurse_submodules {
            spec["recurseSubmodules"] = json!(true);
        }
        if !self.ignore_paths.is_empty() {
            spec["ignore"] = json!(self.ignore_paths.join("\n"));
        }
        if !self.sparse_checkout_paths.is_empty() {
            spec["sparseCheckout"] = json!(self.sparse_checkout_paths);
        }
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn spec(line: &str) -> Result<Value> {
        let words = ["x", "app"].into_iter().chain(line.split_whitespace());
        let common = Common {
            interval: Duration::from_secs(60),
            export: true,
            labels: Vec::new(),
        };
        Line::try_parse_from(words)?
            .arguments
            .spec(Some(Duration::from_secs(30)), &common)
    }

    #[test]
    fn flags_become_a_spec() {
        assert_eq!(
            spec("--url https://h/a --branch main --recurse-submodules --secret-ref s --ignore-paths *.md,/docs --sparse-checkout-paths a,b/c").unwrap(),
            json!({
                "url": "https://h/a", "interval": "1m0s", "timeout": "30s", "ref": {"branch": "main"},
                "secretRef": {"name": "s"}, "recurseSubmodules": true, "ignore": "*.md\n/docs",
                "sparseCheckout": ["a", "b/c"],
            })
        );
        assert_eq!(
            spec("--url ssh://git@h/a --tag-semver >=1.0 --branch main").unwrap()["ref"],
            json!({"branch": "main", "semver": ">=1.0"})
        );
    }

    #[test]
    fn what_cannot_work_is_refused_before_anything_is_written() {
        for (line, said) in [
            ("--url https://h/a", "nothing says what to follow"),
            ("--url ftp://h/a --branch m", "--url: URL scheme \"ftp\""),
            ("--url git@h:a.git --branch m", "write it as \"ssh://git@h/a.git\""),
            ("--url https://h/a --branch m --provider github", "needs --secret-ref"),
        ] {
            let error = spec(line).unwrap_err().to_string();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
