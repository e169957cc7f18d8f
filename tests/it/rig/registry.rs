//! A real registry on loopback: Debian's `docker-registry`, in a folder of its own.

use std::{
    env, fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;

use super::{eventually, free_port, run};

/// Whom a registry lets in.
#[derive(Clone, Copy, Debug)]
pub enum Access<'a> {
    Anybody,
    Only { user: &'a str, password: &'a str },
}

/// A registry that ends with its last owner.
pub struct Registry {
    process: Child,
    folder: TempDir,
    host: String,
}

impl Registry {
    pub fn start(access: Access<'_>) -> Registry {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let auth = match access {
            Access::Anybody => String::new(),
            Access::Only { user, password } => {
                let line = run(Command::new("htpasswd").args(["-Bbn", user, password]));
                let path = folder.path().join("htpasswd");
                fs::write(&path, line).expect("the folder is writable");
                format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display())
            }
        };
        let port = free_port();
        let store = folder.path().join("store");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\"}}\n{auth}",
            store.display()
        );
        let path = folder.path().join("config.yml");
        fs::write(&path, config).expect("the folder is writable");
        let program =
            env::var_os("QUAYMASTER_TEST_REGISTRY").unwrap_or_else(|| "docker-registry".into());
        let process = Command::new(program)
            .arg("serve")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed");
        let registry = Registry { process, folder, host: format!("127.0.0.1:{port}") };
        eventually(|| TcpStream::connect(&registry.host).ok()).expect("the registry listens");
        let login = match access {
            Access::Anybody => "{}".to_owned(),
            Access::Only { user, password } => docker_config(&registry.host, user, password),
        };
        fs::write(registry.docker_config().join("config.json"), login).expect("writable");
        registry
    }

    /// Returns `HOST:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the folder of a `config.json` that may push and pull here.
    pub fn docker_config(&self) -> &Path {
        self.folder.path()
    }

    /// Pushes a local image as `repository:tag` and returns its whole reference.
    /// No local name of the registry's is left behind.
    pub fn push(&self, local: &str, repository_and_tag: &str) -> String {
        let reference = format!("{}/{repository_and_tag}", self.host);
        run(Command::new("docker").args(["tag", local, &reference]));
        run(Command::new("docker")
            .env("DOCKER_CONFIG", self.docker_config())
            .args(["push", "--quiet", &reference]));
        run(Command::new("docker").args(["rmi", &reference]));
        reference
    }

    /// Ends the process; its port then refuses connections.
    pub fn stop(&mut self) {
        // It may have ended by itself.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns a `config.json` as `docker login` leaves it.
pub fn docker_config(host: &str, user: &str, password: &str) -> String {
    let auth = STANDARD.encode(format!("{user}:{password}"));
    serde_json::json!({ "auths": { host: { "auth": auth } } }).to_string()
}
