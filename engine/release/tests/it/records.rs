//! What Helm's own libraries stored (`tests/record`) is read, written again and digested as they do.

use std::{collections::BTreeMap, path::Path};

use nave_release::{
    ApplyMethod, Release, SECRET_TYPE, Snapshot, Status, config_digest, decode, deployed, encode, labels, last,
    next_version, secret_name, snapshot_digest, superfluous, to_go_json,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Step {
    step: String,
    #[serde(default)]
    error: String,
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    secret: String,
    #[serde(rename = "type")]
    kind: String,
    labels: BTreeMap<String, String>,
    release: String,
    json: String,
    digest: String,
    #[serde(rename = "configDigest")]
    config_digest: String,
}

fn steps() -> Vec<Step> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records.json");
    let text = std::fs::read_to_string(path).expect("the records are checked in");
    serde_json::from_str(&text).expect("the records are JSON")
}

fn read(step: &Step) -> Vec<Release> {
    step.records
        .iter()
        .map(|record| decode(record.release.as_bytes()).expect("Helm wrote it"))
        .collect()
}

#[test]
fn records_are_read_and_written_byte_for_byte() {
    let steps = steps();
    assert!(steps.len() >= 7, "the records are suspiciously few");
    for step in &steps {
        for record in &step.records {
            let at = format!("{}: {}", step.step, record.secret);
            let release = decode(record.release.as_bytes()).expect(&at);
            assert_eq!(to_go_json(&release), record.json, "{at}");
            assert_eq!(record.secret, secret_name(&release.name, release.version), "{at}");
            assert_eq!(record.kind, SECRET_TYPE);
            let again = decode(encode(&release).as_bytes()).expect(&at);
            assert_eq!(again, release, "{at}");
            let mut custom = record.labels.clone();
            for system in ["name", "owner", "status", "version"] {
                custom.remove(system);
            }
            assert_eq!(labels(&release, &custom), record.labels, "{at}");
        }
    }
}

#[test]
fn digests_are_flux_s() {
    for step in &steps() {
        for (record, release) in step.records.iter().zip(read(step)) {
            assert_eq!(snapshot_digest(&release, ""), record.digest, "{}", record.secret);
            assert_eq!(
                config_digest(&release.config),
                record.config_digest,
                "{}",
                record.secret
            );
            assert_ne!(snapshot_digest(&release, "sha256:1"), record.digest);
        }
    }
}

#[test]
fn a_history_is_understood() {
    let steps = steps();
    let at = |name: &str| {
        let step = steps.iter().find(|step| step.step == name).expect("it was recorded");
        (step, read(step))
    };
    let (_, installed) = at("install");
    assert_eq!(installed[0].status(), Status::Deployed);
    assert_eq!(installed[0].apply_method, Some(ApplyMethod::ServerSide));
    assert_eq!(
        (installed[0].chart_name(), installed[0].chart_version()),
        ("shop", "1.0.0")
    );
    let info = installed[0].info.clone().expect("it has one");
    assert!(info.first_deployed.timestamp().is_some() && info.deleted.timestamp().is_none());

    let (step, failed) = at("failed upgrade");
    assert!(step.error.contains("no <room>"), "{}", step.error);
    assert_eq!(last(&failed).map(Release::status), Some(Status::Failed));
    assert_eq!(deployed(&failed).map(|release| release.version), Some(2));
    assert_eq!(next_version(&failed), 4);

    // Helm was told to keep three, and made room before it wrote the next one.
    let (_, before) = at("rollback");
    let (_, after) = at("upgrade over the limit of history");
    let gone: Vec<i64> = before
        .iter()
        .map(|release| release.version)
        .filter(|version| !after.iter().any(|release| release.version == *version))
        .collect();
    assert_eq!(superfluous(&before, 3), gone);

    let (_, tested) = at("test");
    let mut snapshot = Snapshot::of(last(&tested).expect("it is there"), "", "upgrade");
    snapshot.set_tests(last(&tested).expect("it is there"));
    let tests = snapshot.tests.clone().expect("they were taken over");
    assert_eq!(
        (tests[0].name.as_str(), tests[0].phase.as_str()),
        ("check", "Succeeded")
    );
    assert!(!snapshot.has_failed_test());
}

#[test]
fn nonsense_is_refused() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    for (data, wanted) in [
        ("!".to_owned(), "the record is not base64"),
        (BASE64_STANDARD.encode("[1]"), "the record is not the JSON of a release"),
        (BASE64_STANDARD.encode([0x1f, 0x8b, 0x08, 0, 1]), "unpacking the record"),
    ] {
        let error = decode(data.as_bytes()).expect_err("it is nonsense");
        assert_eq!(error.to_string(), wanted);
    }
    let plain =
        BASE64_STANDARD.encode(r#"{"name":"old","info":{"first_deployed":"","status":"deployed"},"hooks":null}"#);
    let old = decode(plain.as_bytes()).expect("records were not always packed");
    assert_eq!((old.name.as_str(), old.status()), ("old", Status::Deployed));
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..129 {
        std::io::Write::write_all(&mut bomb, &vec![b' '; 1 << 20]).expect("memory takes everything");
    }
    let bomb = BASE64_STANDARD.encode(bomb.finish().expect("memory takes everything"));
    let error = decode(bomb.as_bytes()).expect_err("it is too large");
    assert!(error.to_string().contains("unpacks to more than"), "{error}");
}
