//! `nave events`: what controllers said, oldest first.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde_json::Value;

use crate::{
    age, api,
    connection::{Connection, ConnectionArguments},
    failure::{advised, coded},
    fields,
    flux_kinds::{HELM_RELEASE, RECONCILED},
    hints,
    kinds::{self, Kind},
    live::{self, LiveArguments, LiveCluster},
    say,
    table::Table,
};

/// Show events of Flux and fleet objects, oldest first
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  nave events
  nave events --for Kustomization/apps --types Warning
  nave events -A --watch
  nave events --cluster eu-1 -n shop --for Pod/web-1")]
pub struct Arguments {
    /// Look in every namespace
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Go on showing new events
    #[arg(short, long)]
    watch: bool,
    /// Only events of this object, and of its source: Kind/name
    #[arg(long = "for", value_name = "KIND/NAME")]
    subject: Option<String>,
    /// Only events of these types: Normal, Warning
    #[arg(long, value_delimiter = ',', value_name = "TYPES")]
    types: Vec<String>,
    #[command(flatten)]
    live: LiveArguments,
}

/// `Kind/name`, or a kind alone.
#[derive(Debug, Clone)]
struct Subject {
    kind: &'static Kind,
    name: Option<String>,
}

/// An event as far as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Namespace of the event.
    pub namespace: String,
    /// `Normal` or `Warning`.
    pub type_: String,
    /// Its reason.
    pub reason: String,
    /// Group of the object; empty when the event does not say.
    pub group: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// What was said.
    pub message: String,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    count: i32,
}

/// Lists, and watches when asked to.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    if arguments.all_namespaces && to.namespace.is_some() {
        anyhow::bail!("-A and -n exclude each other");
    }
    let connection = to.connect().await?;
    if let Some(cluster) = &arguments.live.cluster {
        return of_cluster(&arguments, to, &connection, cluster).await;
    }
    let subject = arguments.subject.as_deref().map(subject).transpose();
    let asked = subject.map_err(|why| coded(2, anyhow::anyhow!("--for: {why}")))?;
    let workspace = asked
        .as_ref()
        .is_some_and(|subject| subject.kind.home == kinds::Home::Workspace);
    let namespace = match (arguments.all_namespaces, workspace) {
        (true, _) => None,
        (false, true) => to.workspace_filter(&connection),
        (false, false) => Some(to.flux_namespace(&connection)),
    };
    let subjects = match &asked {
        Some(subject) => Some(subject.with_source(&connection, namespace.as_deref()).await?),
        None => None,
    };
    let filter = Filter {
        subjects,
        types: arguments.types.clone(),
    };
    let namespaces = filter.namespaces(namespace.as_deref());
    let mut events = Vec::new();
    for namespace in &namespaces {
        events.extend(list(&connection, namespace.as_deref()).await?);
    }
    events.retain(|event| filter.selects(event));
    Seen::sort(&mut events);
    if events.is_empty() && !arguments.watch {
        return Err(match (&asked, &namespace) {
            (Some(subject), _) => anyhow::anyhow!("no events found for {subject}"),
            (None, Some(namespace)) => advised(
                format!("no events found in {namespace:?} namespace"),
                "look in every namespace with -A, or choose one with -n; events are kept for about an hour",
            ),
            (None, None) => anyhow::anyhow!("no events found in any namespace"),
        });
    }
    let mut table = headers(namespace.is_none());
    let mut shown = BTreeSet::new();
    let now = Timestamp::now();
    for event in &events {
        shown.insert(event.key());
        table.row(event.row(namespace.is_none(), now));
    }
    table.print(true)?;
    if !arguments.watch {
        return Ok(());
    }
    let watches = namespaces.iter().map(|namespace| {
        let api = events_api(&connection, namespace.as_deref());
        watcher::watcher(api, watcher::Config::default())
            .default_backoff()
            .boxed()
    });
    let mut stream = futures::stream::select_all(watches);
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(Event::Apply(event) | Event::InitApply(event)) => Seen::of(event),
            Ok(Event::Init | Event::InitDone | Event::Delete(_)) => continue,
            Err(error) if hints::is_refusal(&error) => {
                return Err(error).context("watching events");
            }
            // The list above worked; the API server will be back.
            Err(_) => continue,
        };
        if filter.selects(&event) && shown.insert(event.key()) {
            table.row(event.row(namespace.is_none(), Timestamp::now()));
            table.print(false)?;
        }
    }
    Ok(())
}

/// Events of a cluster of the fleet, of every kind.
async fn of_cluster(
    arguments: &Arguments,
    to: &ConnectionArguments,
    connection: &Connection,
    cluster: &str,
) -> Result<()> {
    if arguments.watch {
        anyhow::bail!("--watch does not work with --cluster yet: events are read once");
    }
    let cluster = LiveCluster::find(connection, cluster).await?;
    let namespace = match arguments.all_namespaces {
        true => None,
        false => Some(to.namespace.clone().unwrap_or_else(|| "default".to_owned())),
    };
    let subject = arguments.subject.as_deref().unwrap_or_default();
    let (kind, name) = subject.split_once('/').unwrap_or((subject, ""));
    let mut events = match live::events(connection, &cluster, namespace.as_deref(), kind, name).await {
        Ok(events) => events,
        Err(error) => {
            let told = cluster.told(connection, "history").await;
            let told = told_before(&told, namespace.as_deref(), kind, name);
            if told.is_empty() {
                return Err(error);
            }
            say::warning(&format!("{error:#}; what its agent told the hub before:"));
            told
        }
    };
    let wanted = |event: &Seen| {
        arguments
            .types
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case(&event.type_))
    };
    events.retain(|event| arguments.types.is_empty() || wanted(event));
    if events.is_empty() {
        return Err(match namespace {
            Some(namespace) => anyhow::anyhow!("no events found in namespace {namespace:?} of cluster {cluster}"),
            None => anyhow::anyhow!("no events found in cluster {cluster}"),
        });
    }
    let mut table = Seen::table(namespace.is_none());
    let now = Timestamp::now();
    for event in &events {
        table.row(event.row(namespace.is_none(), now));
    }
    Ok(table.print(true)?)
}

/// Events of Flux objects that the agent of a cluster told its hub, oldest first.
fn told_before(answer: &Value, namespace: Option<&str>, kind: &str, name: &str) -> Vec<Seen> {
    let all = answer["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let seen = all.iter().map(|event| {
        let [namespace, type_, reason, kind, name, message] =
            ["namespace", "type", "reason", "kind", "name", "message"].map(|key| fields::field(event, key).to_owned());
        let time = fields::field(event, "time").parse().ok();
        Seen {
            namespace,
            type_,
            reason,
            group: String::new(),
            kind,
            name,
            message,
            first: time,
            last: time,
            count: 1,
        }
    });
    let fits = |wanted: &str, is: &str| wanted.is_empty() || wanted.eq_ignore_ascii_case(is);
    seen.filter(|event| fits(namespace.unwrap_or_default(), &event.namespace))
        .filter(|event| fits(kind, &event.kind) && fits(name, &event.name))
        .collect()
}

/// Events about some objects of a namespace, oldest first.
pub async fn about(connection: &Connection, namespace: &str, subjects: &[(String, String)]) -> Result<Vec<Seen>> {
    let mut events = list(connection, Some(namespace)).await?;
    events.retain(|event| {
        subjects
            .iter()
            .any(|(kind, name)| event.kind == *kind && event.name == *name)
    });
    Ok(events)
}

struct Filter {
    subjects: Option<Vec<About>>,
    types: Vec<String>,
}

/// An object whose events are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct About {
    kind: String,
    /// Empty for all of the kind.
    name: String,
    /// Empty for any.
    namespace: String,
}

impl About {
    fn is_of(&self, event: &Seen) -> bool {
        event.kind == self.kind
            && (self.name.is_empty() || event.name == self.name)
            && (self.namespace.is_empty() || event.namespace == self.namespace)
    }
}

impl Filter {
    fn selects(&self, event: &Seen) -> bool {
        let of_type = self.types.is_empty()
            || self
                .types
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(&event.type_));
        let of_subject = self
            .subjects
            .as_ref()
            .is_none_or(|subjects| subjects.iter().any(|about| about.is_of(event)));
        of_type && of_subject && event.is_of_flux_or_fleet()
    }

    /// Where events are looked for: in one namespace or in all, and in those of the sources.
    fn namespaces(&self, namespace: Option<&str>) -> BTreeSet<Option<String>> {
        let Some(namespace) = namespace else {
            return BTreeSet::from([None]);
        };
        let subjects = self.subjects.iter().flatten().map(|about| about.namespace.as_str());
        subjects
            .filter(|namespace| !namespace.is_empty())
            .chain([namespace])
            .map(|namespace| Some(namespace.to_owned()))
            .collect()
    }
}

impl Subject {
    /// The object, and the source that it is made from: that is where most reasons lie.
    async fn with_source(&self, connection: &Connection, namespace: Option<&str>) -> Result<Vec<About>> {
        let mut subjects = vec![About {
            kind: self.kind.kind.to_owned(),
            name: self.name.clone().unwrap_or_default(),
            namespace: namespace.unwrap_or_default().to_owned(),
        }];
        let Some(name) = &self.name else {
            return Ok(subjects);
        };
        let object = match api::find(&connection.client, self.kind, namespace, name).await {
            Ok(object) => object,
            // Events outlive their object.
            Err(error) if api::api_code(&error).is_none() => return Ok(subjects),
            Err(error) => return Err(error),
        };
        subjects.extend(sources(self.kind, &object));
        Ok(subjects)
    }
}

/// What an object is made from, or told by. It is in the namespace of the object unless the reference says otherwise.
fn sources(kind: &Kind, object: &DynamicObject) -> Vec<About> {
    let own = object.namespace().unwrap_or_default();
    let mut found = Vec::new();
    for (pointer, default_kind) in [
        ("/spec/sourceRef", ""),
        ("/spec/source/ref", ""),
        ("/spec/chart/spec/sourceRef", ""),
        ("/spec/chartRef", ""),
        ("/spec/providerRef", "Provider"),
        ("/spec/imageRepositoryRef", "ImageRepository"),
    ] {
        let field = |name: &str, default: &str| match fields::text(object, &format!("{pointer}/{name}")) {
            "" => default.to_owned(),
            given => given.to_owned(),
        };
        let (kind, name) = (field("kind", default_kind), field("name", ""));
        if !kind.is_empty() && !name.is_empty() {
            let namespace = field("namespace", &own);
            found.push(About { kind, name, namespace });
        }
    }
    if kind.kind == HELM_RELEASE.kind && !fields::text(object, "/spec/chart/spec/chart").is_empty() {
        // The chart object lies beside its source.
        found.push(About {
            kind: kinds::HELM_CHART.kind.to_owned(),
            name: format!("{own}-{}", object.name_any()),
            namespace: found.last().map_or(own, |source| source.namespace.clone()),
        });
    }
    found
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}/{name}", self.kind.kind),
            None => f.write_str(self.kind.kind),
        }
    }
}

impl Seen {
    /// An empty table of events.
    pub fn table(namespace: bool) -> Table {
        headers(namespace)
    }

    /// Oldest first.
    pub fn sort(events: &mut [Seen]) {
        events.sort_by_key(|event| event.last);
    }

    /// An event of the API.
    pub fn of(event: v1::Event) -> Seen {
        let namespace = event.namespace().unwrap_or_default();
        let created = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
        // Newer clients write a series in place of the old fields.
        let (series_count, series_last) = event.series.map_or((None, None), |series| {
            (series.count, series.last_observed_time.map(|time| time.0))
        });
        let first = event
            .first_timestamp
            .map(|time| time.0)
            .or(event.event_time.map(|time| time.0))
            .or(created);
        Seen {
            namespace,
            type_: event.type_.unwrap_or_default(),
            reason: event.reason.unwrap_or_default(),
            group: group_of(event.involved_object.api_version.as_deref().unwrap_or_default()).to_owned(),
            kind: event.involved_object.kind.unwrap_or_default(),
            name: event.involved_object.name.unwrap_or_default(),
            message: event.message.unwrap_or_default(),
            last: series_last.or(event.last_timestamp.map(|time| time.0)).or(first),
            first,
            count: series_count.or(event.count).unwrap_or(1),
        }
    }

    /// `3m`, or `3m (x4 over 20m)` when it came several times.
    pub fn last_seen(&self, now: Timestamp) -> String {
        let since = |time: Option<Timestamp>| time.map_or("<unknown>".to_owned(), |time| age::since(time, now));
        match self.count {
            ..=1 => since(self.last),
            count => format!("{} (x{count} over {})", since(self.last), since(self.first)),
        }
    }

    fn key(&self) -> (String, String, String, Option<Timestamp>, i32) {
        let object = format!("{}/{}/{}", self.namespace, self.kind, self.name);
        (object, self.reason.clone(), self.message.clone(), self.last, self.count)
    }

    /// Whether the object is of Flux or of the fleet. By the group, since there are more kinds of Flux than this program
    /// works on.
    fn is_of_flux_or_fleet(&self) -> bool {
        match self.group.as_str() {
            "" => Kind::by_name(&self.kind).is_some(),
            group => group == kinds::CLUSTER.group || group.ends_with(".fluxcd.io"),
        }
    }

    /// Its row in [`Seen::table`].
    pub fn row(&self, namespace: bool, now: Timestamp) -> Vec<String> {
        let mut cells = Vec::new();
        if namespace {
            cells.push(self.namespace.clone());
        }
        cells.extend([
            self.last_seen(now),
            self.type_.clone(),
            self.reason.clone(),
            format!("{}/{}", self.kind, self.name),
            fields::shorten(&self.message),
        ]);
        cells
    }
}

async fn list(connection: &Connection, namespace: Option<&str>) -> Result<Vec<Seen>> {
    let api = events_api(connection, namespace);
    let mut params = ListParams::default().limit(500);
    let mut events = Vec::new();
    loop {
        let page = api.list(&params).await.context("listing events")?;
        events.extend(page.items.into_iter().map(Seen::of));
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => params = params.continue_token(&token),
            _ => break,
        }
    }
    events.sort_by_key(|event| event.last);
    Ok(events)
}

fn events_api(connection: &Connection, namespace: Option<&str>) -> Api<v1::Event> {
    match namespace {
        Some(namespace) => Api::namespaced(connection.client.clone(), namespace),
        None => Api::all(connection.client.clone()),
    }
}

fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

fn headers(namespace: bool) -> Table {
    let columns = ["Last seen", "Type", "Reason", "Object", "Message"];
    Table::new(namespace.then_some("Namespace").into_iter().chain(columns))
}

fn subject(text: &str) -> Result<Subject, String> {
    let (kind, name) = match text.split_once('/') {
        Some((kind, name)) => (kind, Some(name.to_owned()).filter(|name| !name.is_empty())),
        None => (text, None),
    };
    let of_flux = |kind: &str| {
        RECONCILED
            .into_iter()
            .find(|known| known.kind.eq_ignore_ascii_case(kind))
    };
    let kind = Kind::by_name(kind).or_else(|| of_flux(kind)).ok_or_else(|| {
        let mut known: Vec<&str> = kinds::ALL.iter().chain(&RECONCILED).map(|kind| kind.kind).collect();
        known.sort_unstable();
        known.dedup();
        format!("unknown kind {kind:?}; known are {}", known.join(", "))
    })?;
    Ok(Subject { kind, name })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn what_an_agent_told_is_shown_as_events_are() {
        let event = |name: &str, second: u32| {
            json!({"time": format!("2026-11-22T00:00:0{second}Z"), "type": "Warning", "reason": "BuildFailed",
                "kind": "Kustomization", "namespace": "team", "name": name, "message": "line 3"})
        };
        let answer = json!({"events": [event("apps", 1), event("infra", 2)]});
        let names = |namespace, kind, name| -> Vec<String> {
            let told = told_before(&answer, namespace, kind, name);
            told.into_iter().map(|event| event.name).collect()
        };
        assert_eq!(names(None, "", ""), ["apps", "infra"]);
        assert_eq!(names(Some("team"), "kustomization", "infra"), ["infra"]);
        assert_eq!(names(Some("other"), "", ""), [""; 0]);
        let told = told_before(&answer, None, "", "apps");
        assert_eq!((told[0].type_.as_str(), told[0].last.is_some()), ("Warning", true));
        assert!(told_before(&Value::Null, None, "", "").is_empty());
    }

    use super::*;

    fn event(value: Value) -> Seen {
        Seen::of(serde_json::from_value(value).expect("an event"))
    }

    #[test]
    fn repeated_events_say_how_often() {
        let now = "2026-11-21T08:00:00Z".parse().expect("a time");
        let once = event(json!({
            "metadata": {"name": "a", "namespace": "x"}, "type": "Normal", "reason": "NewArtifact",
            "involvedObject": {"kind": "GitRepository", "name": "platform"}, "message": "stored",
            "firstTimestamp": "2026-11-21T07:40:00Z", "lastTimestamp": "2026-11-21T07:57:00Z"
        }));
        assert_eq!(
            once.row(true, now),
            ["x", "3m", "Normal", "NewArtifact", "GitRepository/platform", "stored"]
        );
        let often = event(json!({
            "metadata": {"name": "a"}, "involvedObject": {}, "count": 4,
            "firstTimestamp": "2026-11-21T07:40:00Z", "lastTimestamp": "2026-11-21T07:57:00Z"
        }));
        assert_eq!(often.last_seen(now), "3m (x4 over 20m)");
        let series = event(json!({
            "metadata": {"name": "a"}, "involvedObject": {}, "eventTime": "2026-11-21T07:00:00.000000Z",
            "series": {"count": 2, "lastObservedTime": "2026-11-21T07:59:00.000000Z"}
        }));
        assert_eq!(series.last_seen(now), "60s (x2 over 60m)");
    }

    fn about(kind: &str, name: &str, namespace: &str) -> About {
        About {
            kind: kind.to_owned(),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        }
    }

    #[test]
    fn sources_are_where_their_references_say() {
        let check = |kind: &'static Kind, spec: Value, wanted: &[(&str, &str, &str)]| {
            let object = serde_json::from_value(
                json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": "app", "namespace": "team"}, "spec": spec}),
            )
            .expect("an object");
            let wanted: Vec<About> = wanted
                .iter()
                .map(|(kind, name, place)| about(kind, name, place))
                .collect();
            assert_eq!(sources(kind, &object), wanted);
        };
        check(
            &kinds::KUSTOMIZATION,
            json!({"sourceRef": {"kind": "GitRepository", "name": "platform", "namespace": "flux-system"}}),
            &[("GitRepository", "platform", "flux-system")],
        );
        check(
            &kinds::KUSTOMIZATION,
            json!({"sourceRef": {"kind": "OCIRepository", "name": "app"}}),
            &[("OCIRepository", "app", "team")],
        );
        check(
            &HELM_RELEASE,
            json!({"chart": {"spec": {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "charts", "namespace": "shared"}}}}),
            &[
                ("HelmRepository", "charts", "shared"),
                ("HelmChart", "team-app", "shared"),
            ],
        );
        check(
            &HELM_RELEASE,
            json!({"chartRef": {"kind": "OCIRepository", "name": "web"}}),
            &[("OCIRepository", "web", "team")],
        );
        let alert = Kind::by_name("Alert").or(RECONCILED.into_iter().find(|kind| kind.kind == "Alert"));
        check(
            alert.expect("a kind of Flux"),
            json!({"providerRef": {"name": "slack"}}),
            &[("Provider", "slack", "team")],
        );
    }

    #[test]
    fn events_are_looked_for_where_the_sources_are() {
        let filter = Filter {
            subjects: Some(vec![
                about("Kustomization", "app", "team"),
                about("GitRepository", "x", "flux-system"),
            ]),
            types: vec![],
        };
        let places = |list: &[&str]| {
            list.iter()
                .map(|place| Some((*place).to_owned()))
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(filter.namespaces(Some("team")), places(&["flux-system", "team"]));
        assert_eq!(filter.namespaces(None), BTreeSet::from([None]));
        let of = |namespace: &str| {
            event(json!({"metadata": {"namespace": namespace}, "involvedObject":
                {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "name": "x"}}))
        };
        assert!(filter.selects(&of("flux-system")) && !filter.selects(&of("team")));
    }

    #[test]
    fn kinds_of_flux_are_known_by_their_group() {
        let of = |api_version: &str, kind: &str| {
            event(json!({"metadata": {}, "involvedObject": {"apiVersion": api_version, "kind": kind, "name": "x"}}))
        };
        assert!(of("notification.toolkit.fluxcd.io/v1", "Receiver").is_of_flux_or_fleet());
        assert!(of("fleet.nave.dev/v1alpha1", "Cluster").is_of_flux_or_fleet());
        assert!(!of("cluster.x-k8s.io/v1beta1", "Cluster").is_of_flux_or_fleet());
        assert!(!of("v1", "Pod").is_of_flux_or_fleet());
        assert!(subject("ImagePolicy/x").is_ok());
    }

    #[test]
    fn only_kinds_of_ours_are_shown() {
        let of = |kind: &str, type_: &str| {
            event(json!({"metadata": {}, "type": type_, "involvedObject": {"kind": kind, "name": "apps"}}))
        };
        let check = |subjects: Option<Vec<(&str, &str)>>, types: &[&str], event: Seen, selected: bool| {
            let subjects = subjects.map(|list| list.into_iter().map(|(kind, name)| about(kind, name, "")).collect());
            let types = types.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(Filter { subjects, types }.selects(&event), selected, "{event:?}");
        };
        check(None, &[], of("Kustomization", "Normal"), true);
        check(None, &[], of("Pod", "Normal"), false);
        check(None, &["warning"], of("Kustomization", "Normal"), false);
        check(None, &["warning"], of("Kustomization", "Warning"), true);
        check(
            Some(vec![("Kustomization", "apps")]),
            &[],
            of("Kustomization", "Normal"),
            true,
        );
        check(
            Some(vec![("Kustomization", "other")]),
            &[],
            of("Kustomization", "Normal"),
            false,
        );
        check(
            Some(vec![("Kustomization", "")]),
            &[],
            of("Kustomization", "Normal"),
            true,
        );
    }

    #[test]
    fn subjects_are_kinds_and_names() {
        assert_eq!(
            subject("kustomization/apps").expect("known").to_string(),
            "Kustomization/apps"
        );
        assert_eq!(subject("Cluster").expect("known").to_string(), "Cluster");
        assert!(subject("Pod/x").is_err());
    }
}
