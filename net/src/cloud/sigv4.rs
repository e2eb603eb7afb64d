//! Signatures of requests to AWS, version 4: in headers, and in the query of an address.

use hmac::{Hmac, Mac};
use jiff::{Timestamp, fmt::strtime, tz::TimeZone};
use sha2::{Digest, Sha256};

use crate::{SecretText, cloud::AwsCredentials};

/// What of a request is signed.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// Host, with its port unless that is the scheme's.
    pub host: &'a str,
    /// Path, encoded as it is sent.
    pub path: &'a str,
    /// Names and values of the query, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// Further headers, their names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
    /// Region of the service.
    pub region: &'a str,
    /// Name of the service, such as `kms`.
    pub service: &'a str,
}

/// The headers to add to a request: its date, the session's token, and the signature over all headers.
pub fn sign(request: &Signed<'_>, key: &AwsCredentials, now: Timestamp) -> Vec<(String, String)> {
    let stamp = stamp(now);
    let mut headers: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    headers.push(("host".to_owned(), request.host.to_owned()));
    headers.push(("x-amz-date".to_owned(), stamp.clone()));
    if let Some(token) = &key.session_token {
        headers.push(("x-amz-security-token".to_owned(), token.expose().to_owned()));
    }
    headers.sort();
    let query: Vec<(String, String)> = encoded(request.query);
    let scope = scope(request, &stamp);
    let body = hex(&Sha256::digest(request.body));
    let (names, signature) = signature(request, &query, &headers, &body, &stamp, &scope, key);
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        key.id
    );
    headers.retain(|(name, _)| name != "host");
    headers.push(("authorization".to_owned(), authorization));
    headers
}

/// The query that makes an address a signed request for `seconds`; headers of the request are signed with it.
pub fn presign(request: &Signed<'_>, key: &AwsCredentials, now: Timestamp, seconds: u32) -> String {
    let stamp = stamp(now);
    let mut headers: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    headers.push(("host".to_owned(), request.host.to_owned()));
    headers.sort();
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let scope = scope(request, &stamp);
    let (credential, seconds) = (format!("{}/{scope}", key.id), seconds.to_string());
    let mut query: Vec<(&str, &str)> = request.query.to_vec();
    query.extend([
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", credential.as_str()),
        ("X-Amz-Date", stamp.as_str()),
        ("X-Amz-Expires", seconds.as_str()),
        ("X-Amz-SignedHeaders", names.as_str()),
    ]);
    if let Some(token) = &key.session_token {
        query.push(("X-Amz-Security-Token", token.expose()));
    }
    let query = encoded(&query);
    let body = hex(&Sha256::digest(request.body));
    let (_, signature) = signature(request, &query, &headers, &body, &stamp, &scope, key);
    format!("{}&X-Amz-Signature={signature}", joined(&query))
}

/// The password for a repository of CodeCommit: the moment, and the signature of a request with the method `GIT`, the
/// host as its only header, and no digest of a body (git-remote-codecommit 1.17 says how).
pub(crate) fn git_password(host: &str, path: &str, region: &str, key: &AwsCredentials, now: Timestamp) -> SecretText {
    let stamp = stamp(now);
    let moment = stamp.trim_end_matches('Z');
    let request = Signed {
        method: "GIT",
        host,
        path,
        query: &[],
        headers: &[],
        body: b"",
        region,
        service: "codecommit",
    };
    let headers = [("host".to_owned(), host.to_owned())];
    let scope = scope(&request, moment);
    let (_, signature) = signature(&request, &[], &headers, "", moment, &scope, key);
    SecretText::new(format!("{stamp}{signature}"))
}

fn signature(
    request: &Signed<'_>,
    query: &[(String, String)],
    headers: &[(String, String)],
    body: &str,
    stamp: &str,
    scope: &str,
    key: &AwsCredentials,
) -> (String, String) {
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()))
        .collect();
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{names}\n{body}",
        request.method,
        request.path,
        joined(query)
    );
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}",
        hex(&Sha256::digest(canonical))
    );
    let first = format!("AWS4{}", key.secret.expose());
    let steps = [&stamp[..8], request.region, request.service, "aws4_request", &to_sign];
    let signature = steps.iter().fold(first.into_bytes(), |key, text| hmac(&key, text));
    (names, hex(&signature))
}

fn scope(request: &Signed<'_>, stamp: &str) -> String {
    format!("{}/{}/{}/aws4_request", &stamp[..8], request.region, request.service)
}

fn stamp(now: Timestamp) -> String {
    strtime::format("%Y%m%dT%H%M%SZ", &now.to_zoned(TimeZone::UTC)).expect("the format is right")
}

/// Sorted by name, as the signature wants them.
fn encoded(query: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut query: Vec<(String, String)> = query
        .iter()
        .map(|(name, value)| (escape(name), escape(value)))
        .collect();
    query.sort();
    query
}

fn joined(query: &[(String, String)]) -> String {
    let pairs: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Everything but RFC 3986's unreserved characters.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AwsCredentials {
        AwsCredentials {
            id: "AKIDEXAMPLE".to_owned(),
            secret: SecretText::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
            expires: None,
        }
    }

    #[test]
    fn signatures_of_awss_test_suite() {
        // AWS's published suite for version 4: get-vanilla, get-vanilla-query-order-key-case, post-x-www-form-urlencoded.
        let at = "2015-08-30T12:36:00Z".parse().expect("a point in time");
        let plain = Signed {
            method: "GET",
            host: "example.amazonaws.com",
            path: "/",
            query: &[],
            headers: &[],
            body: b"",
            region: "us-east-1",
            service: "service",
        };
        for (request, wanted) in [
            (
                plain,
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                Signed {
                    query: &[("Param2", "value2"), ("Param1", "value1")],
                    ..plain
                },
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                Signed {
                    method: "POST",
                    headers: &[("content-type", "application/x-www-form-urlencoded")],
                    body: b"Param1=value1",
                    ..plain
                },
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            let headers = sign(&request, &key(), at);
            let (_, authorization) = headers.last().expect("it is the last");
            assert!(authorization.ends_with(wanted), "{authorization}");
        }
    }

    #[test]
    fn passwords_of_codecommit_are_those_of_its_helper() {
        // Computed by the steps that AWS's helper takes, with another implementation of HMAC.
        let key = AwsCredentials {
            secret: SecretText::new("hunter2"),
            ..key()
        };
        let at = "2026-01-02T03:04:05Z".parse().expect("a point in time");
        let host = "git-codecommit.eu-west-1.amazonaws.com";
        let password = git_password(host, "/v1/repos/app", "eu-west-1", &key, at);
        assert_eq!(
            password.expose(),
            "20260102T030405Z04fe76bbcbf7eb76766ce5d70ebf48528f7fe588cf5498ec9d201ef4f05a747d"
        );
    }

    #[test]
    fn the_example_of_awss_documents_is_presigned() {
        // "Authenticating Requests: Using Query Parameters" of the S3 API reference, whose payload is unsigned: all but
        // the signature can be compared.
        let key = AwsCredentials {
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            ..key()
        };
        let request = Signed {
            method: "GET",
            host: "sts.eu-west-1.amazonaws.com",
            path: "/",
            query: &[("Action", "GetCallerIdentity"), ("Version", "2011-06-15")],
            headers: &[("x-k8s-aws-id", "prod")],
            body: b"",
            region: "eu-west-1",
            service: "sts",
        };
        let at = "2013-05-24T00:00:00Z".parse().expect("a point in time");
        let query = presign(&request, &key, at, 900);
        let wanted = "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256\
            &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Feu-west-1%2Fsts%2Faws4_request\
            &X-Amz-Date=20130524T000000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&X-Amz-Signature=";
        assert!(query.starts_with(wanted), "{query}");
        assert_eq!(query.len(), wanted.len() + 64);
    }
}
