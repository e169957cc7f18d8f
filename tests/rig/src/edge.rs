//! The Caddy in front of a test host.

use std::{
    env,
    ffi::OsString,
    fs,
    fs::File,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::json;

use crate::{eventually, free_port, run};

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

/// What its one server listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listens {
    /// Plain HTTP only.
    Plain,
    /// The same routes over TLS too, with certificates of its internal authority.
    PlainAndTls,
}

/// A Caddy process with its admin on a Unix socket.
pub struct Edge {
    binary: PathBuf,
    dir: PathBuf,
    /// Where its one server listens, plain HTTP.
    pub port: u16,
    /// Where it listens over TLS.
    pub tls_port: Option<u16>,
    process: Option<Child>,
}

impl Edge {
    pub fn start(dir: &Path, binary: &Path, listens: Listens) -> Edge {
        let tls_port = match listens {
            Listens::Plain => None,
            Listens::PlainAndTls => Some(free_port()),
        };
        let mut edge = Edge {
            binary: binary.to_owned(),
            dir: dir.to_owned(),
            port: free_port(),
            tls_port,
            process: None,
        };
        match tls_port {
            None => edge.write_caddyfile("nothing here"),
            Some(tls_port) => edge.write_json(tls_port),
        }
        edge.run();
        edge
    }

    /// Returns the certificate of its internal authority.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("caddy/caddy/pki/authorities/local/root.crt")
    }

    pub fn admin(&self) -> PathBuf {
        self.dir.join("caddy.sock")
    }

    /// Kills it and starts it anew from its Caddyfile, without our routes.
    pub fn restart_empty(&mut self) {
        self.kill();
        self.run();
    }

    /// Kills it and starts it anew as it was: with the configuration that it saved
    /// at the last change.
    pub fn restart_resumed(&mut self) {
        self.kill();
        self.run_with(&["--resume"]);
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = fs::remove_file(self.admin());
    }

    pub fn run(&mut self) {
        self.run_with(&[]);
    }

    fn run_with(&mut self, more: &[&str]) {
        let log = File::options().create(true).append(true).open(self.dir.join("caddy.log"));
        let log = log.expect("the folder is writable");
        let child = Command::new(&self.binary)
            .arg("run")
            .args(self.config())
            .args(more)
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
        assert!(self.tls_port.is_none(), "it has no Caddyfile to edit");
        self.write_caddyfile(fallback);
        run(Command::new(&self.binary)
            .arg("reload")
            .args(self.config())
            .arg("--force")
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

    fn json(&self) -> PathBuf {
        self.dir.join("caddy.json")
    }

    /// Returns the arguments that name its configuration.
    fn config(&self) -> Vec<OsString> {
        match self.tls_port {
            None => vec![
                "--config".into(),
                self.caddyfile().into(),
                "--adapter".into(),
                "caddyfile".into(),
            ],
            Some(_) => vec!["--config".into(), self.json().into()],
        }
    }

    fn write_caddyfile(&self, fallback: &str) {
        let text = format!(
            "{{\n\tadmin unix/{}\n\tauto_https off\n}}\n\
             http://:{} {{\n\trespond \"{fallback}\" 404\n}}\n",
            self.admin().display(),
            self.port,
        );
        fs::write(self.caddyfile(), text).expect("the folder is writable");
    }

    /// A Caddyfile has no words for one server on a plain and on a TLS port.
    fn write_json(&self, tls_port: u16) {
        let nothing = json!({ "handler": "static_response", "status_code": 404 });
        let config = json!({
            "admin": { "listen": format!("unix/{}", self.admin().display()) },
            "apps": {
                "http": {
                    // Caddy speaks TLS on every port of the server but this one.
                    "http_port": self.port,
                    "https_port": tls_port,
                    "servers": { "front": {
                        "listen": [format!(":{}", self.port), format!(":{tls_port}")],
                        "routes": [{ "handle": [nothing] }],
                        "tls_connection_policies": [{}],
                        "automatic_https": { "disable_redirects": true },
                    } },
                },
                "tls": { "automation": { "policies": [{ "issuers": [{ "module": "internal" }] }] } },
                "pki": { "certificate_authorities": { "local": { "install_trust": false } } },
            },
        });
        fs::write(self.json(), config.to_string()).expect("the folder is writable");
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.kill();
    }
}
