//! A directory as `kustomize build` builds it.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Result;
use nave_kustomize::{Answer, LoadRestriction, Need, Options, Reorder, RepositoryUrl};
use nave_object::Object;

use super::{answers::complete, place::Place, remote::Remotes};
use crate::{failure::advised, progress::Progress};

/// What the caller may choose.
#[derive(Debug, Clone, Copy)]
pub struct Plain {
    /// Which files may be read.
    pub load: LoadRestriction,
    /// Whether charts may be asked for.
    pub helm: bool,
    /// For each remote file; repositories have one of their own.
    pub timeout: Duration,
}

/// The objects of a directory, or of a directory in a remote repository, in kustomize's order.
///
/// # Errors
/// Whatever kustomize refuses.
pub async fn plain(path: &str, plain: Plain) -> Result<Vec<Object>> {
    let options = Options {
        load: plain.load,
        reorder: Reorder::Legacy,
        allow_remote: true,
        allow_helm: plain.helm,
        cache: None,
    };
    let place = place(path, plain.timeout).await?;
    complete(&place, plain.timeout, |answers| {
        nave_kustomize::build_with_warnings(&*place.tree, &place.directory, &options, answers)
    })
    .await
}

async fn place(path: &str, timeout: Duration) -> Result<Place> {
    let url = match RepositoryUrl::parse(path) {
        Some(url) if !Path::new(path).exists() => url,
        _ => return Place::anywhere(Path::new(path)),
    };
    let directory = url.path.clone();
    let need = Need::Repository(RepositoryUrl {
        path: String::new(),
        ..url
    });
    let progress = Progress::spinner(format!("fetching {}", nave_net::redact(path)));
    let answer = Remotes::new(timeout)?.answer(&need).await;
    drop(progress);
    match answer {
        Answer::Tree(tree) => Ok(Place::remote(Box::new(Shared(tree)), directory, path)),
        Answer::Failed(why) => Err(advised(
            format!("fetching {}: {why}", nave_net::redact(path)),
            "the address has the form https://host/organisation/repository//directory?ref=branch",
        )),
        Answer::File(_) | Answer::Manifests(_) => unreachable!("a repository is answered with a tree or a failure"),
    }
}

/// A tree that others hold too.
struct Shared(Arc<dyn nave_kustomize::Tree>);

impl nave_kustomize::Tree for Shared {
    fn read(&self, path: &str) -> Option<std::borrow::Cow<'_, [u8]>> {
        self.0.read(path)
    }

    fn is_dir(&self, path: &str) -> bool {
        self.0.is_dir(path)
    }

    fn list(&self, dir: &str) -> Vec<String> {
        self.0.list(dir)
    }

    fn real_path(&self, path: &str) -> Option<String> {
        self.0.real_path(path)
    }
}
