use super::*;

const KEY: &str = "FleetKustomization/team/apps";

fn holder(name: &str) -> Holder {
    Holder::Agent(ClusterKey::new("platform", name))
}

fn plan(change: &str, digest: u8, deletes: u64, cascades: usize) -> PrunePlan {
    PrunePlan {
        change_id: change.into(),
        key: KEY.into(),
        digest: vec![digest; 32],
        deletes,
        cascades: vec!["Namespace/shop".into(); cascades],
        sample: Vec::new(),
    }
}

fn limited(objects: Option<u64>, clusters: Option<u64>) -> Verdict {
    Verdict::Limited(Budget {
        objects,
        clusters,
        approved: String::new(),
    })
}

fn approving(digest: &str) -> Verdict {
    Verdict::Limited(Budget {
        objects: Some(0),
        clusters: None,
        approved: digest.to_owned(),
    })
}

/// Permits as `<cluster>+<digest>` and `<cluster>-<digest>`.
fn told(permits: Permits) -> String {
    let words = permits.iter().map(|(holder, permit)| {
        let name = holder.to_string();
        let name = name.rsplit('/').next().expect("at least one part");
        let sign = if permit.granted { '+' } else { '-' };
        format!("{name}{sign}{}", permit.plan_digest[0])
    });
    words.collect::<Vec<_>>().join(" ")
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

/// The answer after plans were gathered, which only the first of a change is.
fn ask(ledger: &Ledger, name: &str, plan: PrunePlan, verdict: &Verdict) -> String {
    let at_once = ledger.ask(&holder(name), &plan, verdict, now());
    if ledger.gathered_at().is_none() {
        return told(at_once);
    }
    assert!(at_once.is_empty(), "nobody hears anything before");
    told(ledger.reconsider(&plan.key, |_| verdict.clone(), later()))
}

/// When all plans have been gathered.
fn later() -> Timestamp {
    now() + GATHER
}

#[test]
fn without_a_budget_everything_goes_but_what_takes_others_along() {
    let (ledger, any) = (Ledger::default(), limited(None, None));
    assert_eq!(ask(&ledger, "a", plan("c", 1, 5000, 0), &any), "a+1");
    assert_eq!(ledger.held(KEY), None);
    assert_eq!(ask(&ledger, "a", plan("c", 2, 5000, 3), &any), "a-2");
    assert_eq!(ledger.held(KEY).map(|plan| plan.cascades), Some(3));
}

#[test]
fn one_change_deletes_no_more_than_its_budget_over_all_clusters() {
    let (ledger, ten) = (Ledger::default(), limited(Some(10), Some(2)));
    let ask = |name: &str, plan: PrunePlan| ask(&ledger, name, plan, &ten);
    assert_eq!(ask("a", plan("c", 1, 6, 0)), "a+1");
    assert_eq!(ask("b", plan("c", 2, 6, 0)), "b-2", "twelve are more than ten");
    assert_eq!(
        ask("c", plan("c", 3, 4, 0)),
        "c-3",
        "it would fit, and the change as a whole does not"
    );
    assert!(ledger.settled(&holder("b"), KEY));
    let ten_of_ten = ledger.reconsider(KEY, |_| ten.clone(), later());
    assert_eq!(told(ten_of_ten), "c+3", "without b it fits");
    assert_eq!(ask("d", plan("c", 4, 0, 0)), "d-4", "a third cluster");
    ask("b", plan("c", 2, 6, 0));
    let nothing_more = limited(Some(10), None);
    assert_eq!(told(ledger.reconsider(KEY, |_| nothing_more.clone(), later())), "");
    assert!(ledger.settled(&holder("d"), KEY) && ledger.settled(&holder("b"), KEY));
    assert_eq!(
        ask("a", plan("c", 5, 0, 0)),
        "a+5",
        "no more clusters and no more objects"
    );
    assert_eq!(ask("a", plan("c", 5, 6, 0)), "a+5", "granted before, and counted once");
    ask("b", plan("c", 2, 6, 0));
    ask("d", plan("c", 4, 0, 0));
    let held = ledger.held(KEY).expect("something is held");
    assert_eq!((held.deletes, held.cascades, held.clusters), (6, 0, 2));
    assert_eq!(held.created, Some(Time(now())));
    // Another change has a budget of its own, and what a cluster held for the one before is not wanted any more.
    assert_eq!(ask("b", plan("next", 6, 6, 0)), "b+6");
    assert_eq!(ledger.held(KEY).map(|plan| plan.clusters), Some(1));
}

#[test]
fn a_plan_does_not_count_for_less_than_it_names() {
    let (ledger, one) = (Ledger::default(), limited(Some(1), None));
    let lying = PrunePlan {
        sample: vec!["ConfigMap/a".into(), "ConfigMap/b".into()],
        ..plan("c", 1, 0, 0)
    };
    assert_eq!(ask(&ledger, "a", lying, &one), "a-1");
}

#[test]
fn an_approval_names_exactly_what_is_held() {
    let (ledger, none) = (Ledger::default(), limited(Some(0), None));
    let digest = || ledger.held(KEY).map(|plan| plan.digest).expect("something is held");
    ask(&ledger, "a", plan("c", 1, 1, 1), &none);
    let early = approving(&digest());
    // Another plan came before the approval did: it is not in it.
    ask(&ledger, "b", plan("c", 2, 1, 0), &none);
    assert_eq!(told(ledger.reconsider(KEY, |_| early.clone(), now())), "");
    let both = approving(&digest());
    assert_eq!(told(ledger.reconsider(KEY, |_| both.clone(), now())), "a+1 b+2");
    assert_eq!(ledger.held(KEY), None);
    // A lost permit is given again, and the approval is used up: what comes later has another digest.
    assert_eq!(ask(&ledger, "a", plan("c", 1, 1, 1), &both), "a+1");
    assert_eq!(ask(&ledger, "c", plan("c", 3, 1, 0), &both), "c-3");
    assert_eq!(ask(&ledger, "a", plan("c", 4, 1, 0), &both), "a-4");
    // The same plans of another change are another thing to approve.
    assert_eq!(ask(&ledger, "a", plan("d", 1, 1, 1), &both), "a-1");
    assert_eq!(ask(&ledger, "b", plan("d", 2, 1, 0), &both), "b-2");
}

#[test]
fn the_plan_that_completes_what_was_approved_releases_the_others() {
    let (first, none) = (Ledger::default(), limited(Some(0), None));
    ask(&first, "a", plan("c", 1, 1, 0), &none);
    ask(&first, "b", plan("c", 2, 1, 0), &none);
    let approved = approving(&first.held(KEY).expect("held").digest);
    // The hub restarts before anybody heard of it.
    let second = Ledger::default();
    assert_eq!(ask(&second, "b", plan("c", 2, 1, 0), &approved), "b-2");
    assert_eq!(ask(&second, "a", plan("c", 1, 1, 0), &approved), "a+1 b+2");
}

#[test]
fn a_budget_that_holds_the_whole_change_lets_it_go() {
    let ledger = Ledger::default();
    for (name, digest) in [("a", 1), ("b", 2), ("c", 3)] {
        ask(&ledger, name, plan("c", digest, 4, 0), &limited(Some(3), None));
    }
    let reconsider = |verdict: Verdict| told(ledger.reconsider(KEY, |_| verdict.clone(), now()));
    assert_eq!(reconsider(limited(Some(8), None)), "", "not in slices");
    assert_eq!(reconsider(Verdict::Wait("the hub is behind".into())), "");
    assert_eq!(reconsider(limited(Some(12), None)), "a+1 b+2 c+3");
}

#[test]
fn plans_of_one_change_are_gathered_before_the_first_is_answered() {
    let (ledger, ten) = (Ledger::default(), limited(Some(10), None));
    for (name, digest) in [("a", 1), ("b", 2), ("c", 3)] {
        let permits = ledger.ask(&holder(name), &plan("c", digest, 4, 0), &ten, now());
        assert!(permits.is_empty(), "four of ten would fit: {permits:?}");
    }
    assert_eq!(
        (ledger.held(KEY), ledger.plans_held()),
        (None, 0),
        "nobody is asked to approve it yet"
    );
    assert_eq!(ledger.gathered_at(), Some(later()));
    assert!(ledger.gathered(now()).is_empty() && ledger.gathered(later()) == [KEY]);
    let answers = ledger.reconsider(KEY, |_| ten.clone(), later());
    assert_eq!(told(answers), "a-1 b-2 c-3", "twelve are more than ten");
    assert_eq!(ledger.held(KEY).map(|plan| plan.deletes), Some(12));
    let (small, ten) = (Ledger::default(), limited(Some(10), None));
    for (name, digest) in [("a", 1), ("b", 2)] {
        small.ask(&holder(name), &plan("c", digest, 4, 0), &ten, now());
    }
    assert_eq!(told(small.reconsider(KEY, |_| ten.clone(), later())), "a+1 b+2");
    let withdrawn = Ledger::default();
    withdrawn.ask(&holder("a"), &plan("c", 1, 4, 0), &ten, now());
    assert!(withdrawn.settled(&holder("a"), KEY));
    assert_eq!(withdrawn.gathered_at(), None, "nobody waits for the end of that window");
    assert!(withdrawn.gathered(later()).is_empty());
    // The window is over: who comes now is answered at once, by the sum.
    assert_eq!(told(small.ask(&holder("c"), &plan("c", 3, 4, 0), &ten, later())), "c-3");
    assert_eq!(
        told(small.ask(&holder("d"), &plan("c", 4, 2, 0), &ten, later())),
        "d-4",
        "fourteen with c"
    );
}

#[test]
fn a_hub_that_starts_goes_on_counting() {
    let (before, ten) = (Ledger::default(), limited(Some(10), Some(3)));
    ask(&before, "a", plan("c", 1, 4, 0), &ten);
    ask(&before, "b", plan("c", 2, 4, 0), &ten);
    let spent = before.spent(KEY);
    let [one] = spent.as_slice() else { panic!("{spent:?}") };
    assert_eq!((one.change.as_str(), one.objects, one.clusters), ("c", 8, 2));
    let after = Ledger::default();
    after.go_on(KEY, one, now());
    assert_eq!(after.spent(KEY), spent, "the status says the same");
    assert_eq!(
        ask(&after, "c", plan("c", 3, 4, 0), &ten),
        "c-3",
        "twelve are more than ten"
    );
    assert_eq!(ask(&after, "c", plan("c", 3, 2, 0), &ten), "c+3");
    assert_eq!(ask(&after, "d", plan("c", 3, 0, 0), &ten), "d-3", "a fourth cluster");
    let much_later = now() + SignedDuration::from_hours(25);
    let forgotten = Ledger::default();
    forgotten.go_on(KEY, one, much_later);
    assert!(!forgotten.knows(KEY, "c"), "the change is over");
    assert!(after.settled(&holder("d"), KEY));
    after.sweep(much_later);
    assert!(after.spent(KEY).is_empty());
}

#[test]
fn who_does_not_wait_any_more_is_not_in_the_plan() {
    let ledger = Ledger::default();
    for name in ["a", "b", "c"] {
        ask(&ledger, name, plan("c", 1, 1, 0), &limited(Some(0), None));
    }
    assert!(ledger.holds(&holder("a"), KEY));
    assert!(ledger.settled(&holder("a"), KEY) && !ledger.settled(&holder("a"), KEY));
    assert_eq!(ledger.forget(&holder("b")), [KEY]);
    assert_eq!((ledger.plans_held(), ledger.keys_held()), (1, vec![KEY.to_owned()]));
    assert!(!ledger.holds(&holder("a"), KEY));
}

#[test]
fn changes_that_an_agent_makes_up_push_out_only_its_own() {
    let (ledger, five) = (Ledger::default(), limited(Some(5), None));
    assert_eq!(ask(&ledger, "good", plan("real", 1, 5, 0), &five), "good+1");
    for number in 0..100 {
        assert_eq!(
            ask(&ledger, "bad", plan(&format!("c{number}"), 2, 0, 0), &five),
            "bad+2"
        );
    }
    assert_eq!(locked::mutex(&ledger.owners)[KEY].len(), CHANGES);
    assert_eq!(
        ask(&ledger, "other", plan("real", 3, 1, 0), &five),
        "other-3",
        "still counted"
    );
}

#[test]
fn names_that_an_agent_makes_up_are_bounded_for_it_alone() {
    let ledger = Ledger {
        owners_each: 2,
        ..Ledger::default()
    };
    let ask = |name: &str, key: &str| {
        let plan = PrunePlan {
            key: key.into(),
            ..plan("c", 1, 1, 0)
        };
        ask(&ledger, name, plan, &limited(None, None))
    };
    assert_eq!((ask("bad", "a"), ask("bad", "b")), ("bad+1".into(), "bad+1".into()));
    assert_eq!(ask("bad", "c"), "bad-1");
    assert_eq!(locked::mutex(&ledger.owners).len(), 2);
    assert_eq!((ask("bad", "a"), ask("good", "c")), ("bad+1".into(), "good+1".into()));
}

#[test]
fn a_restored_cluster_deletes_nothing_that_nobody_has_approved() {
    let (ledger, any) = (Ledger::default(), limited(None, None));
    assert_eq!(ask(&ledger, "a", plan("c", 1, 1, 0), &any), "a+1");
    // It was permitted before its backup was restored, and is asked for again by what the backup holds.
    ledger.restored(&holder("a"));
    ledger.be_careful(&holder("a"), true);
    assert_eq!(ask(&ledger, "a", plan("c", 1, 1, 0), &any), "a-1");
    assert_eq!(ask(&ledger, "b", plan("c", 2, 1, 0), &any), "b+2", "others go on");
    assert_eq!(told(ledger.reconsider(KEY, |_| any.clone(), now())), "");
    let approved = approving(&ledger.held(KEY).expect("held").digest);
    assert_eq!(told(ledger.reconsider(KEY, |_| approved.clone(), now())), "a+1");
    assert_eq!(
        ask(&ledger, "a", plan("c", 1, 1, 0), &any),
        "a+1",
        "the permit was lost"
    );
    assert_eq!(ask(&ledger, "a", plan("d", 3, 1, 0), &any), "a-3");
    ledger.be_careful(&holder("a"), false);
    assert_eq!(told(ledger.reconsider(KEY, |_| any.clone(), now())), "a+3");
}

#[test]
fn a_full_ledger_of_held_plans_refuses_and_forgets_nothing() {
    let (ledger, none) = (Ledger::default(), limited(Some(0), None));
    for number in 0..CHANGES {
        ask(
            &ledger,
            &format!("c{number}"),
            plan(&format!("c{number}"), 1, 1, 0),
            &none,
        );
    }
    assert_eq!(ask(&ledger, "late", plan("late", 2, 0, 0), &none), "late-2");
    assert_eq!(ledger.plans_held(), CHANGES);
}

#[test]
fn what_is_over_is_forgotten_and_what_waits_is_not() {
    let (ledger, one) = (Ledger::default(), limited(Some(1), None));
    ask(&ledger, "a", plan("c", 1, 1, 0), &one);
    let product = Holder::Product("Kustomization/team/apps-on-prem".into());
    ledger.ask(&product, &plan("c", 2, 1, 0), &one, later());
    assert_eq!(told(ledger.ask(&holder("b"), &plan("c", 3, 1, 0), &one, now())), "b-3");
    let later = |hours: i64| now() + SignedDuration::from_hours(hours);
    assert_eq!(ledger.sweep(later(1)), [KEY], "the product does not ask any more");
    assert_eq!(ledger.held(KEY).map(|plan| plan.clusters), Some(1));
    assert!(ledger.sweep(later(48)).is_empty());
    assert_eq!(ledger.plans_held(), 1, "an agent that is away still waits");
    let weeks = Ledger::default();
    ask(&weeks, "gone", plan("c", 1, 2, 0), &one);
    assert_eq!(
        weeks.sweep(later(8 * 24)),
        [KEY],
        "one that has not asked for a week does not"
    );
    assert!(locked::mutex(&weeks.owners).is_empty());
    ledger.settled(&holder("b"), KEY);
    ledger.sweep(later(48));
    assert!(locked::mutex(&ledger.owners).is_empty());
    assert_eq!(ask(&ledger, "b", plan("c", 3, 1, 0), &one), "b+3");
}
