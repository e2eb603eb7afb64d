//! `${cluster.name}`, `${cluster.labels.<key>}` and `${cluster.variables.<name>}`.
//!
//! They stand inside parsed strings, never in keys, and what they bring is not searched again.
//! `$${cluster.` writes a literal `${cluster.`. Every other `${…}` belongs to someone else and stays.

use serde_json::Value;

use crate::denial::Denial;
use crate::model::Cluster;

/// The strings of a value that depend on the cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holes {
    holes: Vec<Hole>,
}

#[derive(Debug, Clone)]
struct Hole {
    path: Vec<Step>,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Index(usize),
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    Name,
    Label(String),
    Variable(String),
}

/// A `${cluster.…}` that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// It is not closed, or names something else than name, labels and variables.
    #[error(
        "{field} contains {text:?}; expected ${{cluster.name}}, ${{cluster.labels.<key>}} or ${{cluster.variables.<name>}}"
    )]
    Malformed {
        /// Where.
        field: String,
        /// What stands there.
        text: String,
    },
    /// It stands in a key.
    #[error("{field} has the key {key:?}; variables are for values only")]
    InKey {
        /// Where.
        field: String,
        /// The key.
        key: String,
    },
}

const OPEN: &str = "${cluster.";

impl Holes {
    /// Finds the strings of `value` that depend on the cluster; `field` names the value.
    pub fn find(value: &Value, field: &str) -> Result<Holes, VariableError> {
        let mut holes = Vec::new();
        let mut path = Vec::new();
        search(value, field, &mut path, &mut holes)?;
        Ok(Holes { holes })
    }

    /// Whether nothing depends on the cluster.
    pub fn is_empty(&self) -> bool {
        // A hole without variables only undoes an escape.
        self.holes
            .iter()
            .all(|hole| matches!(hole.pieces.as_slice(), [] | [Piece::Text(_)]))
    }

    /// Fills the holes of a copy of the value they were found in.
    pub fn fill(&self, value: &mut Value, field: &str, cluster: &Cluster) -> Result<(), Denial> {
        for hole in &self.holes {
            let mut text = String::new();
            for piece in &hole.pieces {
                let (kind, key, found) = match piece {
                    Piece::Text(piece) => {
                        text.push_str(piece);
                        continue;
                    }
                    Piece::Name => {
                        text.push_str(&cluster.key.name);
                        continue;
                    }
                    Piece::Label(key) => ("labels", key, cluster.labels.get(key)),
                    Piece::Variable(key) => ("variables", key, cluster.variables.get(key)),
                };
                let found = found.ok_or_else(|| Denial::UnknownVariable {
                    field: name_of(field, &hole.path),
                    variable: format!("cluster.{kind}.{key}"),
                    cluster: cluster.key.to_string(),
                })?;
                text.push_str(found);
            }
            let mut place = &mut *value;
            for step in &hole.path {
                place = match step {
                    Step::Key(key) => &mut place[key.as_str()],
                    Step::Index(index) => &mut place[*index],
                };
            }
            *place = Value::String(text);
        }
        Ok(())
    }
}

fn search(value: &Value, field: &str, path: &mut Vec<Step>, holes: &mut Vec<Hole>) -> Result<(), VariableError> {
    match value {
        Value::String(text) if text.contains(OPEN) => {
            let pieces = parse(text).map_err(|text| VariableError::Malformed {
                field: name_of(field, path),
                text,
            })?;
            holes.push(Hole {
                path: path.clone(),
                pieces,
            });
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                search(item, field, path, holes)?;
                path.pop();
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                if key.contains(OPEN) {
                    return Err(VariableError::InKey {
                        field: name_of(field, path),
                        key: key.clone(),
                    });
                }
                path.push(Step::Key(key.clone()));
                search(item, field, path, holes)?;
                path.pop();
            }
        }
        _ => {}
    }
    Ok(())
}

/// The pieces of a text, or the part that cannot be read.
fn parse(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(OPEN) {
        let (before, from) = rest.split_at(start);
        if let Some(before) = before.strip_suffix('$') {
            literal.push_str(before);
            literal.push_str(OPEN);
            rest = &from[OPEN.len()..];
            continue;
        }
        literal.push_str(before);
        let bad = || from.chars().take(80).collect::<String>();
        let end = from.find('}').ok_or_else(bad)?;
        let inner = &from[OPEN.len()..end];
        let piece = if inner == "name" {
            Piece::Name
        } else if let Some(key) = inner.strip_prefix("labels.").filter(|key| is_key(key)) {
            Piece::Label(key.to_owned())
        } else if let Some(key) = inner.strip_prefix("variables.").filter(|key| is_key(key)) {
            Piece::Variable(key.to_owned())
        } else {
            return Err(bad());
        };
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        pieces.push(piece);
        rest = &from[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

/// Whether this can be the key of a label or the name of a variable. It keeps defaults and other
/// operators of shells, which are not ours, from being taken for names.
fn is_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
}

/// A path as people write it: `spec.template.spec.images[0].name`.
fn name_of(field: &str, path: &[Step]) -> String {
    let mut name = field.to_owned();
    for step in path {
        match step {
            Step::Key(key) => {
                name.push('.');
                name.push_str(key);
            }
            Step::Index(index) => name.push_str(&format!("[{index}]")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClusterKey;
    use serde_json::json;

    fn cluster() -> Cluster {
        let mut cluster = Cluster::new(ClusterKey::new("platform", "eu-1"));
        cluster.labels.insert("env".into(), "prod".into());
        cluster.labels.insert("topology.kubernetes.io/zone".into(), "a".into());
        cluster.variables.insert("recursive".into(), "${cluster.name}".into());
        cluster
    }

    fn check(text: &str, want: Result<&str, &str>) {
        let mut value = json!({"path": [text]});
        let result = match Holes::find(&value, "spec") {
            Ok(holes) => holes
                .fill(&mut value, "spec", &cluster())
                .map(|()| value["path"][0].as_str().expect("text").to_owned())
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(result, want.map(str::to_owned).map_err(str::to_owned), "{text}");
    }

    #[test]
    fn variables_stand_for_the_cluster_at_hand() {
        check("./clusters/${cluster.name}", Ok("./clusters/eu-1"));
        check(
            "${cluster.labels.env}-${cluster.labels.topology.kubernetes.io/zone}",
            Ok("prod-a"),
        );
        check("${other} $x ${cluster}", Ok("${other} $x ${cluster}"));
        check("$${cluster.name}", Ok("${cluster.name}"));
        check("$${cluster.name} ${cluster.name}", Ok("${cluster.name} eu-1"));
    }

    #[test]
    fn what_a_variable_brings_is_not_searched_again() {
        check("${cluster.variables.recursive}", Ok("${cluster.name}"));
    }

    #[test]
    fn unknown_names_fail_closed() {
        check(
            "${cluster.labels.nope}",
            Err("spec.path[0] uses ${cluster.labels.nope}, which cluster platform/eu-1 does not have"),
        );
        for text in [
            "${cluster.}",
            "${cluster.uid}",
            "${cluster.labels.}",
            "${cluster.name",
            "${cluster.labels.env:-x}",
            "${cluster.variables.${cluster.name}}",
        ] {
            let value = json!(text);
            assert!(Holes::find(&value, "spec").is_err(), "{text}");
        }
    }

    #[test]
    fn keys_hold_no_variables() {
        let value = json!({"a": {"${cluster.name}": 1}});
        let error = Holes::find(&value, "spec").expect_err("refused");
        assert_eq!(
            error.to_string(),
            "spec.a has the key \"${cluster.name}\"; variables are for values only"
        );
    }
}
