//! What a file says about itself under `sops`.

use regex::bytes::Regex;

use crate::data_key::{KeyService, Request};
use crate::moment::Moment;
use crate::rules::Rule;
use crate::value::{Item, Value, get};

/// What a file without a rule of its own leaves readable.
const DEFAULT_SUFFIX: &str = "_unencrypted";
/// Keys and groups of one file; more are an attack on the time it takes to try them.
const MAX_KEYS: usize = 200;

/// The part of the metadata that decryption needs.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// Each group holds one share of the data key, and each of its keys can open it.
    pub(crate) groups: Vec<Vec<MasterKey>>,
    /// How many groups it takes; 0 says nothing.
    pub(crate) threshold: usize,
    /// The time of the last change, which binds the code.
    pub(crate) last_modified: String,
    /// The encrypted code over all values.
    pub(crate) mac: Vec<u8>,
    pub(crate) rule: Rule,
    /// The code is over the encrypted values alone.
    pub(crate) only_encrypted: bool,
}

/// One way to get at the data key, or a share of it.
#[derive(Debug)]
pub(crate) enum MasterKey {
    Age { recipient: String, sealed: String },
    Pgp { fingerprint: String, sealed: String },
    Service(Request),
}

/// Metadata that cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MetadataError {
    /// Such as `sops.age[0].enc`.
    pub(crate) path: String,
    pub(crate) problem: String,
}

fn refuse<T>(path: &str, problem: impl Into<String>) -> Result<T, MetadataError> {
    Err(MetadataError {
        path: path.to_owned(),
        problem: problem.into(),
    })
}

impl Metadata {
    pub(crate) fn parse(notes: &Value) -> Result<Metadata, MetadataError> {
        let Value::Map(fields) = notes else {
            return refuse("sops", format!("it is {}, but a map is needed", notes.type_name()));
        };
        let at = At {
            fields,
            path: "sops".to_owned(),
        };
        let mut groups = Vec::new();
        let direct = at.keys()?;
        if direct.is_empty() {
            for group in at.list("key_groups")? {
                groups.push(group.keys()?);
            }
        } else {
            groups.push(direct);
        }
        if groups.is_empty() {
            return refuse("sops", "it names no keys");
        }
        if groups.len() + groups.iter().map(Vec::len).sum::<usize>() > MAX_KEYS {
            return refuse("sops", format!("it names more than {MAX_KEYS} keys"));
        }
        let last_modified = at.text("lastmodified")?;
        let Some(moment) = Moment::parse(&last_modified) else {
            return refuse("sops.lastmodified", "it is no point in time in RFC 3339");
        };
        Ok(Metadata {
            groups,
            threshold: at.number("shamir_threshold")?,
            last_modified: moment.short(),
            mac: at.text("mac")?.into_bytes(),
            rule: at.rule()?,
            only_encrypted: at.flag("mac_only_encrypted")?,
        })
    }
}

/// A map of the metadata and where it stands.
struct At<'a> {
    fields: &'a [Item],
    path: String,
}

impl<'a> At<'a> {
    fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    fn value(&self, name: &str) -> Option<&'a Value> {
        get(self.fields, name).filter(|value| **value != Value::Null)
    }

    /// A text; absent is empty, and numbers and the like are as they were written.
    fn text(&self, name: &str) -> Result<String, MetadataError> {
        self.text_of(name, self.value(name))
    }

    fn text_of(&self, name: &str, value: Option<&Value>) -> Result<String, MetadataError> {
        Ok(match value {
            None | Some(Value::Null) => String::new(),
            Some(Value::Text(text)) => match std::str::from_utf8(text) {
                Ok(text) => text.to_owned(),
                Err(_) => return refuse(&self.path(name), "it is not UTF-8"),
            },
            Some(Value::Time(text)) => text.clone(),
            Some(Value::Bool(flag)) => flag.to_string(),
            Some(Value::Int(number)) => number.to_string(),
            Some(Value::Float(number)) => number.to_string(),
            Some(other) => {
                let problem = format!("it is {}, but a text is needed", other.type_name());
                return refuse(&self.path(name), problem);
            }
        })
    }

    fn flag(&self, name: &str) -> Result<bool, MetadataError> {
        match self.value(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            // Formats without types write it as a text.
            Some(Value::Text(text)) => Ok(text == b"true"),
            Some(other) => {
                let problem = format!("it is {}, but true or false is needed", other.type_name());
                refuse(&self.path(name), problem)
            }
        }
    }

    fn number(&self, name: &str) -> Result<usize, MetadataError> {
        let text = self.text(name)?;
        // Older versions wrote it as a float in formats without types.
        let number = match text.as_str() {
            "" => Some(0.0),
            text => text.parse::<f64>().ok(),
        };
        match number {
            Some(number) if number.fract() == 0.0 && (0.0..=255.0).contains(&number) => Ok(number as usize),
            _ => refuse(&self.path(name), "it is no whole number from 0 to 255"),
        }
    }

    fn list(&self, name: &str) -> Result<Vec<At<'a>>, MetadataError> {
        let items = match self.value(name) {
            None => return Ok(Vec::new()),
            Some(Value::List(items)) => items,
            Some(other) => {
                let problem = format!("it is {}, but a list is needed", other.type_name());
                return refuse(&self.path(name), problem);
            }
        };
        let values = items.iter().filter(|item| !matches!(item, Value::Comment(_)));
        values
            .enumerate()
            .map(|(place, item)| {
                let path = format!("{}[{place}]", self.path(name));
                match item {
                    Value::Map(fields) => Ok(At { fields, path }),
                    other => refuse(&path, format!("it is {}, but a map is needed", other.type_name())),
                }
            })
            .collect()
    }

    /// The keys of one group, in the order in which SOPS lists the services.
    fn keys(&self) -> Result<Vec<MasterKey>, MetadataError> {
        let mut keys = Vec::new();
        let mut service = |service, at: &At| -> Result<(), MetadataError> {
            let ciphertext = at.text("enc")?;
            keys.push(MasterKey::Service(Request { service, ciphertext }));
            Ok(())
        };
        for at in self.list("kms")? {
            let mut context = Vec::new();
            match at.value("context") {
                None => {}
                Some(Value::Map(fields)) => {
                    let inner = At {
                        fields,
                        path: at.path("context"),
                    };
                    for item in fields {
                        if let Item::Entry(name, value) = item {
                            context.push((name.clone(), inner.text_of(name, Some(value))?));
                        }
                    }
                }
                Some(other) => {
                    let problem = format!("it is {}, but a map is needed", other.type_name());
                    return refuse(&at.path("context"), problem);
                }
            }
            context.sort();
            let kms = KeyService::AwsKms {
                arn: at.text("arn")?,
                role: at.text("role")?,
                context,
                profile: at.text("aws_profile")?,
            };
            service(kms, &at)?;
        }
        for at in self.list("gcp_kms")? {
            let resource_id = at.text("resource_id")?;
            service(KeyService::GcpKms { resource_id }, &at)?;
        }
        for at in self.list("azure_kv")? {
            let vault = KeyService::AzureKeyVault {
                vault_url: at.text("vault_url")?,
                name: at.text("name")?,
                version: at.text("version")?,
            };
            service(vault, &at)?;
        }
        for at in self.list("hc_vault")? {
            let vault = KeyService::Vault {
                address: at.text("vault_address")?,
                engine_path: at.text("engine_path")?,
                key_name: at.text("key_name")?,
            };
            service(vault, &at)?;
        }
        for at in self.list("pgp")? {
            keys.push(MasterKey::Pgp {
                fingerprint: at.text("fp")?,
                sealed: at.text("enc")?,
            });
        }
        for at in self.list("age")? {
            keys.push(MasterKey::Age {
                recipient: at.text("recipient")?,
                sealed: at.text("enc")?,
            });
        }
        Ok(keys)
    }

    fn rule(&self) -> Result<Rule, MetadataError> {
        let names = [
            "unencrypted_suffix",
            "encrypted_suffix",
            "unencrypted_regex",
            "encrypted_regex",
            "unencrypted_comment_regex",
            "encrypted_comment_regex",
        ];
        let mut given = Vec::new();
        for name in names {
            let text = self.text(name)?;
            if !text.is_empty() {
                given.push((name, text));
            }
        }
        if given.len() > 1 {
            let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
            return refuse("sops", format!("only one of {} can be used", names.join(" and ")));
        }
        let Some((name, text)) = given.pop() else {
            return Ok(Rule::UnencryptedSuffix(DEFAULT_SUFFIX.to_owned()));
        };
        // SOPS takes a broken expression as one that never matches, which leaves secrets readable.
        let regex = || match Regex::new(&text) {
            Ok(regex) => Ok(regex),
            Err(_) => refuse(&self.path(name), "it is no regular expression that is supported"),
        };
        Ok(match name {
            "unencrypted_suffix" => Rule::UnencryptedSuffix(text),
            "encrypted_suffix" => Rule::EncryptedSuffix(text),
            "unencrypted_regex" => Rule::UnencryptedRegex(regex()?),
            "encrypted_regex" => Rule::EncryptedRegex(regex()?),
            "unencrypted_comment_regex" => Rule::UnencryptedComment(regex()?),
            _ => Rule::EncryptedComment(regex()?),
        })
    }
}
