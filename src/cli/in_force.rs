//! Which stack a command is about: the file's, or while that is bad, the one
//! that was last in force.

use std::path::{Path, PathBuf};

use super::{
    args::{Converge, FileOption, Globals},
    error::CommandError,
};
use crate::{
    controller::run::Until,
    domain::{Memory, Stack, StackName, manifest::AllowDeleteAll},
    ports::Source,
    source::{
        DesiredState, FileSource, GitSource,
        git::{self, Remote, RepoPath, Rewritten},
    },
    store::Store,
};

/// A file and the stack that it, or what it said before, declares.
pub struct InForce {
    pub source: DesiredState,
    /// Absolute.
    pub path: PathBuf,
    pub stack: Stack,
}

/// Opens what a controller is to converge to: a file, or a branch that is known here or
/// can be fetched.
///
/// # Errors
///
/// Fails if the arguments name no file or branch, and if nothing is known of a branch
/// that cannot be fetched. A controller that converges once needs it as it is now.
pub async fn desired(
    globals: &Globals,
    args: &Converge,
    until: Until,
) -> Result<DesiredState, CommandError> {
    let deletion = args.deletion.allowed();
    let Some(url) = &args.git.git else {
        let (source, path) = source(globals, &args.file.file, deletion)?;
        return Ok(DesiredState::File { source: Box::new(source), path });
    };
    let options = git::Options {
        remote: Remote::parse(url)?,
        branch: args.git.branch.clone(),
        path: RepoPath::parse(&args.git.path)?,
        rewritten: if args.git.allow_force { Rewritten::Follow } else { Rewritten::Refuse },
        env_files: globals.env_file.clone(),
        allow_delete_all: deletion,
        host: globals.host(),
        policy: Some(globals.policy()),
        age_identity: globals.age.identity(),
    };
    let source = GitSource::open(&globals.state_dir, options).await?;
    if until == Until::Converged || !source.has_commit() {
        source.fetch().await?;
    }
    Ok(DesiredState::Git { source, interval: args.git.interval })
}

/// Reads the stack to converge to.
///
/// # Errors
///
/// Fails with the full report if the file is bad and, for a controller that goes on,
/// nothing is known of an earlier one.
pub async fn to_converge(
    globals: &Globals,
    source: DesiredState,
    until: Until,
) -> Result<InForce, CommandError> {
    let path = source.path();
    let stack = match (source.load().await, until) {
        (Ok(stack), _) => stack,
        (Err(problem), Until::Converged) => return Err(CommandError::File(problem)),
        (Err(problem), Until::Forever) => match accepted_before(&globals.state_dir, &path) {
            Some(stack) => stack,
            None => source.load_last_valid().await.ok_or(CommandError::File(problem))?,
        },
    };
    Ok(InForce { source, path, stack })
}

/// Reads the file.
///
/// # Errors
///
/// Fails with the full report if the file is bad and nothing is known of an
/// earlier one.
pub async fn in_force(
    globals: &Globals,
    file: &Path,
    deletion: AllowDeleteAll,
) -> Result<InForce, CommandError> {
    let (source, path) = source(globals, file, deletion)?;
    to_converge(globals, DesiredState::File { source: Box::new(source), path }, Until::Forever)
        .await
}

/// Returns what the store has kept of the stack of a file, while no controller runs.
///
/// # Errors
///
/// Fails if there is no file to tell which stack it is, and if its store cannot be read.
pub async fn remembered(globals: &Globals, file: &FileOption) -> Result<Memory, CommandError> {
    let InForce { path, stack, .. } =
        in_force(globals, &file.or_default()?, AllowDeleteAll::Yes).await?;
    Ok(Store::read(&globals.state_dir, &stack.name, &path.display().to_string())?)
}

/// Returns the source of a file, and its absolute path.
///
/// # Errors
///
/// Fails if the current folder is gone.
pub fn source(
    globals: &Globals,
    file: &Path,
    deletion: AllowDeleteAll,
) -> Result<(FileSource, PathBuf), CommandError> {
    let path = std::path::absolute(file)
        .map_err(|source| CommandError::Unreadable { path: file.to_owned(), source })?;
    let source = FileSource::new(file, globals.env_file.clone(), deletion, globals.host());
    Ok((source.with_age_identity(globals.age.identity()).under(globals.policy()), path))
}

/// Returns the stack that this file declared when it was last valid, if the state
/// folder knows exactly one: a bad file does not tell which stack it is about.
fn accepted_before(state_dir: &Path, file: &Path) -> Option<Stack> {
    let folders = std::fs::read_dir(state_dir).ok()?;
    let names = folders
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.parse::<StackName>().ok());
    let mut accepted = names.filter_map(|name| {
        let memory = Store::read(state_dir, &name, &file.display().to_string()).ok()?;
        let accepted = memory.accepted.filter(|accepted| accepted.file == file)?;
        Some(accepted.stack)
    });
    let stack = accepted.next()?;
    accepted.next().is_none().then_some(stack)
}
