//! The generators of ConfigMaps, Secrets and cloud accounts.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nave_object::yaml::{Dialect, Map, Node, Scalar, Style, Tag, parse_nodes};

use crate::edit;
use crate::error::{BuildError, Problem};
use crate::kustomization::{GeneratorArgs, GeneratorOptions, IamPolicyArgs};
use crate::load::Loader;
use crate::resource::{Behavior, Resource, data_text};

/// Values longer than this are written in lines of base64.
const LINE: usize = 70;

/// Makes a ConfigMap.
pub(crate) fn config_map(
    loader: &Loader<'_>,
    args: &GeneratorArgs,
    options: Option<&GeneratorOptions>,
) -> Result<Resource, BuildError> {
    let mut object = base("ConfigMap", args)?;
    for (key, bytes) in values(loader, args)? {
        let (field, node) = match std::str::from_utf8(&bytes) {
            Ok(text) => ("data", data_text(text)),
            Err(_) => ("binaryData", data_text(&base64_lines(&bytes))),
        };
        let data = object.entry(field, Node::map);
        data.as_map_mut()
            .expect("made as a map")
            .push(Scalar::implicit(key), node);
    }
    finish(object, args, options)
}

/// Makes a Secret.
pub(crate) fn secret(
    loader: &Loader<'_>,
    args: &GeneratorArgs,
    secret_type: &str,
    options: Option<&GeneratorOptions>,
) -> Result<Resource, BuildError> {
    let mut object = base("Secret", args)?;
    let secret_type = if secret_type.is_empty() { "Opaque" } else { secret_type };
    object.push(Scalar::str("type"), Node::str(secret_type));
    let data: Map = values(loader, args)?
        .into_iter()
        .map(|(key, bytes)| (Scalar::implicit(key), data_text(&base64_lines(&bytes))))
        .collect();
    object.push(Scalar::str("data"), Node::Map(Arc::new(data)));
    finish(object, args, options)
}

/// Makes the ServiceAccount of an `IAMPolicyGenerator`.
///
/// # Errors
/// A cloud other than `gke`, and values that are no YAML where they stand.
pub(crate) fn iam_policy(args: &IamPolicyArgs, file: &str) -> Result<Vec<Resource>, BuildError> {
    if args.cloud != "gke" {
        let problem = format!("`{}` is not supported: the only cloud is gke", args.cloud);
        let problem = Problem::Field {
            field: "cloud".to_owned(),
            problem,
        };
        return Err(BuildError::new(file, 0, problem));
    }
    // Kustomize puts the values into YAML as they are, and reads that.
    let (account, service) = (&args.service_account, &args.kubernetes_service);
    let mut text = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  annotations:\n    iam.gke.io/gcp-service-account: \
         {}@{}.iam.gserviceaccount.com\n  name: {}\n",
        account.name, account.project_id, service.name
    );
    if !service.namespace.is_empty() {
        text.push_str(&format!("\n  namespace: {}", service.namespace));
    }
    let nodes = parse_nodes(&text, Dialect::Kyaml).map_err(|error| BuildError::yaml(file, error))?;
    let made = nodes.into_iter().next().map(|node| Resource::new(node, "".into()));
    Ok(made.into_iter().collect())
}

fn base(kind: &'static str, args: &GeneratorArgs) -> Result<Map, BuildError> {
    if args.name.is_empty() {
        return Err(BuildError::syntax(format!("a {kind} generator has no name")));
    }
    let mut metadata = Map::new();
    // Set, and not pushed: texts that look like numbers get quotes, which later values keep.
    edit::put(&mut metadata, "name", Node::str(args.name.as_str()));
    if !args.namespace.is_empty() {
        edit::put(&mut metadata, "namespace", Node::str(args.namespace.as_str()));
    }
    let mut object = Map::new();
    object.push(Scalar::str("apiVersion"), Node::str("v1"));
    object.push(Scalar::str("kind"), Node::str(kind));
    object.push(Scalar::str("metadata"), Node::Map(Arc::new(metadata)));
    Ok(object)
}

fn finish(mut object: Map, args: &GeneratorArgs, options: Option<&GeneratorOptions>) -> Result<Resource, BuildError> {
    if let Some(options) = options {
        let metadata = object
            .get_mut("metadata")
            .and_then(Node::as_map_mut)
            .expect("made by `base`");
        for (field, pairs) in [("labels", &options.labels), ("annotations", &options.annotations)] {
            if !pairs.is_empty() {
                let map: Map = pairs
                    .iter()
                    .map(|(key, value)| (Scalar::implicit(key.as_str()), Node::str(value.as_str())))
                    .collect();
                metadata.push(Scalar::str(field), Node::Map(Arc::new(map)));
            }
        }
        if options.immutable {
            let yes = Scalar {
                tag: Tag::Bool,
                style: Style::Plain,
                ..Scalar::str("true")
            };
            object.push(Scalar::str("immutable"), Node::Scalar(yes));
        }
    }
    let mut resource = Resource::new(Node::Map(Arc::new(object)), "".into());
    resource.needs_hash = !options.is_some_and(|options| options.disable_name_suffix_hash);
    // Kustomize takes what it does not know for `create`.
    resource.behavior = Behavior::parse(&args.behavior).unwrap_or_default();
    Ok(resource)
}

/// All keys with their bytes: from env files, literals and files, sorted.
fn values(loader: &Loader<'_>, args: &GeneratorArgs) -> Result<BTreeMap<String, Vec<u8>>, BuildError> {
    let mut values = BTreeMap::new();
    let mut add = |key: String, value: Vec<u8>| {
        if values.contains_key(&key) {
            let problem = format!("the generator of `{}` has the key `{key}` twice", args.name);
            return Err(BuildError::syntax(problem));
        }
        values.insert(key, value);
        Ok(())
    };
    for path in &args.envs {
        let bytes = loader.read("env file", path)?;
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let text = std::str::from_utf8(line)
                .map_err(|_| loader.syntax(path, number + 1, "the line is not UTF-8".to_owned()))?;
            let text = if number == 0 {
                text.trim_start_matches('\u{feff}')
            } else {
                text
            };
            let text = text.trim_start();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            if key.is_empty() {
                continue;
            }
            add(key.to_owned(), value.as_bytes().to_vec())?;
        }
    }
    for literal in &args.literals {
        let (key, value) = literal
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| {
                BuildError::syntax(format!(
                    "literal `{literal}` of generator `{}` is not key=value",
                    args.name
                ))
            })?;
        add(key.to_owned(), unquote(value).as_bytes().to_vec())?;
    }
    for source in &args.files {
        let (key, path) = file_source(source, &args.name)?;
        add(key.to_owned(), loader.read("file", path)?.into_owned())?;
    }
    Ok(values)
}

fn unquote(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}

/// `path` or `key=path`.
fn file_source<'a>(source: &'a str, generator: &str) -> Result<(&'a str, &'a str), BuildError> {
    let error = |problem: &str| {
        Err(BuildError::syntax(format!(
            "file `{source}` of generator `{generator}`: {problem}"
        )))
    };
    match source.split_once('=') {
        None => {
            let trimmed = source.trim_end_matches('/');
            Ok((trimmed.rsplit('/').next().unwrap_or(trimmed), source))
        }
        Some(("", _)) => error("there is no key before `=`"),
        Some((_, "")) => error("there is no path after `=`"),
        Some((_, path)) if path.contains('=') => error("there is more than one `=`"),
        Some(pair) => Ok(pair),
    }
}

/// Base64, in lines when it is long, as go-yaml does with binary values.
fn base64_lines(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    if encoded.len() < LINE {
        return encoded;
    }
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / LINE + 1);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(LINE));
        lines.push_str(line);
        lines.push('\n');
        rest = tail;
    }
    lines
}
