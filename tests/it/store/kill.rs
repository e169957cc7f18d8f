//! `kill -9` at any moment loses nothing that was acknowledged.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    time::Duration,
};

use quaymaster::ports::Ledger;

use super::{memory, open};
use crate::child;

/// More than the 60 of the measurement that found sled's torn snapshots.
const KILLS: u64 = 80;

/// The saves that every second life is let to make.
const WRITES: usize = 4;

/// Saves ever newer memories until killed, and says so after each.
#[test]
#[ignore = "the child of a_kill_loses_nothing_that_was_acknowledged"]
fn writer() {
    let Some(folder) = child::argument() else { return };
    let store = open(Path::new(&folder));
    let first = number(&store.load()).map_or(0, |n| n + 1);
    let mut out = std::io::stdout();
    for n in first.. {
        store.save(&memory(n)).expect("the disk works");
        writeln!(out, "\nsaved {n}").expect("the parent reads");
    }
}

fn number(memory: &quaymaster::domain::Memory) -> Option<u64> {
    memory.pruned_at.map(|at| u64::try_from(at.0).expect("saved from a u64"))
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged = None;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for kill in 0..KILLS {
        let mut writer =
            child::running("store::kill::writer", &folder.path().display().to_string())
                .spawn()
                .expect("it runs");
        let output = BufReader::new(writer.stdout.take().expect("piped"));
        let mut saved = output
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("saved ")?.parse::<u64>().ok());
        // xorshift64: moments all over opening, recovery and the first writes,
        // the same in each run as far as the machine allows.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if kill % 2 == 0 {
            std::thread::sleep(Duration::from_micros(random % 60_000));
        } else {
            // However slow the machine is, half of the lives get as far as saving.
            acknowledged = saved.nth(WRITES - 1).or(acknowledged);
            std::thread::sleep(Duration::from_micros(random % 2_000));
        }
        writer.kill().expect("it runs until killed");
        writer.wait().expect("it was ours");
        acknowledged = saved.last().or(acknowledged);

        let found = open(folder.path()).load();
        let n = number(&found);
        // One more may have been saved and not yet said.
        assert!(n >= acknowledged, "kill {kill}: {acknowledged:?} was lost; found {n:?}");
        if let Some(n) = n {
            assert!(found == memory(n), "kill {kill}: save {n} is torn");
        }
        acknowledged = n;
        let damaged = folder.path().join("shop/db.damaged-1");
        assert!(!damaged.exists(), "kill {kill} made a store that was set aside");
    }
    let saves = acknowledged.expect("some were saved");
    assert!(saves > KILLS, "{saves} saves in {KILLS} lives prove little");
}
