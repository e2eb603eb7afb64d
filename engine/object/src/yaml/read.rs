//! Text to JSON documents and to Kubernetes objects.

use serde_json::Value;

use super::{Dialect, YamlError, parse_nodes};
use crate::object::{Object, ObjectError};

/// Why a file holds no Kubernetes objects.
#[derive(Debug, thiserror::Error)]
pub enum ReadObjectsError {
    /// The file is no YAML.
    #[error("{origin}: reading YAML")]
    Yaml {
        /// Name of the file.
        origin: String,
        /// What and where.
        #[source]
        source: YamlError,
    },
    /// A document is YAML, but no object.
    #[error("{origin}: document {document} (line {line})")]
    Object {
        /// Name of the file.
        origin: String,
        /// Place of the document in the file, from 1, empty ones not counted.
        document: usize,
        /// The first line of the document.
        line: usize,
        /// What is missing.
        #[source]
        source: ObjectError,
    },
}

/// The documents of a text as JSON; empty documents and null are left out.
///
/// # Errors
/// Broken YAML and what JSON cannot express, with the line.
pub fn read_documents(text: &str, dialect: Dialect) -> Result<Vec<Value>, YamlError> {
    parse_nodes(text, dialect)?
        .iter()
        .map(|node| node.to_value(dialect))
        .collect()
}

/// The Kubernetes objects of a text; `List` kinds are replaced by their items.
///
/// `origin` names the file in errors. Read with [`Dialect::K8s`], as Flux and kubectl do.
///
/// # Errors
/// Broken YAML, and documents without `apiVersion`, `kind` or `metadata.name`.
pub fn read_objects(text: &str, origin: &str) -> Result<Vec<Object>, ReadObjectsError> {
    let yaml = |source| ReadObjectsError::Yaml {
        origin: origin.to_owned(),
        source,
    };
    let mut objects = Vec::new();
    for (index, node) in parse_nodes(text, Dialect::K8s).map_err(yaml)?.into_iter().enumerate() {
        let value = node.to_value(Dialect::K8s).map_err(yaml)?;
        collect(value, &mut objects).map_err(|source| ReadObjectsError::Object {
            origin: origin.to_owned(),
            document: index + 1,
            line: node.line() as usize,
            source,
        })?;
    }
    Ok(objects)
}

fn collect(mut value: Value, into: &mut Vec<Object>) -> Result<(), ObjectError> {
    if value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"))
        && let Some(Value::Array(items)) = value.get_mut("items").map(Value::take)
    {
        return items.into_iter().try_for_each(|item| collect(item, into));
    }
    into.push(Object::from_value(value)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_expanded_and_empty_documents_skipped() {
        let text = "---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n\
            - {apiVersion: v1, kind: Secret, metadata: {name: a}}\n\
            - {apiVersion: v1, kind: Secret, metadata: {name: b}}\n---\n\
            apiVersion: v1\nkind: Secret\nmetadata: {name: c}\n";
        let names: Vec<_> = read_objects(text, "x.yaml")
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["Secret/a", "Secret/b", "Secret/c"]);
    }

    #[test]
    fn errors_name_file_document_and_line() {
        let error = read_objects("a: 1\n---\n\nkind: Secret\n", "x.yaml").unwrap_err();
        assert_eq!(error.to_string(), "x.yaml: document 1 (line 1)");
        let error = read_objects(
            "apiVersion: v1\nkind: A\nmetadata: {name: b}\n---\n\nkind: [\n",
            "x.yaml",
        )
        .unwrap_err();
        let source = std::error::Error::source(&error).expect("has a source").to_string();
        assert!(source.starts_with("line "), "{source}");
    }

    #[test]
    fn dialects_differ_where_go_does() {
        let text = "y: on\nmode: 0644\nnum: 0888\nf: 1e3\nbig: 1_000\ndate: 2001-01-01\nt: 1:30\n";
        assert_eq!(
            read_documents(text, Dialect::K8s),
            Ok(vec![
                json!({"true": true, "mode": 420, "num": 888, "f": 1000, "big": 1000,
                "date": "2001-01-01", "t": "1:30"})
            ]),
        );
        assert_eq!(
            read_documents(text, Dialect::Kyaml),
            Ok(vec![json!({"y": "on", "mode": 420, "num": 888, "f": 1000, "big": 1000,
                "date": "2001-01-01T00:00:00Z", "t": "1:30"})]),
        );
    }

    #[test]
    fn equal_keys_and_merges() {
        let twice = "a: 1\na: 2\n";
        assert_eq!(read_documents(twice, Dialect::K8s), Ok(vec![json!({"a": 2})]));
        assert_eq!(
            read_documents(twice, Dialect::Kyaml).unwrap_err().to_string(),
            "line 2: the key `a` is already on line 1"
        );
        let merge = "b: &b {x: 1, y: 2}\nc:\n  x: 3\n  <<: *b\n";
        let read = |dialect| read_documents(merge, dialect).unwrap()[0]["c"].clone();
        assert_eq!(read(Dialect::K8s), json!({"x": 1, "true": 2}));
        assert_eq!(read(Dialect::Kyaml), json!({"x": 3, "y": 2}));
    }

    #[test]
    fn bad_documents_are_refused_with_their_line() {
        for text in [
            "a: .inf\n",
            "a: &a [*a]\n",
            "? {a: b}\n: c\n",
            "~: 1\n",
            "a: !!int x\n",
            "a: *nobody\n",
            "a: [1\n",
            "a: \t- b\n  c\n",
        ] {
            let error = read_documents(text, Dialect::K8s).expect_err(text);
            assert!(error.line > 0, "{text}: {error}");
        }
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = level - 1;
            let items = vec![format!("*a{below}"); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        for dialect in [Dialect::K8s, Dialect::Kyaml] {
            let error = read_documents(&text, dialect).unwrap_err();
            assert!(error.problem.contains("aliases"), "{error}");
        }
    }
}
