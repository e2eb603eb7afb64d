//! The real `helm` on our releases, and we on its.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use nave_bed::eventually;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    charts::{archive, config, hook},
    stage::{DEADLINE, Stage},
};

/// `helm` with its settings in a folder of its own.
pub struct Helm {
    binary: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
    home: tempfile::TempDir,
}

impl Helm {
    pub async fn new(stage: &Stage) -> Result<Helm> {
        let binary = tokio::task::spawn_blocking(|| nave_oracle::binary("helm")).await??;
        Ok(Helm {
            binary,
            kubeconfig: stage.plane.kubeconfig_path().to_owned(),
            namespace: stage.namespace.clone(),
            home: tempfile::tempdir()?,
        })
    }

    /// The same under another name, which is what it writes as.
    pub async fn writing_as(stage: &Stage, name: &str) -> Result<Helm> {
        let mut helm = Helm::new(stage).await?;
        let link = helm.home.path().join(name);
        std::os::unix::fs::symlink(&helm.binary, &link)?;
        helm.binary = link;
        Ok(helm)
    }

    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let home = self.home.path();
        let output = Command::new(&self.binary)
            .args(arguments)
            .args(["--namespace", &self.namespace, "--kubeconfig"])
            .arg(&self.kubeconfig)
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"))
            .output()
            .await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm {arguments:?}: {error}");
        Ok(String::from_utf8(output.stdout)?)
    }

    async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(arguments).await?;
        serde_json::from_str(&text).with_context(|| format!("helm {arguments:?}: {text}"))
    }

    /// `<revision>:<status>:<chart>` of every version.
    pub async fn history(&self) -> Result<Vec<String>> {
        let list = self.json(&["history", "shop", "-o", "json"]).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(list
            .as_array()
            .context("a list")?
            .iter()
            .map(|one| format!("{}:{}:{}", one["revision"], text(&one["status"]), text(&one["chart"])))
            .collect())
    }

    pub fn chart(&self, version: &str, files: &[(&str, String)]) -> Result<String> {
        let path = self.home.path().join(format!("shop-{version}.tgz"));
        std::fs::write(&path, archive("shop", version, files)?)?;
        Ok(path.to_string_lossy().into_owned())
    }
}

fn files(value: &str) -> Vec<(&'static str, String)> {
    let ends = "bed.nave.dev/complete-after: \"0s\"";
    vec![
        ("templates/a.yaml", config("a", value, "")),
        (
            "templates/greeting.yaml",
            config(
                "greeting",
                "{{ .Values.greeting }} {{ .Values.who | default \"nobody\" }}",
                "",
            ),
        ),
        (
            "templates/pre.yaml",
            hook(
                "Job",
                "pre",
                "pre-install,pre-upgrade,pre-rollback",
                "before-hook-creation",
                ends,
            ),
        ),
        ("templates/NOTES.txt", format!("This is {value}.\n")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_reads_and_rolls_back_what_we_released_and_we_notice() -> Result<()> {
    let stage = Stage::start("interop-ours").await?;
    let helm = Helm::new(&stage).await?;
    stage.publish("1.0.0", &files("1")).await?;
    stage
        .apply(json!({"values": {"who": "world", "count": 3, "big": 10_000_000}}))
        .await?;
    stage.ready("1.0.0").await?;
    stage.publish("2.0.0", &files("2")).await?;
    stage.ready("2.0.0").await?;

    let list = helm.json(&["list", "-o", "json"]).await?;
    let only = list
        .as_array()
        .filter(|list| list.len() == 1)
        .and_then(|list| list.first());
    let only = only.with_context(|| list.to_string())?;
    for (field, wanted) in [
        ("name", "shop"),
        ("namespace", stage.namespace.as_str()),
        ("revision", "2"),
        ("status", "deployed"),
        ("chart", "shop-2.0.0"),
        ("app_version", "7"),
    ] {
        assert_eq!(only[field], wanted, "{only}");
    }
    assert_eq!(
        helm.history().await?,
        ["1:superseded:shop-1.0.0", "2:deployed:shop-2.0.0"]
    );
    let values = helm.json(&["get", "values", "shop", "-o", "json"]).await?;
    assert_eq!(values, json!({"who": "world", "count": 3, "big": 10_000_000}));
    let all = helm.json(&["get", "values", "shop", "--all", "-o", "json"]).await?;
    assert_eq!(all["greeting"], "hello");
    let manifest = helm.run(&["get", "manifest", "shop"]).await?;
    assert!(
        manifest.contains("value: hello world") && manifest.contains("# Source: shop/templates/a.yaml"),
        "{manifest}"
    );
    assert!(helm.run(&["get", "hooks", "shop"]).await?.contains("kind: Job"));
    assert!(helm.run(&["get", "notes", "shop"]).await?.contains("This is 2."));
    assert!(helm.run(&["status", "shop"]).await?.contains("STATUS: deployed"));

    // Somebody goes back by hand: what the HelmRelease says comes again, as a new version.
    let uid = stage.config("a").await?.context("it is there")?.metadata.uid;
    // Two writers, two field managers: Helm asks to be told.
    helm.run(&["rollback", "shop", "1", "--force-conflicts"]).await?;
    assert_eq!(stage.value("a").await?.as_deref(), Some("1"));
    stage.request("look", &[]).await?;
    eventually(DEADLINE, "our version is back", || async {
        let history = helm.history().await?;
        ensure!(
            history
                == [
                    "1:superseded:shop-1.0.0",
                    "2:superseded:shop-2.0.0",
                    "3:superseded:shop-1.0.0",
                    "4:deployed:shop-2.0.0"
                ],
            "{history:?}"
        );
        Ok(())
    })
    .await?;
    let status = stage.ready("2.0.0").await?;
    assert_eq!(status.history[0].version, 4);
    assert_eq!(stage.value("a").await?.as_deref(), Some("2"));
    assert_eq!(
        stage.config("a").await?.context("it is there")?.metadata.uid,
        uid,
        "nothing was made anew"
    );

    // The same with what somebody removes.
    helm.run(&["uninstall", "shop"]).await?;
    assert_eq!(stage.value("a").await?, None);
    stage.request("look again", &[]).await?;
    stage.ready("2.0.0").await?;
    assert_eq!(helm.history().await?, ["1:deployed:shop-2.0.0"]);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_helm_installed_is_taken_over_and_goes_back_to_helm() -> Result<()> {
    let mut stage = Stage::idle("interop-theirs", "http://127.0.0.1:1").await?;
    let helm = Helm::new(&stage).await?;
    for (method, flag) in [("ssa", "--server-side=true"), ("csa", "--server-side=false")] {
        let mut first = files("1");
        first.push(("templates/old.yaml", config("old", "1", "")));
        let chart = helm.chart("1.0.0", &first)?;
        helm.run(&["install", "shop", &chart, flag, "--set", "who=me"]).await?;
        let uid = stage.config("a").await?.context("it is there")?.metadata.uid;
        stage.publish("1.1.0", &files("2")).await?;
        stage.apply(json!({"values": {"who": "you"}})).await?;
        stage.run();
        let status = stage.ready("1.1.0").await?;
        assert_eq!(status.history.len(), 1, "only what it made itself is remembered");
        assert_eq!(
            helm.history().await?,
            ["1:superseded:shop-1.0.0", "2:deployed:shop-1.1.0"]
        );
        let stored = stage.stored().await?;
        let applied = serde_json::to_value(stored[1].apply_method)?;
        assert_eq!(applied, method, "as the version before was applied");
        assert_eq!(stage.config("a").await?.context("it is there")?.metadata.uid, uid);
        assert_eq!(stage.value("greeting").await?.as_deref(), Some("hello you"));
        assert_eq!(stage.value("old").await?, None, "{method}: what left the chart goes");

        // And back: a suspended HelmRelease leaves the release to helm.
        let suspend = json!({"spec": {"suspend": true}});
        let parameters = kube::api::PatchParams::default();
        stage
            .releases()
            .patch("shop", &parameters, &kube::api::Patch::Merge(suspend))
            .await?;
        stage.delete().await?;
        let chart = helm.chart("1.2.0", &files("3"))?;
        let mut upgrade = vec!["upgrade", "shop", &chart, "--reuse-values"];
        if method == "ssa" {
            upgrade.push("--force-conflicts"); // with the fields that the HelmRelease left
        }
        helm.run(&upgrade).await?;
        assert_eq!(
            helm.history().await?.last().map(String::as_str),
            Some("3:deployed:shop-1.2.0")
        );
        assert_eq!(stage.value("a").await?.as_deref(), Some("3"));
        assert_eq!(stage.value("greeting").await?.as_deref(), Some("hello you"));
        helm.run(&["uninstall", "shop"]).await?;
        assert_eq!(stage.value("a").await?, None);
        stage.halt().await?;
    }
    stage.stop().await
}

/// A Deployment and a Service whose lists are merged by keys, and a ConfigMap.
fn shapes(version: &str) -> Vec<(&'static str, String)> {
    let (ports, more, key) = match version {
        "1.0.0" => (
            "[{containerPort: 80, name: http}, {containerPort: 81, name: admin}]",
            "- {name: old, image: 'example.com/old:1'}",
            "gone",
        ),
        _ => (
            "[{containerPort: 80, name: web}, {containerPort: 82, name: admin}]",
            "- {name: new, image: 'example.com/new:1'}",
            "new",
        ),
    };
    let deployment = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  labels: {{version: '{version}', {key}: x}}\nspec:\n  replicas: 0\n  \
         selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata:\n      labels: {{app: web}}\n    spec:\n      containers:\n      \
         {more}\n      - name: app\n        image: 'example.com/app:{version}'\n        args: [--version, '{version}']\n        ports: {ports}\n        \
         env:\n        - {{name: VERSION, value: '{version}'}}\n        - {{name: {}, value: x}}\n        volumeMounts: [{{name: data, mountPath: /data}}]\n      \
         volumes: [{{name: data, emptyDir: {{}}}}]\n",
        key.to_uppercase()
    );
    let port = if version == "1.0.0" { 80 } else { 8080 };
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  selector: {{app: web}}\n  ports:\n  - {{port: {port}, name: http}}\n  \
         - {{port: 443, name: https}}\n"
    );
    let map =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map\ndata:\n  {key}: x\n  version: '{version}'\n");
    vec![
        ("templates/deployment.yaml", deployment),
        ("templates/service.yaml", service),
        ("templates/map.yaml", map),
    ]
}

/// What the objects of a namespace have come to, without what every object and each of the two tools has of its own.
async fn outcome(stage: &Stage, namespace: &str) -> Result<Value> {
    let mut all = json!({});
    for (path, name) in [
        ("/apis/apps/v1/namespaces/NS/deployments/web", "deployment"),
        ("/api/v1/namespaces/NS/services/web", "service"),
        ("/api/v1/namespaces/NS/configmaps/map", "map"),
    ] {
        let request = http::Request::get(path.replace("NS", namespace)).body(Vec::new())?;
        let mut found: Value = stage.client.request(request).await?;
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(spec) = found["spec"].as_object_mut() {
                spec.remove(field);
            }
        }
        let mut labels = found["metadata"]["labels"].clone();
        if let Some(labels) = labels.as_object_mut() {
            labels.retain(|key, _| !key.starts_with("helm.toolkit.fluxcd.io/"));
        }
        all[name] = json!({"labels": labels, "spec": found["spec"], "data": found["data"]});
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_side_merges_come_to_what_helm_s_come_to() -> Result<()> {
    use k8s_openapi::api::core::v1::Namespace;
    use kube::{
        Api,
        api::{Patch, PatchParams, PostParams},
    };

    let stage = Stage::start("merges").await?;
    let theirs = format!("{}-helm", stage.namespace);
    let object = serde_json::from_value(json!({"metadata": {"name": theirs}}))?;
    Api::<Namespace>::all(stage.client.clone())
        .create(&PostParams::default(), &object)
        .await?;
    let mut helm = Helm::new(&stage).await?;
    helm.namespace.clone_from(&theirs);
    let chart = helm.chart("1.0.0", &shapes("1.0.0"))?;
    helm.run(&["install", "shop", &chart, "--server-side=false"]).await?;
    stage.publish("1.0.0", &shapes("1.0.0")).await?;
    stage.apply(json!({"install": {"serverSideApply": false}})).await?;
    stage.ready("1.0.0").await?;
    assert_eq!(
        outcome(&stage, &stage.namespace).await?,
        outcome(&stage, &theirs).await?
    );

    // The same hands on both.
    for namespace in [&stage.namespace, &theirs] {
        for (path, change) in [
            (
                "/apis/apps/v1/namespaces/NS/deployments/web",
                json!({"metadata": {"labels": {"hand": "1"}}, "spec": {"replicas": 2, "template": {"spec": {"containers": [
                    {"name": "injected", "image": "example.com/injected:1"},
                    {"name": "app", "image": "example.com/hand:1", "env": [{"name": "HAND", "value": "1"}]}]}}}}),
            ),
            (
                "/api/v1/namespaces/NS/services/web",
                json!({"spec": {"selector": {"hand": "1"}, "ports": [{"port": 9, "name": "hand"}]}}),
            ),
            (
                "/api/v1/namespaces/NS/configmaps/map",
                json!({"data": {"hand": "1", "version": "hand"}}),
            ),
        ] {
            let parameters = PatchParams::default();
            let patch = Patch::Strategic(&change);
            let request = kube::core::Request::new(path.replace("NS", namespace).rsplit_once('/').context("a path")?.0);
            let name = path.rsplit('/').next().context("a name")?;
            let request = request.patch(name, &parameters, &patch)?;
            let _: Value = stage.client.request(request).await?;
        }
    }
    let chart = helm.chart("2.0.0", &shapes("2.0.0"))?;
    helm.run(&["upgrade", "shop", &chart, "--server-side=auto"]).await?;
    stage.publish("2.0.0", &shapes("2.0.0")).await?;
    stage.ready("2.0.0").await?;
    let (ours, theirs) = (
        outcome(&stage, &stage.namespace).await?,
        outcome(&stage, &theirs).await?,
    );
    assert_eq!(ours, theirs);
    assert_eq!(
        ours["map"]["data"],
        json!({"hand": "1", "new": "x", "version": "2.0.0"})
    );
    assert_eq!(ours["deployment"]["labels"]["hand"], "1");
    stage.stop().await
}
