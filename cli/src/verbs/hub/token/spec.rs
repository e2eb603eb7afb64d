//! The flags of `nave hub token create` as the spec of a JoinToken.

use std::{path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Result, bail};
use jiff::{Timestamp, Unit};
use serde_json::{Map, Value, json};

use crate::connection::{duration, is_dns_label};

/// What a token stands for.
#[derive(Debug, Clone, clap::Args)]
pub struct TokenArguments {
    /// Name of the cluster
    #[arg(long, value_name = "NAME", conflicts_with = "name_prefix")]
    cluster: Option<String>,
    /// What the name that an agent asks for has to begin with
    #[arg(long, value_name = "PREFIX")]
    name_prefix: Option<String>,
    /// Label of the cluster; selects it
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<Pair>,
    /// Variable of the cluster
    #[arg(long, value_name = "NAME=VALUE")]
    variable: Vec<Pair>,
    /// What a workspace may do on the cluster: WORKSPACE=admin or WORKSPACE=SERVICE_ACCOUNT/NAMESPACE,NAMESPACE
    #[arg(long, value_name = "GRANT")]
    access: Vec<Access>,
    /// How long the token is good for
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// How many clusters may join with it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    uses: u16,
    /// A person approves each join
    #[arg(long)]
    approval: bool,
    /// Only the cluster with this UID (of its namespace kube-system) may join
    #[arg(long, value_name = "UID", conflicts_with = "for_kubeconfig")]
    pub cluster_uid: Option<String>,
    /// Only the cluster that this kubeconfig reaches may join; its UID is asked for now
    #[arg(long, value_name = "FILE")]
    pub for_kubeconfig: Option<PathBuf>,
}

/// `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair(String, String);

/// One entry of `access`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    workspace: String,
    /// None for an admin.
    grant: Option<(String, Vec<String>)>,
}

impl TokenArguments {
    /// The spec, without hash and end.
    pub fn spec(&self, token_name: &str) -> Result<Value> {
        let mut cluster = Map::new();
        match (&self.cluster, &self.name_prefix) {
            (_, Some(prefix)) => cluster.insert("namePrefix".to_owned(), json!(prefix)),
            (Some(name), None) => cluster.insert("name".to_owned(), json!(name)),
            (None, None) => cluster.insert("name".to_owned(), json!(token_name)),
        };
        if self.uses > 1 && self.name_prefix.is_none() {
            bail!(
                "--uses {} needs --name-prefix: a token for a cluster of one name has one use",
                self.uses
            );
        }
        for (field, pairs) in [("labels", &self.label), ("variables", &self.variable)] {
            if !pairs.is_empty() {
                let map: Map<String, Value> = pairs
                    .iter()
                    .map(|Pair(key, value)| (key.clone(), json!(value)))
                    .collect();
                cluster.insert(field.to_owned(), Value::Object(map));
            }
        }
        if !self.access.is_empty() {
            cluster.insert("access".to_owned(), self.access.iter().map(Access::to_value).collect());
        }
        let mut spec = json!({"uses": self.uses, "cluster": cluster});
        if self.approval {
            spec["approval"] = json!("Manual");
        } else if self.uses == 1 {
            spec["approval"] = json!("Automatic");
        }
        if let Some(uid) = &self.cluster_uid {
            spec["clusterUID"] = json!(uid);
        }
        Ok(spec)
    }

    /// When the token ends, in whole seconds.
    pub fn expires_at(&self, now: Timestamp) -> Result<String> {
        let end = now.checked_add(self.ttl)?;
        Ok(end.round(Unit::Second)?.to_string())
    }
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Pair(key.to_owned(), value.to_owned())),
            _ => Err("expected key=value".to_owned()),
        }
    }
}

impl FromStr for Access {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected WORKSPACE=admin or WORKSPACE=SERVICE_ACCOUNT/NAMESPACE,NAMESPACE";
        let (workspace, grant) = text.split_once('=').ok_or(expected)?;
        let grant = match grant.split_once('/') {
            None if grant == "admin" => None,
            None => return Err(expected.to_owned()),
            Some((account, namespaces)) => {
                let namespaces: Vec<String> = namespaces.split(',').map(str::to_owned).collect();
                if let Some(wrong) = namespaces.iter().find(|namespace| !is_dns_label(namespace)) {
                    return Err(format!("{wrong:?} is no namespace"));
                }
                if account.is_empty() {
                    return Err(expected.to_owned());
                }
                Some((account.to_owned(), namespaces))
            }
        };
        if !is_dns_label(workspace) {
            return Err(format!("{workspace:?} is no workspace"));
        }
        Ok(Access {
            workspace: workspace.to_owned(),
            grant,
        })
    }
}

impl Access {
    fn to_value(&self) -> Value {
        match &self.grant {
            None => json!({"workspace": self.workspace, "admin": true}),
            Some((account, namespaces)) => {
                json!({"workspace": self.workspace, "serviceAccountName": account, "namespaces": namespaces})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        token: TokenArguments,
    }

    fn parse(line: &str) -> TokenArguments {
        Line::parse_from(std::iter::once("x").chain(line.split_whitespace())).token
    }

    #[test]
    fn flags_become_a_spec() {
        let check = |line: &str, want: Value| assert_eq!(parse(line).spec("eu-1").expect(line), want, "{line}");
        check(
            "",
            json!({"uses": 1, "approval": "Automatic", "cluster": {"name": "eu-1"}}),
        );
        check(
            "--cluster x --label env=prod --label a= --variable o=1=2 --approval --cluster-uid u",
            json!({"uses": 1, "approval": "Manual", "clusterUID": "u", "cluster": {
                "name": "x", "labels": {"env": "prod", "a": ""}, "variables": {"o": "1=2"}}}),
        );
        check(
            "--name-prefix edge- --uses 5 --access platform=admin --access t=sa/a,b",
            json!({"uses": 5, "cluster": {"namePrefix": "edge-", "access": [
                {"workspace": "platform", "admin": true},
                {"workspace": "t", "serviceAccountName": "sa", "namespaces": ["a", "b"]}]}}),
        );
        assert!(parse("--uses 2").spec("eu-1").is_err());
    }

    #[test]
    fn grants_that_make_no_sense_are_refused() {
        for text in ["", "a", "a=", "=admin", "a=sa", "a=sa/", "a=/b", "A=admin", "a=sa/b,C"] {
            assert!(text.parse::<Access>().is_err(), "{text}");
        }
    }

    #[test]
    fn tokens_end_after_their_time_to_live() {
        let now = "2026-11-21T08:00:00.7Z".parse().expect("a time");
        assert_eq!(
            parse("--ttl 90m").expires_at(now).expect("in range"),
            "2026-11-21T09:30:01Z"
        );
    }
}
