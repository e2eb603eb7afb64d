//! What the fuzz target runs: bytes in, a render, and nothing that panics or runs away.

use nave_gotemplate::{Limits, Session, Templates, Value};

use crate::functions;

thread_local! {
    static BASE: Templates = {
        let mut templates = Templates::new("set", functions::all());
        templates.parse("partial", br#"{{define "p"}}<{{.}}>{{end}}"#).expect("parses");
        templates
    };
}

/// Parses and renders `bytes` with some data, within small limits.
pub fn template(bytes: &[u8]) {
    let mut templates = BASE.with(Templates::clone);
    if let Err(error) = templates.parse("fuzz", bytes) {
        assert!(error.to_string().starts_with("template: fuzz:"), "{error}");
        return;
    }
    let data = serde_json::json!({
        "name": "demo", "n": 3, "t": true, "nil": null, "list": ["a", "b", 1, null],
        "map": { "a": 1, "c": { "d": "deep" } }, "text": "{{.name}}",
    });
    let limits = Limits {
        fuel: 20_000,
        bytes: 1 << 20,
        depth: 100,
    };
    let mut session = Session::new(limits);
    let result = templates.execute(&mut session, "fuzz", Value::from_json(&data));
    match result {
        Ok(text) => assert!(text.len() <= 1 << 20, "more text than bytes charged"),
        Err(error) => assert!(error.to_string().len() < 1 << 20, "an error longer than any text"),
    }
}
