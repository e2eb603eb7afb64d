//! A rendering as `helm template` prints it.

use crate::load::matches;
use crate::{Rendered, split_manifests};

/// What is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printing {
    /// Files in `crds/`, too.
    pub crds: bool,
    /// Hooks, behind everything else.
    pub hooks: bool,
    /// Hooks of `helm test`; only with `hooks`.
    pub tests: bool,
    /// Only what these templates gave: patterns of paths below the chart, such as `templates/*.yaml`.
    pub only: Vec<String>,
}

impl Default for Printing {
    fn default() -> Printing {
        Printing {
            crds: false,
            hooks: true,
            tests: true,
            only: Vec::new(),
        }
    }
}

/// No manifest comes from a template that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not find template {template} in chart")]
pub struct NoSuchTemplate {
    /// What was asked for.
    pub template: String,
}

impl Rendered {
    /// The text of `helm template`: every document behind a line with its template.
    ///
    /// # Errors
    /// A pattern of [`Printing::only`] that fits nothing.
    pub fn print(&self, printing: &Printing) -> Result<String, NoSuchTemplate> {
        let mut text = String::new();
        let document = |text: &mut String, path: &str, content: &str| {
            for piece in ["---\n# Source: ", path, "\n", content, "\n"] {
                text.push_str(piece);
            }
        };
        if printing.crds {
            for crd in &self.crds {
                document(&mut text, &crd.path, &String::from_utf8_lossy(&crd.file.data));
            }
        }
        text.push_str(&self.manifest());
        let mut text = text.trim().to_owned();
        text.push('\n');
        let hooks = self.hooks.iter().filter(|_| printing.hooks);
        for hook in hooks.filter(|hook| printing.tests || !hook.is_test()) {
            document(&mut text, &hook.path, &hook.manifest);
        }
        match printing.only.is_empty() {
            true => Ok(text),
            false => only(&text, &printing.only),
        }
    }
}

fn only(text: &str, patterns: &[String]) -> Result<String, NoSuchTemplate> {
    let documents = split_manifests(text);
    let mut kept = String::new();
    for pattern in patterns {
        let fitting = documents
            .iter()
            .filter(|document| template_of(document).is_some_and(|path| matches(pattern, path)));
        let before = kept.len();
        for document in fitting {
            kept.push_str("---\n");
            kept.push_str(document);
            kept.push('\n');
        }
        if kept.len() == before {
            return Err(NoSuchTemplate {
                template: pattern.clone(),
            });
        }
    }
    Ok(kept)
}

/// The path below the chart, from the first line that names a template.
fn template_of(document: &str) -> Option<&str> {
    document.lines().find_map(|line| {
        let (_, path) = line.split_once("# Source: ")?;
        let (chart, path) = path.split_once('/')?;
        (!chart.is_empty() && !path.is_empty()).then_some(path)
    })
}
