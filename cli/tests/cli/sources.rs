//! Sources and their Secrets, made, printed and deleted; the controllers are played by the tests.

use kube::{
    ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    runtime::wait::await_condition,
};
use nave_bed::{GitServer, GitServerOptions};
use serde_json::{Value, json};

use super::support::{RUNTIME, api, condition, namespace, nave, on, put, shared};

const GIT: (&str, &str, &str) = ("source.toolkit.fluxcd.io/v1", "GitRepository", "gitrepositories");

#[test]
fn a_source_is_printed_without_a_cluster() {
    RUNTIME.block_on(async {
        let line = "create source git app --url https://git.example.com/app --tag-semver >=1.0.0 --interval 10m \
                    --fetch-timeout 30s --secret-ref app --label team=a --export";
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            nave(None, &words).await.ok(),
            "---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata:\n  labels:\n    team: a\n  \
             name: app\n  namespace: flux-system\nspec:\n  interval: 10m0s\n  ref:\n    semver: '>=1.0.0'\n  \
             secretRef:\n    name: app\n  timeout: 30s\n  url: https://git.example.com/app\n"
        );
        let error = nave(
            None,
            &[
                "create",
                "source",
                "git",
                "app",
                "--url",
                "git@h:a.git",
                "--branch",
                "main",
                "--export",
            ],
        )
        .await
        .fails(1);
        assert!(
            error.contains("write it as \"ssh://git@h/a.git\"") && error.contains("hint:"),
            "{error}"
        );
        let secret = [
            "create",
            "secret",
            "git",
            "app",
            "--url",
            "https://h/a",
            "-u",
            "me",
            "-p",
            "pw",
            "--export",
        ];
        assert_eq!(
            nave(None, &secret).await.ok(),
            "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: app\n  namespace: flux-system\nstringData:\n  \
             password: pw\n  username: me\ntype: Opaque\n"
        );
        let missing = [
            "create",
            "secret",
            "githubapp",
            "app",
            "--app-id",
            "1",
            "--app-installation-id",
            "2",
        ];
        assert_eq!(nave(None, &missing).await.code, 2);
    });
}

#[test]
fn a_source_with_its_secret_is_made_waited_for_printed_and_deleted() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "sources").await;
        let sources = api(&client, GIT.0, GIT.1, GIT.2, "sources");
        let revision = format!("main@sha1:{}", "a".repeat(40));
        let controller = async {
            let there = |object: Option<&DynamicObject>| object.is_some();
            let object = await_condition(sources.clone(), "app", there)
                .await
                .expect("a watch")
                .expect("an object");
            let mut ready = condition("Ready", "True", "Succeeded", "stored artifact");
            ready["observedGeneration"] = json!(object.metadata.generation);
            let status = json!({"status": {
                "observedGeneration": object.metadata.generation, "conditions": [ready],
                "artifact": {
                    "revision": revision, "path": "p", "url": "http://x/p", "digest": format!("sha256:{}", "b".repeat(64)),
                    "lastUpdateTime": "2026-11-21T12:00:00Z"
                }
            }});
            sources
                .patch_status("app", &PatchParams::default(), &Patch::Merge(&status))
                .await
                .expect("a status");
        };
        let line = "create source git app --url https://git.example.com/app --branch main -u me -p pw -n sources --timeout 60s";
        let (outcome, ()) = tokio::join!(on(plane, line), controller);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("✔ fetched revision: main@sha1:aaaaaaaa"), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("pw"), "{}", outcome.stderr);
        let made = sources.get("app").await.expect("the source");
        assert_eq!(made.data["spec"]["secretRef"], json!({"name": "app"}));

        let printed = on(plane, "export source git app -n sources").await.ok();
        assert!(printed.starts_with("---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\n"), "{printed}");
        assert!(!printed.contains("status") && !printed.contains("Secret\n"), "{printed}");
        let printed = on(plane, "export source git --all --with-credentials -n sources").await.ok();
        assert!(printed.contains("kind: Secret\n") && printed.contains("password: cHc=\n"), "{printed}");

        let error = on(plane, "delete source git app -n sources").await.fails(1);
        assert!(error.contains("--silent"), "{error}");
        on(plane, "delete source git app -n sources --silent").await.ok();
        let gone = sources.get_opt("app").await.expect("an answer");
        assert!(gone.is_none_or(|object| object.metadata.deletion_timestamp.is_some()));
        let error = on(plane, "delete source git nobody -n sources -s").await.fails(1);
        assert!(error.contains("not found in \"sources\" namespace"), "{error}");
        let error = on(plane, "export source oci --all -n sources").await.fails(1);
        assert!(error.contains("no OCIRepository objects found"), "{error}");
    });
}

#[test]
fn sources_of_other_kinds_are_printed_too() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "othersources").await;
        let object: Value = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmRepository",
            "metadata": {"name": "charts", "namespace": "othersources"},
            "spec": {"url": "https://charts.example.com", "interval": "5m0s"}
        });
        let written = put(&client, "helmrepositories", object).await;
        assert_eq!(written.name_any(), "charts");
        let printed = on(plane, "export source helm charts -n othersources").await.ok();
        assert!(
            printed.contains("kind: HelmRepository\n") && printed.contains("url: https://charts.example.com"),
            "{printed}"
        );
        on(plane, "delete source helm charts -n othersources -s").await.ok();
    });
}

#[test]
fn a_secret_for_ssh_needs_a_server_that_answers() {
    RUNTIME.block_on(async {
        // A git server over HTTP is none of SSH.
        let server = GitServer::start(GitServerOptions::default()).await.expect("a server");
        let url = server.url().replace("http://", "ssh://git@");
        let words = [
            "create",
            "secret",
            "git",
            "app",
            "--url",
            &url,
            "--ssh-key-algorithm",
            "ed25519",
            "--export",
        ];
        let error = nave(None, &words).await.fails(1);
        assert!(error.contains("for its host keys: "), "{error}");
    });
}

/// The spec that `create source … --export` prints.
async fn exported(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let printed = nave(None, &words).await.ok();
    let (_, spec) = printed.split_once("\nspec:\n").expect("it has a spec");
    spec.to_owned()
}

#[test]
fn every_kind_of_source_is_made_of_flags() {
    RUNTIME.block_on(async {
        for (line, spec) in [
            (
                "create source oci app --url oci://r.example.com/app --tag-semver >=1 --secret-ref s --cert-ref c \
                 --service-account a --insecure --verify-provider cosign --verify-issuer i --verify-subject u \
                 --layer-selector application/x:copy --ignore-paths *.md,/docs --export",
                "  certSecretRef:\n    name: c\n  ignore: |-\n    *.md\n    /docs\n  insecure: true\n  interval: 1m0s\n  \
                 layerSelector:\n    mediaType: application/x\n    operation: copy\n  provider: generic\n  ref:\n    \
                 semver: '>=1'\n  secretRef:\n    name: s\n  serviceAccountName: a\n  url: oci://r.example.com/app\n  \
                 verify:\n    matchOIDCIdentity:\n    - issuer: i\n      subject: u\n    provider: cosign\n",
            ),
            (
                "create source helm charts --url https://c.example.com --secret-ref s --pass-credentials --export",
                "  interval: 1m0s\n  passCredentials: true\n  secretRef:\n    name: s\n  url: https://c.example.com\n",
            ),
            (
                "create source helm charts --url oci://r.example.com/charts --oci-provider aws --fetch-timeout 20s --export",
                "  interval: 1m0s\n  provider: aws\n  timeout: 20s\n  type: oci\n  url: oci://r.example.com/charts\n",
            ),
            (
                "create source bucket app --bucket-name b --endpoint h:9000 --insecure --region r --interval 5m --export",
                "  bucketName: b\n  endpoint: h:9000\n  insecure: true\n  interval: 5m0s\n  provider: generic\n  region: r\n",
            ),
            (
                "create source chart app --source HelmRepository/charts --chart app --chart-version 1.x --export",
                "  chart: app\n  interval: 1m0s\n  reconcileStrategy: ChartVersion\n  sourceRef:\n    kind: HelmRepository\n    \
                 name: charts\n  version: 1.x\n",
            ),
        ] {
            assert_eq!(exported(line).await, spec, "{line}");
        }
        for (line, said) in [
            ("create source oci app --url https://r/a --tag x --export", "does not begin with oci://"),
            ("create source oci app --url oci://r/a --export", "name one of --tag"),
            (
                "create source oci app --url oci://r/a --tag x --verify-issuer i --export",
                "need --verify-provider",
            ),
            ("create source helm app --url ftp://r --export", "scheme \"ftp\" is not supported"),
            (
                "create source chart app --source HelmRepository/a --chart x --fetch-timeout 1s --export",
                "a HelmChart has no limit of its own",
            ),
        ] {
            let words: Vec<&str> = line.split_whitespace().collect();
            let error = nave(None, &words).await.fails(1);
            assert!(error.contains(said), "{line}: {error}");
        }
        for line in [
            "create source oci app --url oci://r/a --tag x --layer-selector application/x:move --export",
            "create source chart app --source OCIRepository/a --chart x --export",
            "create source bucket app --bucket-name b --endpoint h --access-key k --export",
        ] {
            let words: Vec<&str> = line.split_whitespace().collect();
            nave(None, &words).await.fails(2);
        }
    });
}

#[test]
fn sources_with_their_secrets_are_written_and_waited_for() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "madesources").await;
        // Nobody reconciles a chart repository of a registry: the verb does not wait.
        on(
            plane,
            "create source helm charts --url oci://r.example.com/charts -u me -p pw -n madesources",
        )
        .await
        .ok();
        let repositories = api(&client, "source.toolkit.fluxcd.io/v1", "HelmRepository", "helmrepositories", "madesources");
        let made = repositories.get("charts").await.expect("it is there");
        assert_eq!(made.data["spec"]["type"], "oci");
        assert_eq!(made.data["spec"]["secretRef"]["name"], "helm-charts");
        let printed = on(plane, "export source helm charts --with-credentials -n madesources").await.ok();
        assert!(printed.contains("name: helm-charts") && printed.contains("password: cHc="), "{printed}");
        // Whoever reconciles a bucket is played by nobody: the wait ends, and says what it waited for.
        let error = on(
            plane,
            "create source bucket app --bucket-name b --endpoint h --access-key k --secret-key s -n madesources --timeout 2s",
        )
        .await
        .fails(1);
        assert!(error.contains("Bucket reconciliation failed"), "{error}");
        let buckets = api(&client, "source.toolkit.fluxcd.io/v1", "Bucket", "buckets", "madesources");
        let made = buckets.get("app").await.expect("it is there");
        assert_eq!(made.data["spec"]["secretRef"]["name"], "bucket-app");

        let generator: Value = json!({
            "apiVersion": "source.extensions.fluxcd.io/v1beta1", "kind": "ArtifactGenerator",
            "metadata": {"name": "split", "namespace": "madesources"},
            "spec": {
                "sources": [{"alias": "a", "kind": "GitRepository", "name": "a"}],
                "artifacts": [{"name": "one", "copy": [{"from": "@a/**", "to": "@artifact/"}]}]
            }
        });
        put(&client, "artifactgenerators", generator).await;
        let table = on(plane, "get artifacts generators -n madesources").await.ok();
        assert!(table.starts_with("NAME") && table.contains("SUSPENDED"), "{table}");
        assert!(table.contains("split") && table.contains("waiting to be reconciled"), "{table}");
        let printed = on(plane, "export artifact generator split -n madesources").await.ok();
        assert!(
            printed.contains("kind: ArtifactGenerator\n") && printed.contains("alias: a"),
            "{printed}"
        );
        on(plane, "suspend artifact generator split -n madesources").await.ok();
        let table = on(plane, "get artifacts generators -n madesources").await.ok();
        assert!(table.contains("True"), "{table}");
        let error = on(plane, "reconcile artifact generator split -n madesources").await.fails(1);
        assert!(
            error.contains("is suspended\nhint: `nave resume artifact generator split -n madesources`"),
            "{error}"
        );
        // Resuming one waits, here in vain, because nobody reconciles it.
        on(plane, "resume artifact generator split -n madesources --timeout 1s").await.fails(1);
        let table = on(plane, "get artifacts generators -n madesources").await.ok();
        assert!(table.contains("False"), "{table}");
        let error = on(plane, "export source external --all -n madesources").await.fails(1);
        assert!(error.contains("no ExternalArtifact objects found"), "{error}");
    });
}
