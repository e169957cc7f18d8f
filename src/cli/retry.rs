//! `quaymaster retry`: try a held release again.

use super::{
    args::{Globals, RetryArgs},
    client::{Client, ClientError},
    error::CommandError,
    exit::Exit,
    in_force::{InForce, in_force},
    print,
};
use crate::{
    clock::HostClock,
    domain::{ServiceName, manifest::AllowDeleteAll, time::Now},
    plan,
    ports::{Clock, Ledger},
    server::Accepted,
    store::Store,
};

/// Asks the running controller to try again; without one, forgets the hold where
/// the next controller would read it.
pub async fn retry(globals: &Globals, args: &RetryArgs) -> Result<Exit, CommandError> {
    let service = &args.service.service;
    let accepted = match Client::new(&globals.socket)?.retry(service).await {
        Err(ClientError::NoController(_)) => forget_hold(globals, args, service).await?,
        answer => answer?,
    };
    print::accepted(globals.output(), &accepted)?;
    Ok(Exit::Done)
}

async fn forget_hold(
    globals: &Globals,
    args: &RetryArgs,
    service: &ServiceName,
) -> Result<Accepted, CommandError> {
    let file = args.file.or_default()?;
    let InForce { stack, path, .. } = in_force(globals, &file, AllowDeleteAll::Yes).await?;
    let store = Store::open(&globals.state_dir, &stack.name, &path.display().to_string())?;
    let clock = HostClock::new()?;
    let memory = store.load().rebase(&clock.boot_id(), clock.now());
    let now = Now { at: clock.now(), unix_ms: clock.unix_ms() };
    let changed = plan::retry(&stack, &memory, service, now)?;
    store.save(&changed).map_err(CommandError::Unsaved)?;
    let text = format!("{service} is tried again with the next `quaymaster apply` or `run`");
    Ok(Accepted { text })
}
