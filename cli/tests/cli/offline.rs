//! What needs no cluster, and what happens without one.

use std::{fs, path::Path};

use nave_cli::{Component, InstallOptions, manifests};
use nave_object::yaml;

use super::support::{RUNTIME, nave};

fn run(line: &[&str]) -> super::support::Outcome {
    RUNTIME.block_on(nave(None, line))
}

#[test]
fn exported_manifests_are_those_of_deploy() {
    for (flag, component, folder) in [("--agent", Component::Agent, "agent"), ("--hub", Component::Hub, "hub")] {
        let exported = run(&["install", flag, "--export"]).ok();
        let exported = yaml::read_objects(&exported, "export").expect("YAML");
        let built_in = manifests(component, &InstallOptions::default()).expect("built in");
        assert_eq!(exported.len(), built_in.len(), "{flag}");
        for (exported, built_in) in exported.iter().zip(&built_in) {
            assert!(
                exported == built_in,
                "{flag}: {built_in} is not exported as it is applied"
            );
        }
        // Every object of the files, and its every field, is in what is exported.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../deploy/base")
            .join(folder);
        let mut count = 0;
        for entry in fs::read_dir(&folder).expect("deploy") {
            let path = entry.expect("deploy").path();
            if path.ends_with("kustomization.yaml") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("text");
            for wanted in yaml::read_objects(&text, &path.display().to_string()).expect("YAML") {
                let found = exported.iter().find(|object| object.id() == wanted.id());
                let found = found.unwrap_or_else(|| panic!("{wanted} is not exported"));
                assert!(contains(found.as_value(), wanted.as_value()), "{wanted} differs");
                count += 1;
            }
        }
        let definitions = exported
            .iter()
            .filter(|object| object.kind() == "CustomResourceDefinition")
            .count();
        assert_eq!(exported.len(), count + definitions, "{flag}");
    }
}

/// Whether `part` is all there in `whole`.
fn contains(whole: &serde_json::Value, part: &serde_json::Value) -> bool {
    match (whole, part) {
        (serde_json::Value::Object(whole), serde_json::Value::Object(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part))),
        (whole, part) => whole == part,
    }
}

#[test]
fn options_are_in_the_export() {
    let exported = run(&[
        "install",
        "--hub",
        "--export",
        "-n",
        "hub",
        "--image",
        "x/hub:2",
        "--advertise",
        "a:1,b:2",
    ])
    .ok();
    for part in [
        "namespace: hub\n",
        "image: x/hub:2\n",
        "- --advertise=a:1,b:2\n",
        "name: nave-hub-hub\n",
    ] {
        assert!(exported.contains(part), "{part}");
    }
    assert!(!exported.contains("nave-system"));
}

#[test]
fn the_reference_of_the_command_line_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let on_disk = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        on_disk == nave_cli::reference(),
        "docs/cli.md is stale; run `cargo run -p nave -- docgen --path docs/cli.md`"
    );
}

#[test]
fn help_says_what_the_exit_codes_mean() {
    let help = run(&["--help"]).ok();
    for part in ["Exit codes:", "KUBECONFIG", "install", "join"] {
        assert!(help.contains(part), "{help}");
    }
    assert!(!help.contains("docgen"), "{help}");
}

#[test]
fn every_shell_gets_its_completion() {
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef nave"),
        ("fish", "complete -c nave"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = run(&["completion", shell]).ok();
        assert!(script.contains(part), "{shell}");
        assert!(script.contains("reconcile"), "{shell}");
    }
}

#[test]
fn the_version_of_the_program_needs_no_cluster() {
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["version", "--client"]).ok(), format!("nave: {version}\n"));
    assert_eq!(
        run(&["version", "--client", "-o", "json"]).ok(),
        format!("{{\n  \"nave\": \"{version}\"\n}}\n")
    );
}

#[test]
fn what_cannot_be_understood_ends_with_2() {
    run(&["frobnicate"]).fails(2);
    run(&["get", "clusters", "-o", "xml"]).fails(2);
    run(&["leave"]).fails(2);
    run(&[]).fails(2);
    let error = run(&["get", "all", "-n", "Not_A_Namespace"]).fails(1);
    assert!(
        error.contains("✗ --namespace \"Not_A_Namespace\" is no namespace\nhint: "),
        "{error}"
    );
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_named_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("text").to_owned()
    };
    let check = |path: &str, line: &[&str], parts: &[&str]| {
        let mut words = vec!["--kubeconfig", path, "--timeout", "5s"];
        words.extend(line);
        let error = run(&words).fails(1);
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(error.matches('✗').count(), 1, "{error}");
    };
    check(
        "/nowhere/config",
        &["get", "ks"],
        &["/nowhere/config", "No such file", "hint: ", "KUBECONFIG"],
    );
    check(
        &write("broken", "apiVersion: [v1"),
        &["get", "ks"],
        &["malformed", "hint: "],
    );
    check(
        &write("empty", "apiVersion: v1\nkind: Config\n"),
        &["check"],
        &["no current context", "--context"],
    );
    let unreachable = write(
        "unreachable",
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n\
         clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {}}]\n",
    );
    check(
        &unreachable,
        &["get", "ks"],
        &["Connection refused", "hint: the API server does not answer"],
    );
    check(
        &unreachable,
        &["--context", "other", "get", "ks"],
        &["no context \"other\"", "get-contexts"],
    );
    // Without any kubeconfig at all.
    let error = run(&["get", "ks"]).fails(1);
    assert!(error.contains("hint: name a kubeconfig"), "{error}");
}

#[test]
fn an_agent_run_by_hand_gets_a_file_that_only_its_owner_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hub.yaml");
    let file = file.to_str().expect("text");
    let token = nave_identity::JoinToken::issue(
        vec!["127.0.0.1:9443".into()],
        nave_identity::KeyFingerprint::of_spki(b"root"),
        "platform/eu-1".into(),
    )
    .expect("a token")
    .token
    .to_text();
    run(&["join", "--token", &token, "--name", "eu-1", "--print-config", file]).ok();
    let text = fs::read_to_string(file).expect("written");
    assert!(
        text.contains(&format!("token: {}\n", *token)) && text.contains("name: eu-1\n"),
        "{text}"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(file).expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let printed = run(&["join", "--token", &token, "--print-config", "-"]).ok();
    assert!(printed.contains("state: nave-agent.state\n"), "{printed}");
    let error = run(&["join", "--token", "nave1.nonsense", "--print-config", "-"]).fails(1);
    assert!(
        error.contains("✗ join token is damaged") && error.contains("hint: "),
        "{error}"
    );
    let error = run(&["join", "--token", "eyJhbGciOi", "--print-config", "-"]).fails(1);
    assert!(error.contains("nave1.") && !error.contains("eyJhbGciOi"), "{error}");
}
