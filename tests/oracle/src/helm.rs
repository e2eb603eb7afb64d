//! One process of the reference Helm that renders many charts, and our own rendering of the same command line.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use nave_chart::values::ValueFlags;
use nave_chart::{IgnoreRules, KubeVersion, LoadLimits, Printing, RenderRequest, load_archive, load_folder, render};
use serde_json::{Value, json};

use crate::binary;

/// A running reference; it ends when this is dropped.
#[derive(Debug)]
pub struct Helm {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Helm {
    /// Starts the reference, building it first if need be.
    ///
    /// # Errors
    /// Go is missing, or the module does not build.
    pub fn start() -> Result<Helm> {
        let binary = binary("helm")?;
        let mut child = Command::new(&binary)
            .arg("serve")
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let stdin = child.stdin.take().context("the oracle has a stdin")?;
        let stdout = child.stdout.take().context("the oracle has a stdout")?;
        Ok(Helm {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        })
    }

    /// What `helm` prints to stdout, or the error it ends with.
    ///
    /// # Errors
    /// The process is gone.
    pub fn command(&mut self, args: &[String]) -> Result<Result<String, String>> {
        let answer = self.ask(&json!({"args": args}))?;
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        Ok(match answer["error"].is_string() {
            true => Err(text("error")),
            false => Ok(text("text")),
        })
    }

    /// How long the library takes for one rendering of a chart on the disk, in nanoseconds, with no start-up.
    ///
    /// # Errors
    /// The process is gone, or the chart does not render.
    pub fn nanoseconds(&mut self, chart: &Path, values: &Value, repeat: usize) -> Result<u64> {
        let answer = self.ask(&json!({"chart": chart, "values": values, "repeat": repeat}))?;
        if let Some(error) = answer["error"].as_str() {
            bail!("the oracle: {error}");
        }
        answer["nanoseconds"]
            .as_u64()
            .context("the oracle says how long it took")
    }

    fn ask(&mut self, question: &Value) -> Result<Value> {
        writeln!(self.stdin, "{question}").context("writing to the oracle")?;
        self.stdin.flush().context("writing to the oracle")?;
        let mut line = String::new();
        let length = self.stdout.read_line(&mut line).context("reading from the oracle")?;
        ensure!(length > 0, "the oracle ended at {question}");
        serde_json::from_str(&line).with_context(|| format!("reading the oracle's answer to {question}"))
    }
}

impl Drop for Helm {
    fn drop(&mut self) {
        // It is idle or stuck, and has nothing to keep.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What our engine prints for `template NAME CHART` and these flags.
///
/// # Errors
/// Whatever keeps it from rendering; the text is the whole chain.
pub fn template_here(name: &str, chart: &Path, flags: &[String]) -> Result<String, String> {
    template(name, chart, flags).map_err(|error| format!("{error:#}"))
}

fn template(name: &str, chart: &Path, flags: &[String]) -> Result<String> {
    let mut values = ValueFlags::default();
    let mut printing = Printing::default();
    let mut request = RenderRequest::install(name, "default", nave_chart::Values::new());
    let mut api_versions = request.capabilities.api_versions.to_vec();
    let mut words = flags.iter();
    while let Some(flag) = words.next() {
        let mut value = || words.next().cloned().with_context(|| format!("{flag} has no value"));
        match flag.as_str() {
            "-f" | "--values" => values.files.push(value()?),
            "--set" => values.set.push(value()?),
            "--set-string" => values.set_string.push(value()?),
            "--set-json" => values.set_json.push(value()?),
            "--set-file" => values.set_file.push(value()?),
            "--set-literal" => values.set_literal.push(value()?),
            "-n" | "--namespace" => request.release.namespace = value()?,
            "--kube-version" => request.capabilities.kube_version = KubeVersion::parse(&value()?)?,
            "-a" | "--api-versions" => api_versions.extend(value()?.split(',').map(str::to_owned)),
            "-s" | "--show-only" => printing.only.push(value()?),
            "--include-crds" => printing.crds = true,
            "--no-hooks" => printing.hooks = false,
            "--skip-tests" => printing.tests = false,
            "--is-upgrade" => request.release.is_upgrade = true,
            "--skip-schema-validation" => request.skip_schema_validation = true,
            other => bail!("the flag {other} is not known here"),
        }
    }
    request.capabilities.api_versions = api_versions.into();
    request.values = values.merge(|file| fs::read(file))?;
    let limits = LoadLimits::default();
    let chart = match chart.is_dir() {
        true => load_folder(read_folder(chart)?, &limits)?,
        false => load_archive(
            &fs::read(chart).with_context(|| format!("reading {}", chart.display()))?,
            &limits,
        )?,
    };
    ensure!(
        matches!(chart.metadata.kind.as_str(), "" | "application"),
        "{} charts are not installable",
        chart.metadata.kind
    );
    let missing = chart.missing_dependencies();
    ensure!(
        missing.is_empty(),
        "an error occurred while checking for chart dependencies. You may need to run 'helm dependency build' to fetch \
         missing dependencies: found in Chart.yaml, but missing in charts/ directory: {}",
        missing.join(", ")
    );
    request.now = Timestamp::now();
    Ok(render(&chart, &request)?.print(&printing)?)
}

/// The files of a chart's folder, links followed, without what `.helmignore` names.
fn read_folder(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let rules = match fs::read_to_string(folder.join(".helmignore")) {
        Ok(text) => IgnoreRules::parse(&text)?,
        Err(_) => IgnoreRules::default(),
    };
    let mut files = Vec::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
            let path: PathBuf = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{prefix}{name}");
            match path.is_dir() {
                true if rules.is_folder_ignored(&name) => {}
                true => folders.push((path, format!("{name}/"))),
                false if rules.is_ignored(&name) => {}
                false => {
                    let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
                    files.push((name, content));
                }
            }
        }
    }
    Ok(files)
}
