//! Other clusters by kubeconfig. The plane plays both: what is applied by kubeconfig stands in it like everything else.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use k8s_openapi::api::{
    core::v1::{ConfigMap, ServiceAccount},
    rbac::v1::RoleBinding,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use nave_bed::eventually;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::stage::{DEADLINE, Setup, Stage, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubeconfigs_that_cannot_work_say_why_and_good_ones_work() -> Result<()> {
    let stage = Stage::start("remote").await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage
        .apply(
            "app",
            json!({"kubeConfig": {"secretRef": {"name": "k"}}, "retryInterval": "1s"}),
        )
        .await?;
    let says = async |part: String| {
        eventually(DEADLINE, &format!("the message says {part}"), || async {
            let message = stage.failed("app", "ReconciliationFailed").await?;
            ensure!(message.contains(&part), "{message}");
            ensure!(!message.contains("CANARY"), "{message}");
            Ok(())
        })
        .await
    };
    says(format!("kubeconfig secret {ns}/k was not found")).await?;
    stage.secret("k", &[("other", "x".into())]).await?;
    says("has no key \"value\"".into()).await?;
    stage.secret("k", &[("value", "CANARY: [".into())]).await?;
    says("is not valid YAML".into()).await?;
    let made = |server: &str, user: &str| {
        format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nclusters: [{{name: k, cluster: {{server: '{server}'}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\n"
        )
    };
    stage
        .secret(
            "k",
            &[("value", made("https://example.com", "exec: {command: CANARY}"))],
        )
        .await?;
    says("users[].user.exec is refused".into()).await?;
    let port = nave_bed::free_tcp_port()?;
    stage
        .secret(
            "k",
            &[("value", made(&format!("https://127.0.0.1:{port}"), "token: CANARY"))],
        )
        .await?;
    says("onnect".into()).await?; // refused connection
    let unprivileged = stage.plane.service_account_kubeconfig(&ns, "default").await?;
    stage.secret("k", &[("value", unprivileged)]).await?;
    says("Forbidden".into()).await?;
    assert!(stage.config("a").await?.is_none());
    stage.secret("k", &[("value", stage.plane.kubeconfig())]).await?;
    stage.ready("app", "1").await?;
    assert_eq!(stage.config("a").await?.context("it is there")?["value"], "1");
    stage.delete("app").await?;
    stage.gone("app").await?;
    assert!(stage.config("a").await?.is_none());
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_believes_our_accounts_is_reached_by_their_tokens() -> Result<()> {
    let mut setup = Setup::default();
    setup.options.gates.object_level_workload_identity = true;
    let stage = Stage::start_with("tokens", setup).await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage
        .apply(
            "app",
            json!({"kubeConfig": {"configMapRef": {"name": "cluster"}}, "retryInterval": "1s"}),
        )
        .await?;
    let says = async |part: String| {
        eventually(DEADLINE, &format!("the message says {part}"), || async {
            let message = stage.failed("app", "ReconciliationFailed").await?;
            ensure!(message.contains(&part), "{message}");
            Ok(())
        })
        .await
    };
    says(format!("ConfigMap {ns}/cluster was not found")).await?;
    let client = &stage.client;
    let configs: Api<ConfigMap> = Api::namespaced(client.clone(), &ns);
    let set = async |data: Value| -> Result<()> {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster"}, "data": data});
        configs
            .patch("cluster", &PatchParams::apply("test").force(), &Patch::Apply(&object))
            .await?;
        Ok(())
    };
    set(json!({"provider": "aws"})).await?;
    says("key cluster: it is not set".into()).await?;
    set(json!({"provider": "aws", "cluster": "arn:aws:eks:eu-west-1:1:cluster/a"})).await?;
    says("identities of clouds cannot be used here".into()).await?;
    let kubeconfig: Value =
        nave_object::yaml::read_documents(&stage.plane.kubeconfig(), nave_object::yaml::Dialect::K8s)?
            .into_iter()
            .next()
            .context("a kubeconfig")?;
    let ca = kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]
        .as_str()
        .context("its certificates")?;
    let ca = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(ca)?)?;
    let audience = "https://kubernetes.default.svc.cluster.local";
    let data = json!({"provider": "generic", "address": stage.plane.url(), "ca.crt": ca, "audiences": audience,
        "serviceAccountName": "deployer"});
    set(data).await?;
    says("ServiceAccount deployer".into()).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &ns);
    let account = serde_json::from_value(json!({"metadata": {"name": "deployer"}}))?;
    accounts.create(&PostParams::default(), &account).await?;
    says(format!("system:serviceaccount:{ns}:deployer")).await?; // it has no rights yet
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), &ns);
    let binding = serde_json::from_value(json!({"metadata": {"name": "deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": ns}]}))?;
    bindings.create(&PostParams::default(), &binding).await?;
    stage.ready("app", "1").await?;
    assert_eq!(stage.config("a").await?.context("it is there")?["value"], "1");
    stage.stop().await
}

/// A hub has Kustomizations and ConfigMaps of others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_this_process_is_shown_to_nobody_where_others_write_the_config_map() -> Result<()> {
    nave_net::install_crypto_provider();
    let cloud = nave_net::cloud::Cloud::new(Default::default(), None, Default::default())?;
    let mut setup = Setup::default();
    setup.options.cloud = Some(cloud.without_process_identity());
    setup.keeps_own_identity = true;
    let stage = Stage::start_with("own-token", setup).await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    let configs: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    for (name, data, wanted) in [
        (
            "generic",
            json!({"provider": "generic", "address": stage.plane.url()}),
            "the identity of this process is not lent here: serviceAccountName has to be set",
        ),
        (
            "aws",
            json!({"provider": "aws", "cluster": "arn:aws:eks:eu-west-1:1:cluster/a"}),
            "the identity of this process is not lent here: a service account has to be named",
        ),
    ] {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        let parameters = PatchParams::apply("test").force();
        configs.patch(name, &parameters, &Patch::Apply(&object)).await?;
        let spec = json!({"path": "./app", "kubeConfig": {"configMapRef": {"name": name}}});
        stage.apply(name, spec).await?;
        let message = stage.failed(name, "ReconciliationFailed").await?;
        assert!(message.contains(wanted), "{message}");
    }
    assert!(stage.config("a").await?.is_none());
    stage.stop().await
}

/// Microsoft Entra ID, as far as one application is concerned: it hands out the token of a service account.
async fn entra(token: Arc<OnceCell<String>>) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let answer = async move |body: String| {
        let scope = "scope=6dae42f8-4368-4678-94ff-3960e28e3630%2F.default";
        let wanted = [
            scope,
            "client_id=client",
            "client_secret=secret",
            "grant_type=client_credentials",
        ];
        match token.get() {
            Some(token) if wanted.iter().all(|part| body.contains(part)) => {
                let answer = json!({"token_type": "Bearer", "expires_in": 3599, "access_token": token});
                (axum::http::StatusCode::OK, answer.to_string())
            }
            _ => {
                let answer = json!({"error": "invalid_client", "error_description": "AADSTS7000215"});
                (axum::http::StatusCode::UNAUTHORIZED, answer.to_string())
            }
        }
    };
    let router = axum::Router::new().route("/tenant/oauth2/v2.0/token", axum::routing::post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{address}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_a_cloud_is_reached_with_the_clouds_tokens() -> Result<()> {
    let token = Arc::new(OnceCell::new());
    let login = entra(token.clone()).await?;
    let variables = [
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_CLIENT_SECRET", "secret"),
        ("AZURE_AUTHORITY_HOST", login.as_str()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut setup = Setup::default();
    nave_net::install_crypto_provider();
    let settings = nave_net::cloud::Settings::from_variables(variables);
    setup.options.cloud = Some(nave_net::cloud::Cloud::new(settings, None, Default::default())?);
    let stage = Stage::start_with("cloud", setup).await?;
    let ns = stage.namespace.clone();
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.client.clone(), &ns);
    let account = serde_json::from_value(json!({"metadata": {"name": "deployer"}}))?;
    accounts.create(&PostParams::default(), &account).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(stage.client.clone(), &ns);
    let binding = serde_json::from_value(json!({"metadata": {"name": "deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": ns}]}))?;
    bindings.create(&PostParams::default(), &binding).await?;
    let kubeconfig: Value = serde_json::to_value(
        nave_object::yaml::read_documents(
            &stage.plane.service_account_kubeconfig(&ns, "deployer").await?,
            nave_object::yaml::Dialect::K8s,
        )?
        .into_iter()
        .next(),
    )?;
    let text = |pointer: &str| -> Result<String> {
        let text = kubeconfig
            .pointer(pointer)
            .and_then(Value::as_str)
            .context(pointer.to_owned())?;
        Ok(text.to_owned())
    };
    token.set(text("/users/0/user/token")?)?;
    let ca = text("/clusters/0/cluster/certificate-authority-data")?;
    let ca = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(ca)?)?;
    let configs: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster"},
        "data": {"provider": "azure", "address": stage.plane.url(), "ca.crt": ca}});
    configs
        .patch("cluster", &PatchParams::apply("test").force(), &Patch::Apply(&object))
        .await?;
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage
        .apply(
            "app",
            json!({"kubeConfig": {"configMapRef": {"name": "cluster"}}, "retryInterval": "1s"}),
        )
        .await?;
    stage.ready("app", "1").await?;
    assert_eq!(stage.config("a").await?.context("it is there")?["value"], "1");
    // What is kept of the cloud's tokens is counted under Flux's names, until the object is gone.
    let counted = format!(
        "gotk_token_cache_events_total{{event_type=\"cache_miss\",kind=\"Kustomization\",name=\"app\",namespace=\"{ns}\",operation=\"fetch_kubeconfig\"}} 1"
    );
    let shown = stage.metrics();
    assert!(shown.lines().any(|line| line == counted), "{shown}");
    stage.delete("app").await?;
    stage.gone("app").await?;
    eventually(DEADLINE, "the measures of the object are gone", || async {
        ensure!(
            !stage.metrics().contains("gotk_token_cache_events_total{"),
            "they are still there"
        );
        Ok(())
    })
    .await?;
    stage.stop().await
}
