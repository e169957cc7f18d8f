//! Who is to be told what, now.
//!
//! Pure: what there is to tell stands in the outbox of the memory, and so does how
//! far everybody has been told. Delivering it is an effect in the background, of which
//! no other decision knows.

use std::{collections::BTreeSet, time::Duration};

use crate::domain::{
    Commit, Delivery, Fingerprint, Letter, Memory, News, ServiceName, Stack,
    memory::{Event, EventKind, HeldBy},
    news::{
        About, CommitState, CommitStatus, DeliveryEnd, FileNoted, Sender, StatusGivenUp, StatusTold,
    },
    telling::{ReceiverId, StatusTarget, Topic},
    time::Now,
};

use super::{Plan, ServiceState};

/// What is older is not news any more.
const FRESH: Duration = Duration::from_secs(3600);

/// The most that is handed over for one receiver at a time.
const MAX_IN_HAND: usize = 20;

/// How long a commit status rests that the courier gave up. News are told once or not
/// at all, but a status says how a commit stands, and a wrong one blocks its merge for
/// ever.
const STATUS_REST: Duration = Duration::from_secs(600);

/// The longest description of a commit status: GitHub takes no more characters.
const MAX_DESCRIPTION_CHARS: usize = 140;

/// How the file and its branch stand.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSeen<'a> {
    /// The report for people, if the file is bad.
    pub problem: Option<&'a str>,
    /// The commit that is read; None without Git.
    pub commit: Option<&'a Commit>,
    pub subject: Option<&'a str>,
    /// Where the branch was rewritten to, while it is not followed there.
    pub refused: Option<&'a Commit>,
}

/// Takes what happened to a service into the outbox. An operator's rollback is told of
/// when it has happened, and what is only found is no news.
pub fn note(memory: &mut Memory, event: &Event) {
    let service = memory.services.get(&event.service);
    let is_operators = |hold: &crate::domain::memory::Hold| hold.by == HeldBy::Operator;
    let deployment = service.and_then(|service| service.deployment.as_ref());
    let is_its = |release| release == event.release.as_ref() || event.release.is_none();
    let (is_news, deployment) = match event.kind {
        EventKind::Held => {
            let hold = service.and_then(|service| service.hold.as_ref());
            let of = deployment.filter(|it| is_its(it.report.release.as_ref()));
            (!hold.is_some_and(is_operators), of)
        }
        EventKind::Promoted | EventKind::Good => {
            let of = deployment.filter(|it| is_its(it.report.release.as_ref()));
            (of.is_some(), of)
        }
        EventKind::RolledBack
        | EventKind::Started
        | EventKind::Passed
        | EventKind::Approved
        | EventKind::Superseded
        | EventKind::Retried => (true, deployment),
    };
    if !is_news {
        return;
    }
    let about = About::Service {
        event: event.clone(),
        deployment: deployment.map(|it| Box::new(it.report.clone())),
    };
    let (at_unix_ms, topic) = (event.at_unix_ms, Topic::from(event.kind));
    memory.outbox.note(|number| News { number, since: None, at_unix_ms, topic, about });
}

/// Returns what is to be known before this pass looks at anything: who is told from
/// now on, what they have been told, and what is news of the file.
pub fn prepare(
    stack: &Stack,
    memory: &Memory,
    file: FileSeen<'_>,
    deliveries: &[Delivery],
    now: Now,
) -> Memory {
    let mut memory = memory.clone();
    for Delivery { letter, end } in deliveries {
        learn(&mut memory, letter, *end, now);
    }
    let outbox = &mut memory.outbox;
    outbox.status_given_up.take_if(|given_up| now.at >= given_up.at + STATUS_REST);
    let receivers = &stack.telling.receivers;
    let ids: BTreeSet<ReceiverId> = receivers.iter().map(|receiver| receiver.id()).collect();
    outbox.told.retain(|id, _| ids.contains(id));
    for id in ids {
        // Whoever is new is told nothing old.
        outbox.told.entry(id).or_insert(outbox.last);
    }
    note_file(&mut memory, file, now);
    let outbox = &mut memory.outbox;
    for news in &mut outbox.news {
        news.since.get_or_insert(now.at);
    }
    let told = &outbox.told;
    outbox.news.retain(|news| {
        let is_fresh = news.since.is_none_or(|since| now.at < since + FRESH);
        is_fresh
            && receivers.iter().any(|receiver| {
                receiver.on.contains(&news.topic)
                    && told.get(&receiver.id()).is_some_and(|told| *told < news.number)
            })
    });
    memory
}

fn learn(memory: &mut Memory, letter: &Letter, end: DeliveryEnd, now: Now) {
    let receiver = letter.receiver();
    match letter {
        Letter::News { news, .. } => {
            if let Some(told) = memory.outbox.told.get_mut(&receiver) {
                *told = news.number.max(*told);
            }
        }
        Letter::Status { to, status, .. } => {
            let told = StatusTold { to: receiver, status: status.clone() };
            let outbox = &mut memory.outbox;
            match end {
                DeliveryEnd::Told => {
                    outbox.status = Some(told);
                    outbox.status_given_up = None;
                }
                DeliveryEnd::GivenUp => {
                    let token = Fingerprint::of(&to.token);
                    outbox.status_given_up = Some(StatusGivenUp { told, token, at: now.at });
                }
            }
        }
    }
}

fn note_file(memory: &mut Memory, file: FileSeen<'_>, now: Now) {
    if memory.outbox.told.is_empty() {
        memory.outbox.file = FileNoted::default();
        return;
    }
    let seen = FileNoted { is_bad: file.problem.is_some(), refused: file.refused.cloned() };
    let before = std::mem::replace(&mut memory.outbox.file, seen);
    let seen = memory.outbox.file.clone();
    let mut tell = |topic, text: &str, commit: Option<&Commit>, subject: Option<&str>| {
        let subject = subject.map(str::to_owned);
        let about = About::File { text: text.to_owned(), commit: commit.cloned(), subject };
        let at_unix_ms = now.unix_ms;
        memory.outbox.note(|number| News { number, since: None, at_unix_ms, topic, about });
    };
    match (before.is_bad, file.problem) {
        (false, Some(problem)) => tell(Topic::FileInvalid, problem, file.commit, file.subject),
        (true, None) => tell(Topic::FileValid, "", file.commit, file.subject),
        (false, None) | (true, Some(_)) => {}
    }
    if let Some(refused) = seen.refused.as_ref().filter(|_| seen.refused != before.refused) {
        tell(Topic::BranchRefused, "", Some(refused), None);
    }
}

/// Returns everything that is to be delivered now, those of one receiver in their order.
pub fn due(stack: &Stack, memory: &Memory, plan: &Plan, file: FileSeen<'_>) -> Vec<Letter> {
    let telling = &stack.telling;
    let from = Sender { stack: stack.name.clone(), host: telling.host.clone() };
    let mut letters = Vec::new();
    for to in &telling.receivers {
        let Some(told) = memory.outbox.told.get(&to.id()) else { continue };
        let wanted = memory
            .outbox
            .news
            .iter()
            .filter(|news| news.number > *told && to.on.contains(&news.topic));
        letters.extend(wanted.take(MAX_IN_HAND).map(|news| Letter::News {
            to: to.clone(),
            from: from.clone(),
            news: Box::new(news.clone()),
        }));
    }
    if let Some(to) = &telling.status
        && let Some(status) = status_to_tell(stack, memory, plan, file, &to.id())
        && !rests(memory, to, &status)
    {
        letters.push(Letter::Status { to: to.clone(), from, status });
    }
    letters
}

fn status_to_tell(
    stack: &Stack,
    memory: &Memory,
    plan: &Plan,
    file: FileSeen<'_>,
    to: &ReceiverId,
) -> Option<CommitStatus> {
    let status = match (file.problem, file.commit) {
        (Some(problem), Some(commit)) if stack.commit.as_ref() != Some(commit) => {
            let first = problem.lines().map(str::trim).find(|line| !line.is_empty());
            let first = first.map_or(String::new(), |line| format!(": {line}"));
            let description = shorten(&format!("the file is not valid{first}"));
            CommitStatus { commit: commit.clone(), state: CommitState::Error, description }
        }
        (Some(_) | None, _) => {
            let commit = stack.commit.clone()?;
            let (state, description) = standing(stack, memory, plan)?;
            CommitStatus { commit, state, description: shorten(&description) }
        }
    };
    let told = memory.outbox.status.as_ref();
    let told = told.filter(|told| told.to == *to && told.status.commit == status.commit);
    match (told.map(|told| told.status.state), status.state) {
        (Some(told), state) if told == state => None,
        // What has come out well stays so while a replica is replaced.
        (Some(CommitState::Success), CommitState::Pending) => None,
        (Some(_) | None, _) => Some(status),
    }
}

/// Returns whether the forge did not take just this a short while ago.
fn rests(memory: &Memory, to: &StatusTarget, status: &CommitStatus) -> bool {
    memory.outbox.status_given_up.as_ref().is_some_and(|given_up| {
        let told = &given_up.told;
        told.to == to.id()
            && told.status.commit == status.commit
            && told.status.state == status.state
            && given_up.token == Fingerprint::of(&to.token)
    })
}

/// Returns how this host stands to the commit in force; None while too little is seen.
fn standing(stack: &Stack, memory: &Memory, plan: &Plan) -> Option<(CommitState, String)> {
    let states: Vec<(&ServiceName, ServiceState, &str)> = stack
        .services
        .keys()
        .map(|name| match plan.services.get(name) {
            Some(service) => (name, service.state, service.reason.as_str()),
            None => (name, ServiceState::Unknown, ""),
        })
        .collect();
    let is_gone_back = |name: &ServiceName| {
        let hold = memory.services.get(name).and_then(|service| service.hold.as_ref());
        hold.is_some_and(|hold| {
            hold.by == HeldBy::Operator && hold.declaration == stack.services[name].declaration()
        })
    };
    let failed =
        states.iter().find(|(name, state, _)| *state == ServiceState::Held || is_gone_back(name));
    if let Some((name, _, reason)) = failed {
        return Some((CommitState::Failure, format!("{name}: {reason}")));
    }
    if states.iter().any(|(_, state, _)| *state == ServiceState::Unknown) {
        return None;
    }
    let under_way: Vec<&str> = states
        .iter()
        .filter(|(_, state, _)| *state != ServiceState::Settled)
        .map(|(name, ..)| name.as_str())
        .collect();
    let text = match (under_way.is_empty(), &states[..]) {
        (false, _) => {
            return Some((CommitState::Pending, format!("rolling out {}", under_way.join(", "))));
        }
        (true, []) => "nothing of it is for this host".to_owned(),
        (true, [(name, ..)]) => format!("{name} runs as declared"),
        (true, all) => format!("all {} services run as declared", all.len()),
    };
    Some((CommitState::Success, text))
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_DESCRIPTION_CHARS) {
        Some(_) => text.chars().take(MAX_DESCRIPTION_CHARS - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}
