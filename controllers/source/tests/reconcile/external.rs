//! Publishing content as an ExternalArtifact.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Result;
use kube::{Api, api::PostParams};
use nave_artifact::{File, FileTree};
use nave_crds::ExternalArtifact;
use nave_runtime::Conditions;
use nave_source_controller::external_artifact::{self, PublishError};
use serde_json::json;

use crate::stage::Stage;

fn tree(content: &str) -> Arc<FileTree> {
    let mut tree = FileTree::new();
    tree.insert("app.yaml", File::plain(content.as_bytes())).unwrap();
    Arc::new(tree)
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_published_once_and_again_when_it_changes() -> Result<()> {
    let mut stage = Stage::start("external").await?;
    let (client, store, namespace) = (stage.client.clone(), stage.store.clone(), stage.namespace.clone());
    let publish = async |content: &str, revision: &str| {
        let metadata = BTreeMap::from([("origin".to_owned(), "hub".to_owned())]);
        external_artifact::publish(&client, &store, &namespace, "app", tree(content), revision, metadata).await
    };
    let missing = publish("a: 1\n", "r1").await;
    assert!(matches!(missing, Err(PublishError::NotFound { .. })), "{missing:?}");

    let api: Api<ExternalArtifact> = Api::namespaced(client.clone(), &namespace);
    let object = serde_json::from_value(
        json!({"metadata": {"name": "app"}, "spec": {"sourceRef": {"kind": "GitRepository", "name": "x"}}}),
    )?;
    api.create(&PostParams::default(), &object).await?;
    let first = publish("a: 1\n", "r1").await?;
    let status = api.get("app").await?.status.unwrap();
    assert_eq!(status.artifact.as_ref(), Some(&first));
    assert!(status.conditions.is_true("Ready"));
    assert_eq!(first.metadata["origin"], "hub");
    assert!(reqwest::get(&first.url).await?.error_for_status()?.bytes().await?.len() as i64 == first.size.unwrap());
    let version = api.get("app").await?.metadata.resource_version;
    assert_eq!(publish("a: 1\n", "r1").await?, first);
    assert_eq!(api.get("app").await?.metadata.resource_version, version);

    let second = publish("a: 2\n", "r2").await?;
    assert_ne!(second.path, first.path);
    assert!(external_artifact::is_stored(&store, &second).await);
    std::fs::remove_file(stage.file(&second.path))?;
    assert!(!external_artifact::is_stored(&store, &second).await);
    assert_eq!(publish("a: 2\n", "r2").await?.digest, second.digest);
    assert!(external_artifact::is_stored(&store, &second).await);
    external_artifact::withdraw(&store, &namespace, "app").await?;
    assert!(!stage.file(&format!("externalartifact/{namespace}/app")).exists());
    stage.stop().await;
    Ok(())
}
