//! `cargo xtask tables`: the kustomize engine's tables, from the OpenAPI description and the default
//! configuration that the reference carries.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nave_oracle::Kustomize;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    kinds: Vec<Kind>,
    types: BTreeMap<String, Vec<Field>>,
    cluster_scoped: Vec<(String, String)>,
    namespaced: Vec<(String, String)>,
    defaults: Defaults,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    api_version: String,
    kind: String,
    #[serde(rename = "type")]
    of: String,
}

#[derive(Deserialize)]
struct Field {
    name: String,
    list: bool,
    keys: Vec<String>,
    #[serde(rename = "type", default)]
    of: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Defaults {
    name_prefix: Vec<Spec>,
    name_suffix: Vec<Spec>,
    namespace: Vec<Spec>,
    common_labels: Vec<Spec>,
    template_labels: Vec<Spec>,
    common_annotations: Vec<Spec>,
    var_reference: Vec<Spec>,
    images: Vec<Spec>,
    replicas: Vec<Spec>,
    name_reference: Vec<Reference>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Spec {
    group: String,
    version: String,
    kind: String,
    path: String,
    create: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    #[serde(default)]
    group: String,
    #[serde(default)]
    version: String,
    kind: String,
    field_specs: Vec<Spec>,
}

/// Writes the tables, or with `check` compares them.
///
/// # Errors
/// The reference cannot be built; with `check`, a table that is not as it would be written.
pub fn run(check: bool) -> Result<()> {
    let facts: Facts = serde_json::from_value(Kustomize::tables()?).context("reading the oracle's tables")?;
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/kustomize/src");
    for (file, text) in [
        ("schema/table.rs", table(&facts)?),
        ("schema/scope.rs", scope(&facts)),
        ("config/defaults.rs", defaults(&facts.defaults)),
    ] {
        let text = formatted(&text)?;
        let path = engine.join(file);
        if check {
            let present = fs::read_to_string(&path).with_context(|| format!("reading {file}"))?;
            ensure!(present == text, "{file} is stale: run `cargo xtask tables`");
        } else {
            fs::write(&path, text).with_context(|| format!("writing {file}"))?;
        }
    }
    Ok(())
}

/// Compares the tables where the reference can be built; in CI it must be.
///
/// # Errors
/// A stale table; in CI, a missing reference.
pub fn check() -> Result<()> {
    match nave_oracle::binary("kustomize") {
        Ok(_) => run(true),
        Err(error) if std::env::var_os("CI").is_some() => Err(error),
        Err(error) => {
            println!("    skipped: the reference kustomize cannot be built: {error:#}");
            Ok(())
        }
    }
}

fn formatted(text: &str) -> Result<String> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting rustfmt")?;
    let mut stdin = child.stdin.take().context("rustfmt has a stdin")?;
    let text = text.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("writing to rustfmt"))??;
    ensure!(output.status.success(), "rustfmt failed");
    Ok(String::from_utf8(output.stdout)?)
}

fn table(facts: &Facts) -> Result<String> {
    let place = |name: &str| {
        let found = facts.types.keys().position(|known| known == name);
        found.with_context(|| format!("the type {name} is missing"))
    };
    let mut out = "\
//! Where Kubernetes lists are merged by key: facts from the OpenAPI description of Kubernetes 1.21.2,
//! the version that kustomize 5.8 carries. Only the types that lead to such a list are here.
//! Written by `cargo xtask tables`.

use super::Field::{self, List, Type};

/// (`apiVersion`, kind, index into [`TYPES`]), sorted.
pub(super) static KINDS: &[(&str, &str, u16)] = &[
"
    .to_owned();
    for kind in &facts.kinds {
        writeln!(out, "({:?}, {:?}, {}),", kind.api_version, kind.kind, place(&kind.of)?)?;
    }
    out.push_str("];\n\n/// The names of the types, sorted; the places are those of [`TYPES`].\npub(super) static NAMES: &[&str] = &[\n");
    for name in facts.types.keys() {
        writeln!(out, "{name:?},")?;
    }
    out.push_str(
        "];\n\n/// The fields of each type, sorted by name.\npub(super) static TYPES: &[&[(&str, Field)]] = &[\n",
    );
    for (index, (name, fields)) in facts.types.iter().enumerate() {
        writeln!(out, "// {index}: {}", name.strip_prefix("io.k8s.").unwrap_or(name))?;
        out.push_str("&[");
        for field in fields {
            let of = if field.of.is_empty() {
                None
            } else {
                Some(place(&field.of)?)
            };
            match (field.list, of) {
                (true, of) => write!(out, "({:?}, List(&{:?}, {of:?})), ", field.name, field.keys)?,
                (false, Some(of)) => write!(out, "({:?}, Type({of})), ", field.name)?,
                (false, None) => {}
            }
        }
        out.push_str("],\n");
    }
    out.push_str("];\n");
    Ok(out)
}

fn scope(facts: &Facts) -> String {
    let mut out = "\
//! Kinds that live outside namespaces, as kustomize 5.8 knows them without a schema.
//! Written by `cargo xtask tables`.

/// (`apiVersion`, kind), sorted.
pub(crate) static CLUSTER_SCOPED: &[(&str, &str)] = &[
"
    .to_owned();
    let mut list = |kinds: &[(String, String)]| {
        for (version, kind) in kinds {
            out.push_str(&format!("({version:?}, {kind:?}),\n"));
        }
        out.push_str("];\n");
        std::mem::take(&mut out)
    };
    let cluster = list(&facts.cluster_scoped);
    let namespaced = list(&facts.namespaced);
    format!(
        "{cluster}\n/// Kinds that live in namespaces: (`apiVersion`, kind), sorted.\n\
         pub(crate) static NAMESPACED: &[(&str, &str)] = &[\n{namespaced}"
    )
}

fn defaults(defaults: &Defaults) -> String {
    let mut out = "\
//! Which fields of which kinds the built-in transformers touch: the default configuration of
//! kustomize 5.8 as facts. Written by `cargo xtask tables`.

use super::fields::FieldSpec;
use super::{NameReference, TransformerConfig};

fn spec(group: &str, version: &str, kind: &str, path: &str, create: bool) -> FieldSpec {
    FieldSpec::new(group, version, kind, path, create)
}

/// The default configuration, unsorted; see [`TransformerConfig::standard`].
pub(super) fn defaults() -> TransformerConfig {
    TransformerConfig {
        name_prefix: name_prefix(),
        name_suffix: name_suffix(),
        namespace: namespace(),
        common_labels: common_labels(),
        template_labels: template_labels(),
        common_annotations: common_annotations(),
        var_reference: var_reference(),
        images: images(),
        replicas: replicas(),
        labels: Vec::new(),
        name_reference: name_reference(),
    }
}
"
    .to_owned();
    for (name, specs) in [
        ("name_prefix", &defaults.name_prefix),
        ("name_suffix", &defaults.name_suffix),
        ("namespace", &defaults.namespace),
        ("common_labels", &defaults.common_labels),
        ("template_labels", &defaults.template_labels),
        ("common_annotations", &defaults.common_annotations),
        ("var_reference", &defaults.var_reference),
        ("images", &defaults.images),
        ("replicas", &defaults.replicas),
    ] {
        out.push_str(&format!(
            "\nfn {name}() -> Vec<FieldSpec> {{\nvec![{}]\n}}\n",
            list(specs)
        ));
    }
    out.push_str("\nfn name_reference() -> Vec<NameReference> {\nvec![\n");
    for reference in &defaults.name_reference {
        out.push_str(&format!(
            "NameReference::new({:?}, {:?}, {:?}, vec![{}]),\n",
            reference.group,
            reference.version,
            reference.kind,
            list(&reference.field_specs)
        ));
    }
    out.push_str("]\n}\n");
    out
}

fn list(specs: &[Spec]) -> String {
    let one = |spec: &Spec| {
        let (group, version, kind) = (&spec.group, &spec.version, &spec.kind);
        format!(
            "spec({group:?}, {version:?}, {kind:?}, {:?}, {})",
            spec.path, spec.create
        )
    };
    specs.iter().map(one).collect::<Vec<_>>().join(",\n")
}
