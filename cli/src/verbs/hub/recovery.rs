//! `nave hub recovery-key` and `nave hub ca recover`: the offline key that outlives the hub's authorities.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Subcommand;
use jiff::Timestamp;
use kube::api::DynamicObject;
use nave_identity::{Authority, AuthorityRole, Key, SignedRootSet, TrustedRoots, later_version};
use serde_json::{Value, json};

use super::{
    backup::{AUTHORITY, SECRET},
    ca::CONFIG_MAP_KIND,
    info::CONFIG_MAP,
};
use crate::{
    api,
    confirm::confirm,
    connection::{Connection, ConnectionArguments, HUB_NAMESPACE},
    failure::advised,
    fields::text,
    say,
    wait::{self, Verdict},
};

#[derive(Debug, Clone, Subcommand)]
pub enum What {
    /// Make a recovery key, and have agents pin it
    #[command(after_help = "\
The key never gets to the hub, only its fingerprint does. Agents that are connected pin it at once, others when they come
back or join. Keep the file where the hub's cluster cannot reach it: whoever has it can have all agents believe another
hub. A file that is there already is not overwritten; the key in it is pinned.

Examples:
  nave hub recovery-key create --out recovery.pem")]
    Create(Create),
}

/// What `create` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Create {
    /// Where to write the key; the file is readable by its owner only
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Namespace that the hub runs in
    #[arg(long, value_name = "NAMESPACE", default_value = HUB_NAMESPACE)]
    hub_namespace: String,
}

pub const RECOVER_HELP: &str = "\
For the day when the hub's authorities are lost or stolen, and for agents that were away for more than three rotations:
the key signs the authority that the hub has now, and agents that pinned the key take it over when they dial. Nobody has
to join again. To give up an authority that others may know, first delete Secret nave-hub-authority in the hub's
namespace and restart the hub, which makes another.

Agents that joined before there was a recovery key, and were not connected since, have to join again when the authority
was lost.

Examples:
  nave hub ca recover --key recovery.pem
  nave hub ca recover --key recovery.pem --jump --yes";

/// What `recover` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Recover {
    /// The key that `nave hub recovery-key create` made
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Sign a version later than any that agents may have: for a hub that was restored from an old backup. A hub that
    /// made new authorities needs no asking
    #[arg(long)]
    jump: bool,
    /// Namespace that the hub runs in
    #[arg(long, value_name = "NAMESPACE", default_value = HUB_NAMESPACE)]
    hub_namespace: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs the verb below `hub recovery-key`.
pub async fn run(what: What, to: &ConnectionArguments) -> Result<()> {
    let What::Create(arguments) = what;
    let connection = to.connect().await?;
    let namespace = &arguments.hub_namespace;
    // Before the file is made: without a hub there is nothing to recover.
    let secret = authorities(&connection, namespace).await?;
    let key = load_or_make(&arguments.out)?;
    let fingerprint = key.fingerprint().to_string();
    let patch = json!({"data": {"recovery-key": STANDARD.encode(&fingerprint)}});
    api::merge(&connection.client, &SECRET, &secret, &patch).await?;
    answered(&connection, namespace, to, &fingerprint, |map| {
        text(map, "/data/recoveryKey") == fingerprint
    })
    .await?;
    say::success(&format!("agents pin the recovery key {fingerprint}"));
    say::hint(&format!(
        "take {} off this machine: whoever has it can have all agents believe another hub",
        arguments.out.display()
    ));
    Ok(())
}

/// Signs the hub's present authority and waits until the hub shows that.
pub async fn recover(arguments: Recover, to: &ConnectionArguments) -> Result<()> {
    let file = arguments.key.display().to_string();
    let key = load(&arguments.key)?.with_context(|| format!("there is no file {file}"))?;
    let connection = to.connect().await?;
    let namespace = &arguments.hub_namespace;
    let secret = authorities(&connection, namespace).await?;
    let signed = signed(&secret, &key, &file, arguments.jump, Timestamp::now())?;
    let version = signed.version().to_string();
    if !arguments.yes {
        say::detail(&format!("root set version {version}, by key {}", key.fingerprint()));
        confirm("have agents believe the hub's present authority", "--yes")?;
    }
    let patch = json!({"data": {"recovery-roots": STANDARD.encode(signed.to_bytes())}});
    api::merge(&connection.client, &SECRET, &secret, &patch).await?;
    answered(&connection, namespace, to, &version, |map| {
        text(map, "/data/rootVersion") == version
    })
    .await?;
    say::success(&format!(
        "the hub shows root set version {version}; agents follow when they dial"
    ));
    Ok(())
}

async fn authorities(connection: &Connection, namespace: &str) -> Result<DynamicObject> {
    let found = api::get(&connection.client, &SECRET, namespace, AUTHORITY).await;
    found.with_context(|| format!("reading the hub's authorities, Secret {namespace}/{AUTHORITY}"))
}

/// Waits until the hub has done it, or says why not: `NAME: WHY`.
async fn answered(
    connection: &Connection,
    namespace: &str,
    to: &ConnectionArguments,
    name: &str,
    done: impl Fn(&DynamicObject) -> bool,
) -> Result<()> {
    let maps = CONFIG_MAP_KIND.api(&connection.client, namespace);
    let what = "the hub takes it up";
    wait::until(maps, CONFIG_MAP, what, to.timeout, |map| {
        let refused = text(map, "/data/recoveryRefused").strip_prefix(name);
        match refused.and_then(|rest| rest.strip_prefix(": ")) {
            Some(why) => Verdict::Failed(why.to_owned()),
            None if done(map) => Verdict::Done(String::new()),
            None => Verdict::Waiting(String::new()),
        }
    })
    .await
    .map(drop)
}

fn load_or_make(path: &Path) -> Result<Key> {
    if let Some(key) = load(path)? {
        return Ok(key);
    }
    let (key, shown) = (Key::generate()?, path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("creating {shown}"))?;
    file.write_all(key.to_pem().as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("writing {shown}"))?;
    Ok(key)
}

/// None when there is no such file.
fn load(path: &Path) -> Result<Option<Key>> {
    let what = || format!("reading the recovery key {}", path.display());
    match std::fs::read_to_string(path) {
        Ok(pem) => Key::from_pem(&pem).with_context(what).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(what),
    }
}

/// The root set for the hub's present authority.
fn signed(secret: &DynamicObject, key: &Key, file: &str, jump: bool, now: Timestamp) -> Result<SignedRootSet> {
    let present = TrustedRoots::stored(&data(secret, "roots")?).context("reading the hub's root set")?;
    let pem = |name| -> Result<String> { Ok(String::from_utf8(data(secret, name)?)?) };
    let (certificate, private) = (pem("server-ca.crt")?, pem("server-ca.key")?);
    let authority = Authority::from_pem(AuthorityRole::Server, &certificate, &private)?;
    let pinned = present.recovery_key();
    if let Some(pinned) = pinned.filter(|pinned| *pinned != key.fingerprint()) {
        return Err(advised(
            format!(
                "{file} holds key {}, and this hub's agents have pinned {pinned}",
                key.fingerprint()
            ),
            "use the file that `nave hub recovery-key create` made for this hub",
        ));
    }
    // A hub that knows no recovery key was made new: it does not know what its agents trust either.
    let later = (jump || pinned.is_none()).then(|| later_version(now));
    Ok(nave_identity::recover(
        &present,
        authority.certificate().clone(),
        key,
        later,
    )?)
}

fn data(secret: &DynamicObject, name: &str) -> Result<Vec<u8>> {
    let value = secret.data.pointer(&format!("/data/{name}")).and_then(Value::as_str);
    let Some(value) = value else {
        bail!("Secret {AUTHORITY} has no key {name}: it is not that of a hub of this version");
    };
    STANDARD
        .decode(value)
        .with_context(|| format!("key {name} of Secret {AUTHORITY} is not base64"))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use nave_identity::RootSet;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).expect("in range")
    }

    fn hub(recovery: Option<&Key>) -> (Authority, DynamicObject) {
        let life = SignedDuration::from_hours(24);
        let authority = Authority::generate(AuthorityRole::Server, now(), life).expect("generated");
        let set = RootSet::first(vec![authority.certificate().clone()], recovery.map(Key::fingerprint));
        let roots = set.sign(&[authority.key()]).expect("signs").to_bytes();
        let pem = authority.to_pem();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": AUTHORITY}, "data": {
            "roots": STANDARD.encode(roots),
            "server-ca.crt": STANDARD.encode(pem.certificate),
            "server-ca.key": STANDARD.encode(pem.key.as_bytes()),
        }});
        (authority, serde_json::from_value(secret).expect("an object"))
    }

    #[test]
    fn the_chain_goes_on_where_it_is_whole_and_is_jumped_over_where_not() {
        let (key, other) = (Key::generate().expect("a key"), Key::generate().expect("a key"));
        let version =
            |hub: &DynamicObject, key: &Key, jump| signed(hub, key, "k.pem", jump, now()).map(|set| set.version());
        let (_, known) = hub(Some(&key));
        assert_eq!(version(&known, &key, false).expect("signed"), 2);
        assert_eq!(version(&known, &key, true).expect("signed"), 1_800_000_000);
        let error = version(&known, &other, false).expect_err("another key").to_string();
        assert!(error.starts_with("k.pem holds key sha256:"), "{error}");
        let (authority, new) = hub(None);
        assert_eq!(version(&new, &key, false).expect("signed"), 1_800_000_000);
        let present = TrustedRoots::stored(&data(&new, "roots").expect("there")).expect("own bytes");
        let set = signed(&new, &key, "k.pem", false, now()).expect("signed");
        let taken = present.recovered(set, &authority).expect("the hub takes it");
        assert_eq!(taken.recovery_key(), Some(key.fingerprint()));
    }

    #[test]
    fn a_key_is_made_once() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("k.pem");
        let made = load_or_make(&path).expect("made").fingerprint();
        assert_eq!(load_or_make(&path).expect("read").fingerprint(), made);
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "x").expect("written");
        let error = format!("{:#}", load_or_make(&path).expect_err("no key"));
        assert!(error.starts_with("reading the recovery key "), "{error}");
    }
}
