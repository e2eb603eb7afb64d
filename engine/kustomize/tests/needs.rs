//! What only the outside has is asked for, and what comes back is built on.

use std::sync::Arc;

use nave_kustomize::{
    Answer, Answers, LoadRestriction, MemoryTree, Need, Options, RepositoryUrl, Step, ValuesMerge, build,
};

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: y}\n";

fn tree(files: &[(&str, &str)]) -> MemoryTree {
    files.iter().map(|(path, text)| (*path, text.as_bytes())).collect()
}

fn options() -> Options {
    Options {
        load: LoadRestriction::None,
        allow_remote: true,
        allow_helm: true,
        ..Options::default()
    }
}

/// Builds with answers, and shows names, questions or the error.
fn show(tree: &MemoryTree, answers: &Answers) -> String {
    match build(tree, "", &options(), answers) {
        Ok(Step::Done(objects)) => objects.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Ok(Step::Needs(needs)) => format!("{needs:?}"),
        Err(error) => error.to_string(),
    }
}

fn needs(tree: &MemoryTree, answers: &Answers) -> Vec<Need> {
    match build(tree, "", &options(), answers) {
        Ok(Step::Needs(needs)) => needs,
        other => panic!("asks for nothing: {other:?}"),
    }
}

#[test]
fn repositories_are_asked_for_at_once_and_built_in() {
    let top = tree(&[
        (
            "kustomization.yaml",
            "resources:\n- github.com/o/r//base?ref=v1\n- https://github.com/o/r//other?ref=v1\n- git@host:o/s.git/dir?timeout=5\ncomponents: [ssh://git@host/o/t//part]\n",
        ),
        ("x", ""),
    ]);
    let asked = needs(&top, &Answers::new());
    let urls: Vec<(String, &str, &str)> = asked
        .iter()
        .map(|need| match need {
            Need::Repository(url) => (url.clone_url(), url.reference.as_str(), url.path.as_str()),
            other => panic!("asks for {other:?}"),
        })
        .collect();
    // One repository in one state is asked for once, whatever the directories in it.
    assert_eq!(
        urls,
        [
            ("https://github.com/o/r".to_owned(), "v1", ""),
            ("git@host:o/s.git".to_owned(), "", ""),
            ("ssh://git@host/o/t".to_owned(), "", ""),
        ]
    );
    let one = tree(&[
        ("base/kustomization.yaml", "resources: [../more]\nnamePrefix: x-\n"),
        ("more/kustomization.yaml", "resources: [a.yaml]\n"),
        ("more/a.yaml", CONFIG_MAP),
        ("other/kustomization.yaml", "resources: [../more/a.yaml]\n"),
    ]);
    let two = tree(&[
        ("dir/kustomization.yaml", "resources: [a.yaml]\nnamePrefix: y-\n"),
        ("dir/a.yaml", CONFIG_MAP),
    ]);
    let part = tree(&[("part/kustomization.yaml", "kind: Component\nnameSuffix: -z\n")]);
    let mut answers = Answers::new();
    for (need, tree) in asked.into_iter().zip([one, two, part]) {
        answers.insert(need, Answer::Tree(Arc::new(tree)));
    }
    // A clone may not read files outside of its kustomizations' directories, even where others may.
    assert_eq!(
        show(&top, &answers),
        "https://github.com/o/r//other?ref=v1/other/kustomization.yaml: resource `../more/a.yaml` is not allowed here: \
         files must be in or below the directory of the kustomization file (load restriction) (from kustomization.yaml)"
    );
    let without = tree(&[(
        "kustomization.yaml",
        "resources:\n- github.com/o/r//base?ref=v1\n- git@host:o/s.git/dir?timeout=5\ncomponents: [ssh://git@host/o/t//part]\n",
    )]);
    assert_eq!(show(&without, &answers), "ConfigMap/x-a-z ConfigMap/y-a-z");
}

#[test]
fn failures_outside_are_told_where_they_matter() {
    let top = tree(&[
        ("kustomization.yaml", "resources: [base]\n"),
        ("base/kustomization.yaml", "resources: [https://host/o/r?ref=v9]\n"),
    ]);
    let mut answers = Answers::new();
    let need = needs(&top, &answers).remove(0);
    answers.insert(need.clone(), Answer::Failed("no such reference".to_owned()));
    assert_eq!(
        show(&top, &answers),
        "base/kustomization.yaml: fetching https://host/o/r?ref=v9: no such reference (from kustomization.yaml)"
    );
    answers.insert(need, Answer::File(Vec::new()));
    assert!(show(&top, &answers).contains("the answer is no tree"));
}

#[test]
fn files_by_http_are_asked_for() {
    let top = tree(&[(
        "kustomization.yaml",
        "resources: [https://example.com/a.yaml]\nnamePrefix: p-\n",
    )]);
    let mut answers = Answers::new();
    let need = needs(&top, &answers).remove(0);
    let url = "https://example.com/a.yaml".to_owned();
    assert_eq!(need, Need::File { url });
    answers.insert(need, Answer::File(CONFIG_MAP.as_bytes().to_vec()));
    assert_eq!(show(&top, &answers), "ConfigMap/p-a");
}

#[test]
fn charts_are_asked_for_with_all_that_helm_needs() {
    let top = tree(&[
        (
            "kustomization.yaml",
            "namespace: apps\nhelmGlobals: {chartHome: home}\nhelmCharts:\n- name: c\n  repo: https://charts.example.com\n  version: 1.2.3\n  releaseName: rel\n  includeCRDs: true\n  valuesFile: v.yaml\n  additionalValuesFiles: [w.yaml]\n  valuesInline: {a: {b: 1}}\n  valuesMerge: merge\n  apiVersions: [x/v1]\n  kubeVersion: '1.30'\n  skipTests: true\n  nameTemplate: t\n",
        ),
        ("v.yaml", "a: {b: 2, c: 3}\n"),
        ("w.yaml", "d: 4\n"),
    ]);
    let need = needs(&top, &Answers::new()).remove(0);
    let Need::Chart(chart) = &need else {
        panic!("asks for {need:?}")
    };
    assert_eq!(
        (
            chart.name.as_str(),
            chart.repository.as_str(),
            chart.version.as_str(),
            chart.release_name.as_str()
        ),
        ("c", "https://charts.example.com", "1.2.3", "rel")
    );
    assert_eq!((chart.namespace.as_str(), chart.directory.as_deref()), ("apps", None));
    assert_eq!(chart.values_merge, ValuesMerge::Merge);
    assert_eq!(chart.values("").expect("values merge"), "a:\n  b: 2\n  c: 3\n");
    assert_eq!(chart.additional_values, ["d: 4\n"]);
    assert!(chart.include_crds && chart.skip_tests && !chart.skip_hooks);
    let mut answers = Answers::new();
    answers.insert(need, Answer::Manifests(CONFIG_MAP.to_owned()));
    // The chart got the namespace itself; objects that it puts elsewhere stay there.
    assert_eq!(show(&top, &answers), "ConfigMap/a");
}

#[test]
fn deprecated_chart_fields_and_generators_ask_for_charts() {
    for text in [
        "helmChartInflationGenerator:\n- chartName: c\n  chartRepoUrl: https://charts.example.com\n  chartVersion: 1.0.0\n  releaseName: r\n",
        "generators:\n- |-\n  apiVersion: builtin\n  kind: HelmChartInflationGenerator\n  metadata: {name: g}\n  name: c\n  repo: https://charts.example.com\n  version: 1.0.0\n  releaseName: r\n",
    ] {
        let top = tree(&[("kustomization.yaml", text)]);
        let asked = needs(&top, &Answers::new());
        let [Need::Chart(chart)] = asked.as_slice() else {
            panic!("asks for {asked:?}")
        };
        assert_eq!(
            (chart.name.as_str(), chart.version.as_str(), chart.release_name.as_str()),
            ("c", "1.0.0", "r")
        );
    }
}

#[test]
fn every_form_of_url_is_taken_apart() {
    // Scheme, user and host as they are written, and what they become (kustomize, `repospec`).
    let hosts = [
        ("gitHub.com/", "https://github.com/"),
        ("github.com:", "https://github.com/"),
        ("http://github.com/", "https://github.com/"),
        ("hTTps://github.com/", "https://github.com/"),
        ("https://code.example.com/", "https://code.example.com/"),
        ("ssh://git.example.com:7999/", "ssh://git.example.com:7999/"),
        ("git::https://gitlab.com/", "https://gitlab.com/"),
        ("git::http://git.example.com/", "http://git.example.com/"),
        ("git@github.com:", "git@github.com:"),
        ("git@github.com/", "git@github.com:"),
        ("git::git@github.com:", "git@github.com:"),
        ("org-12345@github.com/", "org-12345@github.com:"),
        ("ssh://git@github.com/", "git@github.com:"),
        ("git@bitbucket.example.com:", "git@bitbucket.example.com:"),
    ];
    let paths = [
        ("o/r", "o/r", ""),
        ("o/r/a/b", "o/r", "a/b"),
        ("o/r.git/a", "o/r.git", "a"),
        ("o/p/r//a/", "o/p/r", "a/"),
        ("o/p/_git/r/a", "o/p/_git/r", "a"),
    ];
    let queries = [
        ("", ""),
        ("?ref=group/version", "group/version"),
        ("?version=v1", "v1"),
        ("?ref=a&version=b", "a"),
        ("?timeout=1m&ref=x", "x"),
    ];
    for (host, wanted_host) in hosts {
        for (path, repository, directory) in paths {
            for (query, reference) in queries {
                let text = format!("{host}{path}{query}");
                let url = RepositoryUrl::parse(&text).unwrap_or_else(|| panic!("{text} is no repository"));
                assert_eq!(url.host, wanted_host, "{text}");
                assert_eq!(url.repository, repository, "{text}");
                assert_eq!(url.path, directory, "{text}");
                assert_eq!(url.reference, reference, "{text}");
            }
        }
    }
    for text in [
        "/tmp",
        "../../tmp",
        "src/github.com/org/repo/path",
        "word",
        "htxxxtp://github.com/",
        "ssh://git.example.com",
        "git::___",
        "https://host?ref=group/version",
        "https://github.com/o/r//../../x",
        "github.com/o",
    ] {
        assert_eq!(RepositoryUrl::parse(text), None, "{text}");
    }
}
