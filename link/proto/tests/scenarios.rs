//! The promises of a session, each shown by two ends.

mod world;

use nave_proto::CloseCode;
use nave_proto::wire::{EventMsg, FailCode, LinkProfile, Mode};
use world::World;

fn populated(items: usize, rows: usize) -> World {
    let mut world = World::new(1);
    for number in 0..items {
        world.put(&format!("item-{number}"));
    }
    for number in 0..rows {
        world.set_row(&format!("row-{number}"));
    }
    world
}

#[test]
fn everything_arrives_and_a_resume_sends_nothing_again() {
    let mut world = populated(40, 15);
    world.converge();
    let (effects, delivered) = (world.agent.effects, world.delivered);
    assert_eq!(effects, 40);

    world.connect();
    world.settle();
    assert_eq!(world.agent.effects, effects);
    assert_eq!(world.delivered - delivered, 2, "a hello and a welcome, nothing else");
}

#[test]
fn a_resume_after_both_ends_restarted_sends_only_what_differs() {
    let mut world = populated(300, 20);
    world.converge();
    world.cut();
    world.put("item-7");
    world.delete("item-9");
    world.restart_agent();
    world.restart_hub(false);
    let before = world.agent.effects;
    world.converge();
    assert_eq!(world.agent.effects - before, 2);
}

#[test]
fn thousands_of_items_are_walked_and_not_listed() {
    let mut world = populated(3000, 1200);
    world.converge();
    world.cut();
    for number in [3, 777, 2999] {
        world.put(&format!("item-{number}"));
    }
    world.delete("item-5");
    world.put("another");
    world.set_row("row-600");
    let (effects, delivered) = (world.agent.effects, world.delivered);
    world.connect();
    world.settle();
    assert_eq!(world.agent.effects - effects, 5);
    let messages = world.delivered - delivered;
    assert!(
        messages < 100,
        "{messages} messages for six differences in four thousand items"
    );
    world.converge();
}

#[test]
fn changes_during_a_walk_arrive_too() {
    let mut world = populated(3000, 0);
    world.converge();
    world.cut();
    world.restart_hub(true);
    world.put("item-1");
    world.connect();
    for round in 0..200 {
        world.step();
        if round % 10 == 0 {
            world.put(&format!("item-{}", round * 7));
            world.delete(&format!("item-{}", round * 7 + 1));
            world.set_row(&format!("row-{round}"));
        }
    }
    world.converge();
}

#[test]
fn a_cut_at_every_message_loses_and_doubles_nothing() {
    fn script(cut_after: Option<usize>) -> usize {
        let mut world = World::new(42);
        for number in 0..4 {
            world.put(&format!("item-{number}"));
        }
        world.set_row("row-1");
        world.connect();
        world.settle();
        world.put("item-1");
        world.delete("item-2");
        world.set_row("row-1");
        world.remove_row("row-1");
        world.set_row("row-2");
        let start = world.delivered;
        loop {
            if cut_after.is_some_and(|cut| world.delivered - start >= cut) {
                world.connect();
                break;
            }
            if !world.step() {
                break;
            }
        }
        let messages = world.delivered - start;
        world.converge();
        messages
    }
    let messages = script(None);
    assert!(messages > 10, "the script is about {messages} messages");
    for cut in 0..messages {
        script(Some(cut));
    }
}

#[test]
fn an_item_that_cannot_be_taken_fails_alone() {
    let mut world = populated(5, 2);
    world.put("poison");
    world.put_sized("huge", world::MAX_ITEM + 1);
    world.converge();
    assert_eq!(world.hub.failed.get("poison"), Some(&FailCode::Malformed));
    assert_eq!(world.hub.failed.get("huge"), Some(&FailCode::TooLarge));

    world.put_sized("huge", 100);
    world.converge();
    assert!(world.agent.store.contains_key("huge"));
}

#[test]
fn a_failing_item_is_not_sent_again_with_every_heartbeat() {
    let mut world = populated(2, 1);
    world.put("poison");
    world.converge();
    let before = world.delivered;
    world.run(40);
    let messages = world.delivered - before;
    // 40 heartbeats up and 10 down. One of them may start a walk, which finds the same failing item once.
    assert!(messages <= 60, "{messages} messages in 40 heartbeats");
}

#[test]
fn an_unknown_item_is_kept_and_reported() {
    let mut world = populated(3, 0);
    world.converge();
    world.cut();
    world
        .agent
        .store
        .insert("stray".to_owned(), ("uid-nobody".to_owned(), "x".into()));
    world.restart_agent();
    world.converge();
    assert!(world.agent.store.contains_key("stray"));
    assert!(world.hub.orphans.contains("stray"));

    // Positive knowledge comes later: the owner turns up in the retirement log.
    world.hub.retired.insert("uid-nobody".to_owned());
    world.connect();
    world.converge();
    assert!(!world.agent.store.contains_key("stray"));
}

#[test]
fn a_deletion_that_the_hub_forgot_is_done_from_the_retirement_log() {
    let mut world = populated(3, 0);
    world.converge();
    world.cut();
    world.delete("item-1");
    world.restart_hub(true);
    assert_eq!(
        world.hub.desired.deleted().count(),
        0,
        "the hub knows of no deletion any more"
    );
    world.converge();
    assert!(!world.agent.store.contains_key("item-1"));
}

#[test]
fn an_object_made_again_is_another_owner() {
    let mut world = populated(1, 0);
    world.converge();
    let first = world.agent.store["item-0"].0.clone();
    world.cut();
    world.delete("item-0");
    world.put("item-0");
    world.converge();
    assert_ne!(world.agent.store["item-0"].0, first);
}

#[test]
fn a_plan_is_held_until_it_is_granted_and_done_once() {
    let mut world = populated(3, 0);
    world.converge();
    world.hub.grant = false;
    world.delete("item-0");
    world.converge();
    assert_eq!((world.agent.pending.len(), world.agent.pruned.len()), (1, 0));

    world.restart_agent();
    world.connect();
    world.settle();
    assert_eq!((world.agent.pending.len(), world.agent.pruned.len()), (1, 0));

    world.hub.grant = true;
    world.connect();
    world.converge();
    assert_eq!((world.agent.pending.len(), world.agent.pruned.len()), (0, 1));
    world.connect();
    world.converge();
}

#[test]
fn a_restored_hub_sends_and_deletes_nothing() {
    let mut world = populated(5, 3);
    world.converge();
    let (truth, ring) = (world.hub.truth.clone(), world.hub.ring.clone());
    world.put("later");
    world.delete("item-1");
    world.converge();

    // Back to the backup; the hub moves on by itself before the agent comes.
    world.cut();
    (world.hub.truth, world.hub.ring) = (truth, ring);
    world.restart_hub(true);
    world.put("item-2");
    world.set_row("row-1");
    let effects = world.agent.effects;
    world.connect();
    world.run(5);
    assert_eq!(world.agent.mode, Some(Mode::Behind));
    assert_eq!(world.agent.effects, effects, "nothing flows down");
    assert_eq!(world.hub.seen, world.agent.rows, "status still flows up");

    // An operator confirms; from now on the hub's older state is the truth.
    world.agent.applied.clear();
    world.hub.door.behind = false;
    world.hub.ring.confirm(99, &world.hub.issuer);
    world.restart_hub(true);
    world.connect();
    world.settle();
    assert_eq!(world.agent.mode, Some(Mode::Normal));
    assert!(
        world.agent.store.contains_key("later"),
        "what the hub does not know is kept"
    );
    assert!(world.hub.orphans.contains("later"));
}

#[test]
fn nothing_flows_in_quarantine_and_while_pending() {
    for mode in [Mode::Quarantined, Mode::Pending, Mode::RenewOnly] {
        let mut world = populated(5, 3);
        world.hub.mode = mode;
        world.connect();
        world.run(5);
        assert_eq!(world.agent.mode, Some(mode));
        assert_eq!((world.agent.effects, world.hub.seen.len()), (0, 0));
        assert!(world.is_connected(), "it stays connected and waits");
    }
}

#[test]
fn silence_ends_a_session_at_both_ends() {
    let mut world = populated(1, 1);
    world.converge();
    world.now = world.now.plus(nave_proto::hub::silence_ms(30_000) - 1);
    assert!(world.is_connected(), "one heartbeat may be lost on its way");
    world.now = world.now.plus(1);
    world.timeouts();
    let close = world
        .closed
        .as_ref()
        .expect("the hub heard nothing for two heartbeats and a little");
    assert_eq!(close.code(), Some(CloseCode::Idle));

    world.connect();
    world.now = world.now.plus(10_000);
    world.timeouts();
    assert!(!world.is_connected(), "a peer that says nothing at all is not kept");
}

#[test]
fn heartbeats_find_a_difference_that_nobody_announced() {
    let mut world = populated(5, 2);
    world.converge();
    // The agent's store lost an item, and the hub's memory of status a row: neither end knows.
    world.agent.store.remove("item-3");
    world.agent.desired.remove("item-3");
    world.put("item-3");
    world.converge();
    world.hub.status.remove("row-1");
    world.hub.seen.remove("row-1");
    world.converge();
}

#[test]
fn a_metered_line_carries_fewer_heartbeats_no_events_and_the_latest_status() {
    let mut world = populated(5, 5);
    world.hub.profile = LinkProfile::Metered;
    (world.hub.features, world.agent.features) = (3, 3);
    assert!(world.connect());
    world.settle();
    assert_eq!(
        world.profiles(),
        [(LinkProfile::Metered, u64::from(world::METERED_MS)); 2]
    );
    world.agent.events.push(EventMsg::default());
    // Many changes while status is kept back: nothing of them is sent, while items and their acknowledgements go on.
    world.hold_status(true);
    let delivered = world.delivered;
    (0..50).for_each(|_| world.set_row("row-1"));
    world.settle();
    assert_eq!(world.delivered, delivered, "status is kept back");
    world.put("item-1");
    world.settle();
    assert!(world.delivered > delivered, "items are not");
    let delivered = world.delivered;
    world.hold_status(false);
    world.settle();
    assert_eq!(
        world.delivered - delivered,
        2,
        "fifty changes are one row and its acknowledgement"
    );
    world.run(9);
    assert!(world.hub.events.is_empty(), "no events on a metered line");
    world.converge();

    // Another opinion of the operator, in the next session: the event was only kept.
    world.hub.profile = LinkProfile::Standard;
    world.cut();
    assert!(world.connect());
    world.settle();
    assert_eq!(world.profiles(), [(LinkProfile::Standard, 30_000); 2]);
    assert_eq!(world.hub.events.len(), 1);
}

#[test]
fn an_agent_that_knows_no_profiles_gets_the_standard_one() {
    for (hub, agent) in [(3, 1), (1, 3)] {
        let mut world = populated(1, 1);
        world.hub.profile = LinkProfile::Metered;
        (world.hub.features, world.agent.features) = (hub, agent);
        assert!(world.connect());
        world.settle();
        assert_eq!(world.profiles(), [(LinkProfile::Standard, 30_000); 2]);
        world.converge();
    }
}

#[test]
fn events_arrive_or_are_counted_as_lost() {
    let mut world = populated(1, 1);
    for time_ms in 0..100 {
        world.agent.events.push(EventMsg {
            time_ms,
            reason: "Pulled".into(),
            ..EventMsg::default()
        });
    }
    world.converge();
    let lost: u64 = world.hub.events.iter().map(|event| event.dropped_before).sum();
    assert_eq!(world.hub.events.len() as u64 + lost, 100);
    assert!(
        world
            .hub
            .events
            .windows(2)
            .all(|pair| pair[0].time_ms < pair[1].time_ms)
    );
}
