//! `quaymaster promote`: let a release take the traffic.

use super::{
    args::{Globals, ServiceArg},
    client::Client,
    error::CommandError,
    exit::Exit,
    print,
};

/// Asks the running controller to promote what is ready.
pub async fn promote(globals: &Globals, args: &ServiceArg) -> Result<Exit, CommandError> {
    let accepted = Client::new(&globals.socket)?.promote(&args.service).await?;
    print::accepted(globals.output(), &accepted)?;
    Ok(Exit::Done)
}
