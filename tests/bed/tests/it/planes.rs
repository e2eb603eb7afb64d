//! Planes are real clusters: they say no, they count, they can be unreachable, and they know nothing of each other.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use nave_bed::eventually;
use serde_json::json;

use crate::{DEADLINE, namespace, planes};

async fn client_of(kubeconfig: &str) -> Result<Client> {
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(Kubeconfig::from_yaml(kubeconfig)?, &options).await?;
    Ok(Client::try_from(config)?)
}

fn config_map(name: &str) -> Result<ConfigMap> {
    Ok(serde_json::from_value(
        json!({"metadata": {"name": name}, "data": {"key": "value"}}),
    )?)
}

#[tokio::test]
async fn a_service_account_is_who_it_is_and_may_what_it_may() -> Result<()> {
    let plane = &planes().await[0];
    let client = plane.client();
    let namespace = namespace(&client, "rights").await?;
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": "small"}}))?;
    Api::namespaced(client.clone(), &namespace)
        .create(&PostParams::default(), &account)
        .await?;
    let small = client_of(&plane.service_account_kubeconfig(&namespace, "small").await?).await?;

    let review: Api<SelfSubjectReview> = Api::all(small.clone());
    let me = review
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?;
    let name = me
        .status
        .and_then(|status| status.user_info)
        .and_then(|user| user.username);
    assert_eq!(name, Some(format!("system:serviceaccount:{namespace}:small")));

    let secrets: Api<Secret> = Api::namespaced(small.clone(), &namespace);
    match secrets.list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) => assert_eq!(status.code, 403),
        other => bail!("a token without rights was answered {other:?}"),
    }

    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "small", "namespace": namespace}],
    });
    let by = PatchParams::apply("bed");
    let roles: Api<k8s_openapi::api::rbac::v1::Role> = Api::namespaced(client.clone(), &namespace);
    roles.patch("reader", &by, &Patch::Apply(&role)).await?;
    let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> = Api::namespaced(client, &namespace);
    bindings.patch("reader", &by, &Patch::Apply(&binding)).await?;
    eventually(DEADLINE, "the right to list", || async {
        Ok(secrets.list(&ListParams::default()).await.map(drop)?)
    })
    .await
}

#[tokio::test]
async fn the_audit_log_has_each_request_once() -> Result<()> {
    let plane = &planes().await[0];
    if plane.skip("audit log", plane.audit_log().is_some(), "it has no audit log") {
        return Ok(());
    }
    let client = plane.client();
    let namespace = namespace(&client, "audit").await?;
    let audit = plane.audit()?;
    let mark = audit.mark()?;
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    for name in ["a", "b"] {
        maps.create(&PostParams::default(), &config_map(name)?).await?;
    }
    maps.list(&ListParams::default()).await?;
    maps.delete("a", &DeleteParams::default()).await?;
    assert!(maps.get_opt("a").await?.is_none());

    let requests = audit
        .since(mark)?
        .of_user("bed-admin")
        .only(|request| request.namespace == namespace);
    let counts: Vec<_> = requests
        .count_by(|request| format!("{} {} {}", request.verb, request.resource, request.code))
        .into_iter()
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    let wanted = [
        "2 create configmaps 201",
        "1 delete configmaps 200",
        "1 get configmaps 404",
        "1 list configmaps 200",
    ];
    assert_eq!(counts, wanted, "\n{}", requests.summary());
    assert_eq!(requests.writes().len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_plane_says_which_kubernetes_it_is() -> Result<()> {
    let plane = &planes().await[0];
    let version = plane.client().apiserver_version().await?;
    assert!(
        version
            .git_version
            .starts_with(&format!("v{}.{}.", version.major, version.minor)),
        "{version:?}"
    );
    if plane.process().is_some() {
        let module = include_str!("../../../controlplane/go.mod");
        assert!(
            module.contains(&format!("k8s.io/kubernetes {}\n", version.git_version)),
            "{}",
            version.git_version
        );
    }
    Ok(())
}

#[tokio::test]
async fn planes_know_nothing_of_each_other() -> Result<()> {
    let [one, two] = planes().await else {
        bail!("there should be two planes")
    };
    assert_ne!(one.url(), two.url());
    let namespace = namespace(&one.client(), "apart").await?;
    Api::namespaced(one.client(), &namespace)
        .create(&PostParams::default(), &config_map("only-here")?)
        .await?;
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(two.client());
    assert!(namespaces.get_opt(&namespace).await?.is_none());
    // One plane's administrator is nobody in the other: its certificate has another authority.
    let mut stranger = Kubeconfig::from_yaml(&one.kubeconfig())?;
    for cluster in stranger
        .clusters
        .iter_mut()
        .filter_map(|cluster| cluster.cluster.as_mut())
    {
        cluster.server = Some(two.url().to_owned());
    }
    let config = Config::from_custom_kubeconfig(stranger, &KubeConfigOptions::default()).await?;
    assert!(Client::try_from(config)?.apiserver_version().await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_paused_plane_does_not_answer_until_it_is_resumed() -> Result<()> {
    let plane = planes().await.last().context("there are planes")?;
    if plane.skip("pause", plane.process().is_some(), "it is no process of ours") {
        return Ok(());
    }
    let client = plane.client();
    client.apiserver_version().await?;
    plane.pause()?;
    let answer = tokio::time::timeout(Duration::from_millis(300), plane.client().apiserver_version()).await;
    plane.resume()?;
    assert!(answer.is_err(), "it answered while it was paused");
    eventually(DEADLINE, "an answer after the pause", || async {
        Ok(plane.client().apiserver_version().await?)
    })
    .await?;
    Ok(())
}
