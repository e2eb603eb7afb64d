//! Shared storage that speaks S3.

use std::sync::Arc;

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use nave_net::TlsOptions;
use object_store::{
    ClientOptions,
    aws::AmazonS3Builder,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    },
};
use url::Url;

use crate::Shared;

/// Shared storage that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// Its address makes no sense.
    #[error("shared storage {address}: {problem}")]
    Address {
        /// The address, without credentials.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The HTTP client could not be made.
    #[error("shared storage: preparing the HTTP client")]
    Client(#[from] nave_net::ClientError),
    /// The same.
    #[error("shared storage: preparing the HTTP client")]
    Build(#[source] reqwest::Error),
    /// Its settings do not fit together.
    #[error("shared storage")]
    Settings(#[source] object_store::Error),
}

/// Storage at `s3://bucket/prefix?endpoint=host:port&region=r&insecure=true`. Keys and, without an `endpoint`, the address
/// come from the environment, as with other programs (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, a web identity …).
/// Nothing is asked yet.
///
/// # Errors
/// The address makes no sense, or the environment's settings do not fit together.
pub fn s3(address: &str) -> Result<Shared, S3Error> {
    s3_with_keys(address, None)
}

/// [`s3`] with an access key and a secret key instead of the environment's.
///
/// # Errors
/// As there.
pub fn s3_with_keys(address: &str, keys: Option<(&str, &str)>) -> Result<Shared, S3Error> {
    let wrong = |problem: String| S3Error::Address {
        address: nave_net::redact(address),
        problem,
    };
    let url = Url::parse(address).map_err(|error| wrong(error.to_string()))?;
    let bucket = url.host_str().unwrap_or_default();
    if url.scheme() != "s3" || bucket.is_empty() || !url.username().is_empty() {
        return Err(wrong(
            "it must be s3://bucket/prefix, and keys come from the environment".to_owned(),
        ));
    }
    let (mut endpoint, mut insecure) = (None, false);
    let builder = match keys {
        Some((access, secret)) => AmazonS3Builder::new()
            .with_access_key_id(access)
            .with_secret_access_key(secret),
        None => AmazonS3Builder::from_env(),
    };
    let mut builder = builder.with_bucket_name(bucket);
    for (name, value) in url.query_pairs() {
        match &*name {
            "endpoint" if !value.contains('/') => endpoint = Some(value.into_owned()),
            "endpoint" => return Err(wrong("endpoint: give the host, and a port if needed".to_owned())),
            "region" => builder = builder.with_region(value),
            "insecure" => insecure = value == "true",
            other => return Err(wrong(format!("'{other}' is none of endpoint, region and insecure"))),
        }
    }
    if let Some(endpoint) = endpoint {
        let scheme = if insecure { "http" } else { "https" };
        builder = builder.with_endpoint(format!("{scheme}://{endpoint}"));
    }
    let client = nave_net::http_client(&TlsOptions::default(), None)?
        .gzip(false)
        .build()
        .map_err(S3Error::Build)?;
    let objects = builder
        .with_allow_http(insecure)
        .with_http_connector(Http(client))
        .build()
        .map_err(S3Error::Settings)?;
    Ok(Shared::new(Arc::new(objects), url.path()))
}

/// Our HTTP client for `object_store`.
#[derive(Debug, Clone)]
struct Http(reqwest::Client);

#[async_trait]
impl HttpService for Http {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url: Url = parts
            .uri
            .to_string()
            .parse()
            .map_err(|error: url::ParseError| HttpError::new(HttpErrorKind::Request, error))?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        let bytes = body.collect().await?.to_bytes();
        *request.body_mut() = Some(bytes.into());
        let response: http::Response<reqwest::Body> = self.0.execute(request).await.map_err(failed)?.into();
        let (parts, body) = response.into_parts();
        Ok(HttpResponse::from_parts(
            parts,
            HttpResponseBody::new(body.map_err(failed)),
        ))
    }
}

impl HttpConnector for Http {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

fn failed(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else {
        HttpErrorKind::Request
    };
    HttpError::new(kind, error.without_url())
}
