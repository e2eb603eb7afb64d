//! Fetching an index and packages of charts.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nave_artifact::{Algorithm, Digest, Hasher};
use nave_net::{BasicAuth, Explained, TlsOptions, explain, http_client};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use url::Url;

use crate::{ChartRepoError, ChartVersion};

/// How to get into a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// User name and password.
    pub basic: Option<BasicAuth>,
    /// More roots, and a client certificate.
    pub tls: TlsOptions,
    /// Sends the credentials to other hosts too, when the index says that packages lie there.
    pub pass_credentials: bool,
}

/// The chart repositories of one process: connections are kept. Cheap to clone.
#[derive(Clone, Default)]
pub struct Repositories {
    clients: Arc<Mutex<HashMap<Digest, reqwest::Client>>>,
}

impl fmt::Debug for Repositories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repositories").finish_non_exhaustive()
    }
}

/// One repository, ready to be asked. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    client: reqwest::Client,
    url: Url,
    basic: Option<BasicAuth>,
    pass_credentials: bool,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.url.as_str()).finish()
    }
}

/// What was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// How many.
    pub size: u64,
}

const MAX_CLIENTS: usize = 64;

impl Repositories {
    /// A repository with the way in. Nothing is sent yet. Credentials in the URL are used when `access` has none.
    ///
    /// # Errors
    /// The URL is not one of http or https, or the TLS settings cannot be used.
    pub fn open(&self, url: &str, access: Access) -> Result<Remote, ChartRepoError> {
        let shown = || nave_net::redact(url).chars().take(512).collect::<String>();
        let mut parsed = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
            .ok_or_else(|| ChartRepoError::Url { url: shown() })?;
        let basic = access.basic.or_else(|| embedded(&parsed));
        // Neither fails for http and https.
        let _ = parsed.set_username("");
        let _ = parsed.set_password(None);
        Ok(Remote {
            client: self.client(&parsed, &access.tls)?,
            url: parsed,
            basic,
            pass_credentials: access.pass_credentials,
        })
    }

    fn client(&self, url: &Url, tls: &TlsOptions) -> Result<reqwest::Client, ChartRepoError> {
        let key = key(tls);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let failed = |source| ChartRepoError::Client {
            url: url.to_string(),
            source: Box::new(source),
        };
        let client = http_client(tls, None)
            .map_err(failed)?
            .build()
            .map_err(|source| failed(nave_net::ClientError::Build(source)))?;
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}

impl Remote {
    /// The repository's address, without credentials.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Writes `index.yaml` to `into` as it comes.
    ///
    /// # Errors
    /// The server's, it is larger than `limit`, `timeout` is over, or the writer's.
    pub async fn fetch_index(
        &self,
        into: &mut (impl AsyncWrite + Unpin),
        limit: u64,
        timeout: Duration,
    ) -> Result<Fetched, ChartRepoError> {
        let mut url = self.url.clone();
        let path = format!("{}/index.yaml", url.path().trim_end_matches('/'));
        url.set_path(&path);
        self.fetch(url, into, limit, timeout).await
    }

    /// Writes the package of a chart to `into` as it comes, and checks it against the digest of the index.
    ///
    /// # Errors
    /// As [`Remote::fetch_index`], the entry has no address, or the package is another one.
    pub async fn fetch_chart(
        &self,
        chart: &ChartVersion,
        into: &mut (impl AsyncWrite + Unpin),
        limit: u64,
        timeout: Duration,
    ) -> Result<Fetched, ChartRepoError> {
        let url = self.chart_url(chart)?;
        let shown = shown(&url);
        let fetched = self.fetch(url, into, limit, timeout).await?;
        let expected = chart.digest.strip_prefix("sha256:").unwrap_or(&chart.digest);
        let actual = fetched.digest.hex();
        if !expected.is_empty() && !expected.eq_ignore_ascii_case(&actual) {
            return Err(ChartRepoError::Digest {
                url: shown,
                expected: expected.chars().take(128).collect(),
                actual,
            });
        }
        Ok(fetched)
    }

    /// Where a chart lies: relative addresses begin at the repository, whose query they keep, as in Helm.
    fn chart_url(&self, chart: &ChartVersion) -> Result<Url, ChartRepoError> {
        let first = chart.urls.first().ok_or_else(|| ChartRepoError::NoUrl {
            name: chart.name.clone(),
        })?;
        let wrong = || ChartRepoError::Url {
            url: nave_net::redact(first).chars().take(512).collect(),
        };
        let mut base = self.url.clone();
        let path = format!("{}/", base.path().trim_end_matches('/'));
        base.set_path(&path);
        let mut url = base.join(first).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong());
        }
        if Url::parse(first).is_err() && url.query().is_none() {
            url.set_query(self.url.query());
        }
        Ok(url)
    }

    async fn fetch(
        &self,
        url: Url,
        into: &mut (impl AsyncWrite + Unpin),
        limit: u64,
        timeout: Duration,
    ) -> Result<Fetched, ChartRepoError> {
        let shown = shown(&url);
        tokio::time::timeout(timeout, self.stream(url, into, limit))
            .await
            .unwrap_or(Err(ChartRepoError::Timeout { url: shown, timeout }))
    }

    async fn stream(
        &self,
        url: Url,
        into: &mut (impl AsyncWrite + Unpin),
        limit: u64,
    ) -> Result<Fetched, ChartRepoError> {
        let shown = shown(&url);
        let broken = |error: &reqwest::Error| match explain(error) {
            Explained::Tls(detail) => ChartRepoError::Tls {
                url: shown.clone(),
                detail,
            },
            Explained::Other(detail) => ChartRepoError::Connect {
                url: shown.clone(),
                detail,
            },
        };
        let at_home = url.origin() == self.url.origin();
        let mut request = self.client.get(url);
        if let Some(basic) = &self.basic
            && (at_home || self.pass_credentials)
        {
            request = request.header("authorization", basic.header().expose());
        }
        let mut response = request.send().await.map_err(|error| broken(&error))?;
        match response.status().as_u16() {
            200..=299 => {}
            status @ (401 | 403) => {
                return Err(ChartRepoError::Unauthorized {
                    url: shown,
                    status,
                    hint: match (&self.basic, at_home || self.pass_credentials) {
                        (None, _) => "it asks for credentials, and none are given",
                        (Some(_), true) => "check the credentials",
                        (Some(_), false) => {
                            "it is another host than the repository's, which gets no credentials without passCredentials"
                        }
                    },
                });
            }
            status => return Err(ChartRepoError::Status { url: shown, status }),
        }
        let too_large = || ChartRepoError::TooLarge {
            url: shown.clone(),
            limit,
        };
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut size: u64 = 0;
        let writing = |source| ChartRepoError::Write {
            url: shown.clone(),
            source,
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
            size += chunk.len() as u64;
            if size > limit {
                return Err(too_large());
            }
            hasher.update(&chunk);
            into.write_all(&chunk).await.map_err(writing)?;
        }
        into.flush().await.map_err(writing)?;
        Ok(Fetched {
            digest: hasher.finish(),
            size,
        })
    }
}

fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    // Tokens are sometimes put there.
    url.set_query(None);
    url.into()
}

fn embedded(url: &Url) -> Option<BasicAuth> {
    if url.username().is_empty() {
        return None;
    }
    let decoded = |text: &str| {
        url::form_urlencoded::parse(format!("x={}", text.replace('+', "%2B")).as_bytes())
            .next()
            .map_or_else(String::new, |(_, value)| value.into_owned())
    };
    Some(BasicAuth {
        username: decoded(url.username()),
        password: nave_net::SecretText::new(decoded(url.password().unwrap_or_default())),
    })
}

fn key(tls: &TlsOptions) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let (certificate, key) = tls.identity.as_ref().map_or((&[][..], &[][..]), |(c, k)| (c, k));
    for part in [tls.ca.as_deref().unwrap_or_default(), certificate, key] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(repository: &str, chart: &str, expected: Result<&str, &str>) {
        let remote = Repositories::default().open(repository, Access::default()).unwrap();
        let version = ChartVersion {
            name: "app".into(),
            urls: vec![chart.to_owned()],
            ..ChartVersion::default()
        };
        let found = remote
            .chart_url(&version)
            .map(String::from)
            .map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn addresses_of_charts() {
        check("https://h/charts", "app-1.tgz", Ok("https://h/charts/app-1.tgz"));
        check("https://h/charts/", "x/app-1.tgz", Ok("https://h/charts/x/app-1.tgz"));
        check(
            "https://h/charts?t=1",
            "app-1.tgz",
            Ok("https://h/charts/app-1.tgz?t=1"),
        );
        check("https://h/charts?t=1", "https://o/app-1.tgz", Ok("https://o/app-1.tgz"));
        check("https://h/charts", "/app-1.tgz", Ok("https://h/app-1.tgz"));
        check(
            "https://h/charts",
            "file:///etc/passwd",
            Err("'file:///etc/passwd' is no http or https address"),
        );
        check(
            "https://h/charts",
            "oci://h/app",
            Err("'oci://h/app' is no http or https address"),
        );
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_password() {
        let error = Repositories::default()
            .open("ftp://me:canary@h/", Access::default())
            .unwrap_err()
            .to_string();
        assert_eq!(error, "'ftp://***@h/' is no http or https address");
    }
}
