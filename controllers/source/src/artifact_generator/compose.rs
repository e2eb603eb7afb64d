//! Copying files of sources into an artifact, as `cp` would. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use nave_artifact::{Algorithm, Digest, File, FileTree, Hasher, Ignore, Limits, unpack};
use nave_crds::extensions::{CopyOperation, CopyStrategy};
use nave_object::yaml::{self, Dialect};
use serde_json::{Map, Value};

use super::glob::{DoubleStar, is_glob, path_match};
use crate::{failure::chain, helm_chart::merge_maps};

/// The trees of sources by alias.
pub(crate) type Trees = BTreeMap<String, Arc<FileTree>>;

/// An archive that is unpacked may hold so much (source-watcher 2.2 has the default of its library).
const ARCHIVE: Limits = Limits {
    bytes: 100 << 20,
    files: 100_000,
};

/// The files of one artifact. `limits` bound what it may hold in all.
pub(crate) fn compose(operations: &[CopyOperation], sources: &Trees, limits: &Limits) -> Result<FileTree, String> {
    let mut staged = FileTree::new();
    for operation in operations {
        apply(operation, sources, &mut staged, limits).map_err(|problem| {
            format!(
                "failed to apply copy operation from '{}' to '{}': {problem}",
                operation.from, operation.to
            )
        })?;
    }
    let ignore = Ignore::new([], None);
    let excluded: Vec<String> = staged
        .iter()
        .filter(|(path, _)| ignore.excludes(path))
        .map(|(path, _)| path.to_owned())
        .collect();
    for path in &excluded {
        staged.remove(path);
    }
    Ok(staged)
}

/// A name for the content, whatever it is packed with.
pub(crate) fn content_digest(tree: &FileTree) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for (path, file) in tree.iter() {
        let head = format!("{path}\0{}\0{}\0", u8::from(file.executable), file.data.len());
        hasher.update(head.as_bytes());
        hasher.update(&file.data);
    }
    hasher.finish()
}

/// One operation under way.
struct Copy<'a> {
    source: &'a FileTree,
    staged: &'a mut FileTree,
    strategy: CopyStrategy,
    exclude: Exclude<'a>,
    limits: &'a Limits,
}

fn apply(operation: &CopyOperation, sources: &Trees, staged: &mut FileTree, limits: &Limits) -> Result<(), String> {
    let (alias, pattern) = operation
        .from
        .strip_prefix('@')
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(|| format!("invalid copy source '{}': it must be '@alias/pattern'", operation.from))?;
    let to = operation.to.strip_prefix("@artifact/").ok_or_else(|| {
        format!(
            "invalid copy destination '{}': it must start with '@artifact/'",
            operation.to
        )
    })?;
    let source = sources
        .get(alias)
        .ok_or_else(|| format!("source alias '{alias}' not found"))?;
    let is_directory = to.ends_with('/') || to.is_empty();
    let to = clean(to).ok_or_else(|| format!("invalid copy destination '{}': it leads out", operation.to))?;
    let mut copy = Copy {
        source,
        staged,
        strategy: operation.strategy.unwrap_or_default(),
        exclude: Exclude::new(&operation.exclude)?,
        limits,
    };
    if is_glob(pattern) {
        copy.matching(alias, pattern, &to)
    } else {
        let from = clean(pattern).ok_or_else(|| format!("source '{pattern}' leads out"))?;
        copy.single(&from, &to, is_directory)
    }
}

impl Copy<'_> {
    fn single(&mut self, from: &str, to: &str, is_directory: bool) -> Result<(), String> {
        let name = from.rsplit('/').next().unwrap_or_default();
        if let Some(file) = self.source.get(from).cloned() {
            if self.exclude.excludes(from, "") {
                return Ok(());
            }
            if self.strategy == CopyStrategy::Extract {
                if !is_archive(from) {
                    return Err(format!(
                        "extract strategy requires tarball file (.tar.gz or .tgz), got '{from}'"
                    ));
                }
                return self.extract(from, &file, to);
            }
            let to = if is_directory || self.staged.is_dir(to) {
                join(to, name)
            } else {
                to.to_owned()
            };
            return self.file(from, &file, &to);
        }
        if !self.source.is_dir(from) {
            return Err(format!("source '{from}' does not exist"));
        }
        if self.strategy == CopyStrategy::Extract {
            return Err(format!(
                "extract strategy is not supported for directories, got '{from}'"
            ));
        }
        self.directory(from, &join(to, name), from)
    }

    fn matching(&mut self, alias: &str, pattern: &str, to: &str) -> Result<(), String> {
        let entries = entries(self.source);
        let bad = || format!("invalid glob pattern '{pattern}'");
        let mut found = Vec::new();
        if self.strategy == CopyStrategy::Extract {
            let glob = DoubleStar::new(pattern).map_err(|_| bad())?;
            found.extend(entries.iter().filter(|entry| glob.matches(entry)));
        } else {
            for entry in &entries {
                if path_match(pattern, entry).map_err(|_| bad())? {
                    found.push(entry);
                }
            }
        }
        if found.is_empty() {
            return Err(format!("no files match pattern '{pattern}' in source '{alias}'"));
        }
        let base = selection_root(pattern);
        found.retain(|entry| !self.exclude.excludes(entry, &base));
        if found.is_empty() {
            return Err(format!(
                "all files matching pattern '{pattern}' in source '{alias}' were excluded"
            ));
        }
        // `dir/**` leaves the directory itself behind, as `cp -r dir/. to` does.
        let prefix = pattern.strip_suffix("/**").map(|prefix| format!("{prefix}/"));
        for entry in found {
            let file = self.source.get(entry).cloned();
            if self.strategy == CopyStrategy::Extract {
                match file {
                    Some(file) if is_archive(entry) => self.extract(entry, &file, to)?,
                    _ => {}
                }
                continue;
            }
            let relative = prefix.as_ref().and_then(|prefix| entry.strip_prefix(prefix.as_str()));
            let to = join(to, relative.unwrap_or(entry));
            match file {
                Some(file) => self.file(entry, &file, &to)?,
                None => self.directory(entry, &to, &base)?,
            }
        }
        Ok(())
    }

    /// Everything below a directory. What is there already is replaced, as in Flux: only files that are named are merged.
    fn directory(&mut self, from: &str, to: &str, base: &str) -> Result<(), String> {
        let source = self.source;
        let prefix = if from.is_empty() { 0 } else { from.len() + 1 };
        for (path, file) in source.below(from) {
            let relative = &path[prefix..];
            // An excluded directory takes along what is in it.
            let is_excluded = relative
                .match_indices('/')
                .map(|(at, _)| &path[..prefix + at])
                .chain([path])
                .any(|above| self.exclude.excludes(above, base));
            if !is_excluded {
                self.put(&join(to, relative), file.clone())?;
            }
        }
        Ok(())
    }

    fn file(&mut self, from: &str, file: &File, to: &str) -> Result<(), String> {
        let before = self.staged.get(to).filter(|_| self.strategy == CopyStrategy::Merge);
        let Some(before) = before else {
            return self.put(to, file.clone());
        };
        let mut merged = read_map(to, before)?;
        merge_maps(&mut merged, read_map(from, file)?);
        let executable = before.executable;
        let data = yaml::write(&Value::Object(merged)).into_bytes().into();
        self.put(to, File { executable, data })
    }

    fn extract(&mut self, from: &str, file: &File, to: &str) -> Result<(), String> {
        let tree = unpack(&*file.data, &ARCHIVE)
            .map_err(|error| format!("failed to extract tarball '{from}' to '{to}': {}", chain(&error)))?;
        for (path, file) in tree.iter() {
            self.put(&join(to, path), file.clone())?;
        }
        Ok(())
    }

    fn put(&mut self, to: &str, file: File) -> Result<(), String> {
        self.staged.insert(to, file).map_err(|error| error.to_string())?;
        if self.staged.len() > self.limits.files {
            return Err(format!("the artifact has more than {} files", self.limits.files));
        }
        if self.staged.bytes() > self.limits.bytes {
            return Err(format!("the artifact is larger than {} MiB", self.limits.bytes >> 20));
        }
        Ok(())
    }
}

/// What is not copied.
struct Exclude<'a>(Vec<(&'a str, DoubleStar)>);

impl<'a> Exclude<'a> {
    fn new(patterns: &'a [String]) -> Result<Self, String> {
        let compiled = patterns.iter().map(|pattern| {
            DoubleStar::new(pattern)
                .map(|compiled| (pattern.as_str(), compiled))
                .map_err(|_| format!("invalid exclude pattern '{pattern}'"))
        });
        Ok(Exclude(compiled.collect::<Result<_, _>>()?))
    }

    /// Patterns are for the whole path, for what is below the selection's root, and, without a slash, for the name.
    fn excludes(&self, path: &str, base: &str) -> bool {
        let below = if base.is_empty() {
            None
        } else {
            path.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'))
        };
        [Some(path), below].into_iter().flatten().any(|path| {
            let name = path.rsplit('/').next().unwrap_or(path);
            self.0
                .iter()
                .any(|(text, glob)| glob.matches(path) || (!text.contains('/') && glob.matches(name)))
        })
    }
}

/// Files and directories.
fn entries(tree: &FileTree) -> BTreeSet<String> {
    let mut entries = BTreeSet::new();
    for (path, _) in tree.iter() {
        entries.insert(path.to_owned());
        for (at, _) in path.rmatch_indices('/') {
            // What is above is there already.
            if !entries.insert(path[..at].to_owned()) {
                break;
            }
        }
    }
    entries
}

/// What stands before the first segment with a glob.
fn selection_root(pattern: &str) -> String {
    let literal: Vec<&str> = pattern.split('/').take_while(|segment| !is_glob(segment)).collect();
    literal.join("/")
}

fn is_archive(path: &str) -> bool {
    let path = path.to_lowercase();
    path.ends_with(".tar.gz") || path.ends_with(".tgz")
}

/// A path without `.`, `..` and empty segments; none when it leads out.
fn clean(path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop()?;
            }
            other => segments.push(other),
        }
    }
    Some(segments.join("/"))
}

fn join(directory: &str, path: &str) -> String {
    match (directory, path) {
        ("", path) => path.to_owned(),
        (directory, "") => directory.to_owned(),
        (directory, path) => format!("{directory}/{path}"),
    }
}

/// All documents of a file as one map, later ones over earlier ones.
fn read_map(path: &str, file: &File) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(&file.data).map_err(|_| format!("{path}: it is not valid UTF-8"))?;
    let mut map = Map::new();
    for document in yaml::read_documents(text, Dialect::K8s).map_err(|error| format!("{path}: {error}"))? {
        match document {
            Value::Null => {}
            Value::Object(document) => merge_maps(&mut map, document),
            _ => return Err(format!("{path}: a document is no map")),
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> FileTree {
        let mut tree = FileTree::new();
        for (path, text) in files {
            tree.insert(*path, File::plain(text.as_bytes())).unwrap();
        }
        tree
    }

    fn sources() -> Trees {
        let a = tree(&[
            ("README.md", "r"),
            ("apps/one/deploy.yaml", "1"),
            ("apps/one/docs/a.md", "d"),
            ("apps/two/deploy.yaml", "2"),
            ("values.yaml", "a: {x: 1, y: [1]}\nb: 1\n"),
            ("logo.png", "p"),
        ]);
        let mut b = tree(&[("prod.yaml", "a: {x: 2}\n---\na: {y: [2]}\nc: 3\n"), ("text", "- 1\n")]);
        let packed = nave_artifact::pack(&tree(&[("chart/Chart.yaml", "c")]));
        b.insert("dist/chart.tgz", File::plain(packed)).unwrap();
        Trees::from([("a".into(), Arc::new(a)), ("b".into(), Arc::new(b))])
    }

    #[track_caller]
    fn check(operations: Value, expected: Result<&[&str], &str>) {
        let operations: Vec<CopyOperation> = serde_json::from_value(operations).unwrap();
        let found = compose(&operations, &sources(), &Limits::default());
        match (found, expected) {
            (Ok(tree), Ok(expected)) => {
                let found: Vec<String> = tree
                    .iter()
                    .map(|(path, file)| format!("{path}={}", String::from_utf8_lossy(&file.data)))
                    .collect();
                assert_eq!(found, expected);
            }
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{found:?} where {expected:?} was expected"),
        }
    }

    #[test]
    fn copies_are_those_of_cp() {
        // A file, into a directory and under another name.
        check(
            json!([{"from": "@a/README.md", "to": "@artifact/"}]),
            Ok(&["README.md=r"]),
        );
        check(
            json!([{"from": "@a/README.md", "to": "@artifact/docs/"}]),
            Ok(&["docs/README.md=r"]),
        );
        check(
            json!([{"from": "@a/README.md", "to": "@artifact/x.md"}]),
            Ok(&["x.md=r"]),
        );
        check(
            json!([
                {"from": "@a/apps/two", "to": "@artifact/"},
                {"from": "@a/README.md", "to": "@artifact/two"}
            ]),
            Ok(&["two/README.md=r", "two/deploy.yaml=2"]),
        );
        // A directory keeps its name.
        check(
            json!([{"from": "@a/apps/one/", "to": "@artifact/x", "exclude": ["*.md"]}]),
            Ok(&["x/one/deploy.yaml=1"]),
        );
        // What is matched by a glob keeps its path, but for `/**`.
        check(
            json!([{"from": "@a/apps/*/deploy.yaml", "to": "@artifact/"}]),
            Ok(&["apps/one/deploy.yaml=1", "apps/two/deploy.yaml=2"]),
        );
        check(
            json!([{"from": "@a/apps/**", "to": "@artifact/k", "exclude": ["one/docs/**"]}]),
            Ok(&["k/one/deploy.yaml=1", "k/two/deploy.yaml=2"]),
        );
        check(
            json!([{"from": "@a/apps/**", "to": "@artifact/", "exclude": ["apps/one", "**/docs"]}]),
            Ok(&["two/deploy.yaml=2"]),
        );
        // The usual exclusions hold for the result.
        check(
            json!([{"from": "@a/*", "to": "@artifact/", "exclude": ["apps", "*.yaml"]}]),
            Ok(&["README.md=r"]),
        );
    }

    #[test]
    fn later_ones_replace_or_are_merged() {
        check(
            json!([
                {"from": "@a/values.yaml", "to": "@artifact/v.yaml"},
                {"from": "@a/README.md", "to": "@artifact/v.yaml"}
            ]),
            Ok(&["v.yaml=r"]),
        );
        check(
            json!([
                {"from": "@a/values.yaml", "to": "@artifact/v.yaml", "strategy": "Merge"},
                {"from": "@b/prod.yaml", "to": "@artifact/v.yaml", "strategy": "Merge"}
            ]),
            // A bare `y` is true, also as a key.
            Ok(&["v.yaml=a:\n  \"true\":\n  - 2\n  x: 2\nb: 1\nc: 3\n"]),
        );
        check(
            json!([
                {"from": "@a/values.yaml", "to": "@artifact/v.yaml"},
                {"from": "@b/text", "to": "@artifact/v.yaml", "strategy": "Merge"}
            ]),
            Err("text: a document is no map"),
        );
    }

    #[test]
    fn archives_are_unpacked() {
        check(
            json!([{"from": "@b/dist/chart.tgz", "to": "@artifact/c", "strategy": "Extract"}]),
            Ok(&["c/chart/Chart.yaml=c"]),
        );
        check(
            json!([{"from": "@b/**", "to": "@artifact/", "strategy": "Extract"}]),
            Ok(&["chart/Chart.yaml=c"]),
        );
        check(
            json!([{"from": "@b/text", "to": "@artifact/", "strategy": "Extract"}]),
            Err("extract strategy requires tarball file"),
        );
        check(
            json!([{"from": "@b/dist", "to": "@artifact/", "strategy": "Extract"}]),
            Err("extract strategy is not supported for directories"),
        );
    }

    #[test]
    fn what_cannot_be_is_said() {
        let one = |from: &str, to: &str| json!([{"from": from, "to": to}]);
        check(one("@a/missing", "@artifact/"), Err("source 'missing' does not exist"));
        check(one("@x/a", "@artifact/"), Err("source alias 'x' not found"));
        check(
            one("@a/*.txt", "@artifact/"),
            Err("no files match pattern '*.txt' in source 'a'"),
        );
        check(one("@a/[", "@artifact/"), Err("invalid glob pattern '['"));
        check(one("@a/../b", "@artifact/"), Err("leads out"));
        check(one("@a/README.md", "@artifact/../x"), Err("it leads out"));
        check(
            json!([{"from": "@a/*.md", "to": "@artifact/", "exclude": ["*"]}]),
            Err("all files matching pattern '*.md' in source 'a' were excluded"),
        );
        check(
            json!([{"from": "@a/*.md", "to": "@artifact/", "exclude": ["a{"]}]),
            Err("invalid exclude pattern 'a{'"),
        );
        check(
            json!([{"from": "@a/README.md", "to": "@artifact/x"}, {"from": "@a/apps", "to": "@artifact/x"}]),
            Err("both a file and a directory"),
        );
    }

    #[test]
    fn only_the_content_names_it() {
        let one = tree(&[("a", "1"), ("b", "2")]);
        assert_eq!(content_digest(&one), content_digest(&tree(&[("b", "2"), ("a", "1")])));
        assert_ne!(content_digest(&one), content_digest(&tree(&[("a", "12"), ("b", "")])));
    }
}
