//! Builds in processes that have built before.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nave_kustomize::{Answers, Cache, Options, Step, Tree, build};
use nave_object::{Object, yaml};

use super::{median, peer::Oracle};

/// Rounds of ours and theirs in turn.
const ROUNDS: usize = 7;
/// Rounds over the whole monorepo; theirs take seconds each.
const MONOREPO_ROUNDS: usize = 3;

/// Medians over the rounds.
pub struct Pair {
    pub ours: Duration,
    pub theirs: Duration,
}

impl Pair {
    /// How many times faster ours is.
    pub fn ratio(&self) -> f64 {
        self.theirs.as_secs_f64() / self.ours.as_secs_f64()
    }
}

/// Times for all overlays.
pub struct Monorepo {
    pub ours: Duration,
    pub single: Duration,
    pub theirs: Duration,
}

/// The text of a directory, without a cache.
pub fn build_once(dir: &Path) -> Result<String> {
    build_with(
        dir,
        &Options {
            allow_remote: true,
            ..Options::default()
        },
    )
}

/// Builds one directory again and again; files are read from the disk each time, by both.
pub fn compare(oracle: &Oracle, dir: &Path, count: usize) -> Result<Pair> {
    let options = options();
    build_with(dir, &options)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..count {
            build_with(dir, &options)?;
        }
        ours.push(started.elapsed() / u32::try_from(count)?);
        theirs.push(oracle.repeat(&[dir], count)?);
    }
    Ok(Pair {
        ours: median(&mut ours),
        theirs: median(&mut theirs),
    })
}

/// Builds every overlay once, with a cache that is empty at the start.
pub fn monorepo(oracle: &Oracle, dirs: &[PathBuf], threads: usize) -> Result<Monorepo> {
    let (mut ours, mut single, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    let all: Vec<&Path> = dirs.iter().map(PathBuf::as_path).collect();
    for _ in 0..MONOREPO_ROUNDS {
        ours.push(all_with(dirs, threads)?);
        single.push(all_with(dirs, 1)?);
        theirs.push(oracle.repeat(&all, 1)? * u32::try_from(all.len())?);
    }
    Ok(Monorepo {
        ours: median(&mut ours),
        single: median(&mut single),
        theirs: median(&mut theirs),
    })
}

fn all_with(dirs: &[PathBuf], threads: usize) -> Result<Duration> {
    let options = options();
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    while let Some(dir) = dirs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        build_with(dir, &options)?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("the engine does not panic"))
    })?;
    Ok(started.elapsed())
}

fn options() -> Options {
    Options {
        cache: Some(Arc::new(Cache::new())),
        ..Options::default()
    }
}

fn build_with(dir: &Path, options: &Options) -> Result<String> {
    let tree = DiskTree {
        root: dir.ancestors().last().context("a path has a root")?.to_owned(),
    };
    let below = dir.strip_prefix(&tree.root)?.to_str().context("the path is text")?;
    match build(&tree, below, options, &Answers::new())? {
        Step::Done(objects) => Ok(yaml::write_documents(objects.iter().map(Object::as_value))),
        Step::Needs(needs) => bail!("{} asks for {needs:?}", dir.display()),
    }
}

struct DiskTree {
    root: PathBuf,
}

impl Tree for DiskTree {
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        fs::read(self.root.join(path)).ok().map(Cow::Owned)
    }

    fn is_dir(&self, path: &str) -> bool {
        self.root.join(path).is_dir()
    }

    fn list(&self, dir: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(dir)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}
