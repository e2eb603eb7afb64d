//! JSON as Go's `encoding/json` writes it.

use std::io;

use nave_object::yaml::format_float_json;
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// Go escapes what HTML and JavaScript would take for their own, and prints floats in its own way.
struct Go;

impl Formatter for Go {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(format_float_json(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut from = 0;
        for (at, found) in fragment.char_indices() {
            let escaped = match found {
                '<' => "\\u003c",
                '>' => "\\u003e",
                '&' => "\\u0026",
                '\u{2028}' => "\\u2028",
                '\u{2029}' => "\\u2029",
                _ => continue,
            };
            writer.write_all(&fragment.as_bytes()[from..at])?;
            writer.write_all(escaped.as_bytes())?;
            from = at + found.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[from..])
    }

    fn write_char_escape<W: ?Sized + io::Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        let text: &[u8] = match escape {
            CharEscape::Quote => b"\\\"",
            CharEscape::ReverseSolidus | CharEscape::Solidus => b"\\\\",
            CharEscape::Backspace => b"\\b",
            CharEscape::FormFeed => b"\\f",
            CharEscape::LineFeed => b"\\n",
            CharEscape::CarriageReturn => b"\\r",
            CharEscape::Tab => b"\\t",
            CharEscape::AsciiControl(byte) => return write!(writer, "\\u{byte:04x}"),
        };
        writer.write_all(text)
    }
}

/// Writes a value as `json.Marshal` does: fields in their order, keys of maps sorted.
///
/// # Errors
/// Those of the writer.
pub fn write(writer: impl io::Write, value: &impl Serialize) -> io::Result<()> {
    let mut serializer = Serializer::with_formatter(writer, Go);
    value.serialize(&mut serializer).map_err(io::Error::from)
}

/// [`write`] into a text.
pub fn to_string(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes, value).expect("JSON values can always be written to memory");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_and_numbers_are_go_s() {
        // Right-hand sides are what Go 1.26's json.Marshal prints.
        for (value, wanted) in [
            (json!("<a & b>"), r#""\u003ca \u0026 b\u003e""#),
            (json!("\u{2028}x\u{2029}"), r#""\u2028x\u2029""#),
            (json!("\u{1}\n\t\r\u{8}\u{c}\"\\/ü"), r#""\u0001\n\t\r\b\f\"\\/ü""#),
            (json!(1.0), "1"),
            (json!(0.25), "0.25"),
            (json!(1e20), "100000000000000000000"),
            (json!(1e21), "1e+21"),
            (json!(1e-6), "0.000001"),
            (json!(1e-7), "1e-7"),
            (json!(-0.5), "-0.5"),
            (json!({"b": 1, "a": [null, true]}), r#"{"a":[null,true],"b":1}"#),
        ] {
            assert_eq!(to_string(&value), wanted);
        }
    }
}
