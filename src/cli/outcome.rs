//! What a command that has waited shows in the end.

use super::{
    args::Output,
    error::CommandError,
    print,
    view::{self, Page},
};
use crate::{controller::StatusReport, domain::memory::KEPT_LOG_LINES};

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
