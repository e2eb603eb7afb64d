//! What the release is called.

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use nave_chart::{File, LoadLimits, RenderRequest, Values, load_files, render_files};

/// What a release is called that nobody names.
const NAME: &str = "release-name";

/// How a release gets a name that is not written.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct NameArguments {
    /// Make a name from the chart's and the time
    #[arg(short, long)]
    generate_name: bool,
    /// Make a name from this template, such as 'web-{{ randAlphaNum 5 | lower }}'
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "generate_name")]
    name_template: Option<String>,
}

impl NameArguments {
    /// The name of the release and the chart, of one or two words.
    ///
    /// # Errors
    /// A name is written and another one asked for, or the template of names fails.
    pub fn name_and_chart<'a>(&self, words: &'a [String], now: Timestamp) -> Result<(String, &'a str)> {
        match (words, &self.name_template) {
            ([_, _], Some(_)) => bail!("cannot set --name-template and also specify a name"),
            ([_, _], None) if self.generate_name => bail!("cannot set --generate-name and also specify a name"),
            ([name, chart], None) => Ok((name.clone(), chart)),
            ([chart], Some(template)) => Ok((made_from(template, now)?, chart)),
            ([chart], None) if self.generate_name => Ok((made_up(chart, now), chart)),
            ([chart], None) => Ok((NAME.to_owned(), chart)),
            _ => bail!("expected a chart, or a name and a chart"),
        }
    }
}

/// The chart's last part up to a dot, and seconds.
fn made_up(chart: &str, now: Timestamp) -> String {
    let last = chart.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let base = match last {
        "." | "" => "chart",
        last => last.split('.').next().unwrap_or_default(),
    };
    format!("{base}-{}", now.as_second())
}

fn made_from(template: &str, now: Timestamp) -> Result<String> {
    let files = [
        File::new("Chart.yaml", &b"apiVersion: v2\nname: name\nversion: 0.0.0\n"[..]),
        File::new("templates/name-template", template.as_bytes().to_vec()),
    ];
    let chart = load_files(files, &LoadLimits::default())?;
    let mut request = RenderRequest::install(NAME, "default", Values::new());
    request.now = now;
    request.seed = crate::random::seed()?;
    let mut made = render_files(&chart, &request).context("--name-template")?;
    Ok(made.remove("name/templates/name-template").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_up_as_helm_makes_them_up() {
        let now = Timestamp::from_second(1_700_000_000).expect("it is a time");
        for (chart, wanted) in [
            ("charts/web", "web-1700000000"),
            ("./web-1.0.0.tgz", "web-1-1700000000"),
            (".", "chart-1700000000"),
            ("oci://example.com/charts/web/", "web-1700000000"),
        ] {
            assert_eq!(made_up(chart, now), wanted, "{chart}");
        }
        let name = made_from("web-{{ now | unixEpoch }}", now).expect("it is a template");
        assert_eq!(name, "web-1700000000");
        assert!(made_from("web-{{ nothing }}", now).is_err());
    }
}
