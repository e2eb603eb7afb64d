//! Which hooks run at a moment, in which order, and when they are deleted.

use crate::record::{Hook, Release, policy};

/// The event of tests.
const TEST: &str = "test";

/// Whether tests run it.
pub fn is_test(hook: &Hook) -> bool {
    of_event(hook, TEST)
}

/// Whether it runs at this event.
pub fn of_event(hook: &Hook, event: &str) -> bool {
    hook.events.iter().any(|known| known == event)
}

/// Positions of the hooks that run at `event`, in order: by weight, then by name, else as they are stored.
pub fn executing(release: &Release, event: &str) -> Vec<usize> {
    let mut found: Vec<usize> = (0..release.hooks.len())
        .filter(|at| of_event(&release.hooks[*at], event))
        .collect();
    found.sort_by(|a, b| {
        let (a, b) = (&release.hooks[*a], &release.hooks[*b]);
        a.weight.cmp(&b.weight).then_with(|| a.name.cmp(&b.name))
    });
    found
}

/// When a hook's object is deleted: as it says, else before it is created again. Definitions are never deleted.
pub fn delete_policies(hook: &Hook) -> Vec<String> {
    if hook.kind == "CustomResourceDefinition" {
        return Vec::new();
    }
    if hook.delete_policies.is_empty() {
        return vec![policy::BEFORE_CREATION.to_owned()];
    }
    hook.delete_policies.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(name: &str, weight: i64, events: &[&str]) -> Hook {
        Hook {
            name: name.to_owned(),
            weight,
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            ..Hook::default()
        }
    }

    #[test]
    fn hooks_run_by_weight_and_name() {
        let release = Release {
            hooks: vec![
                hook("b", 0, &["pre-install"]),
                hook("z", -5, &["pre-install", "pre-upgrade"]),
                hook("a", 0, &["pre-install"]),
                hook("t", 0, &["test"]),
            ],
            ..Release::default()
        };
        assert_eq!(executing(&release, "pre-install"), [1, 2, 0]);
        assert_eq!(executing(&release, "pre-upgrade"), [1]);
        assert!(executing(&release, "post-delete").is_empty());
        assert!(is_test(&release.hooks[3]) && !is_test(&release.hooks[0]));
    }

    #[test]
    fn without_a_policy_the_old_one_goes_first() {
        let mut one = hook("a", 0, &["test"]);
        assert_eq!(delete_policies(&one), ["before-hook-creation"]);
        one.delete_policies = vec!["hook-failed".into()];
        assert_eq!(delete_policies(&one), ["hook-failed"]);
        one.kind = "CustomResourceDefinition".into();
        assert!(delete_policies(&one).is_empty());
    }
}
