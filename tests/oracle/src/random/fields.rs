//! The fields of a kustomization file.

use super::Choices;
use super::objects::{Made, pairs};
use super::scalars::{NAMESPACES, text};
use super::tree::{Dir, Files};
use super::write::{Y, l, m, s};
use super::{patches, plugins};

const GENERATED: &[&str] = &["gen", "cfg", "settings"];

/// The text of the kustomization file of a directory; more files go beside it.
pub(super) fn kustomization(
    c: &mut Choices<'_>,
    dir: &mut Dir,
    resources: Vec<String>,
    components: Vec<String>,
    files: &mut Files,
) -> String {
    let mut writer = Fields {
        path: dir.path,
        objects: dir.objects.iter().filter(|made| made.kind != "List").cloned().collect(),
        files,
        made: m::<&str>([]),
        number: 0,
    };
    writer.head(c, dir.component);
    writer.resources(c, resources);
    if !components.is_empty() {
        writer.add("components", Some(strings(components)));
    }
    writer.names(c);
    writer.generators(c, dir);
    writer.patches(c);
    writer.replacements(c);
    writer.vars(c);
    writer.plugins(c);
    writer.rest(c);
    let made = writer.made;
    made.write(c)
}

fn strings(items: Vec<String>) -> Y {
    l(items.into_iter().map(s))
}

struct Fields<'a> {
    path: &'static str,
    objects: Vec<Made>,
    files: &'a mut Files,
    made: Y,
    number: usize,
}

impl Fields<'_> {
    fn add(&mut self, key: &str, value: Option<Y>) {
        let made = std::mem::replace(&mut self.made, s(""));
        self.made = made.with(key, value);
    }

    /// Writes a file beside the kustomization and gives its name.
    fn file(&mut self, name: &str, content: impl Into<Vec<u8>>) -> String {
        self.number += 1;
        let name = format!("{}-{name}", self.number);
        self.files.insert(format!("{}/{name}", self.path), content.into());
        name
    }

    fn object(&self, c: &mut Choices<'_>) -> Option<Made> {
        if self.objects.is_empty() {
            None
        } else {
            Some(self.objects[c.below(self.objects.len())].clone())
        }
    }

    fn head(&mut self, c: &mut Choices<'_>, component: bool) {
        if component || c.chance(40) {
            let (version, kind) = if component {
                ("kustomize.config.k8s.io/v1alpha1", "Component")
            } else {
                ("kustomize.config.k8s.io/v1beta1", "Kustomization")
            };
            self.add("apiVersion", Some(s(version)));
            self.add("kind", Some(s(kind)));
        }
        self.add("metadata", c.maybe(4, |_| m([("name", s("k"))])));
    }

    fn resources(&mut self, c: &mut Choices<'_>, resources: Vec<String>) {
        let (bases, mut files): (Vec<String>, Vec<String>) =
            resources.into_iter().partition(|path| path.starts_with(".."));
        if c.chance(10) {
            self.add("bases", (!bases.is_empty()).then(|| strings(bases)));
        } else {
            let place = if c.chance(50) { 0 } else { files.len() };
            files.splice(place..place, bases);
        }
        self.add("resources", (!files.is_empty() || c.chance(50)).then(|| strings(files)));
    }

    fn names(&mut self, c: &mut Choices<'_>) {
        self.add("namePrefix", c.maybe(25, |c| s(c.pick(&["p-", "pre.", "\"1\"", "x"]))));
        self.add("nameSuffix", c.maybe(18, |c| s(c.pick(&["-s", "\"1\"", "-v2"]))));
        self.add("namespace", c.maybe(25, |c| s(c.pick(NAMESPACES))));
        self.add("commonLabels", c.maybe(12, pairs));
        self.add(
            "labels",
            c.maybe(18, |c| {
                let entries: Vec<Y> = (0..1 + c.below(2))
                    .map(|_| {
                        let mut entry = m([("pairs", pairs(c))]);
                        entry = entry.with("includeSelectors", c.maybe(30, |c| s(c.pick(&["true", "false"]))));
                        entry = entry.with("includeTemplates", c.maybe(30, |c| s(c.pick(&["true", "false"]))));
                        entry.with(
                            "fields",
                            c.maybe(20, |c| {
                                l([m([
                                    ("path", s(c.pick(&["spec/extra/labels", "metadata/labels"]))),
                                    ("create", s(c.pick(&["true", "false"]))),
                                ])
                                .with("kind", c.maybe(50, |_| s("Widget")))])
                            }),
                        )
                    })
                    .collect();
                l(entries)
            }),
        );
        self.add("commonAnnotations", c.maybe(15, pairs));
        let images = if c.chance(6) { "imageTags" } else { "images" };
        self.add(
            images,
            c.maybe(20, |c| {
                let list: Vec<Y> = (0..1 + c.below(2)).map(|_| plugins::image(c)).collect();
                l(list)
            }),
        );
        let workloads = ["Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"];
        let workload = self.objects.iter().find(|made| workloads.contains(&made.kind)).cloned();
        if let Some(made) = workload {
            self.add(
                "replicas",
                c.maybe(15, |c| {
                    l([m([("name", s(made.name)), ("count", s(c.pick(&["4", "0"])))])])
                }),
            );
        }
    }

    fn generators(&mut self, c: &mut Choices<'_>, dir: &mut Dir) {
        for (field, kind) in [("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")] {
            if !c.chance(22) {
                continue;
            }
            let mut entries = Vec::new();
            for _ in 0..1 + c.below(2) {
                let name = c.pick(GENERATED);
                let known = dir.generated.contains(&(kind, name));
                let mut entry = m([("name", s(name))]);
                if known || c.chance(3) {
                    entry = entry.with("behavior", Some(s(c.pick(&["merge", "replace", "merge"]))));
                } else {
                    entry = entry.with("behavior", c.maybe(8, |_| s("create")));
                    dir.generated.push((kind, name));
                }
                entry = entry.with("namespace", c.maybe(8, |c| s(c.pick(NAMESPACES))));
                entry = self.sources(c, entry);
                if kind == "Secret" {
                    entry = entry.with("type", c.maybe(30, |_| s("kubernetes.io/tls")));
                }
                entries.push(entry.with("options", c.maybe(20, generator_options)));
            }
            self.add(field, Some(l(entries)));
        }
        self.add("generatorOptions", c.maybe(12, generator_options));
    }

    fn sources(&mut self, c: &mut Choices<'_>, mut entry: Y) -> Y {
        if c.chance(70) {
            let literals = [
                "a=1",
                "'b=\"quoted\"'",
                "\"c='single'\"",
                "d=x=y",
                "e=",
                "\"f=line\\nbreak\"",
            ];
            let mut list: Vec<Y> = Vec::new();
            let start = c.below(literals.len());
            for place in 0..1 + c.below(2) {
                list.push(s(literals[(start + place) % literals.len()]));
            }
            entry = entry.with("literals", Some(l(list)));
        }
        if c.chance(30) {
            let content: &[u8] = c.pick(&[
                &b"hello\nworld\n"[..],
                b"no newline",
                b"",
                b"\xff\xfe\x00binary",
                b"tab\tand trailing \nx\n",
                b"\n\n",
                b"key: value\nlist: [1]\n",
                b"windows\r\nlines\r\n",
                b"a long line of text in a file that goes on and on beyond the eighty columns of a terminal, and on\n",
                b"\xef\xbb\xbfbom\n",
                b"true",
                b"123",
            ]);
            let name = self.file(c.pick(&["f.txt", "app.properties", "x.yaml"]), content);
            let source = if c.chance(50) { format!("key={name}") } else { name };
            entry = entry.with("files", Some(l([s(source)])));
        }
        if c.chance(20) {
            let content = c.pick(&[
                "X=1\nY=two words\n",
                "# comment\n\nX = spaced\n",
                "X=\"quoted\"\r\nZ=\n",
                "  LEAD=1\nW=a=b",
                "HOMELESS\n",
                "\u{feff}BOM=1\n",
            ]);
            let name = self.file("vars.env", content);
            if c.chance(15) {
                entry = entry.with("env", Some(s(name)));
            } else {
                entry = entry.with("envs", Some(l([s(name)])));
            }
        }
        entry
    }

    fn patches(&mut self, c: &mut Choices<'_>) {
        if c.chance(45) {
            let mut entries = Vec::new();
            for _ in 0..1 + c.below(2) {
                if let Some(made) = self.object(c) {
                    entries.push(self.patch(c, &made));
                }
            }
            self.add("patches", (!entries.is_empty()).then(|| l(entries)));
        }
        if c.chance(10)
            && let Some(made) = self.object(c)
        {
            let text = patches::strategic(c, &made).write(c);
            let entry = if c.chance(50) {
                Y::B("|", text.lines().map(str::to_owned).collect())
            } else {
                s(self.file("smp.yaml", text))
            };
            self.add("patchesStrategicMerge", Some(l([entry])));
        }
        if c.chance(10)
            && let Some(made) = self.object(c)
        {
            let text = patches::operations(c, &made).write(c);
            let (group, version) = made.api_version.split_once('/').unwrap_or(("", made.api_version));
            let mut target = m([
                ("version", s(version)),
                ("kind", s(made.kind)),
                ("name", s(made.name.as_str())),
            ]);
            target = target.with("group", (!group.is_empty()).then(|| s(group)));
            let entry = m([("target", target), ("path", s(self.file("json.yaml", text)))]);
            self.add("patchesJson6902", Some(l([entry])));
        }
    }

    fn patch(&mut self, c: &mut Choices<'_>, made: &Made) -> Y {
        let json = c.chance(35);
        let document = if json {
            patches::operations(c, made)
        } else {
            patches::strategic(c, made)
        };
        let mut text = document.write(c);
        if !json && c.chance(5) {
            text.push_str("---\n");
            let more = patches::strategic(c, made).write(c);
            text.push_str(&more);
        }
        let mut entry = if c.chance(60) {
            m([("patch", Y::B("|-", text.lines().map(str::to_owned).collect()))])
        } else {
            m([("path", s(self.file("patch.yaml", text)))])
        };
        if json || c.chance(40) {
            entry = entry.with("target", Some(patches::target(c, made)));
        }
        entry.with(
            "options",
            c.maybe(10, |c| {
                m([
                    ("allowNameChange", s(c.pick(&["true", "false"]))),
                    ("allowKindChange", s(c.pick(&["true", "false"]))),
                ])
            }),
        )
    }

    fn replacements(&mut self, c: &mut Choices<'_>) {
        if !c.chance(15) {
            return;
        }
        let Some(from) = self.object(c) else { return };
        let Some(to) = self.object(c) else { return };
        let mut source = m([("kind", s(from.kind)), ("name", s(from.name.as_str()))]);
        source = source.with(
            "fieldPath",
            c.maybe(60, |c| {
                s(match from.kind {
                    "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => c.pick(&[
                        "spec.template.spec.containers.0.image",
                        "spec.template.spec.containers.[name=main].image",
                        "spec.template.spec.containers.0",
                    ]),
                    "ConfigMap" => c.pick(&["data.a", "data", "data.[b.txt]"]),
                    "Widget" => c.pick(&["spec.size", "spec.list", "spec.list.[name=a].v"]),
                    "Service" => c.pick(&["spec.ports.0.port", "spec.selector.app"]),
                    _ => c.pick(&[
                        "metadata.name",
                        "kind",
                        "apiVersion",
                        "metadata.namespace",
                        "metadata.labels",
                    ]),
                })
            }),
        );
        source = source.with("options", c.maybe(25, options));
        let mut select = m([("kind", s(to.kind))]);
        select = select.with("name", c.maybe(60, |_| s(to.name.as_str())));
        let paths: Vec<Y> = (0..1 + c.below(2))
            .map(|_| {
                // The others can be written in some kinds only.
                s(c.pick(&[
                    "metadata.labels.rep",
                    "metadata.labels.rep",
                    "metadata.labels.other",
                    "metadata.annotations.rep",
                    "metadata.annotations.[x.y/z]",
                    "metadata.annotations.[x.y/z]",
                    "spec.template.spec.containers.*.image",
                    "spec.template.spec.containers.[name=main].env.[name=E0].value",
                    "spec.template.spec.containers.0.args.0",
                    "data.a",
                    "data.app\\.yaml",
                    "data.[app.yaml].server.port",
                    "data.[app.json].server.host",
                    "spec.replicas",
                    "spec.size",
                    "spec.list.*.v",
                    "metadata.name",
                ]))
            })
            .collect();
        let mut target = m([("select", select), ("fieldPaths", l(paths))]);
        target = target.with("options", c.maybe(60, options));
        target = target.with("reject", c.maybe(10, |_| l([m([("name", s("web.*"))])])));
        let mut replacement = m([("targets", l([target]))]);
        if c.chance(10) {
            replacement = replacement.with("sourceValue", Some(text(c)));
        } else {
            replacement = replacement.with("source", Some(source));
        }
        if c.chance(20) {
            let text = if c.chance(50) {
                replacement.write(c)
            } else {
                l([replacement]).write(c)
            };
            let name = self.file("replacement.yaml", text);
            self.add("replacements", Some(l([m([("path", s(name))])])));
        } else {
            self.add("replacements", Some(l([replacement])));
        }
    }

    fn vars(&mut self, c: &mut Choices<'_>) {
        if !c.chance(8) {
            return;
        }
        let Some(made) = self.object(c) else { return };
        let target = m([
            ("apiVersion", s(made.api_version)),
            ("kind", s(made.kind)),
            ("name", s(made.name.as_str())),
        ])
        .with("namespace", made.namespace.map(s));
        let mut var = m([("name", s("VAR")), ("objref", target)]);
        var = var.with(
            "fieldref",
            c.maybe(60, |c| {
                m([(
                    "fieldpath",
                    // The others are there in some kinds only.
                    s(c.pick(&[
                        "metadata.name",
                        "metadata.name",
                        "kind",
                        "apiVersion",
                        "metadata",
                        "metadata.namespace",
                        "spec.replicas",
                        "spec.size",
                        "spec.ports[0].port",
                        "data.a",
                    ])),
                )])
            }),
        );
        self.add("vars", Some(l([var])));
    }

    fn plugins(&mut self, c: &mut Choices<'_>) {
        for (field, percent) in [("transformers", 10), ("generators", 6)] {
            if !c.chance(percent) {
                continue;
            }
            let objects = self.objects.clone();
            let made = if field == "generators" {
                plugins::generator(c)
            } else {
                plugins::transformer(c, &objects)
            };
            let text = made.write(c);
            let entry = if c.chance(40) {
                Y::B("|", text.lines().map(str::to_owned).collect())
            } else {
                s(self.file("plugin.yaml", text))
            };
            self.add(field, Some(l([entry])));
        }
        if c.chance(8) {
            let text = plugins::configuration(c).write(c);
            let name = self.file("config.yaml", text);
            self.add("configurations", Some(l([s(name)])));
        }
        if c.chance(5) {
            let text = plugins::definitions(c).write(c);
            let name = self.file("crd.yaml", text);
            self.add("crds", Some(l([s(name)])));
        }
        if c.chance(4) {
            let text = plugins::openapi(c).write(c);
            let name = self.file("schema.yaml", text);
            self.add("openapi", Some(m([("path", s(name))])));
        }
    }

    fn rest(&mut self, c: &mut Choices<'_>) {
        self.add(
            "sortOptions",
            c.maybe(6, |c| match c.below(3) {
                0 => m([("order", s("fifo"))]),
                1 => m([("order", s("legacy"))]),
                _ => m([
                    ("order", s("legacy")),
                    (
                        "legacySortOptions",
                        m([
                            ("orderFirst", l([s("Service"), s("Deployment")])),
                            ("orderLast", l([s("Namespace")])),
                        ]),
                    ),
                ]),
            }),
        );
        self.add(
            "buildMetadata",
            c.maybe(8, |c| {
                let mut all = vec!["originAnnotations", "transformerAnnotations", "managedByLabel"];
                all.truncate(1 + c.below(3));
                l(all.into_iter().map(s))
            }),
        );
    }
}

fn generator_options(c: &mut Choices<'_>) -> Y {
    let mut made = m::<&str>([]);
    made = made.with("disableNameSuffixHash", c.maybe(50, |c| s(c.pick(&["true", "false"]))));
    made = made.with("labels", c.maybe(40, pairs));
    made = made.with("annotations", c.maybe(30, pairs));
    made.with("immutable", c.maybe(30, |c| s(c.pick(&["true", "false"]))))
}

fn options(c: &mut Choices<'_>) -> Y {
    let mut made = m::<&str>([]);
    made = made.with("delimiter", c.maybe(40, |c| s(c.pick(&["'-'", "':'", "'.'", "/"]))));
    made = made.with("index", c.maybe(40, |c| s(c.pick(&["0", "1", "-1", "5"]))));
    // Without it, most targets are not there, and the tree proves little.
    made.with("create", c.maybe(90, |_| s("true")))
}
