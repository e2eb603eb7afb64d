//! The data key of a file from its groups of master keys.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::keys::Keys;
use crate::metadata::{MasterKey, Metadata};
use crate::shamir;

/// A service that holds a key and decrypts with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyService {
    /// AWS Key Management Service.
    AwsKms {
        /// Of the key; the region stands in it.
        arn: String,
        /// A role to assume first; empty for none.
        role: String,
        /// The encryption context, sorted by name.
        context: Vec<(String, String)>,
        /// A profile of the user's AWS configuration; empty for none.
        profile: String,
    },
    /// Google Cloud Key Management Service.
    GcpKms {
        /// `projects/…/locations/…/keyRings/…/cryptoKeys/…`
        resource_id: String,
    },
    /// Azure Key Vault.
    AzureKeyVault {
        /// Such as `https://name.vault.azure.net`.
        vault_url: String,
        /// Of the key.
        name: String,
        /// Of the key.
        version: String,
    },
    /// The transit engine of HashiCorp Vault or OpenBao.
    Vault {
        /// Such as `https://vault.example.com:8200`.
        address: String,
        /// Where the engine is mounted, such as `transit`.
        engine_path: String,
        /// Of the key.
        key_name: String,
    },
}

/// A data key, or a share of one, that a service must decrypt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Who holds the key.
    pub service: KeyService,
    /// As the file has it: base64 for AWS and GCP, base64url for Azure, `vault:v1:…` for Vault.
    pub ciphertext: String,
}

/// What a service said: the plain key, or why it gave none.
pub type Answer = Result<Zeroizing<Vec<u8>>, String>;

/// Answers so far, by what was asked.
pub type Answers = BTreeMap<Request, Answer>;

impl fmt::Display for KeyService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyService::AwsKms { arn, .. } => write!(f, "AWS KMS key {arn}"),
            KeyService::GcpKms { resource_id } => write!(f, "GCP KMS key {resource_id}"),
            KeyService::AzureKeyVault {
                vault_url,
                name,
                version,
            } => write!(f, "Azure Key Vault key {vault_url}/keys/{name}/{version}"),
            KeyService::Vault {
                address,
                engine_path,
                key_name,
            } => write!(f, "Vault key {address}/v1/{engine_path}/keys/{key_name}"),
        }
    }
}

/// Where the search for the data key stands.
pub(crate) enum Found {
    Key(Zeroizing<[u8; 32]>),
    /// Services to ask first.
    Needs(Vec<Request>),
}

/// Opens the data key with the keys at hand and the answers so far.
///
/// In each group age and OpenPGP are tried first, as they cost no request; of services the next one is asked for only
/// after the one before has refused. The error lists every key and why it did not help.
pub(crate) fn find(metadata: &Metadata, keys: &Keys, answers: &Answers) -> Result<Found, String> {
    let mut shares = Vec::new();
    let mut needs = Vec::new();
    let mut problems = Vec::new();
    let wanted = match metadata.groups.len() {
        1 => 1,
        // A file that says nothing wants all that can be had, and two at least.
        count if metadata.threshold == 0 => count,
        _ => metadata.threshold.max(2),
    };
    for group in &metadata.groups {
        match open_group(group, keys, answers, &mut problems) {
            Some(Opened::Share(share)) => shares.push(share),
            Some(Opened::Ask(request)) => needs.push(request),
            None => {}
        }
    }
    if shares.len() < wanted && !needs.is_empty() {
        return Ok(Found::Needs(needs));
    }
    let key = if metadata.groups.len() == 1 {
        shares.pop()
    } else if shares.len() < metadata.threshold.max(2) {
        problems.push(format!(
            "{} of {} key groups could be opened, {wanted} are needed",
            shares.len(),
            metadata.groups.len()
        ));
        None
    } else {
        let joined = shamir::combine(&shares);
        if joined.is_none() {
            problems.push("the shares of the key groups do not fit together".to_owned());
        }
        joined.map(Zeroizing::new)
    };
    let Some(key) = key else {
        return Err(problems.join("; "));
    };
    match <[u8; 32]>::try_from(key.as_slice()) {
        Ok(key) => Ok(Found::Key(Zeroizing::new(key))),
        Err(_) => Err(format!("the data key has {} bytes, but 32 are needed", key.len())),
    }
}

enum Opened {
    Share(Zeroizing<Vec<u8>>),
    Ask(Request),
}

fn open_group(group: &[MasterKey], keys: &Keys, answers: &Answers, problems: &mut Vec<String>) -> Option<Opened> {
    if group.is_empty() {
        problems.push("a key group is empty".to_owned());
    }
    let order = |key: &&MasterKey| match key {
        MasterKey::Age { .. } => 0,
        MasterKey::Pgp { .. } => 1,
        MasterKey::Service(_) => 2,
    };
    let mut sorted: Vec<&MasterKey> = group.iter().collect();
    sorted.sort_by_key(order);
    for key in sorted {
        let (name, result) = match key {
            MasterKey::Age { recipient, sealed } => (format!("age {recipient}"), keys.open_age(sealed)),
            MasterKey::Pgp { fingerprint, sealed } => (format!("pgp {fingerprint}"), keys.open_pgp(sealed)),
            MasterKey::Service(request) => {
                let answer = match answers.get(request) {
                    Some(answer) => answer.clone(),
                    None => return Some(Opened::Ask(request.clone())),
                };
                (request.service.to_string(), answer)
            }
        };
        match result {
            Ok(share) => return Some(Opened::Share(share)),
            Err(problem) => problems.push(format!("{name}: {problem}")),
        }
    }
    None
}
