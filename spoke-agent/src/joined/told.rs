//! What the controllers of this agent say of the hub's items, told to the hub as history.

use std::sync::{Arc, OnceLock};

use nave_proto::wire::EventMsg;
use nave_quic::AgentHandle;
use nave_runtime::{EventListener, Recorded, Severity};

use super::items::Items;

/// The key under which controllers say which revision an event is of.
const REVISION: &str = "revision";

/// Takes the events of Flux objects that were made from the hub's items to the link, which bounds and counts them. Cheap to
/// clone.
#[derive(Clone)]
pub struct ToldEvents {
    items: Items,
    link: Arc<OnceLock<AgentHandle>>,
}

impl ToldEvents {
    /// Knows no link yet: what is heard before there is one is the cluster's own history only.
    pub fn new(items: Items) -> Self {
        ToldEvents {
            items,
            link: Arc::default(),
        }
    }

    /// From now on events go to this link.
    pub fn connect(&self, link: AgentHandle) {
        // There is one link in a process; a second call changes nothing.
        let _ = self.link.set(link);
    }

    /// The event as the link carries it; none of what is not the hub's, or worth nothing to people.
    fn message(&self, event: &Recorded) -> Option<EventMsg> {
        let severity = match event.severity {
            Severity::Info => "Normal",
            Severity::Error => "Warning",
            Severity::Trace => return None,
        };
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let object = &event.object;
        let (kind, ns, name) = (text(&object.kind), text(&object.namespace), text(&object.name));
        let (item, _) = self.items.with_product(&kind, &ns, &name)?;
        let revision = event
            .metadata
            .iter()
            .find(|(key, _)| key.rsplit('/').next() == Some(REVISION));
        Some(EventMsg {
            time_ms: event.time.as_millisecond(),
            kind,
            ns,
            name,
            severity: severity.to_owned(),
            reason: event.reason.clone(),
            message: event.message.clone(),
            revision: revision.map(|(_, revision)| revision.clone()).unwrap_or_default(),
            dropped_before: 0,
            item,
        })
    }
}

impl EventListener for ToldEvents {
    fn heard(&self, event: &Recorded) {
        if let Some(link) = self.link.get()
            && let Some(message) = self.message(event)
        {
            link.event(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::*;
    use crate::joined::items::{StoredItem, StoredOwner};

    #[test]
    fn only_what_concerns_an_item_is_told_with_its_key_and_revision() {
        let folder = tempfile::tempdir().unwrap();
        let items = Items::open(folder.path()).unwrap();
        let key = "FleetKustomization/platform/apps";
        let item = StoredItem {
            owner: StoredOwner {
                kind: "FleetKustomization".into(),
                namespace: "platform".into(),
                name: "apps".into(),
                uid: "u".into(),
            },
            namespace: "team-a".into(),
            name: "apps".into(),
            ..StoredItem::default()
        };
        items.put(key, item).unwrap();
        let told = ToldEvents::new(items);
        let event = |name: &str, severity| Recorded {
            object: ObjectReference {
                kind: Some("Kustomization".into()),
                namespace: Some("team-a".into()),
                name: Some(name.into()),
                ..ObjectReference::default()
            },
            severity,
            reason: "BuildFailed".into(),
            message: "line 3".into(),
            metadata: BTreeMap::from([(
                "kustomize.toolkit.fluxcd.io/revision".to_owned(),
                "main@sha1:1".to_owned(),
            )]),
            time: Timestamp::from_second(7).unwrap(),
        };
        let message = told.message(&event("apps", Severity::Error)).unwrap();
        assert_eq!((message.item.as_str(), message.severity.as_str()), (key, "Warning"));
        assert_eq!((message.time_ms, message.revision.as_str()), (7000, "main@sha1:1"));
        assert_eq!(told.message(&event("apps", Severity::Trace)), None);
        assert_eq!(told.message(&event("of-the-cluster-itself", Severity::Info)), None);
    }
}
