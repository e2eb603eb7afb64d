//! Reading fields of objects whose type does not matter here.

use kube::{ResourceExt, api::DynamicObject};
use serde_json::Value;

/// A condition as far as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConditionView<'a> {
    /// Its type.
    pub kind: &'a str,
    /// `True`, `False` or `Unknown`.
    pub status: &'a str,
    /// Its reason.
    pub reason: &'a str,
    /// Its message.
    pub message: &'a str,
    /// When the status changed.
    pub since: &'a str,
    /// Generation that it is about; 0 when it does not say.
    pub observed_generation: i64,
}

/// The text at a JSON pointer below the object (not its metadata); empty when it is not there.
pub fn text<'a>(object: &'a DynamicObject, pointer: &str) -> &'a str {
    object.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a JSON pointer; 0 when it is not there.
pub fn number(object: &DynamicObject, pointer: &str) -> i64 {
    object.data.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// Whether the value at a JSON pointer is true.
pub fn flag(object: &DynamicObject, pointer: &str) -> bool {
    object
        .data
        .pointer(pointer)
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

/// The list at a JSON pointer; empty when it is not there.
pub fn list<'a>(object: &'a DynamicObject, pointer: &str) -> &'a [Value] {
    object
        .data
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The text of a field of any value; empty when it is not there.
pub fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// `True` or `False`, as flux prints flags.
pub fn title(flag: bool) -> String {
    if flag { "True" } else { "False" }.to_owned()
}

/// All conditions of an object.
pub fn conditions(object: &DynamicObject) -> Vec<ConditionView<'_>> {
    list(object, "/status/conditions")
        .iter()
        .map(|condition| ConditionView {
            kind: field(condition, "type"),
            status: field(condition, "status"),
            reason: field(condition, "reason"),
            message: field(condition, "message"),
            since: field(condition, "lastTransitionTime"),
            observed_generation: condition
                .get("observedGeneration")
                .and_then(Value::as_i64)
                .unwrap_or_default(),
        })
        .collect()
}

/// One condition of an object.
pub fn condition<'a>(object: &'a DynamicObject, kind: &str) -> Option<ConditionView<'a>> {
    conditions(object).into_iter().find(|condition| condition.kind == kind)
}

/// Status and message of the Ready condition as flux prints them.
pub fn ready(object: &DynamicObject) -> (String, String) {
    match condition(object, nave_crds::conditions::READY) {
        Some(ready) => (ready.status.to_owned(), shorten(ready.message)),
        None => ("False".to_owned(), "waiting to be reconciled".to_owned()),
    }
}

/// Status of a condition; `-` when there is none.
pub fn condition_status(object: &DynamicObject, kind: &str) -> String {
    condition(object, kind)
        .map_or("-", |condition| condition.status)
        .to_owned()
}

/// Cuts every run of 40 to 128 lower-case hex digits to its first eight, as flux does in revisions and messages.
pub fn shorten(text: &str) -> String {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.find(|c| !is_hex(c)).unwrap_or(rest.len());
        if run == 0 {
            let next = rest.find(is_hex).unwrap_or(rest.len());
            out.push_str(&rest[..next]);
            rest = &rest[next..];
            continue;
        }
        // flux's expression takes at most 128 digits at a time and needs no boundary around them.
        let mut digits = &rest[..run];
        while digits.len() >= 40 {
            let (taken, left) = digits.split_at(digits.len().min(128));
            out.push_str(&taken[..8]);
            digits = left;
        }
        out.push_str(digits);
        rest = &rest[run..];
    }
    out
}

/// `namespace/name`, or the name alone where there is no namespace.
pub fn full_name(object: &DynamicObject) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

/// `a=1,b=2`; `<none>` when there are none, as kubectl prints it.
pub fn labels(object: &DynamicObject) -> String {
    let labels: Vec<String> = object
        .labels()
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if labels.is_empty() {
        "<none>".to_owned()
    } else {
        labels.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_cut_to_eight_digits() {
        let sha1 = "a".repeat(40);
        let sha256 = "0123456789abcdef".repeat(4);
        for (text, short) in [
            (format!("main@sha1:{sha1}"), "main@sha1:aaaaaaaa"),
            (
                format!("stored artifact for revision '{sha256}' and {sha1}."),
                "stored artifact for revision '01234567' and aaaaaaaa.",
            ),
            ("v1.2.3".to_owned(), "v1.2.3"),
            ("a".repeat(39), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            ("A".repeat(40), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            (String::new(), ""),
            ("größe".to_owned(), "größe"),
        ] {
            assert_eq!(shorten(&text), short, "{text}");
        }
    }

    #[test]
    fn an_object_without_status_waits() {
        let object: DynamicObject = serde_json::from_value(serde_json::json!({
            "apiVersion": "v1", "kind": "X", "metadata": {"name": "a"}
        }))
        .expect("an object");
        assert_eq!(
            ready(&object),
            ("False".to_owned(), "waiting to be reconciled".to_owned())
        );
        assert_eq!(condition_status(&object, "Connected"), "-");
    }
}
