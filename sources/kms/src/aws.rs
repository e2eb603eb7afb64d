//! AWS Key Management Service, with static keys or the identity of a service account or of this process.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use nave_net::cloud::{AwsCredentials, Cloud, Signed, sign};
use nave_sops::Answer;
use serde_json::{Map, Value, json};
use url::Url;
use zeroize::Zeroizing;

use crate::{Credentials, KeyServices, services::send};

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const TARGET: &str = "TrentService.Decrypt";

/// A key, as a file names it.
pub(crate) struct Key<'a> {
    pub arn: &'a str,
    /// A role to assume first.
    pub role: &'a str,
    pub context: &'a [(String, String)],
}

pub(crate) async fn decrypt(
    services: &KeyServices,
    endpoint: Option<&str>,
    key: Key<'_>,
    ciphertext: &str,
    credentials: &Credentials,
) -> Answer {
    let (region, suffix) = region_of(key.arn).ok_or("the ARN is not one of a KMS key")?;
    let signer = signer(&services.exchange, key.role, region, credentials).await?;
    let endpoint = match endpoint {
        Some(endpoint) => endpoint.to_owned(),
        None => format!("https://kms.{region}.{suffix}/"),
    };
    let url = Url::parse(&endpoint).map_err(|_| "the endpoint is no URL".to_owned())?;
    let host = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => return Err("the endpoint has no host".to_owned()),
    };
    let mut body = json!({"CiphertextBlob": ciphertext});
    if !key.context.is_empty() {
        let context: Map<String, Value> = key
            .context
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        body["EncryptionContext"] = Value::Object(context);
    }
    let body = body.to_string();
    let signed = Signed {
        method: "POST",
        host: &host,
        path: "/",
        query: &[],
        headers: &[("content-type", CONTENT_TYPE), ("x-amz-target", TARGET)],
        body: body.as_bytes(),
        region,
        service: "kms",
    };
    let mut request = services.client.post(url);
    for (name, value) in sign(&signed, &signer, Timestamp::now()) {
        request = request.header(name, value);
    }
    let (status, answer) = send(request.body(body.clone())).await?;
    if status != 200 {
        let field = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        let message = [field("message"), field("Message")].concat();
        return Err(format!("AWS KMS answered {status}: {} {message}", field("__type"))
            .trim_end()
            .to_owned());
    }
    let plain = answer.get("Plaintext").and_then(Value::as_str);
    match plain.and_then(|text| STANDARD.decode(text).ok()) {
        Some(plain) => Ok(Zeroizing::new(plain)),
        None => Err("the answer of AWS KMS has no plain text".to_owned()),
    }
}

/// Static keys come first, as in Flux.
async fn signer(
    exchange: &Cloud,
    role: &str,
    region: &str,
    credentials: &Credentials,
) -> Result<AwsCredentials, String> {
    let own = match (&credentials.aws, &credentials.ambient) {
        (Some(key), _) => AwsCredentials {
            id: key.id.clone(),
            secret: key.secret.clone(),
            session_token: key.session_token.clone(),
            expires: None,
        },
        (None, Some((cloud, identity))) => cloud
            .during("decrypt_with_aws")
            .aws_credentials(identity, Some(region))
            .await
            .map_err(|error| error.to_string())?,
        (None, None) => return Err("there is no access key for AWS".to_owned()),
    };
    if role.is_empty() {
        return Ok(own);
    }
    let cloud = credentials.ambient.as_ref().map_or(exchange, |(cloud, _)| cloud);
    let assumed = cloud.aws_assume_role(&own, role, region).await;
    assumed.map_err(|error| error.to_string())
}

/// `arn:aws:kms:REGION:ACCOUNT:key/…`: the region, and the domain of its partition.
fn region_of(arn: &str) -> Option<(&str, &'static str)> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "kms", region, account, resource] = parts[..] else {
        return None;
    };
    let suffix = match partition {
        "aws-cn" => "amazonaws.com.cn",
        partition if partition == "aws" || partition.starts_with("aws-") => "amazonaws.com",
        _ => return None,
    };
    // The region becomes part of a host name.
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_key = resource.starts_with("key/") || resource.starts_with("alias/");
    let is_account = !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_digit());
    (plain(region) && is_account && is_key).then_some((region, suffix))
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Bytes, http::HeaderMap, http::StatusCode, routing::post};
    use nave_net::SecretText;
    use nave_sops::{KeyService, Request};

    use super::*;
    use crate::AwsKey;

    #[test]
    fn arns_name_their_region() {
        for (arn, wanted) in [
            ("arn:aws:kms:eu-west-1:123:key/a", Some(("eu-west-1", "amazonaws.com"))),
            (
                "arn:aws-cn:kms:cn-north-1:123:alias/a",
                Some(("cn-north-1", "amazonaws.com.cn")),
            ),
            (
                "arn:aws-us-gov:kms:us-gov-west-1:1:key/a",
                Some(("us-gov-west-1", "amazonaws.com")),
            ),
            ("arn:aws:kms:evil.example/:1:key/a", None),
            ("arn:aws:kms::1:key/a", None),
            ("arn:aws:s3:eu-west-1:1:key/a", None),
            ("arn:aws:kms:eu-west-1:1:grant/a", None),
            ("", None),
        ] {
            assert_eq!(region_of(arn), wanted, "{arn}");
        }
    }

    fn key() -> AwsKey {
        AwsKey {
            id: "AKIDEXAMPLE".to_owned(),
            secret: SecretText::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: Some(SecretText::new("session")),
        }
    }

    /// A stand-in that computes the signature from what it got, as AWS does.
    async fn kms() -> String {
        async fn answer(headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
            let header = |name: &str| {
                headers
                    .get(name)
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or_default()
            };
            let text = std::str::from_utf8(&body).expect("the body is text");
            let at: Timestamp = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", header("x-amz-date"))
                .and_then(|time| time.to_datetime())
                .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC))
                .expect("the date is in its format")
                .timestamp();
            let signed = Signed {
                method: "POST",
                host: header("host"),
                path: "/",
                query: &[],
                headers: &[
                    ("content-type", header("content-type")),
                    ("x-amz-target", header("x-amz-target")),
                ],
                body: text.as_bytes(),
                region: "eu-west-1",
                service: "kms",
            };
            let key = AwsCredentials {
                id: key().id,
                secret: key().secret,
                session_token: key().session_token,
                expires: None,
            };
            let wanted = sign(&signed, &key, at);
            let wanted = wanted
                .iter()
                .find(|(name, _)| name == "authorization")
                .map(|(_, value)| value.as_str());
            if wanted != Some(header("authorization")) || header("x-amz-security-token") != "session" {
                let text = r#"{"__type":"InvalidSignatureException","message":"The request signature does not match"}"#;
                return (StatusCode::BAD_REQUEST, text.to_owned());
            }
            let body: Value = serde_json::from_str(text).expect("the body is JSON");
            if header("x-amz-target") != "TrentService.Decrypt" || body["EncryptionContext"] != json!({"app": "x"}) {
                return (
                    StatusCode::BAD_REQUEST,
                    r#"{"__type":"InvalidCiphertextException"}"#.to_owned(),
                );
            }
            (
                StatusCode::OK,
                json!({"Plaintext": STANDARD.encode([9; 32])}).to_string(),
            )
        }
        let router = Router::new().route("/", post(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/")
    }

    async fn ask(context: &[(&str, &str)], role: &str, aws: Option<AwsKey>) -> Answer {
        nave_net::install_crypto_provider();
        let services = KeyServices::new()
            .expect("a client can be made")
            .with_aws_endpoint(kms().await);
        let request = Request {
            service: KeyService::AwsKms {
                arn: "arn:aws:kms:eu-west-1:1:key/a".to_owned(),
                role: role.to_owned(),
                context: context
                    .iter()
                    .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                    .collect(),
                profile: String::new(),
            },
            ciphertext: "AQ==".to_owned(),
        };
        let credentials = Credentials {
            aws,
            ..Credentials::default()
        };
        services.decrypt(&request, &credentials).await
    }

    #[tokio::test]
    async fn data_keys_are_decrypted_by_kms() {
        let ok = ask(&[("app", "x")], "", Some(key())).await;
        assert_eq!(ok.expect("all is right").as_slice(), [9; 32]);
        let error = ask(&[], "", Some(key())).await.unwrap_err();
        assert_eq!(error, "AWS KMS answered 400: InvalidCiphertextException");
        let wrong = AwsKey {
            secret: SecretText::new("canary"),
            ..key()
        };
        let error = ask(&[("app", "x")], "", Some(wrong)).await.unwrap_err();
        assert_eq!(
            error,
            "AWS KMS answered 400: InvalidSignatureException The request signature does not match"
        );
        let error = ask(&[], "arn:aws:iam::1:user/u", Some(key())).await.unwrap_err();
        assert_eq!(error, "'arn:aws:iam::1:user/u' is no ARN of a role");
        let error = ask(&[], "", None).await.unwrap_err();
        assert!(error.starts_with("there is no access key for AWS"), "{error}");
    }

    #[test]
    fn a_signature_is_what_the_algorithm_gives() {
        // Computed apart from this code, with the algorithm as AWS describes it.
        let signed = Signed {
            method: "POST",
            host: "kms.eu-west-1.amazonaws.com",
            path: "/",
            query: &[],
            headers: &[("content-type", CONTENT_TYPE), ("x-amz-target", TARGET)],
            body: br#"{"CiphertextBlob":"AQ=="}"#,
            region: "eu-west-1",
            service: "kms",
        };
        let key = AwsCredentials {
            id: key().id,
            secret: key().secret,
            session_token: None,
            expires: None,
        };
        let at = "2024-01-15T10:20:30Z".parse().expect("a point in time");
        let headers = sign(&signed, &key, at);
        let (_, authorization) = headers.last().expect("it is the last");
        assert_eq!(authorization, WANTED);
    }

    const WANTED: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20240115/eu-west-1/kms/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=b44b452ccff4c5340e4e0eb0b330fcd12f844c97e56f26888c092570972a08e8";
}
