//! Transformers and generators as they are configured: by fields of a kustomization file, or by
//! objects of API version `builtin`.

use std::collections::BTreeMap;
use std::sync::Arc;

use nave_object::yaml::{Dialect, Node};

use crate::config::FieldSpec;
use crate::decode::{DecodeError, Mode, decode, decode_struct};
use crate::error::{BuildError, Problem};
use crate::json_patch::Operation;
use crate::kustomization::{
    GeneratorArgs, HelmChart, HelmGlobals, IamPolicyArgs, Image, ObjectMeta, PatchArgs, Replacement, Replica,
    SecretArgs, Selector,
};
use crate::load::Loader;
use crate::resource::{ResMap, Resource, read_resources};
use crate::schema::Schemas;
use crate::selector;
use crate::transform::{self, Affix, ParsedPatch, PatchBody, SubjectMode, ValueAdd, ValueAddTarget};

/// One transformer, ready to run.
pub(crate) enum Transformer {
    StrategicPatches(Vec<Resource>),
    Patch(ParsedPatch),
    JsonPatch {
        target: Selector,
        operations: Vec<Operation>,
    },
    Namespace {
        namespace: String,
        fields: Vec<FieldSpec>,
        unset_only: bool,
        subjects: SubjectMode,
    },
    Affix(Affix, Vec<FieldSpec>),
    Labels(BTreeMap<String, String>, Vec<FieldSpec>),
    Annotations(BTreeMap<String, String>, Vec<FieldSpec>),
    Replicas(Replica, Vec<FieldSpec>),
    Image(Image, Vec<FieldSpec>),
    Replacements(Vec<Replacement>),
    ValueAdd(ValueAdd),
    Hash,
    Several(Vec<Transformer>),
}

/// One generator, ready to run.
pub(crate) enum Generator {
    ConfigMap(GeneratorArgs),
    Secret(SecretArgs),
    Helm(HelmGlobals, Box<HelmChart>),
    /// With the file that says so.
    IamPolicy(IamPolicyArgs, Arc<str>),
}

impl Transformer {
    pub fn run(&self, resources: &mut ResMap, schemas: &Schemas) -> Result<(), BuildError> {
        self.run_once(resources, schemas)?;
        for resource in &mut resources.list {
            resource.twins.reconcile(&mut resource.node);
        }
        Ok(())
    }

    fn run_once(&self, resources: &mut ResMap, schemas: &Schemas) -> Result<(), BuildError> {
        match self {
            Transformer::StrategicPatches(patches) => transform::apply_strategic(resources, patches, schemas),
            Transformer::Patch(patch) => transform::apply_patch(resources, patch, schemas),
            Transformer::JsonPatch { target, operations } => {
                for index in selector::select(resources, target, schemas)? {
                    transform::apply_json_patch(&mut resources.list[index], operations)?;
                }
                Ok(())
            }
            Transformer::Namespace { namespace, .. } if namespace.is_empty() => Ok(()),
            Transformer::Namespace {
                namespace,
                fields,
                unset_only,
                subjects,
            } => transform::set_namespace(resources, namespace, fields, *unset_only, *subjects, schemas),
            Transformer::Affix(affix, fields) => transform::add_affix(resources, affix, fields, schemas),
            Transformer::Labels(labels, fields) => transform::add_pairs(resources, labels, fields),
            Transformer::Annotations(annotations, fields) => transform::add_pairs(resources, annotations, fields),
            Transformer::Replicas(replica, fields) => transform::set_replicas(resources, replica, fields, schemas),
            Transformer::Image(image, fields) => transform::set_images(resources, image, fields),
            Transformer::Replacements(replacements) => transform::replace(resources, replacements, schemas),
            Transformer::ValueAdd(values) => transform::add_values(resources, values, schemas),
            Transformer::Hash => transform::add_hashes(resources, schemas),
            Transformer::Several(several) => several.iter().try_for_each(|one| one.run(resources, schemas)),
        }
    }
}

/// An entry of `patches`.
pub(crate) fn patch(
    loader: &Loader<'_>,
    own_file: &str,
    source: &str,
    (path, inline): (&str, &str),
    target: Option<Selector>,
    options: Option<&PatchArgs>,
) -> Result<Transformer, BuildError> {
    let inline = inline.trim();
    let (text, file) = match (path, inline) {
        ("", "") => return Err(field(source, "one of patch and path is needed")),
        ("", text) => (text.to_owned(), own_file.to_owned()),
        (path, "") => (loader.read_text("patch file", path)?, loader.display(path)),
        _ => return Err(field(source, "patch and path exclude each other")),
    };
    let body = PatchBody::parse(&text, &file, options)?;
    Ok(Transformer::Patch(ParsedPatch {
        body,
        target,
        source: source.to_owned(),
    }))
}

/// An entry of `patchesJson6902`.
pub(crate) fn json_patch(
    loader: &Loader<'_>,
    source: &str,
    (path, inline): (&str, &str),
    target: Option<Selector>,
) -> Result<Transformer, BuildError> {
    let target = target.filter(|target| !target.name.is_empty());
    let target = target.ok_or_else(|| field(source, "target.name is needed"))?;
    let (text, file) = match (path, inline) {
        ("", "") => return Err(field(source, "one of patch and path is needed")),
        ("", text) => (text.to_owned(), String::new()),
        (path, "") => (loader.read_text("patch file", path)?, loader.display(path)),
        _ => return Err(field(source, "patch and path exclude each other")),
    };
    let operations = transform::parse_json_patch(&text)
        .map_err(|problem| BuildError::new(file, 0, Problem::Syntax(format!("{source}: {problem}"))))?;
    if operations.is_empty() {
        return Err(field(source, "the patch is empty"));
    }
    Ok(Transformer::JsonPatch { target, operations })
}

/// `patchesStrategicMerge`: each entry is a patch itself or the path of one.
pub(crate) fn strategic_patches(
    loader: &Loader<'_>,
    own_file: &str,
    paths: &[String],
) -> Result<Transformer, BuildError> {
    let mut patches = Vec::new();
    for path in paths {
        match read_resources(path, own_file) {
            Ok(inline) => patches.extend(inline),
            Err(inline_error) => {
                // A text of several lines was meant to be a patch.
                if path.trim().contains('\n') {
                    return Err(inline_error);
                }
                let text = loader.read_text("patch file", path)?;
                patches.extend(read_resources(&text, &loader.display(path))?);
            }
        }
    }
    if patches.is_empty() {
        return Err(field("patchesStrategicMerge", "the patches are empty"));
    }
    Ok(Transformer::StrategicPatches(patches))
}

/// `replacements`, with those in files.
pub(crate) fn replacements(loader: &Loader<'_>, list: &[Replacement]) -> Result<Transformer, BuildError> {
    let mut all = Vec::new();
    for (index, replacement) in list.iter().enumerate() {
        if replacement.path.is_empty() {
            all.push(replacement.clone());
            continue;
        }
        if replacement.source.is_some() || replacement.targets.as_ref().is_some_and(|t| !t.is_empty()) {
            let source = format!("replacements[{index}]");
            return Err(field(&source, "path excludes source and targets"));
        }
        let path = &replacement.path;
        let text = loader.read_text("replacements file", path)?;
        let nodes = nave_object::yaml::parse_nodes(&text, Dialect::K8s).map_err(|error| loader.yaml(path, error))?;
        let in_file = |error: DecodeError| decode_error(error).in_file(&loader.display(path));
        match nodes.first() {
            Some(node @ Node::Seq(_)) => {
                all.extend(decode::<Vec<Replacement>>(node, Mode::Lenient).map_err(in_file)?);
            }
            Some(node @ Node::Map(_)) => {
                all.push(decode::<Replacement>(node, Mode::Lenient).map_err(in_file)?);
            }
            _ => {
                let problem = "expected a replacement or a list of them".to_owned();
                return Err(loader.syntax(path, 1, problem));
            }
        }
    }
    Ok(Transformer::Replacements(all))
}

/// What cannot be decoded, as an error of the build; the caller adds the file.
pub(crate) fn decode_error(error: DecodeError) -> BuildError {
    let problem = if error.field.is_empty() {
        Problem::Syntax(error.problem)
    } else {
        Problem::Field {
            field: error.field,
            problem: error.problem,
        }
    };
    BuildError::new("", error.line, problem).at_column(error.column)
}

fn field(field: &str, problem: &str) -> BuildError {
    let problem = Problem::Field {
        field: field.to_owned(),
        problem: problem.to_owned(),
    };
    BuildError::new("", 0, problem)
}

/// A transformer from an object of API version `builtin`.
pub(crate) fn transformer_from(loader: &Loader<'_>, config: &Resource) -> Result<Transformer, BuildError> {
    let named = |error: BuildError| error.in_file(&config.file);
    let raw: RawPlugin = read_config(config)?;
    let file = &*config.file;
    let kind = config.kind().to_owned();
    let source = config.describe();
    let spec = raw.spec;
    let fields = raw.fields.clone();
    Ok(match kind.as_str() {
        "PatchTransformer" => {
            let (path, text) = (spec.path.as_str(), spec.patch.as_str());
            patch(loader, file, &source, (path, text), spec.target, spec.options.as_ref()).map_err(named)?
        }
        "PatchJson6902Transformer" => {
            let (path, text) = (spec.path.as_str(), spec.json_op.as_str());
            json_patch(loader, &source, (path, text), spec.target).map_err(named)?
        }
        "PatchStrategicMergeTransformer" => {
            let mut sources = spec.paths.clone();
            if !spec.patches.is_empty() {
                sources.push(spec.patches.clone());
            }
            strategic_patches(loader, file, &sources).map_err(named)?
        }
        "NamespaceTransformer" => {
            let subjects = SubjectMode::parse(&spec.subjects).ok_or_else(|| {
                named(field(
                    "setRoleBindingSubjects",
                    "expected defaultOnly, allServiceAccounts or none",
                ))
            })?;
            let namespace = spec.metadata.namespace.clone();
            Transformer::Namespace {
                namespace,
                fields,
                unset_only: spec.unset_only,
                subjects,
            }
        }
        "PrefixTransformer" | "SuffixTransformer" | "PrefixSuffixTransformer" => {
            if raw.fields_missing {
                return Err(named(field("fieldSpecs", "a list is needed")));
            }
            let prefix = Transformer::Affix(Affix::Prefix(spec.prefix), fields.clone());
            let suffix = Transformer::Affix(Affix::Suffix(spec.suffix), fields);
            match kind.as_str() {
                "PrefixTransformer" => prefix,
                "SuffixTransformer" => suffix,
                _ => Transformer::Several(vec![prefix, suffix]),
            }
        }
        "LabelTransformer" => Transformer::Labels(spec.labels, fields),
        "AnnotationsTransformer" => Transformer::Annotations(spec.annotations, fields),
        "ImageTagTransformer" => Transformer::Image(spec.image, fields),
        "ReplicaCountTransformer" => Transformer::Replicas(spec.replica, fields),
        "ReplacementTransformer" => replacements(loader, &spec.replacements).map_err(named)?,
        "HashTransformer" => Transformer::Hash,
        "ValueAddTransformer" => {
            let mut targets = spec.targets;
            if !spec.target_file_path.is_empty() {
                let text = loader
                    .read_text("targets file", &spec.target_file_path)
                    .map_err(named)?;
                let nodes = nave_object::yaml::parse_nodes(&text, Dialect::K8s)
                    .map_err(|error| loader.yaml(&spec.target_file_path, error))?;
                if let Some(node) = nodes.first() {
                    let more: Targets = decode(node, Mode::Lenient)
                        .map_err(|e| decode_error(e).in_file(&loader.display(&spec.target_file_path)))?;
                    targets.extend(more.targets);
                }
            }
            if targets.is_empty() {
                return Err(named(field("targets", "at least one target is needed")));
            }
            if targets.iter().any(|target| target.field_path.is_empty()) {
                return Err(named(field("targets", "fieldPath is needed")));
            }
            let value = match spec.value.trim() {
                "" => loader.base_name().to_owned(),
                value => value.to_owned(),
            };
            Transformer::ValueAdd(ValueAdd { value, targets })
        }
        _ => return Err(unknown(config, "transformer")),
    })
}

/// A generator from an object of API version `builtin`.
pub(crate) fn generator_from(config: &Resource) -> Result<Generator, BuildError> {
    let metadata: RawPlugin = read_config(config)?;
    let metadata = metadata.spec.metadata;
    match config.kind() {
        "ConfigMapGenerator" => {
            let mut args: GeneratorArgs = read_config(config)?;
            take_names(&mut args.name, &mut args.namespace, &metadata);
            Ok(Generator::ConfigMap(args))
        }
        "SecretGenerator" => {
            let mut args: SecretArgs = read_config(config)?;
            take_names(&mut args.name, &mut args.namespace, &metadata);
            Ok(Generator::Secret(args))
        }
        "HelmChartInflationGenerator" => {
            let globals: HelmGlobals = read_config(config)?;
            let chart: HelmChart = read_config(config)?;
            Ok(Generator::Helm(globals, Box::new(chart)))
        }
        "IAMPolicyGenerator" => Ok(Generator::IamPolicy(read_config(config)?, config.file.clone())),
        _ => Err(unknown(config, "generator")),
    }
}

fn take_names(name: &mut String, namespace: &mut String, metadata: &ObjectMeta) {
    if name.is_empty() {
        *name = metadata.name.clone();
    }
    if namespace.is_empty() {
        *namespace = metadata.namespace.clone();
    }
}

fn unknown(config: &Resource, what: &str) -> BuildError {
    let gvk = config.gvk();
    let line = config.node.line() as usize;
    let name = config.describe();
    let problem = if gvk.group.is_empty() && gvk.version == "builtin" {
        format!("{what} {name}: there is no built-in {what} of that kind")
    } else {
        format!(
            "{what} {name} ({}): plugins that are programs or containers are not run; only apiVersion `builtin` is",
            config.api_version()
        )
    };
    BuildError::new(&*config.file, line, Problem::Unsupported(problem))
}

fn read_config<T: crate::decode::Decode>(config: &Resource) -> Result<T, BuildError> {
    let gvk = config.gvk();
    if !(gvk.group.is_empty() && gvk.version == "builtin") {
        return Err(unknown(config, "plugin"));
    }
    let value = config.to_value()?;
    decode(&Node::from_value(&value), Mode::Lenient).map_err(|error| decode_error(error).in_file(&config.file))
}

/// What any built-in transformer reads from its configuration.
#[derive(Default)]
struct RawPlugin {
    spec: PluginSpec,
    fields: Vec<FieldSpec>,
    fields_missing: bool,
}

impl crate::decode::Decode for RawPlugin {
    fn decode(node: &Node, context: &mut crate::decode::Context) -> Result<RawPlugin, DecodeError> {
        let spec = PluginSpec::decode(node, context)?;
        let fields_missing = spec.field_specs.is_none();
        let fields = spec.field_specs.clone().unwrap_or_default();
        Ok(RawPlugin {
            spec,
            fields,
            fields_missing,
        })
    }
}

decode_struct! {
    #[derive(Default)]
    struct PluginSpec {
        metadata: ObjectMeta = "metadata",
        path: String = "path",
        patch: String = "patch",
        json_op: String = "jsonOp",
        paths: Vec<String> = "paths",
        patches: String = "patches",
        target: Option<Selector> = "target",
        options: Option<PatchArgs> = "options",
        field_specs: Option<Vec<FieldSpec>> = "fieldSpecs",
        unset_only: bool = "unsetOnly",
        subjects: String = "setRoleBindingSubjects",
        prefix: String = "prefix",
        suffix: String = "suffix",
        labels: BTreeMap<String, String> = "labels",
        annotations: BTreeMap<String, String> = "annotations",
        image: Image = "imageTag",
        replica: Replica = "replica",
        replacements: Vec<Replacement> = "replacements",
        value: String = "value",
        targets: Vec<ValueAddTarget> = "targets",
        target_file_path: String = "targetFilePath",
    }
}

decode_struct! {
    #[derive(Default)]
    struct Targets {
        targets: Vec<ValueAddTarget> = "targets",
    }
}
