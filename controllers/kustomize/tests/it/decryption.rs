//! Encrypted files in the source arrive decrypted, and what cannot be decrypted is named.

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::stage::Stage;

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
