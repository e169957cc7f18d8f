//! `quaymaster history`: what happened.

use jiff::tz::TimeZone;

use super::{
    args::{Globals, HistoryArgs, Output},
    client::{Client, ClientError},
    error::CommandError,
    exit::Exit,
    in_force::remembered,
    outcome, print,
    view::{self, Page},
};
use crate::server::api::HistoryPage;

/// Shows the last events, oldest first.
pub async fn history(globals: &Globals, args: &HistoryArgs) -> Result<Exit, CommandError> {
    let mut events = match Client::new(&globals.socket)?.history(None).await {
        Ok(events) => events,
        Err(ClientError::NoController(_)) => remembered(globals, &args.file).await?.history,
        Err(error) => return Err(error.into()),
    };
    if let Some(service) = &args.service {
        events.retain(|event| event.service == *service);
        if events.is_empty() {
            outcome::say_nothing_known(service);
        }
    }
    let events = events[events.len().saturating_sub(args.tail)..].to_vec();
    match globals.output() {
        Output::Json => print::json(&HistoryPage { events })?,
        Output::People => {
            print::lines(&view::history::render(Page::of_stdout(), &events, &TimeZone::system()))?;
        }
    }
    Ok(Exit::Done)
}
