//! Random trees build with ours as with the reference: the same text, or an error from both.
//!
//! `NAVE_RANDOM_CASES` and `NAVE_RANDOM_SEED` say how many trees and from which seed; each tree has a seed of
//! its own, which a failure prints. `NAVE_RANDOM_SAVE` names a directory for the trees that fail, which
//! otherwise go with the test, and `NAVE_RANDOM_ERRORS` shows what both refuse, which is what a tree that proves
//! little looks like. Where the reference cannot be built, the test is skipped, but not in CI.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nave_oracle::random::{Choices, Files, tree};
use nave_oracle::{Kustomize, Verdict, build_here, compare};
use proptest::collection::vec;
use proptest::num::u16::ANY;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

const CASES: u64 = 300;
/// The longest list of choices; the largest trees take about as many.
const CHOICES: usize = 1500;
/// Failures that are shortened and shown.
const SHOWN: usize = 5;

fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse()
        .unwrap_or_else(|error| panic!("{name} is `{text}`, which is no number: {error}"))
}

fn write(files: &Files, dir: &Path) {
    if dir.exists() {
        fs::remove_dir_all(dir).expect("the test's own directory can be emptied");
    }
    for (path, content) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("files have a directory")).expect("directories can be made");
        fs::write(path, content).expect("files can be written");
    }
}

/// A generator that is the same wherever it runs.
fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

fn show(files: &Files) -> String {
    let text = |(path, content): (&String, &Vec<u8>)| format!("== {path}\n{}", String::from_utf8_lossy(content));
    files.iter().map(text).collect::<Vec<_>>().join("\n")
}

#[test]
fn random_trees_build_as_with_the_reference() {
    let oracle = match Kustomize::start() {
        Ok(oracle) => RefCell::new(oracle),
        Err(error) if std::env::var_os("CI").is_some() => panic!("in CI the reference must be there: {error:#}"),
        Err(error) => {
            eprintln!("skipped: the reference kustomize cannot be built: {error:#}");
            return;
        }
    };
    let (cases, first) = (number("NAVE_RANDOM_CASES", CASES), number("NAVE_RANDOM_SEED", 1));
    let save = std::env::var_os("NAVE_RANDOM_SAVE").map(PathBuf::from);
    let errors = std::env::var_os("NAVE_RANDOM_ERRORS").is_some();
    let scratch = tempfile::tempdir().expect("a directory for the trees can be made");
    let totals: RefCell<BTreeMap<&'static str, u64>> = RefCell::default();
    let check = |choices: &[u16], counted: bool| -> Verdict {
        let files = tree(&mut Choices::new(choices));
        let dir = scratch.path().join("in");
        write(&files, &dir);
        let top = dir.join("top");
        let theirs = oracle.borrow_mut().build(&top, false).expect("the reference answers");
        let verdict = compare(&build_here(&top, false), &theirs);
        if counted {
            *totals.borrow_mut().entry(verdict.name()).or_default() += 1;
            if let (Verdict::BothFail, Err(error), true) = (&verdict, &theirs.result, errors) {
                println!("both fail: {}", error.replace('\n', " "));
            }
        }
        if verdict.is_good() {
            return verdict;
        }
        // Maps of Go have no order, and a few texts of the reference follow one.
        let again = oracle.borrow_mut().build(&top, false).expect("the reference answers");
        if again.result == theirs.result {
            verdict
        } else {
            Verdict::Pass
        }
    };
    let mut failures = Vec::new();
    for seed in first..first + cases {
        let config = Config {
            failure_persistence: None,
            max_shrink_iters: 250,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, rng(seed));
        let choices = vec(ANY, 20..CHOICES)
            .new_tree(&mut runner)
            .expect("lists of numbers can always be made");
        let kind: RefCell<Option<&'static str>> = RefCell::default();
        let outcome = runner.run_one(choices, |choices| {
            let first = kind.borrow().is_none();
            let verdict = check(&choices, first);
            // While it is shortened, it must go on failing in its way.
            let name = *kind.borrow_mut().get_or_insert(verdict.name());
            if verdict.is_good() || verdict.name() != name {
                Ok(())
            } else {
                Err(TestCaseError::fail(verdict.detail().to_owned()))
            }
        });
        if let Err(TestError::Fail(_, choices)) = outcome {
            let files = tree(&mut Choices::new(&choices));
            let verdict = check(&choices, false);
            if let Some(save) = &save {
                let case = save.join(format!("{}-{seed}", verdict.name().replace(' ', "-")));
                write(&files, &case);
            }
            failures.push(format!(
                "seed {seed}: {}\n{}\n{}",
                verdict.name(),
                verdict.detail(),
                show(&files)
            ));
            if failures.len() == SHOWN && save.is_none() {
                break;
            }
        }
    }
    let totals = totals.into_inner();
    println!("seeds {first}..{}: {totals:?}", first + cases);
    assert!(
        failures.is_empty(),
        "{} trees build differently ({totals:?}); NAVE_RANDOM_SEED=<seed> NAVE_RANDOM_CASES=1 repeats one\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}
