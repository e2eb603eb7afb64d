//! The generated YAML in `crds/yaml/` is what the types say.

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn generated_files_are_current() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    let mut expected = BTreeSet::new();
    for definition in nave_crds::all() {
        let name = nave_crds::file_name(&definition);
        let text = std::fs::read_to_string(dir.join(&name)).unwrap_or_default();
        assert!(
            text == nave_crds::render(&definition),
            "crds/yaml/{name} is stale; run `cargo xtask crds`"
        );
        expected.insert(name);
    }
    let found: BTreeSet<String> = std::fs::read_dir(&dir)
        .expect("crds/yaml exists")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(found, expected, "crds/yaml holds other files; run `cargo xtask crds`");
}
