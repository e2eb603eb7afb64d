//! The charts of the engine's own tests render as with the reference that is running now, and what was recorded of the
//! reference is what it says. Where the reference cannot be built, the test is skipped, but not in CI.

use std::fs;
use std::path::Path;

use nave_oracle::{Helm, template_here};

#[test]
fn charts_render_as_with_the_reference() {
    let mut oracle = match Helm::start() {
        Ok(oracle) => oracle,
        Err(error) if std::env::var_os("CI").is_some() => panic!("in CI the reference must be there: {error:#}"),
        Err(error) => {
            eprintln!("skipped: the reference Helm cannot be built: {error:#}");
            return;
        }
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engine/chart/tests/charts");
    let mut cases: Vec<_> = fs::read_dir(root)
        .expect("the cases are readable")
        .map(|entry| entry.expect("the cases are readable").path())
        .collect();
    cases.sort();
    assert!(cases.len() >= 30, "{} cases", cases.len());
    let mut problems = Vec::new();
    for case in cases {
        let chart = case.join("chart");
        let name = case.file_name().expect("cases have names").to_string_lossy().into_owned();
        let flags: Vec<String> = fs::read_to_string(case.join("flags"))
            .unwrap_or_default()
            .lines()
            .map(|line| line.replace("CASE", &case.to_string_lossy()))
            .collect();
        let mut words = vec!["template".to_owned(), "release-name".to_owned(), chart.to_string_lossy().into_owned()];
        words.extend_from_slice(&flags);
        if !flags.iter().any(|flag| flag == "-n") {
            words.extend(["-n".to_owned(), "default".to_owned()]);
        }
        let theirs = oracle.command(&words).expect("the reference answers");
        match (template_here("release-name", &chart, &flags), &theirs) {
            (Ok(ours), Ok(theirs)) if ours == *theirs => {}
            (Err(_), Err(_)) => {}
            (ours, theirs) => problems.push(format!("{name}:\nours: {ours:?}\ntheirs: {theirs:?}")),
        }
        let recorded = fs::read_to_string(case.join("want.yaml")).ok();
        if recorded != theirs.ok() {
            problems.push(format!("{name}: what is recorded is not what the reference says"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
