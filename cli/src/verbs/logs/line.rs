//! One line of a log: read, selected, shown.

use std::fmt;

use serde_json::Value;

/// What `--level` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Level {
    /// For whoever looks for a fault
    Debug,
    /// What happened
    Info,
    /// What may become a fault
    Warn,
    /// What failed
    Error,
}

/// A line as controllers write it in JSON, Flux's and ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    time: String,
    level: String,
    kind: String,
    name: String,
    namespace: String,
    message: String,
    error: String,
}

/// Which lines are shown.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this level alone.
    pub level: Option<Level>,
    /// About this kind, in any case.
    pub kind: Option<String>,
    /// About this name.
    pub name: Option<String>,
    /// About objects of this namespace; none for all, and for lines about no object.
    pub namespace: Option<String>,
}

impl Line {
    /// None for what is no JSON object.
    pub fn parse(text: &str) -> Option<Line> {
        let value: Value = serde_json::from_str(text.trim()).ok()?;
        let object = value.as_object()?;
        let field = |names: &[&str]| {
            let found = names.iter().find_map(|name| object.get(*name)?.as_str());
            crate::table::one_line(found.unwrap_or_default())
        };
        Some(Line {
            time: field(&["ts", "timestamp"]),
            level: field(&["level"]).to_lowercase(),
            kind: field(&["reconciler kind", "controllerKind"]),
            name: field(&["name"]),
            namespace: field(&["namespace"]),
            message: field(&["msg", "message"]),
            error: field(&["error"]),
        })
    }
}

impl Filter {
    /// Whether a line is shown.
    pub fn selects(&self, line: &Line) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(found))
        };
        self.level.is_none_or(|level| level.word() == line.level)
            && is(&self.kind, &line.kind)
            && is(&self.name, &line.name)
            && is(&self.namespace, &line.namespace)
    }
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.time, self.level, self.kind)?;
        if !self.name.is_empty() {
            write!(f, "/{}.{}", self.name, self.namespace)?;
        }
        write!(f, " - {} {}", self.message, self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUX: &str = r#"{"level":"error","ts":"2026-11-21T07:00:00.000Z","msg":"Reconciliation failed","controller":"kustomization","controllerKind":"Kustomization","name":"apps","namespace":"team","error":"build\nfailed"}"#;

    #[test]
    fn lines_are_shown_as_with_flux() {
        let check = |text: &str, shown: Option<&str>| {
            let found = Line::parse(text).map(|line| line.to_string());
            assert_eq!(found.as_deref(), shown, "{text}");
        };
        check(
            FLUX,
            Some("2026-11-21T07:00:00.000Z error Kustomization/apps.team - Reconciliation failed build failed"),
        );
        check(
            r#"{"level":"info","ts":"t","msg":"starting"}"#,
            Some("t info  - starting "),
        );
        check("panicked at src/main.rs", None);
        check("[1]", None);
    }

    #[test]
    fn lines_are_selected_by_what_they_are_about() {
        let line = Line::parse(FLUX).expect("JSON");
        let text = |text: &str| Some(text.to_owned());
        let check = |filter: Filter, selected: bool| assert_eq!(filter.selects(&line), selected, "{filter:?}");
        check(Filter::default(), true);
        check(
            Filter {
                level: Some(Level::Error),
                ..Filter::default()
            },
            true,
        );
        check(
            Filter {
                level: Some(Level::Info),
                ..Filter::default()
            },
            false,
        );
        check(
            Filter {
                kind: text("kustomization"),
                name: text("apps"),
                ..Filter::default()
            },
            true,
        );
        check(
            Filter {
                name: text("other"),
                ..Filter::default()
            },
            false,
        );
        check(
            Filter {
                namespace: text("team"),
                ..Filter::default()
            },
            true,
        );
        check(
            Filter {
                namespace: text("flux-system"),
                ..Filter::default()
            },
            false,
        );
    }
}
