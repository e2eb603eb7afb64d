//! The entry: options, questions and answers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use nave_object::Object;

use crate::cache::Cache;
use crate::decode::Mode;
use crate::error::BuildError;
use crate::helm::ChartRequest;
use crate::kustomization::Kustomization;
use crate::load::{Loader, World};
use crate::repository::RepositoryUrl;
use crate::schema::Schemas;
use crate::target;
use crate::tree::Tree;

/// Which files a kustomization may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoadRestriction {
    /// Files in and below its own directory; what `kubectl kustomize` allows.
    #[default]
    RootOnly,
    /// All files of the tree; what Flux allows.
    None,
}

/// The order of the result, where the kustomization file does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reorder {
    /// Namespaces and definitions first, webhooks last; what the command line tools do.
    #[default]
    Legacy,
    /// As met; what Flux does.
    None,
}

/// How to build.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which files may be read.
    pub load: LoadRestriction,
    /// The order of the result.
    pub reorder: Reorder,
    /// Whether URLs may be resources.
    pub allow_remote: bool,
    /// Whether `helmCharts` may be used.
    pub allow_helm: bool,
    /// Parsed files of other builds, if they are to be shared.
    pub cache: Option<Arc<Cache>>,
}

/// A result, or what is needed for one.
#[derive(Debug)]
pub enum Step<T> {
    /// The result.
    Done(T),
    /// Questions; build again with all answers so far.
    Needs(Vec<Need>),
}

/// What a build gives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Built {
    /// The objects in the order of the output.
    pub objects: Vec<Object>,
    /// What is out of date in the kustomization files, a line each, as kustomize prints it to stderr:
    /// once per file and use, in the order in which files are read.
    pub warnings: Vec<String>,
}

/// Something that only the outside has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Need {
    /// A file by HTTP; answered with [`Answer::File`].
    File {
        /// Where it is.
        url: String,
    },
    /// A Git repository as a whole; answered with [`Answer::Tree`]. Its `path` is empty.
    Repository(RepositoryUrl),
    /// A rendered Helm chart; answered with [`Answer::Manifests`].
    Chart(Box<ChartRequest>),
}

/// The answer to a [`Need`].
#[derive(Clone)]
pub enum Answer {
    /// The bytes of a file.
    File(Vec<u8>),
    /// The files of a repository.
    Tree(Arc<dyn Tree>),
    /// What a chart renders to, as YAML.
    Manifests(String),
    /// There is no answer; the build fails where it is needed, with this text.
    Failed(String),
}

/// Answers so far.
#[derive(Clone, Default)]
pub struct Answers(BTreeMap<Need, Answer>);

impl Answers {
    /// No answers.
    pub fn new() -> Answers {
        Answers::default()
    }

    /// Adds an answer.
    pub fn insert(&mut self, need: Need, answer: Answer) {
        self.0.insert(need, answer);
    }

    pub(crate) fn get(&self, need: &Need) -> Option<&Answer> {
        self.0.get(need)
    }
}

/// Builds the kustomization in a directory; the objects come in the order of the output.
///
/// # Errors
/// Everything that kustomize refuses, with the file and the way to it; see [`BuildError`].
pub fn build(
    tree: &dyn Tree,
    dir: &str,
    options: &Options,
    answers: &Answers,
) -> Result<Step<Vec<Object>>, BuildError> {
    Ok(match build_with_warnings(tree, dir, options, answers)? {
        Step::Done(built) => Step::Done(built.objects),
        Step::Needs(needs) => Step::Needs(needs),
    })
}

/// Builds as [`build`] does, and says what kustomize warns of, too.
///
/// # Errors
/// As [`build`].
pub fn build_with_warnings(
    tree: &dyn Tree,
    dir: &str,
    options: &Options,
    answers: &Answers,
) -> Result<Step<Built>, BuildError> {
    build_with(tree, dir, options, answers, Mode::Strict, |_| Ok(()))
}

/// Builds with changes to the kustomization of the top, which is read in `mode` and then edited.
pub(crate) fn build_with(
    tree: &dyn Tree,
    dir: &str,
    options: &Options,
    answers: &Answers,
    mode: Mode,
    edit: impl FnOnce(&mut Kustomization) -> Result<(), BuildError>,
) -> Result<Step<Built>, BuildError> {
    let world = World {
        tree,
        options,
        answers,
        schemas: RefCell::new(Schemas::default()),
        needs: RefCell::default(),
        warnings: RefCell::default(),
        entered: Cell::new(0),
    };
    let built = Loader::new(&world, dir).and_then(|loader| target::run(loader, mode, edit));
    // An error may come from what is not there yet.
    let needs = world.needs.into_inner();
    if !needs.is_empty() {
        return Ok(Step::Needs(needs));
    }
    let warnings = world.warnings.into_inner();
    built.map(|objects| Step::Done(Built { objects, warnings }))
}
