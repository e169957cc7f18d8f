//! Every way in which people and tools change a file wakes the controller.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc, time::Duration};

use quaymaster::{
    domain::{HostIdentity, manifest::AllowDeleteAll},
    source::{FileSource, FileWatch},
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Long enough for any loaded machine; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

struct Watching {
    wakes: UnboundedReceiver<()>,
    _watch: FileWatch,
}

impl Watching {
    fn of(path: &Path, env_files: &[&Path]) -> Watching {
        let (tell, wakes) = unbounded_channel();
        let env_files = env_files.iter().map(|path| path.to_path_buf()).collect();
        let watch = FileSource::new(path, env_files, AllowDeleteAll::No, HostIdentity::default())
            .watch(Arc::new(move || {
                let _ = tell.send(());
            }));
        Watching { wakes, _watch: watch }
    }

    async fn woken(&mut self, by: &str) {
        tokio::time::timeout(PATIENCE, self.wakes.recv())
            .await
            .unwrap_or_else(|_| panic!("{by} did not wake"))
            .expect("the watch lives");
        while self.wakes.try_recv().is_ok() {}
    }
}

#[tokio::test]
async fn every_way_to_save_a_file_wakes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quaymaster.yaml");
    fs::write(&path, "one").expect("a file");
    let mut watching = Watching::of(&path, &[]);
    fs::write(&path, "two, in place").expect("a file");
    watching.woken("writing in place").await;
    let beside = folder.path().join(".quaymaster.yaml.swp");
    fs::write(&beside, "three").expect("a file");
    fs::rename(&beside, &path).expect("a rename");
    watching.woken("renaming over it").await;
    fs::remove_file(&path).expect("it is there");
    watching.woken("removing it").await;
    fs::write(&path, "four").expect("a file");
    watching.woken("making it anew").await;
}

#[tokio::test]
async fn an_env_file_in_another_folder_wakes() {
    let (folder, elsewhere) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let path = folder.path().join("quaymaster.yaml");
    let env_file = elsewhere.path().join(".env");
    fs::write(&path, "one").expect("a file");
    let mut watching = Watching::of(&path, &[&env_file]);
    fs::write(&env_file, "A=1").expect("a file");
    watching.woken("making the env file").await;
    fs::write(&env_file, "A=22").expect("a file");
    watching.woken("changing the env file").await;
}

/// As Kubernetes mounts a ConfigMap: `file` → `..data/file`, `..data` → `..1/`.
#[tokio::test]
async fn a_swapped_folder_symlink_wakes() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for (version, text) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(at(version)).expect("a folder");
        fs::write(at(version).join("quaymaster.yaml"), text).expect("a file");
    }
    symlink("..1", at("..data")).expect("a symlink");
    symlink("..data/quaymaster.yaml", at("quaymaster.yaml")).expect("a symlink");
    let mut watching = Watching::of(&at("quaymaster.yaml"), &[]);
    symlink("..2", at("..data_tmp")).expect("a symlink");
    fs::rename(at("..data_tmp"), at("..data")).expect("a rename");
    watching.woken("the swap").await;
    // And what it leads to now is watched in turn.
    fs::write(at("..2/quaymaster.yaml"), "two and a half").expect("a file");
    watching.woken("a change behind the symlink").await;
}

#[tokio::test]
async fn a_folder_that_goes_and_comes_back_wakes() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("stack");
    let path = inner.join("quaymaster.yaml");
    let make = |text: &str| {
        fs::create_dir_all(&inner).expect("a folder");
        fs::write(&path, text).expect("a file");
    };
    make("one");
    let mut watching = Watching::of(&path, &[]);
    for text in ["two", "three"] {
        fs::remove_dir_all(&inner).expect("it is there");
        watching.woken("removing the folder").await;
        make(text);
        watching.woken("making the folder anew").await;
        fs::write(&path, format!("{text}, changed")).expect("a file");
        watching.woken("a change in the new folder").await;
    }
}

#[tokio::test]
async fn a_neighbour_and_a_reader_wake_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quaymaster.yaml");
    let beside = folder.path().join("beside");
    fs::write(&path, "one").expect("a file");
    let mut watching = Watching::of(&path, &[]);
    for text in ["two", "three"] {
        fs::read(&path).expect("a file");
        for n in 0..20 {
            fs::write(folder.path().join(format!("neighbour-{n}")), text).expect("a file");
        }
        fs::write(&beside, text).expect("a file");
        fs::rename(&beside, &path).expect("a rename");
        let woken = tokio::time::timeout(PATIENCE, watching.wakes.recv()).await;
        woken.expect("the rename wakes").expect("the watch lives");
    }
    assert!(watching.wakes.try_recv().is_err(), "two renames gave more than two wakes");
}
