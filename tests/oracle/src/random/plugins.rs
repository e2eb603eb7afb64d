//! Built-in plugins under `generators` and `transformers`; files of `configurations`,
//! `crds` and `openapi`.

use super::Choices;
use super::objects::{Made, pairs};
use super::patches;
use super::scalars::{IMAGES, NAMESPACES};
use super::write::{Y, l, m, nest, s};

fn plugin(kind: &str, name: &str, fields: Vec<(&str, Y)>) -> Y {
    let mut made = m([
        ("apiVersion", s("builtin")),
        ("kind", s(kind)),
        ("metadata", m([("name", s(name))])),
    ]);
    for (key, value) in fields {
        made = made.with(key, Some(value));
    }
    made
}

fn specs(paths: &[(&str, &str, bool)]) -> Y {
    let list: Vec<Y> = paths
        .iter()
        .map(|(kind, path, create)| {
            let mut spec = m([("path", s(*path))]);
            if !kind.is_empty() {
                spec = spec.with("kind", Some(s(*kind)));
            }
            if *create {
                spec = spec.with("create", Some(s("true")));
            }
            spec
        })
        .collect();
    l(list)
}

/// A transformer.
pub(super) fn transformer(c: &mut Choices<'_>, objects: &[Made]) -> Y {
    let first = objects.first().cloned();
    match c.below(11) {
        0 => plugin(
            "LabelTransformer",
            "t",
            vec![
                ("labels", pairs(c)),
                (
                    "fieldSpecs",
                    specs(&[
                        ("", "metadata/labels", true),
                        ("Deployment", "spec/template/metadata/labels", c.chance(50)),
                    ]),
                ),
            ],
        ),
        1 => plugin(
            "AnnotationsTransformer",
            "t",
            vec![
                ("annotations", pairs(c)),
                ("fieldSpecs", specs(&[("", "metadata/annotations", true)])),
            ],
        ),
        2 => plugin(
            "PrefixTransformer",
            "t",
            vec![
                ("prefix", s("tp-")),
                (
                    "fieldSpecs",
                    specs(&[(c.pick(&["", "ConfigMap"]), "metadata/name", false)]),
                ),
            ],
        ),
        3 => plugin(
            "SuffixTransformer",
            "t",
            vec![
                ("suffix", s("-ts")),
                (
                    "fieldSpecs",
                    specs(&[(c.pick(&["", "Service"]), "metadata/name", false)]),
                ),
            ],
        ),
        4 => {
            let mut made = plugin("NamespaceTransformer", "t", Vec::new());
            if let Y::M(entries) = &mut made
                && let Y::M(metadata) = &mut entries[2].1
            {
                metadata.push(("namespace".to_owned(), s(c.pick(NAMESPACES))));
            }
            made = made.with("unsetOnly", c.maybe(40, |_| s("true")));
            made = made.with(
                "setRoleBindingSubjects",
                c.maybe(40, |c| s(c.pick(&["defaultOnly", "allServiceAccounts", "none"]))),
            );
            made.with(
                "fieldSpecs",
                c.maybe(60, |_| {
                    specs(&[("", "metadata/namespace", true), ("", "spec/ns", false)])
                }),
            )
        }
        5 => plugin(
            "ImageTagTransformer",
            "t",
            vec![
                (
                    "imageTag",
                    m([("name", s("nginx")), ("newTag", s(c.pick(&["v9", "'1'"])))]),
                ),
                ("fieldSpecs", specs(&[("Widget", "spec/image", false)])),
            ],
        ),
        6 => plugin(
            "ReplicaCountTransformer",
            "t",
            vec![
                (
                    "replica",
                    m([
                        ("name", s(first.map_or("x".to_owned(), |made| made.name))),
                        ("count", s("7")),
                    ]),
                ),
                (
                    "fieldSpecs",
                    specs(&[
                        ("Deployment", "spec/replicas", true),
                        ("ConfigMap", "spec/replicas", true),
                    ]),
                ),
            ],
        ),
        7 => {
            let Some(made) = first else {
                return plugin("HashTransformer", "t", Vec::new());
            };
            let patch = patches::strategic(c, &made).write(c);
            let lines = patch.lines().map(str::to_owned).collect();
            plugin("PatchTransformer", "t", vec![("patch", Y::B("|", lines))])
        }
        8 => plugin(
            "ValueAddTransformer",
            "t",
            vec![
                ("value", s("added")),
                (
                    "targets",
                    l([m([(
                        "fieldPath",
                        s(c.pick(&["metadata/namespace", "metadata/labels/va", "spec/a/b"])),
                    )])]),
                ),
            ],
        ),
        9 => plugin("HashTransformer", "t", Vec::new()),
        _ => {
            let Some(made) = first else {
                return plugin("HashTransformer", "t", Vec::new());
            };
            plugin(
                "PatchJson6902Transformer",
                "t",
                vec![
                    ("target", patches::target(c, &made)),
                    (
                        "jsonOp",
                        s("'[{\"op\": \"add\", \"path\": \"/metadata/labels\", \"value\": {\"j\": \"1\"}}]'"),
                    ),
                ],
            )
        }
    }
}

/// A generator.
pub(super) fn generator(c: &mut Choices<'_>) -> Y {
    let kind = c.pick(&["ConfigMapGenerator", "SecretGenerator"]);
    let mut made = plugin(kind, "plugged", vec![("literals", l([s("a=1"), s("b='x y'")]))]);
    made = made.with("behavior", c.maybe(20, |c| s(c.pick(&["create", "merge"]))));
    made.with(
        "options",
        c.maybe(40, |c| {
            m([("disableNameSuffixHash", s(c.pick(&["true", "false"])))]).with("labels", c.maybe(50, pairs))
        }),
    )
}

/// A file of `configurations`.
pub(super) fn configuration(c: &mut Choices<'_>) -> Y {
    let mut made = m::<&str>([]);
    made = made.with(
        "nameReference",
        c.maybe(60, |c| {
            l([m([
                ("kind", s(c.pick(&["ConfigMap", "Secret", "Widget", "Deployment"]))),
                (
                    "fieldSpecs",
                    l([m([
                        ("kind", s("Widget")),
                        ("path", s(c.pick(&["spec/ref/name", "spec/ref", "spec/size"]))),
                    ])]),
                ),
            ])])
        }),
    );
    made = made.with(
        "commonLabels",
        c.maybe(30, |c| {
            l([m([
                ("path", s("spec/inner/labels")),
                ("create", s(c.pick(&["true", "false"]))),
                ("kind", s("Widget")),
            ])])
        }),
    );
    made = made.with(
        "images",
        c.maybe(30, |_| l([m([("path", s("spec/image")), ("kind", s("Widget"))])])),
    );
    made = made.with(
        "namePrefix",
        c.maybe(15, |_| l([m([("path", s("spec/size")), ("kind", s("Widget"))])])),
    );
    made = made.with(
        "namespace",
        c.maybe(20, |c| {
            l([m([
                ("path", s("spec/ns")),
                ("kind", s("Widget")),
                ("create", s(c.pick(&["true", "false"]))),
            ])])
        }),
    );
    made = made.with(
        "replicas",
        c.maybe(20, |_| {
            l([m([
                ("path", s("spec/size")),
                ("kind", s("Widget")),
                ("create", s("true")),
            ])])
        }),
    );
    made = made.with(
        "varReference",
        c.maybe(30, |_| l([m([("path", s("spec/size")), ("kind", s("Widget"))])])),
    );
    made.with(
        "commonAnnotations",
        c.maybe(15, |_| l([m([("path", s("spec/notes")), ("create", s("true"))])])),
    )
}

/// A file of `crds`.
pub(super) fn definitions(c: &mut Choices<'_>) -> Y {
    let reference = m([
        ("type", s("object")),
        ("x-kubernetes-object-ref-api-version", s("v1")),
        ("x-kubernetes-object-ref-kind", s(c.pick(&["ConfigMap", "Secret"]))),
    ]);
    let properties = m([
        ("apiVersion", m([("type", s("string"))])),
        ("kind", m([("type", s("string"))])),
        ("metadata", m([("type", s("object"))])),
        ("spec", m([("$ref", s("example.com/v1.WidgetSpec"))])),
    ]);
    m([
        (
            "example.com/v1.Widget",
            nest(["Schema"], m([("properties", properties)])),
        ),
        (
            "example.com/v1.WidgetSpec",
            nest(["Schema"], m([("properties", m([("ref", reference)]))])),
        ),
    ])
}

/// A file of `openapi`.
pub(super) fn openapi(c: &mut Choices<'_>) -> Y {
    let mut list = m([
        ("type", s("array")),
        (
            "items",
            m([
                ("type", s("object")),
                ("properties", m([("v", m([("type", s("string"))]))])),
            ]),
        ),
        ("x-kubernetes-patch-strategy", s("merge")),
    ]);
    list = list.with("x-kubernetes-patch-merge-key", c.maybe(80, |_| s("name")));
    let spec = m([("type", s("object")), ("properties", m([("list", list)]))]);
    nest(
        ["definitions", "com.example.v1.Widget"],
        m([
            ("type", s("object")),
            ("properties", m([("spec", spec)])),
            (
                "x-kubernetes-group-version-kind",
                l([m([
                    ("group", s("example.com")),
                    ("version", s("v1")),
                    ("kind", s("Widget")),
                ])]),
            ),
        ]),
    )
}

/// An entry of `images`.
pub(super) fn image(c: &mut Choices<'_>) -> Y {
    let name = c.pick(IMAGES).split([':', '@']).next().unwrap_or("nginx");
    let name = if name.is_empty() || name.starts_with(['"', '$']) {
        "nginx"
    } else {
        name
    };
    let mut made = m([("name", s(name))]);
    made = made.with(
        "newName",
        c.maybe(40, |c| s(c.pick(&["mirror.io/n", "host:5000/x", "other"]))),
    );
    made = made.with(
        "newTag",
        c.maybe(50, |c| s(c.pick(&["v2", "'1.0'", "\"0644\"", "latest"]))),
    );
    made = made.with("digest", c.maybe(20, |_| s("sha256:00ff")));
    made.with("tagSuffix", c.maybe(15, |c| s(c.pick(&["-alpine", "'1'"]))))
}
