//! Which charts below take part, under which names, and which of their values the chart above takes.

use std::rc::Rc;

use nave_gotemplate::{GoType, Map, Value as Go};
use serde_json::{Value, json};

use crate::values::{Nulls, coalesce, coalesce_tables, deep_copy, table_at, value_at, values_of};
use crate::version::is_compatible;
use crate::{Chart, Dependency};

/// Switches the charts below a chart on and off, gives them their aliases, and imports values.
///
/// # Errors
/// Values have something other than a map under the name of a chart below.
pub(crate) fn process(chart: &mut Chart, values: &Rc<Map>, warnings: &mut Vec<String>) -> Result<(), String> {
    enable(chart, values, "", warnings)?;
    import(chart, warnings)
}

fn enable(chart: &mut Chart, values: &Rc<Map>, path: &str, warnings: &mut Vec<String>) -> Result<(), String> {
    if chart.metadata.dependencies.is_empty() {
        return Ok(());
    }
    let there = std::mem::take(&mut chart.dependencies);
    let fits = |chart: &Chart, wanted: &Dependency| {
        chart.name() == wanted.name && is_compatible(&wanted.version, &chart.metadata.version)
    };
    let mut wanted = std::mem::take(&mut chart.metadata.dependencies);
    // Charts that Chart.yaml does not mention take part, too.
    let mut charts: Vec<Chart> = there
        .iter()
        .filter(|chart| !wanted.iter().any(|wanted| fits(chart, wanted)))
        .cloned()
        .collect();
    for wanted in &mut wanted {
        let mut found = there.iter().find(|chart| fits(chart, wanted)).cloned();
        if !wanted.alias.is_empty() {
            wanted.name.clone_from(&wanted.alias);
            if let Some(found) = &mut found {
                found.metadata.name.clone_from(&wanted.alias);
            }
        }
        charts.extend(found);
        wanted.enabled = true;
    }
    chart.dependencies = charts;

    // What is found here goes down to the charts below, at the same level: conditions have whole paths.
    let all = deep_copy(values);
    coalesce(chart, &all, Nulls::Delete, warnings)?;
    switch_by_tags(&mut wanted, &all, warnings);
    switch_by_conditions(&mut wanted, &all, path, warnings);
    let off: Vec<String> = wanted
        .iter()
        .filter(|wanted| !wanted.enabled)
        .map(|wanted| wanted.name.clone())
        .collect();
    let is_on = |name: &str| !off.iter().any(|off| off == name);
    chart.dependencies.retain(|chart| is_on(chart.name()));
    wanted.retain(|wanted| is_on(&wanted.name));
    for below in &mut chart.dependencies {
        let path = format!("{path}{}.", below.name());
        enable(below, &all, &path, warnings)?;
    }
    chart.metadata.dependencies = wanted;
    Ok(())
}

fn switch_by_tags(wanted: &mut [Dependency], values: &Rc<Map>, warnings: &mut Vec<String>) {
    let Some(tags) = table_at(values, "tags") else {
        return;
    };
    for wanted in wanted {
        let (mut on, mut off) = (false, false);
        for tag in &wanted.tags {
            match tags.get(tag) {
                Some(Go::Bool(true)) => on = true,
                Some(Go::Bool(false)) => off = true,
                Some(_) => warnings.push(format!("tag {tag} of chart {} is not a boolean", wanted.name)),
                None => {}
            }
        }
        wanted.enabled = on || !off;
    }
}

fn switch_by_conditions(wanted: &mut [Dependency], values: &Rc<Map>, path: &str, warnings: &mut Vec<String>) {
    for wanted in wanted {
        let conditions = wanted
            .condition
            .trim()
            .split(',')
            .filter(|condition| !condition.is_empty());
        for condition in conditions {
            match value_at(values, &format!("{path}{condition}")) {
                Some(Go::Bool(value)) => {
                    wanted.enabled = value;
                    break;
                }
                Some(_) => warnings.push(format!(
                    "condition {condition} of chart {} is not a boolean",
                    wanted.name
                )),
                None => {}
            }
        }
    }
}

fn import(chart: &mut Chart, warnings: &mut Vec<String>) -> Result<(), String> {
    for below in &mut chart.dependencies {
        import(below, warnings)?;
    }
    if chart.metadata.dependencies.is_empty() {
        return Ok(());
    }
    let all = Rc::new(Map::new(GoType::ANY_MAP));
    coalesce(chart, &all, Nulls::Keep, warnings)?;
    let imported = Map::new(GoType::ANY_MAP);
    for dependency in &mut chart.metadata.dependencies {
        let mut resolved = Vec::new();
        for import in &dependency.import_values {
            let (child, parent) = match import {
                Value::Object(pair) => (printed(pair.get("child")), printed(pair.get("parent"))),
                Value::String(name) => (format!("exports.{name}"), ".".to_owned()),
                _ => continue,
            };
            resolved.push(json!({"child": child, "parent": parent}));
            let Some(found) = table_at(&all, &format!("{}.{child}", dependency.name)) else {
                warnings.push(format!("import-values: chart {} has no table {child}", dependency.name));
                continue;
            };
            let found = below(&parent, found);
            coalesce_tables(&imported, &found, "", Nulls::Keep, warnings);
        }
        dependency.import_values = resolved;
    }
    // The chart's own values win over what it imports.
    let own = deep_copy(&all);
    coalesce_tables(&own, &imported, "", Nulls::Keep, warnings);
    chart.values = values_of(&own);
    Ok(())
}

/// A map that has `found` at a path.
fn below(path: &str, found: Rc<Map>) -> Rc<Map> {
    if path == "." {
        return found;
    }
    path.rsplit('.').fold(found, |inner, key| {
        let outer = Map::new(GoType::ANY_MAP);
        outer.insert(key, Go::Map(inner));
        Rc::new(outer)
    })
}

/// What Go's `%v` prints of a value that should be a text.
fn printed(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "<nil>".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
