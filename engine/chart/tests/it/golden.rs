//! Charts and what Helm 4.3.1 made of them: `cargo xtask oracle helm --record engine/chart/tests/charts/*` wrote
//! `want.yaml` and `want-error`.

use std::fs;
use std::path::Path;

use crate::support::template;

#[test]
fn charts_render_as_with_helm() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/charts");
    let mut cases: Vec<_> = fs::read_dir(&root)
        .expect("golden cases are readable")
        .map(|entry| entry.expect("golden cases are readable").path())
        .collect();
    cases.sort();
    assert!(cases.len() >= 30, "{} cases", cases.len());
    let mut problems = Vec::new();
    for case in cases {
        let name = case
            .file_name()
            .expect("cases have names")
            .to_string_lossy()
            .into_owned();
        let flags: Vec<String> = fs::read_to_string(case.join("flags"))
            .unwrap_or_default()
            .lines()
            .map(|line| line.replace("CASE", &case.to_string_lossy()))
            .collect();
        let ours = template(&case.join("chart"), &flags);
        match (ours, fs::read_to_string(case.join("want.yaml"))) {
            (Ok(ours), Ok(want)) if ours == want => {}
            (Ok(ours), Ok(want)) => problems.push(format!("{name}: different\n{}", difference(&ours, &want))),
            (Err(ours), Ok(_)) => problems.push(format!("{name}: refused: {ours}")),
            (Ok(_), Err(_)) => problems.push(format!("{name}: Helm refuses it")),
            (Err(ours), Err(_)) => {
                let want = fs::read_to_string(case.join("want-error")).expect("a case has one of the two");
                // Broken YAML is named in words of our own; everything else has Helm's.
                let is_same = ours.trim_end() == want.trim_end();
                if !is_same && !name.starts_with("refused") {
                    problems.push(format!("{name}:\n  ours:   {ours}\n  theirs: {want}"));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn difference(ours: &str, want: &str) -> String {
    let lines = ours.lines().zip(want.lines());
    match lines.enumerate().find(|(_, (ours, want))| ours != want) {
        Some((line, (ours, want))) => format!("  line {}\n  ours:   {ours}\n  theirs: {want}", line + 1),
        None => format!("  {} and {} lines", ours.lines().count(), want.lines().count()),
    }
}
