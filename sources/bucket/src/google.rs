//! Requests and answers of Google Cloud Storage's JSON API. Its etags are what Flux makes revisions of, and the XML API has
//! others.

use serde::Deserialize;

use crate::{
    BucketError, Object,
    list::{Listed, Page},
    request::{Refusal, escaped},
};

#[derive(Debug)]
pub(crate) struct Google {
    base: String,
    server: String,
}

/// Where it is when the spec names no host.
const HOST: &str = "storage.googleapis.com";

impl Google {
    pub fn new(endpoint: &str, bucket: &str, insecure: bool) -> Result<Self, BucketError> {
        let endpoint = if endpoint.is_empty() { HOST } else { endpoint };
        let (given, host) = match endpoint.split_once("://") {
            Some((scheme @ ("http" | "https"), host)) => (scheme, host.trim_end_matches('/')),
            Some(_) => ("", ""),
            None => (if insecure { "http" } else { "https" }, endpoint),
        };
        if host.is_empty() || host.contains(['/', '@']) || url::Url::parse(&format!("http://{host}/")).is_err() {
            return Err(BucketError::Spec {
                field: "spec.endpoint",
                problem: format!("it is no host name, such as {HOST}"),
            });
        }
        if given == "http" && !insecure {
            return Err(BucketError::Spec {
                field: "spec.endpoint",
                problem: "http needs spec.insecure".to_owned(),
            });
        }
        Ok(Google {
            base: format!("{given}://{host}/storage/v1/b/{}/o", escaped(bucket)),
            server: host.to_owned(),
        })
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    /// The content of an object, of one generation if it is known.
    pub fn object(&self, key: &str, generation: Option<&str>) -> String {
        let mut url = format!("{}/{}?alt=media", self.base, escaped(key));
        if let Some(generation) = generation {
            url.push_str(&format!("&generation={}", escaped(generation)));
        }
        url
    }

    /// What is known of an object.
    pub fn about(&self, key: &str) -> String {
        format!("{}/{}?fields=name,etag,generation,size", self.base, escaped(key))
    }

    pub fn page(&self, prefix: &str, token: Option<&str>) -> String {
        let mut url = format!(
            "{}?fields=items(name,etag,generation,size),nextPageToken&maxResults=1000&prefix={}",
            self.base,
            escaped(prefix)
        );
        if let Some(token) = token {
            url.push_str(&format!("&pageToken={}", escaped(token)));
        }
        url
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    items: Vec<Item>,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    name: String,
    etag: String,
    #[serde(default)]
    generation: Option<String>,
    /// A number as text, as all 64-bit numbers of this API.
    #[serde(default)]
    size: String,
}

impl From<Item> for Listed {
    fn from(item: Item) -> Self {
        Listed {
            key: item.name,
            object: Object {
                etag: item.etag,
                size: item.size.parse().unwrap_or_default(),
                generation: item.generation,
            },
        }
    }
}

pub(crate) fn parse(text: &str) -> Result<Page, String> {
    let answer: Answer = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(Page {
        objects: answer.items.into_iter().map(Listed::from).collect(),
        next: answer.next_page_token.filter(|token| !token.is_empty()),
    })
}

pub(crate) fn parse_about(text: &str) -> Result<Object, String> {
    let item: Item = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(Listed::from(item).object)
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    reason: String,
}

pub(crate) fn refusal(body: &str) -> Refusal {
    let Ok(answer) = serde_json::from_str::<ErrorAnswer>(body) else {
        return Refusal {
            message: body.lines().next().unwrap_or_default().chars().take(300).collect(),
            ..Refusal::default()
        };
    };
    let reason = answer.error.errors.into_iter().next().map(|first| first.reason);
    Refusal {
        code: reason.unwrap_or_default().chars().take(100).collect(),
        message: answer.error.message.chars().take(300).collect(),
        region: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_answers() {
        let google = Google::new("storage.googleapis.com", "b", false).unwrap();
        assert_eq!(
            google.object("a/b c", Some("7")),
            "https://storage.googleapis.com/storage/v1/b/b/o/a%2Fb%20c?alt=media&generation=7"
        );
        assert!(Google::new("http://127.0.0.1:1", "b", false).is_err());
        assert!(Google::new("http://127.0.0.1:1", "b", true).is_ok());
        assert!(Google::new("ftp://a", "b", true).is_err());
        let page =
            parse(r#"{"items":[{"name":"a","etag":"CJ=","generation":"17","size":"3"}],"nextPageToken":"n"}"#).unwrap();
        assert_eq!(
            (page.objects[0].object.etag.as_str(), page.objects[0].object.size),
            ("CJ=", 3)
        );
        assert_eq!(page.next.as_deref(), Some("n"));
        assert!(parse("{}").unwrap().objects.is_empty());
        let refusal = refusal(
            r#"{"error":{"code":404,"message":"The specified bucket does not exist.","errors":[{"reason":"notFound"}]}}"#,
        );
        assert_eq!(refusal.code, "notFound");
    }
}
