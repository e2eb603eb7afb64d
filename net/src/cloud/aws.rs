//! Credentials of AWS: of the process by the chain of AWS's own libraries, of an account by its role.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use url::{Host, Url};

use crate::{
    SecretText,
    cloud::{
        Cloud, CloudError, Identity, Service, Settings,
        http::{form, json, succeed, text, xml},
        sigv4::{Signed, sign},
    },
};

/// What signs requests to AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsCredentials {
    /// `AKIA…` or `ASIA…`; not secret.
    pub id: String,
    /// Signs.
    pub secret: SecretText,
    /// Of temporary keys.
    pub session_token: Option<SecretText>,
    /// Of temporary keys.
    pub expires: Option<Timestamp>,
}

const STS: &str = "AWS STS";
const METADATA: &str = "the metadata service of EC2";
const POD_IDENTITY: &str = "the credentials endpoint of the pod";
const ROLE: &str = "eks.amazonaws.com/role-arn";
const AUDIENCE: &str = "sts.amazonaws.com";
/// Keys without an end are looked up again after this time: the environment of a process does not change.
const STATIC_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// The metadata service is near; where there is none, nobody answers.
const NEAR: std::time::Duration = std::time::Duration::from_secs(5);

/// The domain of the services of a region.
pub fn partition_suffix(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}

impl Cloud {
    /// Credentials for requests to AWS. Without a region the environment's is taken (`AWS_REGION`).
    ///
    /// # Errors
    /// There are none, or AWS refuses to give them.
    pub async fn aws_credentials(
        &self,
        identity: &Identity,
        region: Option<&str>,
    ) -> Result<AwsCredentials, CloudError> {
        self.aws_credentials_of(identity, region, None).await
    }

    /// The same, of a token service elsewhere (`spec.sts.endpoint`): `https://sts.….amazonaws.com`, as Flux checks it.
    ///
    /// # Errors
    /// As there, and the address is none of AWS's token services.
    pub async fn aws_credentials_of(
        &self,
        identity: &Identity,
        region: Option<&str>,
        service: Option<&str>,
    ) -> Result<AwsCredentials, CloudError> {
        let region = self.region(region)?;
        let sts = match service {
            None => self.sts(&region),
            Some(address) if is_token_service(address) => address.to_owned(),
            Some(address) => {
                return Err(CloudError::Setting(format!(
                    "'{address}' is no address of AWS's token service, such as https://sts.{region}.amazonaws.com"
                )));
            }
        };
        let account = self.account(identity).await?;
        let role = match &account {
            None => String::new(),
            Some(account) => account.needed(ROLE, is_role)?.to_owned(),
        };
        let name = format!("aws {identity} {role} {region} {sts}");
        let fetch = async {
            let found = match &account {
                None => self.aws_of_process(&sts).await?,
                Some(account) => {
                    let session = session_name(&format!(
                        "{}.{}.{region}.fluxcd.io",
                        account.name(),
                        account.namespace()
                    ));
                    let token = account.token(AUDIENCE).await?;
                    self.assume_with_token(&sts, &role, &session, &token).await?
                }
            };
            let until = found.expires.unwrap_or_else(|| Timestamp::now() + STATIC_LIFE);
            Ok((found, until))
        };
        self.inner.aws.get(name, self.usage.as_deref(), fetch).await
    }

    /// Credentials of a role that others may assume.
    ///
    /// # Errors
    /// AWS refuses.
    pub async fn aws_assume_role(
        &self,
        credentials: &AwsCredentials,
        role: &str,
        region: &str,
    ) -> Result<AwsCredentials, CloudError> {
        if !is_role(role) {
            return Err(CloudError::Setting(format!("'{role}' is no ARN of a role")));
        }
        let address = self.sts(region);
        let url = Url::parse(&format!("{address}/")).map_err(|_| bad_address(&address))?;
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("Action", "AssumeRole"),
                ("Version", "2011-06-15"),
                ("RoleArn", role),
                ("RoleSessionName", "nave"),
            ])
            .finish();
        let kind = "application/x-www-form-urlencoded; charset=utf-8";
        let host = host_of(&url).ok_or_else(|| bad_address(&address))?;
        let signed = Signed {
            method: "POST",
            host: &host,
            path: "/",
            query: &[],
            headers: &[("content-type", kind)],
            body: body.as_bytes(),
            region,
            service: "sts",
        };
        let mut request = self.inner.client.post(url);
        for (name, value) in sign(&signed, credentials, Timestamp::now()) {
            request = request.header(name, value);
        }
        let answer = succeed(STS, request.body(body)).await?;
        of_xml(&answer)
    }

    fn region(&self, region: Option<&str>) -> Result<String, CloudError> {
        let settings = &self.inner.settings;
        let region = region
            .filter(|region| !region.is_empty())
            .or_else(|| settings.get("AWS_REGION"))
            .or_else(|| settings.get("AWS_DEFAULT_REGION"))
            .ok_or_else(|| {
                CloudError::Setting("no region of AWS is known: neither the object nor AWS_REGION names one".to_owned())
            })?;
        // It becomes part of a host's name.
        if !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(CloudError::Setting(format!("'{region}' is no region of AWS")));
        }
        Ok(region.to_owned())
    }

    pub(crate) fn sts(&self, region: &str) -> String {
        self.inner.settings.endpoint(Service::AwsSts, || {
            format!("https://sts.{region}.{}", partition_suffix(region))
        })
    }

    async fn aws_of_process(&self, sts: &str) -> Result<AwsCredentials, CloudError> {
        let settings = &self.inner.settings;
        if let (Some(id), Some(secret)) = (settings.get("AWS_ACCESS_KEY_ID"), settings.get("AWS_SECRET_ACCESS_KEY")) {
            return Ok(AwsCredentials {
                id: id.to_owned(),
                secret: SecretText::new(secret),
                session_token: settings.get("AWS_SESSION_TOKEN").map(SecretText::new),
                expires: None,
            });
        }
        if let Some(role) = settings.get("AWS_ROLE_ARN")
            && let Some(token) = settings.file("AWS_WEB_IDENTITY_TOKEN_FILE").await?
        {
            let session = settings.get("AWS_ROLE_SESSION_NAME").unwrap_or("nave").to_owned();
            return self
                .assume_with_token(sts, role, &session, &SecretText::new(token))
                .await;
        }
        if let Some(address) = pod_endpoint(settings)? {
            return self.aws_of_pod(&address).await;
        }
        if settings
            .get("AWS_EC2_METADATA_DISABLED")
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
        {
            return Err(CloudError::Nowhere {
                provider: "AWS",
                tried: "the environment has neither keys, nor a role with a token's file, nor the endpoint of a pod \
                        identity, and AWS_EC2_METADATA_DISABLED is set"
                    .to_owned(),
            });
        }
        self.aws_of_instance().await
    }

    /// IAM roles for service accounts.
    async fn assume_with_token(
        &self,
        sts: &str,
        role: &str,
        session: &str,
        token: &SecretText,
    ) -> Result<AwsCredentials, CloudError> {
        let request = form(
            self.inner.client.post(format!("{sts}/")),
            &[
                ("Action", "AssumeRoleWithWebIdentity"),
                ("Version", "2011-06-15"),
                ("RoleArn", role),
                ("RoleSessionName", session),
                ("WebIdentityToken", token.expose()),
            ],
        )
        // What AWS's own libraries read.
        .header("accept", "text/xml");
        of_xml(&succeed(STS, request).await?)
    }

    /// EKS Pod Identity, and the roles of tasks.
    async fn aws_of_pod(&self, address: &str) -> Result<AwsCredentials, CloudError> {
        let settings = &self.inner.settings;
        let mut request = self.inner.client.get(address).timeout(NEAR);
        let token = match settings.file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").await? {
            Some(token) => Some(token),
            None => settings.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(str::to_owned),
        };
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let answer = json(POD_IDENTITY, request).await?;
        of_json(POD_IDENTITY, &answer)
    }

    /// Version 2 of the instance metadata service: a token first.
    async fn aws_of_instance(&self) -> Result<AwsCredentials, CloudError> {
        let address = self
            .inner
            .settings
            .endpoint(Service::AwsMetadata, || "http://169.254.169.254".to_owned());
        let client = &self.inner.client;
        let request = client
            .put(format!("{address}/latest/api/token"))
            .header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
            .header("content-length", "0")
            .timeout(NEAR);
        let token = succeed(METADATA, request).await.map_err(|error| CloudError::Nowhere {
            provider: "AWS",
            tried: format!(
                "the environment has neither keys, nor a role with a token's file, nor the endpoint of a pod identity, \
                 and {error}"
            ),
        })?;
        let token = String::from_utf8_lossy(&token).trim().to_owned();
        let get = |path: &str| {
            client
                .get(format!("{address}/latest/meta-data/iam/security-credentials/{path}"))
                .header("x-aws-ec2-metadata-token", token.as_str())
                .timeout(NEAR)
        };
        let role = succeed(METADATA, get("")).await?;
        let role = String::from_utf8_lossy(&role)
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        if role.is_empty() || role.contains('/') {
            return Err(CloudError::Answer {
                service: METADATA,
                detail: "it names no role of this instance".to_owned(),
            });
        }
        let answer = json(METADATA, get(&role)).await?;
        of_json(METADATA, &answer)
    }
}

/// `arn:aws:iam::<account>:role/<name>`, as Flux checks it.
fn is_role(text: &str) -> bool {
    let Some((partition, rest)) = text.strip_prefix("arn:aws").and_then(|rest| rest.split_once(":iam::")) else {
        return false;
    };
    let Some((account, role)) = rest.split_once(":role/") else {
        return false;
    };
    partition
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && (1..=30).contains(&account.len())
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && (1..=200).contains(&role.chars().count())
}

/// `^https://(.+\.)?sts(-fips)?(\.[^.]+)?(\.vpce)?\.amazonaws\.com$`, as Flux checks it.
fn is_token_service(address: &str) -> bool {
    let Some(host) = address
        .strip_prefix("https://")
        .and_then(|rest| rest.strip_suffix(".amazonaws.com"))
    else {
        return false;
    };
    if !host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
    {
        return false;
    }
    let host = host.strip_suffix(".vpce").unwrap_or(host);
    let mut labels: Vec<&str> = host.split('.').collect();
    if labels.iter().any(|label| label.is_empty()) {
        return false;
    }
    let is_sts = |label: Option<&&str>| label.is_some_and(|label| matches!(*label, "sts" | "sts-fips"));
    if is_sts(labels.last()) {
        return true;
    }
    labels.pop();
    is_sts(labels.last())
}

/// At most 64 of the characters that AWS takes.
fn session_name(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(*c))
        .take(64)
        .collect()
}

/// Where a pod asks for credentials. As AWS's libraries have it, plain HTTP is for this machine and for the two
/// addresses of the agents of ECS and EKS only.
fn pod_endpoint(settings: &Settings) -> Result<Option<String>, CloudError> {
    if let Some(path) = settings.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        return Ok(Some(format!("http://169.254.170.2{path}")));
    }
    let Some(address) = settings.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") else {
        return Ok(None);
    };
    let refused = || {
        CloudError::Setting(format!(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI '{address}' is neither https nor an address of this machine or of its agent"
        ))
    };
    let url = Url::parse(address).map_err(|_| refused())?;
    let is_near = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback() || [[169, 254, 170, 2], [169, 254, 170, 23]].contains(&ip.octets()),
        Some(Host::Ipv6(ip)) => ip.is_loopback() || ip.to_string() == "fd00:ec2::23",
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => Ok(Some(address.to_owned())),
        "http" if is_near => Ok(Some(address.to_owned())),
        _ => Err(refused()),
    }
}

fn of_xml(body: &[u8]) -> Result<AwsCredentials, CloudError> {
    let body = String::from_utf8_lossy(body);
    let field = |name: &str| {
        xml(&body, name).ok_or_else(|| CloudError::Answer {
            service: STS,
            detail: format!("it has no {name}"),
        })
    };
    let expires = field("Expiration")?;
    Ok(AwsCredentials {
        id: field("AccessKeyId")?,
        secret: SecretText::new(field("SecretAccessKey")?),
        session_token: Some(SecretText::new(field("SessionToken")?)),
        expires: Some(moment(STS, &expires)?),
    })
}

fn of_json(service: &'static str, answer: &Value) -> Result<AwsCredentials, CloudError> {
    if let Some(code) = answer.get("Code").and_then(Value::as_str)
        && code != "Success"
    {
        let detail = format!("it says {code}");
        return Err(CloudError::Answer { service, detail });
    }
    let expires = text(service, answer, "/Expiration")?;
    Ok(AwsCredentials {
        id: text(service, answer, "/AccessKeyId")?.to_owned(),
        secret: SecretText::new(text(service, answer, "/SecretAccessKey")?),
        session_token: Some(SecretText::new(text(service, answer, "/Token")?)),
        expires: Some(moment(service, expires)?),
    })
}

pub(crate) fn moment(service: &'static str, text: &str) -> Result<Timestamp, CloudError> {
    text.parse().map_err(|_| CloudError::Answer {
        service,
        detail: format!("'{text}' is no point in time"),
    })
}

pub(crate) fn bad_address(address: &str) -> CloudError {
    CloudError::Setting(format!("'{address}' is no address of a service"))
}

/// Host, and port where it is not the scheme's.
pub(crate) fn host_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn roles_and_sessions_are_checked() {
        for (role, wanted) in [
            ("arn:aws:iam::123456789012:role/path/name", true),
            ("arn:aws-us-gov:iam::1:role/x", true),
            ("arn:aws:iam::x:role/x", false),
            ("arn:aws:iam::1:user/x", false),
            ("arn:aws:iam::1:role/", false),
            ("", false),
        ] {
            assert_eq!(is_role(role), wanted, "{role}");
        }
        let long = session_name(&format!("app.team space/{}", "x".repeat(100)));
        assert!(long.starts_with("app.teamspacex") && long.len() == 64);
    }

    #[test]
    fn token_services_are_awss() {
        for (address, wanted) in [
            ("https://sts.amazonaws.com", true),
            ("https://sts.eu-west-1.amazonaws.com", true),
            ("https://sts-fips.us-east-1.amazonaws.com", true),
            ("https://vpce-1.sts.us-east-1.vpce.amazonaws.com", true),
            ("https://sts.us-east-1.x.amazonaws.com", false),
            ("http://sts.amazonaws.com", false),
            ("https://sts.example.com", false),
            ("https://evil.com/sts.amazonaws.com", false),
            ("https://a@sts.amazonaws.com", false),
            ("https://.amazonaws.com", false),
        ] {
            assert_eq!(is_token_service(address), wanted, "{address}");
        }
    }

    #[test]
    fn credentials_are_not_asked_for_anywhere() {
        let endpoint = |address: &str| {
            let name = "AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned();
            pod_endpoint(&Settings::from_variables([(name, address.to_owned())])).map(|found| found.is_some())
        };
        for near in [
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1",
            "http://127.0.0.1:1/",
            "https://a",
        ] {
            assert!(endpoint(near).expect("it is allowed"), "{near}");
        }
        for far in ["http://10.0.0.1/", "http://example.com/", "ftp://localhost/", "x"] {
            endpoint(far).expect_err(far);
        }
    }
}
