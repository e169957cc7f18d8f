//! `quaymaster history`: what happened.

use jiff::tz::TimeZone;

use super::{
    args::{Globals, HistoryArgs, Output},
    client::{Client, ClientError},
    error::CommandError,
    exit::Exit,
    in_force::{InForce, in_force},
    print,
    view::{self, Page},
};
use crate::{
    domain::{manifest::AllowDeleteAll, memory::Event},
    server::api::HistoryPage,
    store::Store,
};

/// Shows the last events, oldest first.
pub async fn history(globals: &Globals, args: &HistoryArgs) -> Result<Exit, CommandError> {
    let mut events = match Client::new(&globals.socket)?.history(None).await {
        Ok(events) => events,
        Err(ClientError::NoController(_)) => kept(globals, args).await?,
        Err(error) => return Err(error.into()),
    };
    if let Some(service) = &args.service {
        events.retain(|event| event.service == *service);
        if events.is_empty() {
            eprintln!("Nothing is known of `{service}`; `quaymaster status` lists the services.");
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

/// Returns what the store has kept, while no controller runs.
async fn kept(globals: &Globals, args: &HistoryArgs) -> Result<Vec<Event>, CommandError> {
    let InForce { path, stack, .. } =
        in_force(globals, &args.file.or_default()?, AllowDeleteAll::Yes).await?;
    let file = path.display().to_string();
    Ok(Store::read(&globals.state_dir, &stack.name, &file)?.history)
}
