//! `quaymaster history`: what happened.

use jiff::tz::TimeZone;

use super::{
    args::{Globals, HistoryArgs, Output},
    client::Client,
    error::CommandError,
    exit::Exit,
    print,
    view::{self, Page},
};
use crate::server::api::HistoryPage;

/// Shows the last events, oldest first.
pub async fn history(globals: &Globals, args: &HistoryArgs) -> Result<Exit, CommandError> {
    let events = Client::new(&globals.socket)?.history(args.service.as_ref()).await?;
    let events = events[events.len().saturating_sub(args.tail)..].to_vec();
    match globals.output() {
        Output::Json => print::json(&HistoryPage { events })?,
        Output::People => {
            print::lines(&view::history::render(Page::of_stdout(), &events, &TimeZone::system()))?;
        }
    }
    Ok(Exit::Done)
}
