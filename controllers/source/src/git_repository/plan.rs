//! What a spec asks for, and whether this version can do it. Pure.

use std::time::Duration;

use nave_crds::{
    conditions::{FETCH_FAILED, SOURCE_VERIFIED},
    reasons::source as reasons,
    source::{GitProvider, GitRepositorySpec, GitVerificationMode},
};
use nave_git::{Auth, GitHubApp, Remote, RemoteError, Selection, SshAuth, TrustedKeys, Wanted};
use nave_net::{BasicAuth, ProxyOptions, SecretData, SecretText, TlsOptions, bearer_token, cloud::Provider};

use crate::{
    common::{NamedSecret, refused},
    failure::{Failure, Retry, chain},
};

/// What to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub wanted: Wanted,
    pub selection: Selection,
    pub recurse: bool,
    pub verify: Option<Verify>,
    pub timeout: Duration,
}

/// What has to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verify {
    pub commit: bool,
    pub tag: bool,
    /// As `status.sourceVerificationMode` tells it.
    pub mode: &'static str,
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// What Flux looks for when nothing is asked for, whatever the remote's own default branch is.
const DEFAULT_BRANCH: &str = "master";

/// Reads a spec.
///
/// Whatever this version does not do yet stalls the object with the field's name: a source that silently left something
/// out would be worse than none.
pub(crate) fn plan(spec: &GitRepositorySpec) -> Result<Plan, Failure> {
    let stalled = |reason, message: String| Err(Failure::new(Retry::Stalled, FETCH_FAILED, reason, message));
    match spec.provider.unwrap_or_default() {
        GitProvider::Generic => {}
        GitProvider::Github if spec.secret_ref.is_none() => {
            return stalled(
                reasons::INVALID_PROVIDER_CONFIGURATION,
                "spec.secretRef: provider 'github' needs a secret with the keys of a GitHub App".to_owned(),
            );
        }
        GitProvider::Github if !spec.url.starts_with("https://") && !spec.url.starts_with("http://") => {
            return stalled(
                reasons::INVALID_PROVIDER_CONFIGURATION,
                "spec.url: provider 'github' works with https only".to_owned(),
            );
        }
        GitProvider::Github => {}
        GitProvider::Aws | GitProvider::Azure => {
            if !spec.url.starts_with("https://") && !spec.url.starts_with("http://") {
                let name = provider_name(spec);
                return stalled(
                    reasons::INVALID_PROVIDER_CONFIGURATION,
                    format!("spec.url: provider '{name}' works with https only"),
                );
            }
        }
    }
    // The definition's rule says the same; an object may be older than it is.
    if !spec.service_account_name.is_empty() && cloud(spec).is_none() {
        return stalled(
            reasons::INVALID_PROVIDER_CONFIGURATION,
            "spec.serviceAccountName: it can be set with provider 'azure' or 'aws' only".to_owned(),
        );
    }
    let wanted = wanted(spec);
    let selection = Selection::new(&spec.sparse_checkout, spec.ignore.clone()).map_err(|error| {
        let message = format!("spec.{error}");
        Failure::new(Retry::Stalled, FETCH_FAILED, reasons::GIT_OPERATION_FAILED, message)
    })?;
    let timeout = spec.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.get());
    Ok(Plan {
        verify: verify(spec, &wanted)?,
        wanted,
        selection,
        recurse: spec.recurse_submodules,
        timeout,
    })
}

fn verify(spec: &GitRepositorySpec, wanted: &Wanted) -> Result<Option<Verify>, Failure> {
    let Some(verification) = &spec.verification else {
        return Ok(None);
    };
    let (commit, tag, mode) = match verification.mode.unwrap_or_default() {
        GitVerificationMode::LowerHead | GitVerificationMode::Head => (true, false, "HEAD"),
        GitVerificationMode::Tag => (false, true, "Tag"),
        GitVerificationMode::TagAndHead => (true, true, "TagAndHEAD"),
    };
    let is_tag = match wanted {
        Wanted::Tag(_) | Wanted::Semver(_) => true,
        Wanted::Name(name) => name.starts_with("refs/tags/"),
        Wanted::Branch(_) | Wanted::Commit { .. } => false,
    };
    if tag && !is_tag {
        return Err(Failure::new(
            Retry::Stalled,
            SOURCE_VERIFIED,
            reasons::INVALID_VERIFICATION_MODE,
            format!(
                "spec.verify.mode: '{mode}' needs a tag, but spec.ref names none; set ref.tag, ref.semver or ref.name"
            ),
        ));
    }
    Ok(Some(Verify { commit, tag, mode }))
}

/// Commit before name before tag before semver before branch, as Flux's code has it (its documentation differs).
fn wanted(spec: &GitRepositorySpec) -> Wanted {
    let reference = spec.reference.clone().unwrap_or_default();
    let given = |text: &String| !text.is_empty();
    if given(&reference.commit) {
        Wanted::Commit {
            id: reference.commit,
            branch: Some(reference.branch).filter(given),
        }
    } else if given(&reference.name) {
        Wanted::Name(reference.name)
    } else if given(&reference.tag) {
        Wanted::Tag(reference.tag)
    } else if given(&reference.semver) {
        Wanted::Semver(reference.semver)
    } else if given(&reference.branch) {
        Wanted::Branch(reference.branch)
    } else {
        Wanted::Branch(DEFAULT_BRANCH.to_owned())
    }
}

/// The cloud whose identity is shown.
fn cloud(spec: &GitRepositorySpec) -> Option<Provider> {
    match spec.provider.unwrap_or_default() {
        GitProvider::Aws => Some(Provider::Aws),
        GitProvider::Azure => Some(Provider::Azure),
        GitProvider::Generic | GitProvider::Github => None,
    }
}

fn provider_name(spec: &GitRepositorySpec) -> &'static str {
    cloud(spec).map_or("generic", Provider::as_str)
}

/// How to reach the repository.
pub(crate) enum Access {
    Remote(Remote),
    /// A token is to be asked for first.
    GitHubApp {
        app: GitHubApp,
        tls: TlsOptions,
        proxy: Option<ProxyOptions>,
    },
    /// A cloud is to be asked first. Of the Secret only the certificates count, as in Flux.
    Cloud {
        provider: Provider,
        tls: TlsOptions,
        proxy: Option<ProxyOptions>,
    },
}

/// How to reach the repository, from the spec and the Secrets that it names.
pub(crate) fn access(
    spec: &GitRepositorySpec,
    secret: Option<&NamedSecret>,
    proxy: Option<&NamedSecret>,
) -> Result<Access, Failure> {
    let proxy = match proxy {
        None => None,
        Some(NamedSecret { name, data }) => Some(
            ProxyOptions::from_secret(data)
                .map_err(|error| refused(format!("proxy secret '{name}': {}", chain(&error))))?,
        ),
    };
    let misplaced = |message: String| {
        Failure::new(
            Retry::Backoff,
            FETCH_FAILED,
            reasons::INVALID_PROVIDER_CONFIGURATION,
            message,
        )
    };
    let is_github = spec.provider == Some(GitProvider::Github);
    let mut auth = Auth::None;
    let mut tls = TlsOptions::default();
    if let Some(NamedSecret { name, data }) = secret {
        let wrong = |error: &(dyn std::error::Error + 'static)| refused(format!("secret '{name}': {}", chain(error)));
        let tls_of = |data| -> Result<TlsOptions, Failure> {
            let tls = TlsOptions::from_secret(data).map_err(|error| wrong(&error))?;
            // Found now, so that the message names the Secret.
            tls.client_config().map_err(|error| wrong(&error))?;
            Ok(tls)
        };
        if is_github {
            if !GitHubApp::is_in(data) {
                return Err(misplaced(format!(
                    "secret '{name}' holds no keys of a GitHub App, which provider 'github' needs"
                )));
            }
            let app = GitHubApp::from_secret(data)
                .map_err(|error| misplaced(format!("secret '{name}': {}", chain(&error))))?;
            return Ok(Access::GitHubApp {
                app,
                tls: tls_of(data)?,
                proxy,
            });
        }
        if data.contains_key("githubAppID") {
            return Err(Failure::new(
                Retry::Stalled,
                FETCH_FAILED,
                reasons::INVALID_PROVIDER_CONFIGURATION,
                format!("secret '{name}' holds GitHub App credentials, but spec.provider is not 'github'"),
            ));
        }
        if spec.url.starts_with("ssh://") {
            auth = Auth::Ssh(ssh_auth(data).map_err(|message| refused(format!("secret '{name}': {message}")))?);
        } else {
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
            tls = tls_of(data)?;
        }
    }
    match cloud(spec) {
        Some(provider) => Ok(Access::Cloud { provider, tls, proxy }),
        None => remote(spec, auth, tls, proxy).map(Access::Remote),
    }
}

/// The repository with what opens it.
pub(crate) fn remote(
    spec: &GitRepositorySpec,
    auth: Auth,
    tls: TlsOptions,
    proxy: Option<ProxyOptions>,
) -> Result<Remote, Failure> {
    let stalled = |reason, message| Failure::new(Retry::Stalled, FETCH_FAILED, reason, message);
    Remote::new(&spec.url, auth, tls, proxy).map_err(|error| match error {
        RemoteError::TwoIdentities => refused(format!("spec.url and the secret: {error}")),
        RemoteError::Token | RemoteError::Key(_) => refused(format!("spec.secretRef: {error}")),
        RemoteError::SshProxy => stalled(
            reasons::INVALID_PROVIDER_CONFIGURATION,
            format!("spec.proxySecretRef: {error}"),
        ),
        RemoteError::Url { .. } | RemoteError::Scheme { .. } | RemoteError::ScpLike { .. } => {
            stalled(reasons::URL_INVALID, format!("spec.url: {}", chain(&error)))
        }
    })
}

fn ssh_auth(data: &SecretData) -> Result<SshAuth, String> {
    let get = |key: &str| {
        data.get(key)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| format!("key \"{key}\" is missing, ssh needs \"identity\" and \"known_hosts\""))
    };
    let (identity, known_hosts) = (get("identity")?, get("known_hosts")?);
    let passphrase = match data.get("password") {
        None => None,
        Some(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| "key \"password\" is not valid UTF-8".to_owned())?;
            // Files that are put into a Secret end with a line break, passphrases do not.
            Some(SecretText::new(text.trim_end_matches(['\r', '\n'])))
        }
    };
    SshAuth::new(identity, passphrase.as_ref(), known_hosts).map_err(|error| chain(&error))
}

/// Keys that a Secret in `spec.verify.secretRef` trusts.
pub(crate) fn trusted(secret: &NamedSecret) -> Result<TrustedKeys, Failure> {
    TrustedKeys::from_secret(&secret.data).map_err(|error| {
        Failure::new(
            Retry::Backoff,
            SOURCE_VERIFIED,
            reasons::VERIFICATION_ERROR,
            format!("spec.verify.secretRef: secret '{}': {error}", secret.name),
        )
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
        assert_eq!(of(&reference), commit);
        reference.commit.clear();
        assert_eq!(of(&reference), Wanted::Name("refs/heads/n".into()));
        reference.name.clear();
        assert_eq!(of(&reference), Wanted::Tag("t".into()));
        reference.tag.clear();
        assert_eq!(of(&reference), Wanted::Semver(">=1".into()));
        reference.semver.clear();
        assert_eq!(of(&reference), Wanted::Branch("b".into()));
        reference.branch.clear();
        assert_eq!(of(&reference), Wanted::Branch("master".into()));
    }

    #[track_caller]
    fn check_stalled(fields: serde_json::Value, reason: &str, field: &str) {
        let failure = plan(&spec(fields)).unwrap_err();
        assert_eq!((failure.retry, failure.reason), (Retry::Stalled, reason));
        assert!(failure.message.starts_with(field), "{}", failure.message);
    }

    #[test]
    fn what_is_not_supported_stalls_and_is_named() {
        check_stalled(
            json!({"provider": "github"}),
            "InvalidProviderConfiguration",
            "spec.secretRef: provider 'github' needs a secret",
        );
        check_stalled(
            json!({"provider": "github", "url": "ssh://git@host/a", "secretRef": {"name": "s"}}),
            "InvalidProviderConfiguration",
            "spec.url",
        );
        check_stalled(
            json!({"provider": "azure", "url": "ssh://git@host/a"}),
            "InvalidProviderConfiguration",
            "spec.url: provider 'azure'",
        );
        check_stalled(
            json!({"verify": {"mode": "Tag", "secretRef": {"name": "k"}}, "ref": {"branch": "main"}}),
            "InvalidVerificationMode",
            "spec.verify.mode: 'Tag' needs a tag",
        );
        check_stalled(
            json!({"serviceAccountName": "x"}),
            "InvalidProviderConfiguration",
            "spec.serviceAccountName",
        );
        check_stalled(
            json!({"sparseCheckout": ["a", "../b"]}),
            "GitOperationFailed",
            "spec.sparseCheckout[1] '../b'",
        );
    }

    #[test]
    fn what_has_to_be_signed() {
        let of = |fields| plan(&spec(fields)).unwrap().verify;
        let found = |commit, tag, mode| Some(Verify { commit, tag, mode });
        let key = json!({"name": "k"});
        assert_eq!(of(json!({})), None);
        assert_eq!(of(json!({"verify": {"secretRef": key}})), found(true, false, "HEAD"));
        assert_eq!(
            of(json!({"verify": {"mode": "head", "secretRef": key}})),
            found(true, false, "HEAD")
        );
        let reference = json!({"semver": "*"});
        let verify = json!({"mode": "Tag", "secretRef": key});
        assert_eq!(
            of(json!({"verify": verify, "ref": reference})),
            found(false, true, "Tag")
        );
        let reference = json!({"name": "refs/tags/v1"});
        let verify = json!({"mode": "TagAndHEAD", "secretRef": key});
        assert_eq!(
            of(json!({"verify": verify, "ref": reference})),
            found(true, true, "TagAndHEAD")
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
        let found = access(&spec(json!({"url": url})), Some(&secret), None).map(|access| match access {
            Access::Remote(remote) => remote,
            Access::GitHubApp { .. } | Access::Cloud { .. } => panic!("nobody has to be asked first"),
        });
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
        let token = SecretText::new("hunter2");
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
        check_remote("ssh://h/a", &[], failed("key \"identity\" is missing"));
        check_remote(
            "ssh://h/a",
            &[("identity", "x")],
            failed("key \"known_hosts\" is missing"),
        );
        check_remote(
            "ssh://h/a",
            &[("identity", "hunter2"), ("known_hosts", "x")],
            failed("secret 'ns/s': identity is not a private key"),
        );
        check_remote(
            "git@h:a.git",
            &[],
            Err((Retry::Stalled, "URLInvalid", "write it as \"ssh://***@h/a.git\"")),
        );
        check_remote(
            "https://me:hunter2@h:port/",
            &[],
            Err((Retry::Stalled, "URLInvalid", "spec.url: URL")),
        );
    }

    #[test]
    fn with_a_cloud_only_the_certificates_of_the_secret_count() {
        for (name, expected) in [("azure", Provider::Azure), ("aws", Provider::Aws)] {
            let spec = spec(json!({"provider": name, "serviceAccountName": "x", "secretRef": {"name": "s"}}));
            plan(&spec).unwrap();
            let secret = secret("ns/s", &[("username", "me"), ("password", "hunter2")]);
            let found = access(&spec, Some(&secret), None);
            assert!(
                matches!(found, Ok(Access::Cloud { provider, .. }) if provider == expected),
                "{name}"
            );
        }
    }

    #[test]
    fn a_broken_proxy_secret_is_named() {
        let proxy = secret("ns/p", &[("address", "ftp://p")]);
        let Err(failure) = access(&spec(json!({})), None, Some(&proxy)) else {
            panic!("it is broken");
        };
        assert!(
            failure
                .message
                .starts_with("proxy secret 'ns/p': key \"address\" has scheme"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn apps_of_github_need_their_keys() {
        let github = spec(json!({"provider": "github", "secretRef": {"name": "s"}}));
        let said = |keys: &[(&str, &str)]| {
            let secret = secret("ns/s", keys);
            let Err(failure) = access(&github, Some(&secret), None) else {
                panic!("{keys:?} are not enough");
            };
            assert_eq!(failure.reason, "InvalidProviderConfiguration");
            failure.message
        };
        assert!(said(&[("username", "x")]).starts_with("secret 'ns/s' holds no keys of a GitHub App"));
        assert_eq!(
            said(&[("githubAppID", "1")]),
            "secret 'ns/s': key \"githubAppInstallationID\" or \"githubAppInstallationOwner\" is missing"
        );
        let both = [
            ("githubAppID", "1"),
            ("githubAppInstallationID", "2"),
            ("githubAppInstallationOwner", "o"),
        ];
        assert!(said(&both).contains("are both set"));
        assert!(said(&both[..2]).contains("key \"githubAppPrivateKey\" is missing"));
        let broken = [both[0], both[1], ("githubAppPrivateKey", "hunter2")];
        assert_eq!(
            said(&broken),
            "secret 'ns/s': key \"githubAppPrivateKey\" is not an RSA private key in PEM"
        );
    }
}
