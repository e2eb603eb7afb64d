//! Service accounts of the cluster that act in a cloud. How they are read is the cluster's matter: this is the port.

use std::{collections::BTreeMap, fmt, future::Future, pin::Pin};

use crate::{
    SecretText,
    cloud::{Cloud, CloudError, CloudToken},
};

/// As whom a cloud is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// As this process: what its environment, its pod or its node gives.
    Process,
    /// As a service account of the cluster.
    Account {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// A token that the cluster issued for a service account.
#[derive(Debug, Clone)]
pub struct AccountToken {
    /// The token.
    pub value: SecretText,
    /// When it ends.
    pub expires: jiff::Timestamp,
}

/// What an [`Accounts`] answers; the error is for people.
pub type AccountAnswer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// The service accounts of a cluster.
pub trait Accounts: Send + Sync + 'static {
    /// The annotations of an account.
    fn annotations<'a>(&'a self, namespace: &'a str, name: &'a str) -> AccountAnswer<'a, BTreeMap<String, String>>;
    /// A new token of an account for these audiences.
    fn token<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        audiences: &'a [String],
    ) -> AccountAnswer<'a, AccountToken>;
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Process => f.write_str("process"),
            Identity::Account { namespace, name } => write!(f, "{namespace}/{name}"),
        }
    }
}

/// An account that is being used.
pub(crate) struct Account<'a> {
    accounts: &'a dyn Accounts,
    namespace: &'a str,
    name: &'a str,
    annotations: BTreeMap<String, String>,
}

impl Cloud {
    /// Reads the account; none for the process.
    pub(crate) async fn account<'a>(&'a self, identity: &'a Identity) -> Result<Option<Account<'a>>, CloudError> {
        let Identity::Account { namespace, name } = identity else {
            return if self.keeps_to_itself {
                Err(CloudError::OwnIdentity)
            } else {
                Ok(None)
            };
        };
        let accounts = self.inner.accounts.as_deref().ok_or(CloudError::NoAccounts)?;
        let annotations = accounts
            .annotations(namespace, name)
            .await
            .map_err(|detail| CloudError::Account {
                namespace: namespace.clone(),
                name: name.clone(),
                detail,
            })?;
        Ok(Some(Account {
            accounts,
            namespace,
            name,
            annotations,
        }))
    }
}

impl Cloud {
    /// A token of a service account of the cluster for an audience, for whoever believes the cluster itself.
    ///
    /// # Errors
    /// Accounts cannot be asked here, or the cluster gives no token.
    pub async fn account_token(&self, namespace: &str, name: &str, audience: &str) -> Result<CloudToken, CloudError> {
        let accounts = self.inner.accounts.as_deref().ok_or(CloudError::NoAccounts)?;
        let audiences = [audience.to_owned()];
        let fetch = async {
            let token = accounts.token(namespace, name, &audiences).await;
            let token = token.map_err(|detail| CloudError::Account {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                detail,
            })?;
            let until = token.expires;
            let value = token.value;
            Ok((CloudToken { value, expires: until }, until))
        };
        let kept = format!("account {namespace}/{name} for {audience}");
        self.inner.tokens.get(kept, self.usage.as_deref(), fetch).await
    }
}

impl Account<'_> {
    pub fn name(&self) -> &str {
        self.name
    }

    pub fn namespace(&self) -> &str {
        self.namespace
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations
            .get(key)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// An annotation that has to be there and to look like one.
    pub fn needed(&self, key: &'static str, is_right: impl Fn(&str) -> bool) -> Result<&str, CloudError> {
        match self.annotation(key) {
            Some(value) if is_right(value) => Ok(value),
            Some(value) => Err(self.wrong(format!("annotation {key} has no such value: '{value}'"))),
            None => Err(self.wrong(format!("annotation {key} is not set"))),
        }
    }

    pub fn wrong(&self, detail: String) -> CloudError {
        CloudError::Account {
            namespace: self.namespace.to_owned(),
            name: self.name.to_owned(),
            detail,
        }
    }

    pub async fn token(&self, audience: &str) -> Result<SecretText, CloudError> {
        let audiences = [audience.to_owned()];
        let token = self.accounts.token(self.namespace, self.name, &audiences).await;
        token.map(|token| token.value).map_err(|detail| self.wrong(detail))
    }
}
