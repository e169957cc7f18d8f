//! Where the variables of a file come from: the environment, and env files.

use std::{
    collections::BTreeMap,
    env,
    fmt::Display,
    io,
    path::{Path, PathBuf},
};

use crate::domain::manifest;

use super::{open::read_at_most, stable::MAX_FILE_BYTES};

/// What env files on this host say. The environment wins over all of them, and a
/// later one over an earlier, as they do for Compose.
#[derive(Debug, Default)]
pub(super) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Reads env files that have to be there.
    ///
    /// # Errors
    ///
    /// Fails with the text for people if one cannot be read.
    pub fn of_files(paths: &[PathBuf]) -> Result<Variables, String> {
        let mut variables = Variables::default();
        for path in paths {
            let bytes = read_bounded(path).map_err(|error| unreadable(&path.display(), &error))?;
            variables.add(&path.display(), bytes)?;
        }
        Ok(variables)
    }

    /// Reads an env file that may be missing.
    ///
    /// # Errors
    ///
    /// Fails with the text for people if it is there and cannot be read.
    pub fn of_file_if_there(path: &Path) -> Result<Variables, String> {
        let mut variables = Variables::default();
        match read_bounded(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => {
                let bytes = read.map_err(|error| unreadable(&path.display(), &error))?;
                variables.add(&path.display(), bytes)?;
            }
        }
        Ok(variables)
    }

    /// Adds what the env file called `name` says.
    ///
    /// # Errors
    ///
    /// Fails with the text for people if it is no env file.
    pub fn add(&mut self, name: &dyn Display, bytes: Vec<u8>) -> Result<(), String> {
        let text = String::from_utf8(bytes).map_err(|_| unreadable(name, &"it is not UTF-8"))?;
        let read = manifest::read_env_file(&text, &|variable| self.get(variable))
            .map_err(|error| unreadable(name, &error))?;
        self.0.extend(read);
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<String> {
        env::var(name).ok().or_else(|| self.0.get(name).cloned())
    }
}

fn unreadable(name: &dyn Display, why: &dyn Display) -> String {
    format!("cannot read the env file {name}: {why}")
}

/// Reads a file that should be small.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(path, MAX_FILE_BYTES).map(|(_, bytes)| bytes).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => io::Error::new(error.kind(), "it is larger than 1 MiB"),
        _ => error,
    })
}
