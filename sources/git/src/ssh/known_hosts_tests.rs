//! Lines as ssh-keygen 9.2 wrote them.

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOVXSYMQlWvINUywbNTt5FyH/yBg5AUu3z2uvF/TD1Jb";
const OTHER: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBDLFxUOYh/bnNCaOKZfAcJTOYg5iQXnbdpNMe+dZuCCuk94QwMzTt6Zk/9PE5kth1SlMr/amMMjC4bOIpxg9Bng=";
const AUTHORITY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB7htplvsaGLbjL+wV7PqAW0UE1hRCcjngBbpupIawqq";
/// `ssh-keygen -s ca -h -I host -n git.example.com -V 20260101:20270101` over `KEY`.
const CERTIFICATE: &str = "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAIL2LoyuBbBzimboHFNt38GqxaywmlfGM5jOQp5vQStZdAAAAIOVXSYMQlWvINUywbNTt5FyH/yBg5AUu3z2uvF/TD1JbAAAAAAAAAAAAAAACAAAABGhvc3QAAAATAAAAD2dpdC5leGFtcGxlLmNvbQAAAABpVbkAAAAAAGs27IAAAAAAAAAAAAAAAAAAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIB7htplvsaGLbjL+wV7PqAW0UE1hRCcjngBbpupIawqqAAAAUwAAAAtzc2gtZWQyNTUxOQAAAEAiMOwqw9S3a5V86A19jlS7dyEAfGFkgTSdA3EMLkJLH2MZMrBNLRZVGEEdShsNmfNbRNywa5nD2lE3CpJY3KoB";
/// `ssh-keygen -H` over `git.example.com` and `[git.example.com]:2222` with `KEY`.
const HASHED: [&str; 2] = [
    "|1|9YlHTraAM3JztKGEJAclJylsC0A=|Cim9IRTLbQEnaQ/48XS+JIaW284=",
    "|1|2dl8BD775qsOMh22R0SduM7dzOQ=|FXMxxjQpR6ju/EajWGUh7eUjUaM=",
];

fn host(name: &str, port: u16) -> Host {
    Host {
        name: name.to_owned(),
        port,
    }
}

#[track_caller]
fn check(lines: &str, name: &str, port: u16, expected: &str) {
    let known = KnownHosts::parse(lines.as_bytes()).unwrap();
    let key: PublicKey = KEY.parse().unwrap();
    let found = match known.check(&host(name, port), &key) {
        Ok(()) => "known".to_owned(),
        Err(refusal) => refusal.to_string(),
    };
    assert!(found.starts_with(expected), "{found}");
}

#[test]
fn plain_names_and_ports() {
    let line = format!("# comment\n\ngit.example.com,10.0.0.1\t{KEY} a comment");
    check(&line, "git.example.com", 22, "known");
    check(&line, "10.0.0.1", 22, "known");
    check(
        &line,
        "git.example.com",
        2222,
        "host [git.example.com]:2222 is not in known_hosts",
    );
    check(
        &format!("[git.example.com]:2222 {KEY}"),
        "git.example.com",
        2222,
        "known",
    );
    check(
        &format!("[git.example.com]:2222 {KEY}"),
        "git.example.com",
        22,
        "host git.example.com is not",
    );
    check(&format!("[::1]:22 {KEY}"), "::1", 22, "known");
    check(&format!("GIT.example.com {KEY}"), "git.example.com", 22, "known");
}

#[test]
fn patterns_and_exceptions() {
    let line = format!("*.example.com,!bad.example.com,?x {KEY}");
    check(&line, "git.example.com", 22, "known");
    check(
        &line,
        "bad.example.com",
        22,
        "host bad.example.com is not in known_hosts",
    );
    check(&line, "ax", 22, "known");
    check(&line, "x", 22, "host x is not");
    check(&format!("* {KEY}"), "anything", 22, "known");
    check(&format!("* {KEY}"), "anything", 2222, "host [anything]:2222 is not");
    check(&format!("[*.example.com]:2222 {KEY}"), "a.b.example.com", 2222, "known");
    // Without an end, if a mismatch made every star be tried anew.
    let stars = "a*".repeat(40);
    check(&format!("{stars}b {KEY}"), &"a".repeat(200), 22, "host a");
}

#[test]
fn hashed_names() {
    let lines = format!("{} {KEY}\n{} {KEY}", HASHED[0], HASHED[1]);
    check(&lines, "git.example.com", 22, "known");
    check(&lines, "git.example.com", 2222, "known");
    check(&lines, "example.com", 22, "host example.com is not");
}

#[test]
fn other_keys_and_revoked_ones_are_refused() {
    check(
        &format!("git.example.com {OTHER}"),
        "git.example.com",
        22,
        "the key of host git.example.com is ssh-ed25519 SHA256:",
    );
    check(
        &format!("git.example.com {OTHER}\ngit.example.com {KEY}"),
        "git.example.com",
        22,
        "known",
    );
    check(
        &format!("git.example.com {KEY}\n@revoked * {KEY}"),
        "git.example.com",
        22,
        "the key ssh-ed25519 SHA256:",
    );
    let known = KnownHosts::parse(format!("x {KEY}\nbroken line").as_bytes()).unwrap();
    let key: PublicKey = KEY.parse().unwrap();
    let said = known.check(&host("y", 22), &key).unwrap_err().to_string();
    assert!(
        said.contains(&format!("add this line to known_hosts: y {KEY} (line 2 of")),
        "{said}"
    );
}

#[test]
fn files_without_any_line_are_refused() {
    assert_eq!(KnownHosts::parse(b"# nothing\n").unwrap_err(), "names no host");
    assert_eq!(KnownHosts::parse(b"\xff").unwrap_err(), "is not text");
    let error = KnownHosts::parse(b"github.com\n").unwrap_err();
    assert!(error.starts_with("has no line that can be read (line 1: "), "{error}");
}

#[track_caller]
fn check_certificate(lines: &str, name: &str, now: u64, expected: &str) {
    let known = KnownHosts::parse(lines.as_bytes()).unwrap();
    let certificate = Certificate::from_openssh(CERTIFICATE).unwrap();
    let found = match known.check_certificate(&host(name, 22), &certificate, now) {
        Ok(()) => "known".to_owned(),
        Err(refusal) => refusal.to_string(),
    };
    assert!(found.contains(expected), "{found}");
}

#[test]
fn certificates_of_authorities() {
    // June 2026, within the certificate's year.
    const NOW: u64 = 1_780_000_000;
    let line = format!("@cert-authority *.example.com {AUTHORITY}");
    let known = KnownHosts::parse(line.as_bytes()).unwrap();
    assert!(known.has_authority(&host("git.example.com", 22)) && !known.has_authority(&host("x", 22)));
    assert!(known.algorithms(&host("git.example.com", 22)).is_empty());
    check_certificate(&line, "git.example.com", NOW, "known");
    check_certificate(&line, "git.example.com", 1_900_000_000, "it is not valid now");
    check_certificate(&line, "git.example.com", 1_700_000_000, "it is not valid now");
    check_certificate(&line, "other.example.com", NOW, "it is for git.example.com");
    check_certificate(
        &line,
        "git.elsewhere.com",
        NOW,
        "which known_hosts does not name as @cert-authority",
    );
    check_certificate(
        &format!("git.example.com {AUTHORITY}"),
        "git.example.com",
        NOW,
        "does not name as @cert-authority",
    );
    check_certificate(
        &format!("@cert-authority * {OTHER}"),
        "git.example.com",
        NOW,
        "does not name as @cert-authority",
    );
    check_certificate(
        &format!("{line}\n@revoked * {KEY}"),
        "git.example.com",
        NOW,
        "is revoked by line 2",
    );
    check_certificate(
        &format!("{line}\n@revoked * {AUTHORITY}"),
        "git.example.com",
        NOW,
        "is revoked by line 2",
    );
}
