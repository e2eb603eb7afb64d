//! One exchange with a storage: signed, tried again where that helps, and told in words where it fails.

use std::time::Duration;

use http::{HeaderMap, Method, Uri};
use nave_net::{Explained, explain};
use object_store::client::{HttpRequest, HttpRequestBody};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::{BucketError, remote::Remote};

/// How often a request is sent in all, when the server or the network fails.
pub(crate) const TRIES: u32 = 3;
/// The delay before the second try; it doubles.
const DELAY: Duration = Duration::from_millis(200);
/// So much of a refusal is read.
const REFUSAL: usize = 64 << 10;
/// What may stand in a key unescaped, as the signature has it.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const KEY: &AsciiSet = &PLAIN.remove(b'/');

/// A key as a path.
pub(crate) fn key_path(key: &str) -> String {
    utf8_percent_encode(key, KEY).to_string()
}

/// A value of a query, or a segment of a path.
pub(crate) fn escaped(value: &str) -> String {
    utf8_percent_encode(value, PLAIN).to_string()
}

/// What a storage says in a refusal, as far as it says anything.
#[derive(Debug, Default)]
pub(crate) struct Refusal {
    pub code: String,
    pub message: String,
    /// The region that it wanted to be signed for.
    pub region: Option<String>,
}

impl Remote {
    /// Sends a GET until it succeeds, is refused for good, or has failed [`TRIES`] times.
    pub(crate) async fn get(&self, what: &str, url: &str) -> Result<reqwest::Response, BucketError> {
        let mut delay = DELAY;
        let mut tries = 1;
        let mut relocated = false;
        loop {
            let error = match self.get_once(what, url).await {
                Ok(response) => return Ok(response),
                Err((error, region)) => {
                    // S3 tells a wrong region once and for all.
                    if let Some(region) = region
                        && !relocated
                    {
                        relocated = true;
                        self.set_region(&region);
                        continue;
                    }
                    error
                }
            };
            if tries >= TRIES || !error.is_transient() {
                return Err(error);
            }
            tries += 1;
            tokio::time::sleep(delay).await;
            delay *= 2;
        }
    }

    async fn get_once(&self, what: &str, url: &str) -> Result<reqwest::Response, (BucketError, Option<String>)> {
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| {
            let problem = format!("the address is not usable: {error}");
            (
                BucketError::Answer {
                    what: what.to_owned(),
                    server: self.server().to_owned(),
                    problem,
                },
                None,
            )
        })?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = uri;
        let key = self.keys().current().await.map_err(|error| (error, None))?;
        key.authorize(&mut request, &self.region(), self.account())
            .map_err(|error| (error, None))?;
        let response = self.http().send(request).await.map_err(|error| {
            let (Explained::Tls(problem) | Explained::Other(problem)) = explain(&error);
            let problem = format!("{}: {problem}", self.server());
            let what = what.to_owned();
            (BucketError::Request { what, problem }, None)
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let headers = response.headers().clone();
        let body = read(response, REFUSAL).await.unwrap_or_default();
        let refusal = self.backend().refusal(&headers, &String::from_utf8_lossy(&body));
        if self.backend().is_no_bucket(status.as_u16(), &refusal) {
            let bucket = self.bucket().to_owned();
            return Err((BucketError::NoBucket { bucket }, None));
        }
        let moved = matches!(status.as_u16(), 301 | 307 | 400);
        let region = refusal.region.filter(|region| moved && *region != self.region());
        let mut message = nave_net::redact(&refusal.message);
        if message.is_empty() {
            message = status.canonical_reason().unwrap_or("no reason is given").to_lowercase();
        }
        let error = BucketError::Refused {
            what: what.to_owned(),
            server: self.server().to_owned(),
            status: status.as_u16(),
            code: refusal.code,
            message,
        };
        Err((error, region))
    }
}

/// The body of an answer up to a limit; what is beyond is not read.
pub(crate) async fn read(mut response: reqwest::Response, limit: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        let room = limit - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == limit {
            break;
        }
    }
    Some(body)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct XmlError {
    code: String,
    message: String,
    region: Option<String>,
    /// Services for keys wrap it.
    error: Option<Box<XmlError>>,
}

/// Code and message of an XML error.
pub(crate) fn xml_refusal(body: &str) -> (String, String) {
    let refusal = xml(body);
    (refusal.code, refusal.message)
}

/// An error as S3 and Azure write them.
pub(crate) fn xml(body: &str) -> Refusal {
    let parsed: XmlError = quick_xml::de::from_str(body.trim_start_matches('\u{feff}')).unwrap_or_default();
    let parsed = match parsed.error {
        Some(inner) => *inner,
        None => parsed,
    };
    Refusal {
        code: one_line(&parsed.code),
        message: one_line(&parsed.message),
        region: parsed.region.filter(|region| is_region(region)),
    }
}

/// Regions become part of headers and host names.
pub(crate) fn is_region(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The first line, cut: Azure appends a request number and a time, which would change the condition each time.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

/// A header as text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read() {
        let refusal = xml(
            "<?xml version=\"1.0\"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>a\nb</Message><Region>eu-west-1</Region></Error>",
        );
        assert_eq!(
            (
                refusal.code.as_str(),
                refusal.message.as_str(),
                refusal.region.as_deref()
            ),
            ("AuthorizationHeaderMalformed", "a", Some("eu-west-1"))
        );
        assert_eq!(
            xml_refusal("<ErrorResponse><Error><Code>X</Code><Message>m</Message></Error></ErrorResponse>"),
            ("X".to_owned(), "m".to_owned())
        );
        assert_eq!(xml_refusal("<html>502"), (String::new(), String::new()));
        assert!(xml("<Error><Region>a\r\nb</Region></Error>").region.is_none());
    }

    #[test]
    fn keys_are_escaped_as_they_are_signed() {
        assert_eq!(key_path("a b/ü+&?#%"), "a%20b/%C3%BC%2B%26%3F%23%25");
        assert_eq!(escaped("a/b"), "a%2Fb");
    }
}
