//! From the files of an artifact to the objects that are to be applied.

mod cache;

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use nave_artifact::FileTree;
use nave_crds::{
    kustomize::{Kustomization, KustomizationSpec},
    meta::Artifact,
    reasons,
};
use nave_kustomize::{Answers, LoadRestriction, Need, Reorder, Step, Tree, flux::Overlay};
use nave_object::{Object, ObjectId, digest};
use nave_substitute::{Variables, substitute};

pub(crate) use self::cache::Cache;
use crate::{
    Options, RemoteBases,
    decrypt::{decrypt_files, decrypt_objects},
    decryption::Decryption,
    plan::timeout_of,
    remote::Fetching,
    variables::strategy_of,
};

/// What was built.
pub(crate) struct Built {
    pub objects: Vec<Object>,
    /// Remote bases are in it, which may be others next time.
    pub remote: bool,
}

/// Why nothing was.
pub(crate) struct BuildFailure {
    pub reason: &'static str,
    pub message: String,
    /// The same input may build another time: what lies outside of it could not be had.
    pub may_pass: bool,
}

/// An artifact as kustomize sees it, with files that were decrypted in place of those that it has.
struct Files {
    tree: Arc<FileTree>,
    decrypted: crate::decrypt::Files,
}

impl Tree for Files {
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        if let Some(plain) = self.decrypted.get(path) {
            return Some(Cow::Borrowed(plain));
        }
        self.tree.get(path).map(|file| Cow::Borrowed(&file.data[..]))
    }

    fn is_dir(&self, path: &str) -> bool {
        self.tree.is_dir(path)
    }

    fn list(&self, dir: &str) -> Vec<String> {
        self.tree.list(dir)
    }
}

/// Names everything that decides what is applied: an equal digest means an equal result.
///
/// Of decryption keys only the identity and version of their Secret are in it.
pub(crate) fn input_digest(
    artifact: &Artifact,
    generation: i64,
    variables: &Variables,
    decryption: Option<&Decryption>,
) -> String {
    let keys = decryption.map_or("", |decryption| &decryption.version);
    let mut text = format!("{}\n{generation}\n{keys}\n", artifact.digest);
    for (name, value) in variables.iter() {
        text.push_str(&format!("{name}={value}\n"));
    }
    digest::sha256(text)
}

/// `spec.path` in the files of an artifact.
///
/// # Errors
/// It is not there.
pub(crate) fn path_in(tree: &FileTree, spec: &KustomizationSpec) -> Result<String, BuildFailure> {
    let failure = |message: String| BuildFailure {
        reason: reasons::kustomize::ARTIFACT_FAILED,
        message,
        may_pass: false,
    };
    match clean_path(&spec.path) {
        None => Err(failure(format!("spec.path {:?} leaves the artifact", spec.path))),
        Some(path) if tree.is_dir(&path) => Ok(path),
        Some(path) => Err(failure(format!(
            "kustomization path not found: {path:?} is no directory of the artifact"
        ))),
    }
}

/// Builds `spec.path` with the overlay of the spec, decrypts, and substitutes variables.
#[allow(clippy::too_many_arguments)] // they are the parts of one step, used nowhere else
pub(crate) async fn build(
    kustomization: &Kustomization,
    artifact: &Artifact,
    tree: Arc<FileTree>,
    variables: &Variables,
    decryption: Option<Arc<Decryption>>,
    options: &Options,
    cache: &Cache,
    bases: Option<&RemoteBases>,
) -> Result<Built, BuildFailure> {
    let spec = &kustomization.spec;
    let mut fetching = Fetching::new(timeout_of(spec));
    let path = path_in(&tree, spec)?;
    let overlay = overlay_of(spec)?;
    // The text of the overlay names all of its fields.
    let key = format!("{}\n{path}\n{overlay:?}", artifact.digest);
    let built = match (decryption, cache.get(&key)) {
        (Some(decryption), _) => {
            let work = (tree, path, overlay);
            Arc::new(build_decrypted(work, options, decryption, bases, &mut fetching).await?)
        }
        (None, Some(built)) => built,
        (None, None) => {
            let options = options_of(options, cache.files_of(&artifact.digest));
            let files = Files {
                tree,
                decrypted: crate::decrypt::Files::new(),
            };
            let built = Arc::new(build_plain(files, path, overlay, options, bases, &mut fetching).await?);
            // What is remote has to be asked for again.
            if !fetching.is_remote() {
                cache.put(key, built.clone());
            }
            built
        }
    };
    let post_build = spec.post_build.clone().unwrap_or_default();
    let (strategy, strict) = (strategy_of(&post_build), options.gates.strict_post_build_substitutions);
    let mut objects = Vec::with_capacity(built.len());
    for object in built.iter() {
        let object = if spec.post_build.is_some() {
            substitute(object.clone(), variables, strategy, strict)
                .map_err(|error| failed(crate::reconcile::chain(&error)))?
        } else {
            object.clone()
        };
        objects.push(object);
    }
    Ok(Built {
        objects,
        remote: fetching.is_remote(),
    })
}

/// Builds, and fetches what the build asks for, until it is done.
async fn build_plain(
    files: Files,
    path: String,
    overlay: Overlay,
    options: nave_kustomize::Options,
    bases: Option<&RemoteBases>,
    fetching: &mut Fetching,
) -> Result<Vec<Object>, BuildFailure> {
    let work = Arc::new((files, path, overlay, options));
    loop {
        let (work, answers) = (work.clone(), fetching.answers.clone());
        // A large build takes a while, and this thread has others to serve.
        let step = tokio::task::spawn_blocking(move || {
            let (files, path, overlay, options) = work.as_ref();
            run(files, path, overlay, options, &answers)
        })
        .await
        .map_err(|_| failed("building manifests panicked; please report this".to_owned()))??;
        match step {
            Step::Done(objects) => return Ok(objects),
            Step::Needs(needs) => fetch(bases, fetching, needs).await?,
        }
    }
}

/// Answers what a build asks for.
async fn fetch(bases: Option<&RemoteBases>, fetching: &mut Fetching, needs: Vec<Need>) -> Result<(), BuildFailure> {
    let list = || needs.iter().map(describe_need).collect::<Vec<_>>().join(", ");
    let Some(bases) = bases else {
        return Err(failed(format!(
            "the build needs {}, which this process does not fetch: put the files into the source",
            list()
        )));
    };
    let wanted = list();
    bases.answer(fetching, needs).await.map_err(|error| BuildFailure {
        may_pass: true,
        ..failed(format!("fetching {wanted}: {error}"))
    })
}

/// What a build with decryption asks for.
enum Decrypted {
    Done(Vec<Object>),
    Keys(Vec<nave_sops::Request>),
    Bases(Vec<Need>),
}

/// Builds between decrypting files and decrypting objects. Nothing of it is cached: it holds secrets.
async fn build_decrypted(
    (tree, path, overlay): (Arc<FileTree>, String, Overlay),
    options: &Options,
    decryption: Arc<Decryption>,
    bases: Option<&RemoteBases>,
    fetching: &mut Fetching,
) -> Result<Vec<Object>, BuildFailure> {
    let options = Arc::new(options_of(options, Arc::default()));
    let mut answers = nave_sops::Answers::new();
    loop {
        let (tree, path, overlay, options) = (tree.clone(), path.clone(), overlay.clone(), options.clone());
        let (decryption_here, answers_here) = (decryption.clone(), answers.clone());
        let fetched = fetching.answers.clone();
        let step = tokio::task::spawn_blocking(move || {
            let keys = &decryption_here.keys;
            let decrypted = decrypt_files(&tree, &path, &overlay.components, keys, &answers_here)?;
            let files = match decrypted {
                nave_sops::Step::Done(decrypted) => Files { tree, decrypted },
                nave_sops::Step::Needs(requests) => return Ok(Decrypted::Keys(requests)),
            };
            let objects = match run(&files, &path, &overlay, &options, &fetched)? {
                Step::Done(objects) => objects,
                Step::Needs(needs) => return Ok(Decrypted::Bases(needs)),
            };
            Ok::<_, BuildFailure>(match decrypt_objects(&objects, keys, &answers_here)? {
                nave_sops::Step::Done(objects) => Decrypted::Done(objects),
                nave_sops::Step::Needs(requests) => Decrypted::Keys(requests),
            })
        })
        .await
        .map_err(|_| failed("building manifests panicked; please report this".to_owned()))?
        .map_err(|failure| BuildFailure {
            // A key service that did not answer may do so later.
            may_pass: answers.values().any(Result::is_err),
            ..failure
        })?;
        match step {
            Decrypted::Done(objects) => return Ok(objects),
            // Every answer is kept, so that what is asked for is new, and there is an end to it.
            Decrypted::Keys(requests) => decryption.ask(requests, &mut answers).await,
            Decrypted::Bases(needs) => fetch(bases, fetching, needs).await?,
        }
    }
}

impl From<crate::decrypt::Failure> for BuildFailure {
    fn from(failure: crate::decrypt::Failure) -> Self {
        failed(crate::reconcile::chain(&failure))
    }
}

/// By way of JSON: the words of the API are those of the engine, and neither names the other.
fn overlay_of(spec: &KustomizationSpec) -> Result<Overlay, BuildFailure> {
    serde_json::to_value(spec)
        .and_then(Overlay::of_spec)
        .map_err(|error| failed(format!("reading the fields that change the build: {error}")))
}

/// The files that objects come from, found by building once more with that question. For messages: what cannot be found
/// is left out.
pub(crate) async fn files_of(
    kustomization: &Kustomization,
    artifact: &Artifact,
    tree: Arc<FileTree>,
    options: &Options,
    cache: &Cache,
) -> HashMap<ObjectId, String> {
    let Some(path) = clean_path(&kustomization.spec.path) else {
        return HashMap::new();
    };
    let Ok(mut overlay) = overlay_of(&kustomization.spec) else {
        return HashMap::new();
    };
    overlay.build_metadata = vec!["originAnnotations".to_owned()];
    let options = options_of(options, cache.files_of(&artifact.digest));
    let files = Files {
        tree,
        decrypted: crate::decrypt::Files::new(),
    };
    let prefix = path.clone();
    let built = tokio::task::spawn_blocking(move || run(&files, &path, &overlay, &options, &Answers::new())).await;
    let Ok(Ok(Step::Done(objects))) = built else {
        return HashMap::new();
    };
    objects
        .iter()
        .filter_map(|object| {
            let origin = object.annotation("config.kubernetes.io/origin")?;
            let file = origin.lines().find_map(|line| line.strip_prefix("path: "))?;
            Some((object.id(), clean_path(&format!("{prefix}/{}", file.trim()))?))
        })
        .collect()
}

fn run(
    files: &Files,
    path: &str,
    overlay: &Overlay,
    options: &nave_kustomize::Options,
    answers: &Answers,
) -> Result<Step<Vec<Object>>, BuildFailure> {
    nave_kustomize::flux::build(files, path, overlay, options, answers)
        .map_err(|error| failed(crate::reconcile::chain(&error)))
}

fn describe_need(need: &Need) -> String {
    match need {
        Need::File { url } => format!("the remote file {}", nave_net::redact(url)),
        Need::Repository(repository) => format!("the remote base {}", nave_net::redact(&repository.clone_url())),
        Need::Chart(_) => "a Helm chart".to_owned(),
    }
}

fn failed(message: String) -> BuildFailure {
    BuildFailure {
        reason: reasons::kustomize::BUILD_FAILED,
        message,
        may_pass: false,
    }
}

fn options_of(options: &Options, files: Arc<nave_kustomize::Cache>) -> nave_kustomize::Options {
    nave_kustomize::Options {
        load: LoadRestriction::None,
        reorder: Reorder::None,
        allow_remote: !options.no_remote_bases,
        allow_helm: false,
        cache: Some(files),
    }
}

/// `./a//b/` is `a/b`; none when the path leaves its root. A leading slash means the root, as in Flux.
fn clean_path(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            // Flux joins securely: the root has no parent.
            ".." => {
                parts.pop();
            }
            part if part.contains('\0') => return None,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (path, wanted) in [
            ("", ""),
            ("./", ""),
            ("./apps/web", "apps/web"),
            ("/apps//web/", "apps/web"),
            ("../../etc", "etc"),
            ("a/../b", "b"),
        ] {
            assert_eq!(clean_path(path).as_deref(), Some(wanted), "{path}");
        }
        assert_eq!(clean_path("a\0b"), None);
    }

    #[test]
    fn variables_change_the_input() {
        let artifact: Artifact = serde_json::from_value(serde_json::json!({"path": "p", "url": "u", "revision": "r",
            "digest": "sha256:0", "lastUpdateTime": "2026-01-01T00:00:00Z"}))
        .expect("it is complete");
        let one = input_digest(&artifact, 1, &Variables::from_iter([("a", "1")]), None);
        assert_eq!(
            one,
            input_digest(&artifact, 1, &Variables::from_iter([("a", "1")]), None)
        );
        assert_ne!(
            one,
            input_digest(&artifact, 1, &Variables::from_iter([("a", "2")]), None)
        );
        assert_ne!(
            one,
            input_digest(&artifact, 2, &Variables::from_iter([("a", "1")]), None)
        );
    }
}
