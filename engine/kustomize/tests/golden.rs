//! Golden cases: `golden/<case>/in/` builds to `want.yaml`, or fails where `want-error` stands.
//!
//! The wanted text is what kustomize 5.8.1 gives (`cargo xtask oracle kustomize --record CASE…` obtains it),
//! and `want-warnings` what it says on stderr. `want-error` holds a part
//! of our own message when its first line starts with `nave: `; else it is the reference's text, a hint.
//! Cases build as `kustomize build --load-restrictor LoadRestrictionsNone` does; those whose name starts
//! with `confined-` build with the load restriction, too.

use std::fs;
use std::path::Path;

use nave_kustomize::{Answers, LoadRestriction, MemoryTree, Options, Reorder, Step, build_with_warnings};
use nave_object::yaml::write_documents;

fn read_tree(root: &Path, dir: &Path, tree: &mut MemoryTree) {
    for entry in fs::read_dir(dir).expect("golden directories are readable") {
        let path = entry.expect("golden directories are readable").path();
        if path.is_dir() {
            read_tree(root, &path, tree);
        } else {
            let name = path
                .strip_prefix(root)
                .expect("read below the root")
                .to_str()
                .expect("UTF-8");
            tree.insert(name, fs::read(&path).expect("golden files are readable"));
        }
    }
}

fn run(case: &Path) -> Result<(), String> {
    let mut tree = MemoryTree::new();
    read_tree(&case.join("in"), &case.join("in"), &mut tree);
    let confined = case
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("confined-"));
    let load = if confined {
        LoadRestriction::RootOnly
    } else {
        LoadRestriction::None
    };
    let options = Options {
        load,
        reorder: Reorder::Legacy,
        ..Options::default()
    };
    let built = build_with_warnings(&tree, "", &options, &Answers::new());
    let wanted_error = fs::read_to_string(case.join("want-error")).ok();
    let objects = match (built, &wanted_error) {
        (Ok(Step::Needs(needs)), _) => return Err(format!("asks for {needs:?}")),
        (Err(error), None) => return Err(format!("fails: {error}")),
        (Err(error), Some(wanted)) => {
            let Some(part) = wanted.lines().next().and_then(|line| line.strip_prefix("nave: ")) else {
                return Ok(());
            };
            let error = error.to_string();
            return if error.contains(part) {
                Ok(())
            } else {
                Err(format!("fails with `{error}`, wanted `{part}`"))
            };
        }
        (Ok(Step::Done(_)), Some(_)) => return Err("builds, but should fail".to_owned()),
        (Ok(Step::Done(built)), None) => {
            let wanted = fs::read_to_string(case.join("want-warnings")).unwrap_or_default();
            if built.warnings != wanted.lines().collect::<Vec<_>>() {
                return Err(format!("warns {:#?}, wanted {wanted}", built.warnings));
            }
            built.objects
        }
    };
    let text = write_documents(objects.iter().map(|object| object.as_value()));
    let wanted = fs::read_to_string(case.join("want.yaml")).expect("want.yaml or want-error is there");
    if text == wanted {
        Ok(())
    } else {
        Err(difference(&wanted, &text))
    }
}

/// The first lines that differ, with some around.
fn difference(wanted: &str, found: &str) -> String {
    let (wanted, found): (Vec<_>, Vec<_>) = (wanted.lines().collect(), found.lines().collect());
    let first = wanted.iter().zip(&found).take_while(|(a, b)| a == b).count();
    let mut out = format!("differs from line {}:\n", first + 1);
    for line in &wanted[first.saturating_sub(3)..first] {
        out.push_str(&format!("    {line}\n"));
    }
    for (sign, lines) in [('-', &wanted), ('+', &found)] {
        for line in lines.iter().skip(first).take(6) {
            out.push_str(&format!("  {sign} {line}\n"));
        }
    }
    out
}

#[test]
fn all_cases_build_as_wanted() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = fs::read_dir(golden)
        .expect("the golden directory is readable")
        .map(|entry| entry.expect("the golden directory is readable").path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    let mut failures = Vec::new();
    for case in &cases {
        if let Err(problem) = run(case) {
            failures.push(format!(
                "{}: {problem}",
                case.file_name().unwrap_or_default().to_string_lossy()
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases fail\n\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n\n")
    );
}
