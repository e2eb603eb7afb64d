//! Patches of both kinds for objects that are there, or nearly.

use super::Choices;
use super::objects::{CONTAINERS, Made, container, container_port, custom, env, pairs, service_port, volume};
use super::scalars::{IMAGES, odd, text};
use super::write::{Y, l, m, nest, s};

/// The object that a patch is for, as it names it.
pub(super) fn head(c: &mut Choices<'_>, made: &Made) -> Y {
    let name = if c.chance(3) {
        "nobody".to_owned()
    } else {
        made.name.clone()
    };
    let metadata = m([("name", s(name))]).with("namespace", made.namespace.map(s));
    m([
        ("apiVersion", s(made.api_version)),
        ("kind", s(made.kind)),
        ("metadata", metadata),
    ])
}

/// A strategic merge patch.
pub(super) fn strategic(c: &mut Choices<'_>, made: &Made) -> Y {
    let mut patch = head(c, made);
    if c.chance(4) {
        return patch.with("$patch", Some(s(c.pick(&["delete", "replace", "merge", "odd"]))));
    }
    if let Y::M(entries) = &mut patch
        && c.chance(40)
        && let Y::M(metadata) = &mut entries[2].1
    {
        metadata.push((c.pick(&["labels", "annotations"]).to_owned(), nullable(c, pairs)));
    }
    for (key, value) in body(c, made.kind) {
        patch = patch.with(key, Some(value));
    }
    patch
}

fn nullable(c: &mut Choices<'_>, make: impl FnOnce(&mut Choices<'_>) -> Y) -> Y {
    if c.chance(7) {
        s(c.pick(&["null", "", "~", "{}", "[]"]))
    } else {
        let mut made = make(c);
        if let Y::M(entries) = &mut made {
            if c.chance(10)
                && let Some((_, value)) = entries.first_mut()
            {
                *value = s("null");
            }
            if c.chance(4) {
                entries.push(("$patch".to_owned(), s(c.pick(&["replace", "delete", "merge"]))));
            }
        }
        made
    }
}

/// A list that may say what is done with it.
fn directed(c: &mut Choices<'_>, mut items: Vec<Y>) -> Y {
    if c.chance(6) {
        let place = if c.chance(50) { 0 } else { items.len() };
        items.insert(place, m([("$patch", s(c.pick(&["replace", "delete", "merge"])))]));
    }
    l(items)
}

fn body(c: &mut Choices<'_>, kind: &str) -> Vec<(&'static str, Y)> {
    match kind {
        "ConfigMap" | "Secret" => vec![(
            c.pick(&["data", "stringData"]),
            nullable(c, |c| m([("a", odd(c)), (c.pick(&["b.txt", "new"]), text(c))])),
        )],
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" | "ReplicationController" | "Rollout" => {
            let mut spec = m::<&str>([]);
            spec = spec.with("replicas", c.maybe(30, |c| s(c.pick(&["5", "null", "\"5\""]))));
            spec = spec.with(
                "strategy",
                c.maybe(10, |c| nullable(c, |_| m([("type", s("Recreate"))]))),
            );
            spec = spec.with(
                "template",
                c.maybe(80, |c| {
                    let made = m::<&str>([]).with("metadata", c.maybe(20, |c| nest(["labels"], nullable(c, pairs))));
                    made.with("spec", Some(pod(c)))
                }),
            );
            vec![("spec", spec)]
        }
        "Pod" => vec![("spec", pod(c))],
        "CronJob" => vec![("spec", nest(["jobTemplate", "spec", "template"], m([("spec", pod(c))])))],
        "Service" => {
            let ports: Vec<Y> = (0..1 + c.below(2)).map(|_| service_port(c)).collect();
            let spec = m([("ports", directed(c, ports))]);
            vec![("spec", spec.with("selector", c.maybe(30, |c| nullable(c, pairs))))]
        }
        "ServiceAccount" => vec![("secrets", directed(c, vec![m([("name", s("more"))])]))],
        "Widget" => vec![("spec", nullable(c, |c| custom(c, 0)))],
        "Role" | "ClusterRole" => vec![("rules", l([m([("verbs", l([s("list")]))])]))],
        "RoleBinding" | "ClusterRoleBinding" => vec![(
            "subjects",
            directed(c, vec![m([("kind", s("User")), ("name", s("u"))])]),
        )],
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => vec![(
            "webhooks",
            l([m([("name", s("a.example.com")), ("failurePolicy", s("Ignore"))])]),
        )],
        "Ingress" => vec![("spec", nullable(c, |_| m([("tls", l([m([("hosts", l([s("h")]))])]))])))],
        _ => vec![("spec", nullable(c, |c| m([("extra", odd(c))])))],
    }
}

fn pod(c: &mut Choices<'_>) -> Y {
    let mut spec = m::<&str>([]);
    if c.chance(80) {
        let mut containers: Vec<Y> = Vec::new();
        for _ in 0..1 + c.below(2) {
            let name = c.pick(&["main", "side", "web", "new"]);
            let mut one = if c.chance(20) {
                container(c, name)
            } else {
                m([("name", s(name))])
            };
            if c.chance(6) {
                one = one.with("$patch", Some(s(c.pick(&["delete", "replace", "merge"]))));
            }
            if let Y::M(entries) = &one
                && entries.len() == 1
            {
                one = one.with("image", c.maybe(40, |c| s(c.pick(IMAGES))));
                one = one.with(
                    "env",
                    c.maybe(40, |c| {
                        let mut list: Vec<Y> = (0..1 + c.below(2))
                            .map(|_| {
                                let place = c.below(4);
                                env(c, place)
                            })
                            .collect();
                        if c.chance(10) {
                            list.push(m([("name", s("E0")), ("$patch", s("delete"))]));
                        }
                        directed(c, list)
                    }),
                );
                one = one.with(
                    "ports",
                    c.maybe(30, |c| {
                        let ports: Vec<Y> = (0..1 + c.below(2)).map(|_| container_port(c)).collect();
                        directed(c, ports)
                    }),
                );
                one = one.with("args", c.maybe(20, |c| nullable(c, |c| l([odd(c)]))));
                one = one.with(
                    "resources",
                    c.maybe(20, |c| nullable(c, |_| nest(["limits"], m([("cpu", s("2"))])))),
                );
                one = one.with("command", c.maybe(8, |_| s("null")));
            }
            containers.push(one);
        }
        spec = spec.with("containers", Some(directed(c, containers)));
    }
    spec = spec.with(
        "volumes",
        c.maybe(25, |c| {
            let place = c.below(3);
            let mut one = volume(c, place);
            if c.chance(10) {
                one = m([("name", s(format!("vol{place}"))), ("$patch", s("delete"))]);
            }
            directed(c, vec![one])
        }),
    );
    spec = spec.with(
        "tolerations",
        c.maybe(15, |c| nullable(c, |_| l([m([("key", s("p"))])]))),
    );
    spec = spec.with("nodeSelector", c.maybe(15, |c| nullable(c, pairs)));
    spec = spec.with("hostAliases", c.maybe(5, |_| l([m([("ip", s("127.0.0.2"))])])));
    spec = spec.with("serviceAccountName", c.maybe(10, |_| s("other")));
    spec = spec.with(
        "topologySpreadConstraints",
        c.maybe(5, |_| l([m([("topologyKey", s("zone")), ("maxSkew", s("2"))])])),
    );
    spec = spec.with("imagePullSecrets", c.maybe(8, |_| l([m([("name", s("pull"))])])));
    if c.chance(2) {
        spec = spec.with(
            "$setElementOrder/containers",
            Some(l([m([("name", s("side"))]), m([("name", s("main"))])])),
        );
    }
    spec
}

/// The operations of a JSON patch.
pub(super) fn operations(c: &mut Choices<'_>, made: &Made) -> Y {
    let operations: Vec<Y> = (0..1 + c.below(3)).map(|_| operation(c, made)).collect();
    l(operations)
}

fn operation(c: &mut Choices<'_>, made: &Made) -> Y {
    let workload = matches!(made.kind, "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet");
    let path = match c.below(16) {
        0 | 1 => "/metadata/labels",
        2 => "/metadata/annotations",
        3 if !workload => "/spec",
        4 | 8 if workload => "/spec/replicas",
        5 | 6 if workload => "/spec/template/spec/containers/0/image",
        7 if workload => "/spec/template/spec/containers/-",
        9 if made.kind == "ConfigMap" => "/data/a",
        10 => "/metadata/annotations/x.y~1z",
        11 if c.chance(30) => "/metadata/labels/app",
        12 => "/metadata/name",
        13 => "/metadata/namespace",
        _ => "/metadata/labels",
    };
    let op = if path.ends_with('-') {
        "add"
    } else {
        c.pick(&[
            "add", "add", "add", "add", "add", "add", "add", "add", "add", "add", "add", "add", "add", "add",
            "replace", "replace", "replace", "remove", "test", "copy", "copy", "move",
        ])
    };
    let mut operation = m([("op", s(op)), ("path", s(path))]);
    match op {
        "remove" => {}
        "copy" | "move" => {
            operation = operation.with(
                "from",
                Some(s(c.pick(&[
                    "/metadata/name",
                    "/metadata/name",
                    "/kind",
                    "/metadata/labels",
                ]))),
            );
        }
        _ => {
            let value = if path.ends_with("labels") || path.ends_with("annotations") {
                pairs(c)
            } else if path == "/spec" {
                m([("x", odd(c)), ("n", s("1.0"))])
            } else if path.ends_with('-') {
                let name = c.pick(CONTAINERS);
                container(c, name)
            } else {
                odd(c)
            };
            operation = operation.with("value", Some(value));
        }
    }
    operation
}

/// A `target` that takes the object, and maybe more.
pub(super) fn target(c: &mut Choices<'_>, made: &Made) -> Y {
    let mut target = m::<&str>([]);
    let name = made.name.trim_matches(['"', '\'']).to_owned();
    match c.below(6) {
        0 | 1 => {
            target = target
                .with("kind", Some(s(made.kind)))
                .with("name", Some(s(made.name.as_str())));
        }
        2 => target = target.with("kind", Some(s(made.kind))),
        3 => target = target.with("name", Some(s(format!("{}.*", &name[..1])))),
        4 => {
            let (group, version) = made.api_version.split_once('/').unwrap_or(("", made.api_version));
            target = target.with("group", Some(s(if group.is_empty() { "\"\"" } else { group })));
            target = target
                .with("version", Some(s(version)))
                .with("kind", Some(s(made.kind)));
        }
        _ => {
            target = target.with("kind", Some(s("'[A-Z].*'")));
            target = target.with(
                c.pick(&["labelSelector", "annotationSelector"]),
                Some(s(c.pick(&["app=web", "app", "\"!app\"", "tier in (web, x)", "app!=x"]))),
            );
        }
    }
    target.with("namespace", c.maybe(10, |c| s(c.pick(&["default", "apps", "'ns.*'"]))))
}
