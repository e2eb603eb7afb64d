//! Files that must not be decrypted, and what is said of them.

use nave_sops::{Answers, DecryptError, Format, KeyError, KeyService, Keys, MAX_SIZE, Mac, Step, decrypt};

use crate::{age_key, keys, open, read, read_text};

fn yaml(text: &str, mac: Mac) -> Result<String, DecryptError> {
    open(text.as_bytes(), Format::Yaml, &keys(), mac).map(|plain| String::from_utf8(plain).expect("it is text"))
}

fn replaced(path: &str, from: &str, to: &str) -> String {
    let text = read_text(path);
    assert!(text.contains(from), "{path} has no {from}");
    text.replacen(from, to, 1)
}

#[test]
fn a_changed_clear_value_does_not_fit_the_code() {
    let file = replaced(
        "yaml-encrypted-regex/encrypted.yaml",
        "namespace: apps",
        "namespace: other",
    );
    assert_eq!(yaml(&file, Mac::Verify), Err(DecryptError::MacMismatch));
    let plain = yaml(&file, Mac::Ignore).expect("who does not ask is not told");
    assert!(plain.contains("namespace: other") && plain.contains("user: admin"));
}

#[test]
fn clear_values_may_change_where_the_code_is_over_the_others() {
    let file = replaced(
        "yaml-mac-only-encrypted/encrypted.yaml",
        "namespace: apps",
        "namespace: other",
    );
    assert!(yaml(&file, Mac::Verify).is_ok());
}

#[test]
fn a_lost_value_does_not_fit_the_code() {
    let file = read_text("yaml-encrypted-regex/encrypted.yaml");
    let lines: Vec<&str> = file.lines().filter(|line| !line.starts_with("    user: ")).collect();
    assert_eq!(
        yaml(&(lines.join("\n") + "\n"), Mac::Verify),
        Err(DecryptError::MacMismatch)
    );
}

#[test]
fn a_moved_value_is_found_by_its_path() {
    let file = read_text("yaml-encrypted-regex/encrypted.yaml");
    let value = |name: &str| {
        let line = file
            .lines()
            .find(|line| line.trim_start().starts_with(name))
            .expect(name);
        line.split_once(": ").expect("it has a value").1.to_owned()
    };
    let (user, password) = (value("user: "), value("password: "));
    let file = file
        .replace(&user, "<moved>")
        .replace(&password, &user)
        .replace("<moved>", &password);
    let error = yaml(&file, Mac::Ignore).expect_err("the values were exchanged");
    assert!(
        matches!(&error, DecryptError::Value { path, .. } if path == "stringData.user"),
        "{error}"
    );
}

#[test]
fn the_time_of_the_change_is_bound() {
    let file = read_text("yaml-age/encrypted.yaml");
    let line = file
        .lines()
        .find(|line| line.contains("lastmodified"))
        .expect("it has one");
    let changed = file.replace(line, "    lastmodified: \"2001-01-01T00:00:00Z\"");
    assert_eq!(yaml(&changed, Mac::Verify), Err(DecryptError::MacMismatch));
}

#[test]
fn keys_that_do_not_fit_are_named() {
    let error = open(
        &read("refused/other-key/encrypted.yaml"),
        Format::Yaml,
        &keys(),
        Mac::Verify,
    );
    let error = error.expect_err("the key is not ours").to_string();
    assert!(
        error.contains("age age1") && error.contains("no identity at hand matches"),
        "{error}"
    );
    let error = open(
        &read("refused/three-of-three/encrypted.yaml"),
        Format::Yaml,
        &keys(),
        Mac::Verify,
    );
    let error = error.expect_err("one share is missing").to_string();
    assert!(
        error.contains("2 of 3 key groups could be opened, 3 are needed"),
        "{error}"
    );
    let error = open(
        &read("yaml-pgp-rsa/encrypted.yaml"),
        Format::Yaml,
        &age_key(),
        Mac::Verify,
    );
    let error = error.expect_err("there is no such key").to_string();
    assert!(error.contains("there is no OpenPGP private key at hand"), "{error}");
}

#[test]
fn bad_metadata_is_refused_with_its_path() {
    let recipient = "          enc: |\n";
    for (from, to, wanted) in [
        (
            "lastmodified: \"",
            "lastmodified: \"x",
            "sops.lastmodified: it is no point in time in RFC 3339",
        ),
        ("    age:\n", "    other:\n", "sops: it names no keys"),
        (
            "    unencrypted_suffix: _unencrypted\n",
            "    unencrypted_suffix: a\n    encrypted_regex: b\n",
            "sops: only one of unencrypted_suffix and encrypted_regex can be used",
        ),
        (
            "    unencrypted_suffix: _unencrypted\n",
            "    encrypted_regex: '('\n",
            "sops.encrypted_regex: it is no regular expression that is supported",
        ),
        (
            "    unencrypted_suffix",
            "    shamir_threshold: x\n    unencrypted_suffix",
            "sops.shamir_threshold: it is no whole number from 0 to 255",
        ),
        (
            "    mac: ",
            "    mac: []\n    other: ",
            "sops.mac: it is a list, but a text is needed",
        ),
        (
            recipient,
            "          enc: {}\n          x: |\n",
            "sops.age[0].enc: it is a map, but a text is needed",
        ),
    ] {
        let file = replaced("yaml-age/encrypted.yaml", from, to);
        // The order of keys in an item of the list is the reference's own.
        let error = yaml(&file, Mac::Verify).expect_err(to).to_string();
        assert_eq!(error, wanted);
    }
    assert_eq!(yaml("a: 1\n", Mac::Verify), Err(DecryptError::NoMetadata));
    assert_eq!(
        yaml("sops: x\n", Mac::Verify).unwrap_err().to_string(),
        "sops: it is a text, but a map is needed"
    );
    assert_eq!(
        yaml("sops: []\na: 1\n", Mac::Verify).unwrap_err().to_string(),
        "sops: it is a list, but a map is needed"
    );
}

#[test]
fn a_value_that_should_be_encrypted_is_refused() {
    let file = read_text("yaml-age/encrypted.yaml");
    for (line, wanted) in [
        (
            "more: 42\n",
            "decrypting more: it is a number, but an encrypted text should stand here",
        ),
        ("more: text\n", "decrypting more: it is not an encrypted value"),
        ("more: [{a: text}]\n", "decrypting more.a: it is not an encrypted value"),
    ] {
        assert_eq!(
            yaml(&(line.to_owned() + &file), Mac::Ignore).unwrap_err().to_string(),
            wanted
        );
    }
}

#[test]
fn broken_files_are_refused_with_their_line() {
    for (format, text, wanted) in [
        (Format::Yaml, "a: [\n", "reading it as yaml, line"),
        (
            Format::Yaml,
            "- a\n- sops: {}\n",
            "reading it as yaml, line 1: the document is a list, but a map is needed",
        ),
        (
            Format::Yaml,
            "1: x\n",
            "reading it as yaml, line 1: a key is a number, but only texts can be keys",
        ),
        (
            Format::Json,
            "[]",
            "reading it as json, line 1: an object is needed at the top",
        ),
        (
            Format::Json,
            "{\n\"a\": tru}",
            "reading it as json, line 2: a value is needed here",
        ),
        (
            Format::Binary,
            "no json",
            "reading it as binary, line 1: an object is needed at the top",
        ),
        (
            Format::Dotenv,
            "A=1\nB\n",
            "reading it as dotenv, line 2: there is no = in the line",
        ),
        (
            Format::Ini,
            "[a\n",
            "reading it as ini, line 1: the section has no closing bracket",
        ),
        (
            Format::Ini,
            "[a]\nb\n",
            "reading it as ini, line 2: there is no = in the line",
        ),
    ] {
        let error = open(text.as_bytes(), format, &keys(), Mac::Verify)
            .expect_err(text)
            .to_string();
        assert!(error.starts_with(wanted), "{text}: {error}");
    }
    let error = open(b"a: \xff\n", Format::Yaml, &keys(), Mac::Verify).unwrap_err();
    assert_eq!(error.to_string(), "reading it as yaml, line 1: it is not UTF-8");
}

#[test]
fn deep_and_large_files_are_refused() {
    let large = vec![b' '; MAX_SIZE + 1];
    let error = open(&large, Format::Yaml, &keys(), Mac::Verify).unwrap_err();
    assert_eq!(error, DecryptError::TooLarge { size: MAX_SIZE + 1 });
    for (format, text) in [
        (Format::Json, format!("{{\"a\":{}", "[".repeat(200_000))),
        (Format::Json, "{\"a\":".repeat(200_000)),
        (Format::Yaml, format!("a: {}", "[".repeat(200_000))),
        (Format::Yaml, "- ".repeat(200_000)),
        (
            Format::Yaml,
            (0..3000).map(|level| format!("{}a:\n", " ".repeat(level))).collect(),
        ),
    ] {
        let error = open(text.as_bytes(), format, &keys(), Mac::Verify)
            .expect_err("it is too deep")
            .to_string();
        assert!(error.contains("nested") || error.contains("deep"), "{error}");
    }
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let error = open(bomb.as_bytes(), Format::Yaml, &keys(), Mac::Verify).unwrap_err();
    assert!(error.to_string().contains("aliases"), "{error}");
    let error = open(b"a: &a [*a]\n", Format::Yaml, &keys(), Mac::Verify).unwrap_err();
    assert!(matches!(error, DecryptError::Syntax { .. }), "{error}");
}

/// What must show in no error.
const CANARY: &str = "canary-7f3a";

#[test]
fn errors_show_no_values() {
    let file = read_text("yaml-age/encrypted.yaml");
    let texts = [
        (Format::Yaml, format!("more: {CANARY}\n{file}")),
        (Format::Yaml, format!("more: !!int {CANARY}\n{file}")),
        (Format::Yaml, format!("more: !!binary {CANARY}%\n{file}")),
        (Format::Yaml, format!("more: \"{CANARY}\n{file}")),
        (Format::Yaml, format!("{CANARY}\n")),
        (Format::Yaml, format!("a: {CANARY}: b\n")),
        (Format::Yaml, format!("a: *{CANARY}\n")),
        (Format::Yaml, format!("a: %{CANARY}\n")),
        (
            Format::Yaml,
            format!("a: ENC[AES256_GCM,data:{CANARY},iv:{CANARY},tag:{CANARY},type:{CANARY}]\n{file}"),
        ),
        (Format::Json, format!("{{\"a\": {CANARY}}}")),
        (Format::Json, format!("{{\"a\": \"{CANARY}}}")),
        (Format::Dotenv, CANARY.to_owned()),
        (Format::Ini, CANARY.to_owned()),
        (Format::Ini, format!("[{CANARY}")),
        (Format::Ini, format!("a = \"\"\"{CANARY}")),
    ];
    for (format, text) in texts {
        let error = open(text.as_bytes(), format, &keys(), Mac::Verify).expect_err(&text);
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
    }
    // A decrypted value in a place that has no form for it.
    let age = read("json-age/encrypted.json");
    let error = decrypt(
        &age,
        Format::Json,
        Format::Dotenv,
        &keys(),
        &Answers::new(),
        Mac::Verify,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "writing it as dotenv: b is a map, which a line cannot hold"
    );
}

#[test]
fn errors_about_keys_show_no_keys() {
    let secret = read_text("keys/age.txt");
    let secret = secret
        .lines()
        .find(|line| line.starts_with("AGE-"))
        .expect("there is one");
    let mut keys = Keys::new();
    let error = keys.add_age(&format!("# note\n{secret}X\n")).unwrap_err();
    assert_eq!(error, KeyError::Age { line: 2 });
    assert!(
        !format!("{error} {error:?} {keys:?}").contains(&secret[16..]),
        "{error}"
    );
    assert_eq!(
        keys.add_age("AGE-PLUGIN-YUBIKEY-1X"),
        Err(KeyError::AgePlugin { line: 1 })
    );
    assert_eq!(
        keys.add_age("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n"),
        Err(KeyError::Ssh)
    );
    assert_eq!(keys.add_pgp(b"x"), Err(KeyError::Pgp));
    assert_eq!(
        keys.add_pgp(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"),
        Err(KeyError::Pgp)
    );
    assert_eq!(
        keys.add_pgp(&read("keys/pgp_locked.asc")),
        Err(KeyError::Passphrase("OpenPGP"))
    );
    assert!(keys.is_empty());
}

#[test]
fn services_are_asked_for_when_no_key_at_hand_fits() {
    let age = read_text("yaml-age/encrypted.yaml");
    let start = age.find("    age:\n").expect("it has one");
    let end = age.find("    lastmodified").expect("it has one");
    let services = "    kms:\n        - arn: arn:aws:kms:eu-west-1:1:key/a\n          context: {b: \"2\", a: \"1\"}\n          \
                    created_at: \"2024-01-01T00:00:00Z\"\n          enc: AQ==\n          aws_profile: \"\"\n    hc_vault:\n        - \
                    vault_address: https://vault.example.com\n          engine_path: transit\n          key_name: k\n          \
                    created_at: \"2024-01-01T00:00:00Z\"\n          enc: vault:v1:x\n";
    let file = format!("{}{services}{}", &age[..start], &age[end..]);
    let mut answers = Answers::new();
    let mut asked = Vec::new();
    let error = loop {
        match decrypt(
            file.as_bytes(),
            Format::Yaml,
            Format::Yaml,
            &keys(),
            &answers,
            Mac::Verify,
        ) {
            Ok(Step::Needs(requests)) => {
                assert_eq!(
                    requests.len(),
                    1,
                    "the next one is asked for when the one before has refused"
                );
                for request in requests {
                    asked.push(request.service.clone());
                    answers.insert(request, Err("denied".to_owned()));
                }
            }
            Ok(Step::Done(_)) => panic!("nobody opened it"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(matches!(&asked[0], KeyService::AwsKms { context, .. } if context[0] == ("a".to_owned(), "1".to_owned())));
    assert!(matches!(&asked[1], KeyService::Vault { key_name, .. } if key_name == "k"));
    assert!(error.contains("AWS KMS key arn:aws:kms:eu-west-1:1:key/a: denied; Vault key https://vault.example.com/v1/transit/keys/k: denied"), "{error}");
}

/// Files of the largest size in which something is as many or as long as it can be: none may take long, whatever it says.
#[test]
fn hostile_files_cost_little() {
    let file = read_text("yaml-encrypted-comment/encrypted.yaml");
    let comments = "#\n".repeat(MAX_SIZE / 20);
    assert!(yaml(&(comments + &file), Mac::Ignore).is_ok());
    let json = read_text("json-age/encrypted.json");
    let start = json.find("ENC[").expect("it is encrypted");
    let sealed = &json[start..start + json[start..].find('"').expect("the text has an end")];
    let long = json.replacen(
        '{',
        &format!("{{\"{}\": {{\"x\": \"{sealed}\"}},", "k".repeat(MAX_SIZE / 2)),
        1,
    );
    let error = open(long.as_bytes(), Format::Json, &keys(), Mac::Ignore)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the keys that lead to it are too long") && error.len() < 1000,
        "{error}"
    );
    let lines: String = (0..MAX_SIZE / 20).map(|line| format!("sops_{line}=\n")).collect();
    let error = open(lines.as_bytes(), Format::Dotenv, &keys(), Mac::Ignore)
        .unwrap_err()
        .to_string();
    assert!(error.contains("more than 2000 fields of metadata"), "{error}");
    let lines: String = (0..MAX_SIZE / 20).map(|line| format!("k{line}=\n")).collect();
    assert_eq!(
        open(lines.as_bytes(), Format::Ini, &keys(), Mac::Ignore),
        Err(DecryptError::NoMetadata)
    );
    let file_of_age = read_text("yaml-age/encrypted.yaml");
    let recipients = "        - recipient: x\n          enc: x\n".repeat(300);
    let error = yaml(
        &file_of_age.replacen("    age:\n", &format!("    age:\n{recipients}"), 1),
        Mac::Ignore,
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "sops: it names more than 200 keys");
}
