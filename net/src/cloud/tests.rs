//! Every way to an identity, against stand-ins that take what the real services take and refuse everything else.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::json;

use super::*;

/// What somebody asked.
#[derive(Debug, Clone)]
struct Asked {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    form: BTreeMap<String, String>,
    body: String,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn field(&self, name: &str) -> &str {
        self.form.get(name).map_or("", String::as_str)
    }

    fn target(&self) -> (&str, &str) {
        (self.method.as_str(), self.path.as_str())
    }
}

type Reply = (u16, String);
type Answers = Arc<dyn Fn(&Asked) -> Option<Reply> + Send + Sync>;

/// A server on loopback, and how often it was asked.
struct StandIn {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl StandIn {
    async fn start(answers: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> StandIn {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let state: (Answers, Arc<Mutex<Vec<Asked>>>) = (Arc::new(answers), asked.clone());
        let router = Router::new().fallback(serve).with_state(state);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        StandIn { address, asked }
    }

    fn count(&self) -> usize {
        self.asked.lock().expect("nobody panics with it").len()
    }
}

async fn serve(
    State((answers, seen)): State<(Answers, Arc<Mutex<Vec<Asked>>>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let pairs = |text: &[u8]| url::form_urlencoded::parse(text).into_owned().collect();
    let asked = Asked {
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: pairs(uri.query().unwrap_or_default().as_bytes()),
        headers: headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect(),
        form: pairs(&body),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let reply = answers(&asked);
    seen.lock().expect("nobody panics with it").push(asked);
    let (status, text) = reply.unwrap_or((400, "this is not what the service takes".to_owned()));
    (StatusCode::from_u16(status).expect("a status"), text)
}

/// One account with these annotations; its token names itself and its audience.
struct OneAccount(BTreeMap<String, String>);

impl Accounts for OneAccount {
    fn annotations<'a>(&'a self, _: &'a str, name: &'a str) -> AccountAnswer<'a, BTreeMap<String, String>> {
        let found = if name == "app" {
            Ok(self.0.clone())
        } else {
            Err("not found".to_owned())
        };
        Box::pin(std::future::ready(found))
    }

    fn token<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        audiences: &'a [String],
    ) -> AccountAnswer<'a, AccountToken> {
        Box::pin(std::future::ready(Ok(AccountToken {
            value: SecretText::new(format!("{namespace}/{name} for {}", audiences.join(","))),
            expires: jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1),
        })))
    }
}

fn cloud(variables: &[(&str, &str)], endpoints: &[(Service, &str)], annotations: &[(&str, &str)]) -> Cloud {
    crate::install_crypto_provider();
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    let mut settings = Settings::from_variables(variables.iter().map(owned));
    for (service, address) in endpoints {
        settings = settings.with_endpoint(*service, *address);
    }
    let accounts = OneAccount(annotations.iter().map(owned).collect());
    Cloud::new(settings, Some(Arc::new(accounts)), CacheLimits::default()).expect("a client can be made")
}

fn app() -> Identity {
    Identity::Account {
        namespace: "team".to_owned(),
        name: "app".to_owned(),
    }
}

const LATER: &str = "2096-01-01T00:00:00Z";
const ROLE: &str = "arn:aws:iam::123456789012:role/app";

fn sts_answer(operation: &str, id: &str) -> String {
    format!(
        "<{operation}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{operation}Result><Credentials>\
         <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>s/&amp;</SecretAccessKey><SessionToken>t==</SessionToken>\
         <Expiration>{LATER}</Expiration></Credentials></{operation}Result></{operation}Response>"
    )
}

/// STS, which gives keys for tokens, and whom a signed request with those keys gets.
fn aws(asked: &Asked) -> Option<Reply> {
    let is_signed = |service: &str| {
        let credential = "Credential=ASIAWEB/";
        let authorization = asked.header("authorization");
        authorization.contains(credential)
            && authorization.contains(&format!("/eu-west-1/{service}/aws4_request"))
            && asked.header("x-amz-security-token") == "t=="
    };
    match (asked.target(), asked.field("Action")) {
        (("POST", "/"), "AssumeRoleWithWebIdentity") => {
            if asked.field("Version") != "2011-06-15" || asked.field("RoleArn") != ROLE {
                return None;
            }
            let wanted = [
                ("team/app for sts.amazonaws.com", "app.team.eu-west-1.fluxcd.io"),
                ("token of the pod", "pod"),
            ];
            if wanted.contains(&(asked.field("WebIdentityToken"), asked.field("RoleSessionName"))) {
                return Some((200, sts_answer("AssumeRoleWithWebIdentity", "ASIAWEB")));
            }
            let text =
                "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>no</Message></Error></ErrorResponse>";
            Some((400, text.to_owned()))
        }
        (("POST", "/"), "AssumeRole") if is_signed("sts") && asked.field("RoleArn") == ROLE => {
            Some((200, sts_answer("AssumeRole", "ASIAROLE")))
        }
        (("POST", "/"), "") if asked.body == "{}" => {
            let data = json!({"authorizationToken": STANDARD.encode("AWS:password"), "expiresAt": 4.0e9});
            match asked.header("x-amz-target") {
                "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken" if is_signed("ecr") => {
                    Some((200, json!({"authorizationData": [data]}).to_string()))
                }
                "SpencerFrontendService.GetAuthorizationToken" => {
                    Some((200, json!({"authorizationData": data}).to_string()))
                }
                _ => None,
            }
        }
        (("GET", "/clusters/prod"), _) if is_signed("eks") => Some((
            200,
            json!({"cluster": {"endpoint": "https://a.eks.amazonaws.com",
                "certificateAuthority": {"data": STANDARD.encode("PEM")}}})
            .to_string(),
        )),
        (("PUT", "/latest/api/token"), _) if asked.header("x-aws-ec2-metadata-token-ttl-seconds") == "21600" => {
            Some((200, "imds".to_owned()))
        }
        (("GET", path), _) if asked.header("x-aws-ec2-metadata-token") == "imds" => {
            let keys = json!({"Code": "Success", "AccessKeyId": "ASIANODE", "SecretAccessKey": "s", "Token": "t",
                "Expiration": LATER});
            match path {
                "/latest/meta-data/iam/security-credentials/" => Some((200, "node\n".to_owned())),
                "/latest/meta-data/iam/security-credentials/node" => Some((200, keys.to_string())),
                _ => None,
            }
        }
        (("GET", "/v1/credentials"), _) if asked.header("authorization") == "pod token" => Some((
            200,
            json!({"AccessKeyId": "ASIAPOD", "SecretAccessKey": "s", "Token": "t", "Expiration": LATER}).to_string(),
        )),
        _ => None,
    }
}

#[tokio::test]
async fn the_process_is_somebody_in_aws() {
    let server = StandIn::start(aws).await;
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("it is written");
        path.to_str().expect("text").to_owned()
    };
    let (web, pod) = (write("web", "token of the pod\n"), write("pod", "pod token"));
    let full = format!("{}/v1/credentials", server.address);
    let address = server.address.as_str();
    for (variables, wanted) in [
        (
            vec![("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "s")],
            "AKIA",
        ),
        (
            vec![
                ("AWS_ROLE_ARN", ROLE),
                ("AWS_ROLE_SESSION_NAME", "pod"),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", &web),
                ("AWS_ENDPOINT_URL_STS", address),
            ],
            "ASIAWEB",
        ),
        (
            vec![
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", full.as_str()),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &pod),
            ],
            "ASIAPOD",
        ),
        (vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)], "ASIANODE"),
    ] {
        let cloud = cloud(&variables, &[], &[]);
        let found = cloud.aws_credentials(&Identity::Process, Some("eu-west-1")).await;
        assert_eq!(found.expect("all is right").id, wanted);
        let error = cloud.aws_credentials(&Identity::Process, None).await.unwrap_err();
        assert!(error.to_string().contains("AWS_REGION"), "{error}");
    }
    let nobody = cloud(&[("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_REGION", "x")], &[], &[]);
    let error = nobody.aws_credentials(&Identity::Process, None).await.unwrap_err();
    assert!(matches!(error, CloudError::Nowhere { provider: "AWS", .. }), "{error}");
}

#[tokio::test]
async fn an_account_is_somebody_in_aws_and_what_it_gets_is_kept() {
    let server = StandIn::start(aws).await;
    let variables = [("AWS_ENDPOINT_URL", server.address.as_str())];
    let annotated = cloud(&variables, &[], &[("eks.amazonaws.com/role-arn", ROLE)]);
    let found = annotated
        .aws_credentials(&app(), Some("eu-west-1"))
        .await
        .expect("all is right");
    assert_eq!((found.id.as_str(), found.secret.expose()), ("ASIAWEB", "s/&"));
    annotated
        .aws_credentials(&app(), Some("eu-west-1"))
        .await
        .expect("it is kept");
    assert_eq!(server.count(), 1);
    let role = annotated
        .aws_assume_role(&found, ROLE, "eu-west-1")
        .await
        .expect("it may");
    assert_eq!(role.id, "ASIAROLE");

    let host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let login = annotated
        .registry_login(Provider::Aws, &app(), host)
        .await
        .expect("all is right");
    assert_eq!((login.username.as_str(), login.password.expose()), ("AWS", "password"));
    let before = server.count();
    annotated
        .registry_login(Provider::Aws, &app(), host)
        .await
        .expect("it is kept");
    assert_eq!(server.count(), before);
    let error = annotated
        .registry_login(Provider::Aws, &app(), "ghcr.io")
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "registry 'ghcr.io' is not one of provider 'aws'");

    let bare = cloud(&variables, &[], &[]);
    let error = bare.aws_credentials(&app(), Some("eu-west-1")).await.unwrap_err();
    let wanted = "service account 'team/app': annotation eks.amazonaws.com/role-arn is not set";
    assert_eq!(error.to_string(), wanted);
    let other = cloud(
        &variables,
        &[],
        &[("eks.amazonaws.com/role-arn", "arn:aws:iam::1:role/other")],
    );
    let error = other.aws_credentials(&app(), Some("eu-west-1")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "AWS STS answered with HTTP 400: this is not what the service takes"
    );
}

#[tokio::test]
async fn clusters_of_eks_are_described_and_take_presigned_addresses() {
    let server = StandIn::start(aws).await;
    let variables = [("AWS_ENDPOINT_URL", server.address.as_str())];
    let cloud = cloud(&variables, &[], &[("eks.amazonaws.com/role-arn", ROLE)]);
    let mut request = ClusterRequest {
        provider: Provider::Aws,
        cluster: "arn:aws:eks:eu-west-1:1:cluster/prod".to_owned(),
        address: None,
        ca: None,
    };
    let place = cloud.cluster_place(&app(), &request).await.expect("it is described");
    let wanted = ClusterPlace {
        address: "https://a.eks.amazonaws.com:443".to_owned(),
        ca: Some("PEM".to_owned()),
    };
    assert_eq!(place, wanted);
    request.address = Some("https://b.eks.amazonaws.com".to_owned());
    let error = cloud.cluster_place(&app(), &request).await.unwrap_err();
    assert!(error.to_string().contains("has the address 'https://a.eks"), "{error}");
    let before = server.count();
    request.ca = Some("PEM of mine".to_owned());
    let place = cloud
        .cluster_place(&app(), &request)
        .await
        .expect("nobody needs to be asked");
    assert_eq!(
        (place.address.as_str(), server.count()),
        ("https://b.eks.amazonaws.com:443", before)
    );

    let token = cloud
        .cluster_token(&app(), Provider::Aws, &request.cluster)
        .await
        .expect("all is right");
    let encoded = token
        .value
        .expose()
        .strip_prefix("k8s-aws-v1.")
        .expect("EKS's prefix")
        .to_owned();
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).expect("base64")).expect("text");
    for part in [
        "/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ASIAWEB%2F",
        "&X-Amz-Expires=900&X-Amz-Security-Token=t%3D%3D&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&X-Amz-Signature=",
    ] {
        assert!(text.contains(part), "{text}");
    }
    request.cluster = "arn:aws:eks:eu-west-1:1:cluster/../x".to_owned();
    cloud
        .cluster_place(&app(), &request)
        .await
        .expect_err("it is no cluster");
}

const POOL: &str = "projects/1/locations/global/workloadIdentityPools/pool/providers/p";

fn gcp(asked: &Asked) -> Option<Reply> {
    let token = |value: &str| {
        Some((
            200,
            json!({"access_token": value, "expires_in": 3599, "token_type": "Bearer"}).to_string(),
        ))
    };
    let metadata = asked.header("metadata-flavor") == "Google";
    match asked.target() {
        ("GET", "/computeMetadata/v1/instance/service-accounts/default/token") if metadata => token("of the node"),
        ("GET", "/computeMetadata/v1/project/project-id") if metadata => Some((200, "proj".to_owned())),
        ("GET", "/computeMetadata/v1/instance/attributes/cluster-location") if metadata => Some((200, "eu".to_owned())),
        ("GET", "/computeMetadata/v1/instance/attributes/cluster-name") if metadata => Some((200, "c".to_owned())),
        ("POST", "/v1/token") => {
            let wanted = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ];
            let both = "https://www.googleapis.com/auth/cloud-platform https://www.googleapis.com/auth/userinfo.email";
            let pool = format!("//iam.googleapis.com/{POOL}");
            let gke = "identitynamespace:proj.svc.id.goog:https://container.googleapis.com/v1/projects/proj/locations/eu/clusters/c";
            if wanted.iter().any(|(name, value)| asked.field(name) != *value) {
                return None;
            }
            let seen = (
                asked.field("subject_token"),
                asked.field("audience"),
                asked.field("scope"),
            );
            if seen == (&format!("team/app for {pool}"), &pool, both) {
                token("federated")
            } else if seen
                == (
                    "team/app for proj.svc.id.goog",
                    gke,
                    "https://www.googleapis.com/auth/cloud-platform",
                )
            {
                token("for one call")
            } else {
                None
            }
        }
        ("POST", "/v1/projects/-/serviceAccounts/sa@proj.iam.gserviceaccount.com:generateAccessToken")
            if asked.header("authorization") == "Bearer for one call" =>
        {
            Some((
                200,
                json!({"accessToken": "impersonated", "expireTime": LATER}).to_string(),
            ))
        }
        ("GET", "/v1/projects/p/locations/l/clusters/c") if asked.header("authorization").starts_with("Bearer ") => {
            Some((
                200,
                json!({"endpoint": "34.1.2.3", "masterAuth": {"clusterCaCertificate": STANDARD.encode("PEM")}})
                    .to_string(),
            ))
        }
        ("POST", "/key") => {
            let assertion = asked.field("assertion");
            let part = |at: usize| -> serde_json::Value {
                let text = assertion.split('.').nth(at).unwrap_or_default();
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap_or_default()).unwrap_or_default()
            };
            let (header, claims) = (part(0), part(1));
            let is_right = asked.field("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer"
                && header == json!({"alg": "RS256", "kid": "k1", "typ": "JWT"})
                && claims["iss"] == "sa@p"
                && claims["exp"].as_i64() == claims["iat"].as_i64().map(|at| at + 3600)
                && assertion.split('.').count() == 3;
            if is_right { token("of a key") } else { None }
        }
        _ => None,
    }
}

#[tokio::test]
async fn all_ways_into_google_cloud() {
    let server = StandIn::start(gcp).await;
    let host = server.address.strip_prefix("http://").expect("it is plain");
    let endpoints = [
        (Service::GcpSts, server.address.as_str()),
        (Service::GcpIam, server.address.as_str()),
        (Service::GcpContainer, server.address.as_str()),
    ];
    let variables = [("GCE_METADATA_HOST", host)];
    let of = |annotations: &[(&str, &str)]| cloud(&variables, &endpoints, annotations);
    let provider = ("gcp.auth.fluxcd.io/workload-identity-provider", POOL);
    let email = ("iam.gke.io/gcp-service-account", "sa@proj.iam.gserviceaccount.com");
    for (identity, annotations, wanted) in [
        (Identity::Process, vec![], "of the node"),
        (app(), vec![provider], "federated"),
        (app(), vec![email], "impersonated"),
    ] {
        let token = of(&annotations).gcp_token(&identity).await.expect(wanted);
        assert_eq!(token.value.expose(), wanted);
    }
    let login = of(&[])
        .registry_login(Provider::Gcp, &Identity::Process, "eu-docker.pkg.dev")
        .await;
    let login = login.expect("all is right");
    assert_eq!(
        (login.username.as_str(), login.password.expose()),
        ("oauth2accesstoken", "of the node")
    );
    let error = of(&[(provider.0, "projects/x")]).gcp_token(&app()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("annotation gcp.auth.fluxcd.io/workload-identity-provider has no such"),
        "{error}"
    );
    let error = of(&[(email.0, "a/b@c")]).gcp_token(&app()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("annotation iam.gke.io/gcp-service-account has no such"),
        "{error}"
    );

    let request = ClusterRequest {
        provider: Provider::Gcp,
        cluster: "projects/p/locations/l/clusters/c".to_owned(),
        address: Some("https://34.1.2.3".to_owned()),
        ca: None,
    };
    let place = of(&[])
        .cluster_place(&Identity::Process, &request)
        .await
        .expect("it is described");
    assert_eq!(
        (place.address.as_str(), place.ca.as_deref()),
        ("https://34.1.2.3:443", Some("PEM"))
    );
    let token = of(&[])
        .cluster_token(&Identity::Process, Provider::Gcp, &request.cluster)
        .await;
    assert_eq!(token.expect("all is right").value.expose(), "of the node");
}

#[tokio::test]
async fn keys_of_google_cloud_sign_for_themselves() {
    let server = StandIn::start(gcp).await;
    let text = |uri: &str| {
        json!({"type": "service_account", "client_email": "sa@p", "private_key_id": "k1", "private_key": rsa_key(),
            "token_uri": uri})
        .to_string()
    };
    let cloud = cloud(&[], &[], &[]);
    let key = GoogleKey::from_json(&text(&format!("{}/key", server.address))).expect("it is one");
    for _ in 0..2 {
        let token = cloud.gcp_token_of_key(&key).await.expect("all is right");
        assert_eq!(token.value.expose(), "of a key");
    }
    assert_eq!(server.count(), 1);
    for (wrong, wanted) in [
        ("{".to_owned(), "it is no JSON"),
        (text("http://evil.example/"), "token_uri"),
        (
            json!({"type": "external_account"}).to_string(),
            "type 'external_account' is not supported",
        ),
        (
            json!({"type": "service_account", "client_email": "a"}).to_string(),
            "it has no private_key",
        ),
    ] {
        let error = GoogleKey::from_json(&wrong).unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains("BEGIN"), "{error}");
    }
}

fn azure(asked: &Asked) -> Option<Reply> {
    let token = |value: &str| {
        Some((
            200,
            json!({"access_token": value, "expires_in": 3599, "token_type": "Bearer"}).to_string(),
        ))
    };
    match asked.target() {
        ("POST", "/tenant-1/oauth2/v2.0/token") => {
            if (asked.field("grant_type"), asked.field("client_id")) != ("client_credentials", "client-1") {
                return None;
            }
            let assertion = asked.field("client_assertion");
            let is_assertion =
                asked.field("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            match (asked.field("client_secret"), assertion) {
                ("secret", "") => token("of a secret"),
                ("", "federated") if is_assertion => token("of the pod"),
                ("", "team/app for api://AzureADTokenExchange") if is_assertion => {
                    token(&format!("of the account for {}", asked.field("scope")))
                }
                ("", jwt) if is_assertion && jwt.split('.').count() == 3 => token("of a certificate"),
                _ => Some((
                    401,
                    json!({"error": "invalid_client", "error_description": "AADSTS7000215"}).to_string(),
                )),
            }
        }
        ("GET", "/metadata/identity/oauth2/token") if asked.header("metadata") == "true" => {
            let query = |name: &str| asked.query.get(name).map_or("", String::as_str);
            let is_right = query("api-version") == "2018-02-01" && query("resource") == "https://vault.azure.net";
            let answer =
                json!({"access_token": format!("of the machine {}", query("client_id")), "expires_in": "86399"});
            is_right.then(|| (200, answer.to_string()))
        }
        ("POST", "/oauth2/exchange") => {
            let is_right = asked.field("grant_type") == "access_token"
                && asked.field("service") == "a.azurecr.io"
                && asked.field("access_token") == "of the account for https://management.azure.com/.default";
            let claims = URL_SAFE_NO_PAD.encode(r#"{"exp": 4000000000}"#);
            is_right.then(|| (200, json!({"refresh_token": format!("h.{claims}.s")}).to_string()))
        }
        ("GET", AKS) if asked.query.contains_key("api-version") => Some((
            200,
            json!({"properties": {"aadProfile": {"managed": true}}}).to_string(),
        )),
        ("POST", path) if path == format!("{AKS}/listClusterUserCredential") => {
            let kubeconfig = format!(
                "clusters: [{{name: c, cluster: {{server: 'https://x.azmk8s.io:443', certificate-authority-data: {}}}}}]",
                STANDARD.encode("PEM")
            );
            Some((
                200,
                json!({"kubeconfigs": [{"name": "c", "value": STANDARD.encode(kubeconfig)}]}).to_string(),
            ))
        }
        _ => None,
    }
}

const AKS: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/c";
const VAULT: &str = "https://vault.azure.net/.default";

#[tokio::test]
async fn all_ways_into_azure() {
    let server = StandIn::start(azure).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "federated\n").expect("it is written");
    let path = path.to_str().expect("text");
    let address = server.address.as_str();
    let endpoints = [
        (Service::AzureMetadata, address),
        (Service::AzureManagement, address),
        (Service::AzureRegistry, address),
    ];
    let login = ("AZURE_AUTHORITY_HOST", address);
    let (tenant, client) = (("AZURE_TENANT_ID", "tenant-1"), ("AZURE_CLIENT_ID", "client-1"));
    for (variables, wanted) in [
        (
            vec![login, tenant, client, ("AZURE_CLIENT_SECRET", "secret")],
            "of a secret",
        ),
        (
            vec![login, tenant, client, ("AZURE_FEDERATED_TOKEN_FILE", path)],
            "of the pod",
        ),
        (vec![client], "of the machine client-1"),
        (vec![], "of the machine "),
    ] {
        let token = cloud(&variables, &endpoints, &[])
            .azure_token(&Identity::Process, VAULT)
            .await;
        assert_eq!(token.expect(wanted).value.expose(), wanted);
    }
    let wrong = cloud(
        &[login, tenant, client, ("AZURE_CLIENT_SECRET", "canary")],
        &endpoints,
        &[],
    );
    let error = wrong
        .azure_token(&Identity::Process, VAULT)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "Microsoft Entra ID answered with HTTP 401: invalid_client: AADSTS7000215"
    );

    let annotations = [
        ("azure.workload.identity/tenant-id", "tenant-1"),
        ("azure.workload.identity/client-id", "client-1"),
    ];
    let annotated = cloud(&[login], &endpoints, &annotations);
    let token = annotated.azure_devops_token(&app()).await.expect("all is right");
    let wanted = "of the account for 499b84ac-1321-427f-aa17-267ca6975798/.default";
    assert_eq!(token.value.expose(), wanted);
    let login_of = annotated
        .registry_login(Provider::Azure, &app(), "a.azurecr.io")
        .await
        .expect("all is right");
    assert_eq!(login_of.username, "00000000-0000-0000-0000-000000000000");
    let error = cloud(&[login], &endpoints, &annotations[..1])
        .azure_token(&app(), VAULT)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("azure.workload.identity/client-id is not set"),
        "{error}"
    );

    let request = ClusterRequest {
        provider: Provider::Azure,
        cluster: AKS.to_owned(),
        address: None,
        ca: None,
    };
    let place = annotated
        .cluster_place(&app(), &request)
        .await
        .expect("it is described");
    assert_eq!(
        (place.address.as_str(), place.ca.as_deref()),
        ("https://x.azmk8s.io:443", Some("PEM"))
    );
    let token = annotated
        .cluster_token(&app(), Provider::Azure, AKS)
        .await
        .expect("all is right");
    assert_eq!(
        token.value.expose(),
        "of the account for 6dae42f8-4368-4678-94ff-3960e28e3630/.default"
    );
}

#[tokio::test]
async fn keys_of_azure_are_shown_or_signed_with() {
    let server = StandIn::start(azure).await;
    let cloud = cloud(&[("AZURE_AUTHORITY_HOST", &server.address)], &[], &[]);
    let certificate = rcgen::generate_simple_self_signed(["app".to_owned()])
        .expect("it is made")
        .cert
        .pem();
    let key = |pem: String| AzureKey::Certificate {
        tenant: "tenant-1".to_owned(),
        client: "client-1".to_owned(),
        pem: SecretText::new(pem),
        send_chain: true,
        authority: None,
    };
    let token = cloud
        .azure_token_of_key(&key(format!("{certificate}{}", rsa_key())), VAULT)
        .await;
    assert_eq!(token.expect("all is right").value.expose(), "of a certificate");
    let error = cloud
        .azure_token_of_key(&key("canary".to_owned()), VAULT)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("client certificate: it holds no PEM certificate") && !error.contains("canary"),
        "{error}"
    );
    let secret = AzureKey::Secret {
        tenant: "tenant-1".to_owned(),
        client: "client-1".to_owned(),
        secret: SecretText::new("secret"),
        authority: None,
    };
    assert_eq!(format!("{secret:?}"), "AzureKey(\"secret\", \"client-1\")");
    let token = cloud.azure_token_of_key(&secret, VAULT).await.expect("all is right");
    assert_eq!(token.value.expose(), "of a secret");
}

#[test]
fn whose_identity_an_object_has() {
    let of = |named: &str, default: &str, gate: bool| Cloud::identity_of("team", named, default, gate);
    assert_eq!(of("", "", false).expect("nobody is named"), Identity::Process);
    assert_eq!(of("app", "", true).expect("the gate is open"), app());
    assert_eq!(of("", "app", true).expect("by default"), app());
    let error = of("app", "", false).unwrap_err();
    assert!(
        error.is_gate() && error.to_string().contains("feature gate ObjectLevelWorkloadIdentity"),
        "{error}"
    );
}

/// Made once for all tests of a run.
fn rsa_key() -> &'static str {
    static KEY: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
            .expect("there is randomness")
            .serialize_pem()
    });
    &KEY
}
