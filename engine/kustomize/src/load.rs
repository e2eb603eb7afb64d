//! Finding files and directories: roots, restrictions, cycles and remote places.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use nave_object::yaml::{Dialect, YamlError};
use serde_json::Value;

use crate::build::{Answer, Answers, LoadRestriction, Need, Options};
use crate::error::{BuildError, Problem};
use crate::repository::{RepositoryUrl, is_http};
use crate::resource::{Resource, read_resources, resources_from_nodes};
use crate::schema::Schemas;
use crate::tree::{Tree, is_within, normalize};

/// Deeper nesting of bases is refused; each level costs stack, and no real tree comes near.
const MAX_DEPTH: usize = 100;
/// More directories are refused: bases that use bases twice would take forever.
const MAX_DIRECTORIES: usize = 10_000;
/// Larger files are refused: the API server takes no object beyond 3 MiB.
const MAX_FILE: usize = 64 << 20;

/// What is the same for all of one build.
pub(crate) struct World<'a> {
    pub tree: &'a dyn Tree,
    pub options: &'a Options,
    pub answers: &'a Answers,
    pub schemas: RefCell<Schemas>,
    /// Questions that came up; the build goes on without their answers, to find more.
    pub needs: RefCell<Vec<Need>>,
    /// What is out of date in the kustomization files.
    pub warnings: RefCell<Vec<String>>,
    /// Directories that were entered, each time counted.
    pub entered: Cell<usize>,
}

/// A place from which paths are resolved: the directory of one kustomization file.
#[derive(Clone)]
pub(crate) struct Loader<'a> {
    pub world: &'a World<'a>,
    tree: TreeRef<'a>,
    /// The directory, relative to the root of its tree.
    pub root: String,
    /// Directories on the way here, this one last; each with the tree it is in.
    visited: Vec<(usize, String)>,
    /// URLs of repositories on the way here.
    repositories: Vec<String>,
    restriction: LoadRestriction,
}

#[derive(Clone)]
enum TreeRef<'a> {
    Main(&'a dyn Tree),
    Remote { number: usize, tree: Arc<dyn Tree> },
}

/// What a path in `resources` turned out to be.
pub(crate) enum Found<'a> {
    Resources(Vec<Resource>),
    Directory(Box<Loader<'a>>),
    /// A question was noted; there is nothing to go on with.
    Pending,
}

impl<'a> Loader<'a> {
    /// The loader of the directory that is built.
    pub fn new(world: &'a World<'a>, dir: &str) -> Result<Loader<'a>, BuildError> {
        let root = normalize("", dir).ok_or_else(|| outside(dir))?;
        let root = world.tree.real_path(&root).ok_or_else(|| outside(dir))?;
        if !world.tree.is_dir(&root) {
            let problem = Problem::Missing {
                what: "directory",
                path: dir.to_owned(),
            };
            return Err(BuildError::new("", 0, problem));
        }
        Ok(Loader {
            world,
            tree: TreeRef::Main(world.tree),
            visited: vec![(0, root.clone())],
            root,
            repositories: Vec::new(),
            restriction: world.options.load,
        })
    }

    fn tree(&self) -> &dyn Tree {
        match &self.tree {
            TreeRef::Main(tree) => *tree,
            TreeRef::Remote { tree, .. } => &**tree,
        }
    }

    fn tree_number(&self) -> usize {
        match &self.tree {
            TreeRef::Main(_) => 0,
            TreeRef::Remote { number, .. } => *number,
        }
    }

    /// The path of a file as errors name it.
    pub fn display(&self, path: &str) -> String {
        if is_http(path) {
            return path.to_owned();
        }
        let path = normalize(&self.root, path).unwrap_or_else(|| path.to_owned());
        match self.repositories.last() {
            Some(url) => format!("{url}/{path}"),
            None => path,
        }
    }

    /// The last part of the directory's name.
    pub fn base_name(&self) -> &str {
        self.root.rsplit('/').next().unwrap_or(&self.root)
    }

    /// An error in a file.
    pub fn syntax(&self, path: &str, line: usize, problem: String) -> BuildError {
        BuildError::new(self.display(path), line, Problem::Syntax(problem))
    }

    /// A file that is no YAML.
    pub fn yaml(&self, path: &str, error: YamlError) -> BuildError {
        BuildError::yaml(self.display(path), error)
    }

    /// The bytes of a file; `what` says what it is for, in errors.
    ///
    /// # Errors
    /// The file is missing, too large, or outside of what may be read.
    pub fn read(&self, what: &'static str, path: &str) -> Result<Cow<'_, [u8]>, BuildError> {
        if is_http(path) {
            return self.read_remote(what, path);
        }
        let full = self.resolve(path)?;
        let full = self.tree().real_path(&full).ok_or_else(|| outside(path))?;
        if self.restriction == LoadRestriction::RootOnly && !is_within(&full, &self.root) {
            return Err(BuildError::new(
                "",
                0,
                Problem::Forbidden {
                    what: format!("{what} `{path}`"),
                    why: "files must be in or below the directory of the kustomization file (load restriction)",
                },
            ));
        }
        match self.tree().read(&full) {
            Some(bytes) if bytes.len() > MAX_FILE => {
                let problem = format!("the file has {} bytes, and {MAX_FILE} are allowed", bytes.len());
                Err(BuildError::limit(problem).in_file(&self.display(path)))
            }
            Some(bytes) => Ok(bytes),
            None => Err(missing(what, path)),
        }
    }

    /// The text of a file, which must be UTF-8.
    pub fn read_text(&self, what: &'static str, path: &str) -> Result<String, BuildError> {
        let bytes = self.read(what, path)?;
        String::from_utf8(bytes.into_owned()).map_err(|error| {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            self.syntax(path, line + 1, "the file is not UTF-8".to_owned())
        })
    }

    /// A file as one JSON document, read leniently.
    pub fn read_json(&self, what: &'static str, path: &str) -> Result<Value, BuildError> {
        let text = self.read_text(what, path)?;
        let documents =
            nave_object::yaml::read_documents(&text, Dialect::K8s).map_err(|error| self.yaml(path, error))?;
        Ok(documents.into_iter().next().unwrap_or(Value::Null))
    }

    /// Whether there is a file of that name in this directory.
    pub fn has(&self, name: &str) -> bool {
        normalize(&self.root, name).is_some_and(|path| self.tree().read(&path).is_some())
    }

    /// Whether there is a directory at that path.
    pub fn has_dir(&self, path: &str) -> bool {
        normalize(&self.root, path).is_some_and(|path| self.tree().is_dir(&path))
    }

    /// The resources of a file, or the directory or repository of that name.
    pub fn find(&self, what: &'static str, path: &str) -> Result<Found<'a>, BuildError> {
        if !is_http(path)
            && let Ok(full) = self.resolve(path)
        {
            if self.tree().read(&full).is_some() {
                return self.read_file_resources(what, path).map(Found::Resources);
            }
            if self.tree().is_dir(&full) && RepositoryUrl::parse(path).is_none() {
                return self.descend(path).map(|loader| Found::Directory(Box::new(loader)));
            }
        }
        let repository = RepositoryUrl::parse(path);
        let is_file =
            is_http(path) && (repository.is_none() || [".yaml", ".yml", ".json"].iter().any(|end| path.ends_with(end)));
        if is_file {
            return match self.remote_file(path)? {
                Some(bytes) => {
                    let text = String::from_utf8(bytes.to_vec())
                        .map_err(|_| self.syntax(path, 0, "the file is not UTF-8".to_owned()))?;
                    read_resources(&text, path).map(Found::Resources)
                }
                None => Ok(Found::Pending),
            };
        }
        match repository {
            Some(url) => Ok(match self.clone_of(path, url)? {
                Some(loader) => Found::Directory(Box::new(loader)),
                None => Found::Pending,
            }),
            None => {
                self.resolve(path)?;
                Err(missing(what, path))
            }
        }
    }

    /// The directory or repository of that name; for components, which cannot be files.
    pub fn find_directory(&self, what: &'static str, path: &str) -> Result<Found<'a>, BuildError> {
        if let Some(url) = RepositoryUrl::parse(path) {
            return Ok(match self.clone_of(path, url)? {
                Some(loader) => Found::Directory(Box::new(loader)),
                None => Found::Pending,
            });
        }
        if !self.has_dir(path) {
            self.resolve(path)?;
            return Err(missing(what, path));
        }
        self.descend(path).map(|loader| Found::Directory(Box::new(loader)))
    }

    fn read_file_resources(&self, what: &'static str, path: &str) -> Result<Vec<Resource>, BuildError> {
        let display = self.display(path);
        if let Some(cache) = &self.world.options.cache {
            let bytes = self.read(what, path)?;
            let nodes = cache.nodes(&bytes).map_err(|error| self.yaml(path, error))?;
            return resources_from_nodes(nodes.to_vec(), &display);
        }
        read_resources(&self.read_text(what, path)?, &display)
    }

    fn descend(&self, path: &str) -> Result<Loader<'a>, BuildError> {
        let root = self.resolve(path)?;
        let root = self.tree().real_path(&root).ok_or_else(|| outside(path))?;
        let number = self.tree_number();
        // A base may not contain what is on the way to it.
        if let Some((_, around)) = self
            .visited
            .iter()
            .find(|(tree, dir)| *tree == number && is_within(dir, &root))
        {
            let shown = |dir: &str| if dir.is_empty() { ".".to_owned() } else { dir.to_owned() };
            return Err(BuildError::selection(format!(
                "`{path}` leads to {}, which contains {}, from where it is used: a cycle",
                shown(&root),
                shown(around)
            )));
        }
        let mut visited = self.visited.clone();
        visited.push((number, root.clone()));
        if visited.len() > MAX_DEPTH {
            let problem = format!("`{path}`: bases are nested more than {MAX_DEPTH} levels deep");
            return Err(BuildError::limit(problem));
        }
        self.world.entered.set(self.world.entered.get() + 1);
        if self.world.entered.get() > MAX_DIRECTORIES {
            let problem = format!("`{path}`: more than {MAX_DIRECTORIES} bases and components are used in one build");
            return Err(BuildError::limit(problem));
        }
        Ok(Loader {
            root,
            visited,
            ..self.clone()
        })
    }

    fn resolve(&self, path: &str) -> Result<String, BuildError> {
        if path.is_empty() {
            return Err(BuildError::syntax("a path is empty"));
        }
        if path.starts_with('/') {
            return Err(BuildError::new(
                "",
                0,
                Problem::Forbidden {
                    what: format!("path `{path}`"),
                    why: "paths must be relative",
                },
            ));
        }
        normalize(&self.root, path).ok_or_else(|| outside(path))
    }

    fn read_remote(&self, what: &'static str, url: &str) -> Result<Cow<'_, [u8]>, BuildError> {
        match self.remote_file(url)? {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => Err(missing(what, url)),
        }
    }

    fn remote_file(&self, url: &str) -> Result<Option<&'a [u8]>, BuildError> {
        self.allow_remote(url)?;
        let need = Need::File { url: url.to_owned() };
        match self.world.answers.get(&need) {
            Some(Answer::File(bytes)) => Ok(Some(bytes)),
            Some(Answer::Failed(problem)) => Err(BuildError::syntax(format!("fetching {url}: {problem}"))),
            Some(_) => Err(BuildError::syntax(format!("fetching {url}: the answer is no file"))),
            None => {
                self.ask(need);
                Ok(None)
            }
        }
    }

    fn clone_of(&self, text: &str, url: RepositoryUrl) -> Result<Option<Loader<'a>>, BuildError> {
        self.allow_remote(text)?;
        if self.repositories.iter().any(|before| before.starts_with(text)) {
            return Err(BuildError::selection(format!("`{text}` is used from itself: a cycle")));
        }
        let path = url.path.clone();
        let need = Need::Repository(RepositoryUrl {
            path: String::new(),
            ..url
        });
        match self.world.answers.get(&need) {
            Some(Answer::Tree(tree)) => {
                let root = normalize("", &path).ok_or_else(|| outside(&path))?;
                if !tree.is_dir(&root) {
                    return Err(missing("directory", text));
                }
                let mut repositories = self.repositories.clone();
                repositories.push(text.to_owned());
                let number = repositories.len();
                let mut visited = self.visited.clone();
                visited.push((number, root.clone()));
                Ok(Some(Loader {
                    world: self.world,
                    tree: TreeRef::Remote {
                        number,
                        tree: tree.clone(),
                    },
                    root,
                    visited,
                    repositories,
                    // Kustomize never lets a clone read outside its roots.
                    restriction: LoadRestriction::RootOnly,
                }))
            }
            Some(Answer::Failed(problem)) => Err(BuildError::syntax(format!("fetching {text}: {problem}"))),
            Some(_) => Err(BuildError::syntax(format!("fetching {text}: the answer is no tree"))),
            None => {
                self.ask(need);
                Ok(None)
            }
        }
    }

    fn allow_remote(&self, url: &str) -> Result<(), BuildError> {
        if self.world.options.allow_remote {
            return Ok(());
        }
        Err(BuildError::new(
            "",
            0,
            Problem::Forbidden {
                what: format!("remote `{url}`"),
                why: "remote bases are switched off",
            },
        ))
    }

    /// Notes a question for the caller.
    pub fn ask(&self, need: Need) {
        let mut needs = self.world.needs.borrow_mut();
        if !needs.contains(&need) {
            needs.push(need);
        }
    }
}

fn missing(what: &'static str, path: &str) -> BuildError {
    BuildError::new(
        "",
        0,
        Problem::Missing {
            what,
            path: path.to_owned(),
        },
    )
}

fn outside(path: &str) -> BuildError {
    BuildError::new(
        "",
        0,
        Problem::Forbidden {
            what: format!("path `{path}`"),
            why: "it leaves the root of the tree",
        },
    )
}
