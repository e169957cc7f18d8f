//! `quaymaster logs`: what a service's replicas print.

use futures::{Stream, StreamExt, stream};
use serde_json::json;

use super::{
    args::{Globals, LogsArgs, Output},
    error::CommandError,
    exit::Exit,
    print, status,
    view::{Ink, Page},
};
use crate::{
    controller::status::{HoldStatus, ServiceStatus},
    docker::{self, Docker, LogLine, LogStream, Tail},
    domain::{Container, snapshot::Failure},
    ports::Engine,
};

/// Prints the log of the replicas that serve, of a slot, or of what is held.
pub async fn logs(globals: &Globals, args: &LogsArgs) -> Result<Exit, CommandError> {
    let name = &args.service.service;
    let report = status::look_once(globals, &args.file).await?;
    let service = report.service(name).ok_or_else(|| CommandError::NoSuchService {
        service: name.clone(),
        known: report.services.iter().map(|service| service.name.clone()).collect(),
    })?;
    if let (Some(hold), None) = (&service.hold, args.slot)
        && !hold.log.is_empty()
    {
        kept_log(globals.output(), args, service, hold)?;
        return Ok(Exit::Done);
    }
    let docker = Docker::connect(&report.stack, docker::Options::default()).await?;
    let mut replicas = docker.containers().await.map_err(CommandError::Docker)?.replicas;
    replicas.retain(|container| container.service == *name && is_meant(container, args, service));
    if replicas.is_empty() {
        return Err(CommandError::NothingRuns { service: name.clone() });
    }
    replicas.sort_by(|a, b| a.name.cmp(&b.name));
    print_all(globals.output(), args, &docker, &replicas).await?;
    Ok(Exit::Done)
}

/// Without a slot, what serves is meant; before anything does, whatever is there.
fn is_meant(container: &Container, args: &LogsArgs, service: &ServiceStatus) -> bool {
    let serves = Some(container.slot) == service.active_slot
        && Some(&container.release) == service.release.as_ref();
    match args.slot {
        Some(slot) => container.slot == slot,
        None => serves || service.release.is_none(),
    }
}

fn kept_log(
    output: Output,
    args: &LogsArgs,
    service: &ServiceStatus,
    hold: &HoldStatus,
) -> Result<(), CommandError> {
    let lines = &hold.log[hold.log.len().saturating_sub(args.tail)..];
    match output {
        Output::Json => lines.iter().try_for_each(|line| {
            print::json_line(&json!({ "image": hold.image, "held": true, "line": line }))
        }),
        Output::People => {
            let page = Page::of_stderr();
            let title = format!("{} is held: {}: {}", service.name, hold.image, hold.reason);
            eprintln!("{}", page.paint(Ink::Bad, &title));
            if let Some(slot) = service.active_slot {
                let hint = format!("What serves: quaymaster logs {} --slot {slot}", service.name);
                eprintln!("{}", page.paint(Ink::Dim, &hint));
            }
            print::lines(lines)
        }
    }
}

async fn print_all(
    output: Output,
    args: &LogsArgs,
    docker: &Docker,
    replicas: &[Container],
) -> Result<(), CommandError> {
    let tail = Tail::Last(args.tail);
    let named = |replica: &Container, line: Result<LogLine, Failure>| {
        let name = replica.name.clone();
        line.map(|line| (name, line))
    };
    if args.follow {
        let logs = replicas.iter().map(|replica| {
            docker.follow_log(&replica.id, tail).map(move |line| named(replica, line)).boxed()
        });
        return print_stream(output, replicas, stream::select_all(logs)).await;
    }
    // One after the other: lines without a time cannot be put in order.
    for replica in replicas {
        let log = docker.log_lines(&replica.id, tail).map(|line| named(replica, line));
        print_stream(output, replicas, log).await?;
    }
    Ok(())
}

async fn print_stream(
    output: Output,
    replicas: &[Container],
    log: impl Stream<Item = Result<(String, LogLine), Failure>>,
) -> Result<(), CommandError> {
    let page = Page::of_stdout();
    let width = replicas.iter().map(|replica| replica.name.len()).max().unwrap_or(0);
    let mut log = std::pin::pin!(log);
    while let Some(line) = log.next().await {
        let (name, line) = line.map_err(CommandError::Docker)?;
        let stream = match line.stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        };
        match output {
            Output::Json => {
                print::json_line(&json!({ "replica": name, "stream": stream, "line": line.text }))?
            }
            Output::People if replicas.len() > 1 => {
                let prefix = page.paint(Ink::Dim, &format!("{name:width$} │"));
                print::write(&format!("{prefix} {}\n", line.text))?;
            }
            Output::People => print::write(&format!("{}\n", line.text))?,
        }
    }
    Ok(())
}
