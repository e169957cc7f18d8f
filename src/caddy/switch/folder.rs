//! The folder of switch files: reading it as Caddy does, and writing it so that
//! each flip happens in one instant.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{
    caddy::lane::{Sign, Tenants},
    domain::{ServiceName, StackName},
};

use super::{
    content,
    flip::{FileStep, Show},
};

/// The folder below the state folder that holds those of all stacks.
const ALL_STACKS: &str = "switch";

/// The file that shows whether Caddy sees the folder.
const NONCE: &str = "sight";

/// What every file is called before it is whole.
const BEING_WRITTEN: &str = "new";

/// What makes a line of a Caddyfile of it, whose JSON repeats the word.
const NONCE_DIRECTIVE: &str = "respond ";

/// Caddy runs as somebody else, who must be able to pass through and to look.
const PASSABLE: u32 = 0o711;
const LISTABLE: u32 = 0o755;
const READABLE: u32 = 0o644;

/// More than any switch file has.
const MAX_CONTENT_BYTES: u64 = 4096;

/// Whether the folder may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// By the one controller of the stack.
    Controls,
    /// For a look: nothing is created.
    Looks,
}

/// One stack's folder of switch files, there or not.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    access: Access,
}

/// What was found in the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    services: BTreeMap<ServiceName, BTreeMap<Sign, Entry>>,
    /// Whether everyone may look into it.
    is_open: bool,
}

/// What stands under the name of a switch file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// No file at all for Caddy.
    Folder,
    /// A file whose content is no longer one of ours, or cannot be read.
    Unreadable,
    File(Vec<u8>),
}

/// Which folder it is and who may pass to it: whatever could change whether
/// Caddy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(Vec<Option<[u64; 5]>>);

impl Folder {
    pub fn new(state_dir: &Path, stack: &StackName, access: Access) -> Folder {
        let state_dir = std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned());
        Folder { path: state_dir.join(ALL_STACKS).join(stack.as_str()), access }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn access(&self) -> Access {
        self.access
    }

    /// Returns every switch file, as far as it can be read.
    pub fn read(&self) -> Found {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let entries = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Sign::of_file_name(&name)?;
            // Gone meanwhile, or a link that leads nowhere: Caddy finds nothing.
            Some((name, entry_at(&entry.path())?))
        });
        Found::of(self.is_open(), entries)
    }

    /// Makes every service's file say this, and only this, durably.
    pub fn show(&self, shows: &[Show]) -> io::Result<()> {
        if shows.is_empty() {
            return Ok(());
        }
        self.ensure()?;
        for step in shows.iter().flat_map(Show::steps) {
            match step {
                FileStep::Put { name, bytes } => self.replace(&name, &bytes)?,
                FileStep::Remove { name } => remove_any(&self.path.join(name))?,
            }
        }
        self.sync()
    }

    /// Takes every switch file of these services away.
    pub fn remove(&self, services: &BTreeSet<ServiceName>) -> io::Result<()> {
        for service in services {
            for sign in Sign::LOOKED_FOR {
                remove_any(&self.path.join(sign.file_name(service)))?;
            }
        }
        if services.is_empty() { Ok(()) } else { self.sync() }
    }

    /// Returns the file of the nonce and the nonce: a fresh one if the folder may
    /// be changed, else the one that was left there.
    pub fn nonce(&self) -> io::Result<(PathBuf, String)> {
        let path = self.path.join(NONCE);
        let nonce = match self.access {
            Access::Controls => {
                self.ensure()?;
                let nonce = fresh_nonce();
                let line = format!("{NONCE_DIRECTIVE}{nonce}\n");
                self.replace(NONCE, line.as_bytes())?;
                nonce
            }
            Access::Looks => {
                let line = String::from_utf8(read_bounded(&path)?).map_err(io::Error::other)?;
                let nonce = line.strip_prefix(NONCE_DIRECTIVE).map(str::trim);
                nonce
                    .filter(|nonce| !nonce.is_empty())
                    .ok_or(io::ErrorKind::InvalidData)?
                    .to_owned()
            }
        };
        Ok((path, nonce))
    }

    pub fn stamp(&self) -> Stamp {
        let of = |path: &Path| {
            let it = fs::metadata(path).ok()?;
            Some([it.dev(), it.ino(), it.mode().into(), it.uid().into(), it.gid().into()])
        };
        Stamp(self.path.ancestors().map(of).collect())
    }

    /// Puts a file there in one instant, whole and on the disk.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (path, new) = (self.path.join(name), self.path.join(BEING_WRITTEN));
        remove_any(&new)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(READABLE).open(&new)?;
        // The umask takes from the mode that a file is created with.
        file.set_permissions(Permissions::from_mode(READABLE))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        if fs::symlink_metadata(&path).is_ok_and(|there| there.is_dir()) {
            fs::remove_dir_all(&path)?;
        }
        fs::rename(&new, &path)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Makes what is missing of the folder, and opens it to everyone's look.
    fn ensure(&self) -> io::Result<()> {
        match self.access {
            Access::Controls => {}
            Access::Looks => return Err(io::ErrorKind::PermissionDenied.into()),
        }
        let all_stacks = self.path.parent().expect("the folder lies in that of all stacks");
        DirBuilder::new().recursive(true).mode(PASSABLE).create(all_stacks)?;
        if fs::symlink_metadata(&self.path).is_ok_and(|there| !there.is_dir()) {
            fs::remove_file(&self.path)?;
        }
        DirBuilder::new().recursive(true).mode(LISTABLE).create(&self.path)?;
        if !self.is_open() {
            allow(all_stacks, PASSABLE)?;
            allow(&self.path, LISTABLE)?;
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        let allows = |path: &Path, mode: u32| {
            fs::metadata(path).is_ok_and(|it| it.is_dir() && it.mode() & mode == mode)
        };
        allows(&self.path, LISTABLE) && self.path.parent().is_some_and(|all| allows(all, PASSABLE))
    }
}

impl Found {
    /// Returns what these files come to, of which some may be no switch files.
    pub fn of(is_open: bool, entries: impl IntoIterator<Item = (String, Entry)>) -> Found {
        let mut found = Found { services: BTreeMap::new(), is_open };
        for (name, entry) in entries {
            if let Some((service, sign)) = Sign::of_file_name(&name) {
                found.services.entry(service).or_default().insert(sign, entry);
            }
        }
        found
    }

    /// Returns what Caddy goes by, and what that file says if it can be told.
    /// None where Caddy finds no file of the service.
    pub fn shown(&self, service: &ServiceName) -> Option<(Sign, Option<Tenants>)> {
        let entries = self.services.get(service)?;
        Sign::LOOKED_FOR.into_iter().find_map(|sign| match entries.get(&sign)? {
            Entry::Folder => None,
            Entry::Unreadable => Some((sign, None)),
            Entry::File(bytes) => Some((sign, content::read(bytes))),
        })
    }

    /// Returns whether the service's file says this and only this, as we write it.
    pub fn shows(&self, show: &Show) -> bool {
        self.is_open
            && self.services.get(&show.service).is_some_and(|entries| {
                let right = Entry::File(content::bytes(&show.tenants));
                entries.len() == 1 && entries.get(&show.sign) == Some(&right)
            })
    }

    /// Returns the services that have anything under the name of a switch file.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }
}

fn entry_at(path: &Path) -> Option<Entry> {
    let there = fs::metadata(path).ok()?;
    if there.is_dir() {
        return Some(Entry::Folder);
    }
    // A pipe would wait for a writer.
    if !there.is_file() {
        return Some(Entry::Unreadable);
    }
    Some(read_bounded(path).map_or(Entry::Unreadable, Entry::File))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_CONTENT_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn remove_any(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Adds to what a folder allows; takes nothing away.
fn allow(folder: &Path, mode: u32) -> io::Result<()> {
    let there = fs::metadata(folder)?.mode() & 0o7777;
    fs::set_permissions(folder, Permissions::from_mode(there | mode))
}

/// Returns a text that was never there before.
fn fresh_nonce() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("quaymaster-{:016x}", RandomState::new().hash_one(NONCE))
}
