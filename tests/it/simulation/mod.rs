//! Several writers over a store with faults, under a clock that is made up: each seed is one history of a table. After every
//! step an oracle that knows all raw objects ever stored holds the table to what must be true.
//!
//! A seed decides everything: what is stored when, which writer makes the next call, which calls fail and how. So a seed that
//! fails fails again.
//! Played alone, its story is told.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `SILTSTONE_SEEDS` | how many seeds are tried | 40 |
//! | `SILTSTONE_SEED` | the first of them | 0 |

mod oracle;
mod timed;
mod turns;
mod work;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use world::World;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Plays the history of a seed to its end; what happened, step by step.
fn play(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    for _ in 0..world.steps() {
        world.step();
        world.check();
    }
    world.settle();
    world.sweep();
    world.check();
    world.story()
}

#[test]
fn whatever_goes_wrong_every_record_is_there_exactly_once() {
    let (first, count) = (from_environment("SILTSTONE_SEED", 0), from_environment("SILTSTONE_SEEDS", 40));
    let next = AtomicU64::new(first);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let players = (0..std::thread::available_parallelism().map_or(1, usize::from)).map(|_| {
            scope.spawn(|| {
                let mut failed = Vec::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return failed;
                    }
                    if (seed - first) % 200 == 199 {
                        eprintln!("{} histories were begun", seed - first + 1);
                    }
                    let story = std::panic::catch_unwind(|| play(seed));
                    if count == 1 {
                        eprintln!("{story:#?}");
                    }
                    if story.is_err() {
                        eprintln!("seed {seed} failed; again with SILTSTONE_SEED={seed} SILTSTONE_SEEDS=1");
                        failed.push(seed);
                    }
                }
            })
        });
        players.collect::<Vec<_>>().into_iter().flat_map(|player| player.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "of {count} seeds from {first}, these failed: {failed:?}");
}

/// Seeds that found something, and what: each failed until that was mended.
const FOUND: [(u64, &str); 1] =
    [(54, "a vacuum took a listing of the log for fresh, and deleted what a version that it did not show had")];

#[test]
fn what_seeds_found_once_stays_mended() {
    for (seed, what) in FOUND {
        assert!(std::panic::catch_unwind(|| play(seed)).is_ok(), "seed {seed}: {what}");
    }
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    for seed in [3, 4, 5] {
        let story = play(seed);
        assert!(story.len() > 3, "{story:?}");
        assert_eq!(story, play(seed), "seed {seed}");
    }
}
