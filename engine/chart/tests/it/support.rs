//! Charts from folders, and the flags of `helm template`.

use std::fs;
use std::path::{Path, PathBuf};

use nave_chart::values::ValueFlags;
use nave_chart::{
    Chart, File, KubeVersion, LoadLimits, Printing, RenderRequest, Values, load_files, load_folder, render,
};

/// All files below a folder, in no order.
pub fn read_folder(folder: &Path) -> Vec<(String, Vec<u8>)> {
    fn add(root: &Path, folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(folder).expect("test data is readable") {
            let path: PathBuf = entry.expect("test data is readable").path();
            if path.is_dir() {
                add(root, &path, into);
                continue;
            }
            let name = path.strip_prefix(root).expect("read below the root");
            into.push((
                name.to_string_lossy().into_owned(),
                fs::read(&path).expect("test data is readable"),
            ));
        }
    }
    let mut files = Vec::new();
    add(folder, folder, &mut files);
    files
}

/// A chart from texts; `Chart.yaml` is added where it is not among them.
pub fn chart(files: &[(&str, &str)]) -> Chart {
    let mut files: Vec<File> = files
        .iter()
        .map(|(name, text)| File::new(*name, text.as_bytes()))
        .collect();
    if !files.iter().any(|file| file.name == "Chart.yaml") {
        files.push(File::new(
            "Chart.yaml",
            &b"apiVersion: v2\nname: web\nversion: 1.0.0\n"[..],
        ));
    }
    load_files(files, &LoadLimits::default()).expect("a chart")
}

/// The whole chain of an error in one text.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What `helm template release-name CHART FLAGS` prints, by our engine.
pub fn template(folder: &Path, flags: &[String]) -> Result<String, String> {
    let mut values = ValueFlags::default();
    let mut printing = Printing::default();
    let mut request = RenderRequest::install("release-name", "default", Values::new());
    let mut api_versions = request.capabilities.api_versions.to_vec();
    let mut words = flags.iter();
    while let Some(flag) = words.next() {
        let mut value = || words.next().expect("the flag has a value").clone();
        match flag.as_str() {
            "-f" | "--values" => values.files.push(value()),
            "--set" => values.set.push(value()),
            "--set-string" => values.set_string.push(value()),
            "--set-json" => values.set_json.push(value()),
            "--set-file" => values.set_file.push(value()),
            "--set-literal" => values.set_literal.push(value()),
            "-n" | "--namespace" => request.release.namespace = value(),
            "--kube-version" => {
                request.capabilities.kube_version = KubeVersion::parse(&value()).map_err(|error| error.to_string())?;
            }
            "-a" | "--api-versions" => api_versions.extend(value().split(',').map(str::to_owned)),
            "-s" | "--show-only" => printing.only.push(value()),
            "--include-crds" => printing.crds = true,
            "--no-hooks" => printing.hooks = false,
            "--skip-tests" => printing.tests = false,
            "--is-upgrade" => request.release.is_upgrade = true,
            "--skip-schema-validation" => request.skip_schema_validation = true,
            other => panic!("the flag {other} is not known here"),
        }
    }
    request.capabilities.api_versions = api_versions.into();
    request.values = values.merge(|file| fs::read(file)).map_err(|error| chain(&error))?;
    let chart = load_folder(read_folder(folder), &LoadLimits::default()).map_err(|error| chain(&error))?;
    let rendered = render(&chart, &request).map_err(|error| chain(&error))?;
    rendered.print(&printing).map_err(|error| error.to_string())
}
