//! Requests and answers of S3.

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::{
    BucketError, Object,
    list::{Listed, Page},
    request::{Refusal, escaped, header, is_region, key_path, xml},
};

/// Where a bucket is, and how it is addressed.
#[derive(Debug)]
pub(crate) struct S3 {
    scheme: &'static str,
    host: String,
    /// Empty where the bucket is part of the host.
    path: String,
}

/// The region when nothing says one.
pub(crate) const DEFAULT_REGION: &str = "us-east-1";

impl S3 {
    pub fn new(endpoint: &str, bucket: &str, region: &str, insecure: bool) -> Result<Self, BucketError> {
        let wrong = |field, problem: &str| {
            let problem = problem.to_owned();
            BucketError::Spec { field, problem }
        };
        if endpoint.contains("://") || endpoint.contains('/') {
            return Err(wrong(
                "spec.endpoint",
                "give the host, and a port if needed, without a scheme or path",
            ));
        }
        if endpoint.is_empty() || url::Url::parse(&format!("http://{endpoint}/")).is_err() || endpoint.contains('@') {
            return Err(wrong("spec.endpoint", "it is no host name with an optional port"));
        }
        if !is_bucket_name(bucket) {
            return Err(wrong("spec.bucketName", "it is no name of a bucket"));
        }
        let scheme = if insecure { "http" } else { "https" };
        // Names with dots are not covered by the certificate.
        let is_virtual = is_amazon(endpoint) && (insecure || !bucket.contains('.'));
        let endpoint = match endpoint {
            "s3.amazonaws.com" if !region.is_empty() && region != DEFAULT_REGION => {
                format!("s3.{region}.amazonaws.com")
            }
            other => other.to_owned(),
        };
        Ok(if is_virtual {
            S3 {
                scheme,
                host: format!("{bucket}.{endpoint}"),
                path: String::new(),
            }
        } else {
            S3 {
                scheme,
                host: endpoint,
                path: format!("/{bucket}"),
            }
        })
    }

    pub fn server(&self) -> &str {
        &self.host
    }

    pub fn object(&self, key: &str) -> String {
        format!("{}://{}{}/{}", self.scheme, self.host, self.path, key_path(key))
    }

    pub fn page(&self, prefix: &str, token: Option<&str>) -> String {
        let mut url = format!(
            "{}://{}{}/?encoding-type=url&list-type=2&max-keys=1000&prefix={}",
            self.scheme,
            self.host,
            self.path,
            escaped(prefix)
        );
        if let Some(token) = token {
            url.push_str(&format!("&continuation-token={}", escaped(token)));
        }
        url
    }
}

/// The region that stands in Amazon's host names.
pub(crate) fn region_of(endpoint: &str) -> Option<&str> {
    let host = endpoint.split(':').next()?;
    let rest = host
        .strip_suffix(".amazonaws.com.cn")
        .or_else(|| host.strip_suffix(".amazonaws.com"))?;
    let region = rest.rsplit('.').next()?;
    let region = region.strip_prefix("s3-").unwrap_or(region);
    Some(region).filter(|region| *region != "s3" && is_region(region))
}

fn is_amazon(endpoint: &str) -> bool {
    let host = endpoint.split(':').next().unwrap_or_default();
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

fn is_bucket_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !matches!(name, "." | "..")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    contents: Vec<Content>,
    #[serde(default)]
    encoding_type: Option<String>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_continuation_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    key: String,
    #[serde(rename = "ETag", default)]
    e_tag: String,
    #[serde(default)]
    size: u64,
}

pub(crate) fn parse(text: &str) -> Result<Page, String> {
    let answer: Answer = quick_xml::de::from_str(text).map_err(|error| error.to_string())?;
    let is_escaped = answer.encoding_type.as_deref() == Some("url");
    let mut objects = Vec::with_capacity(answer.contents.len());
    for content in answer.contents {
        let key = if is_escaped {
            percent_decode_str(&content.key.replace('+', " "))
                .decode_utf8()
                .map_err(|_| format!("the key '{}' is not text", content.key))?
                .into_owned()
        } else {
            content.key
        };
        let etag = plain_etag(&content.e_tag).to_owned();
        let (size, generation) = (content.size, None);
        let object = Object { etag, size, generation };
        objects.push(Listed { key, object });
    }
    let next = match (answer.is_truncated, answer.next_continuation_token) {
        (true, Some(token)) if !token.is_empty() => Some(token),
        (true, _) => return Err("there is more, but it does not say where".to_owned()),
        (false, _) => None,
    };
    Ok(Page { objects, next })
}

/// As S3's clients for Go have it: without quotes.
pub(crate) fn plain_etag(etag: &str) -> &str {
    let etag = etag.strip_prefix('"').unwrap_or(etag);
    etag.strip_suffix('"').unwrap_or(etag)
}

pub(crate) fn refusal(headers: &HeaderMap, body: &str) -> Refusal {
    let mut refusal = xml(body);
    if refusal.region.is_none() {
        refusal.region = header(headers, "x-amz-bucket-region")
            .filter(|region| is_region(region))
            .map(str::to_owned);
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(endpoint: &str, bucket: &str, region: &str, insecure: bool, expected: Result<&str, &str>) {
        let found = S3::new(endpoint, bucket, region, insecure)
            .map(|s3| s3.object("a b"))
            .map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn buckets_are_addressed_as_minio_does() {
        check("minio:9000", "b", "", true, Ok("http://minio:9000/b/a%20b"));
        check(
            "s3.amazonaws.com",
            "b",
            "",
            false,
            Ok("https://b.s3.amazonaws.com/a%20b"),
        );
        check(
            "s3.amazonaws.com",
            "b",
            "eu-west-1",
            false,
            Ok("https://b.s3.eu-west-1.amazonaws.com/a%20b"),
        );
        check(
            "s3.amazonaws.com",
            "b.c",
            "",
            false,
            Ok("https://s3.amazonaws.com/b.c/a%20b"),
        );
        let scheme = "spec.endpoint: give the host, and a port if needed, without a scheme or path";
        check("https://minio", "b", "", false, Err(scheme));
        check("minio/x", "b", "", false, Err(scheme));
        check(
            "",
            "b",
            "",
            false,
            Err("spec.endpoint: it is no host name with an optional port"),
        );
        check(
            "minio",
            "../b",
            "",
            false,
            Err("spec.bucketName: it is no name of a bucket"),
        );
        assert_eq!(region_of("s3.eu-west-1.amazonaws.com"), Some("eu-west-1"));
        assert_eq!(region_of("s3.amazonaws.com"), None);
        assert_eq!(region_of("minio:9000"), None);
    }

    #[test]
    fn pages_are_read() {
        let page = parse(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix></Prefix>\
             <Contents><Key>a+b%2Bc</Key><LastModified>x</LastModified><ETag>&quot;e1&quot;</ETag><Size>3</Size></Contents>\
             <EncodingType>url</EncodingType>\
             <Contents><Key>d/</Key><ETag>e2</ETag><Size>0</Size><Owner><ID>1</ID></Owner></Contents>\
             <IsTruncated>true</IsTruncated><NextContinuationToken>t/1=</NextContinuationToken></ListBucketResult>",
        )
        .unwrap();
        let seen: Vec<_> = page
            .objects
            .iter()
            .map(|listed| (listed.key.as_str(), listed.object.etag.as_str(), listed.object.size))
            .collect();
        assert_eq!(seen, [("a b+c", "e1", 3), ("d/", "e2", 0)]);
        assert_eq!(page.next.as_deref(), Some("t/1="));
        assert!(parse("<html>").is_err());
        assert!(parse("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>").is_err());
        assert!(parse("<ListBucketResult><Contents><Key>&x;</Key></Contents></ListBucketResult>").is_err());
    }
}
