//! What only a HelmRelease has: a chart, and values from elsewhere.

use serde_json::{Map, Value};

use super::{Frame, SPEC, child, consented, not_forged, string};
use crate::denial::Denial;
use crate::model::Delivery;

/// The chart comes from the fleet object's source, and from the same chart of it wherever one chart serves all clusters.
pub(super) fn check_chart(spec: &Map<String, Value>, frame: &Frame<'_>) -> Result<(), Denial> {
    let forbidden = |field: &str, why| Denial::ForbiddenField {
        field: format!("{SPEC}.{field}"),
        why,
    };
    if spec.contains_key("chartRef") {
        return Err(forbidden("chartRef", "it follows from spec.source"));
    }
    let chart = child(spec, "chart")?;
    let source = &frame.fleet.source;
    if !source.has_charts() {
        return match chart {
            None => Ok(()),
            Some(_) => Err(forbidden("chart", "the source of this kind is a chart by itself")),
        };
    }
    let metadata = chart.and_then(|chart| chart.get("metadata")).and_then(Value::as_object);
    for kind in ["labels", "annotations"] {
        if let Some(Value::Object(map)) = metadata.and_then(|metadata| metadata.get(kind)) {
            not_forged(map, &format!("{SPEC}.chart.metadata.{kind}"))?;
        }
    }
    let wanted = match chart.and_then(|chart| chart.get("spec")) {
        Some(Value::Object(wanted)) => wanted,
        None | Some(Value::Null) => return Err(no_chart(source.kind())),
        Some(_) => {
            return Err(Denial::WrongType {
                field: format!("{SPEC}.chart.spec"),
                expected: "an object",
            });
        }
    };
    if wanted.contains_key("sourceRef") {
        return Err(forbidden("chart.spec.sourceRef", "it follows from spec.source"));
    }
    if string(wanted, &format!("{SPEC}.chart.spec"), "chart")?.is_none() {
        return Err(no_chart(source.kind()));
    }
    let is_shared = frame.on_hub || frame.fleet.delivery == Delivery::Artifact;
    if is_shared && frame.fleet.chart() != Some(wanted) {
        let message = if frame.on_hub {
            "it differs for this cluster, but kubeconfig clusters share one chart on the hub"
        } else {
            "it differs for this cluster, which needs spec.delivery Source: with Artifact the hub packs one chart for all clusters"
        };
        return Err(Denial::Unsupported {
            field: format!("{SPEC}.chart.spec"),
            message: message.to_owned(),
        });
    }
    Ok(())
}

fn no_chart(kind: &str) -> Denial {
    Denial::Invalid {
        field: format!("{SPEC}.chart.spec.chart"),
        message: format!("it must say which chart of the {kind} is meant"),
    }
}

/// Values: on the hub, Secrets next to the HelmRelease are read and their content goes to the cluster.
pub(super) fn check_values(spec: &Map<String, Value>, frame: &Frame<'_>) -> Result<(), Denial> {
    child(spec, "values")?;
    let wrong = |field: String| Denial::WrongType {
        field,
        expected: "a list of {kind, name, valuesKey, targetPath}",
    };
    let list = match spec.get("valuesFrom") {
        None => &Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(wrong(format!("{SPEC}.valuesFrom"))),
    };
    let mut used = Vec::new();
    for (index, one) in list.iter().enumerate() {
        let field = format!("{SPEC}.valuesFrom[{index}]");
        let one = one.as_object().ok_or_else(|| wrong(field.clone()))?;
        let name = string(one, &field, "name")?.unwrap_or_default();
        // A ConfigMap holds no secrets; anything else is treated as if it did.
        if string(one, &field, "kind")? != Some("ConfigMap") {
            used.push((name, field));
        }
    }
    if frame.on_hub {
        consented(&used, frame, "valuesFrom")?;
    }
    Ok(())
}
