//! The desired-state file: text in, [`Stack`] or a [`Report`] out.
//!
//! ```text
//! bytes ─ yaml ─▶ tree with positions ─ stack, service, … ─▶ Stack
//!                      │                        │
//!                      └──────── flaws ─────────┴─────────▶ Report
//! ```
//!
//! Parse, don't validate: past this module an invalid stack cannot be written
//! down. All that is wrong with a file is found in one go, each with its line,
//! column and mend. Pure: variables and other files come through [`Input`].
//! Field names and meanings are the Compose Specification's unless design says
//! otherwise. miette is used in `report` and nowhere else.

mod capacity;
mod commit_status;
mod container;
mod depends_on;
mod env_file;
mod environment;
mod fields;
mod gate_check;
mod gates;
mod granted;
mod headers;
mod hosts;
mod image;
mod images;
mod interpolate;
mod mounts;
mod networks;
mod obey;
mod policy_file;
mod ports;
mod preview;
mod probe;
mod proxy;
mod quantity;
mod reader;
mod report;
mod resources;
mod rollout;
mod rollout_group;
mod route;
mod secrets;
mod service;
mod shell_words;
mod slot_edit;
mod standby;
mod telling;
mod top;
mod unsupported;
mod upstreams;
mod url;
mod vault;
mod yaml;

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{HostIdentity, HostPolicy, Stack};
use reader::Reader;
use report::Flaw;
use yaml::Span;

pub use env_file::{BadEnvFile, read_env_file};
pub use policy_file::{PolicyInput, parse_policy};
pub use quantity::duration;
pub use report::{Problem, Report};
pub use slot_edit::{SlotNotEdited, with_slot};
pub use vault::{Holds, MAX_SECRET_BYTES, Undecrypted, Unread, Vault};

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// What a file may refer to, beside its own text.
pub struct Input<'a> {
    /// What reports call the file.
    pub file_name: &'a str,
    pub text: &'a [u8],
    /// Looks up a variable for `${VAR}`.
    pub variables: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file for `env_file:`; the path is relative to the folder of the
    /// file and never leads out of it by `..`. Following symbolic links out of
    /// the folder is for the closure to refuse.
    pub read_file: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// Where `secrets:` come from.
    pub vault: &'a dyn Vault,
    /// The absolute folder of the file, against which relative paths resolve.
    pub base_dir: &'a Path,
    pub allow_delete_all: AllowDeleteAll,
    /// The host whose services are wanted.
    pub host: &'a HostIdentity,
    /// What the host lets run; None on one without a policy.
    pub policy: Option<PolicyInForce<'a>>,
}

/// A host's rules, and what only the host can tell of its own files.
#[derive(Clone, Copy)]
pub struct PolicyInForce<'a> {
    pub rules: &'a HostPolicy,
    /// Returns where a path leads through symbolic links, as far as it exists.
    pub real_path: &'a dyn Fn(&Path) -> PathBuf,
    /// Where this controller's own engine listens on this host, as it was said and where
    /// that leads; the usual places need not be named.
    pub engine_sockets: &'a [PathBuf],
}

/// Whether a file without any service is meant: it removes every container of
/// the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowDeleteAll {
    Yes,
    No,
}

/// Reads a desired-state file.
///
/// # Errors
///
/// Everything that is wrong with the file, in the order of its lines. Nothing
/// of a file with an error may be acted on.
pub fn parse(input: &Input<'_>) -> Result<Stack, Report> {
    let source = match readable(input.text) {
        Ok(source) => source,
        Err(flaw) => {
            let source =
                String::from_utf8_lossy(&input.text[..input.text.len().min(MAX_FILE_BYTES)]);
            return Err(Report::new(input.file_name, &source, None, vec![flaw]));
        }
    };
    let mut flaws = Vec::new();
    let Some(tree) = yaml::read(source, &mut flaws) else {
        return Err(Report::new(input.file_name, source, None, flaws));
    };
    let mut reader = Reader::new(input, source, flaws);
    let stack = top::read(&mut reader, &tree);
    let flaws = reader.into_flaws();
    match stack {
        Some(stack) if flaws.is_empty() => Ok(stack),
        Some(_) | None => Err(Report::new(input.file_name, source, Some(&tree), flaws)),
    }
}

/// Returns the text, if it is one that can be read as YAML at all.
fn readable(bytes: &[u8]) -> Result<&str, Flaw> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Flaw::new(
            Span { start: 0, end: 0 },
            format!("the file has {} bytes, more than {MAX_FILE_BYTES}", bytes.len()),
            "a stack is far smaller than that: is this the right file?",
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Flaw::new(Span { start: at, end: at }, "this is not UTF-8", "save the file as UTF-8")
    })?;
    match text.find('\0') {
        Some(at) => Err(Flaw::new(
            Span { start: at, end: at + 1 },
            "the file holds a NUL byte",
            "remove it; the file may have been damaged, or is not a text",
        )),
        None => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
    }
}
