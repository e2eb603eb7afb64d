//! Random texts, keys and certificates: the same seed gives the same, and what comes out is what it says it is.

use crate::{render, text};

#[test]
fn a_seed_decides_what_is_random() {
    let template = "{{ randAlphaNum 20 }} {{ randAscii 20 }} {{ uuidv4 }} {{ randBytes 12 }} {{ shuffle `abcdefghijkl` }} {{ randInt 5 5000 }}";
    assert_eq!(text(template), text(template));
    let two = text("{{ randAlphaNum 20 }} {{ randAlphaNum 20 }}");
    let (first, second) = two.split_once(' ').expect("two words");
    assert_ne!(first, second);
    assert!(
        text("{{ randAlpha 400 }}")
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic())
    );
    assert!(text("{{ randNumeric 400 }}").bytes().all(|byte| byte.is_ascii_digit()));
    assert!(
        text("{{ randAscii 400 }}")
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte))
    );
    let mut letters: Vec<char> = text("{{ shuffle `abcdefghijkl` }}").chars().collect();
    letters.sort_unstable();
    assert_eq!(letters, "abcdefghijkl".chars().collect::<Vec<_>>());
}

#[test]
fn password_hashes_verify() {
    let hash = text("{{ bcrypt `secret` }}");
    assert!(hash.starts_with("$2a$10$"), "{hash}");
    assert!(bcrypt::verify("secret", &hash).expect("a hash"));
    assert!(!bcrypt::verify("other", &hash).expect("a hash"));
    let line = text("{{ htpasswd `user` `secret` }}");
    let (user, hash) = line.split_once(':').expect("a colon");
    assert_eq!(user, "user");
    assert!(bcrypt::verify("secret", hash).expect("a hash"));
}

#[test]
fn aes_is_undone_by_its_key_only() {
    assert_eq!(
        text("{{ encryptAES `key` `plain text of some length` | decryptAES `key` }}"),
        "plain text of some length"
    );
    assert_eq!(
        text("{{ encryptAES `key` `exactly 16 bytes` | decryptAES `key` }}"),
        "exactly 16 bytes"
    );
    assert_ne!(
        render("{{ encryptAES `key` `plain` | decryptAES `other` }}")
            .ok()
            .as_deref(),
        Some("plain")
    );
}

fn pem(text: &str) -> x509_parser::pem::Pem {
    x509_parser::pem::parse_x509_pem(text.as_bytes())
        .expect("a PEM block")
        .1
}

/// Certificates apart, as one template gives them: `---` between them.
fn check_chain(ca: &str, leaf: &str) {
    let (ca, leaf) = (pem(ca), pem(leaf));
    let (ca, leaf) = (
        ca.parse_x509().expect("a certificate"),
        leaf.parse_x509().expect("a certificate"),
    );
    ca.verify_signature(None).expect("signed by itself");
    leaf.verify_signature(Some(ca.public_key()))
        .expect("signed by the authority");
    assert_eq!(ca.subject().to_string(), "CN=authority");
    assert_eq!(leaf.issuer(), ca.subject());
    assert_eq!(leaf.subject().to_string(), "CN=leaf");
    assert!(ca.is_ca() && !leaf.is_ca());
    let valid = leaf.validity();
    assert_eq!(valid.not_before.timestamp(), 1_714_979_289);
    assert_eq!(valid.not_after.timestamp() - valid.not_before.timestamp(), 10 * 86_400);
    let names = leaf.subject_alternative_name().expect("well formed").expect("present");
    let names: Vec<String> = names.value.general_names.iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    let usage = leaf.key_usage().expect("well formed").expect("present").value;
    assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
    assert!(
        ca.key_usage()
            .expect("well formed")
            .expect("present")
            .value
            .key_cert_sign()
    );
    let extended = leaf.extended_key_usage().expect("well formed").expect("present").value;
    assert!(extended.server_auth && extended.client_auth);
    // The issuer's key identifier is the authority's own.
    use x509_parser::extensions::ParsedExtension;
    let own = ca
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
    let issuers = leaf
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            _ => None,
        });
    assert!(own.is_some() && own == issuers);
}

#[test]
fn certificates_form_a_chain() {
    let made = text(
        "{{ $ca := genCA `authority` 365 }}{{ $c := genSignedCert `leaf` (list `10.0.0.1` `::1`) (list `a.example` `b.example`) 10 $ca }}\
         {{ $ca.Cert }}---\n{{ $c.Cert }}---\n{{ $c.Key }}---\n{{ (buildCustomCert (b64enc $ca.Cert) (b64enc $ca.Key)).Key | eq $ca.Key }}",
    );
    let parts: Vec<&str> = made.split("---\n").collect();
    let whole = made.split("-----END CERTIFICATE-----\n").collect::<Vec<_>>();
    assert_eq!(whole.len(), 3, "{parts:?}");
    let certificate = |text: &str| {
        let start = text.find("-----BEGIN CERTIFICATE").expect("a certificate");
        format!("{}-----END CERTIFICATE-----\n", &text[start..])
    };
    check_chain(&certificate(whole[0]), &certificate(whole[1]));
    assert!(made.contains("-----BEGIN RSA PRIVATE KEY-----"));
    assert!(made.ends_with("true"), "{made}");
}

#[test]
fn certificates_can_have_keys_of_every_kind() {
    for kind in ["ecdsa", "ed25519"] {
        let made = text(&format!(
            "{{{{ $k := genPrivateKey `{kind}` }}}}{{{{ $ca := genCAWithKey `authority` 365 $k }}}}\
             {{{{ $c := genSignedCertWithKey `leaf` (list `10.0.0.1` `::1`) (list `a.example` `b.example`) 10 $ca (genPrivateKey `{kind}`) }}}}\
             {{{{ $s := genSelfSignedCertWithKey `self` nil nil 1 $k }}}}{{{{ $ca.Cert }}}}=={{{{ $c.Cert }}}}=={{{{ $s.Cert }}}}=={{{{ eq $s.Key $k }}}}"
        ));
        let parts: Vec<&str> = made.split("==-").collect();
        let parts: Vec<String> = parts
            .iter()
            .enumerate()
            .map(|(n, part)| format!("{}{part}", if n > 0 { "-" } else { "" }))
            .collect();
        // Base 64 may end with `==` too, but never before a dash other than a block's.
        let [ca, leaf, rest] = parts.as_slice() else {
            panic!("{made}")
        };
        check_chain(ca, leaf);
        let block = pem(rest);
        let own = block.parse_x509().expect("a certificate");
        own.verify_signature(None).expect("signed by itself");
        assert!(rest.ends_with("==true"), "{rest}");
    }
}

#[test]
fn another_key_than_the_authoritys_is_refused() {
    let error = render(
        "{{ $a := genCAWithKey `a` 1 (genPrivateKey `ecdsa`) }}{{ $b := genPrivateKey `ecdsa` }}\
         {{ genSignedCertWithKey `leaf` nil nil 1 (buildCustomCert (b64enc $a.Cert) (b64enc $b)) $b }}",
    )
    .expect_err("the key does not fit");
    assert!(
        error.contains("provided PrivateKey doesn't match parent's PublicKey"),
        "{error}"
    );
}
