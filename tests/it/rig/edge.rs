//! The Caddy in front of a test host.

use std::{
    env, fs,
    fs::File,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{eventually, free_port, run};

/// Which Caddy carries the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 2.11 or newer: the first of `QUAYMASTER_TEST_CADDY`.
    New,
    /// Debian's 2.6.2: the second.
    Old,
}

/// Returns the binary of a version. `QUAYMASTER_TEST_CADDY` is `NEW:OLD`;
/// `tests/run.sh` fetches both and sets it.
pub fn binary(version: Version) -> PathBuf {
    let paths = env::var_os("QUAYMASTER_TEST_CADDY").unwrap_or_default();
    let mut paths = env::split_paths(&paths);
    let found = match version {
        Version::New => paths.next(),
        Version::Old => paths.nth(1),
    };
    found.unwrap_or_else(|| {
        panic!(
            "no {version:?} Caddy: set QUAYMASTER_TEST_CADDY=NEW:OLD to the paths of a Caddy of \
             2.11 or newer and of a 2.6, or run tests/run.sh, which fetches both"
        )
    })
}

/// A Caddy process with its admin on a Unix socket.
pub struct Edge {
    binary: PathBuf,
    dir: PathBuf,
    /// Where its one site listens, plain HTTP.
    pub port: u16,
    process: Option<Child>,
}

impl Edge {
    pub fn start(dir: &Path, version: Version) -> Edge {
        let mut edge =
            Edge { binary: binary(version), dir: dir.to_owned(), port: free_port(), process: None };
        fs::write(edge.caddyfile(), edge.text("nothing here")).expect("the folder is writable");
        edge.run();
        edge
    }

    pub fn admin(&self) -> PathBuf {
        self.dir.join("caddy.sock")
    }

    /// Kills it and starts it anew from its Caddyfile, without our routes.
    pub fn restart_empty(&mut self) {
        self.kill();
        self.run();
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = fs::remove_file(self.admin());
    }

    pub fn run(&mut self) {
        let log = File::options().create(true).append(true).open(self.dir.join("caddy.log"));
        let log = log.expect("the folder is writable");
        let child = Command::new(&self.binary)
            .arg("run")
            .arg("--config")
            .arg(self.caddyfile())
            .args(["--adapter", "caddyfile"])
            .env("XDG_DATA_HOME", self.dir.join("caddy"))
            .env("XDG_CONFIG_HOME", self.dir.join("caddy"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be doubled"))
            .stderr(log)
            .spawn()
            .expect("Caddy starts");
        self.process = Some(child);
        eventually(|| UnixStream::connect(self.admin()).ok()).expect("Caddy's admin answers");
    }

    /// Does what an operator does: edits the Caddyfile and reloads it, which
    /// drops every route that came through the admin API.
    pub fn reload_with(&self, fallback: &str) {
        fs::write(self.caddyfile(), self.text(fallback)).expect("the folder is writable");
        run(Command::new(&self.binary)
            .arg("reload")
            .arg("--config")
            .arg(self.caddyfile())
            .args(["--adapter", "caddyfile", "--force"])
            .arg("--address")
            .arg(format!("unix/{}", self.admin().display()))
            .env("XDG_DATA_HOME", self.dir.join("caddy")));
    }

    /// Sends one request to the admin API; returns the whole answer.
    pub fn admin_request(&self, method: &str, path: &str) -> String {
        let mut admin = UnixStream::connect(self.admin()).expect("Caddy's admin answers");
        // The empty host is what 2.6.2 wants over a Unix socket.
        write!(admin, "{method} {path} HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n")
            .expect("the admin reads");
        let mut answer = String::new();
        admin.read_to_string(&mut answer).expect("the admin answers in text");
        answer
    }

    fn caddyfile(&self) -> PathBuf {
        self.dir.join("Caddyfile")
    }

    fn text(&self, fallback: &str) -> String {
        format!(
            "{{\n\tadmin unix/{}\n\tauto_https off\n\tpersist_config off\n}}\n\
             http://:{} {{\n\trespond \"{fallback}\" 404\n}}\n",
            self.admin().display(),
            self.port,
        )
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.kill();
    }
}
