//! Whatever stands in a tree, a build ends soon, with an error that says where and what.
//!
//! Every case runs on a thread with the stack that worker threads have.

use std::borrow::Cow;
use std::fmt::Write;

use nave_kustomize::{Answers, LoadRestriction, MemoryTree, Options, Step, Tree, build};

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: y}\n";

/// Files with a kustomization file at the top.
fn tree(top: &str, files: &[(&str, &str)]) -> MemoryTree {
    let mut tree: MemoryTree = files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
    tree.insert("kustomization.yaml", top.as_bytes());
    tree
}

/// Builds on a small stack and compares the error.
fn check_with(tree: impl Tree + 'static, options: Options, wanted: &str) {
    let run = move || build(&tree, "", &options, &Answers::new());
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run);
    let built = thread.expect("a thread can be started").join().expect("no panic");
    let found = match built {
        Ok(Step::Done(objects)) => format!("{} objects", objects.len()),
        Ok(Step::Needs(needs)) => format!("asks for {needs:?}"),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, wanted);
}

fn check(top: &str, files: &[(&str, &str)], wanted: &str) {
    let options = Options {
        load: LoadRestriction::None,
        ..Options::default()
    };
    check_with(tree(top, files), options, wanted);
}

#[test]
fn missing_files_are_named_with_the_way_to_them() {
    check(
        "resources: [mid]\n",
        &[
            ("mid/kustomization.yaml", "resources: [../base]\n"),
            ("base/kustomization.yaml", "resources: [gone.yaml]\n"),
        ],
        "base/kustomization.yaml: resource `gone.yaml` does not exist (from mid/kustomization.yaml < kustomization.yaml)",
    );
    check(
        "resources: [base]\n",
        &[("base/x.yaml", CONFIG_MAP)],
        "kustomization.yaml: directory `base` has no kustomization file: none of kustomization.yaml, kustomization.yml, Kustomization",
    );
    check(
        "components: [part]\n",
        &[],
        "kustomization.yaml: component `part` does not exist",
    );
    check(
        "patches: [{path: p.yaml}]\n",
        &[],
        "kustomization.yaml: patch file `p.yaml` does not exist",
    );
    check(
        "configMapGenerator: [{name: g, files: [f]}]\n",
        &[],
        "kustomization.yaml: file `f` does not exist",
    );
}

#[test]
fn cycles_and_collisions_are_named() {
    check(
        "resources: [a]\n",
        &[
            ("a/kustomization.yaml", "resources: [../b]\n"),
            ("b/kustomization.yaml", "resources: [../a]\n"),
        ],
        "b/kustomization.yaml: `../a` leads to a, which contains a, from where it is used: a cycle (from a/kustomization.yaml < kustomization.yaml)",
    );
    check(
        "resources: [one.yaml, two.yaml]\n",
        &[("one.yaml", CONFIG_MAP), ("two.yaml", CONFIG_MAP)],
        "kustomization.yaml: ConfigMap/a (ConfigMap.v1.[noGrp]) is there twice: from one.yaml and from two.yaml",
    );
}

#[test]
fn patches_that_fit_nothing_are_named() {
    let patch = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n";
    check(
        "resources: [base]\npatches: [{path: p.yaml}]\n",
        &[
            ("base/kustomization.yaml", "resources: [a.yaml]\n"),
            ("base/a.yaml", CONFIG_MAP),
            ("p.yaml", patch),
        ],
        "p.yaml:1: no resource is ConfigMap/b (ConfigMap.v1.[noGrp]), which the patch is for (from kustomization.yaml)",
    );
    check(
        "resources: [a.yaml]\npatches: [{target: {kind: '('}, path: p.yaml}]\n",
        &[("a.yaml", CONFIG_MAP), ("p.yaml", patch)],
        "kustomization.yaml: target kind `(` is no regular expression",
    );
    check(
        "resources: [a.yaml]\npatches:\n- target: {kind: ConfigMap}\n  patch: '[{\"op\": \"remove\", \"path\": \"/data/z\"}]'\n",
        &[("a.yaml", CONFIG_MAP)],
        "kustomization.yaml: ConfigMap/a: operation 1: path /data/z does not exist",
    );
}

#[test]
fn broken_files_are_named_with_line_and_column() {
    check(
        "resources: [base]\n",
        &[
            ("base/kustomization.yaml", "resources: [a.yaml]\n"),
            ("base/a.yaml", "kind: ConfigMap\nmetadata:\n  name: [a\n"),
        ],
        "base/a.yaml:3:9: unclosed bracket '[' (from base/kustomization.yaml < kustomization.yaml)",
    );
    check(
        "resources: [a.yaml]\n",
        &[("a.yaml", "a: 1\na: 2\n")],
        "a.yaml:2:1: the key `a` is already on line 1 (from kustomization.yaml)",
    );
    check(
        "resources: [a.yaml]\n",
        &[("a.yaml", "---\n\nkind: Pod\nmetadata: {}\n")],
        "a.yaml:3:1: the Pod has no metadata.name (from kustomization.yaml)",
    );
    check(
        "resources: [a.yaml]\n",
        &[("a.yaml", "- a\n")],
        "a.yaml:1:3: expected a Kubernetes object, found a list (from kustomization.yaml)",
    );
    check(
        "namePrefix: x\n\nresource: [a.yaml]\n",
        &[],
        "kustomization.yaml:3:1: field resource: unknown field `resource`; did you mean `resources`?",
    );
    check(
        "namePrefix: 5\n",
        &[],
        "kustomization.yaml:1:13: field namePrefix: expected a text, found a number `5`; put it in quotes",
    );
    check(
        "images:\n- name: a\n  newTag: [x]\n",
        &[],
        "kustomization.yaml:3:12: field images[0].newTag: expected a text, found a list",
    );
    check(
        "resources: {a: b}\n",
        &[],
        "kustomization.yaml:1:13: field resources: expected a list, found a map",
    );
    check(
        "kind: Deployment\n",
        &[],
        "kustomization.yaml:1: the kustomization file is empty",
    );
    check("", &[], "kustomization.yaml:1: the kustomization file is empty");
    check(
        "resources: []\n",
        &[("kustomization.yml", "")],
        "directory `.` has several kustomization files, and one is expected: kustomization.yaml, kustomization.yml",
    );
    let mut files = tree("resources: [a.yaml]\n", &[]);
    files.insert("a.yaml", &b"a: \xff\n"[..]);
    check_with(
        files,
        Options::default(),
        "a.yaml:1: the file is not UTF-8 (from kustomization.yaml)",
    );
}

#[test]
fn paths_that_leave_are_refused() {
    check(
        "resources: [../x.yaml]\n",
        &[],
        "kustomization.yaml: path `../x.yaml` is not allowed here: it leaves the root of the tree",
    );
    check(
        "resources: [/etc/passwd]\n",
        &[],
        "kustomization.yaml: path `/etc/passwd` is not allowed here: paths must be relative",
    );
    check(
        "configMapGenerator: [{name: g, files: [../../f]}]\n",
        &[],
        "kustomization.yaml: path `../../f` is not allowed here: it leaves the root of the tree",
    );
    let confined = tree(
        "resources: [base]\n",
        &[
            ("base/kustomization.yaml", "resources: [../a.yaml]\n"),
            ("a.yaml", CONFIG_MAP),
        ],
    );
    check_with(
        confined,
        Options::default(),
        "base/kustomization.yaml: resource `../a.yaml` is not allowed here: files must be in or below the directory of the kustomization file (load restriction) (from kustomization.yaml)",
    );
}

/// A tree in which `link.yaml` leads to `outside/a.yaml`, and `gone.yaml` out of the tree.
struct Linked(MemoryTree);

impl Tree for Linked {
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        self.0.read(path)
    }

    fn is_dir(&self, path: &str) -> bool {
        self.0.is_dir(path)
    }

    fn list(&self, dir: &str) -> Vec<String> {
        self.0.list(dir)
    }

    fn real_path(&self, path: &str) -> Option<String> {
        match path {
            "app/link.yaml" => Some("outside/a.yaml".to_owned()),
            "app/gone.yaml" => None,
            path => Some(path.to_owned()),
        }
    }
}

#[test]
fn links_that_leave_are_refused() {
    for (link, wanted) in [
        (
            "link.yaml",
            "app/kustomization.yaml: resource `link.yaml` is not allowed here: files must be in or below the directory of the kustomization file (load restriction) (from kustomization.yaml)",
        ),
        (
            "gone.yaml",
            "app/kustomization.yaml: path `gone.yaml` is not allowed here: it leaves the root of the tree (from kustomization.yaml)",
        ),
    ] {
        let files = tree(
            "resources: [app]\n",
            &[
                ("app/kustomization.yaml", &format!("resources: [{link}]\n")),
                ("app/link.yaml", CONFIG_MAP),
                ("app/gone.yaml", CONFIG_MAP),
                ("outside/a.yaml", CONFIG_MAP),
            ],
        );
        check_with(Linked(files), Options::default(), wanted);
    }
}

#[test]
fn what_is_switched_off_is_refused() {
    check(
        "resources: [https://github.com/o/r//base?ref=v1]\n",
        &[],
        "kustomization.yaml: remote `https://github.com/o/r//base?ref=v1` is not allowed here: remote bases are switched off",
    );
    check(
        "resources: [https://example.com/x.yaml]\n",
        &[],
        "kustomization.yaml: remote `https://example.com/x.yaml` is not allowed here: remote bases are switched off",
    );
    check(
        "helmCharts: [{name: c, repo: https://charts.example.com}]\n",
        &[],
        "kustomization.yaml: helm chart `c` is not allowed here: Helm is switched off",
    );
    check(
        "transformers: [t.yaml]\n",
        &[("t.yaml", "apiVersion: example.com/v1\nkind: Run\nmetadata: {name: t}\n")],
        "t.yaml:1: plugin Run/t (example.com/v1): plugins that are programs or containers are not run; only apiVersion `builtin` is (from kustomization.yaml)",
    );
}

#[test]
fn aliases_cannot_blow_up() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{items}]").expect("texts can be written to");
    }
    check(
        "resources: [a.yaml]\n",
        &[("a.yaml", &bomb)],
        "a.yaml:4: the document grows too much through aliases (from kustomization.yaml)",
    );
    let mut tower = "a0: &a0 [x]\n".to_owned();
    for level in 1..2000 {
        writeln!(tower, "a{level}: &a{level} [*a{}]", level - 1).expect("texts can be written to");
    }
    check(
        "resources: [a.yaml]\n",
        &[("a.yaml", &tower)],
        "a.yaml:397: the document grows too much through aliases (from kustomization.yaml)",
    );
}

#[test]
fn large_and_deep_files_are_refused() {
    let mut files = tree("resources: [a.yaml]\n", &[]);
    files.insert("a.yaml", vec![b'#'; 100 << 20]);
    check_with(
        files,
        Options::default(),
        "a.yaml: the file has 104857600 bytes, and 67108864 are allowed (from kustomization.yaml)",
    );
    check(
        "resources: [a.yaml]\n",
        &[("a.yaml", &"[".repeat(100_000))],
        "a.yaml:1:256: lists and maps are nested more than 255 levels deep (from kustomization.yaml)",
    );
    let mut block = String::new();
    for level in 0..3000 {
        writeln!(block, "{}a:", " ".repeat(level)).expect("texts can be written to");
    }
    check(
        "resources: [a.yaml]\n",
        &[("a.yaml", &block)],
        "a.yaml:256:256: lists and maps are nested more than 255 levels deep (from kustomization.yaml)",
    );
    // As deep as is allowed, it goes through everything.
    let deep = format!("{CONFIG_MAP}spec: {}{}\n", "{a: ".repeat(240), "}".repeat(240));
    check(
        "resources: [a.yaml]\nnamePrefix: x\ncommonLabels: {a: b}\nimages: [{name: nn, newTag: v}]\npatches:\n- target: {kind: ConfigMap}\n  patch: '[{\"op\": \"add\", \"path\": \"/data/z\", \"value\": \"1\"}]'\n- path: p.yaml\n",
        &[("a.yaml", &deep), ("p.yaml", &deep)],
        "1 objects",
    );
}

#[test]
fn bases_end() {
    let mut files = tree("resources: [l0]\n", &[]);
    for level in 0..1000 {
        let text = format!("resources: [../l{}]\n", level + 1);
        files.insert(&format!("l{level}/kustomization.yaml"), text.into_bytes());
    }
    let options = || Options {
        load: LoadRestriction::None,
        ..Options::default()
    };
    check_with(
        files,
        options(),
        "l98/kustomization.yaml: `../l99`: bases are nested more than 100 levels deep (from l97/kustomization.yaml < l96/kustomization.yaml < l95/kustomization.yaml < l94/kustomization.yaml < l93/kustomization.yaml < l92/kustomization.yaml < l91/kustomization.yaml < l90/kustomization.yaml < 90 more < kustomization.yaml)",
    );
    let mut files = tree("resources: [l0, l0]\n", &[]);
    for level in 0..40 {
        let text = format!("resources: [../l{0}, ../l{0}]\n", level + 1);
        files.insert(&format!("l{level}/kustomization.yaml"), text.into_bytes());
    }
    files.insert("l40/kustomization.yaml", &b"namePrefix: x\n"[..]);
    check_with(
        files,
        options(),
        "l38/kustomization.yaml: `../l39`: more than 10000 bases and components are used in one build (from l37/kustomization.yaml < l36/kustomization.yaml < l35/kustomization.yaml < l34/kustomization.yaml < l33/kustomization.yaml < l32/kustomization.yaml < l31/kustomization.yaml < l30/kustomization.yaml < 30 more < kustomization.yaml)",
    );
}

#[test]
fn patches_and_replacements_cannot_blow_up() {
    let mut copies = String::new();
    for step in 0..40 {
        writeln!(copies, "- {{op: copy, from: /data, path: /data/c{step}}}").expect("texts can be written to");
    }
    check(
        "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n",
        &[("a.yaml", CONFIG_MAP), ("p.yaml", &copies)],
        "kustomization.yaml: ConfigMap/a: operation 21: /data/c20 would get more than 512 levels or 1048576 parts",
    );
    let deeper = "- {op: copy, from: /data, path: /data/c}\n".repeat(3000);
    check(
        "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n",
        &[("a.yaml", CONFIG_MAP), ("p.yaml", &deeper)],
        "kustomization.yaml: ConfigMap/a: operation 510: /data/c would get more than 512 levels or 1048576 parts",
    );
    let mut replacements = "resources: [a.yaml]\nreplacements:\n".to_owned();
    for step in 0..40 {
        writeln!(
            replacements,
            "- {{source: {{kind: ConfigMap, fieldPath: data}}, targets: [{{select: {{kind: ConfigMap}}, fieldPaths: [data.c{step}], options: {{create: true}}}}]}}"
        )
        .expect("texts can be written to");
    }
    check(
        &replacements,
        &[("a.yaml", CONFIG_MAP)],
        "kustomization.yaml: ConfigMap/a: replacements give it more than 512 levels or 1048576 parts",
    );
    let path = vec!["a"; 5000].join(".");
    check(
        &format!(
            "resources: [a.yaml]\nreplacements:\n- {{sourceValue: x, targets: [{{select: {{kind: ConfigMap}}, fieldPaths: [{path}], options: {{create: true}}}}]}}\n"
        ),
        &[("a.yaml", CONFIG_MAP)],
        "kustomization.yaml: ConfigMap/a: replacement target field a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.…: the path has more than 256 parts",
    );
}
