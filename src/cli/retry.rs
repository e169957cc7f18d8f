//! `quaymaster retry`: try a held release again.

use super::{
    args::{Globals, ServiceArg},
    client::Client,
    error::CommandError,
    exit::Exit,
    print,
};

/// Asks the running controller to try again.
pub async fn retry(globals: &Globals, args: &ServiceArg) -> Result<Exit, CommandError> {
    let accepted = Client::new(&globals.socket)?.retry(&args.service).await?;
    print::accepted(globals.output(), &accepted)?;
    Ok(Exit::Done)
}
