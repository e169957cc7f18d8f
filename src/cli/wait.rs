//! `quaymaster wait`: until a commit is in force and settled.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    args::{Globals, WaitArgs},
    client::{Client, ClientError},
    error::CommandError,
    exit::Exit,
    outcome,
    public_client::PublicClient,
    view::{self, Ink, Page},
};
use crate::{
    controller::{StatusReport, status::ServiceStatus},
    domain::{CommitPrefix, ServiceName, time::human},
    plan::ServiceState,
};

/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waits, and shows how it goes.
pub async fn wait(globals: &Globals, args: &WaitArgs) -> Result<Exit, CommandError> {
    let asked = Asked::new(globals, args)?;
    let page = Page::of_stderr();
    let deadline = Instant::now() + args.timeout;
    let mut before: Option<StatusReport> = None;
    let mut said = None;
    loop {
        // While it does not answer, it may be starting.
        let seen = asked.look().await?;
        let verdict = match &seen {
            Ok(report) => judge(report, args.commit.as_ref(), &args.services)?,
            Err(why) => Verdict::Waiting(why.clone()),
        };
        match seen {
            Ok(report) => {
                for line in view::progress::changes(page, before.as_ref(), &report) {
                    eprintln!("{line}");
                }
                before = Some(report);
            }
            Err(why) if said.as_ref() != Some(&why) => {
                eprintln!("waiting for a controller: {why}");
                said = Some(why);
            }
            Err(_) => {}
        }
        match verdict {
            Verdict::Done => {
                if let Some(by) = before.as_ref().and_then(|it| overtaken_by(it, args)) {
                    eprintln!("{by}");
                }
                return end(globals, before.as_ref(), None);
            }
            Verdict::Failed(why) => return end(globals, before.as_ref(), Some(&why)),
            Verdict::Waiting(on) if Instant::now() >= deadline => {
                let why = format!("Not done within {}: {on}", human(args.timeout));
                return end(globals, before.as_ref(), Some(&why));
            }
            Verdict::Waiting(_) => {}
        }
        tokio::time::sleep(LOOK_EVERY.min(deadline - Instant::now())).await;
    }
}

/// Says which commit stands for the one that was asked for.
fn overtaken_by(report: &StatusReport, args: &WaitArgs) -> Option<String> {
    let (wanted, in_force) = (args.commit.as_ref()?, report.commit.as_ref()?);
    let is_it = wanted.is_of(in_force);
    (!is_it).then(|| format!("{} came after {wanted}, and is in force", in_force.short()))
}

fn end(
    globals: &Globals,
    report: Option<&StatusReport>,
    failure: Option<&str>,
) -> Result<Exit, CommandError> {
    if let Some(report) = report {
        outcome::show(globals.output(), report)?;
    }
    match failure {
        None => Ok(Exit::Done),
        Some(why) => {
            eprintln!("{}", Page::of_stderr().paint(Ink::Bad, why));
            Ok(Exit::Failed)
        }
    }
}

/// Who is asked.
enum Asked {
    Here(Client),
    Elsewhere(PublicClient),
}

impl Asked {
    fn new(globals: &Globals, args: &WaitArgs) -> Result<Asked, CommandError> {
        Ok(match &args.url {
            Some(url) => Asked::Elsewhere(PublicClient::new(url, args)?),
            None => Asked::Here(Client::new(&globals.socket)?),
        })
    }

    /// Returns the report, or why there is none yet.
    async fn look(&self) -> Result<Result<StatusReport, String>, CommandError> {
        match self {
            Asked::Here(client) => match client.status().await {
                Ok(report) => Ok(Ok(report)),
                Err(error @ ClientError::NotAllowed(_)) => Err(error.into()),
                Err(error) => Ok(Err(error.to_string())),
            },
            Asked::Elsewhere(client) => match client.status().await {
                Ok(report) => Ok(Ok(report)),
                Err(error) if error.may_pass() => Ok(Err(error.to_string())),
                Err(error) => Err(error.into()),
            },
        }
    }
}

/// What a report says of what is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Done,
    /// On what, for people.
    Waiting(String),
    /// Nothing comes of waiting longer, and why.
    Failed(String),
}

/// Judges whether a commit is in force and these services, or all, are settled.
///
/// # Errors
///
/// Fails if the file in force has no service of such a name.
pub fn judge(
    report: &StatusReport,
    commit: Option<&CommitPrefix>,
    services: &[ServiceName],
) -> Result<Verdict, CommandError> {
    if let Some(commit) = commit
        && let Some(verdict) = not_in_force(report, commit)
    {
        return Ok(verdict);
    }
    let mut all = Vec::new();
    for service in &report.services {
        if services.is_empty() || services.contains(&service.name) {
            all.push(service);
        }
    }
    if let Some(missing) = services.iter().find(|name| report.service(name).is_none()) {
        let known = report.services.iter().map(|service| service.name.clone()).collect();
        return Err(CommandError::NoSuchService { service: missing.clone(), known });
    }
    if let Some(failed) = all.iter().find(|service| has_failed(service)) {
        return Ok(Verdict::Failed(format!(
            "{} is {}: {}",
            failed.name, failed.state, failed.reason
        )));
    }
    let waiting = all.iter().filter(|service| service.state != ServiceState::Settled);
    let waiting: Vec<String> =
        waiting.map(|service| format!("{}: {}", service.name, why_not_yet(service))).collect();
    Ok(match waiting.is_empty() {
        true => Verdict::Done,
        false => Verdict::Waiting(waiting.join("; ")),
    })
}

fn why_not_yet(service: &ServiceStatus) -> String {
    match service.waiting_on.is_empty() {
        true => service.reason.clone(),
        false => format!("{} ({})", service.reason, service.waiting_on.join("; ")),
    }
}

/// Returns what there is to say while another commit is in force.
fn not_in_force(report: &StatusReport, wanted: &CommitPrefix) -> Option<Verdict> {
    let Some(in_force) = &report.commit else {
        let file = report.file.path.display();
        return Some(Verdict::Failed(format!("{file} is not in Git: it is of no commit")));
    };
    let git = report.file.git.as_ref();
    // What comes of a commit that another one came after is told by that one.
    if wanted.is_of(in_force) || git.is_some_and(|git| git.is_overtaken(wanted, in_force)) {
        return None;
    }
    if git.is_some_and(|git| wanted.is_of(&git.commit)) && !report.file.valid {
        return Some(Verdict::Failed(format!(
            "the file of {wanted} is not valid; {} stays in force",
            in_force.short()
        )));
    }
    let trouble = git.and_then(|git| git.trouble.as_ref());
    let trouble =
        trouble.map_or(String::new(), |why| format!("; the branch is not followed: {why}"));
    let in_force = in_force.short();
    Some(Verdict::Waiting(format!("{wanted} is not in force, {in_force} is{trouble}")))
}

/// Whether a service ends without being settled, unless somebody does something.
fn has_failed(service: &ServiceStatus) -> bool {
    match service.state {
        ServiceState::Held => true,
        ServiceState::Degraded => service.waiting_on.is_empty(),
        // Somebody has to say so, and whoever waits here is not who does.
        ServiceState::Progressing => service.to_promote,
        ServiceState::Settled | ServiceState::Unknown => false,
    }
}
