//! Which stack a command is about: the file's, or while that is bad, the one
//! that was last in force.

use std::path::{Path, PathBuf};

use super::{args::Globals, error::CommandError};
use crate::{
    domain::{Stack, StackName, manifest::AllowDeleteAll},
    ports::Source,
    source::FileSource,
    store::Store,
};

/// A file and the stack that it, or what it said before, declares.
pub struct InForce {
    pub source: FileSource,
    /// Absolute.
    pub path: PathBuf,
    pub stack: Stack,
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
    let stack = match source.load().await {
        Ok(stack) => stack,
        Err(problem) => {
            accepted_before(&globals.state_dir, &path).ok_or(CommandError::File(problem))?
        }
    };
    Ok(InForce { source, path, stack })
}

/// Reads the file, and takes nothing in its place.
///
/// # Errors
///
/// Fails with the full report if the file is bad.
pub async fn as_written(
    globals: &Globals,
    file: &Path,
    deletion: AllowDeleteAll,
) -> Result<InForce, CommandError> {
    let (source, path) = source(globals, file, deletion)?;
    let stack = source.load().await.map_err(CommandError::File)?;
    Ok(InForce { source, path, stack })
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
    Ok((source, path))
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
