//! Which host keys are known (sshd(8), *SSH_KNOWN_HOSTS FILE FORMAT*). Pure.
//!
//! Stricter than OpenSSH in one thing, as Go's library is: a pattern without a port stands for port 22 only.

use hmac::{Hmac, Mac};
use russh::keys::{
    Algorithm, HashAlg, PublicKey,
    ssh_key::{
        Certificate,
        certificate::CertType,
        known_hosts::{Entry, HostPatterns, Marker},
    },
};
use sha1::Sha1;

/// A file of known hosts.
#[derive(Debug)]
pub(crate) struct KnownHosts {
    text: Vec<u8>,
    lines: Vec<(usize, Entry)>,
    /// Numbers of lines that could not be read, with the first reason.
    unreadable: Vec<(usize, String)>,
}

/// A server, as it is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// Lower case, an IPv6 address without brackets.
    pub name: String,
    pub port: u16,
}

/// Why a host key is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "host {host} is not in known_hosts; its key is {fingerprint}. If that is the right one, add this line to known_hosts: {line}{unreadable}"
    )]
    Unknown {
        host: Host,
        fingerprint: String,
        line: String,
        unreadable: String,
    },
    #[error(
        "the key of host {host} is {fingerprint}, but known_hosts has {known}: either the server was given another key, \
         or somebody stands in between. If it was, replace the line by: {line}"
    )]
    Changed {
        host: Host,
        fingerprint: String,
        known: String,
        line: String,
    },
    #[error("the key {fingerprint} of host {host} is revoked by line {line} of known_hosts")]
    Revoked {
        host: Host,
        fingerprint: String,
        line: usize,
    },
    #[error("the certificate of host {host} is not accepted: {why}")]
    Certificate { host: Host, why: String },
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.as_written())
    }
}

impl Host {
    /// As a line of the file has it.
    fn as_written(&self) -> String {
        if self.port == 22 {
            self.name.clone()
        } else {
            format!("[{}]:{}", self.name, self.port)
        }
    }
}

impl KnownHosts {
    /// Reads a file. Lines that cannot be read are left out and told of when a host is not found.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let decoded = std::str::from_utf8(text).map_err(|_| "is not text".to_owned())?;
        let mut lines = Vec::new();
        let mut unreadable = Vec::new();
        for (number, line) in (1..).zip(decoded.lines()) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields.is_empty() || fields[0].starts_with('#') {
                continue;
            }
            if fields.iter().any(|field| super::is_nested(field)) {
                unreadable.push((number, "a chain of certificates".to_owned()));
                continue;
            }
            match fields.join(" ").parse::<Entry>() {
                Ok(entry) => lines.push((number, entry)),
                Err(error) => unreadable.push((number, error.to_string())),
            }
        }
        if lines.is_empty() {
            return Err(match unreadable.first() {
                None => "names no host".to_owned(),
                Some((number, why)) => {
                    format!("has no line that can be read (line {number}: {why}); make it with ssh-keyscan")
                }
            });
        }
        Ok(KnownHosts {
            text: text.to_vec(),
            lines,
            unreadable,
        })
    }

    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Types of the keys that are known of a host.
    pub fn algorithms(&self, host: &Host) -> Vec<Algorithm> {
        self.of(host)
            .filter(|(_, entry)| entry.marker().is_none())
            .map(|(_, entry)| entry.public_key().algorithm())
            .collect()
    }

    /// Whether certificates of some authority are believed for a host.
    pub fn has_authority(&self, host: &Host) -> bool {
        self.of(host)
            .any(|(_, entry)| entry.marker() == Some(&Marker::CertAuthority))
    }

    fn of<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = (usize, &'a Entry)> {
        self.lines
            .iter()
            .filter(|(_, entry)| matches(entry.host_patterns(), host))
            .map(|(number, entry)| (*number, entry))
    }

    /// Whether this is the key of the host.
    pub fn check(&self, host: &Host, key: &PublicKey) -> Result<(), Refusal> {
        self.check_revoked(host, key)?;
        let mut others = Vec::new();
        for (number, entry) in self.of(host).filter(|(_, entry)| entry.marker().is_none()) {
            if entry.public_key().key_data() == key.key_data() {
                return Ok(());
            }
            others.push((number, fingerprint(entry.public_key())));
        }
        let openssh = PublicKey::new(key.key_data().clone(), "")
            .to_openssh()
            .unwrap_or_default();
        let line = format!("{host} {}", openssh.trim());
        if others.is_empty() {
            let unreadable = match self.unreadable.first() {
                None => String::new(),
                Some((number, why)) => format!(" (line {number} of known_hosts cannot be read: {why})"),
            };
            return Err(Refusal::Unknown {
                host: host.clone(),
                fingerprint: fingerprint(key),
                line,
                unreadable,
            });
        }
        let known: Vec<String> = others
            .iter()
            .map(|(number, print)| format!("{print} in line {number}"))
            .collect();
        Err(Refusal::Changed {
            host: host.clone(),
            fingerprint: fingerprint(key),
            known: known.join(" and "),
            line,
        })
    }

    /// Whether this is a certificate for the host, valid at `now` (seconds since 1970), of a known authority.
    pub fn check_certificate(&self, host: &Host, certificate: &Certificate, now: u64) -> Result<(), Refusal> {
        let refused = |why: String| {
            Err(Refusal::Certificate {
                host: host.clone(),
                why,
            })
        };
        self.check_revoked(host, &PublicKey::new(certificate.public_key().clone(), ""))?;
        let authority = PublicKey::new(certificate.signature_key().clone(), "");
        self.check_revoked(host, &authority)?;
        let known = self.of(host).any(|(_, entry)| {
            entry.marker() == Some(&Marker::CertAuthority) && entry.public_key().key_data() == authority.key_data()
        });
        if !known {
            return refused(format!(
                "it is signed by {}, which known_hosts does not name as @cert-authority for this host",
                fingerprint(&authority)
            ));
        }
        if certificate.cert_type() != CertType::Host {
            return refused("it is one of a user, not of a host".to_owned());
        }
        if !certificate
            .valid_principals()
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&host.name))
        {
            return refused(format!("it is for {}", certificate.valid_principals().join(", ")));
        }
        if !certificate.critical_options().is_empty() {
            return refused("it has critical options, which hosts have none of".to_owned());
        }
        let print = authority.fingerprint(HashAlg::Sha256);
        match certificate.validate_at(now, [&print]) {
            Ok(()) => Ok(()),
            Err(_) if now < certificate.valid_after() || now >= certificate.valid_before() => {
                refused("it is not valid now".to_owned())
            }
            Err(error) => refused(error.to_string()),
        }
    }

    fn check_revoked(&self, host: &Host, key: &PublicKey) -> Result<(), Refusal> {
        for (line, entry) in self.of(host) {
            if entry.marker() == Some(&Marker::Revoked) && entry.public_key().key_data() == key.key_data() {
                return Err(Refusal::Revoked {
                    host: host.clone(),
                    fingerprint: fingerprint(key),
                    line,
                });
            }
        }
        Ok(())
    }
}

/// `ssh-ed25519 SHA256:…`.
pub(crate) fn fingerprint(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

fn matches(patterns: &HostPatterns, host: &Host) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => {
            let mut mac = Hmac::<Sha1>::new_from_slice(salt).expect("HMAC takes keys of any length");
            mac.update(host.as_written().as_bytes());
            mac.verify_slice(hash).is_ok()
        }
        HostPatterns::Patterns(patterns) => {
            let mut found = false;
            for pattern in patterns {
                let (negated, pattern) = match pattern.strip_prefix('!') {
                    Some(rest) => (true, rest),
                    None => (false, pattern.as_str()),
                };
                let (name, port) = split_port(pattern);
                if port == host.port && is_like(&name.to_ascii_lowercase(), &host.name) {
                    if negated {
                        return false;
                    }
                    found = true;
                }
            }
            found
        }
    }
}

fn split_port(pattern: &str) -> (&str, u16) {
    let bracketed = pattern.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match bracketed {
        Some((name, "")) => (name, 22),
        Some((name, rest)) => match rest.strip_prefix(':').and_then(|port| port.parse().ok()) {
            Some(port) => (name, port),
            None => (pattern, 22),
        },
        None => (pattern, 22),
    }
}

/// `*` is any text, `?` any character. Linear: on a mismatch only the last `*` is tried again.
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
#[path = "known_hosts_tests.rs"]
mod tests;
