//! The memory as records: small, checksummed, and counted, so that a gap is seen.
//!
//! | key | value |
//! | --- | --- |
//! | `head` | the number of the last save, and the number of each record |
//! | `boot` | boot and clock |
//! | `accepted` | the stack in force, and its file |
//! | `routes` | the proxy's routes as they last stood |
//! | `proxy` | the proxy that has them |
//! | `images` | resolutions, failed pulls, signatures, last prune |
//! | `service/NAME` | what is remembered of a service |
//! | `outbox` | what is to be told, and to whom it has been |
//! | `event/NUMBER` | one history event, never changed |
//! | `report/NUMBER` | one deployment that is over, never changed |
//!
//! A value is the number of the save that wrote it (8 bytes, big-endian), the
//! first 16 bytes of the SHA-256 of key, number and body, and the body as JSON.
//! A save writes what changed and the head as one batch. So a record that is
//! missing, damaged, or older than the head says is found out, and each record
//! that is whole can still be used without the others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::domain::{
    DeploymentReport, ImageRef, Memory, Outbox, Resolution, RouteTable, ServiceName, SignedImage,
    Timestamp,
    deployment::MAX_REPORTS,
    memory::{Accepted, Attempts, Boot, Event, MAX_HISTORY, ServiceMemory},
    stack::ProxyConfig,
};

const HEAD: &str = "head";
const BOOT: &str = "boot";
const ACCEPTED: &str = "accepted";
const ROUTES: &str = "routes";
const PROXY: &str = "proxy";
const IMAGES: &str = "images";
const SERVICE: &str = "service/";
const OUTBOX: &str = "outbox";
const EVENT: &str = "event/";
const REPORT: &str = "report/";

const NUMBER_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 16;

/// What a save changes: the new value of a key, or None to remove it.
pub(super) type Changes = BTreeMap<String, Option<Vec<u8>>>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// Counts saves from 1; 0 is a store that was never written.
    save: u64,
    /// Of each record but events, the save that wrote it.
    written: BTreeMap<String, u64>,
    /// The number of the oldest event that is kept, and how many there are.
    first_event: u64,
    events: u64,
    /// The same of reports.
    #[serde(default)]
    first_report: u64,
    #[serde(default)]
    reports: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Images {
    resolutions: BTreeMap<ImageRef, Resolution>,
    failed_pulls: BTreeMap<ImageRef, Attempts>,
    #[serde(default)]
    verified: Vec<SignedImage>,
    #[serde(default)]
    failed_checks: BTreeMap<SignedImage, Attempts>,
    pruned_at: Option<Timestamp>,
}

impl Images {
    fn of(memory: &Memory) -> Images {
        Images {
            resolutions: memory.resolutions.clone(),
            failed_pulls: memory.failed_pulls.clone(),
            verified: memory.verified.clone(),
            failed_checks: memory.failed_checks.clone(),
            pruned_at: memory.pruned_at,
        }
    }
}

/// The memory as it stands on disk, and what is needed to write only changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    head: Head,
    memory: Memory,
    losses: Vec<String>,
}

impl Shelf {
    /// Puts together what was read, and notes what is missing.
    pub fn read(rows: &BTreeMap<String, Vec<u8>>) -> Shelf {
        let mut reading = Reading { rows, head: Head::default(), losses: Vec::new() };
        if rows.is_empty() {
            return Shelf::default();
        }
        reading.read_head();
        let images: Images = reading.record(IMAGES).unwrap_or_default();
        let services = reading
            .service_names()
            .into_iter()
            .filter_map(|name| {
                let kept = reading.record::<ServiceMemory>(&format!("{SERVICE}{name}"))?;
                Some((name, kept))
            })
            .collect();
        let memory = Memory {
            boot: reading.record(BOOT),
            accepted: reading.record::<Accepted>(ACCEPTED),
            resolutions: images.resolutions,
            failed_pulls: images.failed_pulls,
            verified: images.verified,
            failed_checks: images.failed_checks,
            services,
            failed_writes: None,
            failed_host_steps: None,
            routes: reading.record::<RouteTable>(ROUTES).unwrap_or_default(),
            proxy: reading.record::<ProxyConfig>(PROXY),
            pruned_at: images.pruned_at,
            history: reading.history(),
            reports: reading.reports(),
            outbox: reading.record::<Outbox>(OUTBOX).unwrap_or_default(),
        };
        Shelf { head: reading.head, memory, losses: reading.losses }
    }

    pub fn memory(&self) -> Memory {
        self.memory.clone()
    }

    pub fn boot(&self) -> Option<&Boot> {
        self.memory.boot.as_ref()
    }

    /// Returns what was found missing, in words; empty for a whole store.
    pub fn losses(&self) -> &[String] {
        &self.losses
    }

    pub fn holds_all_but_the_clock_of(&self, memory: &Memory) -> bool {
        let Memory {
            boot: _,
            accepted,
            resolutions,
            failed_pulls,
            verified,
            failed_checks,
            services,
            failed_writes: _,
            failed_host_steps: _,
            routes,
            proxy,
            pruned_at,
            history,
            reports,
            outbox,
        } = memory;
        let kept = &self.memory;
        kept.accepted == *accepted
            && kept.resolutions == *resolutions
            && kept.failed_pulls == *failed_pulls
            && kept.verified == *verified
            && kept.failed_checks == *failed_checks
            && kept.services == *services
            && kept.routes == *routes
            && kept.proxy == *proxy
            && kept.pruned_at == *pruned_at
            && kept.history == newest(history, MAX_HISTORY)
            && kept.reports == newest(reports, MAX_REPORTS)
            && kept.outbox == *outbox
    }

    /// Returns the changes that make the disk hold `memory`, and the shelf as it
    /// is once they are written.
    pub fn changed_to(&self, memory: &Memory) -> (Shelf, Changes) {
        let mut writing = Writing {
            head: Head { save: self.head.save + 1, ..self.head.clone() },
            changes: Changes::new(),
        };
        writing.record(BOOT, self.memory.boot.as_ref(), memory.boot.as_ref());
        writing.record(ACCEPTED, self.memory.accepted.as_ref(), memory.accepted.as_ref());
        writing.record(ROUTES, Some(&self.memory.routes), Some(&memory.routes));
        writing.record(PROXY, self.memory.proxy.as_ref(), memory.proxy.as_ref());
        writing.record(IMAGES, Some(&Images::of(&self.memory)), Some(&Images::of(memory)));
        let names = self.memory.services.keys().chain(memory.services.keys());
        for name in names.collect::<std::collections::BTreeSet<_>>() {
            let (old, new) = (self.memory.services.get(name), memory.services.get(name));
            writing.record(&format!("{SERVICE}{name}"), old, new);
        }
        let history = newest(&memory.history, MAX_HISTORY);
        let reports = newest(&memory.reports, MAX_REPORTS);
        // A memory that was never told to tell anybody has no record of it.
        let outbox = Some(&memory.outbox).filter(|outbox| **outbox != Outbox::default());
        writing.record(OUTBOX, Some(&self.memory.outbox), outbox);
        writing.history(&self.memory.history, history);
        writing.reports(&self.memory.reports, reports);
        writing.seal();
        let mut kept = memory.clone();
        kept.history = history.to_vec();
        kept.reports = reports.to_vec();
        (Shelf { head: writing.head, memory: kept, losses: Vec::new() }, writing.changes)
    }
}

fn newest<T>(series: &[T], count: usize) -> &[T] {
    &series[series.len().saturating_sub(count)..]
}

struct Writing {
    head: Head,
    changes: Changes,
}

impl Writing {
    fn record<T: Serialize + PartialEq>(&mut self, key: &str, old: Option<&T>, new: Option<&T>) {
        let is_written = self.head.written.contains_key(key);
        match new {
            Some(new) if old == Some(new) && is_written => {}
            Some(new) => {
                self.head.written.insert(key.to_owned(), self.head.save);
                self.put(key, new);
            }
            None => {
                if self.head.written.remove(key).is_some() {
                    self.changes.insert(key.to_owned(), None);
                }
            }
        }
    }

    fn history(&mut self, old: &[Event], new: &[Event]) {
        self.head.first_event = self.series(EVENT, self.head.first_event, old, new);
        self.head.events = new.len() as u64;
    }

    fn reports(&mut self, old: &[DeploymentReport], new: &[DeploymentReport]) {
        self.head.first_report = self.series(REPORT, self.head.first_report, old, new);
        self.head.reports = new.len() as u64;
    }

    /// Writes what only grows at its end and is cut at its front; returns the number of
    /// the first that stays.
    fn series<T: Serialize + PartialEq>(
        &mut self,
        prefix: &str,
        first: u64,
        old: &[T],
        new: &[T],
    ) -> u64 {
        let still_kept = |cut: &usize| new.starts_with(&old[*cut..]);
        let cut = (0..=old.len()).find(still_kept).unwrap_or(old.len());
        let first_kept = first + cut as u64;
        for number in first..first_kept {
            self.changes.insert(key_in(prefix, number), None);
        }
        for (place, item) in new.iter().enumerate().skip(old.len() - cut) {
            self.put(&key_in(prefix, first_kept + place as u64), item);
        }
        first_kept
    }

    fn seal(&mut self) {
        let head = self.head.clone();
        self.put(HEAD, &head);
    }

    fn put<T: Serialize>(&mut self, key: &str, body: &T) {
        let body = serde_json::to_vec(body).expect("plain data with string keys serialises");
        let number = self.head.save.to_be_bytes();
        let mut value = number.to_vec();
        value.extend_from_slice(&checksum(key, &number, &body));
        value.extend_from_slice(&body);
        self.changes.insert(key.to_owned(), Some(value));
    }
}

struct Reading<'a> {
    rows: &'a BTreeMap<String, Vec<u8>>,
    head: Head,
    losses: Vec<String>,
}

impl Reading<'_> {
    fn read_head(&mut self) {
        match self.whole::<Head>(HEAD) {
            Some((number, head)) if number == head.save => self.head = head,
            Some(_) | None => {
                self.losses.push("its head is missing or damaged".to_owned());
                self.head = self.guess_head();
            }
        }
    }

    /// Returns the head that the records themselves speak for.
    fn guess_head(&self) -> Head {
        let number = |key: &String| Some((key.clone(), self.checked(key)?.0));
        let whole: Vec<(String, u64)> =
            self.rows.keys().filter(|key| *key != HEAD).filter_map(number).collect();
        let save = whole.iter().map(|(_, save)| *save).max().unwrap_or(0);
        let is_in_series = |key: &str| key.starts_with(EVENT) || key.starts_with(REPORT);
        let (first_event, events) = range(EVENT, whole.iter().map(|(key, _)| key.as_str()));
        let (first_report, reports) = range(REPORT, whole.iter().map(|(key, _)| key.as_str()));
        let written = whole.into_iter().filter(|(key, _)| !is_in_series(key)).collect();
        Head { save, written, first_event, events, first_report, reports }
    }

    fn service_names(&self) -> Vec<ServiceName> {
        let named = |key: &String| key.strip_prefix(SERVICE)?.parse().ok();
        self.head.written.keys().filter_map(named).collect()
    }

    /// Returns a record that the head speaks of, and notes if it is not whole.
    fn record<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let expected = *self.head.written.get(key)?;
        match self.whole(key) {
            Some((number, body)) if number == expected => Some(body),
            Some((number, body)) => {
                self.losses.push(format!("`{key}` is of save {number}, not of {expected}"));
                Some(body)
            }
            None => {
                let state = if self.rows.contains_key(key) { "damaged" } else { "missing" };
                self.losses.push(format!("`{key}` is {state}"));
                None
            }
        }
    }

    fn history(&mut self) -> Vec<Event> {
        let count = self.head.events.min(MAX_HISTORY as u64);
        self.series(EVENT, self.head.first_event, count, "history events")
    }

    fn reports(&mut self) -> Vec<DeploymentReport> {
        let count = self.head.reports.min(MAX_REPORTS as u64);
        self.series(REPORT, self.head.first_report, count, "deployment reports")
    }

    fn series<T: DeserializeOwned>(
        &mut self,
        prefix: &str,
        first: u64,
        count: u64,
        what: &str,
    ) -> Vec<T> {
        let whole: Vec<T> = (first..first.saturating_add(count))
            .filter_map(|number| Some(self.whole(&key_in(prefix, number))?.1))
            .collect();
        let lost = count - whole.len() as u64;
        if lost > 0 {
            self.losses.push(format!("{lost} of {count} {what} are missing or damaged"));
        }
        whole
    }

    fn whole<T: DeserializeOwned>(&self, key: &str) -> Option<(u64, T)> {
        let (number, body) = self.checked(key)?;
        Some((number, serde_json::from_slice(body).ok()?))
    }

    fn checked(&self, key: &str) -> Option<(u64, &[u8])> {
        let value = self.rows.get(key)?;
        let (number, rest) = value.split_first_chunk::<NUMBER_BYTES>()?;
        let (sum, body) = rest.split_first_chunk::<CHECKSUM_BYTES>()?;
        (*sum == checksum(key, number, body)).then_some((u64::from_be_bytes(*number), body))
    }
}

fn checksum(key: &str, number: &[u8; NUMBER_BYTES], body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Sha256::new();
    hash.update((key.len() as u64).to_be_bytes());
    hash.update(key.as_bytes());
    hash.update(number);
    hash.update(body);
    *hash.finalize().first_chunk().expect("SHA-256 has 32 bytes")
}

fn key_in(prefix: &str, number: u64) -> String {
    format!("{prefix}{number:016x}")
}

/// Returns the first number of a series, and how many there are up to its last.
fn range<'k>(prefix: &str, keys: impl Iterator<Item = &'k str>) -> (u64, u64) {
    let number = |key: &str| u64::from_str_radix(key.strip_prefix(prefix)?, 16).ok();
    let numbers: Vec<u64> = keys.filter_map(number).collect();
    match (numbers.iter().min(), numbers.iter().max()) {
        (Some(first), Some(last)) => (*first, last - first + 1),
        (None, _) | (_, None) => (0, 0),
    }
}
