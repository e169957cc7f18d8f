//! `quaymaster report`: what became of each deployment.

use jiff::tz::TimeZone;

use super::{
    args::{Globals, Output, ReportArgs},
    client::{Client, ClientError},
    error::CommandError,
    exit::Exit,
    in_force::{InForce, in_force},
    print,
    view::{self, Page},
};
use crate::{
    domain::{DeploymentReport, manifest::AllowDeleteAll},
    server::api::ReportPage,
    store::Store,
};

/// How many deployments are shown of the whole stack.
const LAST_OF_ALL: usize = 20;

/// Shows the last deployments, oldest first; the last one of a service in detail.
pub async fn report(globals: &Globals, args: &ReportArgs) -> Result<Exit, CommandError> {
    let mut reports = match Client::new(&globals.socket)?.reports().await {
        Ok(reports) => reports,
        Err(ClientError::NoController(_)) => kept(globals, args).await?,
        Err(error) => return Err(error.into()),
    };
    if let Some(service) = &args.service {
        reports.retain(|report| report.service == *service);
        if reports.is_empty() {
            eprintln!("Nothing is known of `{service}`; `quaymaster status` lists the services.");
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

/// Returns what the store has kept, while no controller runs.
async fn kept(globals: &Globals, args: &ReportArgs) -> Result<Vec<DeploymentReport>, CommandError> {
    let InForce { path, stack, .. } =
        in_force(globals, &args.file.or_default()?, AllowDeleteAll::Yes).await?;
    let file = path.display().to_string();
    Ok(Store::read(&globals.state_dir, &stack.name, &file)?.all_reports())
}
