//! `trustpolicy.json`: which statement is for a repository, how strict it is, and whom it trusts.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::TrustError;

/// A check of a signature beside its integrity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Somebody who is trusted made it.
    Authenticity,
    /// It was made while its certificates were valid.
    AuthenticTimestamp,
    /// It has not expired.
    Expiry,
    /// Its certificates are not revoked.
    Revocation,
}

/// What follows from a check that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The signature does not count.
    Enforce,
    /// Nothing but words.
    Log,
    /// It is not even looked at.
    Skip,
}

/// A trust policy of version 1.0.
#[derive(Debug)]
pub struct TrustPolicy {
    statements: Vec<Statement>,
}

/// One statement.
#[derive(Debug)]
pub(crate) struct Statement {
    pub name: String,
    scopes: Vec<String>,
    level: Level,
    overrides: Vec<(Check, Action)>,
    pub trust_stores: Vec<String>,
    pub identities: Vec<TrustedIdentity>,
}

/// Whom a statement trusts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TrustedIdentity {
    Any,
    /// Parts of a distinguished name, all of which a subject has to have.
    Subject(BTreeMap<String, String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Strict,
    Permissive,
    Audit,
    Skip,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    version: String,
    #[serde(default)]
    trust_policies: Vec<FileStatement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileStatement {
    name: String,
    #[serde(default)]
    registry_scopes: Vec<String>,
    signature_verification: FileVerification,
    #[serde(default)]
    trust_stores: Vec<String>,
    #[serde(default)]
    trusted_identities: Vec<String>,
}

#[derive(Deserialize)]
struct FileVerification {
    level: String,
    #[serde(default, rename = "override")]
    overrides: BTreeMap<String, String>,
}

impl TrustPolicy {
    /// Reads a policy.
    ///
    /// # Errors
    /// It is none, of another version, or says something that makes no sense.
    pub fn from_json(text: &[u8]) -> Result<Self, TrustError> {
        let wrong = TrustError::Policy;
        let file: File = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
        if file.version != "1.0" {
            return Err(wrong(format!(
                "version '{}' is not supported, expected '1.0'",
                file.version
            )));
        }
        if file.trust_policies.is_empty() {
            return Err(wrong("it has no statement".to_owned()));
        }
        let mut statements: Vec<Statement> = Vec::new();
        for statement in file.trust_policies {
            let name = statement.name.clone();
            let read = read(statement).map_err(|problem| wrong(format!("statement '{name}': {problem}")))?;
            for other in &statements {
                if other.name == read.name {
                    return Err(wrong(format!("two statements are named '{name}'")));
                }
                if let Some(scope) = read.scopes.iter().find(|scope| other.scopes.contains(scope)) {
                    return Err(wrong(format!("scope '{scope}' stands in two statements")));
                }
            }
            statements.push(read);
        }
        Ok(TrustPolicy { statements })
    }

    /// The statement for a repository: the one that names it, else the one for all.
    pub(crate) fn statement(&self, repository: &str) -> Option<&Statement> {
        let of = |scope: &str| {
            self.statements
                .iter()
                .find(|statement| statement.scopes.iter().any(|found| found == scope))
        };
        of(repository).or_else(|| of("*"))
    }
}

fn read(file: FileStatement) -> Result<Statement, String> {
    let level = match file.signature_verification.level.as_str() {
        "strict" => Level::Strict,
        "permissive" => Level::Permissive,
        "audit" => Level::Audit,
        "skip" => Level::Skip,
        other => return Err(format!("level '{other}' is not known")),
    };
    if file.name.is_empty() || file.registry_scopes.is_empty() {
        return Err("it has no name or no registryScopes".to_owned());
    }
    if file.registry_scopes.len() > 1 && file.registry_scopes.iter().any(|scope| scope == "*") {
        return Err("scope '*' stands beside others".to_owned());
    }
    let mut overrides = Vec::new();
    for (check, action) in &file.signature_verification.overrides {
        let check = match check.as_str() {
            "authenticity" => Check::Authenticity,
            "authenticTimestamp" => Check::AuthenticTimestamp,
            "expiry" => Check::Expiry,
            "revocation" => Check::Revocation,
            other => return Err(format!("check '{other}' cannot be overridden")),
        };
        let action = match action.as_str() {
            "enforce" => Action::Enforce,
            "log" => Action::Log,
            "skip" if check == Check::Revocation => Action::Skip,
            other => return Err(format!("action '{other}' is not one for {check:?}")),
        };
        overrides.push((check, action));
    }
    if level == Level::Skip {
        if !overrides.is_empty() {
            return Err("level 'skip' has nothing to override".to_owned());
        }
        // As in Flux, whom it trusts does not matter.
    } else if file.trust_stores.is_empty() || file.trusted_identities.is_empty() {
        return Err("it has no trustStores or no trustedIdentities".to_owned());
    }
    let known = |store: &&String| {
        ["ca:", "signingAuthority:", "tsa:"]
            .iter()
            .any(|kind| store.starts_with(kind))
    };
    if let Some(store) = file.trust_stores.iter().find(|store| !known(store)) {
        return Err(format!(
            "trust store '{store}' is none of ca:…, signingAuthority:… and tsa:…"
        ));
    }
    let identities = file.trusted_identities.iter().map(|text| identity(text));
    Ok(Statement {
        name: file.name,
        scopes: file.registry_scopes,
        level,
        overrides,
        trust_stores: file.trust_stores,
        identities: identities.collect::<Result<_, _>>()?,
    })
}

/// `*`, or `x509.subject: C=US, ST=WA, O=example`.
fn identity(text: &str) -> Result<TrustedIdentity, String> {
    if text == "*" {
        return Ok(TrustedIdentity::Any);
    }
    let wrong = || format!("trusted identity '{text}' is neither '*' nor 'x509.subject: …'");
    let names = text.strip_prefix("x509.subject:").ok_or_else(wrong)?;
    let mut parts = BTreeMap::new();
    for part in split(names) {
        let (name, value) = part.split_once('=').ok_or_else(wrong)?;
        let name = name.trim().to_ascii_uppercase();
        if parts.insert(name, value.trim().to_owned()).is_some() {
            return Err(wrong());
        }
    }
    // As the specification has it: a country, a state and an organization at least.
    if ["C", "ST", "O"].iter().any(|name| !parts.contains_key(*name)) {
        return Err(format!("trusted identity '{text}' has no C, ST or O"));
    }
    Ok(TrustedIdentity::Subject(parts))
}

/// At commas and plus signs that no backslash precedes (RFC 4514).
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if matches!(character, ',' | '+') {
            parts.push(String::new());
            continue;
        }
        let part = parts.last_mut().expect("there is one from the beginning");
        match character {
            '\\' => part.extend(characters.next()),
            other => part.push(other),
        }
    }
    parts
}

impl TrustedIdentity {
    pub fn matches(&self, names: &[(String, String)]) -> bool {
        match self {
            TrustedIdentity::Any => true,
            TrustedIdentity::Subject(parts) => parts
                .iter()
                .all(|(name, value)| names.iter().any(|found| (&found.0, &found.1) == (name, value))),
        }
    }
}

impl Statement {
    pub fn is_skip(&self) -> bool {
        self.level == Level::Skip
    }

    pub fn action(&self, check: Check) -> Action {
        if let Some((_, action)) = self.overrides.iter().find(|(found, _)| *found == check) {
            return *action;
        }
        match (self.level, check) {
            (Level::Skip, _) => Action::Skip,
            (Level::Strict, _) | (Level::Permissive, Check::Authenticity) => Action::Enforce,
            (Level::Permissive | Level::Audit, _) => Action::Log,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(fields: Value) -> Result<TrustPolicy, String> {
        let mut statement = json!({
            "name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
            "trustStores": ["ca:acme"], "trustedIdentities": ["*"],
        });
        for (name, value) in fields.as_object().expect("an object") {
            statement[name] = value.clone();
        }
        let text = json!({"version": "1.0", "trustPolicies": [statement]}).to_string();
        TrustPolicy::from_json(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn levels_and_overrides() {
        let action = |fields: Value, check| {
            policy(fields)
                .expect("it is right")
                .statement("h/a")
                .expect("for all")
                .action(check)
        };
        let level = |level: &str| json!({"signatureVerification": {"level": level}});
        assert_eq!(action(level("strict"), Check::Revocation), Action::Enforce);
        assert_eq!(action(level("permissive"), Check::Authenticity), Action::Enforce);
        assert_eq!(action(level("permissive"), Check::Expiry), Action::Log);
        assert_eq!(action(level("audit"), Check::Authenticity), Action::Log);
        let custom = json!({"signatureVerification": {"level": "strict", "override": {"revocation": "skip"}}});
        assert_eq!(action(custom.clone(), Check::Revocation), Action::Skip);
        assert_eq!(action(custom, Check::Expiry), Action::Enforce);
        assert!(
            policy(level("skip"))
                .expect("it is right")
                .statement("x")
                .expect("for all")
                .is_skip()
        );
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (fields, wanted) in [
            (
                json!({"signatureVerification": {"level": "loose"}}),
                "level 'loose' is not known",
            ),
            (
                json!({"signatureVerification": {"level": "strict", "override": {"integrity": "log"}}}),
                "check 'integrity' cannot",
            ),
            (
                json!({"signatureVerification": {"level": "strict", "override": {"expiry": "skip"}}}),
                "action 'skip' is not one",
            ),
            (json!({"trustStores": []}), "no trustStores"),
            (json!({"trustStores": ["acme"]}), "trust store 'acme' is none of"),
            (json!({"trustedIdentities": ["CN=a"]}), "is neither '*' nor"),
            (
                json!({"trustedIdentities": ["x509.subject: CN=a"]}),
                "has no C, ST or O",
            ),
            (json!({"registryScopes": ["*", "h/a"]}), "stands beside others"),
        ] {
            let error = policy(fields).unwrap_err();
            assert!(
                error.starts_with("the trust policy cannot be used: statement 'all': ") && error.contains(wanted),
                "{error}"
            );
        }
        for text in ["", "{}", r#"{"version": "2.0"}"#, r#"{"version": "1.0"}"#] {
            TrustPolicy::from_json(text.as_bytes()).expect_err(text);
        }
    }

    #[test]
    fn a_statement_for_a_repository_comes_first() {
        let statement = |name: &str, scope: &str| {
            json!({"name": name, "registryScopes": [scope], "signatureVerification": {"level": "audit"},
                "trustStores": ["ca:x"], "trustedIdentities": ["*"]})
        };
        let text = |policies: Value| json!({"version": "1.0", "trustPolicies": policies}).to_string();
        let both = text(json!([statement("all", "*"), statement("one", "h/a")]));
        let policy = TrustPolicy::from_json(both.as_bytes()).expect("it is right");
        let name = |repository: &str| policy.statement(repository).map(|statement| statement.name.clone());
        assert_eq!(
            (name("h/a").as_deref(), name("h/b").as_deref()),
            (Some("one"), Some("all"))
        );
        let twice = text(json!([statement("one", "h/a"), statement("two", "h/a")]));
        let error = TrustPolicy::from_json(twice.as_bytes()).unwrap_err().to_string();
        assert!(error.ends_with("scope 'h/a' stands in two statements"), "{error}");
    }

    #[test]
    fn identities_are_parts_of_a_subject() {
        let TrustedIdentity::Subject(parts) =
            identity("x509.subject: C=US, ST=WA, O=a\\, b + CN=c").expect("it is one")
        else {
            panic!("it names a subject");
        };
        assert_eq!(parts["O"], "a, b");
        let subject = TrustedIdentity::Subject(parts);
        let names = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        let full = [("C", "US"), ("ST", "WA"), ("L", "Seattle"), ("O", "a, b"), ("CN", "c")];
        assert!(subject.matches(&names(&full)));
        assert!(!subject.matches(&names(&full[..4])));
    }
}
