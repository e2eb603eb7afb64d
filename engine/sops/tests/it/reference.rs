//! What the reference encrypted comes out as the reference decrypts it.

use std::fs;
use std::path::PathBuf;

use nave_sops::{Answers, Format, Mac, Step, decrypt, decrypt_json, looks_encrypted};
use serde_json::{Value, json};

use crate::{age_key, fixtures, format, keys, open, read};

/// The folders with an encrypted and a plain file, and the extension of both.
fn cases() -> Vec<(String, String)> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(fixtures()).expect("the fixtures are there") {
        let path: PathBuf = entry.expect("the fixtures can be listed").path();
        for extension in ["yaml", "json", "env", "ini", "bin"] {
            if path.join(format!("plain.{extension}")).is_file() {
                let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
                cases.push((name, extension.to_owned()));
            }
        }
    }
    cases.sort();
    cases
}

#[test]
fn every_recorded_file_is_decrypted_to_the_byte() {
    let keys = keys();
    let cases = cases();
    assert!(cases.len() > 20, "only {} cases were found", cases.len());
    let mut wrong = Vec::new();
    for (name, extension) in cases {
        let encrypted = read(format!("{name}/encrypted.{extension}"));
        let plain = read(format!("{name}/plain.{extension}"));
        match open(&encrypted, format(&extension), &keys, Mac::Verify) {
            Ok(ours) if ours == plain => {}
            Ok(ours) => wrong.push(format!(
                "{name}:\n--- ours\n{}\n--- theirs\n{}",
                String::from_utf8_lossy(&ours),
                String::from_utf8_lossy(&plain)
            )),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn encrypted_files_are_known_by_their_mark() {
    for (name, extension) in cases() {
        let wanted = match format(&extension) {
            Format::Binary => Format::Json,
            other => other,
        };
        assert_eq!(
            looks_encrypted(&read(format!("{name}/encrypted.{extension}"))),
            Some(wanted),
            "{name}"
        );
        assert_eq!(
            looks_encrypted(&read(format!("{name}/plain.{extension}"))),
            None,
            "{name}"
        );
    }
}

#[test]
fn one_format_is_written_as_another() {
    let to = |format| match decrypt(
        &read("yaml-encrypted-regex/encrypted.yaml"),
        Format::Yaml,
        format,
        &age_key(),
        &Answers::new(),
        Mac::Verify,
    ) {
        Ok(Step::Done(plain)) => Ok(String::from_utf8(plain.to_vec()).expect("it is text")),
        Ok(Step::Needs(_)) => unreachable!("the age key opens it"),
        Err(error) => Err(error.to_string()),
    };
    let object: Value = serde_json::from_str(&to(Format::Json).expect("it is JSON")).expect("it can be read");
    assert_eq!(object["stringData"]["multi"], "line 1\n  line 2\n\nline 4\n");
    assert_eq!(object.get("sops"), None);
    let error = to(Format::Dotenv).expect_err("maps have no place in lines");
    assert_eq!(
        error,
        "writing it as dotenv: metadata is a map, which a line cannot hold"
    );
    let error = to(Format::Binary).expect_err("there is no data");
    assert!(error.contains("there is no data"), "{error}");
}

#[test]
fn an_object_is_decrypted_in_place() {
    let file = read("json-age/encrypted.json");
    let object: Value = serde_json::from_slice(&file).expect("it is JSON");
    let Ok(Step::Done(plain)) = decrypt_json(&object, &age_key(), &Answers::new(), Mac::Ignore) else {
        panic!("the age key opens it");
    };
    assert_eq!(plain["a"], json!(1));
    assert_eq!(plain["b"]["d"], json!([true, null, 1.5, "y", {}]));
    assert_eq!(plain.get("sops"), None);
}
