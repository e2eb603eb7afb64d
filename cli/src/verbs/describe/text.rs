//! The form of a description: labelled lines, then tables under their titles.

use std::fmt::Write;

use anyhow::Result;
use jiff::Timestamp;
use kube::{ResourceExt, api::DynamicObject};

use crate::{
    age,
    connection::Connection,
    fields,
    kinds::Kind,
    table::{Table, one_line},
    verbs::events,
};

/// A description under way.
#[derive(Default)]
pub struct Description {
    text: String,
}

impl Description {
    /// Name, namespace, labels and age.
    pub fn of(object: &DynamicObject, now: Timestamp) -> Description {
        let mut description = Description::default();
        description.line("Name", &object.name_any());
        description.line("Namespace", &object.namespace().unwrap_or_default());
        description.line("Labels", &fields::labels(object));
        let created = object.metadata.creation_timestamp.as_ref();
        description.line(
            "Age",
            &created.map_or_else(String::new, |created| age::since(created.0, now)),
        );
        description
    }

    /// `Label:  value`; nothing at all without a value.
    pub fn line(&mut self, label: &str, value: &str) {
        if !value.is_empty() {
            let label = format!("{label}:");
            writeln!(self.text, "{label:<18}{}", one_line(value)).expect("writing to memory does not fail");
        }
    }

    /// A table under its title; nothing at all without rows.
    pub fn table(&mut self, title: &str, table: Table) {
        if table.is_empty() {
            return;
        }
        writeln!(self.text, "\n{title}:").expect("writing to memory does not fail");
        for line in table.into_text().lines() {
            writeln!(self.text, "  {line}").expect("writing to memory does not fail");
        }
    }

    /// What the reader can do.
    pub fn note(&mut self, text: &str) {
        writeln!(self.text, "\n{text}").expect("writing to memory does not fail");
    }

    /// Conditions, in the order of the object.
    pub fn conditions(&mut self, object: &DynamicObject, now: Timestamp) {
        let mut table = Table::new(["Type", "Status", "Reason", "Age", "Message"]);
        for condition in fields::conditions(object) {
            table.row([
                condition.kind.to_owned(),
                condition.status.to_owned(),
                condition.reason.to_owned(),
                age::since_text(condition.since, now),
                fields::shorten(condition.message),
            ]);
        }
        self.table("Conditions", table);
    }

    /// Events about the object.
    pub async fn events(
        &mut self,
        connection: &Connection,
        kind: &Kind,
        object: &DynamicObject,
        now: Timestamp,
    ) -> Result<()> {
        let namespace = object.namespace().unwrap_or_default();
        let found = events::about(connection, &namespace, &[(kind.kind.to_owned(), object.name_any())]).await?;
        let mut table = Table::new(["Last seen", "Type", "Reason", "Message"]);
        for event in found {
            table.row([
                event.last_seen(now),
                event.type_,
                event.reason,
                fields::shorten(&event.message),
            ]);
        }
        self.table("Events", table);
        Ok(())
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.text
    }
}
