//! Signatures of requests to AWS, version 4.

use hmac::{Hmac, Mac};
use jiff::{Timestamp, fmt::strtime, tz::TimeZone};
use sha2::{Digest, Sha256};

use crate::AwsKey;

/// A POST of a JSON body to the root of a service.
pub(crate) struct Post<'a> {
    pub host: &'a str,
    pub region: &'a str,
    pub service: &'a str,
    /// `X-Amz-Target`.
    pub target: &'a str,
    pub content_type: &'a str,
    pub body: &'a str,
}

/// The headers to add: the date, the session's token, and the signature over all of them.
pub(crate) fn sign(post: &Post<'_>, key: &AwsKey, now: Timestamp) -> Vec<(&'static str, String)> {
    let moment = now.to_zoned(TimeZone::UTC);
    let stamp = strtime::format("%Y%m%dT%H%M%SZ", &moment).expect("the format is right");
    let day = &stamp[..8];
    // Sorted by name, as the signature wants them.
    let mut headers = vec![
        ("content-type", post.content_type.to_owned()),
        ("host", post.host.to_owned()),
        ("x-amz-date", stamp.clone()),
    ];
    if let Some(token) = &key.session_token {
        headers.push(("x-amz-security-token", token.expose().to_owned()));
    }
    headers.push(("x-amz-target", post.target.to_owned()));
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", hex(&Sha256::digest(post.body)));
    let scope = format!("{day}/{}/{}/aws4_request", post.region, post.service);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}",
        hex(&Sha256::digest(canonical))
    );
    let first = format!("AWS4{}", key.secret.expose());
    let steps = [day, post.region, post.service, "aws4_request", &to_sign];
    let signature = steps.iter().fold(first.into_bytes(), |key, text| hmac(&key, text));
    let signature = hex(&signature);
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        key.id
    );
    headers.retain(|(name, _)| *name != "host");
    headers.push(("authorization", authorization));
    headers
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
