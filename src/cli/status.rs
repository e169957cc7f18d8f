//! `quaymaster status`: how every service stands.

use std::time::Duration;

use super::{
    args::{Globals, Output, StatusArgs},
    client::Client,
    error::CommandError,
    exit::Exit,
    print, report,
    screen::Screen,
    view::{self, Ink, Page},
};
use crate::controller::StatusReport;

/// The time between two looks of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Shows how the stack stands, once or until interrupted.
pub async fn status(globals: &Globals, args: &StatusArgs) -> Result<Exit, CommandError> {
    let client = Client::new(&globals.socket)?;
    if !args.watch {
        show(globals.output(), &look(&client).await?)?;
        return Ok(Exit::Done);
    }
    if globals.output() == Output::People && Page::of_stdout().width.is_some() {
        redraw(&client).await
    } else {
        follow(globals.output(), &client).await
    }
}

async fn look(client: &Client) -> Result<StatusReport, CommandError> {
    Ok(client.status().await?)
}

fn show(output: Output, report: &StatusReport) -> Result<(), CommandError> {
    match output {
        Output::Json => print::json(report),
        Output::People => print::lines(&view::status::render(Page::of_stdout(), report)),
    }
}

/// Draws over what was drawn before. A controller that restarts is waited for.
async fn redraw(client: &Client) -> Result<Exit, CommandError> {
    let mut screen = Screen::of_stdout();
    let mut last = None;
    loop {
        let trouble = match look(client).await {
            Ok(report) => {
                last = Some(report);
                None
            }
            Err(error) if last.is_none() => return Err(error),
            Err(error) => Some(error),
        };
        let page = Page::of_stdout();
        let mut lines: Vec<String> =
            last.iter().flat_map(|report| view::status::render(page, report)).collect();
        if let Some(error) = trouble {
            lines.insert(0, page.paint(Ink::Warning, &format!("As it was: {error}")));
        }
        screen.draw(&lines).map_err(CommandError::Print)?;
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

/// Prints what changes, a line each.
async fn follow(output: Output, client: &Client) -> Result<Exit, CommandError> {
    let mut last: Option<StatusReport> = None;
    let mut in_trouble = false;
    loop {
        match look(client).await {
            Ok(report) => {
                in_trouble = false;
                follow_one(output, last.as_ref(), &report)?;
                last = Some(report);
            }
            Err(error) if last.is_none() => return Err(error),
            Err(error) if !in_trouble => {
                in_trouble = true;
                eprintln!("{}", report::render(Page::of_stderr(), output, &error));
            }
            Err(_) => {}
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

fn follow_one(
    output: Output,
    last: Option<&StatusReport>,
    report: &StatusReport,
) -> Result<(), CommandError> {
    let lines = view::progress::changes(Page::of_stdout(), last, report);
    if lines.is_empty() {
        return Ok(());
    }
    match output {
        Output::Json => print::json_line(report),
        Output::People => print::lines(&lines),
    }
}
