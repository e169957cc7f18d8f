//! The ledger on a real disk, with real kills.

mod damage;
mod full;
mod kill;

use std::{os::unix::fs::PermissionsExt, path::Path};

use quaymaster::{
    domain::{
        Memory, StackName, Timestamp,
        memory::{Boot, Event, EventKind, MAX_HISTORY, ServiceMemory},
    },
    ports::Ledger,
    store::{OpenError, Store},
};

fn stack() -> StackName {
    "shop".parse().expect("a plain name")
}

fn open(state_dir: &Path) -> Store {
    once_free(|| Store::open(state_dir, &stack(), "quaymaster.yaml"))
}

fn read(state_dir: &Path) -> Memory {
    once_free(|| Store::read(state_dir, &stack(), "quaymaster.yaml"))
}

/// Another test's child has every file of this process open, locks too, between
/// its fork and its exec.
fn once_free<T>(open: impl Fn() -> Result<T, OpenError>) -> T {
    loop {
        match open() {
            Ok(opened) => return opened,
            Err(OpenError::Held { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A memory in which every part says `n`, so that a mix of two saves shows.
fn memory(n: u64) -> Memory {
    let at = Timestamp(i64::try_from(n).expect("small"));
    let service = ServiceMemory { promoted_at: Some(at), ..ServiceMemory::default() };
    let names = ["web", "worker", "postgres"];
    let named = |name: &str| name.parse().expect("a plain name");
    let first_kept = (n + 1).saturating_sub(MAX_HISTORY as u64);
    Memory {
        boot: Some(Boot { id: "boot".to_owned(), saved_at: at }),
        pruned_at: Some(at),
        services: names.iter().map(|name| (named(name), service.clone())).collect(),
        history: (first_kept..=n).map(event).collect(),
        ..Memory::default()
    }
}

fn event(n: u64) -> Event {
    Event {
        at_unix_ms: i64::try_from(n).expect("small"),
        service: "web".parse().expect("a plain name"),
        kind: EventKind::Promoted,
        slot: None,
        release: None,
        image: None,
        commit: None,
        text: format!("event {n}"),
    }
}

#[test]
fn what_was_saved_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    assert_eq!(store.load(), Memory::default());
    for n in [1, 2, 700, 701] {
        store.save(&memory(n)).expect("the disk works");
        assert_eq!(store.load(), memory(n));
    }
    drop(store);
    assert_eq!(open(folder.path()).load(), memory(701));
}

#[test]
fn what_was_forgotten_stays_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    store.save(&memory(3)).expect("the disk works");
    store.save(&Memory::default()).expect("the disk works");
    drop(store);
    assert_eq!(read(folder.path()), Memory::default());
}

#[test]
fn a_history_over_its_limit_keeps_the_newest() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = Memory { history: (0..600).map(event).collect(), ..Memory::default() };
    open(folder.path()).save(&long).expect("the disk works");
    let kept = read(folder.path()).history;
    assert_eq!(kept, (100..600).map(event).collect::<Vec<_>>());
}

#[test]
fn a_clock_that_moves_less_than_a_minute_is_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let at = |saved_at| Memory {
        boot: Some(Boot { id: "boot".to_owned(), saved_at: Timestamp(saved_at) }),
        ..memory(0)
    };
    store.save(&at(1_000)).expect("the disk works");
    store.save(&at(60_999)).expect("the disk works");
    assert_eq!(store.load(), at(1_000));
    store.save(&at(61_000)).expect("the disk works");
    assert_eq!(store.load(), at(61_000));
    let rebooted = Memory {
        boot: Some(Boot { id: "next".to_owned(), saved_at: Timestamp(61_001) }),
        ..memory(0)
    };
    store.save(&rebooted).expect("the disk works");
    assert_eq!(store.load(), rebooted);
}

#[test]
fn a_store_in_use_names_who_uses_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let _store = open(folder.path());
    let Err(refused) = Store::read(folder.path(), &stack(), "other.yaml") else {
        panic!("two have it open");
    };
    assert!(matches!(refused, OpenError::Held { .. }));
    let text = refused.to_string();
    let holder =
        format!("in use by process {} (stack shop, file quaymaster.yaml)", std::process::id());
    assert!(text.ends_with(&holder), "{text}");
}

#[test]
fn a_controller_waits_for_whoever_only_glances() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(open(folder.path()));
    let path = folder.path().join("shop/lock");
    let glance = r#"{"pid":1,"stack":"shop","file":"other.yaml","purpose":"glance"}"#;
    let mut lock =
        std::fs::File::options().read(true).write(true).open(&path).expect("it is there");
    lock.lock().expect("nobody has it");
    std::io::Write::write_all(&mut lock, glance.as_bytes()).expect("it is ours");
    lock.set_len(glance.len() as u64).expect("it is ours");
    let state_dir = folder.path().to_owned();
    let opening = std::thread::spawn(move || Store::open(&state_dir, &stack(), "quaymaster.yaml"));
    // However long the other takes to come to the lock: it must not have given up.
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!opening.is_finished(), "it did not wait");
    drop(lock);
    assert!(opening.join().expect("no panic").is_ok());
}

#[test]
fn another_stack_has_its_own_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let shop = open(folder.path());
    shop.save(&memory(1)).expect("the disk works");
    let blog = Store::open(folder.path(), &"blog".parse().expect("plain"), "blog.yaml")
        .expect("another stack's lock");
    assert_eq!(blog.load(), Memory::default());
}

#[test]
fn a_look_makes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(read(folder.path()), Memory::default());
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn nobody_else_can_look_into_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path()).save(&memory(1)).expect("the disk works");
    // Opened once more, so that the snapshot of the first time is there too.
    let _store = open(folder.path());
    let root = folder.path().join("shop");
    let mut unseen = vec![root.clone()];
    let mut seen = 0;
    while let Some(path) = unseen.pop() {
        let metadata = path.metadata().expect("it is there");
        let mode = metadata.permissions().mode() & 0o777;
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{} is {mode:o}", path.display());
        seen += 1;
        if metadata.is_dir() {
            let entries = path.read_dir().expect("a folder");
            unseen.extend(entries.map(|entry| entry.expect("an entry").path()));
        }
    }
    assert!(seen >= 5, "folder, lock, db, its file and its settings; saw {seen}");
}

#[test]
fn a_state_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let Err(error) = Store::open(&file, &stack(), "quaymaster.yaml") else {
        panic!("a file holds no folder");
    };
    let expected = format!("cannot use the state folder {}/shop", file.display());
    assert_eq!(error.to_string(), expected);
}
