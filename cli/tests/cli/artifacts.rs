//! Artifacts in a registry: pushed, listed, tagged, pulled. No cluster is needed.

use nave_bed::{Registry, RegistryOptions};
use serde_json::Value;

use super::support::{Files, RUNTIME, nave};

const PASSWORD: &str = "canary-51ab22";

#[test]
fn what_is_pushed_can_be_listed_tagged_and_pulled() {
    RUNTIME.block_on(async {
        let registry = Registry::start(RegistryOptions {
            user: Some(("me".into(), PASSWORD.into())),
            ..Default::default()
        })
        .await
        .expect("a registry");
        let creds = format!("--creds=me:{PASSWORD}");
        let files = Files::new(&[
            ("deploy/app.yaml", "a: 1\n"),
            ("deploy/logo.png", "x"),
            ("deploy/.git/config", "x"),
            ("out/other.yaml", "stays\n"),
        ]);
        let (path, out) = (files.path("deploy"), files.path("out"));
        let url = registry.oci_url("app");
        let tagged = |tag: &str| format!("{url}:{tag}");
        let push = |tag: &str| {
            let (url, path, creds) = (tagged(tag), path.clone(), creds.clone());
            async move {
                let line = [
                    "push",
                    "artifact",
                    &url,
                    "--path",
                    &path,
                    "--source",
                    "https://git.example.com/a",
                    "--revision",
                    "main@sha1:0a",
                    "-a",
                    "team=web",
                    "--reproducible",
                    "-o",
                    "json",
                    &creds,
                ];
                nave(None, &line).await
            }
        };
        let first: Value = serde_json::from_str(&push("1.0.0").await.ok()).expect("JSON");
        let second: Value = serde_json::from_str(&push("1.1.0").await.ok()).expect("JSON");
        assert_eq!(first["digest"], second["digest"], "the same files make the same digest");
        assert_eq!(first["tag"], "1.0.0");
        assert_eq!(first["repository"], url.trim_start_matches("oci://"));

        nave(
            None,
            &["tag", "artifact", &tagged("1.0.0"), "--tag", "latest,stable", &creds],
        )
        .await
        .ok();
        let listed = nave(None, &["list", "artifacts", &url, "--filter-semver", ">=1.0.0", &creds])
            .await
            .ok();
        let lines: Vec<Vec<&str>> = listed
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect())
            .collect();
        let digest = first["digest"].as_str().expect("text");
        let place = url.trim_start_matches("oci://");
        let row = |tag: &str| {
            vec![
                format!("{place}:{tag}"),
                digest.to_owned(),
                "https://git.example.com/a".into(),
                "main@sha1:0a".into(),
            ]
        };
        assert_eq!(lines, [row("1.1.0"), row("1.0.0")]);
        let listed = nave(
            None,
            &["list", "artifacts", &url, "--filter-regex", "^(latest|stable)$", &creds],
        )
        .await
        .ok();
        assert_eq!(listed.lines().count(), 3, "{listed}");

        let pulled = nave(None, &["pull", "artifact", &tagged("latest"), "--output", &out, &creds]).await;
        assert!(pulled.stderr.contains(&format!("digest {digest}")), "{}", pulled.stderr);
        pulled.ok();
        assert_eq!(files.read("out/app.yaml"), "a: 1\n");
        assert_eq!(files.read("out/other.yaml"), "stays\n");
        assert!(!std::path::Path::new(&files.path("out/logo.png")).exists());

        let denied = nave(None, &["pull", "artifact", &tagged("latest"), "--output", &out])
            .await
            .fails(1);
        assert!(
            denied.contains("it asks for credentials, and none are given"),
            "{denied}"
        );
        let missing = nave(None, &["pull", "artifact", &tagged("none"), "--output", &out, &creds])
            .await
            .fails(1);
        assert!(missing.contains("tag 'none' not found"), "{missing}");
        let untagged = nave(
            None,
            &[
                "push",
                "artifact",
                &url,
                "--path",
                &path,
                "--source",
                "s",
                "--revision",
                "r",
                &creds,
            ],
        )
        .await
        .fails(1);
        assert!(untagged.contains("names no tag"), "{untagged}");
    });
}
