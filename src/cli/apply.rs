//! `quaymaster apply`: converge once, wait for it, exit.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::{
    args::{ApplyArgs, Globals, Output},
    bars::Bars,
    error::CommandError,
    exit::Exit,
    outcome,
    session::{EndSignals, Session},
    view::{self, Page},
};
use crate::{
    controller::{
        StatusReport,
        run::{Ended, Lines, Until},
    },
    domain::time::human,
    plan::ServiceState,
};

/// Converges, and shows how it goes.
pub async fn apply(globals: &Globals, args: &ApplyArgs) -> Result<Exit, CommandError> {
    let mut signals = EndSignals::listen()?;
    let session = Session::open(globals, &args.converge, Until::Converged).await?;
    let (status, seen) = watch::channel(None);
    let (_requests, asked) = mpsc::channel(1);
    let lines = Lines { wakes: session.wakes, waker: session.waker, requests: asked, status };
    let showing = tokio::spawn(show(globals.output(), seen.clone()));
    let mut given_up = None;
    let stop = async {
        tokio::select! {
            () = signals.next() => {}
            after = passed(args.timeout) => given_up = Some(after),
        }
    };
    let ended = session.controller.run(lines, Until::Converged, stop, || {}).await;
    // The sender is gone with the controller, so this ends after the last report.
    let _ = showing.await;
    drop(session.hold);

    let report = seen.borrow().clone();
    conclude(globals.output(), ended, given_up, report.as_ref())
}

/// Returns once this time has passed; never, if there is none.
async fn passed(timeout: Option<Duration>) -> Duration {
    match timeout {
        Some(timeout) => {
            tokio::time::sleep(timeout).await;
            timeout
        }
        None => std::future::pending().await,
    }
}

fn conclude(
    output: Output,
    ended: Ended,
    given_up: Option<Duration>,
    report: Option<&StatusReport>,
) -> Result<Exit, CommandError> {
    if let Some(report) = report {
        outcome::show(output, report)?;
    }
    match (ended, report) {
        (Ended::Stopped, _) => {
            let why = match given_up {
                Some(after) => format!("Not done within {}.", human(after)),
                None => "Interrupted before it was done.".to_owned(),
            };
            eprintln!(
                "{why} Everything that runs is left running; `quaymaster apply` goes on from here."
            );
            Ok(Exit::Failed)
        }
        (Ended::Converged, Some(report)) => Ok(exit(report)),
        (Ended::Converged, None) => Ok(Exit::Done),
    }
}

fn exit(report: &StatusReport) -> Exit {
    match report.state {
        ServiceState::Settled => Exit::Done,
        ServiceState::Progressing
        | ServiceState::Degraded
        | ServiceState::Held
        | ServiceState::Unknown => Exit::Failed,
    }
}

/// Shows each report: bars on a terminal, else a line for each change.
async fn show(output: Output, mut seen: watch::Receiver<Option<StatusReport>>) {
    let page = Page::of_stderr();
    let mut bars = (output == Output::People && page.width.is_some()).then(Bars::new);
    let mut before: Option<StatusReport> = None;
    while seen.changed().await.is_ok() {
        let Some(report) = seen.borrow_and_update().clone() else { continue };
        match &mut bars {
            Some(bars) => bars.show(page, &report),
            None => {
                for line in view::progress::changes(page, before.as_ref(), &report) {
                    eprintln!("{line}");
                }
            }
        }
        before = Some(report);
    }
    if let Some(bars) = bars {
        bars.clear();
    }
}
