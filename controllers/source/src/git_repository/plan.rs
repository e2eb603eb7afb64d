//! What a spec asks for, and whether this version can do it. Pure.

use std::time::Duration;

use nave_crds::{
    conditions::FETCH_FAILED,
    reasons::source as reasons,
    source::{GitProvider, GitRepositorySpec},
};
use nave_git::{Auth, Remote, RemoteError, Selection, Wanted};
use nave_net::{BasicAuth, ProxyOptions, TlsOptions, bearer_token};

use crate::{
    common::NamedSecret,
    failure::{Failure, Retry, chain},
};

/// What to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub wanted: Wanted,
    pub selection: Selection,
    pub timeout: Duration,
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// What Flux looks for when nothing is asked for, whatever the remote's own default branch is.
const DEFAULT_BRANCH: &str = "master";

/// Reads a spec.
///
/// Whatever this version does not do yet stalls the object with the field's name: a source that silently left out a
/// signature check or a submodule would be worse than none.
pub(crate) fn plan(spec: &GitRepositorySpec) -> Result<Plan, Failure> {
    let stalled = |reason, message: String| Err(Failure::new(Retry::Stalled, FETCH_FAILED, reason, message));
    if spec.url.starts_with("ssh://") {
        return stalled(
            reasons::URL_INVALID,
            "spec.url: ssh is not supported by this version, use http or https".to_owned(),
        );
    }
    match spec.provider.unwrap_or_default() {
        GitProvider::Generic => {}
        provider => {
            let name = match provider {
                GitProvider::Aws => "aws",
                GitProvider::Azure => "azure",
                _ => "github",
            };
            return stalled(
                reasons::INVALID_PROVIDER_CONFIGURATION,
                format!("spec.provider: '{name}' is not supported by this version, use 'generic' with a secret"),
            );
        }
    }
    if !spec.service_account_name.is_empty() {
        return stalled(
            reasons::INVALID_PROVIDER_CONFIGURATION,
            "spec.serviceAccountName: cloud identities are not supported by this version".to_owned(),
        );
    }
    if spec.verification.is_some() {
        return stalled(
            reasons::VERIFICATION_ERROR,
            "spec.verify: verifying signatures is not supported by this version, and nothing is fetched unverified"
                .to_owned(),
        );
    }
    if spec.recurse_submodules {
        return stalled(
            reasons::GIT_OPERATION_FAILED,
            "spec.recurseSubmodules: submodules are not supported by this version".to_owned(),
        );
    }
    let wanted = wanted(spec)?;
    let selection = Selection::new(&spec.sparse_checkout, spec.ignore.clone()).map_err(|error| {
        let message = format!("spec.{error}");
        Failure::new(Retry::Stalled, FETCH_FAILED, reasons::GIT_OPERATION_FAILED, message)
    })?;
    let timeout = spec.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.get());
    Ok(Plan {
        wanted,
        selection,
        timeout,
    })
}

/// Commit before name before tag before semver before branch, as Flux's code has it (its documentation differs).
fn wanted(spec: &GitRepositorySpec) -> Result<Wanted, Failure> {
    let reference = spec.reference.clone().unwrap_or_default();
    let given = |text: &String| !text.is_empty();
    Ok(if given(&reference.commit) {
        Wanted::Commit {
            id: reference.commit,
            branch: Some(reference.branch).filter(given),
        }
    } else if given(&reference.name) {
        Wanted::Name(reference.name)
    } else if given(&reference.tag) {
        Wanted::Tag(reference.tag)
    } else if given(&reference.semver) {
        let message = "spec.ref.semver: version ranges are not supported by this version, use tag or branch";
        return Err(Failure::new(
            Retry::Stalled,
            FETCH_FAILED,
            reasons::GIT_OPERATION_FAILED,
            message,
        ));
    } else if given(&reference.branch) {
        Wanted::Branch(reference.branch)
    } else {
        Wanted::Branch(DEFAULT_BRANCH.to_owned())
    })
}

/// How to reach the repository, from the spec and the Secrets that it names.
pub(crate) fn remote(
    spec: &GitRepositorySpec,
    secret: Option<&NamedSecret>,
    proxy: Option<&NamedSecret>,
) -> Result<Remote, Failure> {
    let refused = |message: String| Failure::new(Retry::Backoff, FETCH_FAILED, reasons::AUTHENTICATION_FAILED, message);
    let mut auth = Auth::None;
    let mut tls = TlsOptions::default();
    if let Some(NamedSecret { name, data }) = secret {
        if data.contains_key("githubAppID") {
            return Err(Failure::new(
                Retry::Stalled,
                FETCH_FAILED,
                reasons::INVALID_PROVIDER_CONFIGURATION,
                format!("secret '{name}' holds GitHub App credentials, but spec.provider is not 'github'"),
            ));
        }
        let wrong = |error: &(dyn std::error::Error + 'static)| refused(format!("secret '{name}': {}", chain(error)));
        let bearer = bearer_token(data).map_err(|error| wrong(&error))?;
        let basic = BasicAuth::from_secret(data).map_err(|error| wrong(&error))?;
        auth = match (bearer, basic) {
            (Some(_), Some(_)) => {
                return Err(refused(format!(
                    "secret '{name}' holds both a bearer token and a user name, only one of them can be sent"
                )));
            }
            (Some(token), None) => Auth::Bearer(token),
            (None, Some(basic)) => Auth::Basic(basic),
            (None, None) => Auth::None,
        };
        tls = TlsOptions::from_secret(data).map_err(|error| wrong(&error))?;
        // Found now, so that the message names the Secret.
        tls.client_config().map_err(|error| wrong(&error))?;
    }
    let proxy = match proxy {
        None => None,
        Some(NamedSecret { name, data }) => Some(
            ProxyOptions::from_secret(data)
                .map_err(|error| refused(format!("proxy secret '{name}': {}", chain(&error))))?,
        ),
    };
    Remote::new(&spec.url, auth, tls, proxy).map_err(|error| match error {
        RemoteError::TwoIdentities => refused(format!("spec.url and the secret: {error}")),
        RemoteError::Token => refused(format!("spec.secretRef: {error}")),
        RemoteError::Url { .. } | RemoteError::Scheme { .. } => Failure::new(
            Retry::Stalled,
            FETCH_FAILED,
            reasons::URL_INVALID,
            format!("spec.url: {}", chain(&error)),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_crds::source::GitRepositoryRef;
    use serde_json::json;

    fn spec(fields: serde_json::Value) -> GitRepositorySpec {
        let mut whole = json!({"url": "https://git.example.com/a.git", "interval": "1m"});
        for (name, value) in fields.as_object().unwrap() {
            whole[name] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn precedence_of_references() {
        let mut reference = GitRepositoryRef {
            commit: "c".into(),
            name: "refs/heads/n".into(),
            tag: "t".into(),
            semver: ">=1".into(),
            branch: "b".into(),
        };
        let of = |reference: &GitRepositoryRef| {
            let mut spec = spec(json!({}));
            spec.reference = Some(reference.clone());
            wanted(&spec)
        };
        let commit = Wanted::Commit {
            id: "c".into(),
            branch: Some("b".into()),
        };
        assert_eq!(of(&reference), Ok(commit));
        reference.commit.clear();
        assert_eq!(of(&reference), Ok(Wanted::Name("refs/heads/n".into())));
        reference.name.clear();
        assert_eq!(of(&reference), Ok(Wanted::Tag("t".into())));
        reference.tag.clear();
        assert!(of(&reference).is_err());
        reference.semver.clear();
        assert_eq!(of(&reference), Ok(Wanted::Branch("b".into())));
        reference.branch.clear();
        assert_eq!(of(&reference), Ok(Wanted::Branch("master".into())));
    }

    #[track_caller]
    fn check_stalled(fields: serde_json::Value, reason: &str, field: &str) {
        let failure = plan(&spec(fields)).unwrap_err();
        assert_eq!((failure.retry, failure.reason), (Retry::Stalled, reason));
        assert!(failure.message.starts_with(field), "{}", failure.message);
    }

    #[test]
    fn what_is_not_supported_stalls_and_is_named() {
        check_stalled(json!({"url": "ssh://git@host/a"}), "URLInvalid", "spec.url");
        check_stalled(
            json!({"provider": "github"}),
            "InvalidProviderConfiguration",
            "spec.provider: 'github'",
        );
        check_stalled(
            json!({"serviceAccountName": "x"}),
            "InvalidProviderConfiguration",
            "spec.serviceAccountName",
        );
        check_stalled(
            json!({"verify": {"secretRef": {"name": "k"}}}),
            "VerificationError",
            "spec.verify",
        );
        check_stalled(
            json!({"recurseSubmodules": true}),
            "GitOperationFailed",
            "spec.recurseSubmodules",
        );
        check_stalled(
            json!({"ref": {"semver": "1.x"}}),
            "GitOperationFailed",
            "spec.ref.semver",
        );
        check_stalled(
            json!({"sparseCheckout": ["a", "../b"]}),
            "GitOperationFailed",
            "spec.sparseCheckout[1] '../b'",
        );
    }

    #[test]
    fn timeout_and_selection() {
        let found = plan(&spec(json!({"sparseCheckout": ["./a"], "ignore": "*.md"}))).unwrap();
        assert_eq!(found.timeout, Duration::from_secs(60));
        assert_eq!(
            found.selection,
            Selection::new(&["a".into()], Some("*.md".into())).unwrap()
        );
        let found = plan(&spec(json!({"timeout": "5s"}))).unwrap();
        assert_eq!(found.timeout, Duration::from_secs(5));
    }

    fn secret(name: &str, keys: &[(&str, &str)]) -> NamedSecret {
        let data = keys
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
        NamedSecret {
            name: name.to_owned(),
            data: data.collect(),
        }
    }

    #[track_caller]
    fn check_remote(url: &str, keys: &[(&str, &str)], expected: Result<Auth, (Retry, &str, &str)>) {
        let secret = secret("ns/s", keys);
        let found = remote(&spec(json!({"url": url})), Some(&secret), None);
        match (found, expected) {
            (Ok(found), Ok(auth)) => {
                let again = Remote::new("https://h/a", auth, TlsOptions::default(), None).unwrap();
                assert_eq!(found, again);
            }
            (Err(failure), Err((retry, reason, message))) => {
                assert_eq!((failure.retry, failure.reason), (retry, reason));
                assert!(failure.message.contains(message), "{}", failure.message);
                assert!(!failure.message.contains("hunter2"), "{}", failure.message);
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn credentials_of_secrets() {
        let token = nave_net::SecretText::new("hunter2");
        let basic = Auth::Basic(BasicAuth {
            username: "me".into(),
            password: token.clone(),
        });
        let url = "https://h/a";
        check_remote(url, &[], Ok(Auth::None));
        check_remote(url, &[("identity", "x")], Ok(Auth::None));
        check_remote(url, &[("username", "me"), ("password", "hunter2")], Ok(basic.clone()));
        check_remote("https://me:hunter2@h/a", &[], Ok(basic));
        check_remote(url, &[("bearerToken", "hunter2")], Ok(Auth::Bearer(token)));
        let failed = |message| Err((Retry::Backoff, "AuthenticationFailed", message));
        check_remote(
            url,
            &[("password", "hunter2")],
            failed("secret 'ns/s': key \"username\" is missing"),
        );
        check_remote(
            url,
            &[("bearerToken", "hunter2"), ("username", "me"), ("password", "hunter2")],
            failed("both"),
        );
        check_remote(
            "https://me:hunter2@h/a",
            &[("bearerToken", "t")],
            failed("spec.url and the secret"),
        );
        check_remote(
            url,
            &[("ca.crt", "x")],
            failed("secret 'ns/s': ca.crt holds no PEM certificate"),
        );
        check_remote(url, &[("tls.crt", "x")], failed("key \"tls.key\" is missing"));
        check_remote(
            url,
            &[("githubAppID", "1")],
            Err((Retry::Stalled, "InvalidProviderConfiguration", "GitHub App")),
        );
        check_remote(
            "https://me:hunter2@h:port/",
            &[],
            Err((Retry::Stalled, "URLInvalid", "spec.url: URL")),
        );
    }

    #[test]
    fn a_broken_proxy_secret_is_named() {
        let proxy = secret("ns/p", &[("address", "ftp://p")]);
        let failure = remote(&spec(json!({})), None, Some(&proxy)).unwrap_err();
        assert!(
            failure
                .message
                .starts_with("proxy secret 'ns/p': key \"address\" has scheme"),
            "{}",
            failure.message
        );
    }
}
