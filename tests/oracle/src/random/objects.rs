//! Kubernetes objects of many kinds, with references to each other.

use super::Choices;
use super::scalars::{IMAGES, KEYS, NAMES, NAMESPACES, ODD_KEYS, odd, text};
use super::write::{Y, l, m, nest, s};

/// What an object is called.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub name: String,
    pub namespace: Option<&'static str>,
}

/// Kinds; the plain ones first.
const KINDS: &[(&str, &str)] = &[
    ("v1", "ConfigMap"),
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "Secret"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("v1", "ServiceAccount"),
    ("example.com/v1", "Widget"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
    ("v1", "Pod"),
    ("apps/v1", "DaemonSet"),
    ("networking.k8s.io/v1", "Ingress"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "PersistentVolume"),
    ("v1", "Namespace"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("apiregistration.k8s.io/v1", "APIService"),
    ("policy/v1", "PodDisruptionBudget"),
    ("storage.k8s.io/v1", "StorageClass"),
    ("scheduling.k8s.io/v1", "PriorityClass"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "ReplicationController"),
    ("networking.k8s.io/v1", "IngressClass"),
    ("v1", "ResourceQuota"),
    ("batch/v1beta1", "CronJob"),
    ("extensions/v1beta1", "Ingress"),
    ("v1", "List"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("argoproj.io/v1alpha1", "Rollout"),
];

/// One object; `suffix` and `index` keep most names apart.
pub(super) fn object(c: &mut Choices<'_>, suffix: &str, index: usize) -> (Made, String) {
    let (api_version, kind) = c.pick(KINDS);
    let mut name = c.pick(NAMES).to_owned();
    if !c.chance(15) {
        name = format!("{name}{}{index}", suffix.replace('/', "-"));
    }
    if kind == "CustomResourceDefinition" {
        name = "widgets.example.com".to_owned();
    } else if c.chance(2) {
        name = c
            .pick(&["\"1\"", "'true'", "\"0x1\"", "on", "\"1e3\"", "yes"])
            .to_owned();
    }
    let namespace = c.maybe(30, |c| c.pick(NAMESPACES));
    let made = Made {
        api_version,
        kind,
        name,
        namespace,
    };
    if kind == "List" {
        let items = (0..c.below(3)).map(|place| {
            let inner = Made {
                api_version: "v1",
                kind: "ConfigMap",
                name: format!("{}-{place}", made.name.trim_matches(['"', '\''])),
                namespace: None,
            };
            whole(c, &inner)
        });
        let items: Vec<Y> = items.collect();
        let list = m([("apiVersion", s("v1")), ("kind", s("List")), ("items", l(items))]);
        return (made, list.write(c));
    }
    let document = whole(c, &made);
    let text = document.write(c);
    (made, text)
}

fn whole(c: &mut Choices<'_>, made: &Made) -> Y {
    let mut metadata = m([("name", s(made.name.as_str()))]);
    metadata = metadata.with("namespace", made.namespace.map(s));
    metadata = metadata.with("labels", c.maybe(35, pairs));
    metadata = metadata.with("annotations", c.maybe(25, |c| annotations(c, made.kind)));
    metadata = metadata.with("creationTimestamp", c.maybe(5, |_| s("null")));
    metadata = metadata.with("finalizers", c.maybe(3, |c| l([s("x/y"), odd(c)])));
    metadata = metadata.with(
        "ownerReferences",
        c.maybe(2, |_| {
            l([m([
                ("apiVersion", s("v1")),
                ("kind", s("Pod")),
                ("name", s("p")),
                ("uid", s("u1")),
            ])])
        }),
    );
    let mut document = if c.chance(10) {
        m([
            ("metadata", metadata),
            ("kind", s(made.kind)),
            ("apiVersion", s(made.api_version)),
        ])
    } else {
        m([
            ("apiVersion", s(made.api_version)),
            ("kind", s(made.kind)),
            ("metadata", metadata),
        ])
    };
    for (key, value) in body(c, made.kind) {
        document = document.with(key, Some(value));
    }
    document = document.with("status", c.maybe(3, |c| m([("x", odd(c)), ("conditions", l([]))])));
    document
}

pub(super) fn pairs(c: &mut Choices<'_>) -> Y {
    let mut entries: Vec<(&str, Y)> = Vec::new();
    for _ in 0..1 + c.below(3) {
        let key = if c.chance(1) { c.pick(ODD_KEYS) } else { c.pick(KEYS) };
        if entries.iter().all(|(known, _)| *known != key) {
            entries.push((key, text(c)));
        }
    }
    if c.chance(2) {
        return s(c.pick(&["", "{}", "null"]));
    }
    m(entries)
}

fn annotations(c: &mut Choices<'_>, kind: &str) -> Y {
    let mut made = pairs(c);
    if let Y::M(entries) = &mut made {
        if c.chance(15) {
            entries.push(("note".to_owned(), odd_text(c)));
        }
        if c.chance(4) {
            entries.push(("config.kubernetes.io/local-config".to_owned(), s("\"true\"")));
        }
        // The hash of other kinds covers the columns and comments of their YAML.
        if matches!(kind, "ConfigMap" | "Secret") && c.chance(8) {
            entries.push(("internal.config.kubernetes.io/needsHashSuffix".to_owned(), s("enabled")));
        }
        if c.chance(3) {
            entries.push(("config.kubernetes.io/origin".to_owned(), s("mine")));
        }
        if c.chance(3) {
            entries.push((
                "internal.config.kubernetes.io/generatorBehavior".to_owned(),
                s(c.pick(&["merge", "replace", "create", "odd"])),
            ));
        }
    }
    made
}

/// Text that stays one: a block, or quoted.
fn odd_text(c: &mut Choices<'_>) -> Y {
    if c.chance(50) {
        super::scalars::block(c)
    } else {
        text(c)
    }
}

fn name_of(c: &mut Choices<'_>) -> Y {
    let name = c.pick(NAMES);
    let end = c.pick(&["0", "1", "", "base0", "other0", "-2"]);
    s(format!("{name}{end}"))
}

fn body(c: &mut Choices<'_>, kind: &str) -> Vec<(&'static str, Y)> {
    match kind {
        "ConfigMap" => {
            let mut fields = vec![("data", data(c))];
            if c.chance(5) {
                fields.push(("binaryData", m([("b", s("aGk="))])));
            }
            if c.chance(5) {
                fields.push(("immutable", s("true")));
            }
            fields
        }
        "Secret" => vec![
            ("type", s(c.pick(&["Opaque", "kubernetes.io/tls"]))),
            (c.pick(&["stringData", "data"]), data(c)),
        ],
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Rollout" => {
            let mut spec = m([("template", template(c))]);
            spec = spec.with(
                "replicas",
                c.maybe(60, |c| s(c.pick(&["1", "3", "\"2\"", "null", "0"]))),
            );
            if c.chance(70) {
                let selector = if kind == "ReplicationController" {
                    pairs(c)
                } else {
                    nest(["matchLabels"], pairs(c))
                };
                spec = spec.with("selector", Some(selector));
            }
            if kind == "StatefulSet" {
                spec = spec.with("serviceName", Some(name_of(c)));
                spec = spec.with(
                    "volumeClaimTemplates",
                    c.maybe(40, |c| {
                        l([m([
                            ("metadata", m([("name", s("data"))]).with("labels", c.maybe(30, pairs))),
                            (
                                "spec",
                                m([
                                    ("accessModes", l([s("ReadWriteOnce")])),
                                    ("storageClassName", name_of(c)),
                                ]),
                            ),
                        ])])
                    }),
                );
            }
            spec = spec.with(
                "strategy",
                c.maybe(15, |c| {
                    m([
                        ("type", s("RollingUpdate")),
                        ("rollingUpdate", m([("maxSurge", s(c.pick(&["1", "25%", "\"1\""])))])),
                    ])
                }),
            );
            vec![("spec", spec)]
        }
        "Pod" => vec![("spec", pod_spec(c))],
        "Job" => vec![("spec", m([("template", template(c))]))],
        "CronJob" => vec![(
            "spec",
            m([
                ("schedule", s("\"*/5 * * * *\"")),
                ("jobTemplate", nest(["spec"], m([("template", template(c))]))),
            ]),
        )],
        "Service" => {
            let ports: Vec<Y> = (0..1 + c.below(3)).map(|_| service_port(c)).collect();
            let mut spec = m([("ports", l(ports))]);
            spec = spec.with("selector", c.maybe(70, pairs));
            spec = spec.with("type", c.maybe(30, |c| s(c.pick(&["ClusterIP", "LoadBalancer"]))));
            vec![("spec", spec)]
        }
        "ServiceAccount" => {
            let mut fields = Vec::new();
            if c.chance(40) {
                fields.push(("secrets", l([m([("name", name_of(c))])])));
            }
            if c.chance(30) {
                fields.push(("imagePullSecrets", l([m([("name", name_of(c))])])));
            }
            fields
        }
        "Role" | "ClusterRole" => {
            let mut rule = m([
                ("apiGroups", l([s("\"\"")])),
                ("resources", l([s("configmaps")])),
                ("verbs", l([s("get"), s("'*'")])),
            ]);
            rule = rule.with("resourceNames", c.maybe(50, |c| l([name_of(c), name_of(c)])));
            let mut fields = vec![("rules", if c.chance(5) { s("null") } else { l([rule]) })];
            if kind == "ClusterRole" && c.chance(20) {
                fields.push((
                    "aggregationRule",
                    nest(["clusterRoleSelectors"], l([nest(["matchLabels"], pairs(c))])),
                ));
            }
            fields
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            let role = c.pick(&["ClusterRole", "Role"]);
            let subjects = (0..1 + c.below(2)).map(|_| {
                let mut subject = m([("kind", s(c.pick(&["ServiceAccount", "User", "Group"])))]);
                let name = if c.chance(30) { s("default") } else { name_of(c) };
                subject = subject.with("name", Some(name));
                subject.with("namespace", c.maybe(50, |c| s(c.pick(NAMESPACES))))
            });
            let subjects: Vec<Y> = subjects.collect();
            vec![
                (
                    "roleRef",
                    m([
                        ("apiGroup", s("rbac.authorization.k8s.io")),
                        ("kind", s(role)),
                        ("name", name_of(c)),
                    ]),
                ),
                ("subjects", l(subjects)),
            ]
        }
        "Ingress" => {
            let backend = if c.chance(70) {
                m([("service", m([("name", name_of(c)), ("port", m([("number", s("80"))]))]))])
            } else {
                m([("serviceName", name_of(c)), ("servicePort", s("80"))])
            };
            let path = m([("path", s("/")), ("pathType", s("Prefix")), ("backend", backend)]);
            let mut spec = m([(
                "rules",
                l([m([("host", s("x.example")), ("http", nest(["paths"], l([path])))])]),
            )]);
            spec = spec.with("tls", c.maybe(50, |c| l([m([("secretName", name_of(c))])])));
            spec = spec.with("ingressClassName", c.maybe(30, name_of));
            vec![("spec", spec)]
        }
        "NetworkPolicy" => vec![(
            "spec",
            m([
                ("podSelector", nest(["matchLabels"], pairs(c))),
                (
                    "ingress",
                    l([m([(
                        "from",
                        l([m([("podSelector", nest(["matchLabels"], pairs(c)))])]),
                    )])]),
                ),
            ]),
        )],
        "HorizontalPodAutoscaler" => vec![(
            "spec",
            m([
                (
                    "scaleTargetRef",
                    m([
                        ("apiVersion", s("apps/v1")),
                        ("kind", s(c.pick(&["Deployment", "StatefulSet"]))),
                        ("name", name_of(c)),
                    ]),
                ),
                ("maxReplicas", s("3")),
            ]),
        )],
        "PersistentVolumeClaim" => vec![(
            "spec",
            m([("storageClassName", name_of(c)), ("volumeName", name_of(c))]),
        )],
        "PersistentVolume" => vec![(
            "spec",
            m([(
                "claimRef",
                m([("name", name_of(c))]).with("namespace", c.maybe(50, |c| s(c.pick(NAMESPACES)))),
            )]),
        )],
        "CustomResourceDefinition" => vec![(
            "spec",
            m([
                ("group", s("example.com")),
                ("names", m([("kind", s("Widget")), ("plural", s("widgets"))])),
                (
                    "conversion",
                    nest(
                        ["webhook", "clientConfig", "service"],
                        m([("name", name_of(c)), ("namespace", s("default"))]),
                    ),
                ),
            ]),
        )],
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => vec![(
            "webhooks",
            l([m([
                ("name", s("a.example.com")),
                (
                    "clientConfig",
                    nest(
                        ["service"],
                        m([("name", name_of(c)), ("namespace", s(c.pick(NAMESPACES)))]),
                    ),
                ),
            ])]),
        )],
        "APIService" => vec![(
            "spec",
            nest(
                ["service"],
                m([("name", name_of(c))]).with("namespace", c.maybe(60, |c| s(c.pick(NAMESPACES)))),
            ),
        )],
        "PodDisruptionBudget" => vec![(
            "spec",
            m([
                ("minAvailable", s(c.pick(&["1", "50%"]))),
                ("selector", nest(["matchLabels"], pairs(c))),
            ]),
        )],
        "PriorityClass" => vec![("value", s(c.pick(&["1000", "1000000000", "1e6"])))],
        "Widget" => vec![("spec", custom(c, 0))],
        "ServiceMonitor" => vec![(
            "spec",
            m([
                ("selector", nest(["matchLabels"], pairs(c))),
                ("endpoints", l([m([("port", s("http"))])])),
            ]),
        )],
        _ => Vec::new(),
    }
}

fn data(c: &mut Choices<'_>) -> Y {
    let mut entries: Vec<(&str, Y)> = Vec::new();
    for key in ["a", "b.txt", "config.yaml", "k3"] {
        if c.chance(50) {
            entries.push((key, if c.chance(60) { odd_text(c) } else { odd(c) }));
        }
    }
    if c.chance(10) {
        entries.push((
            "app.yaml",
            Y::B(
                "|",
                vec!["server:".into(), "  port: 80".into(), "  host: \"x\" # host".into()],
            ),
        ));
    }
    if c.chance(5) {
        entries.push(("app.json", s("'{\"server\":{\"port\":80,\"host\":\"x\"}}'")));
    }
    m(entries)
}

fn template(c: &mut Choices<'_>) -> Y {
    let metadata = c.maybe(70, |c| {
        let made = m::<&str>([]).with("labels", c.maybe(80, pairs));
        made.with("annotations", c.maybe(20, pairs))
    });
    let mut made = m::<&str>([]).with("metadata", metadata);
    made = made.with("spec", Some(pod_spec(c)));
    made
}

pub(super) const CONTAINERS: &[&str] = &["main", "side", "web"];

fn pod_spec(c: &mut Choices<'_>) -> Y {
    let mut names = CONTAINERS.to_vec();
    let containers: Vec<Y> = (0..1 + c.below(3))
        .map(|_| names.remove(0))
        .map(|name| container(c, name))
        .collect();
    let mut spec = m([("containers", l(containers))]);
    spec = spec.with("initContainers", c.maybe(20, |c| l([container(c, "init")])));
    spec = spec.with(
        "volumes",
        c.maybe(40, |c| {
            let volumes: Vec<Y> = (0..1 + c.below(3)).map(|place| volume(c, place)).collect();
            l(volumes)
        }),
    );
    spec = spec.with("serviceAccountName", c.maybe(30, name_of));
    spec = spec.with("priorityClassName", c.maybe(8, name_of));
    spec = spec.with("imagePullSecrets", c.maybe(15, |c| l([m([("name", name_of(c))])])));
    spec = spec.with(
        "tolerations",
        c.maybe(20, |c| {
            l([m([("key", s("k")), ("operator", s("Exists"))]), m([("value", odd(c))])])
        }),
    );
    spec = spec.with("nodeSelector", c.maybe(15, pairs));
    spec = spec.with(
        "hostAliases",
        c.maybe(8, |_| l([m([("ip", s("127.0.0.1")), ("hostnames", l([s("a")]))])])),
    );
    spec = spec.with(
        "topologySpreadConstraints",
        c.maybe(8, |c| {
            l([m([
                ("maxSkew", s("1")),
                ("topologyKey", s("zone")),
                ("whenUnsatisfiable", s("DoNotSchedule")),
                ("labelSelector", nest(["matchLabels"], pairs(c))),
            ])])
        }),
    );
    spec.with(
        "affinity",
        c.maybe(8, |c| {
            nest(
                ["podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution"],
                l([m([
                    ("labelSelector", nest(["matchLabels"], pairs(c))),
                    ("topologyKey", s("h")),
                ])]),
            )
        }),
    )
}

pub(super) fn container(c: &mut Choices<'_>, name: &str) -> Y {
    let mut made = m([("name", s(name))]);
    made = made.with("image", c.maybe(90, |c| s(c.pick(IMAGES))));
    made = made.with(
        "env",
        c.maybe(50, |c| {
            let vars: Vec<Y> = (0..1 + c.below(3)).map(|place| env(c, place)).collect();
            l(vars)
        }),
    );
    made = made.with(
        "envFrom",
        c.maybe(15, |c| {
            l([m([(c.pick(&["configMapRef", "secretRef"]), m([("name", name_of(c))]))])])
        }),
    );
    made = made.with(
        "ports",
        c.maybe(40, |c| {
            let ports: Vec<Y> = (0..1 + c.below(3)).map(|_| container_port(c)).collect();
            l(ports)
        }),
    );
    made = made.with("args", c.maybe(25, |c| l([s("--x"), odd(c), odd(c)])));
    made = made.with("command", c.maybe(15, |c| l([s("sh"), odd(c)])));
    made = made.with(
        "volumeMounts",
        c.maybe(25, |c| {
            l([m([
                ("name", s(format!("vol{}", c.below(2)))),
                ("mountPath", s("/data")),
            ])])
        }),
    );
    made.with(
        "resources",
        c.maybe(20, |c| {
            m([(
                "limits",
                m([
                    ("cpu", s(c.pick(&["100m", "1", "0.5"]))),
                    ("memory", s(c.pick(&["1Gi", "1e9"]))),
                ]),
            )])
        }),
    )
}

pub(super) fn env(c: &mut Choices<'_>, place: usize) -> Y {
    let name = format!("E{place}");
    if c.chance(30) {
        let (from, field) = c.pick(&[("configMapKeyRef", "key"), ("secretKeyRef", "key")]);
        return m([
            ("name", s(name)),
            ("valueFrom", nest([from], m([("name", name_of(c)), (field, s("a"))]))),
        ]);
    }
    m([
        ("name", s(name)),
        ("value", if c.chance(60) { text(c) } else { odd(c) }),
    ])
}

pub(super) fn container_port(c: &mut Choices<'_>) -> Y {
    let mut port = m([("containerPort", s(c.pick(&["80", "443", "53", "\"80\""])))]);
    port = port.with("protocol", c.maybe(50, |c| s(c.pick(&["TCP", "UDP"]))));
    port.with("name", c.maybe(50, |c| s(c.pick(&["http", "dns"]))))
}

pub(super) fn service_port(c: &mut Choices<'_>) -> Y {
    let mut port = m([("port", s(c.pick(&["80", "443", "53"])))]);
    port = port.with("protocol", c.maybe(50, |c| s(c.pick(&["TCP", "UDP"]))));
    port = port.with("name", c.maybe(50, |c| s(c.pick(&["http", "dns"]))));
    port.with("targetPort", c.maybe(40, |c| s(c.pick(&["8080", "http", "\"80\""]))))
}

pub(super) fn volume(c: &mut Choices<'_>, place: usize) -> Y {
    let source = match c.below(4) {
        0 => ("configMap", m([("name", name_of(c))])),
        1 => ("secret", m([("secretName", name_of(c))])),
        2 => ("emptyDir", m::<&str>([])),
        _ => (
            "projected",
            nest(["sources"], l([m([("configMap", m([("name", name_of(c))]))])])),
        ),
    };
    m([("name", s(format!("vol{place}"))), source])
}

/// The body of a custom object: anything.
pub(super) fn custom(c: &mut Choices<'_>, depth: usize) -> Y {
    let mut made = m([("size", odd(c))]);
    made = made.with("ref", c.maybe(30, |c| m([("name", name_of(c))])));
    made = made.with(
        "list",
        c.maybe(40, |c| l([m([("name", s("a")), ("v", odd(c))]), m([("name", s("b"))])])),
    );
    made = made.with("empty", c.maybe(20, |c| s(c.pick(&["", "{}", "[]", "null", "~"]))));
    made = made.with("scalars", c.maybe(20, |c| l([odd(c), odd(c)])));
    made = made.with("image", c.maybe(15, |c| s(c.pick(IMAGES))));
    if depth == 0 && c.chance(30) {
        made = made.with("inner", Some(custom(c, 1)));
        made = made.with("containers", c.maybe(30, |c| l([container(c, "main")])));
    }
    made
}
