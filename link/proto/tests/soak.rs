//! Seeded random rounds of everything that can happen to a session.
//!
//! `SEED` chooses the first round, `ROUNDS` how many there are (500). A failing round prints its seed; `SEED=<n> ROUNDS=1`
//! plays it again.

mod world;

use std::collections::BTreeMap;

use nave_proto::wire::LinkProfile;
use rand::Rng;
use world::World;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

#[test]
fn soak_of_random_rounds_loses_and_doubles_nothing() {
    let (first, rounds) = (number("SEED", 1), number("ROUNDS", 500));
    let mut seen = BTreeMap::<&str, u64>::new();
    for seed in first..first + rounds {
        match std::panic::catch_unwind(|| round(seed)) {
            Ok(round) => round
                .into_iter()
                .for_each(|(what, count)| *seen.entry(what).or_default() += count),
            Err(panic) => {
                eprintln!("round failed: play it again with SEED={seed} ROUNDS=1");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{rounds} rounds from seed {first}: {seen:?}");
    if rounds >= 500 {
        for what in [
            "cloned",
            "confirmed",
            "joined again",
            "released",
            "renewed",
            "restored",
            "revoked",
            "rotated",
        ] {
            assert!(seen.contains_key(what), "no round had what is called {what:?}");
        }
    }
}

/// Plays a round; gives back what happened to identities in it.
fn round(seed: u64) -> BTreeMap<&'static str, u64> {
    let mut world = World::new(seed);
    if seed % 4 == 3 {
        world.hub.profile = LinkProfile::Metered;
    }
    // Most rounds have few items, some enough for walks.
    let keys = if seed.is_multiple_of(50) {
        700
    } else {
        world.rng.random_range(1..60)
    };
    let actions = world.rng.random_range(10..200);
    if keys >= 700 {
        (0..keys).for_each(|key| world.put(&format!("key-{key}")));
    }
    for _ in 0..actions {
        let key = world.rng.random_range(0..keys);
        if world.rng.random_range(0..8) == 0 {
            match world.rng.random_range(0..10) {
                0 => world.clone_comes(),
                1 => world.rotate_roots(),
                2 | 3 => world.backup_hub(),
                4 => world.restore_hub(),
                5 => world.expire(),
                6 => world.renew(),
                7 => world.revoke(),
                8 => world.upgrade(),
                _ => world.help(),
            }
        }
        match world.rng.random_range(0..100) {
            0..25 => world.put(&format!("key-{key}")),
            25..35 => world.delete(&format!("key-{key}")),
            35..38 => world.put_sized(&format!("key-{key}"), world::MAX_ITEM + 1),
            38..40 => world.put(&format!("poison-{key}")),
            40..58 => world.set_row(&format!("row-{key}")),
            58..63 => world.remove_row(&format!("row-{key}")),
            63..75 => drop(world.connect()),
            75..79 => world.cut(),
            79..83 => world.restart_agent(),
            83..86 => world.restart_hub(true),
            86..88 => world.restart_hub(false),
            88..90 => {
                let jump = world.rng.random_range(0..60_000);
                world.now = world.now.plus(jump);
                world.timeouts();
            }
            _ => {
                let steps = world.rng.random_range(0..400);
                for _ in 0..steps {
                    world.step();
                }
            }
        }
        let steps = world.rng.random_range(0..12);
        for _ in 0..steps {
            world.step();
        }
    }
    world.converge();
    world.hub.door.seen
}
