//! Tokens of service accounts: for clusters that believe them, and for clouds that exchange them.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use nave_net::{
    SecretText,
    cloud::{AccountAnswer, AccountToken, Accounts},
};

/// Flux's tokens for other clusters live as long.
const TOKEN_SECONDS: i64 = 3_600;

/// The service accounts of one cluster.
#[derive(Clone)]
pub struct ClusterAccounts {
    client: Client,
}

impl ClusterAccounts {
    /// Those that `client` may read, and whose tokens it may request.
    pub fn new(client: Client) -> Self {
        ClusterAccounts { client }
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<BTreeMap<String, String>, String> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(name).await.map_err(|error| error.to_string())?;
        let account = found.ok_or_else(|| "it was not found".to_owned())?;
        Ok(account.metadata.annotations.unwrap_or_default())
    }

    async fn request(&self, namespace: &str, name: &str, audiences: &[String]) -> Result<AccountToken, String> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(audiences.to_vec()),
                expiration_seconds: Some(TOKEN_SECONDS),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer = api
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .map_err(|error| format!("requesting a token: {error}"))?;
        let status = answer.status.unwrap_or_default();
        match (status.token, status.expiration_timestamp) {
            (Some(value), Some(expires)) => Ok(AccountToken {
                value: SecretText::new(value),
                expires: expires.0,
            }),
            _ => Err("the answer to a token request has no token".to_owned()),
        }
    }

    /// Namespace and name of the account that this process itself is.
    ///
    /// # Errors
    /// The API server does not say, or the process is no service account.
    pub async fn own(&self) -> Result<(String, String), String> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = api
            .create(&PostParams::default(), &SelfSubjectReview::default())
            .await
            .map_err(|error| format!("asking who this process is: {error}"))?;
        let user = review
            .status
            .and_then(|status| status.user_info)
            .and_then(|user| user.username);
        let user = user.unwrap_or_default();
        match user.split(':').collect::<Vec<_>>()[..] {
            ["system", "serviceaccount", namespace, name] => Ok((namespace.to_owned(), name.to_owned())),
            _ => Err(format!("this process is '{user}' and no service account")),
        }
    }
}

impl Accounts for ClusterAccounts {
    fn annotations<'a>(&'a self, namespace: &'a str, name: &'a str) -> AccountAnswer<'a, BTreeMap<String, String>> {
        Box::pin(self.read(namespace, name))
    }

    fn token<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        audiences: &'a [String],
    ) -> AccountAnswer<'a, AccountToken> {
        Box::pin(self.request(namespace, name, audiences))
    }
}
