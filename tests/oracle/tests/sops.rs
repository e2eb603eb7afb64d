//! Random files that the reference encrypts come out of ours as out of the reference.
//!
//! `NAVE_RANDOM_CASES` and `NAVE_RANDOM_SEED` say how many files of each format and from which seed. Where the reference
//! cannot be built, the test is skipped, but not in CI.

use nave_oracle::{Sops, SopsQuestion};
use nave_sops::{Answers, Format, Keys, Mac, Step, decrypt};

const CASES: u64 = 400;
/// Failures that are shown.
const SHOWN: usize = 4;

fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse()
        .unwrap_or_else(|error| panic!("{name} is `{text}`, which is no number: {error}"))
}

/// Choices that are the same wherever they are made (SplitMix64).
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[usize::try_from(self.below(list.len() as u64)).expect("lists are short")]
    }
}

const SCALARS: &[&str] = &[
    "text",
    "two words",
    "1",
    "-7",
    "0",
    "1.5",
    "-0.25",
    "1e3",
    "1.0e+10",
    "2.0",
    "0x1F",
    "0o17",
    "017",
    "1_000",
    "9007199254740993",
    "true",
    "false",
    "null",
    "~",
    "''",
    "\"\"",
    "'single'",
    "'it''s'",
    "\"quoted\"",
    "\"a: b\"",
    "\"a #b\"",
    "\"#x\"",
    "\"- a\"",
    "\"line1\\nline2\"",
    "\"line1\\nline2\\n\"",
    "\"a\\n\\n\"",
    "\"\\n\"",
    "\" lead\"",
    "\"trail \"",
    "\" lead\\nx\"",
    "\"x \\ny\"",
    "\"tab\\there\"",
    "\"a\\r\"",
    "\"\\u0001\"",
    "é",
    "日本",
    "\"😀\"",
    "\"yes\"",
    "on",
    "\"1:30\"",
    "1:30",
    "2024-01-15",
    "2024-01-15T10:20:30Z",
    "2024-01-15T10:20:30.5+02:00",
    "\"2024-01-15\"",
    "\"007\"",
    "007",
    ".inf",
    "-.inf",
    "\"true\"",
    "\"null\"",
    "\"1\"",
    "!!str 5",
    "http://x/y?a=b#c",
    "a:b",
    "{}",
    "[]",
    "[1, two]",
    "{a: 1}",
    "*",
    "\"*\"",
    "'%x'",
    "\"@x\"",
    "\"`x\"",
    "\"...\"",
    "\"---\"",
    "\"=\"",
    "\"<<\"",
    "\"\\\"q\\\"\"",
    "\"back\\\\slash\"",
    "\"\\u2028\"",
    "\"\\ufeffx\"",
    "\"\\u00a0\"",
];

/// A document with comments in all places where people put them.
struct Yaml<'a> {
    choices: &'a mut Choices,
    out: String,
    names: u32,
}

impl Yaml<'_> {
    fn blanks(&mut self) {
        if self.choices.one_in(6) {
            self.out.push('\n');
        }
    }

    fn comments(&mut self, indent: usize, often: u64) {
        self.blanks();
        while self.choices.one_in(often) {
            self.names += 1;
            let text = self
                .choices
                .of(&["# about", "#", "#tight", "#  wide ", "## twice", "# secret: x"]);
            let number = if text == "#" {
                String::new()
            } else {
                self.names.to_string()
            };
            self.out.push_str(&format!("{}{text}{number}\n", " ".repeat(indent)));
            self.blanks();
        }
    }

    fn key(&mut self) -> String {
        self.names += 1;
        let name = self.choices.of(&[
            "k",
            "secret",
            "data",
            "x_unencrypted",
            "\"with: colon\"",
            "plain key",
            "日本",
            "'q'",
        ]);
        match name.strip_suffix(['"', '\'']) {
            Some(open) => format!("{open}{}{}", self.names, &name[name.len() - 1..]),
            None => format!("{name}{}", self.names),
        }
    }

    /// The end of the line behind a scalar.
    fn end(&mut self) {
        if self.choices.one_in(8) {
            self.names += 1;
            self.out.push_str(&format!(" # line {}", self.names));
        }
        self.out.push('\n');
    }

    fn value(&mut self, indent: usize, depth: usize) {
        let step = if self.choices.one_in(3) { 4 } else { 2 };
        match self.choices.below(if depth == 0 { 7 } else { 11 }) {
            0 => {
                self.out.push_str(" |");
                self.out.push_str(self.choices.of(&["", "-", "+"]));
                self.out.push('\n');
                for _ in 0..=self.choices.below(3) {
                    let line = self.choices.of(&["a", "b c", "# no comment", "é", "  deeper"]);
                    self.out.push_str(&format!("{}x{line}\n", " ".repeat(indent + step)));
                    self.blanks();
                }
            }
            1..=6 => {
                let scalar = self.choices.of(SCALARS);
                self.out
                    .push_str(&format!(" {}", if scalar == "*" { "star" } else { scalar }));
                self.end();
            }
            7 | 8 => {
                self.end();
                self.map(indent + step, depth - 1);
            }
            _ => {
                self.end();
                let indent = if self.choices.one_in(2) { indent } else { indent + step };
                self.list(indent, depth - 1);
            }
        }
    }

    fn map(&mut self, indent: usize, depth: usize) {
        for _ in 0..=self.choices.below(4) {
            self.comments(indent, 4);
            let key = self.key();
            self.out.push_str(&format!("{}{key}:", " ".repeat(indent)));
            self.value(indent, depth);
        }
        self.comments(indent, 5);
    }

    fn list(&mut self, indent: usize, depth: usize) {
        for _ in 0..=self.choices.below(3) {
            self.comments(indent, 5);
            self.out.push_str(&format!("{}-", " ".repeat(indent)));
            if depth > 0 && self.choices.one_in(3) {
                let key = self.key();
                self.out.push_str(&format!(" {key}:"));
                self.value(indent + 2, depth - 1);
                if self.choices.one_in(2) {
                    self.map(indent + 2, depth - 1);
                }
            } else {
                let scalar = self.choices.of(SCALARS);
                self.out
                    .push_str(&format!(" {}", if scalar == "*" { "star" } else { scalar }));
                self.end();
            }
        }
        self.comments(indent, 6);
    }
}

fn yaml(choices: &mut Choices) -> String {
    let mut yaml = Yaml {
        choices,
        out: String::new(),
        names: 0,
    };
    yaml.map(0, 3);
    while yaml.choices.one_in(5) {
        yaml.out.push_str("---\n");
        yaml.map(0, 2);
    }
    yaml.out
}

fn json(choices: &mut Choices, depth: usize) -> String {
    match choices.below(if depth == 0 { 6 } else { 9 }) {
        0 => "null".to_owned(),
        1 => choices.of(&["true", "false"]).to_owned(),
        2 | 3 => choices
            .of(&[
                "0",
                "-0",
                "1",
                "1.5",
                "1e21",
                "1E-7",
                "123456789012345678901234567890",
                "-7.25",
                "0.1",
            ])
            .to_owned(),
        4 | 5 => choices
            .of(&[
                "\"\"",
                "\"x\"",
                "\"<&>\"",
                "\"\\u2028 \\n\\t\\\"\\\\/\"",
                "\"é😀\"",
                "\"\\ud83d\\ude00\"",
                "\"\\ud83d\"",
            ])
            .to_owned(),
        6 => {
            let items: Vec<String> = (0..choices.below(4)).map(|_| json(choices, depth - 1)).collect();
            format!("[{}]", items.join(", "))
        }
        _ => {
            let fields: Vec<String> = (0..choices.below(4))
                .map(|place| {
                    format!(
                        "\"{}{place}\": {}",
                        choices.of(&["a", "b<", "x_unencrypted", "é"]),
                        json(choices, depth - 1)
                    )
                })
                .collect();
            format!("{{{}}}", fields.join(","))
        }
    }
}

fn lines(choices: &mut Choices, ini: bool) -> String {
    let mut out = String::new();
    for place in 0..=choices.below(8) {
        if ini && choices.one_in(3) {
            if choices.one_in(3) {
                out.push_str("; about the section\n");
            }
            out.push_str(&format!("[section {place}]\n"));
        }
        if choices.one_in(4) {
            out.push_str(choices.of(if ini {
                &["# note\n", "; two\n; lines\n"]
            } else {
                &["# note\n", "#\n", "#tight\n"]
            }));
        }
        let value = choices.of(&["", "1", "a b", "a=b", "\"quoted\"", "'x'", "a\\nb", "true", "é"]);
        let value = match (ini, choices.one_in(4)) {
            (true, true) => choices.of(&["`a ; b`", "`a # b`", "x ; behind", "\" sp \"", "\"\"\"a\nb\"\"\""]),
            _ => value,
        };
        let equals = if ini { " = " } else { "=" };
        out.push_str(&format!(
            "{}_{place}{equals}{value}\n",
            choices.of(&["A", "b", "LONGER_NAME", "x_unencrypted"])
        ));
    }
    out
}

fn question(format: &'static str, seed: u64) -> SopsQuestion {
    let mut choices = Choices(seed);
    let (rule, value) = match choices.below(12) {
        0 => ("encrypted_regex", "^(secret|data)"),
        1 => ("unencrypted_regex", "^(k|plain)"),
        2 => ("encrypted_suffix", "1"),
        3 => ("unencrypted_suffix", "2"),
        4 if format == "yaml" => ("encrypted_comment_regex", "about"),
        5 if format == "yaml" => ("unencrypted_comment_regex", "^ about"),
        _ => ("unencrypted_suffix", "_unencrypted"),
    };
    let (mac_only, groups) = (choices.one_in(4), if choices.one_in(10) { 3 } else { 1 });
    let plain = match format {
        "yaml" => yaml(&mut choices),
        "json" => format!(
            "{{\"top\": {}, \"more\": {}}}",
            json(&mut choices, 4),
            json(&mut choices, 2)
        ),
        "dotenv" => lines(&mut choices, false),
        "ini" => lines(&mut choices, true),
        _ => (0..choices.below(200))
            .map(|_| char::from((choices.next() % 256) as u8))
            .collect(),
    };
    SopsQuestion {
        format,
        plain: plain.into_bytes(),
        rule,
        value,
        mac_only,
        groups,
    }
}

#[test]
fn random_files_decrypt_as_with_the_reference() {
    let mut oracle = match Sops::start() {
        Ok(oracle) => oracle,
        Err(error) if std::env::var_os("CI").is_some() => panic!("in CI the reference must be there: {error:#}"),
        Err(error) => {
            eprintln!("skipped: the reference sops cannot be built: {error:#}");
            return;
        }
    };
    let (cases, first) = (number("NAVE_RANDOM_CASES", CASES), number("NAVE_RANDOM_SEED", 1));
    let mut keys = Keys::new();
    keys.add_age(oracle.identity())
        .expect("the reference makes an age identity");
    let mut failures = Vec::new();
    for (name, format, part) in [
        ("yaml", Format::Yaml, 1),
        ("json", Format::Json, 4),
        ("dotenv", Format::Dotenv, 4),
        ("ini", Format::Ini, 4),
        ("binary", Format::Binary, 10),
    ] {
        let mut compared = 0;
        for seed in first..first + cases / part {
            let question = question(name, seed);
            let theirs = oracle.ask(&question).expect("the reference answers");
            if theirs.encrypted.is_empty() {
                continue;
            }
            let ours = match decrypt(&theirs.encrypted, format, format, &keys, &Answers::new(), Mac::Verify) {
                Ok(Step::Done(plain)) => Ok(plain.to_vec()),
                Ok(Step::Needs(_)) => panic!("the age identity opens it"),
                Err(error) => Err(error.to_string()),
            };
            compared += 1;
            let same = match (&ours, &theirs.decrypted) {
                (Ok(ours), Ok(theirs)) => ours == theirs,
                (Err(_), Err(_)) => true,
                _ => false,
            };
            if !same {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let show = |result: &Result<Vec<u8>, String>| match result {
                    Ok(bytes) => text(bytes),
                    Err(error) => format!("error: {error}\n"),
                };
                failures.push(format!(
                    "== {name} seed {seed} {} {}\n{}-- encrypted\n{}-- theirs\n{}-- ours\n{}",
                    question.rule,
                    question.value,
                    text(&question.plain),
                    text(&theirs.encrypted),
                    show(&theirs.decrypted),
                    show(&ours)
                ));
            }
        }
        println!("{name}: {compared} of {} compared", cases / part);
        assert!(
            compared * 2 > cases / part,
            "{name}: the reference refuses most of what is asked"
        );
    }
    let shown = failures
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(failures.is_empty(), "{} files differ:\n{shown}", failures.len());
}
