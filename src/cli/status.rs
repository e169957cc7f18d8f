//! `quaymaster status`: how every service stands.

use std::time::Duration;

use tracing::info;

use super::{
    args::{FileOption, Globals, Output, StatusArgs},
    client::{Client, ClientError},
    error::CommandError,
    exit::Exit,
    look::Onlooker,
    print, report,
    screen::Screen,
    view::{self, Ink, Page},
};
use crate::{controller::StatusReport, domain::manifest::AllowDeleteAll};

/// How many of a failed release's log lines are shown without being asked for.
const LOG_LINES: usize = 8;

/// The time between two looks of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Shows how the stack stands, once or until interrupted.
pub async fn status(globals: &Globals, args: &StatusArgs) -> Result<Exit, CommandError> {
    if !args.watch {
        show(globals.output(), &look_once(globals, &args.file).await?)?;
        return Ok(Exit::Done);
    }
    let mut viewer = Viewer::new(globals, &args.file)?;
    if globals.output() == Output::People && Page::of_stdout().width.is_some() {
        redraw(&mut viewer).await
    } else {
        follow(globals.output(), &mut viewer).await
    }
}

/// Returns how the stack stands: as the running controller says, else as it can
/// be seen from here.
///
/// # Errors
///
/// Fails if the controller does not answer though it runs; without one, if the
/// file is bad or Docker cannot be reached.
pub async fn look_once(globals: &Globals, file: &FileOption) -> Result<StatusReport, CommandError> {
    Viewer::new(globals, file)?.look().await
}

/// Where reports come from: the controller whenever one answers.
struct Viewer<'a> {
    globals: &'a Globals,
    file: &'a FileOption,
    client: Client,
    onlooker: Option<Onlooker>,
}

impl<'a> Viewer<'a> {
    fn new(globals: &'a Globals, file: &'a FileOption) -> Result<Viewer<'a>, CommandError> {
        let client = Client::new(&globals.socket)?;
        Ok(Viewer { globals, file, client, onlooker: None })
    }

    async fn look(&mut self) -> Result<StatusReport, CommandError> {
        match self.client.status().await {
            Ok(report) => {
                self.onlooker = None;
                return Ok(report);
            }
            Err(ClientError::NoController(socket)) => {
                if self.onlooker.is_none() {
                    info!("no controller answers at {}: looking from here", socket.display());
                }
            }
            Err(error) => return Err(error.into()),
        }
        let onlooker = match &mut self.onlooker {
            Some(onlooker) => onlooker,
            none => {
                let file = self.file.or_default()?;
                none.insert(Onlooker::open(self.globals, &file, AllowDeleteAll::Yes).await?)
            }
        };
        Ok(onlooker.status().await)
    }
}

fn show(output: Output, report: &StatusReport) -> Result<(), CommandError> {
    match output {
        Output::Json => print::json(report),
        Output::People => print::lines(&view::status::render(Page::of_stdout(), report, LOG_LINES)),
    }
}

/// Draws over what was drawn before. A controller that restarts is waited for.
async fn redraw(viewer: &mut Viewer<'_>) -> Result<Exit, CommandError> {
    let mut screen = Screen::of_stdout();
    let mut last = None;
    loop {
        let trouble = match viewer.look().await {
            Ok(report) => {
                last = Some(report);
                None
            }
            Err(error) if last.is_none() => return Err(error),
            Err(error) => Some(error),
        };
        let page = Page::of_stdout();
        let mut lines: Vec<String> =
            last.iter().flat_map(|report| view::status::render(page, report, LOG_LINES)).collect();
        if let Some(error) = trouble {
            lines.insert(0, page.paint(Ink::Warning, &format!("As it was: {error}")));
        }
        screen.draw(&lines).map_err(CommandError::Print)?;
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

/// Prints what changes, a line each.
async fn follow(output: Output, viewer: &mut Viewer<'_>) -> Result<Exit, CommandError> {
    let mut last: Option<StatusReport> = None;
    let mut in_trouble = false;
    loop {
        match viewer.look().await {
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
