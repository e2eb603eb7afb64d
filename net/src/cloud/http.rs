//! One request to a service, and what its answer says.

use jiff::{SignedDuration, Timestamp};
use reqwest::RequestBuilder;
use serde_json::Value;

use crate::{Explained, cloud::CloudError, explain, redact};

/// Tokens and descriptions of clusters are small.
const LARGEST_ANSWER: usize = 4 << 20;
const LONGEST_DETAIL: usize = 512;

/// Sends a request; the status is for the caller to judge.
pub(crate) async fn fetch(service: &'static str, request: RequestBuilder) -> Result<(u16, Vec<u8>), CloudError> {
    let failed = |error: reqwest::Error| CloudError::Connect {
        service,
        detail: match explain(&error.without_url()) {
            Explained::Tls(detail) | Explained::Other(detail) => detail,
        },
    };
    let mut answer = request.send().await.map_err(failed)?;
    let status = answer.status().as_u16();
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > LARGEST_ANSWER {
            return Err(CloudError::Answer {
                service,
                detail: format!("it is larger than {LARGEST_ANSWER} bytes"),
            });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((status, bytes))
}

/// Sends a request that must succeed.
pub(crate) async fn succeed(service: &'static str, request: RequestBuilder) -> Result<Vec<u8>, CloudError> {
    let (status, body) = fetch(service, request).await?;
    if (200..300).contains(&status) {
        return Ok(body);
    }
    Err(CloudError::Refused {
        service,
        status,
        detail: detail(&body),
    })
}

/// Sends a request that must succeed with JSON.
pub(crate) async fn json(service: &'static str, request: RequestBuilder) -> Result<Value, CloudError> {
    let body = succeed(service, request).await?;
    serde_json::from_slice(&body).map_err(|error| CloudError::Answer {
        service,
        // The error of the parser names a place and shows no content.
        detail: format!("it is no JSON (line {}, column {})", error.line(), error.column()),
    })
}

/// A field of an answer that has to be text.
pub(crate) fn text<'a>(service: &'static str, answer: &'a Value, pointer: &str) -> Result<&'a str, CloudError> {
    answer
        .pointer(pointer)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| CloudError::Answer {
            service,
            detail: format!("it has no {}", pointer.trim_start_matches('/').replace('/', ".")),
        })
}

/// A number of seconds, which some services write as text.
pub(crate) fn seconds(answer: &Value, field: &str) -> Option<i64> {
    let value = answer.get(field)?;
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// The end of what lives so many seconds from now.
pub(crate) fn after(seconds: i64) -> Timestamp {
    // A week is longer than anything that is issued here.
    Timestamp::now() + SignedDuration::from_secs(seconds.clamp(0, 7 * 86_400))
}

/// The form of a request, as `application/x-www-form-urlencoded`.
pub(crate) fn form(request: RequestBuilder, fields: &[(&str, &str)]) -> RequestBuilder {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    request
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .header("accept", "application/json")
        .body(form.finish())
}

/// What a service says of why it refused: each has its own way.
pub(crate) fn detail(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let parsed: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let field = |pointer: &str| parsed.pointer(pointer).and_then(Value::as_str);
    let pairs = [
        // Entra ID and Google's STS.
        (field("/error"), field("/error_description")),
        // Google's and Azure's APIs.
        (field("/error/status").or(field("/error/code")), field("/error/message")),
        // AWS, JSON.
        (field("/__type"), field("/message").or(field("/Message"))),
        // Registries.
        (field("/errors/0/code"), field("/errors/0/message")),
    ];
    let said = pairs.iter().find(|(code, message)| code.is_some() || message.is_some());
    let said = match said {
        Some((code, message)) => [*code, *message].into_iter().flatten().collect::<Vec<_>>().join(": "),
        // AWS, XML.
        None => match (xml(&text, "Code"), xml(&text, "Message")) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            _ => text.trim().to_owned(),
        },
    };
    let one_line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    redact(&one_line).chars().take(LONGEST_DETAIL).collect()
}

/// The text of the first element of that name.
pub(crate) fn xml(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    let value = value
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&");
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cloud_says_no_in_its_own_way() {
        for (body, wanted) in [
            (
                r#"{"error":"invalid_client","error_description":"AADSTS700016: not found\r\nTrace ID: 1"}"#,
                "invalid_client: AADSTS700016: not found Trace ID: 1",
            ),
            (
                r#"{"error":{"code":403,"message":"Permission denied","status":"PERMISSION_DENIED"}}"#,
                "PERMISSION_DENIED: Permission denied",
            ),
            (r#"{"error":{"code":"Forbidden","message":"no"}}"#, "Forbidden: no"),
            (
                "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not &lt;allowed&gt;</Message></Error></ErrorResponse>",
                "AccessDenied: Not <allowed>",
            ),
            (
                r#"{"__type":"ExpiredTokenException","message":"old"}"#,
                "ExpiredTokenException: old",
            ),
            ("plain text", "plain text"),
            ("", ""),
        ] {
            assert_eq!(detail(body.as_bytes()), wanted);
        }
    }
}
