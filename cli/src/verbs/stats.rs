//! `nave stats`: how many objects of each kind there are, and how they are.

use anyhow::Result;
use kube::api::{DynamicObject, ListParams};

use crate::{api, connection::ConnectionArguments, fields, flux_kinds::RECONCILED, kinds::Kind, table::Table};

/// Show how many objects there are of each kind of Flux, and how they are
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
A kind that the cluster does not know counts nothing.

Examples:
  nave stats
  nave stats -A")]
pub struct Arguments {
    /// Look in every namespace
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

/// Counts and prints.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    if arguments.all_namespaces && to.namespace.is_some() {
        anyhow::bail!("-A and -n exclude each other");
    }
    let connection = to.connect().await?;
    let namespace = (!arguments.all_namespaces).then(|| to.flux_namespace(&connection));
    let lists = RECONCILED.iter().map(|kind| {
        let (client, namespace) = (&connection.client, namespace.as_deref());
        async move {
            let found = api::list_if_known(client, kind, namespace, &ListParams::default()).await?;
            anyhow::Ok((*kind, found.unwrap_or_default()))
        }
    });
    let mut table = Table::new(["Reconcilers", "Running", "Failing", "Suspended", "Storage"]);
    for (kind, objects) in futures::future::try_join_all(lists).await? {
        table.row(row(kind, &objects));
    }
    table.print(true)?;
    Ok(())
}

fn row(kind: &Kind, objects: &[DynamicObject]) -> [String; 5] {
    let count = |is: &dyn Fn(&DynamicObject) -> bool| objects.iter().filter(|object| is(object)).count();
    let suspended = count(&|object| fields::flag(object, "/spec/suspend"));
    let failing =
        count(&|object| fields::condition(object, "Ready").is_some_and(|condition| condition.status == "False"));
    let stored = objects
        .iter()
        .map(|object| fields::number(object, "/status/artifact/size"))
        .fold(0_i64, i64::saturating_add);
    [
        kind.kind.to_owned(),
        (objects.len() - suspended).to_string(),
        failing.to_string(),
        suspended.to_string(),
        size(u64::try_from(stored).unwrap_or_default()),
    ]
}

/// `-`, `512 B`, `1.5 KiB`: units of 1024 with one decimal.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    match bytes {
        0 => "-".to_owned(),
        1..1024 => format!("{bytes} B"),
        _ => {
            let exponent = (bytes.ilog2() / 10) as usize;
            #[allow(clippy::cast_precision_loss)] // one decimal is shown
            let value = bytes as f64 / (1_u64 << (10 * exponent)) as f64;
            format!("{value:.1} {}", UNITS[exponent - 1])
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_have_units_of_1024() {
        for (bytes, text) in [
            (0, "-"),
            (1, "1 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(super::size(bytes), text, "{bytes}");
        }
    }
}
