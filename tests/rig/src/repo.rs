//! A Git repository that somebody pushes to: a bare one, and a clone to work in.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::run;

pub struct Repo {
    dir: TempDir,
}

impl Default for Repo {
    /// A repository without a commit.
    fn default() -> Repo {
        Repo::new()
    }
}

impl Repo {
    /// A repository without a commit.
    pub fn new() -> Repo {
        let dir = tempfile::Builder::new().prefix("qm-git-").tempdir();
        let repo = Repo { dir: dir.expect("a folder can be made") };
        fs::create_dir(repo.work()).expect("a folder can be made");
        let bare = repo.bare();
        run(git().args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&bare));
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        repo.git(&["remote", "add", "origin", &bare.display().to_string()]);
        repo
    }

    /// Returns the bare repository that is pushed to.
    pub fn bare(&self) -> PathBuf {
        self.dir.path().join("state.git")
    }

    /// Returns the folder of the clone.
    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.bare().display())
    }

    /// Runs git in the clone and returns what it prints.
    pub fn git(&self, arguments: &[&str]) -> String {
        run(git().args(arguments).current_dir(self.work())).trim_end().to_owned()
    }

    /// Writes a file in the clone.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
        fs::write(path, text).expect("the folder is writable");
    }

    pub fn link(&self, target: &str, path: &str) {
        symlink(target, self.work().join(path)).expect("a symlink can be made");
    }

    /// Commits everything in the clone and returns the commit.
    pub fn commit(&self, subject: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", subject]);
        self.head()
    }

    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn push(&self) {
        self.git(&["push", "--quiet", "origin", "HEAD:main"]);
    }

    pub fn push_force(&self) {
        self.git(&["push", "--quiet", "--force", "origin", "HEAD:main"]);
    }

    /// Writes a file, commits and pushes it, and returns the commit.
    pub fn publish(&self, path: &str, text: &str) -> String {
        self.write(path, text);
        let commit = self.commit(&format!("change {path}"));
        self.push();
        commit
    }

    /// Takes the remote out of reach.
    pub fn hide(&self) {
        fs::rename(self.bare(), self.hidden()).expect("it is there");
    }

    pub fn show(&self) {
        fs::rename(self.hidden(), self.bare()).expect("it is hidden");
    }

    fn hidden(&self) -> PathBuf {
        self.dir.path().join("hidden.git")
    }

    /// Returns a folder of its own for whoever follows this repository.
    pub fn beside(&self, name: &str) -> PathBuf {
        Path::new(self.dir.path()).join(name)
    }
}

/// git without anybody's configuration, as an author of its own.
pub fn git() -> Command {
    let mut command = Command::new("git");
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "Alice")
        .env("GIT_AUTHOR_EMAIL", "alice@example.com")
        .env("GIT_COMMITTER_NAME", "Alice")
        .env("GIT_COMMITTER_EMAIL", "alice@example.com");
    command
}
