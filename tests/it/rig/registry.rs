//! A real registry on loopback: Debian's `docker-registry`, in a folder of its own.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
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
    /// The header that says who asks.
    authorization: String,
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
        let authorization = match access {
            Access::Anybody => String::new(),
            Access::Only { user, password } => {
                format!(
                    "Authorization: Basic {}\r\n",
                    STANDARD.encode(format!("{user}:{password}"))
                )
            }
        };
        let (process, host) = (serve(&path), format!("127.0.0.1:{port}"));
        let registry = Registry { process, folder, host, authorization };
        registry.wait_for_it();
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

    /// Starts it again after [`Registry::stop`], where it was, with what it had.
    pub fn start_again(&mut self) {
        self.process = serve(&self.folder.path().join("config.yml"));
        self.wait_for_it();
    }

    fn wait_for_it(&self) {
        eventually(|| TcpStream::connect(&self.host).ok()).expect("the registry listens");
    }

    /// Stores bytes, and returns their digest.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let begun = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), "", &[]);
        let to = begun.lines().find_map(|line| line.strip_prefix("Location: "));
        let to = to.expect("an upload has a place").trim().to_owned();
        let path = to.split_once(&self.host).map_or(&*to, |(_, path)| path).to_owned();
        let digest = digest(bytes);
        let done =
            self.ask("PUT", &format!("{path}&digest={digest}"), "application/octet-stream", bytes);
        assert!(done.starts_with("HTTP/1.1 201"), "{done}");
        digest
    }

    /// Stores a manifest under a tag or its digest.
    pub fn put_manifest(&self, repository: &str, reference: &str, kind: &str, manifest: &Value) {
        let bytes = manifest.to_string().into_bytes();
        let done =
            self.ask("PUT", &format!("/v2/{repository}/manifests/{reference}"), kind, &bytes);
        assert!(done.starts_with("HTTP/1.1 201"), "{done}");
    }

    /// Stores a manifest without a tag; returns its digest and size.
    pub fn put_by_digest(&self, repository: &str, kind: &str, manifest: &Value) -> (String, usize) {
        let bytes = manifest.to_string().into_bytes();
        let digest = digest(&bytes);
        self.put_manifest(repository, &digest, kind, manifest);
        (digest, bytes.len())
    }

    /// Returns what a tag means.
    pub fn digest_of(&self, repository: &str, tag: &str) -> String {
        let answer = self.ask("HEAD", &format!("/v2/{repository}/manifests/{tag}"), "", &[]);
        let digest = answer.lines().find_map(|line| line.strip_prefix("Docker-Content-Digest: "));
        digest.unwrap_or_else(|| panic!("no digest in {answer}")).trim().to_owned()
    }

    /// Asks the registry, and returns the whole answer.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> String {
        let mut connection = TcpStream::connect(&self.host).expect("the registry listens");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}Content-Type: {kind}\r\n\
             Accept: application/vnd.docker.distribution.manifest.v2+json, \
             application/vnd.oci.image.manifest.v1+json\r\nContent-Length: {}\r\n\r\n",
            self.host,
            self.authorization,
            body.len()
        );
        connection.write_all(head.as_bytes()).expect("the registry reads");
        connection.write_all(body).expect("the registry reads");
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).expect("the registry answers");
        String::from_utf8_lossy(&answer).into_owned()
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

fn serve(config: &Path) -> Child {
    let program =
        env::var_os("QUAYMASTER_TEST_REGISTRY").unwrap_or_else(|| "docker-registry".into());
    Command::new(program)
        .arg("serve")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("docker-registry is installed")
}

fn digest(bytes: &[u8]) -> String {
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

/// Returns a `config.json` as `docker login` leaves it.
pub fn docker_config(host: &str, user: &str, password: &str) -> String {
    let auth = STANDARD.encode(format!("{user}:{password}"));
    serde_json::json!({ "auths": { host: { "auth": auth } } }).to_string()
}
