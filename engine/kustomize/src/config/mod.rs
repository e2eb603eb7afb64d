//! Which fields the built-in transformers touch: the standard tables, `configurations` and `crds`.

mod crds;
mod defaults;
mod fields;

use std::sync::{Arc, OnceLock};

pub(crate) use crds::from_crds;
pub(crate) use fields::{Create, FieldSpec, split_path};

use crate::decode::{Context, Decode, DecodeError};
use crate::ids::Gvk;
use nave_object::yaml::Node;

/// All tables.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TransformerConfig {
    pub name_prefix: Vec<FieldSpec>,
    pub name_suffix: Vec<FieldSpec>,
    pub namespace: Vec<FieldSpec>,
    pub common_labels: Vec<FieldSpec>,
    pub labels: Vec<FieldSpec>,
    pub template_labels: Vec<FieldSpec>,
    pub common_annotations: Vec<FieldSpec>,
    pub name_reference: Vec<NameReference>,
    pub var_reference: Vec<FieldSpec>,
    pub images: Vec<FieldSpec>,
    pub replicas: Vec<FieldSpec>,
}

/// Fields that hold the name of an object of one kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NameReference {
    /// The kind that is named.
    pub target: Gvk,
    /// Where it is named.
    pub referrers: Vec<FieldSpec>,
}

impl NameReference {
    pub fn new(group: &str, version: &str, kind: &str, referrers: Vec<FieldSpec>) -> NameReference {
        NameReference {
            target: Gvk::new(group, version, kind),
            referrers,
        }
    }
}

impl TransformerConfig {
    /// The tables that kustomize starts with, in the order it puts them.
    pub fn standard() -> Arc<TransformerConfig> {
        static STANDARD: OnceLock<Arc<TransformerConfig>> = OnceLock::new();
        STANDARD
            .get_or_init(|| {
                let config = TransformerConfig::default()
                    .merge(&defaults::defaults())
                    .expect("the standard tables have no conflicts");
                Arc::new(config)
            })
            .clone()
    }

    /// Both tables together, sorted; what is there already is left out.
    ///
    /// # Errors
    /// The same field with and without `create`.
    pub fn merge(&self, other: &TransformerConfig) -> Result<TransformerConfig, String> {
        let mut merged = TransformerConfig {
            name_prefix: merge_all(&self.name_prefix, &other.name_prefix)?,
            name_suffix: merge_all(&self.name_suffix, &other.name_suffix)?,
            namespace: merge_all(&self.namespace, &other.namespace)?,
            common_labels: merge_all(&self.common_labels, &other.common_labels)?,
            labels: merge_all(&self.labels, &other.labels)?,
            template_labels: merge_all(&self.template_labels, &other.template_labels)?,
            common_annotations: merge_all(&self.common_annotations, &other.common_annotations)?,
            name_reference: self.name_reference.clone(),
            var_reference: merge_all(&self.var_reference, &other.var_reference)?,
            images: merge_all(&self.images, &other.images)?,
            replicas: merge_all(&self.replicas, &other.replicas)?,
        };
        for reference in &other.name_reference {
            add_reference(&mut merged.name_reference, reference)?;
        }
        for list in [
            &mut merged.name_prefix,
            &mut merged.name_suffix,
            &mut merged.namespace,
            &mut merged.common_labels,
            &mut merged.labels,
            &mut merged.template_labels,
            &mut merged.common_annotations,
            &mut merged.var_reference,
            &mut merged.images,
            &mut merged.replicas,
        ] {
            list.sort_by_cached_key(|spec| spec.gvk.table_key());
        }
        merged
            .name_reference
            .sort_by_cached_key(|reference| reference.target.table_key());
        Ok(merged)
    }
}

/// Merges behind shared pointers: the standard tables, which most kustomizations have and nothing
/// else, are never copied.
pub(crate) fn merge_shared(
    ours: &Option<Arc<TransformerConfig>>,
    other: &Arc<TransformerConfig>,
) -> Result<Arc<TransformerConfig>, String> {
    match ours {
        None if Arc::ptr_eq(other, &TransformerConfig::standard()) => Ok(other.clone()),
        // What a wider entry covers that is sorted before it goes: kustomize starts with an empty table, too.
        None => TransformerConfig::default().merge(other).map(Arc::new),
        Some(ours) if Arc::ptr_eq(ours, other) => Ok(other.clone()),
        Some(ours) => ours.merge(other).map(Arc::new),
    }
}

/// Adds specifications that are not there yet.
pub(crate) fn merge_all(ours: &[FieldSpec], other: &[FieldSpec]) -> Result<Vec<FieldSpec>, String> {
    let mut merged = ours.to_vec();
    for spec in other {
        merge_one(&mut merged, spec)?;
    }
    Ok(merged)
}

/// Adds one specification if it is not there yet.
pub(crate) fn merge_one(list: &mut Vec<FieldSpec>, spec: &FieldSpec) -> Result<(), String> {
    match list.iter().find(|present| present.covers(spec)) {
        Some(present) if present.create != spec.create => Err(format!(
            "the field {} of {} is configured both with and without `create`",
            spec.path, spec.gvk
        )),
        Some(_) => Ok(()),
        None => {
            list.push(spec.clone());
            Ok(())
        }
    }
}

pub(crate) fn add_reference(list: &mut Vec<NameReference>, reference: &NameReference) -> Result<(), String> {
    match list.iter_mut().find(|present| present.target == reference.target) {
        Some(present) => {
            present.referrers = merge_all(&present.referrers, &reference.referrers)?;
        }
        None => list.push(reference.clone()),
    }
    Ok(())
}

impl Decode for FieldSpec {
    fn decode(node: &Node, context: &mut Context) -> Result<FieldSpec, DecodeError> {
        let mut spec = RawFieldSpec::default();
        if !node.is_null() {
            spec = RawFieldSpec::decode(node, context)?;
        }
        Ok(FieldSpec::new(
            &spec.group,
            &spec.version,
            &spec.kind,
            &spec.path,
            spec.create,
        ))
    }
}

impl Decode for NameReference {
    fn decode(node: &Node, context: &mut Context) -> Result<NameReference, DecodeError> {
        let raw = RawNameReference::decode(node, context)?;
        Ok(NameReference::new(&raw.group, &raw.version, &raw.kind, raw.field_specs))
    }
}

crate::decode::decode_struct! {
    #[derive(Debug, Clone, Default)]
    struct RawFieldSpec {
        group: String = "group",
        version: String = "version",
        kind: String = "kind",
        path: String = "path",
        create: bool = "create",
    }
}

crate::decode::decode_struct! {
    #[derive(Debug, Clone, Default)]
    struct RawNameReference {
        group: String = "group",
        version: String = "version",
        kind: String = "kind",
        field_specs: Vec<FieldSpec> = "fieldSpecs",
    }
}

crate::decode::decode_struct! {
    /// A file named in `configurations`.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct ConfigurationFile {
        name_prefix: Vec<FieldSpec> = "namePrefix",
        name_suffix: Vec<FieldSpec> = "nameSuffix",
        namespace: Vec<FieldSpec> = "namespace",
        common_labels: Vec<FieldSpec> = "commonLabels",
        labels: Vec<FieldSpec> = "labels",
        template_labels: Vec<FieldSpec> = "templateLabels",
        common_annotations: Vec<FieldSpec> = "commonAnnotations",
        name_reference: Vec<NameReference> = "nameReference",
        var_reference: Vec<FieldSpec> = "varReference",
        images: Vec<FieldSpec> = "images",
        replicas: Vec<FieldSpec> = "replicas",
    }
}

impl From<ConfigurationFile> for TransformerConfig {
    fn from(file: ConfigurationFile) -> TransformerConfig {
        TransformerConfig {
            name_prefix: file.name_prefix,
            name_suffix: file.name_suffix,
            namespace: file.namespace,
            common_labels: file.common_labels,
            labels: file.labels,
            template_labels: file.template_labels,
            common_annotations: file.common_annotations,
            name_reference: file.name_reference,
            var_reference: file.var_reference,
            images: file.images,
            replicas: file.replicas,
        }
    }
}
