//! Packages of charts: reading what is in one, and making one from a folder. Pure: files in, bytes out.
//!
//! The layout is Helm's: everything below `<name>/`, `Chart.yaml` first.

use std::io::Write;

use flate2::{Compression, GzBuilder};
use nave_artifact::{File, FileTree, Limits, unpack};
use nave_object::yaml::{self, Dialect};
use nave_version::Version;
use serde_json::{Map, Value};
use tar::{Builder, EntryType, Header};

use super::helm_ignore::{self, HelmIgnore};
use crate::failure::chain;

/// A chart that cannot be read or packaged; the parts differ in their condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PackageError {
    #[error("{0}")]
    Reference(String),
    #[error("{0}")]
    Values(String),
    #[error("{0}")]
    Dependency(String),
    #[error("{0}")]
    Package(String),
}

/// A chart: its files, and what its `Chart.yaml` says.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub name: String,
    pub version: Version,
    metadata: Map<String, Value>,
    files: FileTree,
    is_changed: bool,
}

/// How much a chart may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChartLimits {
    /// The package.
    pub package: u64,
    /// One file.
    pub file: u64,
}

const CHART: &str = "Chart.yaml";
const VALUES: &str = "values.yaml";
/// A package unpacks to about ten times its size; what is far above is a bomb.
const UNPACKED: u64 = 20;
const MAX_FILES: usize = 20_000;
/// Charts within charts within charts: as deep as Helm's own sources go, and then some.
const MAX_DEPTH: usize = 16;

impl Chart {
    /// Reads a package.
    pub fn from_package(data: &[u8], limits: ChartLimits) -> Result<Self, PackageError> {
        let tree_limits = Limits {
            bytes: limits.package.saturating_mul(UNPACKED),
            files: MAX_FILES,
        };
        let tree = unpack(data, &tree_limits).map_err(|error| PackageError::Package(chain(&error)))?;
        let mut files = FileTree::new();
        for (path, file) in tree.iter() {
            // The first part is the folder's name, whatever it is.
            if let Some((_, rest)) = path.split_once('/') {
                insert(&mut files, rest, file.clone(), limits)?;
            }
        }
        Self::from_files(files)
    }

    /// Reads the folder `path` of a source. Local dependencies are taken along.
    pub fn from_folder(source: &FileTree, path: &str, limits: ChartLimits) -> Result<Self, PackageError> {
        folder(source, path, limits, 0)
    }

    fn from_files(files: FileTree) -> Result<Self, PackageError> {
        let wrong = |message: String| PackageError::Reference(message);
        let file = files
            .get(CHART)
            .ok_or_else(|| wrong(format!("{CHART} file is missing")))?;
        let metadata = read_map(CHART, file).map_err(wrong)?;
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default();
        let (name, version) = (text("name").to_owned(), text("version").to_owned());
        if name.is_empty() || name.contains('/') || matches!(name.as_str(), "." | "..") {
            return Err(wrong(format!("{CHART}: chart.metadata.name {name:?} is invalid")));
        }
        let version = Version::parse(&version)
            .map_err(|_| wrong(format!("{CHART}: chart.metadata.version {version:?} is invalid")))?;
        Ok(Chart {
            name,
            version,
            metadata,
            files,
            is_changed: false,
        })
    }

    /// Dependencies that are named, and those that are there.
    pub fn dependencies(&self) -> (usize, usize) {
        let named = dependencies(&self.metadata, &self.files).len();
        let there: std::collections::BTreeSet<&str> = self
            .files
            .below("charts")
            .filter_map(|(path, _)| path.strip_prefix("charts/")?.split('/').next())
            .filter(|name| !name.starts_with(['.', '_']))
            .collect();
        (named, there.len())
    }

    /// Replaces the metadata of the version (`1.2.3+<metadata>`).
    pub fn set_version_metadata(&mut self, metadata: &str) -> Result<(), PackageError> {
        self.version = self
            .version
            .with_metadata(metadata)
            .map_err(|error| PackageError::Package(format!("version metadata '{metadata}': {error}")))?;
        let version = Value::String(self.version.to_string());
        self.metadata.insert("version".to_owned(), version);
        self.is_changed = true;
        Ok(())
    }

    /// A values file by its path in the chart.
    pub fn values_file(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    /// Replaces the chart's own values.
    pub fn set_values(&mut self, values: &Map<String, Value>) -> Result<(), PackageError> {
        let text = yaml::write(&Value::Object(values.clone()));
        let file = File::plain(text.into_bytes());
        self.files
            .insert(VALUES, file)
            .map_err(|error| PackageError::Values(error.to_string()))?;
        self.is_changed = true;
        Ok(())
    }

    /// Whether something of it was changed since it was read.
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// The package. The bytes depend on the chart alone.
    pub fn pack(&self, limits: ChartLimits) -> Result<Vec<u8>, PackageError> {
        let failed = |error: std::io::Error| PackageError::Package(error.to_string());
        let gzip = GzBuilder::new()
            .mtime(0)
            .operating_system(255)
            .write(Vec::new(), Compression::default());
        let mut archive = Builder::new(gzip);
        let metadata;
        let chart = if self.is_changed {
            metadata = yaml::write(&Value::Object(self.metadata.clone()));
            metadata.as_bytes()
        } else {
            self.files.get(CHART).map_or(&[][..], |file| &file.data)
        };
        append(&mut archive, &format!("{}/{CHART}", self.name), chart).map_err(failed)?;
        for (path, file) in self.files.iter().filter(|(path, _)| *path != CHART) {
            append(&mut archive, &format!("{}/{path}", self.name), &file.data).map_err(failed)?;
        }
        let data = archive.into_inner().and_then(|gzip| gzip.finish()).map_err(failed)?;
        if data.len() as u64 > limits.package {
            return Err(PackageError::Package(format!(
                "the package of chart '{}' is larger than {} bytes",
                self.name, limits.package
            )));
        }
        Ok(data)
    }
}

fn append<W: Write>(archive: &mut Builder<W>, path: &str, data: &[u8]) -> std::io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(data.len() as u64);
    header.set_mtime(0);
    archive.append_data(&mut header, path, data)
}

fn folder(source: &FileTree, path: &str, limits: ChartLimits, depth: usize) -> Result<Chart, PackageError> {
    if depth > MAX_DEPTH {
        return Err(PackageError::Dependency(format!(
            "local dependencies are nested more than {MAX_DEPTH} levels deep"
        )));
    }
    let prefix = if path.is_empty() {
        String::new()
    } else {
        format!("{path}/")
    };
    let rules = source
        .get(&format!("{prefix}{}", helm_ignore::FILE_NAME))
        .map(|file| String::from_utf8_lossy(&file.data).into_owned())
        .unwrap_or_default();
    let ignore = HelmIgnore::new(&rules).map_err(PackageError::Package)?;
    let mut files = FileTree::new();
    for (full, file) in source.below(path) {
        let relative = &full[prefix.len()..];
        if !ignore.excludes(relative) {
            insert(&mut files, relative, file.clone(), limits)?;
        }
    }
    let mut chart = Chart::from_files(files)?;
    let (named, there) = chart.dependencies();
    if named != there {
        for dependency in dependencies(&chart.metadata, &chart.files) {
            include(source, path, &mut chart, &dependency, limits, depth)?;
        }
    }
    Ok(chart)
}

/// Puts a local dependency into `charts/`, unless it is there.
fn include(
    source: &FileTree,
    path: &str,
    chart: &mut Chart,
    dependency: &Value,
    limits: ChartLimits,
    depth: usize,
) -> Result<(), PackageError> {
    let text = |key: &str| dependency.get(key).and_then(Value::as_str).unwrap_or_default();
    let (name, repository) = (text("name"), text("repository"));
    let failed = |message: String| PackageError::Dependency(format!("dependency '{name}': {message}"));
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(failed("its name is invalid".to_owned()));
    }
    if chart.files.is_dir(&format!("charts/{name}")) {
        return Ok(());
    }
    let local = match repository {
        "" => format!("charts/{name}"),
        _ => match repository.strip_prefix("file://") {
            Some(local) => local.to_owned(),
            None => {
                return Err(failed(format!(
                    "repositories ('{}') are not asked for dependencies by this version, put the dependency into charts/",
                    nave_net::redact(repository)
                )));
            }
        },
    };
    let place = join(path, &local).ok_or_else(|| failed(format!("path '{local}' leads out of the source")))?;
    if !source.is_dir(&place) {
        return Err(failed(format!("no chart found at '{place}'")));
    }
    let inner = folder(source, &place, limits, depth + 1)?;
    if inner.name != name {
        return Err(failed(format!("the chart at '{place}' is named '{}'", inner.name)));
    }
    let wanted = text("version");
    if !wanted.is_empty() {
        let range = nave_version::Range::parse(wanted)
            .map_err(|error| failed(format!("version '{wanted}': {}", chain(&error))))?;
        if !range.matches(&inner.version) {
            return Err(failed(format!(
                "version {} of the chart at '{place}' is not within '{wanted}'",
                inner.version
            )));
        }
    }
    for (relative, file) in inner.files.iter() {
        insert(
            &mut chart.files,
            &format!("charts/{name}/{relative}"),
            file.clone(),
            limits,
        )?;
    }
    chart.is_changed = true;
    Ok(())
}

/// What `Chart.yaml` names, or `requirements.yaml` of charts of the first kind.
fn dependencies(metadata: &Map<String, Value>, files: &FileTree) -> Vec<Value> {
    let listed = |map: &Map<String, Value>| map.get("dependencies").and_then(Value::as_array).cloned();
    listed(metadata)
        .or_else(|| {
            let file = files.get("requirements.yaml")?;
            listed(&read_map("requirements.yaml", file).ok()?)
        })
        .unwrap_or_default()
}

fn insert(files: &mut FileTree, path: &str, file: File, limits: ChartLimits) -> Result<(), PackageError> {
    if file.data.len() as u64 > limits.file {
        return Err(PackageError::Package(format!(
            "file '{path}' is larger than {} bytes",
            limits.file
        )));
    }
    if files.len() >= MAX_FILES || files.bytes() > limits.package.saturating_mul(UNPACKED) {
        return Err(PackageError::Package(
            "the chart holds too many or too large files".to_owned(),
        ));
    }
    files
        .insert(path, file)
        .map_err(|error| PackageError::Package(error.to_string()))
}

/// `path` as seen from the directory `base`; none when it leads out of the root.
pub(crate) fn join(base: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    if path.starts_with('/') {
        parts.clear();
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The map in a YAML file; an empty file is an empty map.
pub(crate) fn read_map(path: &str, file: &File) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(&file.data).map_err(|_| format!("{path}: it is not valid UTF-8"))?;
    let documents = yaml::read_documents(text, Dialect::K8s).map_err(|error| format!("{path}: {error}"))?;
    match documents.into_iter().next() {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(format!("{path}: it is no map")),
    }
}

/// Merges `over` into `base`: maps are merged deeply, anything else is replaced.
pub(crate) fn merge(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LIMITS: ChartLimits = ChartLimits {
        package: 10 << 20,
        file: 5 << 20,
    };

    fn tree(files: &[(&str, &str)]) -> FileTree {
        let mut tree = FileTree::new();
        for (path, text) in files {
            tree.insert(*path, File::plain(text.as_bytes())).unwrap();
        }
        tree
    }

    fn unpacked(data: &[u8]) -> Vec<(String, String)> {
        let tree = unpack(data, &Limits::default()).unwrap();
        tree.iter()
            .map(|(path, file)| (path.to_owned(), String::from_utf8_lossy(&file.data).into_owned()))
            .collect()
    }

    const CHART_YAML: &str = "apiVersion: v2\nname: app\nversion: 1.2.3\nappVersion: \"1.0\"\n";

    #[test]
    fn a_folder_becomes_a_package() {
        let source = tree(&[
            ("charts/app/Chart.yaml", CHART_YAML),
            ("charts/app/values.yaml", "a: 1\n"),
            ("charts/app/templates/a.yaml", "{{ .Values.a }}"),
            ("charts/app/templates/.hidden", "x"),
            ("charts/app/notes.txt", "x"),
            ("charts/app/.helmignore", "*.txt\n"),
            ("charts/other/Chart.yaml", "x"),
        ]);
        let chart = Chart::from_folder(&source, "charts/app", LIMITS).unwrap();
        assert_eq!(
            (chart.name.as_str(), chart.version.to_string().as_str()),
            ("app", "1.2.3")
        );
        let packed = chart.pack(LIMITS).unwrap();
        let names: Vec<String> = unpacked(&packed).into_iter().map(|(path, _)| path).collect();
        assert_eq!(
            names,
            [
                "app/.helmignore",
                "app/Chart.yaml",
                "app/templates/a.yaml",
                "app/values.yaml"
            ]
        );
        assert_eq!(packed, chart.pack(LIMITS).unwrap());
        let again = Chart::from_package(&packed, LIMITS).unwrap();
        assert_eq!((again.name, again.files), (chart.name, chart.files));
    }

    #[test]
    fn version_and_values_are_replaced() {
        let source = tree(&[("Chart.yaml", CHART_YAML), ("values.yaml", "a: 1\n")]);
        let mut chart = Chart::from_folder(&source, "", LIMITS).unwrap();
        assert!(!chart.is_changed());
        chart.set_version_metadata("0123456789ab.2").unwrap();
        let values = json!({"b": {"c": [1]}, "a": "x"});
        chart.set_values(values.as_object().unwrap()).unwrap();
        assert!(chart.is_changed());
        let files = unpacked(&chart.pack(LIMITS).unwrap());
        assert_eq!(
            files[0].1,
            "apiVersion: v2\nappVersion: \"1.0\"\nname: app\nversion: 1.2.3+0123456789ab.2\n"
        );
        assert_eq!(files[1].1, "a: x\nb:\n  c:\n  - 1\n");
        assert!(chart.set_version_metadata("not good").is_err());
    }

    #[test]
    fn local_dependencies_are_taken_along() {
        let chart = "apiVersion: v2\nname: app\nversion: 1.2.3\ndependencies:\n- {name: lib, version: 1.x, repository: \
                     'file://../lib'}\n";
        let lib = "apiVersion: v2\nname: lib\nversion: 1.5.0\n";
        let source = tree(&[
            ("app/Chart.yaml", chart),
            ("lib/Chart.yaml", lib),
            ("lib/templates/_helpers.tpl", "x"),
        ]);
        let found = Chart::from_folder(&source, "app", LIMITS).unwrap();
        assert_eq!(found.dependencies(), (1, 1));
        assert!(found.files.get("charts/lib/templates/_helpers.tpl").is_some());

        let error = |from: &str, to: &str, lib: &str| {
            let source = tree(&[("app/Chart.yaml", &chart.replace(from, to)), ("lib/Chart.yaml", lib)]);
            Chart::from_folder(&source, "app", LIMITS).unwrap_err()
        };
        let check = |error: PackageError, part: &str| {
            assert!(
                matches!(&error, PackageError::Dependency(text) if text.contains(part)),
                "{error:?}"
            );
        };
        check(
            error("1.x", "2.x", lib),
            "version 1.5.0 of the chart at 'lib' is not within '2.x'",
        );
        check(error("../lib", "../none", lib), "no chart found at 'none'");
        check(error("../lib", "../../lib", lib), "leads out of the source");
        check(
            error("file://../lib", "https://me:canary@h/", lib),
            "('https://***@h/') are not asked",
        );
        check(error("x", "x", &lib.replace("lib", "other")), "is named 'other'");
        let circle = "name: lib\nversion: 1.0.0\ndependencies:\n- {name: lib, repository: 'file://../lib'}\n";
        check(error("x", "x", circle), "nested more than 16 levels deep");
    }

    #[test]
    fn vendored_dependencies_are_left_alone() {
        let chart =
            "apiVersion: v2\nname: app\nversion: 1.2.3\ndependencies:\n- {name: lib, repository: 'https://h/'}\n";
        let source = tree(&[("Chart.yaml", chart), ("charts/lib-1.0.0.tgz", "x")]);
        assert_eq!(Chart::from_folder(&source, "", LIMITS).unwrap().dependencies(), (1, 1));
    }

    #[track_caller]
    fn check_error(files: &[(&str, &str)], expected: &str) {
        let error = Chart::from_folder(&tree(files), "", LIMITS).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_no_chart_is_refused() {
        check_error(&[("a", "b")], "Chart.yaml file is missing");
        check_error(&[("Chart.yaml", "[]")], "Chart.yaml: it is no map");
        check_error(&[("Chart.yaml", "a: [")], "Chart.yaml: line");
        check_error(
            &[("Chart.yaml", "name: a/b\nversion: 1.0.0")],
            "chart.metadata.name \"a/b\" is invalid",
        );
        check_error(
            &[("Chart.yaml", "name: a\nversion: x")],
            "chart.metadata.version \"x\" is invalid",
        );
        let small = ChartLimits { package: 10, file: 4 };
        let source = tree(&[("Chart.yaml", CHART_YAML)]);
        let error = Chart::from_folder(&source, "", small).unwrap_err().to_string();
        assert_eq!(error, "file 'Chart.yaml' is larger than 4 bytes");
        assert!(Chart::from_package(b"no package", LIMITS).is_err());
    }

    #[test]
    fn values_are_merged_deeply() {
        let mut base = json!({"a": {"b": 1, "c": [1, 2]}, "d": 1}).as_object().unwrap().clone();
        let over = json!({"a": {"c": [3], "e": null}, "d": {"f": 1}})
            .as_object()
            .unwrap()
            .clone();
        merge(&mut base, over);
        assert_eq!(
            Value::Object(base),
            json!({"a": {"b": 1, "c": [3], "e": null}, "d": {"f": 1}})
        );
    }

    #[test]
    fn paths_stay_inside() {
        for (base, path, expected) in [
            ("a/b", "../c", Some("a/c")),
            ("", "./charts/app/", Some("charts/app")),
            ("a", "/x", Some("x")),
            ("a", "../..", None),
            ("", "..", None),
        ] {
            assert_eq!(join(base, path).as_deref(), expected, "{base} {path}");
        }
    }
}
