//! `quaymaster report`: what became of each deployment.

use jiff::tz::TimeZone;

use super::{
    args::{Globals, Output, ReportArgs},
    client::{Client, ClientError},
    error::CommandError,
    exit::Exit,
    in_force::remembered,
    outcome, print,
    view::{self, Page},
};
use crate::server::api::ReportPage;

/// How many deployments are shown of the whole stack.
const LAST_OF_ALL: usize = 20;

/// Shows the last deployments, oldest first; the last one of a service in detail.
pub async fn report(globals: &Globals, args: &ReportArgs) -> Result<Exit, CommandError> {
    let mut reports = match Client::new(&globals.socket)?.reports().await {
        Ok(reports) => reports,
        Err(ClientError::NoController(_)) => remembered(globals, &args.file).await?.all_reports(),
        Err(error) => return Err(error.into()),
    };
    if let Some(service) = &args.service {
        reports.retain(|report| report.service == *service);
        if reports.is_empty() {
            outcome::say_nothing_known(service);
        }
    }
    let last = args.last.unwrap_or(if args.service.is_some() { 1 } else { LAST_OF_ALL });
    let reports = reports[reports.len().saturating_sub(last)..].to_vec();
    match globals.output() {
        Output::Json => print::json(&ReportPage { reports })?,
        Output::People => {
            let zone = TimeZone::system();
            print::lines(&view::deployments::render(Page::of_stdout(), &reports, &zone))?;
        }
    }
    Ok(Exit::Done)
}
