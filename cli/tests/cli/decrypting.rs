//! `nave decrypt` and `nave envsubst`, with files that the reference made.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

struct Ran {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../engine/sops/tests/fixtures")
        .join(path)
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(fixture(path)).expect("the fixture is there")
}

/// Runs the program with this environment and nothing else.
fn run(line: &[&str], environment: &[(&str, &str)], input: &[u8]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nave"));
    command.args(line).env_clear().envs(environment.iter().copied());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built with this test");
    // The program may end without reading it.
    let _ = child.stdin.take().expect("it is piped").write_all(input);
    let output = child.wait_with_output().expect("it ends");
    Ran {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).expect("it is text"),
    }
}

#[test]
fn files_are_printed_as_the_reference_prints_them() {
    let age = fixture("keys/age.txt").display().to_string();
    let pgp = fixture("keys/pgp_rsa.asc").display().to_string();
    for (case, extension) in [
        ("yaml-comments", "yaml"),
        ("json-pgp", "json"),
        ("dotenv-age", "env"),
        ("ini-age", "ini"),
        ("binary-age", "bin"),
    ] {
        let file = fixture(&format!("{case}/encrypted.{extension}")).display().to_string();
        let ran = run(&["decrypt", &file, "--age-key", &age, "--pgp-key", &pgp], &[], b"");
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{case}");
        let plain = std::fs::read(fixture(&format!("{case}/plain.{extension}"))).expect("the fixture is there");
        assert!(ran.stdout == plain, "{case}: {}", String::from_utf8_lossy(&ran.stdout));
    }
}

#[test]
fn keys_are_found_where_sops_looks() {
    let file = fixture("yaml-age/encrypted.yaml").display().to_string();
    let plain = text_of("yaml-age/plain.yaml").into_bytes();
    let key = text_of("keys/age.txt");
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join(".config/sops/age");
    std::fs::create_dir_all(&path).expect("a folder");
    std::fs::write(path.join("keys.txt"), &key).expect("a file");
    let home = home.path().display().to_string();
    let key_file = fixture("keys/age.txt").display().to_string();
    for environment in [
        ("HOME", home.as_str()),
        ("SOPS_AGE_KEY", &key),
        ("SOPS_AGE_KEY_FILE", &key_file),
    ] {
        let ran = run(&["decrypt", &file], &[environment], b"");
        assert!(
            ran.code == Some(0) && ran.stdout == plain,
            "{}: {}",
            environment.0,
            ran.stderr
        );
    }
    let ssh = fixture("yaml-ssh-ed25519/encrypted.yaml").display().to_string();
    let ssh_key = fixture("keys/ssh_ed25519").display().to_string();
    let ran = run(&["decrypt", &ssh], &[("SOPS_AGE_SSH_PRIVATE_KEY_FILE", &ssh_key)], b"");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ran = run(&["decrypt", &file], &[], b"");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stdout.is_empty()
            && ran.stderr.contains("there is no age identity at hand")
            && ran.stderr.contains("hint: --age-key"),
        "{}",
        ran.stderr
    );
    let ran = run(&["decrypt", &file], &[("SOPS_AGE_KEY", "canary")], b"");
    assert!(
        ran.stderr.contains("SOPS_AGE_KEY: line 1 is no age identity") && !ran.stderr.contains("canary"),
        "{}",
        ran.stderr
    );
}

/// A program that stands for gpg.
fn program(folder: &Path, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    path.display().to_string()
}

#[test]
fn private_keys_come_from_gpg() {
    let file = fixture("json-pgp/encrypted.json").display().to_string();
    let plain = std::fs::read(fixture("json-pgp/plain.json")).expect("the fixture is there");
    let key = fixture("keys/pgp_rsa.asc").display().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let giving = program(folder.path(), "giving", &format!("cat {key}"));
    let ran = run(&["decrypt", &file], &[("SOPS_GPG_EXEC", &giving)], b"");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout == plain);
    let said = "gpg: key 0A: error receiving key from agent: No pinentry - skipped";
    let locked = program(folder.path(), "locked", &format!("echo '{said}' >&2; exit 2"));
    let ran = run(&["decrypt", &file], &[("SOPS_GPG_EXEC", &locked)], b"");
    assert!(
        ran.code == Some(1) && ran.stderr.contains("the private keys of gpg have a passphrase"),
        "{}",
        ran.stderr
    );
    let ran = run(&["decrypt", &file], &[("SOPS_GPG_EXEC", "/nowhere/gpg")], b"");
    assert!(ran.stderr.contains("running /nowhere/gpg"), "{}", ran.stderr);
    // It is started for nothing else.
    let age = fixture("yaml-age/encrypted.yaml").display().to_string();
    let ran = run(&["decrypt", &age], &[("SOPS_GPG_EXEC", "/nowhere/gpg")], b"");
    assert!(!ran.stderr.contains("/nowhere/gpg"), "{}", ran.stderr);
}

#[test]
fn private_keys_come_from_the_gpg_of_this_machine() {
    let path = std::env::var("PATH").unwrap_or_default();
    let home = tempfile::tempdir().expect("a folder");
    let gnupg = home.path().display().to_string();
    let gpg = |arguments: &[&str]| {
        let mut command = Command::new("gpg");
        command
            .args(["--batch", "--quiet"])
            .args(arguments)
            .env("GNUPGHOME", &gnupg);
        command.output()
    };
    let key = fixture("keys/pgp_rsa.asc").display().to_string();
    let Ok(imported) = gpg(&["--import", &key]) else {
        println!("skipped: there is no gpg on this machine");
        return;
    };
    assert!(
        imported.status.success(),
        "{}",
        String::from_utf8_lossy(&imported.stderr)
    );
    let file = fixture("json-pgp/encrypted.json").display().to_string();
    let ran = run(&["decrypt", &file], &[("GNUPGHOME", &gnupg), ("PATH", &path)], b"");
    let stopped = Command::new("gpgconf")
        .args(["--kill", "all"])
        .env("GNUPGHOME", &gnupg)
        .status();
    assert!(stopped.is_ok(), "{stopped:?}");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout == std::fs::read(fixture("json-pgp/plain.json")).expect("the fixture is there"));
}

#[test]
fn standard_input_other_formats_and_changed_files() {
    let key = text_of("keys/age.txt");
    let environment = [("SOPS_AGE_KEY", key.as_str())];
    let file = text_of("yaml-encrypted-regex/encrypted.yaml");
    let ran = run(
        &["decrypt", "-", "--output-format", "json"],
        &environment,
        file.as_bytes(),
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with(b"{\n\t\"apiVersion\": \"v1\",\n"));
    let changed = file.replace("namespace: apps", "namespace: other");
    let ran = run(&["decrypt", "-"], &environment, changed.as_bytes());
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("the MAC does not match") && ran.stderr.contains("hint: --ignore-mac"),
        "{}",
        ran.stderr
    );
    let ran = run(&["decrypt", "-", "--ignore-mac"], &environment, changed.as_bytes());
    assert!(ran.code == Some(0) && String::from_utf8_lossy(&ran.stdout).contains("namespace: other"));
    let ran = run(&["decrypt", "-"], &environment, b"plain");
    assert!(
        ran.code == Some(1) && ran.stderr.contains("does not look like a file that SOPS encrypted"),
        "{}",
        ran.stderr
    );
}

#[test]
fn variables_of_the_environment_are_substituted() {
    let environment = [("cluster", "eu-1"), ("EMPTY", "")];
    let ran = run(
        &["envsubst"],
        &environment,
        b"name: ${cluster}\nzone: ${zone:=a}\nkeep: $${x}\nnone: ${none}|${EMPTY}\n",
    );
    assert_eq!(
        String::from_utf8_lossy(&ran.stdout),
        "name: eu-1\nzone: a\nkeep: ${x}\nnone: |\n"
    );
    let ran = run(&["envsubst", "--strict"], &environment, b"${EMPTY}\n${none}\n");
    assert_eq!((ran.code, ran.stdout.as_slice()), (Some(1), &b""[..]));
    assert!(
        ran.stderr.contains("variable \"none\" is not set and has no default"),
        "{}",
        ran.stderr
    );
}
