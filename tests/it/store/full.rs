//! A full disk costs the save, never the process.

use std::{
    io::{BufRead, BufReader, Lines, Read, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use quaymaster::{
    domain::{
        Memory,
        memory::{Event, MAX_HISTORY},
        snapshot::FailureKind,
    },
    ports::Ledger,
};

use super::{event, open, read};
use crate::child;

/// A memory of about `n` times 500 KB: it outgrows any small limit.
fn large(n: u64) -> Memory {
    let long = |event: Event| Event { text: format!("{n} {}", "x".repeat(1_000)), ..event };
    Memory { history: (0..MAX_HISTORY as u64).map(event).map(long).collect(), ..Memory::default() }
}

/// Saves until it fails, waits for a line, and saves again.
#[test]
#[ignore = "the child of the tests below"]
fn writer() {
    let Some(folder) = child::argument() else { return };
    let store = open(Path::new(&folder));
    let mut saved = 0;
    let failure = loop {
        match store.save(&large(saved + 1)) {
            Ok(()) => saved += 1,
            Err(failure) => break failure,
        }
        assert!(saved < 1_000, "the limit is never reached");
    };
    assert_eq!(failure.kind, FailureKind::Transient);
    println!("\nfull {saved} {}", failure.message);
    std::io::stdout().flush().expect("the parent reads");
    std::io::stdin().read_exact(&mut [0]).expect("the parent answers");
    store.save(&large(saved + 1)).expect("there is room again");
    println!("\nsaved {}", saved + 1);
}

/// A writer that has met the limit.
struct Full {
    writer: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The last memory that it was told is saved.
    saved: u64,
    failure: String,
}

/// Runs the writer until it is full. A limit on the size of its files (`EFBIG`
/// in place of `ENOSPC`) needs no disk to fill, and can be lifted from outside.
fn fill(state_dir: &Path) -> Full {
    let this = child::running("store::full::writer", &state_dir.display().to_string());
    let mut writer = Command::new("sh")
        // In blocks of 512 bytes: 4 MiB.
        .args(["-c", r#"trap "" XFSZ; ulimit -S -f 8192; exec "$0" "$@""#])
        .arg(this.get_program())
        .args(this.get_args())
        .env(child::CHILD, state_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(writer.stdout.take().expect("piped")).lines();
    let full = lines
        .by_ref()
        .map(|line| line.expect("text"))
        .find_map(|line| line.strip_prefix("full ").map(str::to_owned))
        .expect("it gets full");
    let (saved, failure) = full.split_once(' ').expect("a number and a text");
    Full { writer, lines, saved: saved.parse().expect("a number"), failure: failure.to_owned() }
}

#[test]
fn a_full_disk_fails_the_save_and_is_got_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut full = fill(folder.path());
    assert!(full.failure.starts_with("the memory could not be saved: "), "{}", full.failure);
    let lifted = Command::new("prlimit")
        .args(["--fsize=unlimited", "--pid", &full.writer.id().to_string()])
        .status()
        .expect("util-linux is there");
    assert!(lifted.success());
    full.writer.stdin.take().expect("piped").write_all(b"\n").expect("it waits");
    // To the last line: the harness of the child must not find the pipe closed.
    let saved: u64 = full
        .lines
        .map(|line| line.expect("text"))
        .filter_map(|line| line.strip_prefix("saved ")?.parse().ok())
        .last()
        .expect("it saves again");
    assert!(full.writer.wait().expect("it was ours").success());
    assert_eq!(saved, full.saved + 1);
    assert!(read(folder.path()) == large(saved));
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut full = fill(folder.path());
    full.writer.kill().expect("it waits");
    full.writer.wait().expect("it was ours");
    let found = read(folder.path());
    assert!(
        found == large(full.saved) || found == large(full.saved + 1),
        "{} was lost; found {:?}",
        full.saved,
        found.history.first()
    );
}
