//! Cases: files of a repository, objects, and what changes, step by step. They are YAML, one document each.

use std::{fs, path::Path, sync::Mutex, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use kube::{
    Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
};
use nave_bed::{GitRepo, eventually};
use nave_demo::fleet;
use nave_object::yaml::{Dialect, read_documents};
use regex::Regex;
use serde_json::{Value, json};

use crate::{
    difference::{Difference, Expected, differences, unexpected},
    look::{KINDS, Look, api, look, settled},
};

/// How long one step may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);
/// How long both may take to say the same: events come a moment after the status.
const AGREE: Duration = Duration::from_secs(5);

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name, which is its namespace.
    pub name: String,
    /// What is done, one after the other.
    pub steps: Vec<Step>,
    /// Where Nave differs on purpose.
    pub expected: Vec<Expected>,
    /// Whether its first step is a state that can be handed over.
    pub moves: bool,
}

/// One step: everything in it happens, then both engines come to rest, then they are compared.
#[derive(Debug, Clone)]
pub struct Step(Value);

impl Case {
    /// The cases of all files of a folder.
    ///
    /// # Errors
    /// A file is not as the README of the folder says.
    pub fn read(folder: &Path) -> Result<Vec<Case>> {
        let mut paths: Vec<_> = fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        paths.sort();
        let mut cases = Vec::new();
        let everywhere = folder.with_file_name("differs-everywhere.yaml");
        let text = fs::read_to_string(&everywhere)?;
        let everywhere =
            read_documents(&text, Dialect::K8s).with_context(|| format!("reading {}", everywhere.display()))?;
        for path in paths
            .iter()
            .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        {
            let text = fs::read_to_string(path)?;
            for document in
                read_documents(&text, Dialect::K8s).with_context(|| format!("reading {}", path.display()))?
            {
                let all = everywhere.first().unwrap_or(&Value::Null);
                cases.push(
                    Case::parse(&document, &all["differs"]).with_context(|| format!("reading {}", path.display()))?,
                );
            }
        }
        Ok(cases)
    }

    fn parse(document: &Value, everywhere: &Value) -> Result<Case> {
        let name = document["case"].as_str().context("a case has a name")?;
        let expected = list(everywhere).iter().chain(list(&document["differs"])).map(|entry| {
            let pattern = entry["at"].as_str().context("a difference has a place")?;
            Ok(Expected {
                at: Regex::new(pattern).with_context(|| format!("the pattern {pattern}"))?,
                why: entry["why"].as_str().context("a difference has a reason")?.to_owned(),
            })
        });
        Ok(Case {
            name: name.to_owned(),
            steps: list(&document["steps"]).iter().cloned().map(Step).collect(),
            expected: expected.collect::<Result<_>>()?,
            moves: document["moves"] != json!(false),
        })
    }

    /// Goes through the steps on both planes; gives the differences that nobody expects, each with its step.
    ///
    /// # Errors
    /// An engine does not come to rest.
    pub async fn run(
        &self,
        repo: &GitRepo,
        words: &[(&str, String)],
        flux: &Client,
        nave: &Client,
    ) -> Result<Vec<String>> {
        let sides = [flux, nave];
        for client in sides {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}});
            fleet::apply(client, &namespace).await?;
        }
        let mut words = words.to_vec();
        words.push(("REPO", repo.url().to_owned()));
        words.push(("NS", self.name.clone()));
        let mut problems = Vec::new();
        let mut seen = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let step = Step(filled(&step.0, &words));
            step.commit(repo).await?;
            let token = format!("step-{}", index + 1);
            try_join_all(
                sides.map(|client| step.happens(client, &self.name, &token, (index == 0).then(|| repo.url()))),
            )
            .await
            .with_context(|| format!("{}, {token}", self.name))?;
            for difference in self.compare(flux, nave).await? {
                if seen.contains(&difference) {
                    continue;
                }
                problems.push(format!("{} {token}: {difference}", self.name));
                seen.push(difference);
            }
        }
        Ok(problems)
    }

    /// Does the first step on one plane.
    ///
    /// # Errors
    /// Its engine does not come to rest.
    pub async fn set_up(&self, repo: &GitRepo, client: &Client) -> Result<()> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}});
        fleet::apply(client, &namespace).await?;
        let step = self.steps.first().context("a step")?;
        let step = Step(filled(
            &step.0,
            &[("REPO", repo.url().to_owned()), ("NS", self.name.clone())],
        ));
        step.commit(repo).await?;
        step.happens(client, &self.name, "set-up", Some(repo.url()))
            .await
            .with_context(|| self.name.clone())
    }

    /// Asks for a reconcile of all that is in the namespace, sources first, and waits until it is done.
    ///
    /// # Errors
    /// The engine does not come to rest.
    pub async fn reconcile(&self, client: &Client, token: &str) -> Result<()> {
        for (version, kind) in KINDS {
            let list = api(client, version, kind, Some(&self.name))
                .list(&ListParams::default())
                .await?;
            for name in list.items.into_iter().filter_map(|object| object.metadata.name) {
                reconcile(client, version, kind, &name, &self.name, token).await?;
            }
        }
        Ok(())
    }

    async fn compare(&self, flux: &Client, nave: &Client) -> Result<Vec<Difference>> {
        let last = Mutex::new(Vec::new());
        let agree = eventually(AGREE, "the same", || async {
            let (flux, nave): (Look, Look) = (look(flux, &self.name).await?, look(nave, &self.name).await?);
            let found = unexpected(differences(&json!(flux), &json!(nave)), &self.expected);
            let same = found.is_empty();
            *last.lock().expect("nothing panics while it holds this") = found;
            ensure!(same, "they differ");
            Ok(())
        })
        .await;
        let last = last.into_inner().expect("nothing panics while it holds this");
        if agree.is_err() && last.is_empty() {
            agree?;
        }
        Ok(last)
    }
}

impl Step {
    /// Writes and removes files of the repository.
    async fn commit(&self, repo: &GitRepo) -> Result<()> {
        let Some(files) = self.0["files"].as_object() else {
            return Ok(());
        };
        for (name, content) in files {
            match content.as_str() {
                Some(text) => repo.write_files(&[(name, text)])?,
                None => fs::remove_file(repo.work_tree().join(name)).with_context(|| format!("removing {name}"))?,
            }
        }
        repo.commit("a step").await.map(drop)
    }

    /// Does everything to one plane, and waits until its engine is at rest.
    async fn happens(&self, client: &Client, namespace: &str, token: &str, first: Option<&str>) -> Result<()> {
        let mut asked = Vec::new();
        for object in list(&self.0["apply"]) {
            fleet::apply(client, &placed(object, namespace)).await?;
        }
        for change in list(&self.0["patch"]) {
            self.patch(client, namespace, change).await?;
        }
        if let Some(url) = first
            && self.0["source"] != json!(false)
        {
            let source = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": "repo"},
                "spec": {"interval": "1h", "url": url, "ref": {"branch": "main"}}});
            asked.push(source);
        }
        asked.extend(list(&self.0["sources"]).iter().cloned());
        asked.extend(list(&self.0["kustomizations"]).iter().map(kustomization));
        let names = |objects: &[Value]| -> Vec<String> {
            objects
                .iter()
                .map(|object| format!("{}/{}", object["kind"], object["metadata"]["name"]))
                .collect()
        };
        let known = names(&asked);
        if first.is_none() && self.0["source"] != json!(false) {
            reconcile(
                client,
                "source.toolkit.fluxcd.io/v1",
                "GitRepository",
                "repo",
                namespace,
                token,
            )
            .await?;
        }
        let mut later = Vec::new();
        for mut object in asked {
            object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"] = json!(token);
            let object = placed(&object, namespace);
            fleet::apply(client, &object).await?;
            if self.0["together"] == json!(true) {
                later.push(object);
            } else {
                rest(client, &object).await?;
            }
        }
        for object in later {
            rest(client, &object).await?;
        }
        for name in list(&self.0["reconcile"]) {
            let (kind, name) = name
                .as_str()
                .and_then(|name| name.split_once('/'))
                .context("Kind/name")?;
            ensure!(!known.contains(&format!("{kind}/{name}")), "{name} is asked twice");
            let version = match kind {
                "Kustomization" => "kustomize.toolkit.fluxcd.io/v1",
                _ => "source.toolkit.fluxcd.io/v1",
            };
            reconcile(client, version, kind, name, namespace, token).await?;
        }
        for object in list(&self.0["delete"]) {
            delete(client, &placed(object, namespace)).await?;
        }
        Ok(())
    }

    async fn patch(&self, client: &Client, namespace: &str, change: &Value) -> Result<()> {
        let object = placed(change, namespace);
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let parameters = PatchParams {
            field_manager: object["manager"].as_str().map(str::to_owned),
            ..PatchParams::default()
        };
        let name = object["metadata"]["name"].as_str().context("a name")?;
        api(
            client,
            text("apiVersion"),
            text("kind"),
            object["metadata"]["namespace"].as_str(),
        )
        .patch(name, &parameters, &Patch::Merge(&object["merge"]))
        .await?;
        Ok(())
    }
}

/// A Kustomization out of its name and the fields of its spec that matter; `metadata` is its own.
fn kustomization(fields: &Value) -> Value {
    let mut spec = json!({"interval": "1h", "retryInterval": "1h", "timeout": "30s", "prune": true, "path": "./app",
        "sourceRef": {"kind": "GitRepository", "name": "repo"}});
    let mut metadata = json!({});
    for (name, value) in fields.as_object().into_iter().flatten() {
        match name.as_str() {
            "name" => metadata["name"] = value.clone(),
            "metadata" => metadata["annotations"] = value["annotations"].clone(),
            name if value.is_null() => drop(spec.as_object_mut().and_then(|spec| spec.remove(name))),
            name => spec[name] = value.clone(),
        }
    }
    json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": metadata, "spec": spec})
}

/// The object in the namespace of the case, unless it says where it is; `namespace: ""` is for those without one.
fn placed(object: &Value, namespace: &str) -> Value {
    let mut object = object.clone();
    match object["metadata"]["namespace"].as_str() {
        Some("") => drop(
            object["metadata"]
                .as_object_mut()
                .and_then(|metadata| metadata.remove("namespace")),
        ),
        Some(_) => {}
        None => object["metadata"]["namespace"] = json!(namespace),
    }
    object
}

async fn current(client: &Client, object: &Value) -> Result<Option<DynamicObject>> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let api = api(
        client,
        text("/apiVersion").context("apiVersion")?,
        text("/kind").context("kind")?,
        text("/metadata/namespace"),
    );
    Ok(api.get_opt(text("/metadata/name").context("a name")?).await?)
}

/// Waits until the engine has dealt with the object.
async fn rest(client: &Client, object: &Value) -> Result<()> {
    let what = format!("{} {} at rest", object["kind"], object["metadata"]["name"]);
    eventually(DEADLINE, &what, || async {
        let found = current(client, object).await?.context("it is gone")?;
        settled(&serde_json::to_value(found)?)
    })
    .await
}

async fn reconcile(client: &Client, version: &str, kind: &str, name: &str, namespace: &str, token: &str) -> Result<()> {
    let request = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}});
    let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}});
    if current(client, &object).await?.is_none() {
        return Ok(());
    }
    api(client, version, kind, Some(namespace))
        .patch(name, &PatchParams::default(), &Patch::Merge(request))
        .await?;
    rest(client, &object).await
}

/// Deletes it and waits until it is gone.
async fn delete(client: &Client, object: &Value) -> Result<()> {
    let name = object["metadata"]["name"].as_str().context("a name")?;
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let api = api(
        client,
        text("apiVersion"),
        text("kind"),
        object["metadata"]["namespace"].as_str(),
    );
    api.delete(name, &DeleteParams::background()).await?;
    eventually(DEADLINE, &format!("{name} gone"), || async {
        ensure!(current(client, object).await?.is_none(), "it is there");
        Ok(())
    })
    .await
}

/// The value with words replaced in all its texts and names.
fn filled(value: &Value, words: &[(&str, String)]) -> Value {
    let text = |text: &str| {
        words.iter().fold(text.to_owned(), |text, (word, value)| {
            text.replace(&format!("%{word}%"), value)
        })
    };
    match value {
        Value::String(found) => json!(text(found)),
        Value::Array(items) => items.iter().map(|item| filled(item, words)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(name, item)| (text(name), filled(item, words)))
            .collect(),
        other => other.clone(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
