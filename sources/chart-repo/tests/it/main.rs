//! A short run of the fuzz target: an index, cut, joined and stirred. Long runs are `cargo fuzz run`, see
//! `fuzz/Cargo.toml`.

mod entry;

/// Inputs in one run.
const ROUNDS: u64 = 2000;

const INDEX: &str = r#"apiVersion: v1
entries:
  app:
  - apiVersion: v2
    name: app
    version: 1.2.3
    created: "2026-01-02T03:04:05.6Z"
    digest: 0a
    urls: [https://charts.example.com/app-1.2.3.tgz]
    dependencies: [{name: x, version: 1.x, repository: "@a"}]
    annotations: {a: "b", c: |-
      more
      lines}
  - {name: app, version: v1.3.0-rc.1+build, urls: [app-1.3.0.tgz]}
  - {name: other, version: 1.0.0}
  - {name: app, version: x}
  lib: []
generated: "2026-01-02T03:04:05Z"
serverInfo: {}
"#;

/// A small generator of numbers (splitmix64), so that a run repeats.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ (number >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

#[test]
fn no_index_breaks() {
    let words: [&[u8]; 12] = [
        b"&a ",
        b"*a",
        b"[",
        b"{",
        b"- ",
        b"\n",
        b": ",
        b"\"",
        b"!!binary ",
        b"entries:\n",
        b"  app:\n",
        b"---\n",
    ];
    let mut numbers = Numbers(1);
    entry::index(INDEX.as_bytes());
    for _ in 0..ROUNDS {
        let mut bytes = INDEX.as_bytes().to_vec();
        for _ in 0..=numbers.below(4) {
            let place = numbers.below(bytes.len());
            match numbers.below(4) {
                0 => bytes.truncate(place),
                1 if place < bytes.len() => bytes[place] = numbers.next() as u8,
                2 => {
                    let word = words[numbers.below(words.len())];
                    bytes.splice(place..place, word.iter().copied());
                }
                _ => {
                    let copy = bytes[place..(place + numbers.below(200)).min(bytes.len())].to_vec();
                    bytes.splice(place..place, copy);
                }
            }
        }
        entry::index(&bytes);
    }
}

#[test]
fn deep_nesting_and_aliases_are_refused() {
    for text in [
        "apiVersion: v1\nentries:\n  a:\n  - name: ".to_owned() + &"[".repeat(100_000),
        "apiVersion: v1\nx: ".to_owned() + &"{a: ".repeat(50_000),
        "apiVersion: v1\na: &a [x]\nb: *a\n".to_owned(),
    ] {
        entry::index(text.as_bytes());
        let mut json = Vec::new();
        nave_chart_repo::convert(text.as_bytes(), &mut json).expect_err("it is refused");
    }
}
