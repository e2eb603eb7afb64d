//! Names and values, with those that look like something else.

use super::Choices;
use super::write::{Y, s};

/// Scalars that tools of YAML disagree about, as they are written.
const ODD: &[&str] = &[
    "plain",
    "yes",
    "on",
    "n",
    "Off",
    "\"yes\"",
    "'no'",
    "true",
    "\"true\"",
    "TRUE",
    "'1'",
    "\"1\"",
    "1",
    "01",
    "0o7",
    "0644",
    "0x1F",
    "0b11",
    "1_000",
    "1e3",
    "\"1e3\"",
    "1.0",
    "1.50",
    "-0.5",
    ".5",
    "1.",
    "+1",
    "-0",
    "1e400",
    "'.inf'",
    "\"~\"",
    "null",
    "~",
    "",
    "\"\"",
    "''",
    "2001-01-01",
    "2001-01-01T10:00:00Z",
    "\"2001-01-01\"",
    "1:30",
    "'1:30'",
    "!!str 5",
    "!!str yes",
    "!!int \"7\"",
    "=",
    "'='",
    "<",
    "\"<<\"",
    "'a: b'",
    "\"# no comment\"",
    "'it''s'",
    "\"tab\\there\"",
    "\"line\\nbreak\"",
    "\"\\u00e9\\u2028\"",
    "\u{e9}t\u{e9}",
    "\u{1f600}",
    "' lead'",
    "\"trail \"",
    "'-'",
    "\"- a\"",
    "'?'",
    "'@at'",
    "\"%pct\"",
    "'*star'",
    "\"&and\"",
    "'!bang'",
    "\"{}\"",
    "'[]'",
    "'{a: b}'",
    "\"[1, 2]\"",
    "$(VAR)",
    "\"$(VAR)-x\"",
    "$$(VAR)",
    "12345678901234567890",
    "1234567890123456789",
    "0.1",
    "1e-7",
    "123456789012345680000000.0",
    "a-very-long-text that goes on and on beyond eighty columns so that a writer which folds lines has to fold it",
    "'a quoted very long text: that goes on and on beyond eighty columns so that a writer which folds has to'",
    "nginx:1.25",
    "/path/to/x",
    "key=value",
    "x,y",
    "100m",
    "1Gi",
    "50%",
    "\"50%\"",
    "http://x.example/a?b=c&d=<e>",
    "\"multi\\nline\\n\"",
    "\"  \\n\"",
    "y",
    "Y",
    "NO",
    "0",
    "00",
    "0.0",
    "-1",
    "a#b",
    "a #b",
    "'\"'",
    "\"'\"",
    "\\",
];

/// Texts in quotes where they look like something else: values of labels, annotations and data.
const TEXTS: &[&str] = &[
    "web",
    "\"1\"",
    "'true'",
    "v1.2",
    "\"on\"",
    "\"\"",
    "a-b_c",
    "'2001-01-01'",
    "\"null\"",
    "x",
    "\"1e3\"",
    "\"0x10\"",
    "~x",
    "\"~\"",
    "\"0644\"",
    "'1_000'",
    "1:30",
    "\"yes\"",
];

pub(super) const NAMES: &[&str] = &["web", "db", "cfg", "api", "cache", "a.b", "x-1"];
pub(super) const NAMESPACES: &[&str] = &["default", "apps", "ns1", "kube-system", "\"1\"", "prod"];
pub(super) const IMAGES: &[&str] = &[
    "nginx",
    "nginx:1.25",
    "redis:6",
    "reg.io:5000/a/b:v1",
    "nginx@sha256:24a0c4b4a4c0eb97a1aabb8e29f18e917d05abfe1b7a7c07857230879ce7d3d3",
    "a/nginx:latest",
    "redis",
    "nginx:1.25@sha256:24a0c4b4a4c0eb97a1aabb8e29f18e917d05abfe1b7a7c07857230879ce7d3d3",
    "\"\"",
    "\"nginx:\"",
    "$(VAR)",
];
pub(super) const KEYS: &[&str] = &["app", "tier", "example.com/part", "x.y/z", "a_b"];
/// Keys that look like something else, of which some are more than the reference can bear.
pub(super) const ODD_KEYS: &[&str] = &["\"on\"", "\"1\"", "'y'", "\"true\"", "\"2001-01-01\"", "\"a b\""];

/// Any scalar, or a block of lines.
pub(super) fn odd(c: &mut Choices<'_>) -> Y {
    match c.below(12) {
        0 | 1 => s("plain"),
        2 => block(c),
        _ => s(c.pick(ODD)),
    }
}

/// A text.
pub(super) fn text(c: &mut Choices<'_>) -> Y {
    s(c.pick(TEXTS))
}

/// A block scalar.
pub(super) fn block(c: &mut Choices<'_>) -> Y {
    let header = c.pick(&["|", "|-", "|+", ">", ">-", ">+"]);
    let lines = (0..1 + c.below(4))
        .map(|_| {
            c.pick(&[
                "first line",
                "a: 1",
                "- item",
                "",
                "  indented",
                "# hash",
                "trailing ",
                "key=value",
                "\tx",
                "a rather long line of text in a block that goes on beyond the eighty columns of a terminal",
                "\"quoted\"",
                "$(VAR)",
                "\u{e9}",
            ])
            .to_owned()
        })
        .collect::<Vec<_>>();
    // A first line that is indented would set the indentation of the block.
    let mut lines = lines;
    if lines[0].is_empty() || lines[0].starts_with([' ', '\t']) {
        lines[0] = "start".to_owned();
    }
    Y::B(header, lines)
}
