//! The fields of a Kustomization that change the build, as the engine wants them.

use nave_crds::kustomize::{BuildMetadata, KustomizationSpec};
use nave_kustomize::flux::{Overlay, OverlayImage, Patch, Selector};

/// Empty texts are fields that are not set.
pub(crate) fn overlay_of(spec: &KustomizationSpec) -> Overlay {
    let set = |text: &String| (!text.is_empty()).then(|| text.clone());
    Overlay {
        target_namespace: set(&spec.target_namespace),
        name_prefix: set(&spec.name_prefix),
        name_suffix: set(&spec.name_suffix),
        patches: spec
            .patches
            .iter()
            .map(|patch| Patch {
                patch: patch.patch.clone(),
                target: patch.target.as_ref().map(|target| Selector {
                    group: target.group.clone(),
                    version: target.version.clone(),
                    kind: target.kind.clone(),
                    name: target.name.clone(),
                    namespace: target.namespace.clone(),
                    label_selector: target.label_selector.clone(),
                    annotation_selector: target.annotation_selector.clone(),
                }),
            })
            .collect(),
        components: spec.components.clone(),
        ignore_missing_components: spec.ignore_missing_components,
        images: spec
            .images
            .iter()
            .map(|image| OverlayImage {
                name: image.name.clone(),
                new_name: image.new_name.clone(),
                new_tag: image.new_tag.clone(),
                digest: image.digest.clone(),
            })
            .collect(),
        build_metadata: spec
            .build_metadata
            .iter()
            .map(|name| {
                match name {
                    BuildMetadata::OriginAnnotations => "originAnnotations",
                    BuildMetadata::TransformerAnnotations => "transformerAnnotations",
                }
                .to_owned()
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_arrives() {
        let spec: KustomizationSpec = serde_json::from_value(json!({
            "interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "s"},
            "targetNamespace": "n", "namePrefix": "p-", "components": ["../c"], "ignoreMissingComponents": true,
            "patches": [{"patch": "x", "target": {"kind": "Deployment", "labelSelector": "a=b"}}],
            "images": [{"name": "i", "newTag": "1"}], "buildMetadata": ["originAnnotations"],
        }))
        .expect("the spec is complete");
        assert_eq!(
            overlay_of(&spec),
            Overlay {
                target_namespace: Some("n".into()),
                name_prefix: Some("p-".into()),
                name_suffix: None,
                patches: vec![Patch {
                    patch: "x".into(),
                    target: Some(Selector {
                        kind: "Deployment".into(),
                        label_selector: "a=b".into(),
                        ..Selector::default()
                    }),
                }],
                components: vec!["../c".into()],
                ignore_missing_components: true,
                images: vec![OverlayImage {
                    name: "i".into(),
                    new_tag: "1".into(),
                    ..OverlayImage::default()
                }],
                build_metadata: vec!["originAnnotations".into()],
            }
        );
    }
}
