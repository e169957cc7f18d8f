//! `quaymaster flip`: write the other slot into the file.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    args::{FlipArgs, Globals, Output},
    client::Client,
    error::CommandError,
    exit::Exit,
    in_force::source,
    print,
};
use crate::{
    controller::StatusReport,
    domain::{
        GitStanding, ServiceName, Slot, SlotChoice, Stack,
        manifest::{AllowDeleteAll, with_slot},
    },
    ports::Source,
};

/// Edits the file in place. The controller, if one runs, acts on it as on any
/// other edit.
pub async fn flip(globals: &Globals, args: &FlipArgs) -> Result<Exit, CommandError> {
    let service = &args.service.service;
    // An edit needs no controller.
    let report = Client::new(&globals.socket)?.status().await.ok();
    if let (None, Some(git)) = (&args.file.file, report.as_ref().and_then(|it| it.file.git.clone()))
    {
        let GitStanding { url, branch, path, .. } = git;
        return Err(CommandError::FileInGit { service: service.clone(), url, branch, path });
    }
    let path = match (&args.file.file, &report) {
        (None, Some(report)) => report.file.path.clone(),
        (Some(_), _) | (None, None) => args.file.or_default()?,
    };
    let (source, _) = source(globals, &path, AllowDeleteAll::Yes)?;
    let stack = source.load().await.map_err(CommandError::File)?;
    let from = declared_slot(&stack, service, report.as_ref())?;
    let to = from.other();

    let unreadable = |source| CommandError::Unreadable { path: path.clone(), source };
    let text = fs::read_to_string(&path).map_err(unreadable)?;
    let edited = with_slot(&text, service, to)
        .map_err(|error| CommandError::NotEdited { path: path.clone(), why: error.to_string() })?;
    replace(&path, &edited)
        .map_err(|source| CommandError::NotWritten { path: path.clone(), source })?;

    match globals.output() {
        Output::Json => {
            print::json(&json!({ "service": service, "from": from, "to": to, "file": path }))?;
        }
        Output::People => {
            let next = match &report {
                Some(report) if same_file(&report.file.path, &path) => "the controller acts on it",
                Some(_) | None => "no controller watches it: `quaymaster apply` acts on it",
            };
            let file = path.display();
            print::write(&format!("{service}: slot {from} → {to} in {file}; {next}\n"))?;
        }
    }
    Ok(Exit::Done)
}

fn declared_slot(
    stack: &Stack,
    name: &ServiceName,
    report: Option<&StatusReport>,
) -> Result<Slot, CommandError> {
    let service = stack.services.get(name).ok_or_else(|| CommandError::NoSuchService {
        service: name.clone(),
        known: stack.services.keys().cloned().collect(),
    })?;
    match service.slot {
        SlotChoice::Declared(slot) => Ok(slot),
        SlotChoice::Auto => Err(CommandError::SlotIsAuto {
            service: name.clone(),
            active: report.and_then(|report| report.service(name)?.active_slot),
        }),
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        (Ok(_) | Err(_), _) => false,
    }
}

/// Replaces the file's text in one step that survives a crash: a reader sees the
/// old text or the new one, never a part. Mode and owner stay; a link still
/// points at the file.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let metadata = fs::metadata(&path)?;
    let folder = path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = write_beside(&new, &metadata, text).and_then(|()| fs::rename(&new, &path));
    if written.is_err() {
        // Nothing of it may stay behind; why it failed is what matters.
        let _ = fs::remove_file(&new);
    }
    written?;
    fs::File::open(&folder)?.sync_all()
}

fn write_beside(new: &Path, like: &fs::Metadata, text: &str) -> io::Result<()> {
    // Closed to others until it has the owner and the mode of what it replaces.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    let ours = file.metadata()?;
    if (ours.uid(), ours.gid()) != (like.uid(), like.gid()) {
        fchown(&file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(like.permissions().mode() & 0o7777))?;
    file.sync_all()
}
