//! Which columns a kind has. Those of Flux kinds are flux's.

use jiff::Timestamp;
use kube::{ResourceExt, api::DynamicObject};

use crate::{
    age, api,
    fields::{self, condition_status, flag, number, ready, shorten, text, title},
    kinds::{self, Kind},
    table::Table,
};

/// How objects of one kind are shown.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// The kind.
    pub kind: &'static Kind,
    /// Whether the namespace comes first.
    pub namespace: bool,
    /// Whether names carry their kind.
    pub prefixed: bool,
    /// Whether there are more columns.
    pub wide: bool,
    /// Whether the source of a Kustomization is shown.
    pub source: bool,
}

type Cell = (&'static str, String);

impl Columns {
    /// A table with the headers and no rows.
    pub fn table(&self) -> Table {
        // An object without any field has the same columns as every other.
        let nothing = DynamicObject {
            types: None,
            metadata: Default::default(),
            data: serde_json::json!({}),
        };
        Table::new(
            self.cells(&nothing, Timestamp::UNIX_EPOCH)
                .into_iter()
                .map(|(header, _)| header),
        )
    }

    /// The cells of one object.
    pub fn row(&self, object: &DynamicObject, now: Timestamp) -> Vec<String> {
        self.cells(object, now).into_iter().map(|(_, cell)| cell).collect()
    }

    fn cells(&self, object: &DynamicObject, now: Timestamp) -> Vec<Cell> {
        let name = object.name_any();
        let mut cells = Vec::new();
        if self.namespace {
            cells.push(("Namespace", object.namespace().unwrap_or_default()));
        }
        cells.push(("Name", if self.prefixed { self.kind.prefixed(&name) } else { name }));
        if *self.kind == kinds::CLUSTER {
            cells.extend(cluster(object));
        } else if kinds::FLEET.contains(&self.kind) {
            cells.extend(fleet(object, self.wide));
        } else if *self.kind == kinds::KUSTOMIZATION {
            cells.extend(kustomization(object, self.source || self.wide));
        } else if *self.kind == kinds::HELM_RELEASE {
            cells.extend(helm_release(object, self.source || self.wide));
        } else if *self.kind == kinds::EXTERNAL_ARTIFACT {
            cells.extend(external_artifact(object));
        } else if *self.kind == kinds::ARTIFACT_GENERATOR {
            cells.push(("Suspended", title(api::is_suspended(self.kind, object))));
        } else {
            cells.extend(source(object));
        }
        let (status, message) = ready(object);
        cells.extend([("Ready", status), ("Message", message)]);
        if self.wide {
            if *self.kind == kinds::CLUSTER {
                cells.extend([
                    ("Agent", or_dash(text(object, "/status/agentVersion"))),
                    ("Transport", or_dash(text(object, "/status/transport"))),
                    ("Labels", fields::labels(object)),
                ]);
            }
            let has_url = [&kinds::GIT_REPOSITORY, &kinds::OCI_REPOSITORY, &kinds::HELM_REPOSITORY];
            if has_url.contains(&self.kind) {
                cells.push(("URL", text(object, "/spec/url").to_owned()));
            }
            if *self.kind == kinds::BUCKET {
                cells.push(("Endpoint", text(object, "/spec/endpoint").to_owned()));
            }
            let created = object.metadata.creation_timestamp.as_ref();
            cells.push((
                "Age",
                created.map_or_else(|| "<unknown>".to_owned(), |created| age::since(created.0, now)),
            ));
        }
        cells
    }
}

fn cluster(object: &DynamicObject) -> Vec<Cell> {
    let counts = ["ready", "progressing", "failed", "suspended", "held", "orphaned"]
        .map(|state| number(object, &format!("/status/counts/{state}")));
    let objects = match object.data.pointer("/status/counts") {
        Some(_) => format!("{}/{}", counts[0], counts.iter().sum::<i64>()),
        None => "-".to_owned(),
    };
    vec![
        ("Mode", text(object, "/spec/mode").to_owned()),
        ("Kubernetes", or_dash(text(object, "/status/kubernetesVersion"))),
        ("Objects", objects),
        ("Suspended", title(flag(object, "/spec/suspend"))),
        ("Connected", condition_status(object, nave_crds::conditions::CONNECTED)),
    ]
}

fn fleet(object: &DynamicObject, wide: bool) -> Vec<Cell> {
    let count = |state: &str| number(object, &format!("/status/clusters/{state}"));
    let mut cells = vec![
        ("Revision", shorten(text(object, "/status/targetRevision"))),
        ("Clusters", count("selected").to_string()),
        ("Updated", count("updated").to_string()),
        ("Healthy", count("ready").to_string()),
        ("Failed", count("failed").to_string()),
    ];
    if wide {
        cells.extend([
            ("Unknown", count("unknown").to_string()),
            ("Held", count("held").to_string()),
            ("Denied", count("denied").to_string()),
            ("Delivery", text(object, "/spec/delivery").to_owned()),
        ]);
    }
    cells.push(("Suspended", title(flag(object, "/spec/suspend"))));
    cells
}

fn kustomization(object: &DynamicObject, source: bool) -> Vec<Cell> {
    let mut cells = Vec::new();
    if source {
        let reference = |field: &str| text(object, &format!("/spec/sourceRef/{field}"));
        let name = match reference("namespace") {
            "" => reference("name").to_owned(),
            namespace => format!("{namespace}/{}", reference("name")),
        };
        cells.push(("Source", format!("{}/{name}", reference("kind").to_lowercase())));
    }
    cells.push(("Revision", shorten(text(object, "/status/lastAppliedRevision"))));
    cells.push(("Suspended", title(flag(object, "/spec/suspend"))));
    cells
}

fn helm_release(object: &DynamicObject, source: bool) -> Vec<Cell> {
    let mut cells = Vec::new();
    if source {
        let reference = match object.data.pointer("/spec/chartRef") {
            Some(_) => "/spec/chartRef",
            None => "/spec/chart/spec/sourceRef",
        };
        let reference = |field: &str| text(object, &format!("{reference}/{field}"));
        let name = match reference("namespace") {
            "" => reference("name").to_owned(),
            namespace => format!("{namespace}/{}", reference("name")),
        };
        cells.push(("Source", format!("{}/{name}", reference("kind").to_lowercase())));
    }
    // What is released; without a release, what was tried.
    let revision = match text(object, "/status/history/0/chartVersion") {
        "" => text(object, "/status/lastAttemptedRevision"),
        released => released,
    };
    cells.push(("Revision", revision.to_owned()));
    cells.push(("Suspended", title(flag(object, "/spec/suspend"))));
    cells
}

fn source(object: &DynamicObject) -> Vec<Cell> {
    vec![
        ("Revision", shorten(text(object, "/status/artifact/revision"))),
        ("Suspended", title(flag(object, "/spec/suspend"))),
    ]
}

fn external_artifact(object: &DynamicObject) -> Vec<Cell> {
    let reference = |field: &str| text(object, &format!("/spec/sourceRef/{field}"));
    let source = match (reference("kind"), reference("namespace"), reference("name")) {
        ("", _, _) => String::new(),
        (kind, "", name) => format!("{kind}/{name}"),
        (kind, namespace, name) => format!("{kind}/{namespace}/{name}"),
    };
    vec![
        ("Revision", shorten(text(object, "/status/artifact/revision"))),
        ("Source", source),
    ]
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(kind: &'static Kind, change: impl FnOnce(&mut Columns), objects: &[Value], want: &str) {
        let mut columns = Columns {
            kind,
            namespace: false,
            prefixed: false,
            wide: false,
            source: false,
        };
        change(&mut columns);
        let now = "2026-11-21T08:00:00Z".parse().expect("a time");
        let mut table = columns.table();
        for object in objects {
            let mut object = object.clone();
            object["apiVersion"] = json!(kind.api_version());
            object["kind"] = json!(kind.kind);
            table.row(columns.row(&serde_json::from_value(object).expect("an object"), now));
        }
        let got = table.into_text();
        assert_eq!(got, want, "\n{got}");
    }

    fn ready(status: &str, message: &str) -> Value {
        json!({"type": "Ready", "status": status, "reason": "X", "message": message})
    }

    fn kustomization() -> Value {
        json!({
            "metadata": {"name": "apps", "namespace": "flux-system"},
            "spec": {"sourceRef": {"kind": "GitRepository", "name": "platform"}},
            "status": {
                "lastAppliedRevision": format!("main@sha1:{}", "a".repeat(40)),
                "conditions": [ready("True", &format!("Applied revision: main@sha1:{}", "a".repeat(40)))]
            }
        })
    }

    #[test]
    fn kustomizations_have_the_columns_of_flux() {
        let fresh = json!({"metadata": {"name": "infrastructure", "namespace": "x"}, "spec": {"suspend": true}});
        check(
            &kinds::KUSTOMIZATION,
            |_| {},
            &[kustomization(), fresh.clone()],
            "NAME             REVISION             SUSPENDED   READY   MESSAGE\n\
             apps             main@sha1:aaaaaaaa   False       True    Applied revision: main@sha1:aaaaaaaa\n\
             infrastructure                        True        False   waiting to be reconciled\n",
        );
        check(
            &kinds::KUSTOMIZATION,
            |columns| (columns.namespace, columns.prefixed, columns.source) = (true, true, true),
            &[kustomization()],
            "NAMESPACE     NAME                 SOURCE                   REVISION             SUSPENDED   READY   MESSAGE\n\
             flux-system   kustomization/apps   gitrepository/platform   main@sha1:aaaaaaaa   False       True    Applied revision: main@sha1:aaaaaaaa\n",
        );
    }

    #[test]
    fn releases_have_the_columns_of_flux() {
        let released = json!({
            "metadata": {"name": "web"},
            "spec": {"chartRef": {"kind": "ExternalArtifact", "name": "web"}},
            "status": {"history": [{"chartVersion": "1.2.3"}], "lastAttemptedRevision": "1.3.0",
                "conditions": [ready("False", "upgrade failed")]}
        });
        let tried = json!({
            "metadata": {"name": "db"},
            "spec": {"suspend": true, "chart": {"spec": {"sourceRef": {"kind": "HelmRepository", "name": "r", "namespace": "n"}}}},
            "status": {"lastAttemptedRevision": "2.0.0", "conditions": [ready("False", "install failed")]}
        });
        check(
            &kinds::HELM_RELEASE,
            |columns| columns.source = true,
            &[released, tried],
            "NAME   SOURCE                 REVISION   SUSPENDED   READY   MESSAGE\n\
             web    externalartifact/web   1.2.3      False       False   upgrade failed\n\
             db     helmrepository/n/r     2.0.0      True        False   install failed\n",
        );
    }

    #[test]
    fn sources_have_the_columns_of_flux() {
        check(
            &kinds::GIT_REPOSITORY,
            |_| {},
            &[
                json!({"metadata": {"name": "platform"}, "status": {"artifact": {"revision": "main@sha1:1"}, "conditions": [ready("False", "auth")]}}),
            ],
            "NAME       REVISION      SUSPENDED   READY   MESSAGE\n\
             platform   main@sha1:1   False       False   auth\n",
        );
        check(
            &kinds::EXTERNAL_ARTIFACT,
            |_| {},
            &[
                json!({"metadata": {"name": "apps"}, "spec": {"sourceRef": {"kind": "Cluster", "name": "x"}}, "status": {"artifact": {"revision": "r"}, "conditions": [ready("True", "stored")]}}),
            ],
            "NAME   REVISION   SOURCE      READY   MESSAGE\n\
             apps   r          Cluster/x   True    stored\n",
        );
        check(
            &kinds::ARTIFACT_GENERATOR,
            |_| {},
            &[
                json!({"metadata": {"name": "split", "annotations": {"source.extensions.fluxcd.io/reconcile": "disabled"}}}),
                json!({"metadata": {"name": "two"}, "status": {"conditions": [ready("True", "made")]}}),
            ],
            "NAME    SUSPENDED   READY   MESSAGE\n\
             split   True        False   waiting to be reconciled\n\
             two     False       True    made\n",
        );
    }

    #[test]
    fn clusters_show_whether_they_are_there_and_well() {
        let cluster = json!({
            "metadata": {"name": "eu-1", "namespace": "platform", "labels": {"env": "prod"}, "creationTimestamp": "2026-11-21T07:00:00Z"},
            "spec": {"mode": "Agent"},
            "status": {
                "kubernetesVersion": "v1.36.3", "agentVersion": "v0.1.0", "transport": "quic",
                "counts": {"ready": 11, "failed": 1},
                "conditions": [{"type": "Connected", "status": "True"}, ready("False", "1 object failed")]
            }
        });
        let waiting = json!({"metadata": {"name": "us-1", "namespace": "platform", "creationTimestamp": "2026-11-21T07:59:00Z"}, "spec": {"mode": "KubeConfig"}});
        check(
            &kinds::CLUSTER,
            |columns| columns.namespace = true,
            &[cluster.clone(), waiting.clone()],
            "NAMESPACE   NAME   MODE         KUBERNETES   OBJECTS   SUSPENDED   CONNECTED   READY   MESSAGE\n\
             platform    eu-1   Agent        v1.36.3      11/12     False       True        False   1 object failed\n\
             platform    us-1   KubeConfig   -            -         False       -           False   waiting to be reconciled\n",
        );
        check(
            &kinds::CLUSTER,
            |columns| columns.wide = true,
            &[cluster, waiting],
            "NAME   MODE         KUBERNETES   OBJECTS   SUSPENDED   CONNECTED   READY   MESSAGE                    AGENT    TRANSPORT   LABELS     AGE\n\
             eu-1   Agent        v1.36.3      11/12     False       True        False   1 object failed            v0.1.0   quic        env=prod   60m\n\
             us-1   KubeConfig   -            -         False       -           False   waiting to be reconciled   -        -           <none>     60s\n",
        );
    }

    #[test]
    fn fleet_objects_count_their_clusters() {
        check(
            &kinds::FLEET_KUSTOMIZATION,
            |_| {},
            &[json!({
                "metadata": {"name": "apps"},
                "spec": {"delivery": "Artifact"},
                "status": {
                    "targetRevision": "main@sha1:abc", "clusters": {"selected": 3, "updated": 3, "ready": 2, "failed": 1},
                    "conditions": [ready("False", "1 of 3 clusters failed: eu-1")]
                }
            })],
            "NAME   REVISION        CLUSTERS   UPDATED   HEALTHY   FAILED   SUSPENDED   READY   MESSAGE\n\
             apps   main@sha1:abc   3          3         2         1        False       False   1 of 3 clusters failed: eu-1\n",
        );
    }
}
