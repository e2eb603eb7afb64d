//! Status conditions as Flux's runtime keeps them (fluxcd/pkg runtime 0.60, `conditions`).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// `metav1.Condition`.
pub type Condition = k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The three values of a condition's `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `"True"`.
    True,
    /// `"False"`.
    False,
    /// `"Unknown"`.
    Unknown,
}

impl Status {
    /// The string that the API carries.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::True => "True",
            Status::False => "False",
            Status::Unknown => "Unknown",
        }
    }
}

/// The API server refuses longer messages (`maxLength` of `metav1.Condition.message`).
const MAX_MESSAGE_BYTES: usize = 32_768;

/// Reading and writing a list of conditions by type.
pub trait Conditions {
    /// Sets one condition. `lastTransitionTime` moves only when the status changes.
    ///
    /// `Reconciling` and `Stalled` exclude each other: setting one to true removes the other.
    fn set(
        &mut self,
        kind: &str,
        status: Status,
        reason: &str,
        message: impl Into<String>,
        generation: i64,
        now: Timestamp,
    );
    /// The condition of that type, if it is there.
    fn get_condition(&self, kind: &str) -> Option<&Condition>;
    /// Removes the condition of that type; absent is fine.
    fn remove_condition(&mut self, kind: &str);

    /// Whether the condition is there with status `True`.
    fn is_true(&self, kind: &str) -> bool {
        self.get_condition(kind).is_some_and(|c| c.status == "True")
    }
    /// Whether the condition is there with status `False`.
    fn is_false(&self, kind: &str) -> bool {
        self.get_condition(kind).is_some_and(|c| c.status == "False")
    }
    /// Whether the condition is absent or `Unknown`.
    fn is_unknown(&self, kind: &str) -> bool {
        self.get_condition(kind).is_none_or(|c| c.status == "Unknown")
    }
    /// The reason of the condition of that type.
    fn reason_of(&self, kind: &str) -> Option<&str> {
        self.get_condition(kind).map(|c| c.reason.as_str())
    }
}

impl Conditions for Vec<Condition> {
    fn set(
        &mut self,
        kind: &str,
        status: Status,
        reason: &str,
        message: impl Into<String>,
        generation: i64,
        now: Timestamp,
    ) {
        if status == Status::True {
            match kind {
                "Reconciling" => self.remove_condition("Stalled"),
                "Stalled" => self.remove_condition("Reconciling"),
                _ => {}
            }
        }
        let message = bounded(message.into());
        let now = Time(whole_seconds(now));
        match self.iter_mut().find(|c| c.type_ == kind) {
            Some(condition) => {
                if condition.status != status.as_str() {
                    condition.status = status.as_str().to_owned();
                    condition.last_transition_time = now;
                }
                condition.reason = reason.to_owned();
                condition.message = message;
                condition.observed_generation = Some(generation);
            }
            None => self.push(Condition {
                type_: kind.to_owned(),
                status: status.as_str().to_owned(),
                reason: reason.to_owned(),
                message,
                observed_generation: Some(generation),
                last_transition_time: now,
            }),
        }
    }

    fn get_condition(&self, kind: &str) -> Option<&Condition> {
        self.iter().find(|c| c.type_ == kind)
    }

    fn remove_condition(&mut self, kind: &str) {
        self.retain(|c| c.type_ != kind);
    }
}

/// The API stores times in whole seconds; writing more would make every comparison with what was read back differ.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn bounded(mut message: String) -> String {
    if message.len() > MAX_MESSAGE_BYTES {
        let mut end = MAX_MESSAGE_BYTES - "…".len();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small second is a valid time")
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        conditions.set("Ready", Status::Unknown, "Progressing", "fetching", 1, at(1));
        conditions.set("Ready", Status::Unknown, "Progressing", "building", 2, at(2));
        let ready = conditions.get_condition("Ready").unwrap();
        assert_eq!(ready.last_transition_time.0, at(1));
        assert_eq!(
            (ready.message.as_str(), ready.observed_generation),
            ("building", Some(2))
        );
        conditions.set("Ready", Status::True, "Succeeded", "done", 2, at(3));
        assert_eq!(conditions.get_condition("Ready").unwrap().last_transition_time.0, at(3));
    }

    #[test]
    fn reconciling_and_stalled_exclude_each_other() {
        let mut conditions = Vec::new();
        conditions.set("Reconciling", Status::True, "Progressing", "", 1, at(1));
        conditions.set("Stalled", Status::True, "AccessDenied", "no", 1, at(1));
        assert!(conditions.get_condition("Reconciling").is_none());
        conditions.set("Reconciling", Status::True, "Progressing", "", 1, at(1));
        assert!(conditions.get_condition("Stalled").is_none());
    }

    #[test]
    fn a_huge_message_is_cut_at_a_character() {
        let mut conditions = Vec::new();
        conditions.set("Ready", Status::False, "BuildFailed", "ü".repeat(40_000), 1, at(1));
        let message = &conditions.get_condition("Ready").unwrap().message;
        assert!(message.len() <= MAX_MESSAGE_BYTES && message.ends_with('…'));
    }
}
