//! Identities of clouds, against stand-ins that take what the real services take: who an object is, and what it may read.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::{
    Json, Router,
    extract::Path,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, api::PostParams};
use nave_bed::{Auth, GitServer, GitServerOptions, S3Server};
use nave_net::cloud::{Accounts, CacheLimits, Cloud, Service, Settings};
use nave_targets::ClusterAccounts;
use serde_json::{Value, json};

use crate::{
    bucket,
    objects::condition,
    stage::{Stage, plane},
};

const OF_PROCESS: &str = "token-of-the-process-canary-1";
const OF_ACCOUNT: &str = "token-of-the-account-canary-2";
const DEVOPS: &str = "499b84ac-1321-427f-aa17-267ca6975798/.default";

type Fields = std::collections::BTreeMap<String, String>;

/// Entra ID: the process shows a secret, an account the token that the cluster issued for it.
async fn entra(Path(tenant): Path<String>, body: String) -> Response {
    let fields: Fields = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let token = |value: &str| Json(json!({"access_token": value, "expires_in": 3599})).into_response();
    let is_asked = field("grant_type") == "client_credentials" && field("scope") == DEVOPS;
    match (tenant.as_str(), field("client_id")) {
        ("tenant-1", "process") if is_asked && field("client_secret") == "s3cret" => token(OF_PROCESS),
        ("tenant-1", "account") if is_asked && is_of_account(field("client_assertion")) => token(OF_ACCOUNT),
        _ => (
            StatusCode::UNAUTHORIZED,
            Json(json!({"error": "invalid_client", "error_description": "AADSTS7000215"})),
        )
            .into_response(),
    }
}

/// The claims of a token of the API server; its signature is the API server's matter.
fn is_of_account(token: &str) -> bool {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = token.split('.').nth(1).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap_or_default()).unwrap_or_default();
    claims["aud"] == json!(["api://AzureADTokenExchange"])
        && claims["sub"]
            .as_str()
            .is_some_and(|subject| subject.starts_with("system:serviceaccount:") && subject.ends_with(":app"))
}

async fn metadata(headers: HeaderMap) -> Response {
    if headers.get("metadata-flavor").is_none_or(|value| value != "Google") {
        return StatusCode::FORBIDDEN.into_response();
    }
    Json(json!({"access_token": OF_PROCESS, "expires_in": 3599, "token_type": "Bearer"})).into_response()
}

/// Google's storage with one object, for whoever shows the token.
async fn listing(headers: HeaderMap) -> Response {
    let wanted = format!("Bearer {OF_PROCESS}");
    if headers
        .get("authorization")
        .is_none_or(|value| value.as_bytes() != wanted.as_bytes())
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(json!({"items": [{"name": "a", "etag": "CJ1=", "generation": "1", "size": "1"}]})).into_response()
}

async fn object(Path(name): Path<String>) -> Response {
    if name == "a" {
        return "1".into_response();
    }
    (StatusCode::NOT_FOUND, format!("No such object: team/{name}")).into_response()
}

async fn serve(routes: Router) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}

/// The clouds with these variables, and the service accounts of the real cluster.
async fn cloud(variables: &[(&str, &str)], address: &str) -> Result<Cloud> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let settings = Settings::from_variables(variables)
        .with_endpoint(Service::AzureLogin, format!("http://{address}"))
        .with_endpoint(Service::GcpMetadata, format!("http://{address}"))
        .with_endpoint(Service::AwsSts, format!("http://{address}"));
    let accounts: Arc<dyn Accounts> = Arc::new(ClusterAccounts::new(plane().await.client()));
    Ok(Cloud::new(settings, Some(accounts), CacheLimits::default())?)
}

async fn account(stage: &Stage, name: &str, annotations: Value) -> Result<()> {
    let account: ServiceAccount =
        serde_json::from_value(json!({"metadata": {"name": name, "annotations": annotations}}))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.api().into_client(), &stage.namespace);
    accounts.create(&PostParams::default(), &account).await?;
    Ok(())
}

/// Flux's measures say for which object a cloud was asked.
fn asked_for(stage: &Stage, kind: &str, name: &str) -> Result<()> {
    let shown = String::from_utf8(stage.metrics.render())?;
    let series = format!(
        "gotk_token_cache_events_total{{event_type=\"cache_miss\",kind=\"{kind}\",name=\"{name}\",namespace=\"{}\",operation=\"reconcile\"}}",
        stage.namespace
    );
    anyhow::ensure!(shown.contains(&series), "{series} is not in:\n{shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_of_azure_devops_take_tokens_of_process_and_account() -> Result<()> {
    let address = serve(Router::new().route("/{tenant}/oauth2/v2.0/token", post(entra))).await?;
    let server = GitServer::start(GitServerOptions {
        tls: true,
        auth: Auth::Bearer(OF_PROCESS.into()),
        ..Default::default()
    })
    .await?;
    let repository = server.create_repo("app").await?;
    let commit = repository.commit_files(&[("a", "1")]).await?;
    let revision = format!("main@sha1:{commit}");
    let variables = [
        ("AZURE_TENANT_ID", "tenant-1"),
        ("AZURE_CLIENT_ID", "process"),
        ("AZURE_CLIENT_SECRET", "s3cret"),
    ];
    let cloud = cloud(&variables, &address).await?;
    let mut stage = Stage::start_with("azure", |options| options.cloud = Some(cloud.clone())).await?;
    let ca = server.ca_pem().context("the server speaks TLS")?;
    stage.secret("ca", &[("ca.crt", ca)]).await?;
    let azure = json!({"provider": "azure", "secretRef": {"name": "ca"}});
    stage.apply("process", repository.url(), azure.clone()).await?;
    stage.ready("process", &revision).await?;
    asked_for(&stage, "GitRepository", "process")?;

    // An account of its own needs the gate.
    let mut of_account = azure.clone();
    of_account["serviceAccountName"] = json!("app");
    stage.apply("account", repository.url(), of_account.clone()).await?;
    let message = stage.failed("account", "FeatureGateDisabled").await?;
    assert!(message.contains("ObjectLevelWorkloadIdentity"), "{message}");
    let status = stage.status("account").await?;
    assert!(condition(&serde_json::to_value(&status)?, "Stalled").is_some());

    let open = |options: &mut nave_source_controller::Options| {
        options.cloud = Some(cloud.clone());
        options.object_level_workload_identity = true;
    };
    stage.restart(open).await?;
    let message = stage.failed("account", "AuthenticationFailed").await?;
    assert!(message.contains("/app': it was not found"), "{message}");
    account(
        &stage,
        "app",
        json!({"azure.workload.identity/tenant-id": "tenant-1", "azure.workload.identity/client-id": "account"}),
    )
    .await?;
    // The token of the account is another one than that of the process, which the server takes.
    let message = stage.failed("account", "GitOperationFailed").await?;
    assert!(message.contains("refused access (HTTP 401)"), "{message}");
    server.set_auth(Auth::Bearer(OF_ACCOUNT.into()));
    stage.ready("account", &revision).await?;

    // Whom Entra ID does not know is told so, and no token shows anywhere.
    account(
        &stage,
        "stranger",
        json!({"azure.workload.identity/tenant-id": "tenant-1", "azure.workload.identity/client-id": "nobody"}),
    )
    .await?;
    of_account["serviceAccountName"] = json!("stranger");
    stage.apply("stranger", repository.url(), of_account).await?;
    let message = stage.failed("stranger", "AuthenticationFailed").await?;
    assert!(
        message.contains("Microsoft Entra ID answered with HTTP 401: invalid_client: AADSTS7000215"),
        "{message}"
    );
    for name in ["process", "account", "stranger"] {
        let text = serde_json::to_string(&stage.status(name).await?)?;
        assert!(!text.contains("canary"), "{text}");
    }
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_of_codecommit_are_told_by_their_address() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("app").await?;
    let cloud = cloud(
        &[("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "y")],
        "127.0.0.1:1",
    )
    .await?;
    let mut stage = Stage::start_with("codecommit", |options| options.cloud = Some(cloud)).await?;
    stage.apply("app", repository.url(), json!({"provider": "aws"})).await?;
    let message = stage.failed("app", "InvalidProviderConfiguration").await?;
    assert!(message.contains("is no address of AWS CodeCommit"), "{message}");
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_read_as_the_process_or_an_account() -> Result<()> {
    let routes = Router::new()
        .route(
            "/computeMetadata/v1/instance/service-accounts/default/token",
            get(metadata),
        )
        .route("/storage/v1/b/team/o", get(listing))
        .route("/storage/v1/b/team/o/{*name}", get(object));
    let address = serve(routes).await?;
    let (access, secret) = S3Server::KEYS;
    let variables = [
        ("AWS_ACCESS_KEY_ID", access),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_REGION", "us-east-1"),
    ];
    let cloud = cloud(&variables, &address).await?;
    let mut stage = Stage::start_with("cloud-bucket", |options| options.cloud = Some(cloud)).await?;
    let spec = |provider: &str, endpoint: &str, bucket: &str| json!({"provider": provider, "endpoint": endpoint, "bucketName": bucket, "insecure": true, "interval": "1h"});
    stage
        .apply_object("Bucket", "google", spec("gcp", &address, "team"))
        .await?;
    stage
        .ready_object("Bucket", "google", &bucket::revision(&[("a", "CJ1=")]))
        .await?;
    asked_for(&stage, "Bucket", "google")?;
    if let Some(server) = bucket::server().await {
        server.make_bucket("of-process").await?;
        server.put("of-process", "a", b"1").await?;
        let aws = spec("aws", server.address(), "of-process");
        stage.apply_object("Bucket", "amazon", aws.clone()).await?;
        stage
            .ready_object("Bucket", "amazon", &bucket::revision(&[("a", bucket::ONE)]))
            .await?;
        let mut elsewhere = aws;
        elsewhere["sts"] = json!({"provider": "aws", "endpoint": "https://sts.example.com"});
        stage.apply_object("Bucket", "elsewhere", elsewhere).await?;
        let message = stage
            .failed_object("Bucket", "elsewhere", "AuthenticationFailed")
            .await?;
        assert!(
            message.contains("'https://sts.example.com' is no address of AWS's token service"),
            "{message}"
        );
    }
    let mut closed = spec("gcp", &address, "team");
    closed["serviceAccountName"] = json!("app");
    stage.apply_object("Bucket", "closed", closed).await?;
    stage.failed_object("Bucket", "closed", "FeatureGateDisabled").await?;
    let status = stage.object("Bucket", "closed").await?["status"].clone();
    assert!(condition(&status, "Stalled").is_some(), "{status}");
    stage.stop().await;
    Ok(())
}
