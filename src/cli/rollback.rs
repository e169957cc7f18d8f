//! `quaymaster rollback`: give traffic back to the release before.

use super::{
    args::{Globals, ServiceArg},
    client::Client,
    error::CommandError,
    exit::Exit,
    print,
};

/// Asks the running controller to go back.
pub async fn rollback(globals: &Globals, args: &ServiceArg) -> Result<Exit, CommandError> {
    let accepted = Client::new(&globals.socket)?.rollback(&args.service).await?;
    print::accepted(globals.output(), &accepted)?;
    Ok(Exit::Done)
}
