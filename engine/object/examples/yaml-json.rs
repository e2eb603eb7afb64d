//! Reads a JSON list of YAML texts from stdin and prints, for each, what `sigs.k8s.io/yaml` would:
//! `{"json":…,"yaml":…}` or `{"error":…}`, one JSON line each. The other half of a comparison with Go.

use std::io::Read;

use nave_object::yaml::{Dialect, read_documents, write};
use serde_json::{Value, json};

fn main() {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).expect("stdin is readable");
    let texts: Vec<String> = serde_json::from_str(&input).expect("stdin is a JSON list of texts");
    for text in texts {
        let line = match read_documents(&text, Dialect::K8s) {
            Ok(documents) => {
                let value = documents.into_iter().next().unwrap_or(Value::Null);
                json!({"json": value.to_string(), "yaml": write(&value)})
            }
            Err(error) => json!({"error": error.to_string()}),
        };
        println!("{line}");
    }
}
