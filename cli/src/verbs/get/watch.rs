//! `nave get … --watch`: the table, then a line for each change.

use std::{collections::BTreeMap, io::Write};

use anyhow::{Context, Result};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::{
    ResourceExt,
    api::{DynamicObject, ListParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};

use super::{Columns, Options, Request};
use crate::{
    api,
    connection::{Connection, ConnectionArguments},
    hints,
    output::{self, DataFormat, Format},
    say,
    table::Table,
};

/// Prints until the API server or the reader goes away.
pub(super) async fn run(
    request: &Request,
    options: &Options,
    connection: &Connection,
    to: &ConnectionArguments,
) -> Result<()> {
    let mut shown = Vec::new();
    let mut streams = Vec::new();
    for kind in &request.kinds {
        let namespace = options.namespace(kind, connection, to);
        if request.kinds.len() > 1 {
            // A hub of an earlier version may not know all of them.
            let one = ListParams::default().limit(1);
            if api::list_if_known(&connection.client, kind, namespace.as_deref(), &one)
                .await?
                .is_none()
            {
                continue;
            }
        }
        let mut config = watcher::Config::default();
        if let Some(name) = &request.name {
            config = config.fields(&format!("metadata.name={name}"));
        }
        if let Some(selector) = &options.label_selector {
            config = config.labels(selector);
        }
        let api = kind.api_in(&connection.client, namespace.as_deref());
        let mut columns = request.columns(kind, namespace.as_deref(), options);
        columns.prefixed |= request.kinds.len() > 1;
        let index = shown.len();
        let headers = !options.no_header && index == 0;
        shown.push((*kind, Printer::new(columns, options.output, headers), Vec::new()));
        let events = watcher::watcher(api, config).default_backoff();
        streams.push(events.map(move |event| (index, event)).boxed());
    }
    let mut events = stream::select_all(streams);
    let mut away = false;
    while let Some((index, event)) = events.next().await {
        let (kind, printer, initial) = &mut shown[index];
        let event = match event {
            Ok(event) => event,
            // Before the first table there is nobody to go on for.
            Err(error) if !printer.has_printed || hints::is_refusal(&error) => {
                return Err(error).with_context(|| format!("watching {} objects", kind.kind));
            }
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    say::warning(&format!("trying again: {}", hints::describe(&error.into())));
                }
                continue;
            }
        };
        away = false;
        match event {
            Event::Init => initial.clear(),
            Event::InitApply(object) => initial.push(object),
            Event::InitDone => {
                for object in initial.drain(..).filter(|object| options.selects(object)) {
                    printer.add(object, kind)?;
                }
                printer.flush()?;
                printer.has_printed = true;
            }
            Event::Apply(object) if options.selects(&object) => {
                printer.add(object, kind)?;
                printer.flush()?;
            }
            Event::Apply(_) | Event::Delete(_) => {}
        }
    }
    Ok(())
}

/// Remembers what it printed, so that a change of something that is not shown prints nothing.
struct Printer {
    columns: Columns,
    format: Option<Format>,
    table: Table,
    headers: bool,
    /// Whether the objects that were there at first are shown.
    has_printed: bool,
    /// The last row of each object, by namespace and name.
    rows: BTreeMap<(String, String), Vec<String>>,
}

impl Printer {
    fn new(columns: Columns, format: Option<Format>, headers: bool) -> Printer {
        Printer {
            columns,
            format,
            table: columns.table(),
            headers,
            has_printed: false,
            rows: BTreeMap::new(),
        }
    }

    fn add(&mut self, mut object: DynamicObject, kind: &crate::kinds::Kind) -> Result<()> {
        object.types = Some(kube::core::TypeMeta {
            api_version: kind.api_version(),
            kind: kind.kind.to_owned(),
        });
        let format = match self.format {
            Some(Format::Json) => DataFormat::Json,
            Some(Format::Yaml) => {
                output::print_text("---\n")?;
                DataFormat::Yaml
            }
            Some(Format::Name) => {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{}", output::object_name(&object))?;
                return Ok(());
            }
            None | Some(Format::Wide) => {
                let row = self.columns.row(&object, Timestamp::now());
                let key = (object.namespace().unwrap_or_default(), object.name_any());
                if self.rows.get(&key) != Some(&row) {
                    self.table.row(row.clone());
                    self.rows.insert(key, row);
                }
                return Ok(());
            }
        };
        output::print_value(&output::object_value(&object)?, format)
    }

    fn flush(&mut self) -> Result<()> {
        if !self.table.is_empty() {
            self.table.print(std::mem::take(&mut self.headers))?;
        }
        Ok(())
    }
}
