//! Deciding what has to be done with one object, without writing it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use nave_health::Health;
use nave_object::{Object, ObjectId, pointer::at};
use nave_runtime::ports;
use nave_targets::{ApplyMode, Fingerprint, ResolveError, Resource, Target};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    ApplyOptions, Problem, cleanup, compare, fields,
    foreign::Foreign,
    ignore,
    rules::{self, Mode},
    trial::{Trial, is_absent, try_out, would_be_created, would_be_new},
};

/// A Deployment's controller writes three or four times within some milliseconds after a change.
const REPEATS: u8 = 4;

/// A kind whose CRD this apply has just written may be served a moment after the CRD says so.
const KIND_DEADLINE: Duration = Duration::from_secs(10);
const KIND_PAUSE: Duration = Duration::from_millis(200);

/// How much is believed of what the watch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// An object that is desired as before and unchanged since by the watch costs no request.
    Known,
    /// Every object is compared by a dry run.
    Full,
}

/// What one owner applied, and what it looked like then. Lost at a restart: the next apply checks fully.
#[derive(Debug, Default)]
pub struct Memory {
    target: String,
    override_managers: Arc<[String]>,
    entries: HashMap<ObjectId, Remembered>,
    foreign: HashMap<ObjectId, Foreign>,
}

#[derive(Debug, Clone)]
pub(crate) struct Remembered {
    desired: [u8; 32],
    fingerprint: Fingerprint,
    uid: String,
    was: Was,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Was {
    /// It is as desired.
    Desired,
    /// It was only looked at: it is not as desired.
    Drifted,
    /// It asks to be left alone, or is there already.
    LeftAlone,
}

/// What is to be done, and what was seen on the way.
#[derive(Debug)]
pub(crate) struct Examined {
    pub resource: Option<Resource>,
    pub verdict: Verdict,
    /// It does not exist, and whether it can be created was not asked.
    pub untried: bool,
}

#[derive(Debug)]
pub(crate) enum Verdict {
    /// A label or annotation says so; with the live object when it was read, to be remembered.
    Skipped(Option<Value>),
    /// With the live object when it was read, to be remembered.
    Unchanged(Seen, Option<Value>),
    Write {
        object: Value,
        creates: bool,
    },
    /// It has to be deleted first.
    Recreate {
        uid: Option<String>,
        /// What the live object holds does not come back with the new one.
        loses_data: bool,
    },
    /// It is not as desired, and it is not to be corrected.
    Drifted {
        fields: Vec<String>,
        live: Option<Value>,
    },
}

impl Verdict {
    /// Whether anything is to be written.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Verdict::Write { .. } | Verdict::Recreate { .. })
    }
}

/// A live object, as far as others need it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// None when only the watch was asked and expressions judge the kind.
    pub health: Option<Health>,
    pub resource_version: u64,
    pub uid: String,
}

pub(crate) struct Context<'a> {
    pub target: &'a Target,
    pub options: &'a ApplyOptions<'a>,
    pub memory: &'a Memory,
    /// Groups whose CRDs were written by this apply.
    pub fresh_groups: &'a HashSet<String>,
}

impl Memory {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything when the target is another one than before.
    pub(crate) fn bind(&mut self, target: &Target) {
        if self.target != target.id() {
            self.entries.clear();
            self.foreign.clear();
            target.id().clone_into(&mut self.target);
            self.override_managers = target.override_managers().clone();
        }
    }

    pub(crate) fn is_of(&self, target: &Target) -> bool {
        self.target == target.id()
    }

    /// Of an object that was as desired, or was left alone.
    pub(crate) fn fingerprint_of(&self, id: &ObjectId) -> Option<Fingerprint> {
        self.entries
            .get(id)
            .filter(|remembered| remembered.was != Was::Drifted)
            .map(|remembered| remembered.fingerprint)
    }

    /// As the object was seen last, as desired or not.
    pub(crate) fn seen_fingerprint(&self, id: &ObjectId) -> Option<Fingerprint> {
        self.entries.get(id).map(|remembered| remembered.fingerprint)
    }

    /// Of an object that was left alone and is somebody else's.
    pub(crate) fn foreign(&self, id: &ObjectId) -> Option<&Foreign> {
        self.foreign.get(id)
    }

    pub(crate) fn remember(&mut self, target: &Target, resource: &Resource, object: &Object, live: &Value, was: Was) {
        let id = object.id();
        self.foreign.remove(&id);
        match Fingerprint::of_value(live, &self.override_managers) {
            Some(fingerprint) => {
                let remembered = Remembered {
                    desired: desired_digest(object),
                    fingerprint,
                    uid: uid_of(live),
                    was,
                };
                self.entries.insert(id, remembered);
            }
            None => {
                self.entries.remove(&id);
                if was == Was::LeftAlone && target.keeps_rows() {
                    let foreign = Foreign::watch(target, resource, &id, live);
                    self.foreign.insert(id, foreign);
                }
            }
        }
    }

    pub(crate) fn forget(&mut self, object: &Object) {
        self.entries.remove(&object.id());
        self.foreign.remove(&object.id());
    }

    /// Keeps what is still desired.
    pub(crate) fn keep_only(&mut self, objects: &[Object]) {
        let ids: HashSet<ObjectId> = objects.iter().map(Object::id).collect();
        self.entries.retain(|id, _| ids.contains(id));
        self.foreign.retain(|id, _| ids.contains(id));
    }

    pub(crate) fn knows(&self, id: &ObjectId) -> bool {
        self.entries.contains_key(id)
    }

    fn recall(&self, object: &Object) -> Option<&Remembered> {
        self.entries
            .get(&object.id())
            .filter(|remembered| remembered.was != Was::Drifted && remembered.desired == desired_digest(object))
    }
}

/// Looks at one object.
pub(crate) async fn examine(context: &Context<'_>, object: &Object, trial: Trial) -> Result<Examined, Problem> {
    let (id, desired) = (object.id(), object.as_value());
    if rules::is_left_alone(desired) {
        return Ok(Examined {
            resource: None,
            verdict: Verdict::Skipped(None),
            untried: false,
        });
    }
    let options = context.options;
    options
        .policy
        .check(
            options.owner,
            ports::Action::Apply,
            &id.group,
            &id.kind,
            &id.namespace,
            &id.name,
        )
        .map_err(|reason| Problem::new(&id, desired, "is not allowed here", reason))?;
    let resource = resolve(context, object).await?;
    if resource.namespaced && id.namespace.is_empty() {
        let reason = "set metadata.namespace or spec.targetNamespace";
        return Err(Problem::new(&id, desired, "has no namespace", reason));
    }
    let mut untried = false;
    let verdict = match known(context, object, &resource) {
        Some(verdict) => verdict,
        None if trial == Trial::Later && is_absent(context, object, &resource).await? => {
            untried = true;
            created(desired)
        }
        None if trial == Trial::Now && would_be_new(context, object, &resource).await => created(desired),
        None => compare_with_live(context, object, &resource, REPEATS).await?,
    };
    Ok(Examined {
        resource: Some(resource),
        verdict,
        untried,
    })
}

fn created(desired: &Value) -> Verdict {
    Verdict::Write {
        object: desired.clone(),
        creates: true,
    }
}

async fn resolve(context: &Context<'_>, object: &Object) -> Result<Resource, Problem> {
    let gvk = object.gvk();
    let deadline = Instant::now() + KIND_DEADLINE;
    loop {
        match context.target.resolve(&gvk).await {
            Ok(resource) => return Ok(resource),
            Err(ResolveError::NoMatch(_)) if context.fresh_groups.contains(&gvk.group) && Instant::now() < deadline => {
                tokio::time::sleep(KIND_PAUSE).await;
                context.target.forget_group(&gvk.group);
            }
            Err(error) => return Err(Problem::resolve(&object.id(), object.as_value(), &error)),
        }
    }
}

/// What is to be done by the watch, when it says that nothing changed since we applied the same.
fn known(context: &Context<'_>, object: &Object, resource: &Resource) -> Option<Verdict> {
    if context.options.check == Check::Full || !context.target.keeps_rows() {
        return None;
    }
    let remembered = context.memory.recall(object)?;
    let row = context
        .target
        .watch(resource, object.namespace().unwrap_or_default())
        .known(namespace_of(object, resource), object.name())?;
    if row.fingerprint != remembered.fingerprint {
        return None;
    }
    if remembered.was == Was::LeftAlone {
        return Some(Verdict::Skipped(None));
    }
    let seen = Seen {
        health: (!context
            .options
            .expressions
            .covers(&resource.gvk.group, &resource.gvk.kind))
        .then_some(row.health),
        resource_version: 0,
        uid: remembered.uid.clone(),
    };
    Some(Verdict::Unchanged(seen, None))
}

/// The object may change between the two requests, which looks like a difference and is none: then both are repeated, up
/// to `repeats` times.
async fn compare_with_live(
    context: &Context<'_>,
    object: &Object,
    resource: &Resource,
    repeats: u8,
) -> Result<Verdict, Problem> {
    let (id, desired) = (object.id(), object.as_value());
    let target = context.target;
    let manager = nave_targets::APPLY_MANAGER;
    let live = target
        .get(resource, &id.namespace, &id.name)
        .await
        .map_err(|error| Problem::api(&id, desired, "cannot be read", &error))?;
    let Some(mut live) = live else {
        if context.options.report_only {
            let fields = vec!["it does not exist".to_owned()];
            return Ok(Verdict::Drifted { fields, live: None });
        }
        // The answer says whether it could be created, before anything of its stage is.
        try_out(target, resource, object).await?;
        return Ok(created(desired));
    };
    let mode = rules::mode(desired);
    if mode == Mode::IfNotPresent || rules::is_left_alone(&live) {
        return Ok(Verdict::Skipped(Some(live)));
    }
    let mut cleaned = false;
    if context.options.migrate_api_version
        && !context.options.report_only
        && let Some(patch) = cleanup::migration(&live, &object.gvk().api_version())
    {
        live = target
            .json_patch(resource, &id.namespace, &id.name, manager, &patch)
            .await
            .map_err(|error| Problem::api(&id, desired, "migration of managed fields failed", &error))?;
    }
    if mode != Mode::Merge
        && !context.options.report_only
        && let Some(patch) = cleanup::patch(&live, context.options.override_managers)
    {
        live = target
            .json_patch(resource, &id.namespace, &id.name, manager, &patch)
            .await
            .map_err(|error| Problem::api(&id, desired, "field manager clean-up failed", &error))?;
        cleaned = true;
    }
    let ignored = context.options.ignore.paths(object);
    let dry_run = target
        .apply(resource, &id.namespace, &id.name, manager, desired, ApplyMode::DryRun)
        .await;
    match dry_run {
        Ok(dry_run) => {
            let (seen, wanted) = (ignore::without(&live, &ignored), ignore::without(&dry_run, &ignored));
            let differs = compare::differs(&seen, &wanted);
            if differs && repeats > 0 && version_of(&live) != version_of(&dry_run) {
                return Box::pin(compare_with_live(context, object, resource, repeats - 1)).await;
            }
            if differs && context.options.report_only {
                let fields = fields::drifted(&seen, &wanted);
                return Ok(Verdict::Drifted {
                    fields,
                    live: Some(live),
                });
            }
            Ok(if differs || cleaned {
                Verdict::Write {
                    object: ignore::keep_live(desired, &live, &ignored),
                    creates: false,
                }
            } else {
                let seen = Seen::of(&live, context.options);
                Verdict::Unchanged(seen, Some(live))
            })
        }
        Err(error) if is_immutable(&error) && context.options.report_only => Ok(Verdict::Drifted {
            fields: vec!["a field that cannot be changed".to_owned()],
            live: Some(live),
        }),
        Err(error) if is_immutable(&error) && (context.options.force || rules::is_forced(desired)) => {
            if would_be_created(target, resource, object).await {
                Ok(Verdict::Recreate {
                    uid: Some(uid_of(&live)).filter(|uid| !uid.is_empty()),
                    loses_data: rules::loses_data(&live),
                })
            } else {
                // Deleting would lose the object: it could not be created again either.
                Err(Problem::api(&id, desired, "dry-run failed", &error))
            }
        }
        Err(error) => Err(refused_dry_run(&id, desired, &error)),
    }
}

/// The problem of a dry run that failed, with the way out where there is one.
pub(crate) fn refused_dry_run(id: &ObjectId, desired: &Value, error: &kube::Error) -> Problem {
    let mut problem = Problem::api(id, desired, "dry-run failed", error);
    if is_immutable_by_text(error) {
        problem
            .reason
            .push_str("; set spec.force or the annotation kustomize.toolkit.fluxcd.io/force: enabled to re-create it");
    }
    problem
}

/// Flux takes every conflict and every invalid object for a changed immutable field when it may re-create.
pub(crate) fn is_immutable(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 409 | 422) || is_immutable_by_text(error),
        _ => false,
    }
}

fn is_immutable_by_text(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let text = status.message.to_lowercase();
    text.contains("is immutable") || text.contains("immutable field")
}

impl Seen {
    pub fn of(live: &Value, options: &ApplyOptions<'_>) -> Self {
        Seen {
            health: Some((options.judge)(live)),
            resource_version: live
                .pointer("/metadata/resourceVersion")
                .and_then(Value::as_str)
                .and_then(|version| version.parse().ok())
                .unwrap_or(0),
            uid: uid_of(live),
        }
    }
}

/// Cluster-scoped objects have no namespace on the server, whatever the manifest says.
fn namespace_of<'a>(object: &'a Object, resource: &Resource) -> &'a str {
    if resource.namespaced {
        object.namespace().unwrap_or_default()
    } else {
        ""
    }
}

fn version_of(live: &Value) -> Option<&str> {
    at(live, "/metadata/resourceVersion")?.as_str()
}

pub(crate) fn uid_of(live: &Value) -> String {
    at(live, "/metadata/uid")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn desired_digest(object: &Object) -> [u8; 32] {
    let text = serde_json::to_vec(object.as_value()).expect("a JSON value can always be written");
    Sha256::digest(text).into()
}
