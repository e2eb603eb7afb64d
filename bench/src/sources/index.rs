//! A large index of a Helm repository, read by a process of its own, beside Helm's library.

use std::{
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{
    kustomize::{cold, mib, times},
    table,
};

/// How many pairs; a pair takes some seconds.
const RUNS: usize = 3;

/// Writes an index of `size` MiB, reads it both ways and prints the table.
pub fn run(size: usize) -> Result<()> {
    eprintln!("► an index of {size} MiB");
    let folder = tempfile::tempdir()?;
    let (index, json) = (folder.path().join("index.yaml"), folder.path().join("index.json"));
    let charts = write(&index, size << 20)?;
    let oracle = nave_oracle::binary("helm").context("building the reference Helm")?;
    let ours: Vec<PathBuf> = vec![
        std::env::current_exe()?,
        "convert-index".into(),
        index.clone(),
        json.clone(),
    ];
    let theirs: Vec<PathBuf> = vec![oracle, "index".into(), index.clone()];
    let pair = cold::compare_lines(&ours, &theirs, RUNS)?;
    let converted: serde_json::Value = serde_json::from_reader(std::io::BufReader::new(fs::File::open(&json)?))?;
    let read = converted["entries"].as_object().map_or(0, serde_json::Map::len);
    ensure!(read == charts, "{read} of {charts} charts were read");

    println!("\nan index of {size} MiB with {charts} charts: a process that reads it");
    table::row("ours, which also stores it as JSON", &table::seconds(pair.ours), "");
    table::row("theirs (helm.sh/helm/v4/pkg/repo)", &table::seconds(pair.theirs), "");
    table::row("times faster", &times(pair.ratio), "> 1 x");
    table::row("peak memory, ours", &format!("{} MiB", mib(pair.our_peak)), "<= 64 MiB");
    table::row("peak memory, theirs", &format!("{} MiB", mib(pair.their_peak)), "");
    Ok(())
}

/// What the process measured does.
pub fn convert(index: &Path, json: &Path) -> Result<()> {
    let mut out = BufWriter::new(fs::File::create(json)?);
    nave_chart_repo::convert(fs::File::open(index)?, &mut out)?;
    out.flush()?;
    Ok(())
}

/// Charts with fifty versions each, as repositories of a vendor's charts have them. How many charts.
fn write(path: &Path, size: usize) -> Result<usize> {
    let mut out = BufWriter::new(fs::File::create(path)?);
    writeln!(out, "apiVersion: v1\ngenerated: \"2026-01-01T00:00:00Z\"\nentries:")?;
    let (mut written, mut charts) = (0, 0);
    while written < size {
        let name = format!("chart-{charts:05}");
        let mut text = format!("  {name}:\n");
        for version in (0..50).rev() {
            text += &format!(
                "  - annotations:\n      category: Database\n      licenses: Apache-2.0\n    apiVersion: v2\n    appVersion: 4.{version}.1\n    \
                 created: \"2026-01-01T10:{version:02}:00.123456789Z\"\n    dependencies:\n    - name: common\n      \
                 repository: oci://registry.example.com/charts\n      tags:\n      - common\n      version: 2.x.x\n    \
                 description: 'Chart number {charts}: what it is for, how it is installed, and whom to ask.'\n    \
                 digest: {charts:032x}{version:032x}\n    home: https://charts.example.com/{name}\n    icon: https://charts.example.com/{name}.png\n    \
                 keywords:\n    - database\n    - sql\n    maintainers:\n    - email: team@example.com\n      name: Team {charts}\n    name: {name}\n    \
                 sources:\n    - https://git.example.com/charts/{name}\n    urls:\n    - https://charts.example.com/{name}-1.{version}.0.tgz\n    \
                 version: 1.{version}.0\n"
            );
        }
        out.write_all(text.as_bytes())?;
        written += text.len();
        charts += 1;
    }
    out.flush()?;
    Ok(charts)
}
