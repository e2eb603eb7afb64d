//! Rendered text into manifests and hooks, in the order of Helm.

use std::collections::BTreeMap;

use nave_object::yaml::Node;

use crate::decode::{DecodeError, Fields, first_document};
use crate::text::base_name;
use crate::{Hook, HookDeletePolicy, HookEvent, HookOutputLogPolicy, KindOrder};

const HOOK: &str = "helm.sh/hook";
const HOOK_WEIGHT: &str = "helm.sh/hook-weight";
const HOOK_DELETE_POLICY: &str = "helm.sh/hook-delete-policy";
const HOOK_OUTPUT_LOG_POLICY: &str = "helm.sh/hook-output-log-policy";
const RESOURCE_POLICY: &str = "helm.sh/resource-policy";

/// One document that a template gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The template it comes from, such as `web/templates/service.yaml`.
    pub source: String,
    /// Its YAML as it was rendered.
    pub text: String,
    /// `apiVersion`; empty where a document has none, such as one of comments only.
    pub api_version: String,
    /// `kind`, or empty.
    pub kind: String,
    /// `metadata.name`, or empty.
    pub name: String,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Whether uninstalling leaves the object (`helm.sh/resource-policy: keep`).
    pub fn is_kept(&self) -> bool {
        let policy = self.annotations.get(RESOURCE_POLICY);
        policy.is_some_and(|policy| policy.trim().eq_ignore_ascii_case("keep"))
    }
}

/// What rendered files hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sorted {
    /// Manifests with a hook annotation that Helm knows; sorted by kind.
    pub hooks: Vec<Hook>,
    /// All others; sorted by kind.
    pub manifests: Vec<Manifest>,
    /// Hooks that are left out because their annotation names an event that does not exist.
    pub unknown_hooks: Vec<UnknownHook>,
}

/// A manifest whose hook annotation means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownHook {
    /// The template.
    pub path: String,
    /// The annotation.
    pub events: String,
}

/// A template's text is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("YAML parse error on {path}")]
pub struct ManifestError {
    /// The template.
    pub path: String,
    /// What is wrong, with the line in its document.
    #[source]
    pub source: DecodeError,
}

/// The documents of a text, cut where a line starts with `---`, the white space before each taken away.
///
/// This is how Helm cuts, and not how YAML does: what follows the dashes on their line belongs to the next
/// document, and dashes in a block of text cut it, too.
pub fn split_manifests(text: &str) -> Vec<&str> {
    let text = text.trim_start();
    let mut documents = Vec::new();
    let mut start = 0;
    let mut from = 0;
    loop {
        let separator = if from == 0 && text.starts_with("---") {
            Some(0)
        } else {
            text[from..].find("\n---").map(|found| from + found + 1)
        };
        let end = separator.unwrap_or(text.len());
        let piece = text[start..end].trim_start();
        if !piece.is_empty() {
            documents.push(piece);
        }
        let Some(separator) = separator else {
            return documents;
        };
        let rest = &text[separator + 3..];
        start = text.len() - rest.trim_start_matches([' ', '\t']).len();
        // The line break before the next separator may be the one that ends this line.
        from = separator + 3;
    }
}

/// Cuts rendered files (by path) into manifests and hooks, and sorts both by kind; equal kinds stay in the order
/// of paths and documents. Partials and empty files are skipped.
///
/// # Errors
/// The first document that is no YAML or has a head of other types.
pub fn sort_manifests<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
    order: KindOrder,
) -> Result<Sorted, ManifestError> {
    let mut files: Vec<(&str, &str)> = files.into_iter().collect();
    files.sort_by_key(|(path, _)| *path);
    let mut sorted = Sorted::default();
    for (path, content) in files {
        if base_name(path).starts_with('_') {
            continue;
        }
        for text in split_manifests(content) {
            let manifest = read_manifest(path, text).map_err(|source| ManifestError {
                path: path.to_owned(),
                source,
            })?;
            place(manifest, &mut sorted);
        }
    }
    sorted.hooks.sort_by(|a, b| order.compare(&a.kind, &b.kind));
    sorted.manifests.sort_by(|a, b| order.compare(&a.kind, &b.kind));
    Ok(sorted)
}

fn read_manifest(path: &str, text: &str) -> Result<Manifest, DecodeError> {
    let mut manifest = Manifest {
        source: path.to_owned(),
        text: text.to_owned(),
        api_version: String::new(),
        kind: String::new(),
        name: String::new(),
        annotations: BTreeMap::new(),
    };
    let document = first_document(text.as_bytes())?;
    let Some(fields) = document
        .as_ref()
        .map(|node: &Node| Fields::of(node, "SimpleHead"))
        .transpose()?
        .flatten()
    else {
        return Ok(manifest);
    };
    fields.text("apiVersion", &mut manifest.api_version)?;
    fields.text("kind", &mut manifest.kind)?;
    if let Some(metadata) = fields.get("metadata")
        && let Some(metadata) = Fields::of(metadata, "SimpleHead.metadata")?
    {
        metadata.text("name", &mut manifest.name)?;
        metadata.text_map("annotations", &mut manifest.annotations)?;
    }
    Ok(manifest)
}

fn place(manifest: Manifest, sorted: &mut Sorted) {
    let Some(words) = manifest.annotations.get(HOOK) else {
        sorted.manifests.push(manifest);
        return;
    };
    let events: Option<Vec<HookEvent>> = words_of(words).map(|word| HookEvent::parse(&word)).collect();
    let Some(events) = events else {
        sorted.unknown_hooks.push(UnknownHook {
            path: manifest.source.clone(),
            events: words.clone(),
        });
        return;
    };
    let annotation = |name: &str| manifest.annotations.get(name).map(String::as_str);
    let policies = |name: &str| annotation(name).into_iter().flat_map(words_of).collect::<Vec<_>>();
    sorted.hooks.push(Hook {
        events,
        weight: annotation(HOOK_WEIGHT).and_then(parse_weight).unwrap_or(0),
        delete_policies: policies(HOOK_DELETE_POLICY)
            .iter()
            .map(|word| HookDeletePolicy::parse(word))
            .collect(),
        output_log_policies: policies(HOOK_OUTPUT_LOG_POLICY)
            .iter()
            .map(|word| HookOutputLogPolicy::parse(word))
            .collect(),
        name: manifest.name,
        kind: manifest.kind,
        api_version: manifest.api_version,
        path: manifest.source,
        manifest: manifest.text,
    });
}

fn words_of(list: &str) -> impl Iterator<Item = String> + '_ {
    list.split(',').map(|word| word.trim().to_lowercase())
}

/// Go's `strconv.Atoi`: a sign and digits.
fn parse_weight(text: &str) -> Option<i64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_cut_as_helm_cuts_them() {
        for (text, documents) in [
            ("", vec![]),
            ("\n---\n---\n", vec![]),
            ("a: 1\n", vec!["a: 1\n"]),
            ("---\na: 1\n---\nb: 2\n", vec!["a: 1\n", "b: 2\n"]),
            ("---a: 1\n---b: 2", vec!["a: 1\n", "b: 2"]),
            ("a: 1\n--- \t\n\n b: 2\n", vec!["a: 1\n", "b: 2\n"]),
            ("--- # note\na: 1", vec!["# note\na: 1"]),
            ("a: |\n  x\n---\n---\nb: 1", vec!["a: |\n  x\n", "b: 1"]),
            ("a---\nb: ---\n", vec!["a---\nb: ---\n"]),
            ("------\na: 1", vec!["---\na: 1"]),
        ] {
            assert_eq!(split_manifests(text), documents, "{text:?}");
        }
    }

    #[test]
    fn hooks_are_taken_out_and_sorted() {
        let hook = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: j\n  annotations:\n    helm.sh/hook: \
            pre-install, Post-Upgrade,test-success\n    helm.sh/hook-weight: -5\n    helm.sh/hook-delete-policy: \
            before-hook-creation,Hook-Succeeded,later\n";
        let unknown = "kind: Job\nmetadata: {annotations: {helm.sh/hook: crd-install}}\n";
        let kept = "kind: Secret\nmetadata: {name: s, annotations: {helm.sh/resource-policy: ' Keep', e: 1e7, b: yes}}";
        let files = [
            (
                "c/templates/z.yaml",
                "kind: Namespace\n---\nkind: Zoo\n---\n# only a comment\n",
            ),
            ("c/templates/a.yaml", hook),
            ("c/templates/b.yaml", unknown),
            ("c/templates/c.yaml", kept),
            ("c/templates/_partial.yaml", "{"),
        ];
        let sorted = sort_manifests(files, KindOrder::Install).unwrap();
        let kinds: Vec<_> = sorted.manifests.iter().map(|manifest| manifest.kind.as_str()).collect();
        assert_eq!(kinds, ["Namespace", "Secret", "", "Zoo"]);
        let secret = &sorted.manifests[1];
        assert!(secret.is_kept());
        assert_eq!(
            (secret.annotations["e"].as_str(), secret.annotations["b"].as_str()),
            ("1e+07", "true")
        );
        let hook = &sorted.hooks[0];
        assert_eq!(
            hook.events,
            [HookEvent::PreInstall, HookEvent::PostUpgrade, HookEvent::Test]
        );
        assert_eq!(hook.weight, -5);
        assert_eq!(
            hook.delete_policies,
            [
                HookDeletePolicy::BeforeHookCreation,
                HookDeletePolicy::Succeeded,
                HookDeletePolicy::Other("later".to_owned())
            ]
        );
        assert_eq!(sorted.unknown_hooks[0].events, "crd-install");
    }

    #[test]
    fn a_text_that_is_no_manifest_names_its_template() {
        for (text, problem) in [
            ("a: [\n", "line "),
            ("- a\n", "cannot unmarshal array into SimpleHead of type object"),
            (
                "metadata: {annotations: {a: [1]}}",
                "cannot unmarshal array into SimpleHead.metadata.annotations",
            ),
        ] {
            let error = sort_manifests([("c/templates/x.yaml", text)], KindOrder::Install).unwrap_err();
            assert_eq!(error.to_string(), "YAML parse error on c/templates/x.yaml");
            assert!(error.source.to_string().contains(problem), "{text}: {}", error.source);
        }
    }
}
