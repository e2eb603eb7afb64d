//! What to do about the version that the hub wants: pure decisions over the agent's Deployment.
//!
//! ```text
//! Welcome: another version ─► begin ─► guard made, image and attempt written ─► this pod ends (Recreate)
//!          new pod reaches Welcome ─► Done
//!          it does not by the deadline ─► the guard puts the image back ─► RolledBack, not tried again
//! ```

use jiff::{SignedDuration, Timestamp};
use nave_version::Version;
use serde::{Deserialize, Serialize};

/// So long a new agent may take from the change of the image to its first `Welcome`: pulling an image over a slow line
/// included.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(15);

/// How an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The new image has not reached the hub yet.
    Trying,
    /// It has.
    Done,
    /// It did not in time: the image before runs again.
    RolledBack,
}

/// The last attempt to run another image; an annotation of the Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The version that the hub wanted.
    pub version: String,
    /// The image that ran.
    pub from: String,
    /// The image that is to run.
    pub to: String,
    /// Until when it has to reach the hub.
    pub deadline: Timestamp,
    /// How it stands.
    pub state: State,
}

/// What of the Deployment matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Image of the agent's container.
    pub image: String,
    /// The annotation, if it can be read.
    pub attempt: Option<Attempt>,
}

/// What follows from a wanted version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It runs already, none is wanted, or an attempt is under way.
    Nothing,
    /// It will not be run, for this reason.
    Refuse(String),
    /// Run this image.
    Try(Attempt),
}

/// What somebody finds who watches over an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watch {
    /// Nothing is decided yet.
    Wait,
    /// It is over, or somebody else has changed the image.
    Leave,
    /// Put the image before back and note this.
    Restore(Attempt),
}

/// Decides about the version that the hub wants. `allowed` are the repositories that an image may come from; when empty,
/// that of the running image alone.
pub fn begin(running: &str, wanted: &str, seen: &Seen, allowed: &[String], now: Timestamp) -> Step {
    let plain = |version: &str| version.trim_start_matches('v').to_owned();
    if wanted.is_empty() || plain(wanted) == plain(running) {
        return Step::Nothing;
    }
    let Ok(version) = Version::parse_strict(&plain(wanted)) else {
        return Step::Refuse(format!("{wanted:?} is no version like 1.2.3"));
    };
    if !version.metadata().is_empty() {
        return Step::Refuse(format!("{wanted} has build metadata, which no image tag can hold"));
    }
    let (from, repository) = match repository(&seen.image) {
        Ok(repository) => (seen.image.clone(), repository),
        Err(why) => return Step::Refuse(why),
    };
    if !allowed.is_empty() && !allowed.iter().any(|allowed| allowed == repository) {
        return Step::Refuse(format!(
            "images of {repository} are not allowed here: --upgrade-from, or upgradeFrom of the policy file, names {}",
            allowed.join(", ")
        ));
    }
    let to = format!("{repository}:v{}", plain(wanted));
    match &seen.attempt {
        Some(attempt) if attempt.state == State::Trying && now < attempt.deadline => return Step::Nothing,
        Some(attempt) if attempt.state == State::RolledBack && attempt.to == to => {
            return Step::Refuse(rolled_back(attempt));
        }
        _ => {}
    }
    if to == from {
        return Step::Refuse(format!("image {to} runs already and says that it is version {running}"));
    }
    Step::Try(Attempt {
        version: plain(wanted),
        from,
        to,
        deadline: now + PATIENCE,
        state: State::Trying,
    })
}

/// The attempt as an agent of version `running` notes it that has reached the hub, if there is something to note. The
/// process before may reach it too while it is being ended, and proves nothing.
pub fn arrived(running: &str, seen: &Seen) -> Option<Attempt> {
    let attempt = seen.attempt.as_ref()?;
    let is_it = attempt.state == State::Trying && seen.image == attempt.to && attempt.version == running;
    is_it.then(|| Attempt {
        state: State::Done,
        ..attempt.clone()
    })
}

/// What is to be done about the attempt for the image `to`, which should be over by `deadline`.
pub fn watch(to: &str, deadline: Timestamp, seen: &Seen, now: Timestamp) -> Watch {
    match &seen.attempt {
        Some(attempt) if attempt.to == to && attempt.deadline == deadline => match attempt.state {
            State::Done | State::RolledBack => Watch::Leave,
            State::Trying if seen.image != attempt.to => Watch::Leave,
            State::Trying if now < deadline => Watch::Wait,
            State::Trying => Watch::Restore(Attempt {
                state: State::RolledBack,
                ..attempt.clone()
            }),
        },
        // The guard is there before what it guards.
        _ if now < deadline => Watch::Wait,
        _ => Watch::Leave,
    }
}

/// Why the version that was wanted last does not run, for the hub.
pub fn outcome(seen: &Seen) -> Option<(String, String)> {
    let attempt = seen.attempt.as_ref()?;
    (attempt.state == State::RolledBack).then(|| (attempt.version.clone(), rolled_back(attempt)))
}

fn rolled_back(attempt: &Attempt) -> String {
    format!(
        "image {} did not reach the hub until {}: {} runs again",
        attempt.to, attempt.deadline, attempt.from
    )
}

/// The image without its tag.
fn repository(image: &str) -> Result<&str, String> {
    if image.contains('@') {
        return Err(format!(
            "image {image} is named by its digest; only whoever installed it can change it"
        ));
    }
    let name = image.rfind('/').map_or(0, |slash| slash + 1);
    Ok(match image[name..].find(':') {
        Some(colon) => &image[..name + colon],
        None => image,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
    }

    fn seen(image: &str, attempt: Option<Attempt>) -> Seen {
        Seen {
            image: image.to_owned(),
            attempt,
        }
    }

    fn attempt(state: State) -> Attempt {
        Attempt {
            version: "1.3.0".into(),
            from: "r:5000/nave-agent:v1.2.0".into(),
            to: "r:5000/nave-agent:v1.3.0".into(),
            deadline: at(15),
            state,
        }
    }

    #[track_caller]
    fn check(wanted: &str, image: &str, before: Option<Attempt>, allowed: &[&str], expected: &str) {
        let allowed: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
        let told = match begin("1.2.0", wanted, &seen(image, before), &allowed, at(0)) {
            Step::Nothing => "nothing".to_owned(),
            Step::Refuse(why) => why,
            Step::Try(attempt) => format!("{} → {} until {}", attempt.from, attempt.to, attempt.deadline),
        };
        assert!(told.contains(expected), "{told:?} has no {expected:?}");
    }

    #[test]
    fn the_wanted_version_is_tried_from_the_same_repository() {
        const HERE: &str = "r:5000/nave-agent:v1.2.0";
        check("", HERE, None, &[], "nothing");
        check("v1.2.0", HERE, None, &[], "nothing");
        check(
            "1.3.0",
            HERE,
            None,
            &[],
            "r:5000/nave-agent:v1.2.0 → r:5000/nave-agent:v1.3.0 until",
        );
        check(
            "v1.1.0-rc.1",
            "nave-agent",
            None,
            &[],
            "nave-agent → nave-agent:v1.1.0-rc.1",
        );
        check("1.3.0", HERE, None, &["r:5000/nave-agent"], "→");
        check(
            "1.3.0",
            HERE,
            None,
            &["other/nave-agent"],
            "not allowed here: --upgrade-from, or upgradeFrom of the policy file, names other/nave-agent",
        );
        check("1.3.0", HERE, None, &["none"], "not allowed here: --upgrade-from");
        check("1.3", HERE, None, &[], "\"1.3\" is no version");
        check("1.3.0/../x", HERE, None, &[], "is no version");
        check("1.3.0+b", HERE, None, &[], "build metadata");
        check("1.3.0", "r/a@sha256:00", None, &[], "named by its digest");
        check(
            "1.3.0",
            "r/a:v1.3.0",
            None,
            &[],
            "runs already and says that it is version 1.2.0",
        );
        check("1.3.0", HERE, Some(attempt(State::Trying)), &[], "nothing");
        check(
            "1.3.0",
            HERE,
            Some(attempt(State::RolledBack)),
            &[],
            "did not reach the hub until",
        );
        check(
            "1.4.0",
            HERE,
            Some(attempt(State::RolledBack)),
            &[],
            "nave-agent:v1.4.0",
        );
        check("1.3.0", HERE, Some(attempt(State::Done)), &[], "nave-agent:v1.3.0");
    }

    #[test]
    fn who_watches_waits_until_the_deadline_and_touches_nothing_else() {
        let new = &attempt(State::Trying).to;
        let look =
            |attempt: Option<Attempt>, image: &str, minute| watch(new, at(15), &seen(image, attempt), at(minute));
        assert_eq!(look(None, "old", 1), Watch::Wait, "the guard is there first");
        assert_eq!(look(None, "old", 15), Watch::Leave, "it was never begun");
        let trying = || Some(attempt(State::Trying));
        assert_eq!(look(trying(), new, 14), Watch::Wait);
        assert_eq!(look(trying(), new, 15), Watch::Restore(attempt(State::RolledBack)));
        assert_eq!(look(trying(), "somebody's", 20), Watch::Leave);
        assert_eq!(look(Some(attempt(State::Done)), new, 1), Watch::Leave);
        assert_eq!(look(Some(attempt(State::RolledBack)), new, 20), Watch::Leave);
        let later = Attempt {
            deadline: at(60),
            ..attempt(State::Trying)
        };
        assert_eq!(
            look(Some(later), new, 20),
            Watch::Leave,
            "another attempt has its own guard"
        );
    }

    #[test]
    fn reaching_the_hub_ends_an_attempt_and_a_failed_one_is_told() {
        let new = attempt(State::Trying).to;
        let trying = || Some(attempt(State::Trying));
        assert_eq!(arrived("1.3.0", &seen(&new, trying())), Some(attempt(State::Done)));
        assert_eq!(arrived("1.2.0", &seen(&new, trying())), None, "the process before");
        assert_eq!(arrived("1.3.0", &seen("old", trying())), None);
        assert_eq!(arrived("1.3.0", &seen(&new, Some(attempt(State::Done)))), None);
        assert_eq!(arrived("1.3.0", &seen(&new, None)), None);
        assert_eq!(outcome(&seen(&new, Some(attempt(State::Done)))), None);
        let (version, why) = outcome(&seen("old", Some(attempt(State::RolledBack)))).unwrap();
        assert_eq!(version, "1.3.0");
        assert!(why.ends_with("r:5000/nave-agent:v1.2.0 runs again"), "{why}");
    }

    #[test]
    fn an_attempt_is_read_as_it_was_written() {
        let text = serde_json::to_string(&attempt(State::Trying)).unwrap();
        assert!(text.contains(r#""state":"Trying""#), "{text}");
        assert_eq!(serde_json::from_str::<Attempt>(&text).unwrap(), attempt(State::Trying));
    }
}
