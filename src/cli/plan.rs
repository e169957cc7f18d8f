//! `quaymaster plan`: what would change, and why.

use super::{
    args::{Globals, Output, PlanArgs},
    error::CommandError,
    exit::Exit,
    look::Onlooker,
    print,
    view::{self, Page},
};

/// Shows what would change; changes nothing.
pub async fn plan(globals: &Globals, args: &PlanArgs) -> Result<Exit, CommandError> {
    let mut onlooker = Onlooker::open(globals, &args.file.file, args.deletion.allowed()).await?;
    let changes = onlooker.changes().await?;
    match globals.output() {
        Output::Json => print::json(&changes)?,
        Output::People => print::lines(&view::changes::render(Page::of_stdout(), &changes))?,
    }
    let tells = args.exit_code && changes.something_to_do;
    Ok(if tells { Exit::SomethingToDo } else { Exit::Done })
}
