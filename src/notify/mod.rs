//! The courier: one task for everybody who has something to be told.
//!
//! [`Courier`] keeps one line of letters for each receiver, and one task that delivers
//! them in their order, again and again with growing pauses, and gives one up after
//! some minutes. `parcel` says what is sent (`chat` writes what people read, `forge`
//! what GitHub, GitLab and Gitea do), `verdict` what an answer means. What is to be
//! told is decided elsewhere, from what is remembered; nothing here is lost that the
//! next [`Notifier::deliver`] would not name again.

mod chat;
mod forge;
mod parcel;
mod verdict;

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::FutureExt;
use tokio::{sync::Notify, time::Instant};
use tracing::{info, warn};

use crate::{
    domain::{Delivery, Letter, ReceiverId, Unreached, news::DeliveryEnd},
    http::{Connector, NoAnswer, Question, Route, Wants, ask},
    ports::Notifier,
};

use parcel::Parcel;
use verdict::Verdict;

/// How long one try may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);

/// The pauses between tries: 1 s, doubled each time, a minute at the most. Eight tries
/// take some two minutes, or four where nobody answers.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const TRIES: usize = 8;

/// The longest that a receiver is believed who says when to come back.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// After how many failures in a row somebody counts as not reached.
const FAILURES_TO_TELL: u32 = 3;

/// Called when a letter needs no more effort.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Delivers letters over HTTP.
pub struct Courier(Arc<Inner>);

struct Inner {
    connector: Connector,
    wake: Wake,
    lines: Mutex<BTreeMap<ReceiverId, Line>>,
}

/// The letters of one receiver.
#[derive(Default)]
struct Line {
    letters: Vec<Letter>,
    /// What came of those that the loop has not heard of.
    ended: Vec<Delivery>,
    failures: u32,
    unreached: Option<Unreached>,
    is_at_work: bool,
    /// Told when `letters` may have changed.
    changed: Arc<Notify>,
}

impl Courier {
    pub fn new(wake: Wake) -> Courier {
        let lines = Mutex::default();
        Courier(Arc::new(Inner { connector: Connector::by_environment(), wake, lines }))
    }
}

/// Must be used inside a runtime: each receiver's letters are delivered by a task of it.
impl Notifier for Courier {
    fn deliver(&self, letters: Vec<Letter>) {
        let mut wanted: BTreeMap<ReceiverId, Vec<Letter>> = BTreeMap::new();
        for letter in letters {
            wanted.entry(letter.receiver()).or_default().push(letter);
        }
        let mut lines = self.0.lines();
        for (receiver, line) in lines.iter_mut() {
            line.want(wanted.remove(receiver).unwrap_or_default());
        }
        for (receiver, letters) in wanted {
            let line = lines.entry(receiver).or_default();
            line.want(letters);
        }
        for (receiver, line) in lines.iter_mut() {
            if !line.is_at_work && !line.letters.is_empty() {
                line.is_at_work = true;
                tokio::spawn(work_off(Arc::clone(&self.0), receiver.clone()));
            }
        }
    }

    fn take_delivered(&self) -> Vec<Delivery> {
        let mut lines = self.0.lines();
        lines.values_mut().flat_map(|line| std::mem::take(&mut line.ended)).collect()
    }

    fn unreached(&self) -> BTreeMap<ReceiverId, Unreached> {
        let lines = self.0.lines();
        let unreached =
            |(id, line): (&ReceiverId, &Line)| Some((id.clone(), line.unreached.clone()?));
        lines.iter().filter_map(unreached).collect()
    }
}

impl Line {
    /// What has come to its end, and is only not known of yet, is not begun again.
    fn want(&mut self, mut letters: Vec<Letter>) {
        letters.retain(|it| !self.ended.iter().any(|ended| ended.letter.key() == it.key()));
        self.letters = letters;
        self.changed.notify_one();
    }

    fn wants(&self, letter: &Letter) -> bool {
        self.letters.iter().any(|it| it.key() == letter.key())
    }

    fn end(&mut self, letter: &Letter, end: DeliveryEnd) {
        self.letters.retain(|it| it.key() != letter.key());
        self.ended.push(Delivery { letter: letter.clone(), end });
    }
}

impl Inner {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<ReceiverId, Line>> {
        // Whole values are stored under this lock, so one that a panic left behind is
        // as good as any.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, receiver: &ReceiverId, change: impl FnOnce(&mut Line) -> T) -> T {
        change(self.lines().entry(receiver.clone()).or_default())
    }

    /// Returns the next letter of a receiver; without one, its task is over.
    fn next(&self, receiver: &ReceiverId) -> Option<Letter> {
        self.with(receiver, |line| {
            let next = line.letters.first().cloned();
            line.is_at_work = next.is_some();
            next
        })
    }
}

/// Delivers the letters of one receiver until there are none.
async fn work_off(inner: Arc<Inner>, receiver: ReceiverId) {
    while let Some(letter) = inner.next(&receiver) {
        let carried = carry(&inner, &receiver, &letter);
        if let Some(end) = or_give_up(&inner, &receiver, &letter, carried).await {
            inner.with(&receiver, |line| line.end(&letter, end));
            (inner.wake)();
        }
    }
}

/// A letter whose delivery panics is given up: the line would count as being at work for
/// ever, and nobody behind it would be told.
async fn or_give_up(
    inner: &Inner,
    receiver: &ReceiverId,
    letter: &Letter,
    carried: impl Future<Output = Option<DeliveryEnd>>,
) -> Option<DeliveryEnd> {
    // What it leaves behind is in order: whole values are stored, under the lock.
    match AssertUnwindSafe(carried).catch_unwind().await {
        Ok(end) => end,
        Err(_) => {
            let why = "writing to it failed by a mistake of Quaymaster's, which the log shows";
            inner.with(receiver, |line| line.failed(letter.addressee(), why, u32::MAX));
            Some(DeliveryEnd::GivenUp)
        }
    }
}

/// Tries until somebody takes a letter, refuses it, or it was tried long enough; None if
/// it is not wanted any more.
async fn carry(inner: &Inner, receiver: &ReceiverId, letter: &Letter) -> Option<DeliveryEnd> {
    let name = letter.addressee();
    let changed = inner.with(receiver, |line| Arc::clone(&line.changed));
    let mut pauses = ExponentialBuilder::new()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_max_times(TRIES - 1)
        .with_jitter()
        .build();
    loop {
        let (why, pause) = match deliver_once(&inner.connector, letter).await {
            Verdict::Taken => {
                let was_unreached = inner.with(receiver, Line::reached);
                if was_unreached {
                    info!(to = name, "told again");
                }
                return Some(DeliveryEnd::Told);
            }
            Verdict::Refused(why) => {
                inner.with(receiver, |line| line.failed(name, &why, u32::MAX));
                warn!(to = name, "not told, and not tried again: {why}");
                return Some(DeliveryEnd::GivenUp);
            }
            Verdict::Later { why, after } => (why, after),
        };
        inner.with(receiver, |line| line.failed(name, &why, line.failures.saturating_add(1)));
        let Some(own_pause) = pauses.next() else {
            warn!(to = name, "not told after {TRIES} tries, and given up: {why}");
            return Some(DeliveryEnd::GivenUp);
        };
        let pause = pause.map_or(own_pause, |after| after.min(LONGEST_RETRY_AFTER).max(own_pause));
        let until = Instant::now() + pause;
        while Instant::now() < until {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = changed.notified() => {
                    let is_wanted = inner.with(receiver, |line| line.wants(letter));
                    if !is_wanted {
                        return None;
                    }
                }
            }
        }
    }
}

impl Line {
    /// Returns whether it was thought not to be.
    fn reached(&mut self) -> bool {
        self.failures = 0;
        self.unreached.take().is_some()
    }

    fn failed(&mut self, name: &str, why: &str, failures: u32) {
        self.failures = failures;
        if failures < FAILURES_TO_TELL {
            return;
        }
        if self.unreached.is_none() {
            warn!(to = name, "cannot be told: {why}");
        }
        self.unreached = Some(Unreached { name: name.to_owned(), why: why.to_owned() });
    }
}

async fn deliver_once(connector: &Connector, letter: &Letter) -> Verdict {
    let parcel = match Parcel::of(letter) {
        Ok(parcel) => parcel,
        Err(why) => return Verdict::Refused(why),
    };
    let question = Question {
        url: parcel.url,
        headers: &parcel.headers,
        route: Route::ByEnvironment,
        wants: Wants::Body,
        host: None,
        post: Some(parcel.post),
    };
    match ask(connector, &question, Instant::now() + TRY_TIMEOUT).await {
        Ok(answer) => verdict::of(letter, &answer, &parcel.secrets),
        Err(NoAnswer::Unreached(why) | NoAnswer::Broken(why)) => {
            Verdict::Later { why: parcel.secrets.in_a_few_words(&why), after: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Secret,
        news::{CommitState, CommitStatus, Sender},
        telling::{Forge, StatusTarget},
    };

    #[tokio::test]
    async fn a_delivery_that_panics_is_given_up_and_the_line_goes_on() {
        let courier = Courier::new(Arc::new(|| {}));
        let to = StatusTarget {
            forge: Forge::GitHub,
            api: Secret::new("http://forge"),
            repository: "a/b".to_owned(),
            token: Secret::new("t"),
        };
        let from = Sender { stack: "shop".parse().expect("a name"), host: "edge".to_owned() };
        let commit = "a".repeat(40).parse().expect("a commit");
        let status =
            CommitStatus { commit, state: CommitState::Success, description: String::new() };
        let letter = Letter::Status { to, from, status };
        let receiver = letter.receiver();
        let end =
            or_give_up(&courier.0, &receiver, &letter, async { panic!("a mistake of ours") }).await;
        assert_eq!(end, Some(DeliveryEnd::GivenUp));
        assert!(courier.unreached()[&receiver].why.contains("mistake of Quaymaster's"));
        assert!(courier.0.next(&receiver).is_none());
        assert!(!courier.0.lines()[&receiver].is_at_work);
    }
}
