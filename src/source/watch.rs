//! Waking when a file changes.
//!
//! Editors write a new file and rename it, and Kubernetes swaps a symlink one
//! folder up, so the *folders* are watched, of each file and of what it leads
//! to. An event says nothing but "look": whether a file really changed is told
//! by its stamp, so reading it ourselves, or a busy neighbour, wakes nobody.
//!
//! The files are looked at each [`LOOK_EVERY`] besides. That mends watches
//! whose folder went away or came back, and is all there is where the host has
//! no watch left to give or the file lies on a network file system.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::AccessKind};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Interval, MissedTickBehavior},
};

use super::stable::Stamp;

/// What a change calls.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// How often files are looked at without an event.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A watch over files; it ends when dropped.
#[derive(Debug)]
pub struct FileWatch {
    task: JoinHandle<()>,
}

impl FileWatch {
    /// Calls `wake` soon after any of the `files` changes, appears or vanishes.
    /// They are asked for anew at each look, of which there is one each `look_every`
    /// besides those that an event asks for.
    pub(super) fn begin(
        files: impl Fn() -> BTreeSet<PathBuf> + Send + 'static,
        wake: Wake,
        look_every: Duration,
    ) -> FileWatch {
        let look = Arc::new(Notify::new());
        let folders = Folders::new(Arc::clone(&look));
        // Before the first look by the task: what changes from now on counts.
        let seen = stamps(&files());
        let mut ticks = tokio::time::interval(look_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        FileWatch { task: tokio::spawn(watch_forever(files, wake, look, ticks, folders, seen)) }
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

async fn watch_forever(
    files: impl Fn() -> BTreeSet<PathBuf> + Send + 'static,
    wake: Wake,
    look: Arc<Notify>,
    mut ticks: Interval,
    mut folders: Folders,
    mut seen: Stamps,
) {
    loop {
        tokio::select! {
            () = look.notified() => {}
            _ = ticks.tick() => {}
        }
        let files = files();
        // First the watches, then the look: a change in between is seen twice.
        folders.follow(&files);
        let now = stamps(&files);
        if is_change(&seen, &now) {
            wake();
        }
        seen = now;
    }
}

fn stamps(files: &BTreeSet<PathBuf>) -> Stamps {
    files.iter().map(|file| (file.clone(), Stamp::of(file).ok())).collect()
}

/// A file that is new to the watch was just read by whoever named it.
fn is_change(seen: &Stamps, now: &Stamps) -> bool {
    now.iter().any(|(file, stamp)| seen.get(file).is_some_and(|before| before != stamp))
}

/// The folders under watch.
struct Folders {
    /// None where the host gives none.
    watcher: Option<RecommendedWatcher>,
    /// By which folder it is: one that is made anew under its old name needs a
    /// new watch, and one that two names lead to needs one only.
    watched: BTreeMap<FolderId, PathBuf>,
    warned: bool,
}

/// Device, inode and birth: inode numbers alone are used again at once.
type FolderId = (u64, u64, Option<SystemTime>);

impl Folders {
    fn new(look: Arc<Notify>) -> Folders {
        let on_event = move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| tells_of_change(&event.kind)) {
                look.notify_one();
            }
        };
        let mut folders = Folders { watcher: None, watched: BTreeMap::new(), warned: false };
        match notify::recommended_watcher(on_event) {
            Ok(watcher) => folders.watcher = Some(watcher),
            Err(error) => folders.warn_once(&error),
        }
        folders
    }

    /// Watches exactly the folders of these files and of what they lead to.
    fn follow(&mut self, files: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted = folders_of(files);
        self.watched.retain(|id, folder| {
            let is_wanted = wanted.contains_key(id);
            if !is_wanted {
                // Of a folder that is gone, the watch is gone too.
                let _ = watcher.unwatch(folder);
            }
            is_wanted
        });
        let mut failed = None;
        for (id, folder) in wanted {
            if self.watched.contains_key(&id) {
                continue;
            }
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(id, folder)),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            self.warn_once(&error);
        }
    }

    fn warn_once(&mut self, error: &notify::Error) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!("a folder cannot be watched, so edits act a second late: {error}");
        }
    }
}

fn folders_of(files: &BTreeSet<PathBuf>) -> BTreeMap<FolderId, PathBuf> {
    files
        .iter()
        .flat_map(|file| chain(file))
        .filter_map(|path| path.parent().map(Path::to_owned))
        .filter_map(|folder| {
            let metadata = fs::metadata(&folder).ok()?;
            Some(((metadata.dev(), metadata.ino(), metadata.created().ok()), folder))
        })
        .collect()
}

/// Returns the paths from a file through its symlinks to what it leads to.
fn chain(file: &Path) -> Vec<PathBuf> {
    let Ok(first) = std::path::absolute(file) else { return Vec::new() };
    let mut chain = vec![first];
    // The last hop is the real path, which also covers symlinked folders.
    while let Some(path) = chain.last()
        && let Ok(target) = fs::read_link(path)
        && chain.len() < MAX_HOPS
    {
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        chain.push(folder.join(target));
    }
    chain.extend(fs::canonicalize(file));
    chain
}

/// As many symlinks as Linux follows; path_resolution(7).
const MAX_HOPS: usize = 40;

fn tells_of_change(kind: &EventKind) -> bool {
    match kind {
        // Somebody opened, read or closed it, maybe ourselves.
        EventKind::Access(AccessKind::Close(notify::event::AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    /// Long enough for any loaded machine; reached only by a test that fails.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// An edit is to act within 100 ms, so the looks in between must not be
    /// what finds it: here there are none.
    #[tokio::test]
    async fn events_alone_wake() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("v1")).expect("a folder");
        fs::create_dir(at("v2")).expect("a folder");
        fs::write(at("v1/shop.yaml"), "one").expect("a file");
        fs::write(at("v2/shop.yaml"), "two").expect("a file");
        symlink("v1", at("now")).expect("a symlink");
        symlink("now/shop.yaml", at("shop.yaml")).expect("a symlink");

        let (tell, mut wakes) = unbounded_channel();
        let wake = Arc::new(move || {
            let _ = tell.send(());
        });
        let files = BTreeSet::from([at("shop.yaml")]);
        let hour = Duration::from_secs(3_600);
        let _watch = FileWatch::begin(move || files.clone(), wake, hour);
        // The interval's first look comes at once, and sets the watches: let it.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let edits: [(&str, &dyn Fn()); 4] = [
            ("writing in place", &|| fs::write(at("v1/shop.yaml"), "one more").expect("a file")),
            ("renaming over it", &|| {
                fs::write(at("beside"), "three").expect("a file");
                fs::rename(at("beside"), at("v1/shop.yaml")).expect("a rename");
            }),
            ("swapping a folder's symlink", &|| {
                symlink("v2", at("next")).expect("a symlink");
                fs::rename(at("next"), at("now")).expect("a rename");
            }),
            ("writing behind the new symlink", &|| {
                fs::write(at("v2/shop.yaml"), "two more").expect("a file");
            }),
        ];
        for (name, edit) in edits {
            edit();
            let woken = tokio::time::timeout(PATIENCE, wakes.recv()).await;
            woken.unwrap_or_else(|_| panic!("{name} did not wake")).expect("the watch lives");
            // The rest of this edit's events: they stop, since nothing writes.
            while let Ok(Some(())) =
                tokio::time::timeout(Duration::from_millis(50), wakes.recv()).await
            {}
        }
    }
}
