//! Figures as a table and as CSV.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};

use super::options::Options;
use crate::table;

/// Everything measured so far, in order.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    bound: String,
}

impl Report {
    /// Adds a figure, and prints it.
    pub fn add(&mut self, name: &str, value: f64, unit: &'static str, bound: &str) {
        table::row(name, &format!("{value:.2} {unit}"), bound);
        self.rows.push(Row {
            name: name.to_owned(),
            value,
            unit,
            bound: bound.to_owned(),
        });
    }

    /// Adds the median, the 99th percentile and the worst of some durations in microseconds.
    pub fn spread(&mut self, name: &str, values: &[u64], bound: &str) {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        for (word, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            let bound = if word == "p99" { bound } else { "" };
            self.add(
                &format!("{name}, {word}"),
                percentile(&sorted, share) as f64 / 1e3,
                "ms",
                bound,
            );
        }
    }

    /// Adds what a process used for something.
    pub fn cpu(&mut self, name: &str, used: Duration, agents: usize) {
        self.add(name, used.as_secs_f64(), "s", "");
        self.add(
            &format!("{name}, per agent"),
            used.as_secs_f64() * 1e6 / agents.max(1) as f64,
            "us",
            "",
        );
    }

    /// Writes all of it as CSV.
    pub fn write(&self, path: &Path, options: &Options) -> Result<()> {
        let mut text = "agents,profile,objects,name,value,unit,bound\n".to_owned();
        for row in &self.rows {
            text += &format!(
                "{},{:?},{},\"{}\",{},{},\"{}\"\n",
                options.agents, options.profile, options.objects, row.name, row.value, row.unit, row.bound
            );
        }
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

/// The smallest value that so large a share of all is not above.
pub fn percentile(sorted: &[u64], share: f64) -> u64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0;
    };
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted[place.saturating_sub(1).min(last)]
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_name_a_value_that_was_measured() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 0.5), 50);
        assert_eq!(percentile(&hundred, 0.99), 99);
        assert_eq!(percentile(&hundred, 1.0), 100);
        assert_eq!(percentile(&[7], 0.5), 7);
        assert_eq!(percentile(&[], 0.99), 0);
    }
}
