//! One kustomization file: what it gathers, generates and transforms.
//!
//! resources ─► generators ─► components ─► transformers ─► validators ─► vars
//! and at the top: ─► hashes ─► references ─► vars ─► order

use std::sync::Arc;

use nave_object::Object;
use nave_object::yaml::{Dialect, Node};

use crate::build::{Answer, Need, Reorder};
use crate::config::{self, ConfigurationFile, FieldSpec, TransformerConfig};
use crate::decode::{Mode, decode};
use crate::edit::is_nil_or_empty;
use crate::error::{BuildError, Problem};
use crate::generate;
use crate::helm;
use crate::kustomization::{self, FILE_NAMES, GeneratorOptions, HelmGlobals, Kustomization};
use crate::load::{Found, Loader};
use crate::origin::{Origin, Plugin};
use crate::plugins::{self, Generator, Transformer, decode_error};
use crate::resource::{ResMap, Resource, SeenIds, read_resources, validate};
use crate::schema::CustomSchema;
use crate::sort;
use crate::transform::{self, Affix, SubjectMode, VarSet};
use crate::twins::{Twins, separate};

/// Label and value by which `managedByLabel` marks objects.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "kustomize-v5.8.1");
/// The label that a validator may add.
const VALIDATED_BY: &str = "validated-by";

/// What was gathered so far, with the rules for it.
#[derive(Default)]
struct Accumulator {
    resources: ResMap,
    config: Option<Arc<TransformerConfig>>,
    vars: VarSet,
}

/// A kustomization file with its place.
struct Target<'a> {
    loader: Loader<'a>,
    /// Path of the file as errors name it.
    file: String,
    file_name: &'static str,
    kustomization: Kustomization,
    /// Where this is, when origins are wanted.
    origin: Option<Origin>,
    /// `buildMetadata` of the top.
    metadata: Arc<Vec<String>>,
    /// The namespace that charts inherit from above.
    helm_namespace: String,
}

/// Builds the kustomization of a directory.
pub(crate) fn run(
    loader: Loader<'_>,
    mode: Mode,
    edit: impl FnOnce(&mut Kustomization) -> Result<(), BuildError>,
) -> Result<Vec<Object>, BuildError> {
    let world = loader.world;
    let mut target = Target::load(loader, mode)?;
    edit(&mut target.kustomization)?;
    target.metadata = Arc::new(target.kustomization.build_metadata.clone());
    let file = target.file.clone();
    target.use_openapi()?;
    let wants = |option: &str| target.metadata.iter().any(|name| name == option);
    if !target.metadata.is_empty() {
        target.origin = Some(Origin::default());
    }
    let finish = || -> Result<Vec<Object>, BuildError> {
        let mut gathered = target.accumulate(Accumulator::default())?;
        let schemas = world.schemas.borrow();
        let config = gathered.config.clone().unwrap_or_default();
        transform::add_hashes(&mut gathered.resources, &schemas)?;
        transform::fix_references(&mut gathered.resources, &config.name_reference, &schemas)?;
        transform::resolve_vars(&mut gathered.resources, &gathered.vars, &config.var_reference)?;
        let resources = &mut gathered.resources;
        for resource in &resources.list {
            // A patch may have taken the name away.
            validate(&resource.node)
                .map_err(|problem| BuildError::new(&*resource.file, 0, Problem::Syntax(problem)))?;
        }
        resources.list.retain(|resource| !resource.is_local());
        match (&target.kustomization.sort_options, world.options.reorder) {
            (Some(options), _) => sort::apply(resources, options, &schemas),
            (None, Reorder::Legacy) => sort::apply_default(resources, &schemas),
            (None, Reorder::None) => {}
        }
        if wants("managedByLabel") {
            let labels = [(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned())].into();
            let field = FieldSpec::new("", "", "", "metadata/labels", true);
            transform::add_pairs(resources, &labels, &[field])?;
        }
        let (origins, transformations) = (wants("originAnnotations"), wants("transformerAnnotations"));
        let mut objects = Vec::with_capacity(resources.list.len());
        for resource in &mut resources.list {
            let finished = resource.finish(origins, transformations);
            finished.map_err(|problem| resource.error(problem))?;
            objects.push(resource.to_object()?);
        }
        Ok(objects)
    };
    finish().map_err(|error| error.via(&file))
}

impl<'a> Target<'a> {
    fn load(loader: Loader<'a>, mode: Mode) -> Result<Target<'a>, BuildError> {
        let present: Vec<&'static str> = FILE_NAMES.into_iter().filter(|name| loader.has(name)).collect();
        let file_name = match present.as_slice() {
            [one] => *one,
            [] => {
                let dir = shown_directory(&loader);
                return Err(BuildError::syntax(format!(
                    "directory `{dir}` has no kustomization file: none of {}",
                    FILE_NAMES.join(", ")
                )));
            }
            several => {
                let files = several.join(", ");
                let dir = shown_directory(&loader);
                return Err(BuildError::syntax(format!(
                    "directory `{dir}` has several kustomization files, and one is expected: {files}"
                )));
            }
        };
        let file = loader.display(file_name);
        let text = loader.read_text("kustomization file", file_name)?;
        let mut warnings = loader.world.warnings.borrow_mut();
        let kustomization = parse_kustomization(&text, mode, &mut warnings).map_err(|error| error.in_file(&file))?;
        drop(warnings);
        Ok(Target {
            loader,
            file,
            file_name,
            kustomization,
            origin: None,
            metadata: Arc::default(),
            helm_namespace: String::new(),
        })
    }

    /// Takes the OpenAPI description over, if there is none yet.
    fn use_openapi(&self) -> Result<(), BuildError> {
        let openapi = &self.kustomization.openapi;
        let error = |problem: &str| {
            let problem = Problem::Field {
                field: "openapi".to_owned(),
                problem: problem.to_owned(),
            };
            Err(BuildError::new(self.file.clone(), 0, problem))
        };
        let path = openapi.get("path");
        // Even a file that does not count must be there.
        let present = path.map(|path| self.loader.read("OpenAPI file", path)).transpose();
        let present = present.map_err(|error| error.via(&self.file))?;
        let mut schemas = self.loader.world.schemas.borrow_mut();
        if schemas.is_chosen() {
            return Ok(());
        }
        if let Some(path) = path.filter(|_| present.is_some()) {
            if openapi.contains_key("version") {
                return error("version and path exclude each other");
            }
            let document = self.loader.read_json("OpenAPI file", path);
            schemas.choose(CustomSchema::new(document.map_err(|error| error.via(&self.file))?));
            return Ok(());
        }
        match openapi.get("version").map(String::as_str) {
            None | Some("") => {}
            Some("v1.21.2") => schemas.choose_built_in(),
            Some(_) => return error("only version v1.21.2 is built in"),
        }
        Ok(())
    }

    /// Everything of this file, its generators and transformers run; `into` is what a component
    /// works on.
    fn accumulate(&self, into: Accumulator) -> Result<Accumulator, BuildError> {
        self.accumulate_inner(into).map_err(|error| error.via(&self.file))
    }

    fn accumulate_inner(&self, mut gathered: Accumulator) -> Result<Accumulator, BuildError> {
        let kustomization = &self.kustomization;
        let mut seen = SeenIds::default();
        for path in &kustomization.resources {
            self.add_resource(&mut gathered, &mut seen, "resource", path)?;
        }
        self.add_config(&mut gathered)?;
        self.run_generators(&mut gathered)?;
        for path in &kustomization.components {
            gathered = self.add_component(gathered, path)?;
        }
        self.run_transformers(&mut gathered)?;
        self.run_validators(&mut gathered)?;
        let schemas = self.loader.world.schemas.borrow();
        gathered
            .vars
            .add(&kustomization.vars, &mut gathered.resources, &schemas)?;
        Ok(gathered)
    }

    fn add_resource(
        &self,
        gathered: &mut Accumulator,
        seen: &mut SeenIds,
        what: &'static str,
        path: &str,
    ) -> Result<(), BuildError> {
        match self.loader.find(what, path)? {
            Found::Pending => Ok(()),
            Found::Resources(mut resources) => {
                if let Some(origin) = &self.origin {
                    let origin = origin.append(path);
                    resources.iter_mut().for_each(|r| r.origin = Some(origin.clone()));
                }
                let schemas = self.loader.world.schemas.borrow();
                gathered.resources.append_unseen(resources, &schemas, seen)
            }
            Found::Directory(loader) => {
                let base = self.below(*loader, path, false)?;
                let base = base.accumulate(Accumulator::default())?;
                let schemas = self.loader.world.schemas.borrow();
                gathered.resources.append_unseen(base.resources.list, &schemas, seen)?;
                if let Some(config) = &base.config {
                    gathered.merge_config(config)?;
                }
                gathered.vars.add_set(base.vars)
            }
        }
    }

    fn add_component(&self, gathered: Accumulator, path: &str) -> Result<Accumulator, BuildError> {
        match self.loader.find_directory("component", path)? {
            Found::Directory(loader) => {
                let mut gathered = self.below(*loader, path, true)?.accumulate(gathered)?;
                // A component works on what is there already, and may have given two objects one id.
                let schemas = self.loader.world.schemas.borrow();
                let list = std::mem::take(&mut gathered.resources.list);
                gathered.resources.append_all(list, &schemas)?;
                Ok(gathered)
            }
            _ => Ok(gathered),
        }
    }

    /// The target of a base or component.
    fn below(&self, loader: Loader<'a>, path: &str, component: bool) -> Result<Target<'a>, BuildError> {
        let mut target = Target::load(loader, Mode::Strict)?;
        target.metadata = self.metadata.clone();
        target.origin = self.origin.as_ref().map(|origin| origin.append(path));
        target.helm_namespace = match self.kustomization.namespace.as_str() {
            "" => self.helm_namespace.clone(),
            namespace => namespace.to_owned(),
        };
        target.use_openapi()?;
        match (component, target.kustomization.is_component()) {
            (true, false) => Err(BuildError::new(
                target.file,
                0,
                Problem::Syntax(format!(
                    "`{path}` is used as a component, but has kind {}",
                    target.kustomization.kind
                )),
            )),
            (false, true) => Err(BuildError::new(
                target.file,
                0,
                Problem::Syntax(format!(
                    "`{path}` is a Component and belongs under `components`, not under `resources`"
                )),
            )),
            _ => Ok(target),
        }
    }

    fn add_config(&self, gathered: &mut Accumulator) -> Result<(), BuildError> {
        let mut config = TransformerConfig::standard();
        let mut own = TransformerConfig::default();
        for path in &self.kustomization.configurations {
            let text = self.loader.read_text("configuration", path)?;
            let nodes =
                nave_object::yaml::parse_nodes(&text, Dialect::K8s).map_err(|error| self.loader.yaml(path, error))?;
            let Some(node) = nodes.first() else { continue };
            let file: ConfigurationFile =
                decode(node, Mode::Lenient).map_err(|error| decode_error(error).in_file(&self.loader.display(path)))?;
            own = own
                .merge(&file.into())
                .map_err(|problem| self.loader.syntax(path, 0, problem))?;
        }
        if !self.kustomization.configurations.is_empty() {
            config = Arc::new(config.merge(&own).map_err(BuildError::syntax)?);
        }
        gathered.merge_config(&config)?;
        for path in &self.kustomization.crds {
            let definitions = self.loader.read_json("CRD file", path)?;
            let found = config::from_crds(&definitions).map_err(|problem| self.loader.syntax(path, 0, problem))?;
            gathered.merge_config(&Arc::new(found))?;
        }
        Ok(())
    }

    fn run_generators(&self, gathered: &mut Accumulator) -> Result<(), BuildError> {
        let kustomization = &self.kustomization;
        let mut generators: Vec<(Generator, Option<Origin>)> = Vec::new();
        let origin = |kind: &str| self.origin.as_ref().map(|o| o.builtin(self.file_name, kind));
        for args in &kustomization.config_map_generator {
            generators.push((Generator::ConfigMap(args.clone()), origin("ConfigMapGenerator")));
        }
        for args in &kustomization.secret_generator {
            generators.push((Generator::Secret(args.clone()), origin("SecretGenerator")));
        }
        let globals = kustomization.helm_globals.clone().unwrap_or_default();
        for chart in &kustomization.helm_charts {
            let generator = Generator::Helm(globals.clone(), Box::new(chart.clone()));
            generators.push((generator, origin("HelmChartInflationGenerator")));
        }
        let own = generators.len();
        for config in self.plugin_objects("generators", &kustomization.generators)? {
            generators.push((plugins::generator_from(&config)?, plugin_origin(&config)));
        }
        for (index, (generator, origin)) in generators.iter().enumerate() {
            // `generatorOptions` are for the generators of the file itself.
            let global = kustomization.generator_options.as_ref().filter(|_| index < own);
            let made = self.generate(generator, global)?;
            let schemas = self.loader.world.schemas.borrow();
            for mut resource in made {
                if resource.origin.is_none() {
                    resource.origin.clone_from(origin);
                }
                gathered.resources.absorb(resource, &schemas)?;
            }
        }
        Ok(())
    }

    fn generate(&self, generator: &Generator, global: Option<&GeneratorOptions>) -> Result<Vec<Resource>, BuildError> {
        match generator {
            Generator::ConfigMap(args) => {
                let options = GeneratorOptions::merged(args.options.as_ref(), global);
                Ok(vec![generate::config_map(&self.loader, args, options.as_ref())?])
            }
            Generator::Secret(args) => {
                let options = GeneratorOptions::merged(args.options.as_ref(), global);
                let common = args.common();
                Ok(vec![generate::secret(
                    &self.loader,
                    &common,
                    &args.kind,
                    options.as_ref(),
                )?])
            }
            Generator::Helm(globals, chart) => self.render(globals, chart),
            Generator::IamPolicy(args, file) => generate::iam_policy(args, file),
        }
    }

    fn render(&self, globals: &HelmGlobals, chart: &kustomization::HelmChart) -> Result<Vec<Resource>, BuildError> {
        if !self.loader.world.options.allow_helm {
            return Err(BuildError::new(
                "",
                0,
                Problem::Forbidden {
                    what: format!("helm chart `{}`", chart.name),
                    why: "Helm is switched off",
                },
            ));
        }
        let namespace = match self.kustomization.namespace.as_str() {
            "" => &self.helm_namespace,
            namespace => namespace,
        };
        let request = helm::request(&self.loader, chart, globals, namespace)?;
        let need = Need::Chart(Box::new(request));
        match self.loader.world.answers.get(&need) {
            None => {
                self.loader.ask(need);
                Ok(Vec::new())
            }
            Some(Answer::Manifests(text)) => {
                let mut resources = read_resources(text, &format!("chart {}", chart.name))?;
                resources.iter_mut().for_each(|resource| resource.from_helm = true);
                Ok(resources)
            }
            Some(Answer::Failed(problem)) => {
                Err(BuildError::syntax(format!("rendering chart {}: {problem}", chart.name)))
            }
            Some(_) => Err(BuildError::syntax(format!(
                "rendering chart {}: the answer is no text",
                chart.name
            ))),
        }
    }

    /// Objects that configure plugins: entries that are objects themselves, then those that are
    /// paths, as kustomize orders them.
    fn plugin_objects(&self, field: &str, entries: &[String]) -> Result<Vec<Resource>, BuildError> {
        let mut gathered = Accumulator::default();
        let mut paths = Vec::new();
        for entry in entries {
            match read_resources(entry, &self.file) {
                Ok(mut inline) => {
                    if let Some(origin) = &self.origin {
                        let origin = origin.append(self.file_name);
                        inline.iter_mut().for_each(|r| r.origin = Some(origin.clone()));
                    }
                    let schemas = self.loader.world.schemas.borrow();
                    gathered.resources.append_all(inline, &schemas)?;
                }
                Err(error) if entry.trim().contains('\n') => {
                    let problem = Problem::Field {
                        field: field.to_owned(),
                        problem: error.problem.to_string(),
                    };
                    return Err(BuildError::new(self.file.clone(), 0, problem));
                }
                Err(_) => paths.push(entry),
            }
        }
        for path in paths {
            self.add_resource(&mut gathered, &mut SeenIds::default(), "plugin configuration", path)?;
        }
        Ok(gathered.resources.list)
    }

    fn run_transformers(&self, gathered: &mut Accumulator) -> Result<(), BuildError> {
        let config = gathered.config.clone().unwrap_or_default();
        let mut transformers = self.own_transformers(&config)?;
        for object in self.plugin_objects("transformers", &self.kustomization.transformers)? {
            transformers.push((
                plugins::transformer_from(&self.loader, &object)?,
                plugin_origin(&object),
            ));
        }
        let schemas = self.loader.world.schemas.borrow();
        for (transformer, origin) in &transformers {
            transformer.run(&mut gathered.resources, &schemas)?;
            if let Some(origin) = origin {
                for resource in &mut gathered.resources.list {
                    match resource.origin {
                        // Without an origin, the transformer is taken for what made the object.
                        None => resource.origin = Some(origin.clone()),
                        Some(_) => resource.transformations.push(origin.clone()),
                    }
                }
            }
            gathered.resources.drop_empty();
        }
        Ok(())
    }

    fn own_transformers(&self, config: &TransformerConfig) -> Result<Vec<(Transformer, Option<Origin>)>, BuildError> {
        let kustomization = &self.kustomization;
        let mut list: Vec<(Transformer, Option<Origin>)> = Vec::new();
        let mut add = |kind: &str, transformer: Transformer| {
            list.push((
                transformer,
                self.origin.as_ref().map(|o| o.builtin(self.file_name, kind)),
            ));
        };
        if !kustomization.patches_strategic_merge.is_empty() {
            let paths = &kustomization.patches_strategic_merge;
            let patches = plugins::strategic_patches(&self.loader, &self.file, paths)?;
            add("PatchStrategicMergeTransformer", patches);
        }
        for (index, patch) in kustomization.patches.iter().enumerate() {
            let source = format!("patches[{index}]");
            let texts = (patch.path.as_str(), patch.patch.as_str());
            let (target, options) = (patch.target.clone(), patch.options.as_ref());
            let patch = plugins::patch(&self.loader, &self.file, &source, texts, target, options)?;
            add("PatchTransformer", patch);
        }
        if !kustomization.namespace.is_empty() {
            add(
                "NamespaceTransformer",
                Transformer::Namespace {
                    namespace: kustomization.namespace.clone(),
                    fields: config.namespace.clone(),
                    unset_only: false,
                    subjects: SubjectMode::DefaultOnly,
                },
            );
        }
        if !kustomization.name_prefix.is_empty() {
            let affix = Affix::Prefix(kustomization.name_prefix.clone());
            add(
                "PrefixTransformer",
                Transformer::Affix(affix, config.name_prefix.clone()),
            );
        }
        if !kustomization.name_suffix.is_empty() {
            let affix = Affix::Suffix(kustomization.name_suffix.clone());
            add(
                "SuffixTransformer",
                Transformer::Affix(affix, config.name_suffix.clone()),
            );
        }
        if !(kustomization.labels.is_empty() && kustomization.common_labels.is_empty()) {
            for label in &kustomization.labels {
                let fields = label_fields(label, config).map_err(BuildError::syntax)?;
                add("LabelTransformer", Transformer::Labels(label.pairs.clone(), fields));
            }
            let common = (kustomization.common_labels.clone(), config.common_labels.clone());
            add("LabelTransformer", Transformer::Labels(common.0, common.1));
        }
        if !kustomization.common_annotations.is_empty() {
            let annotations = kustomization.common_annotations.clone();
            let fields = config.common_annotations.clone();
            add("AnnotationsTransformer", Transformer::Annotations(annotations, fields));
        }
        for (index, patch) in kustomization.patches_json6902.iter().enumerate() {
            let source = format!("patchesJson6902[{index}]");
            let texts = (patch.path.as_str(), patch.patch.as_str());
            let patch = plugins::json_patch(&self.loader, &source, texts, patch.target.clone())?;
            add("PatchJson6902Transformer", patch);
        }
        for replica in &kustomization.replicas {
            let transformer = Transformer::Replicas(replica.clone(), config.replicas.clone());
            add("ReplicaCountTransformer", transformer);
        }
        for image in &kustomization.images {
            add(
                "ImageTagTransformer",
                Transformer::Image(image.clone(), config.images.clone()),
            );
        }
        if !kustomization.replacements.is_empty() {
            let replacements = plugins::replacements(&self.loader, &kustomization.replacements)?;
            add("ReplacementTransformer", replacements);
        }
        Ok(list)
    }

    /// Runs validators: transformers that may change nothing.
    fn run_validators(&self, gathered: &mut Accumulator) -> Result<(), BuildError> {
        for object in self.plugin_objects("validators", &self.kustomization.validators)? {
            let validator = plugins::transformer_from(&self.loader, &object)?;
            let before = gathered.resources.clone();
            let schemas = self.loader.world.schemas.borrow();
            validator.run(&mut gathered.resources, &schemas)?;
            if changes(&before, &gathered.resources).map_err(|problem| object.error(problem))? {
                let problem = format!(
                    "validator {} changes resources, which only transformers may",
                    object.describe()
                );
                return Err(BuildError::new(&*object.file, 0, Problem::Syntax(problem)));
            }
        }
        Ok(())
    }
}

impl Accumulator {
    fn merge_config(&mut self, config: &Arc<TransformerConfig>) -> Result<(), BuildError> {
        let merged = config::merge_shared(&self.config, config).map_err(BuildError::syntax)?;
        self.config = Some(merged);
        Ok(())
    }
}

/// Reads a kustomization file and moves deprecated fields. Read leniently, it may be empty.
fn parse_kustomization(text: &str, mode: Mode, warnings: &mut Vec<String>) -> Result<Kustomization, BuildError> {
    let nodes = nave_object::yaml::parse_nodes(text, Dialect::K8s).map_err(|error| BuildError::yaml("", error))?;
    let empty = || {
        Err(BuildError::new(
            "",
            1,
            Problem::Syntax("the kustomization file is empty".to_owned()),
        ))
    };
    let nothing = Node::map();
    let node = match nodes.first() {
        Some(node) => node,
        None if mode == Mode::Lenient => &nothing,
        None => return empty(),
    };
    let mut kustomization: Kustomization = decode(node, mode).map_err(decode_error)?;
    warnings.extend(kustomization::deprecated(node));
    let says_something = node.as_map().is_some_and(|map| {
        map.iter().any(|(key, value)| {
            let name = key.text.as_str();
            let empty_text = value.text().is_some_and(str::is_empty);
            // Fields whose content moves elsewhere leave nothing behind when they have none.
            let moves = matches!(name, "bases" | "imageTags" | "helmChartInflationGenerator")
                && value.as_seq().is_some_and(<[Node]>::is_empty);
            !matches!(name, "kind" | "apiVersion") && !value.is_null() && !empty_text && !moves
        })
    });
    if !says_something && mode == Mode::Strict {
        return empty();
    }
    kustomization.modernize();
    kustomization.check().map_err(|(field, problem)| {
        BuildError::new(
            "",
            0,
            Problem::Field {
                field: field.to_owned(),
                problem,
            },
        )
    })?;
    if let Some(options) = &kustomization.sort_options {
        sort::check(options).map_err(|problem| {
            BuildError::new(
                "",
                0,
                Problem::Field {
                    field: "sortOptions".to_owned(),
                    problem,
                },
            )
        })?;
    }
    Ok(kustomization)
}

fn shown_directory(loader: &Loader<'_>) -> String {
    match loader.display(".") {
        dir if dir.is_empty() => ".".to_owned(),
        dir => dir,
    }
}

fn label_fields(label: &kustomization::Label, config: &TransformerConfig) -> Result<Vec<FieldSpec>, String> {
    let fields = config::merge_all(&label.fields, &config.labels)?;
    if label.include_selectors {
        return config::merge_all(&fields, &config.common_labels);
    }
    let mut fields = if label.include_templates {
        config::merge_all(&fields, &config.template_labels)?
    } else {
        fields
    };
    config::merge_one(&mut fields, &FieldSpec::new("", "", "", "metadata/labels", true))?;
    Ok(fields)
}

/// Whether a validator changed anything but the mark that it may leave.
fn changes(before: &ResMap, after: &ResMap) -> Result<bool, String> {
    if before.list.len() != after.list.len() {
        return Ok(true);
    }
    for (before, after) in before.list.iter().zip(&after.list) {
        let (mut before, mut after) = (before.clone(), after.clone());
        if after.label(VALIDATED_BY).is_some() {
            let labels = before.node.at(&["metadata", "labels"]);
            // Kustomize takes the mark away by writing all labels anew, and those of a file are not new.
            if labels.is_some_and(|labels| labels.line() != 0 || is_nil_or_empty(labels)) {
                return Ok(true);
            }
            for resource in [&mut before, &mut after] {
                let mut labels = resource.texts("labels");
                labels.retain(|(key, _)| key != VALIDATED_BY);
                resource.set_texts("labels", labels)?;
            }
        }
        for resource in [&mut before, &mut after] {
            separate(&mut resource.node);
            resource.twins = Twins::default();
        }
        if before != after {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The origin of what a plugin object makes or changes.
fn plugin_origin(object: &Resource) -> Option<Origin> {
    let origin = object.origin.as_ref()?;
    Some(Origin {
        path: String::new(),
        repo: origin.repo.clone(),
        reference: origin.reference.clone(),
        configured_in: origin.path.clone(),
        configured_by: Some(Plugin {
            api_version: object.api_version().to_owned(),
            kind: object.kind().to_owned(),
            name: object.name().to_owned(),
            namespace: object.namespace().to_owned(),
        }),
    })
}
