//! `object_store`'s exchanges over our HTTP client, with the object's TLS and proxy.

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use nave_net::{ProxyOptions, TlsOptions};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    },
};

use crate::BucketError;

/// An HTTP client that takes what `object_store` signs.
#[derive(Debug, Clone)]
pub(crate) struct Http(reqwest::Client);

impl Http {
    /// Redirects are not followed, as a signature is for one host. Azure's clients ask for compression, those of S3 and
    /// Google do not: an object that was stored compressed stays so with them.
    pub fn new(tls: &TlsOptions, proxy: Option<&ProxyOptions>, decompress: bool) -> Result<Self, BucketError> {
        let failed = |problem: String| BucketError::Keys(format!("preparing the HTTP client: {problem}"));
        let builder = nave_net::http_client(tls, proxy).map_err(|error| failed(chain(&error)))?;
        let builder = builder.redirect(reqwest::redirect::Policy::none()).gzip(decompress);
        Ok(Http(builder.build().map_err(|error| failed(chain(&error)))?))
    }

    /// The client itself.
    pub fn client(&self) -> &reqwest::Client {
        &self.0
    }

    /// Sends a request that was signed.
    pub async fn send(&self, request: HttpRequest) -> Result<reqwest::Response, HttpError> {
        let (parts, body) = request.into_parts();
        let url = parts
            .uri
            .to_string()
            .parse()
            .map_err(|error: url::ParseError| HttpError::new(HttpErrorKind::Request, error))?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        if body.content_length() > 0 {
            let bytes = body.collect().await?.to_bytes();
            *request.body_mut() = Some(bytes.into());
        }
        self.0.execute(request).await.map_err(failed)
    }
}

#[async_trait]
impl HttpService for Http {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response: http::Response<reqwest::Body> = self.send(request).await?.into();
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
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else {
        HttpErrorKind::Request
    };
    // Addresses may carry a signature.
    HttpError::new(kind, error.without_url())
}

/// An error with everything that caused it, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    nave_net::redact(&text)
}
