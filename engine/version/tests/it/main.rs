//! What Masterminds/semver 3.5.0 and fluxcd/pkg/version 0.16.0 answer, as recorded in `tests/data/semver.json`.

use nave_version::{Range, RangeError, Version, VersionError, parse_three_part, sort_descending};
use serde_json::Value;

fn cases(kind: &str) -> Vec<Value> {
    let text = include_str!("../data/semver.json");
    let data: Value = serde_json::from_str(text).expect("the recorded cases are JSON");
    let all = data["cases"].as_array().expect("a list of cases");
    assert_eq!(all.len(), 151);
    all.iter().filter(|case| case["kind"] == kind).cloned().collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item.as_str().expect("text"))
        .collect()
}

#[test]
fn ranges_admit_what_the_reference_admits() {
    let cases = cases("check");
    assert_eq!(cases.len(), 76);
    for case in cases {
        let name = &case["name"];
        let range = Range::parse(case["constraint"].as_str().expect("text"));
        if case["error"] == true {
            let error = range.expect_err(&format!("{name} is refused"));
            assert_eq!(error.to_string(), case["message"], "{name}");
            continue;
        }
        let range = range.unwrap_or_else(|error| panic!("{name}: {error}"));
        let answers: Vec<bool> = texts(&case["versions"])
            .into_iter()
            .map(|version| Version::parse(version).is_ok_and(|version| range.matches(&version)))
            .collect();
        assert_eq!(Value::from(answers), case["output"], "{name}");
        for version in texts(&case["versions"])
            .into_iter()
            .filter_map(|version| Version::parse(version).ok())
        {
            let explained = range.check(&version);
            assert_eq!(explained.is_ok(), range.matches(&version), "{name} {version}");
            assert!(!explained.is_err_and(|reasons| reasons.is_empty()), "{name} {version}");
            let again = Range::parse(&range.to_string()).unwrap_or_else(|error| panic!("{name}: {range}: {error}"));
            assert_eq!(
                again.matches(&version),
                range.matches(&version),
                "{name} {version} {range}"
            );
        }
    }
}

fn check_parsing(kind: &str, parse: fn(&str) -> Result<Version, VersionError>) {
    let cases = cases(kind);
    assert_eq!(cases.len(), 35);
    for case in cases {
        let name = &case["name"];
        let text = case["versions"][0].as_str().expect("text");
        match parse(text) {
            Err(error) => {
                assert_eq!(case["error"], true, "{name}: {error}");
                if !matches!(error, VersionError::OutOfRange(_)) {
                    assert_eq!(error.to_string(), case["message"], "{name}");
                }
            }
            Ok(version) => {
                let got = serde_json::json!({
                    "major": version.major(), "minor": version.minor(), "patch": version.patch(),
                    "prerelease": version.prerelease(), "metadata": version.metadata(), "string": version.to_string(),
                });
                assert_eq!(got, case["output"], "{name}");
                assert_eq!(version.original(), text, "{name}");
            }
        }
    }
}

#[test]
fn versions_read_leniently() {
    check_parsing("parse", Version::parse);
}

#[test]
fn versions_read_strictly() {
    check_parsing("parse-strict", Version::parse_strict);
}

#[test]
fn versions_sort_by_precedence() {
    let cases = cases("sort");
    assert_eq!(cases.len(), 5);
    for case in cases {
        let mut versions: Vec<Version> = texts(&case["versions"])
            .into_iter()
            .map(|text| text.parse().expect("a version"))
            .collect();
        versions.sort();
        let sorted: Vec<&str> = versions.iter().map(Version::original).collect();
        assert_eq!(sorted, texts(&case["output"]), "{}", case["name"]);
    }
}

#[test]
fn flux_wants_three_numbers_and_sorts_from_the_highest() {
    assert_eq!(parse_three_part("1.2"), Err(VersionError::Invalid));
    assert_eq!(
        parse_three_part("v2025.02.03-rc.1").expect("a version").to_string(),
        "2025.2.3-rc.1"
    );
    let all = ["1.0.0", "v1.10.0", "1.2", "1.9.0", "latest", "2.0.0-rc.1", "1.9.0+b"];
    assert_eq!(
        sort_descending(None, all),
        ["2.0.0-rc.1", "v1.10.0", "1.9.0", "1.9.0+b", "1.0.0"]
    );
    let range = Range::parse(">=1.5").expect("a range");
    assert_eq!(sort_descending(Some(&range), all), ["v1.10.0", "1.9.0", "1.9.0+b"]);
    assert_eq!(
        sort_descending(Some(&range.including_prereleases()), all)[0],
        "2.0.0-rc.1"
    );
}

#[test]
fn increments_keep_the_leading_v_and_drop_the_rest() {
    let check = |text: &str, patch: &str, minor: &str, major: &str| {
        let version = Version::parse(text).expect("a version");
        let show = |version: Option<Version>| version.expect("no overflow").original().to_owned();
        assert_eq!(
            [
                show(version.inc_patch()),
                show(version.inc_minor()),
                show(version.inc_major())
            ],
            [patch, minor, major]
        );
    };
    check("1.2.3", "1.2.4", "1.3.0", "2.0.0");
    check("v1.2.3-rc.1+b", "v1.2.3", "v1.3.0", "v2.0.0");
    check("v1", "v1.0.1", "v1.1.0", "v2.0.0");
    let last = Version::new(u64::MAX, u64::MAX, u64::MAX, "", "");
    assert!(last.inc_patch().is_none() && last.inc_minor().is_none() && last.inc_major().is_none());
    let version = Version::parse("v1.2").expect("a version");
    assert_eq!(
        version.with_prerelease("rc.1").expect("valid").original(),
        "v1.2.0-rc.1"
    );
    assert_eq!(version.with_metadata("m").expect("valid").to_string(), "1.2.0+m");
    assert_eq!(version.with_prerelease("a..b"), Err(VersionError::Prerelease));
    assert_eq!(version.with_metadata("a b"), Err(VersionError::Metadata));
}

#[test]
fn oversized_texts_are_refused() {
    assert_eq!(Version::parse(&"1".repeat(257)), Err(VersionError::TooLong));
    assert_eq!(Version::parse_strict(&"1".repeat(257)), Err(VersionError::TooLong));
    assert_eq!(
        Range::parse(&" ".repeat(513)).expect_err("too long"),
        RangeError::TooLong
    );
    assert_eq!(
        Range::parse(&["1"; 33].join("||")).expect_err("too many"),
        RangeError::TooManyAlternatives
    );
    assert!(Range::parse(&["1"; 32].join("||")).is_ok());
    assert_eq!(
        Range::parse("1|2").expect_err("a bar"),
        RangeError::Version("1|2".to_owned())
    );
}

#[test]
fn a_mismatch_says_why() {
    let reasons = |range: &str, version: &str| -> Vec<String> {
        let version = Version::parse(version).expect("a version");
        let reasons = Range::parse(range)
            .expect("a range")
            .check(&version)
            .expect_err("no match");
        reasons.iter().map(ToString::to_string).collect()
    };
    assert_eq!(reasons(">=2, <3", "1.5"), [r#""1.5.0" is less than "2""#]);
    assert_eq!(
        reasons("^2 || ~1.4", "1.5"),
        [
            r#""1.5.0" is less than "2""#,
            r#""1.5.0" does not have same major and minor version as "1.4""#
        ]
    );
    assert_eq!(
        reasons(">1 || >2", "3.0.0-rc"),
        [r#""3.0.0-rc" is a prerelease version and the constraint is only looking for release versions"#]
    );
}
