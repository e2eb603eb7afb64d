//! What git servers of the clouds take: a token of Azure DevOps, a signature for AWS CodeCommit.

use jiff::Timestamp;
use url::Url;

use crate::{
    BasicAuth, SecretText,
    cloud::{Cloud, CloudError, Identity, Provider, sigv4},
};

/// What is shown to a git server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitLogin {
    /// User name and password.
    Basic(BasicAuth),
    /// A token in an `Authorization: Bearer` header.
    Bearer(SecretText),
}

impl Cloud {
    /// What opens a repository of the cloud. AWS's is good for some minutes and for this repository only.
    ///
    /// # Errors
    /// The address is not one of that cloud's git servers, there is no identity, or the cloud refuses.
    pub async fn git_login(
        &self,
        provider: Provider,
        identity: &Identity,
        repository: &Url,
    ) -> Result<GitLogin, CloudError> {
        match provider {
            Provider::Azure => Ok(GitLogin::Bearer(self.azure_devops_token(identity).await?.value)),
            Provider::Aws => {
                let (host, region) = codecommit(repository)?;
                let credentials = self.aws_credentials(identity, Some(region)).await?;
                let password = sigv4::git_password(host, repository.path(), region, &credentials, Timestamp::now());
                let username = match &credentials.session_token {
                    Some(token) => format!("{}%{}", credentials.id, token.expose()),
                    None => credentials.id.clone(),
                };
                Ok(GitLogin::Basic(BasicAuth { username, password }))
            }
            Provider::Gcp => Err(CloudError::NotOurs(
                "provider 'gcp' has no git repositories, use 'generic' with a secret".to_owned(),
            )),
        }
    }
}

/// Host and region of a repository of CodeCommit, by the rules of Flux (fluxcd/pkg, auth/aws, 0.54).
fn codecommit(repository: &Url) -> Result<(&str, &str), CloudError> {
    let host = repository.host_str().unwrap_or_default();
    let wrong = |problem: &str| {
        CloudError::NotOurs(format!(
            "'{}://{host}' is no address of AWS CodeCommit: {problem}",
            repository.scheme()
        ))
    };
    if repository.scheme() != "https" {
        return Err(wrong("it must begin with https://"));
    }
    let rest = ["git-codecommit.", "git-codecommit-fips."]
        .iter()
        .find_map(|prefix| host.strip_prefix(prefix));
    let region = rest.and_then(|rest| {
        [".amazonaws.com", ".amazonaws.com.cn"]
            .iter()
            .find_map(|suffix| rest.strip_suffix(suffix))
    });
    match region.and_then(|region| region.split('.').next()) {
        Some(region) if !region.is_empty() => Ok((host, region)),
        _ => Err(wrong("the host must be git-codecommit.<region>.amazonaws.com")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: Result<&str, &str>) {
        let url = Url::parse(address).unwrap();
        match (codecommit(&url), expected) {
            (Ok((_, region)), Ok(expected)) => assert_eq!(region, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("{found:?} where {expected:?} was expected"),
        }
    }

    #[test]
    fn regions_of_codecommit() {
        check(
            "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/app",
            Ok("eu-west-1"),
        );
        check(
            "https://git-codecommit-fips.us-east-2.amazonaws.com/v1/repos/app",
            Ok("us-east-2"),
        );
        check(
            "https://git-codecommit.cn-north-1.amazonaws.com.cn/v1/repos/app",
            Ok("cn-north-1"),
        );
        for (address, part) in [
            ("http://git-codecommit.eu-west-1.amazonaws.com/v1/repos/app", "https://"),
            ("https://git-codecommit.amazonaws.com/v1/repos/app", "<region>"),
            ("https://git-codecommit.eu-west-1.example.com/v1/repos/app", "<region>"),
            ("https://github.com/a/b", "<region>"),
        ] {
            check(address, Err(part));
        }
    }

    fn aws(token: Option<&str>) -> Cloud {
        let variables = [
            ("AWS_ACCESS_KEY_ID", Some("AKIDEXAMPLE")),
            ("AWS_SECRET_ACCESS_KEY", Some("hunter2")),
            ("AWS_SESSION_TOKEN", token),
        ];
        let variables = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        Cloud::new(
            crate::cloud::Settings::from_variables(variables),
            None,
            crate::cloud::CacheLimits::default(),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn codecommit_takes_the_key_and_a_signature() {
        let url = Url::parse("https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/app").unwrap();
        for (token, user) in [(None, "AKIDEXAMPLE"), (Some("session"), "AKIDEXAMPLE%session")] {
            let login = aws(token).git_login(Provider::Aws, &Identity::Process, &url).await;
            let Ok(GitLogin::Basic(found)) = login else {
                panic!("{login:?}");
            };
            assert_eq!(found.username, user);
            // 20260102T030405Z and a signature of 64 digits.
            let password = found.password.expose();
            let (moment, signature) = password.split_at(16);
            assert!(moment.ends_with('Z') && moment.as_bytes()[8] == b'T', "{moment}");
            assert!(
                signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{} characters",
                signature.len()
            );
        }
    }

    #[tokio::test]
    async fn google_has_no_git_repositories() {
        let url = Url::parse("https://source.developers.google.com/p/x/r/app").unwrap();
        let error = aws(None)
            .git_login(Provider::Gcp, &Identity::Process, &url)
            .await
            .unwrap_err();
        assert!(matches!(error, CloudError::NotOurs(_)), "{error}");
    }
}
