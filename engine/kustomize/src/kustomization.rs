//! What a kustomization file can say.

use std::collections::BTreeMap;

use nave_object::yaml::Node;
use serde_json::Value;

use crate::config::FieldSpec;
use crate::decode::decode_struct;

/// File names that are recognised, in kustomize's order.
pub(crate) const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

decode_struct! {
    /// A kustomization or component file.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct Kustomization {
        kind: String = "kind",
        api_version: String = "apiVersion",
        metadata: Option<ObjectMeta> = "metadata",
        openapi: BTreeMap<String, String> = "openapi",
        name_prefix: String = "namePrefix",
        name_suffix: String = "nameSuffix",
        namespace: String = "namespace",
        common_labels: BTreeMap<String, String> = "commonLabels",
        labels: Vec<Label> = "labels",
        common_annotations: BTreeMap<String, String> = "commonAnnotations",
        patches_strategic_merge: Vec<String> = "patchesStrategicMerge",
        patches_json6902: Vec<Patch> = "patchesJson6902",
        patches: Vec<Patch> = "patches",
        images: Vec<Image> = "images",
        image_tags: Vec<Image> = "imageTags",
        replacements: Vec<Replacement> = "replacements",
        replicas: Vec<Replica> = "replicas",
        vars: Vec<Var> = "vars",
        sort_options: Option<SortOptions> = "sortOptions",
        resources: Vec<String> = "resources",
        components: Vec<String> = "components",
        crds: Vec<String> = "crds",
        bases: Vec<String> = "bases",
        config_map_generator: Vec<GeneratorArgs> = "configMapGenerator",
        secret_generator: Vec<SecretArgs> = "secretGenerator",
        helm_globals: Option<HelmGlobals> = "helmGlobals",
        helm_charts: Vec<HelmChart> = "helmCharts",
        helm_chart_inflation_generator: Vec<HelmChartArgs> = "helmChartInflationGenerator",
        generator_options: Option<GeneratorOptions> = "generatorOptions",
        configurations: Vec<String> = "configurations",
        generators: Vec<String> = "generators",
        transformers: Vec<String> = "transformers",
        validators: Vec<String> = "validators",
        build_metadata: Vec<String> = "buildMetadata",
    }
}

decode_struct! {
    /// Metadata of a kustomization file or of a plugin's configuration.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct ObjectMeta {
        name: String = "name",
        namespace: String = "namespace",
        labels: BTreeMap<String, String> = "labels",
        annotations: BTreeMap<String, String> = "annotations",
    }
}

decode_struct! {
    /// One entry of `labels`.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct Label {
        pairs: BTreeMap<String, String> = "pairs",
        include_selectors: bool = "includeSelectors",
        include_templates: bool = "includeTemplates",
        fields: Vec<FieldSpec> = "fields",
    }
}

decode_struct! {
    /// One entry of `patches` or `patchesJson6902`.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct Patch {
        path: String = "path",
        patch: String = "patch",
        target: Option<Selector> = "target",
        options: Option<PatchArgs> = "options",
    }
}

decode_struct! {
    /// What a patch may change.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct PatchArgs {
        allow_name_change: bool = "allowNameChange",
        allow_kind_change: bool = "allowKindChange",
    }
}

decode_struct! {
    /// Chooses resources by regular expressions and by labels.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct Selector {
        group: String = "group",
        version: String = "version",
        kind: String = "kind",
        name: String = "name",
        namespace: String = "namespace",
        annotation_selector: String = "annotationSelector",
        label_selector: String = "labelSelector",
    }
}

decode_struct! {
    /// One entry of `images`.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct Image {
        name: String = "name",
        new_name: String = "newName",
        tag_suffix: String = "tagSuffix",
        new_tag: String = "newTag",
        digest: String = "digest",
    }
}

decode_struct! {
    /// One entry of `replacements`; `path` names a file with more of them.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct Replacement {
        path: String = "path",
        source: Option<SourceSelector> = "source",
        source_value: Option<String> = "sourceValue",
        targets: Option<Vec<TargetSelector>> = "targets",
    }
}

decode_struct! {
    /// Where a replacement takes its value.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct SourceSelector {
        group: String = "group",
        version: String = "version",
        kind: String = "kind",
        name: String = "name",
        namespace: String = "namespace",
        field_path: String = "fieldPath",
        options: Option<FieldOptions> = "options",
    }
}

decode_struct! {
    /// Where a replacement writes its value.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct TargetSelector {
        select: Option<Selector> = "select",
        reject: Vec<Selector> = "reject",
        field_paths: Vec<String> = "fieldPaths",
        options: Option<FieldOptions> = "options",
    }
}

decode_struct! {
    /// How a value is cut out of a text or put into one.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct FieldOptions {
        delimiter: String = "delimiter",
        index: i64 = "index",
        encoding: String = "encoding",
        create: bool = "create",
    }
}

decode_struct! {
    /// One entry of `replicas`.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct Replica {
        name: String = "name",
        count: i64 = "count",
    }
}

decode_struct! {
    /// One entry of `vars`.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct Var {
        name: String = "name",
        obj_ref: VarTarget = "objref",
        field_ref: FieldRef = "fieldref",
    }
}

decode_struct! {
    /// The object that a variable reads.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct VarTarget {
        api_version: String = "apiVersion",
        group: String = "group",
        version: String = "version",
        kind: String = "kind",
        name: String = "name",
        namespace: String = "namespace",
    }
}

decode_struct! {
    /// The field that a variable reads.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct FieldRef {
        field_path: String = "fieldPath",
    }
}

decode_struct! {
    /// `sortOptions`.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct SortOptions {
        order: String = "order",
        legacy_sort_options: Option<LegacySortOptions> = "legacySortOptions",
    }
}

decode_struct! {
    /// Kinds that go first and last.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct LegacySortOptions {
        order_first: Vec<String> = "orderFirst",
        order_last: Vec<String> = "orderLast",
    }
}

decode_struct! {
    /// One entry of `configMapGenerator`.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct GeneratorArgs {
        namespace: String = "namespace",
        name: String = "name",
        behavior: String = "behavior",
        literals: Vec<String> = "literals",
        files: Vec<String> = "files",
        envs: Vec<String> = "envs",
        env: String = "env",
        options: Option<GeneratorOptions> = "options",
    }
}

decode_struct! {
    /// One entry of `secretGenerator`.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct SecretArgs {
        namespace: String = "namespace",
        name: String = "name",
        behavior: String = "behavior",
        literals: Vec<String> = "literals",
        files: Vec<String> = "files",
        envs: Vec<String> = "envs",
        env: String = "env",
        options: Option<GeneratorOptions> = "options",
        kind: String = "type",
    }
}

decode_struct! {
    /// What an `IAMPolicyGenerator` is told.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct IamPolicyArgs {
        cloud: String = "cloud",
        kubernetes_service: KubernetesService = "kubernetesService",
        service_account: CloudAccount = "serviceAccount",
    }
}

decode_struct! {
    /// The ServiceAccount that an `IAMPolicyGenerator` makes.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct KubernetesService {
        name: String = "name",
        namespace: String = "namespace",
    }
}

decode_struct! {
    /// The cloud's account that it stands for.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct CloudAccount {
        name: String = "name",
        project_id: String = "projectId",
    }
}

decode_struct! {
    /// `generatorOptions`, and the `options` of one generator.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct GeneratorOptions {
        labels: BTreeMap<String, String> = "labels",
        annotations: BTreeMap<String, String> = "annotations",
        disable_name_suffix_hash: bool = "disableNameSuffixHash",
        immutable: bool = "immutable",
    }
}

decode_struct! {
    /// `helmGlobals`.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct HelmGlobals {
        chart_home: String = "chartHome",
        config_home: String = "configHome",
    }
}

decode_struct! {
    /// One entry of `helmCharts`.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct HelmChart {
        name: String = "name",
        version: String = "version",
        repo: String = "repo",
        release_name: String = "releaseName",
        namespace: String = "namespace",
        additional_values_files: Vec<String> = "additionalValuesFiles",
        values_file: String = "valuesFile",
        values_inline: Value = "valuesInline",
        values_merge: String = "valuesMerge",
        include_crds: bool = "includeCRDs",
        skip_hooks: bool = "skipHooks",
        api_versions: Vec<String> = "apiVersions",
        kube_version: String = "kubeVersion",
        name_template: String = "nameTemplate",
        skip_tests: bool = "skipTests",
        debug: bool = "debug",
        devel: bool = "devel",
    }
}

decode_struct! {
    /// One entry of the deprecated `helmChartInflationGenerator`.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct HelmChartArgs {
        chart_name: String = "chartName",
        chart_version: String = "chartVersion",
        chart_repo_url: String = "chartRepoUrl",
        chart_home: String = "chartHome",
        chart_repo_name: String = "chartRepoName",
        helm_bin: String = "helmBin",
        helm_home: String = "helmHome",
        values: String = "values",
        values_local: Value = "valuesLocal",
        values_merge: String = "valuesMerge",
        release_name: String = "releaseName",
        release_namespace: String = "releaseNamespace",
        extra_args: Vec<String> = "extraArgs",
    }
}

/// What kustomize warns of when it reads a kustomization file: fields that have become others.
pub(crate) fn deprecated(file: &Node) -> impl Iterator<Item = String> {
    const FIELDS: [(&str, &str, &str); 6] = [
        ("bases", "resources", ""),
        ("commonLabels", "labels", ""),
        ("imageTags", "images", ""),
        ("patchesJson6902", "patches", ""),
        ("patchesStrategicMerge", "patches", ""),
        ("vars", "replacements", "[EXPERIMENTAL] "),
    ];
    let used = |field: &str| {
        let map = file.as_map().into_iter();
        let mut entries = map.flat_map(|map| map.iter());
        entries.any(|(key, value)| key.text.eq_ignore_ascii_case(field) && !value.is_null())
    };
    FIELDS
        .into_iter()
        .filter(move |(old, ..)| used(old))
        .map(|(old, new, mark)| {
            format!(
                "# Warning: '{old}' is deprecated. Please use '{new}' instead. \
             {mark}Run 'kustomize edit fix' to update your Kustomization automatically."
            )
        })
}

impl SecretArgs {
    /// What both generators share.
    pub fn common(&self) -> GeneratorArgs {
        GeneratorArgs {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            behavior: self.behavior.clone(),
            literals: self.literals.clone(),
            files: self.files.clone(),
            envs: self.envs.clone(),
            env: self.env.clone(),
            options: self.options.clone(),
        }
    }
}

impl Kustomization {
    /// Whether this is a component.
    pub fn is_component(&self) -> bool {
        self.kind == "Component"
    }

    /// Moves deprecated fields to where they belong now, and fills kind and version.
    pub fn modernize(&mut self) {
        if self.kind.is_empty() {
            self.kind = "Kustomization".to_owned();
        }
        if self.api_version.is_empty() {
            self.api_version = version_of(&self.kind).to_owned();
        }
        self.resources.append(&mut self.bases);
        self.images.append(&mut self.image_tags);
        for args in &mut self.config_map_generator {
            if !args.env.is_empty() {
                args.envs.push(std::mem::take(&mut args.env));
            }
        }
        for args in &mut self.secret_generator {
            if !args.env.is_empty() {
                args.envs.push(std::mem::take(&mut args.env));
            }
        }
        let mut globals = HelmGlobals::default();
        for old in std::mem::take(&mut self.helm_chart_inflation_generator) {
            if !old.helm_home.is_empty() {
                globals.config_home = old.helm_home;
            }
            if !old.chart_home.is_empty() {
                globals.chart_home = old.chart_home;
            }
            self.helm_charts.push(HelmChart {
                name: old.chart_name,
                version: old.chart_version,
                repo: old.chart_repo_url,
                values_file: old.values,
                values_inline: old.values_local,
                values_merge: old.values_merge,
                release_name: old.release_name,
                ..HelmChart::default()
            });
        }
        if self.helm_globals.is_none() && globals != HelmGlobals::default() {
            self.helm_globals = Some(globals);
        }
    }

    /// What is wrong with kind and version, if anything; call after [`Kustomization::modernize`].
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if !matches!(self.kind.as_str(), "Kustomization" | "Component") {
            return Err(("kind", format!("`{}` is none of Kustomization, Component", self.kind)));
        }
        let wanted = version_of(&self.kind);
        if self.api_version != wanted {
            let problem = format!("`{}` is not {wanted}, as kind {} needs", self.api_version, self.kind);
            return Err(("apiVersion", problem));
        }
        Ok(())
    }
}

impl GeneratorOptions {
    /// Options of one generator over those of the file; the generator's own labels win.
    pub fn merged(local: Option<&GeneratorOptions>, global: Option<&GeneratorOptions>) -> Option<GeneratorOptions> {
        let Some(global) = global else { return local.cloned() };
        let mut merged = local.cloned().unwrap_or_default();
        for (ours, theirs) in [
            (&mut merged.labels, &global.labels),
            (&mut merged.annotations, &global.annotations),
        ] {
            for (key, value) in theirs {
                ours.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        merged.disable_name_suffix_hash |= global.disable_name_suffix_hash;
        merged.immutable |= global.immutable;
        Some(merged)
    }
}

fn version_of(kind: &str) -> &'static str {
    if kind == "Component" {
        "kustomize.config.k8s.io/v1alpha1"
    } else {
        "kustomize.config.k8s.io/v1beta1"
    }
}
