//! Documents that a schema refers to.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jsonschema::{Retrieve, Uri};
use serde_json::Value;

use crate::SchemaDocuments;

/// Documents that one schema may refer to, directly or through others.
const MAX_DOCUMENTS: usize = 64;

/// Who follows references that lead out of one schema.
pub(super) struct Outside {
    documents: Option<Arc<dyn SchemaDocuments>>,
    asked: AtomicUsize,
}

impl Outside {
    /// `documents` are asked; without them nothing is followed.
    pub(super) fn new(documents: Option<Arc<dyn SchemaDocuments>>) -> Outside {
        Outside {
            documents,
            asked: AtomicUsize::new(0),
        }
    }
}

impl Retrieve for Outside {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        match uri.scheme().as_str() {
            // Helm takes a name that nobody resolves for a schema that everything fits.
            "urn" => return Ok(Value::Bool(true)),
            "http" | "https" => {}
            _ => return Err("only documents of http and https addresses are read".into()),
        }
        let Some(documents) = &self.documents else {
            return Err("references to other documents are not followed".into());
        };
        if self.asked.fetch_add(1, Ordering::Relaxed) >= MAX_DOCUMENTS {
            return Err(format!("a schema may refer to {MAX_DOCUMENTS} other documents").into());
        }
        Ok(serde_json::from_slice(&documents.document(uri.as_str())?)?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{File, LoadLimits, LookupError, load_files};

    /// A server whose documents each refer to the next, but for `labels`.
    struct Server;

    impl SchemaDocuments for Server {
        fn document(&self, url: &str) -> Result<Vec<u8>, LookupError> {
            match url.strip_prefix("https://example.com/") {
                Some("labels.json") => {
                    Ok(br#"{"definitions": {"labels": {"additionalProperties": {"type": "string"}}}}"#.to_vec())
                }
                Some("broken.json") => Ok(b"<html>".to_vec()),
                Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                    let next = format!("https://example.com/{number}1");
                    Ok(json!({"$ref": next}).to_string().into_bytes())
                }
                _ => Err(LookupError::new("status 404")),
            }
        }
    }

    fn check_reference(reference: &str, documents: Option<Arc<dyn SchemaDocuments>>, wanted: &str) {
        let schema = json!({"properties": {"labels": {"$ref": reference}}}).to_string();
        let files = [
            File::new("Chart.yaml", &b"apiVersion: v2\nname: web\nversion: 1.0.0\n"[..]),
            File::new("values.schema.json", schema.into_bytes()),
        ];
        let chart = load_files(files, &LoadLimits::default()).unwrap();
        let problem = super::super::check(&chart, &json!({"labels": {"a": 1}}), documents.as_ref()).unwrap_err();
        assert!(problem.starts_with(&format!("web:\n{wanted}")), "{problem}");
    }

    #[test]
    fn documents_elsewhere_are_read_by_whom_the_caller_gives() {
        let labels = "https://example.com/labels.json#/definitions/labels";
        let server = || Some(Arc::new(Server) as Arc<dyn SchemaDocuments>);
        check_reference(labels, server(), "- at '/labels/a': got number, want string\n");
        let loading = |name: &str, why: &str| format!("failing loading \"https://example.com/{name}\": {why}");
        check_reference(
            labels,
            None,
            &loading("labels.json", "references to other documents are not followed"),
        );
        check_reference(
            "https://example.com/none.json",
            server(),
            &loading("none.json", "status 404"),
        );
        check_reference(
            "https://example.com/broken.json",
            server(),
            &loading("broken.json", "expected value"),
        );
        check_reference(
            "https://example.com/1",
            server(),
            "failing loading \"https://example.com/1111",
        );
        check_reference(
            "file:///etc/passwd",
            server(),
            "failing loading \"file:///etc/passwd\": only documents",
        );
    }
}
