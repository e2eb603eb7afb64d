//! A build asks questions; this answers them until it is done.

use std::time::Duration;

use anstream::eprintln;
use anyhow::{Context, Result, bail};
use nave_kustomize::{Answer, Answers, BuildError, Built, Need, Step};
use nave_object::Object;

use super::{inflate::inflate, place::Place, remote::Remotes};
use crate::progress::Progress;

/// A remote base may lead to another one, and that to a third; no real tree comes near this.
const MAX_ROUNDS: usize = 50;

/// Runs `build` with the answers so far until it has a result, and prints what it warns of in kustomize's words.
///
/// # Errors
/// The build's, with files named for the reader; what cannot be fetched is one of them, at the place that wants it.
pub async fn complete(
    place: &Place,
    timeout: Duration,
    mut build: impl FnMut(&Answers) -> Result<Step<Built>, BuildError>,
) -> Result<Vec<Object>> {
    let what = || format!("building {}", place.name);
    let mut answers = Answers::new();
    let mut remotes = None;
    let mut asked: Vec<Need> = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let step = build(&answers)
            .map_err(|error| place.localize(error))
            .with_context(what)?;
        let needs = match step {
            Step::Done(built) => {
                for warning in &built.warnings {
                    eprintln!("{warning}");
                }
                return Ok(built.objects);
            }
            Step::Needs(needs) => needs,
        };
        if needs.iter().all(|need| asked.contains(need)) {
            bail!("{}: the build asks again for what it was told", what());
        }
        for need in needs {
            let answer = match &need {
                Need::Chart(chart) => {
                    let progress = Progress::spinner(format!("rendering chart {}", chart.name));
                    let rendered = inflate(place, chart, timeout).await;
                    drop(progress);
                    match rendered {
                        Ok(manifests) => Answer::Manifests(manifests),
                        Err(error) => Answer::Failed(crate::hints::describe(&error)),
                    }
                }
                Need::File { .. } | Need::Repository(_) => {
                    let remotes = match &remotes {
                        Some(remotes) => remotes,
                        None => remotes.insert(Remotes::new(timeout)?),
                    };
                    let progress = Progress::spinner(format!("fetching {}", name_of(&need)));
                    let answer = remotes.answer(&need).await;
                    drop(progress);
                    answer
                }
            };
            answers.insert(need.clone(), answer);
            asked.push(need);
        }
    }
    bail!("{}: remote bases lead to more than {MAX_ROUNDS} others", what())
}

fn name_of(need: &Need) -> String {
    match need {
        Need::File { url } => nave_net::redact(url).to_string(),
        Need::Repository(repository) => nave_net::redact(&repository.clone_url()).to_string(),
        Need::Chart(chart) => chart.name.clone(),
    }
}
