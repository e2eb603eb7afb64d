//! What is asked for: the query of a request, as the link's message and as the right that it needs.

use axum::http::StatusCode;
use nave_proto::wire::{LiveRequest, LiveVerb, MAX_NAME};
use serde::Deserialize;

use super::front_proxy::Caller;

/// The subresource that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Objects.
    Objects,
    /// Events.
    Events,
    /// A pod's log. The API server lets requests for a subresource `log` last; others end after a minute.
    Log,
}

/// The query.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Question {
    /// API group; of whichever kind fits when empty.
    pub group: String,
    /// Its version; the preferred one when empty.
    pub version: String,
    /// Plural, singular, short name or kind.
    pub resource: String,
    /// Namespace on the spoke; all of them when empty.
    pub namespace: String,
    /// One object.
    pub name: String,
    /// Only objects with these labels.
    pub label_selector: String,
    /// Rows for people.
    pub table: bool,
    /// Container of a pod.
    pub container: String,
    /// Go on with what comes.
    pub follow: bool,
    /// Last lines.
    pub tail_lines: u32,
    /// Lines of the last so many seconds.
    pub since_seconds: u32,
    /// The container before its last restart.
    pub previous: bool,
    /// A time before each line.
    pub timestamps: bool,
}

impl What {
    /// Of the last part of the path.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "objects" => Some(Self::Objects),
            "events" => Some(Self::Events),
            "log" => Some(Self::Log),
            _ => None,
        }
    }

    /// The resource that rights are about.
    pub fn subresource(self) -> &'static str {
        match self {
            Self::Objects => "live-objects",
            Self::Events => "live-events",
            Self::Log => "live-logs",
        }
    }
}

impl Question {
    /// The verb of the link, and of the rights.
    pub fn verb(&self, what: What) -> (LiveVerb, &'static str) {
        match what {
            What::Objects if self.name.is_empty() => (LiveVerb::List, "list"),
            What::Objects => (LiveVerb::Get, "get"),
            What::Events => (LiveVerb::Events, "list"),
            What::Log => (LiveVerb::Logs, "get"),
        }
    }

    /// What can be seen to be wrong before anybody is asked.
    pub fn check(&self, what: What) -> Result<(), (StatusCode, String)> {
        let wrong = |text: String| Err((StatusCode::BAD_REQUEST, text));
        for (field, value) in [
            ("group", &self.group),
            ("version", &self.version),
            ("resource", &self.resource),
            ("namespace", &self.namespace),
            ("name", &self.name),
            ("container", &self.container),
        ] {
            if !value.is_empty() && !is_name(value) {
                return wrong(format!("{field} {value:?} is no name"));
            }
        }
        match what {
            What::Objects if self.resource.is_empty() => wrong("resource is missing".to_owned()),
            What::Log if self.namespace.is_empty() || self.name.is_empty() => {
                wrong("namespace and name of the pod are needed".to_owned())
            }
            What::Objects | What::Events if self.follow => wrong("follow is for logs".to_owned()),
            _ => Ok(()),
        }
    }

    /// The message to the agent. It puts its prefix before user and groups by itself.
    pub fn request(&self, what: What, caller: &Caller, id: &str) -> LiveRequest {
        LiveRequest {
            verb: self.verb(what).0 as i32,
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.resource.clone(),
            ns: self.namespace.clone(),
            name: self.name.clone(),
            user: caller.user.clone(),
            groups: caller.groups.clone(),
            container: self.container.clone(),
            follow: self.follow,
            tail_lines: self.tail_lines,
            label_selector: self.label_selector.clone(),
            since_seconds: self.since_seconds,
            previous: self.previous,
            timestamps: self.timestamps,
            table: self.table,
            id: id.to_owned(),
            ..LiveRequest::default()
        }
    }
}

/// Names of Kubernetes have letters, digits, dashes, dots and colons (RBAC); none has a slash.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte))
        && text != "."
        && text != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods() -> Question {
        Question {
            resource: "pods".into(),
            namespace: "team-a".into(),
            ..Question::default()
        }
    }

    #[test]
    fn rights_are_about_what_is_asked() {
        let one = Question {
            name: "web".into(),
            ..pods()
        };
        assert_eq!(pods().verb(What::Objects), (LiveVerb::List, "list"));
        assert_eq!(one.verb(What::Objects), (LiveVerb::Get, "get"));
        assert_eq!(one.verb(What::Log), (LiveVerb::Logs, "get"));
        assert_eq!(pods().verb(What::Events), (LiveVerb::Events, "list"));
        for (name, subresource) in [
            ("objects", "live-objects"),
            ("events", "live-events"),
            ("log", "live-logs"),
        ] {
            assert_eq!(What::of(name).map(What::subresource), Some(subresource));
        }
        assert_eq!(What::of("exec"), None);
    }

    #[test]
    fn names_lead_nowhere_else() {
        assert_eq!(pods().check(What::Objects), Ok(()));
        for name in ["../secrets", "a/b", "..", "x?y", "a b", "ä"] {
            let question = Question {
                name: name.into(),
                ..pods()
            };
            let (code, text) = question.check(What::Objects).expect_err(name);
            assert_eq!(code, StatusCode::BAD_REQUEST);
            assert!(text.contains("is no name"), "{text}");
        }
        assert!(pods().check(What::Log).is_err(), "a log is of one pod");
        assert!(Question::default().check(What::Objects).is_err());
        let follow = Question { follow: true, ..pods() };
        assert!(follow.check(What::Events).is_err());
    }
}
