//! Encrypted files in the source arrive decrypted, and what cannot be decrypted is named.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::{
    Json,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::{
    authentication::v1::TokenReview,
    core::v1::{ConfigMap, Secret, ServiceAccount},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use nave_net::cloud::Cloud;
use nave_targets::ClusterAccounts;
use serde_json::{Value, json};

use crate::stage::{Setup, Stage};

const ENCRYPTED: &str = include_str!("../../../../engine/sops/tests/fixtures/yaml-encrypted-regex/encrypted.yaml");
const DOTENV: &str = include_str!("../../../../engine/sops/tests/fixtures/dotenv-age/encrypted.env");
const PGP: &str = include_str!("../../../../engine/sops/tests/fixtures/yaml-pgp-curve/encrypted.yaml");
const OTHER: &str = include_str!("../../../../engine/sops/tests/fixtures/refused/other-key/encrypted.yaml");
const AGE_KEY: &str = include_str!("../../../../engine/sops/tests/fixtures/keys/age.txt");
const PGP_KEY: &str = include_str!("../../../../engine/sops/tests/fixtures/keys/pgp_curve.asc");

/// The recorded Secret, where the test may apply it: what is not encrypted may change.
fn secret(stage: &Stage, file: &str, name: &str) -> String {
    file.replace("namespace: apps", &format!("namespace: {}", stage.namespace))
        .replace("name: creds", &format!("name: {name}"))
}

async fn put_keys(stage: &Stage, name: &str, keys: Value) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let labels = json!({"reconcile.fluxcd.io/watch": "Enabled"});
    // As data, so that keys that are not in it any more are removed.
    let data: serde_json::Map<String, Value> = keys
        .as_object()
        .context("a map")?
        .iter()
        .map(|(key, text)| (key.clone(), json!(STANDARD.encode(text.as_str().unwrap_or_default()))))
        .collect();
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}, "data": data});
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&secret))
        .await?;
    Ok(())
}

async fn value(stage: &Stage, name: &str, key: &str) -> Result<String> {
    let api: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let data = api.get(name).await?.data.context("it has data")?;
    let value = data.get(key).with_context(|| format!("it has {key}"))?;
    Ok(String::from_utf8(value.0.clone())?)
}

fn with_keys(name: &str) -> Value {
    json!({"decryption": {"provider": "sops", "secretRef": {"name": name}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encrypted_secrets_are_applied_decrypted() -> Result<()> {
    let stage = Stage::start("sops").await?;
    put_keys(
        &stage,
        "keys",
        json!({"first.agekey": AGE_KEY, "second.asc": PGP_KEY, "other": "x"}),
    )
    .await?;
    let kustomization = "resources: [secret.yaml]\ngeneratorOptions: {disableNameSuffixHash: true}\n\
                         secretGenerator:\n- name: vars\n  namespace: NS\n  envs: [vars.env]\n";
    stage
        .publish(
            "1",
            &[
                ("app/kustomization.yaml", kustomization.replace("NS", &stage.namespace)),
                ("app/secret.yaml", secret(&stage, ENCRYPTED, "creds")),
                ("app/vars.env", DOTENV.to_owned()),
                ("pgp/secret.yaml", PGP.replace("namespace: ", "namespace_unencrypted: ")),
            ],
        )
        .await?;
    stage.apply("app", with_keys("keys")).await?;
    let status = stage.ready("app", "1").await?;
    assert_eq!(value(&stage, "creds", "user").await?, "admin");
    assert_eq!(value(&stage, "creds", "unicode").await?, "é日本😀");
    assert_eq!(value(&stage, "vars", "B").await?, "two words");
    assert_eq!(value(&stage, "vars", "NL").await?, "line1\\nline2");
    let shown = serde_json::to_string(&status)?;
    assert!(!shown.contains("admin") && !shown.contains("two words"), "{shown}");
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_decrypted_is_named_until_the_key_comes() -> Result<()> {
    let stage = Stage::start("sops-refused").await?;
    let file = secret(&stage, ENCRYPTED, "late");
    stage
        .publish(
            "1",
            &[
                ("app/secret.yaml", file.clone()),
                ("plain/secret.yaml", secret(&stage, ENCRYPTED, "plain")),
                (
                    "patch/kustomization.yaml",
                    "resources: [../none]\npatches: [{path: p.yaml}]\n".to_owned(),
                ),
                ("patch/p.yaml", OTHER.to_owned()),
                ("none/kustomization.yaml", "resources: []\n".to_owned()),
                (
                    "off/secret.yaml",
                    file.replace(
                        "name: late",
                        "name: off\n    annotations:\n        kustomize.toolkit.fluxcd.io/decrypt: disabled",
                    ),
                ),
            ],
        )
        .await?;
    let ns = stage.namespace.clone();
    stage.apply("app", with_keys("keys")).await?;
    stage.apply("plain", json!({})).await?;
    let message = stage.failed("app", "BuildFailed").await?;
    assert_eq!(
        message,
        format!("spec.decryption.secretRef: Secret {ns}/keys was not found")
    );
    let message = stage.failed("plain", "ReconciliationFailed").await?;
    assert_eq!(
        message,
        format!(
            "Secret/{ns}/plain is SOPS encrypted, configuring decryption is required for this secret to be reconciled"
        )
    );
    put_keys(&stage, "keys", json!({"bad.agekey": "AGE-SECRET-KEY-1CANARY"})).await?;
    let message = eventually_failed(&stage, "app", "bad.agekey").await?;
    assert_eq!(
        message,
        format!("key \"bad.agekey\" of Secret {ns}/keys: line 1 is no age identity")
    );
    put_keys(&stage, "keys", json!({"pgp.asc": PGP_KEY})).await?;
    let message = eventually_failed(&stage, "app", "no key at hand").await?;
    assert!(
        message.starts_with(&format!(
            "decrypting Secret/{ns}/late: no key at hand opens the data key: age age1"
        )),
        "{message}"
    );
    put_keys(&stage, "keys", json!({"age.agekey": AGE_KEY})).await?;
    stage.ready("app", "1").await?;
    assert_eq!(value(&stage, "late", "user").await?, "admin");
    stage.apply("patch", with_keys("keys")).await?;
    let message = stage.failed("patch", "BuildFailed").await?;
    assert!(
        message.starts_with("decrypting file patch/p.yaml: no key at hand"),
        "{message}"
    );
    stage.stop().await
}

async fn eventually_failed(stage: &Stage, name: &str, part: &str) -> Result<String> {
    nave_bed::eventually(crate::stage::DEADLINE, part, || async {
        let message = stage.failed(name, "BuildFailed").await?;
        anyhow::ensure!(message.contains(part), "{message}");
        Ok(message)
    })
    .await
}

/// A Secret whose data key only Vault at `address` has: 32 times 7, with which `user` is "from the vault".
fn vault_secret(namespace: &str, address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: vaulted, namespace: {namespace}}}\nstringData:\n  \
         user: ENC[AES256_GCM,data:v7hu8YSMLogN71kw0S4=,iv:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,tag:+fK+9MJdUD4jQzelBmPnag==,type:str]\n\
         sops:\n  encrypted_regex: ^(data|stringData)$\n  lastmodified: \"2026-01-01T00:00:00Z\"\n  version: 3.11.0\n  \
         mac: ENC[AES256_GCM,data:nneRg+4Y1gz5KLc/,iv:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=,tag:o9pE2nXz8Db6qdex1y1s5Q==,type:str]\n  \
         hc_vault:\n  - vault_address: {address}\n    engine_path: transit\n    key_name: k\n    created_at: \"2026-01-01T00:00:00Z\"\n    enc: vault:v1:x\n"
    )
}

/// A Vault that asks the cluster who logs in, and lets in whom it expects.
async fn vault(stage: &Stage, user: &str, role: &str) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let (client, user, role, audience) = (stage.client.clone(), user.to_owned(), role.to_owned(), address.clone());
    let login = async move |Json(body): Json<Value>| {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {},
            "spec": {"token": body["jwt"], "audiences": [audience]}});
        let review: TokenReview = serde_json::from_value(review).expect("it is complete");
        let reviewed = Api::<TokenReview>::all(client)
            .create(&PostParams::default(), &review)
            .await;
        let status = reviewed.ok().and_then(|review| review.status).unwrap_or_default();
        let found = status.user.and_then(|user| user.username).unwrap_or_default();
        if status.authenticated == Some(true) && found == user && body["role"] == role {
            (StatusCode::OK, Json(json!({"auth": {"client_token": "s.in"}})))
        } else {
            (
                StatusCode::FORBIDDEN,
                Json(json!({"errors": [format!("{found} is nobody here")]})),
            )
        }
    };
    let decrypt = async |headers: HeaderMap| {
        if headers.get("X-Vault-Token").is_some_and(|token| token == "s.in") {
            (
                StatusCode::OK,
                Json(json!({"data": {"plaintext": STANDARD.encode([7; 32])}})),
            )
        } else {
            (StatusCode::FORBIDDEN, Json(json!({"errors": ["permission denied"]})))
        }
    };
    let router = axum::Router::new()
        .route("/v1/auth/k8s/login", post(login))
        .route("/v1/transit/decrypt/k", post(decrypt));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_logs_in_to_a_vault_that_is_listed() -> Result<()> {
    nave_net::install_crypto_provider();
    let stage = Stage::idle("vault").await?;
    let ns = stage.namespace.clone();
    let accounts = Arc::new(ClusterAccounts::new(stage.client.clone()));
    let mut setup = Setup::default();
    setup.options.cloud = Some(Cloud::new(Default::default(), Some(accounts), Default::default())?);
    setup.options.sops_vault_config_map = Some((ns.clone(), "vaults".to_owned()));
    setup.options.gates.object_level_workload_identity = true;
    stage.run(setup);
    let address = vault(
        &stage,
        &format!("system:serviceaccount:{ns}:decryptor"),
        &format!("{ns}_decryptor"),
    )
    .await?;
    stage
        .publish("1", &[("app/s.yaml", vault_secret(&ns, &address))])
        .await?;
    let decryption =
        json!({"decryption": {"provider": "sops", "serviceAccountName": "decryptor"}, "retryInterval": "1s"});
    stage.apply("app", decryption).await?;
    eventually_failed(
        &stage,
        "app",
        &format!("ConfigMap {ns}/vaults with the servers of Vault was not found"),
    )
    .await?;
    let configs: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    let set = async |data: Value| -> Result<()> {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vaults"}, "data": data});
        configs
            .patch("vaults", &PatchParams::apply("test").force(), &Patch::Apply(&object))
            .await?;
        Ok(())
    };
    set(json!({"other": "x"})).await?;
    eventually_failed(&stage, "app", "has no key \"config.yaml\"").await?;
    set(json!({"config.yaml": "instances: []"})).await?;
    eventually_failed(&stage, "app", &format!("lists no login path for Vault {address}")).await?;
    let list = format!("instances:\n- address: {address}\n  loginPath: auth/k8s/login\n");
    set(json!({"config.yaml": list})).await?;
    eventually_failed(&stage, "app", &format!("service account '{ns}/decryptor'")).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.client.clone(), &ns);
    for name in ["decryptor", "other"] {
        let account = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        accounts.create(&PostParams::default(), &account).await?;
    }
    stage.ready("app", "1").await?;
    assert_eq!(value(&stage, "vaulted", "user").await?, "from the vault");
    assert!(
        stage.metrics().contains("operation=\"decrypt_with_vault\""),
        "{}",
        stage.metrics()
    );
    let other = json!({"path": "./app", "decryption": {"provider": "sops", "serviceAccountName": "other"}, "retryInterval": "1s"});
    stage.apply("other", other).await?;
    let who = format!("as role {ns}_other: Vault answered 403: system:serviceaccount:{ns}:other is nobody here");
    eventually_failed(&stage, "other", &who).await?;
    stage.stop().await
}
