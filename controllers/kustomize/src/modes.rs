//! What the annotations under `nave.dev/` ask for beyond what a Kustomization means in Flux.

use std::collections::BTreeMap;

use nave_crds::annotations::{NAVE_APPLY, NAVE_DRIFT, NAVE_PRUNE_GUARD};

/// How a Kustomization departs from Flux's ways; by default in nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Modes {
    /// What does not need a failed object is applied.
    pub independent: bool,
    pub drift: Drift,
    /// Deletions of namespaces, definitions and volumes are confirmed by a person.
    pub confirms: bool,
}

/// What is done about objects that somebody changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Drift {
    /// Corrected by the next reconcile, as in Flux.
    #[default]
    ByInterval,
    /// Corrected as soon as a watch tells.
    Instant,
    /// Reported as soon as a watch tells, and left.
    Detect,
}

/// # Errors
/// A value that means nothing: ignoring it would leave somebody believing in it.
pub(crate) fn modes_of(annotations: &BTreeMap<String, String>) -> Result<Modes, String> {
    let one_of = |key: &str, values: &[&str]| -> Result<Option<usize>, String> {
        let Some(found) = annotations.get(key) else {
            return Ok(None);
        };
        match values.iter().position(|value| value == found) {
            Some(position) => Ok(Some(position)),
            None => Err(format!(
                "annotation {key}: {found:?} means nothing, use {}",
                values.join(" or ")
            )),
        }
    };
    Ok(Modes {
        independent: one_of(NAVE_APPLY, &["Independent"])?.is_some(),
        drift: match one_of(NAVE_DRIFT, &["Instant", "Detect"])? {
            None => Drift::ByInterval,
            Some(0) => Drift::Instant,
            Some(_) => Drift::Detect,
        },
        confirms: one_of(NAVE_PRUNE_GUARD, &["Confirm"])?.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_read_and_wrong_ones_named() {
        let modes = |pairs: &[(&str, &str)]| {
            modes_of(
                &pairs
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            )
        };
        assert_eq!(modes(&[("other", "x")]), Ok(Modes::default()));
        assert_eq!(
            modes(&[
                (NAVE_APPLY, "Independent"),
                (NAVE_DRIFT, "Detect"),
                (NAVE_PRUNE_GUARD, "Confirm")
            ]),
            Ok(Modes {
                independent: true,
                drift: Drift::Detect,
                confirms: true
            })
        );
        assert_eq!(
            modes(&[(NAVE_DRIFT, "Instant")]).map(|modes| modes.drift),
            Ok(Drift::Instant)
        );
        assert_eq!(
            modes(&[(NAVE_DRIFT, "instant")]),
            Err("annotation nave.dev/drift: \"instant\" means nothing, use Instant or Detect".to_owned())
        );
    }
}
