//! What a command shows in the end: how everything stands, or that nothing was found.

use super::{
    args::Output,
    error::CommandError,
    print,
    view::{self, Page},
};
use crate::{
    controller::StatusReport,
    domain::{ServiceName, memory::KEPT_LOG_LINES},
};

/// Shows how everything stands, with the whole log that is kept of what failed.
pub fn show(output: Output, report: &StatusReport) -> Result<(), CommandError> {
    match output {
        Output::Json => print::json(report),
        Output::People => {
            let lines = view::status::render(Page::of_stdout(), report, KEPT_LOG_LINES);
            print::lines(&lines)
        }
    }
}

/// Says why a list of one service is empty: its name may be misspelt.
pub fn say_nothing_known(service: &ServiceName) {
    eprintln!("Nothing is known of `{service}`; `quaymaster status` lists the services.");
}
