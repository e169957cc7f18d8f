//! A host of its own for each test: a folder, a stack name, demo images, a
//! Caddy and a controller, all removed at the end.

use std::{
    cell::RefCell,
    env, fs,
    fs::File,
    io::Write as _,
    net::SocketAddr,
    os::unix::{fs::OpenOptionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
};

use tempfile::TempDir;

use crate::{
    client::{Load, Site, Traffic},
    docker::{Replica, container_ids, docker_lenient, image_ids, import_demo, replicas},
    edge::{Edge, Listens, Version, binary},
    eventually,
    load::{self, Kind, Target, Tls},
    status::Status,
    unique_name,
};

/// What the file says of `proxy.caddy.flip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flip {
    /// Nothing.
    ByDefault,
    AdminApi,
    SwitchFile,
}

impl Flip {
    /// Returns the key, to stand behind another one.
    fn key(self) -> &'static str {
        match self {
            Flip::ByDefault => "",
            Flip::AdminApi => ", flip: admin-api",
            Flip::SwitchFile => ", flip: switch-file",
        }
    }
}

pub struct Host {
    dir: TempDir,
    /// What /run is on a server: a folder in memory.
    memory: TempDir,
    /// Variables of this host's controller and commands.
    pub environment: Vec<(&'static str, String)>,
    pub stack: String,
    pub edge: Edge,
    flip: Flip,
    /// What the file says of `proxy.caddy.names`; nothing where it is None.
    pub names: Option<&'static str>,
    /// The engine that its controller speaks to; this machine's own where it is None.
    pub engine: Option<String>,
    controller: Option<Child>,
    images: RefCell<Vec<String>>,
    volumes: RefCell<Vec<String>>,
}

impl Default for Host {
    /// A host with a new Caddy and nothing deployed.
    fn default() -> Host {
        Host::with(Version::New)
    }
}

impl Host {
    /// A host with a new Caddy and nothing deployed.
    pub fn new() -> Host {
        Host::default()
    }

    pub fn with(version: Version) -> Host {
        Host::behind(&binary(version), Listens::Plain, Flip::ByDefault)
    }

    /// A host with this Caddy, told how to flip.
    pub fn behind(caddy: &Path, listens: Listens, flip: Flip) -> Host {
        let dir = tempfile::Builder::new().prefix("qm-").tempdir().expect("a folder can be made");
        let edge = Edge::start(dir.path(), caddy, listens);
        let in_memory = tempfile::Builder::new().prefix("qm-").tempdir_in("/dev/shm");
        Host {
            memory: in_memory.expect("Linux has memory at /dev/shm"),
            environment: Vec::new(),
            stack: unique_name("e2e"),
            edge,
            flip,
            names: None,
            engine: None,
            controller: None,
            images: RefCell::default(),
            volumes: RefCell::default(),
            dir,
        }
    }

    // --- images and the file ---------------------------------------------------

    /// Makes a demo image whose answers say `version`.
    pub fn image(&self, version: &str) {
        self.image_with(version, &[]);
    }

    /// Makes a demo image that behaves as `environment` tells it.
    pub fn image_with(&self, version: &str, environment: &[(&str, &str)]) {
        let tag = self.tag(version);
        let mut all = vec![("VERSION", version)];
        all.extend_from_slice(environment);
        import_demo(&tag, &all);
        self.images.borrow_mut().push(tag);
    }

    /// Returns the reference of an image of this host.
    pub fn tag(&self, version: &str) -> String {
        format!("{}/app:{version}", self.stack)
    }

    /// Returns the host name of a routed service.
    pub fn host_name(&self, service: &str) -> String {
        format!("{service}.{}.test", self.stack)
    }

    /// Returns a whole file: this host's stack and proxy, timings that suit a
    /// test, and `services`, in which `APP:` stands for the image's repository
    /// and `HOST` for the host's domain.
    pub fn file(&self, services: &str) -> String {
        let services = services
            .replace("APP:", &self.tag(""))
            .replace("HOST", &format!("{}.test", self.stack));
        format!(
            "name: {}\nproxy: {{ caddy: {{ admin: \"unix://{}\"{}{} }} }}\n\
             defaults:\n  rollout: {{ drain_timeout: 1s, bake: 1s, scale_down_delay: 10m, \
             progress_deadline: 8s }}\n  probe: {{ interval: 1s, timeout: 1s }}\n{services}",
            self.stack,
            self.edge.admin().display(),
            self.flip.key(),
            self.names.map_or(String::new(), |names| format!(", names: {names}")),
        )
    }

    /// Saves the file as editors do: a new one, renamed into place.
    pub fn save(&self, services: &str) {
        self.save_raw(&self.file(services));
    }

    pub fn save_raw(&self, text: &str) {
        let fresh = self.dir.path().join(".quaymaster.yaml.new");
        fs::write(&fresh, text).expect("the folder is writable");
        fs::rename(&fresh, self.file_path()).expect("a file can be renamed");
    }

    /// Saves a file beside the desired-state file, for its owner to read only, and returns
    /// where.
    pub fn save_beside(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        let fresh = path.with_extension("new");
        let mut file = File::options();
        let file = file.create(true).truncate(true).write(true).mode(0o600).open(&fresh);
        file.and_then(|mut file| file.write_all(content.as_bytes())).expect("writable");
        fs::rename(&fresh, &path).expect("a file can be renamed");
        path
    }

    /// Returns the folder that containers' secret files are put into.
    pub fn secrets_dir(&self) -> PathBuf {
        self.memory.path().join("secrets")
    }

    /// Returns the folder of what the controller remembers.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn file_path(&self) -> PathBuf {
        self.dir.path().join("quaymaster.yaml")
    }

    /// Says that a volume of this name is to be removed at the end.
    pub fn own_volume(&self, name: &str) {
        self.volumes.borrow_mut().push(format!("{}_{name}", self.stack));
    }

    // --- the controller --------------------------------------------------------

    /// Starts `quaymaster run` on this host's file.
    pub fn start(&mut self) {
        let file = self.file_path().display().to_string();
        self.start_with(&[&file]);
    }

    /// Starts `quaymaster run` with these arguments.
    pub fn start_with(&mut self, arguments: &[&str]) {
        assert!(self.controller.is_none(), "it runs already");
        let log = File::options().create(true).append(true).mode(0o600).open(self.log_path());
        let log = log.expect("the folder is writable");
        let child = self
            .command(&["run"])
            .args(arguments)
            // What woke each pass.
            .env("QUAYMASTER_LOG", "info,quaymaster::controller::run=debug")
            .stdout(log.try_clone().expect("a file handle can be doubled"))
            .stderr(log)
            .spawn()
            .expect("quaymaster starts");
        self.controller = Some(child);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut controller = self.controller.take().expect("the controller runs");
        controller.kill().expect("a child can be killed");
        controller.wait().expect("a killed child ends");
    }

    /// SIGTERM; returns how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        let mut controller = self.controller.take().expect("the controller runs");
        eventually(|| controller.try_wait().expect("a child can be waited for"))
            .expect("a controller ends after SIGTERM")
    }

    /// Sends the controller a signal, named as `kill` names it.
    pub fn signal(&self, name: &str) {
        let pid = self.controller_pid().to_string();
        crate::run(Command::new("kill").args([&format!("-{name}"), &pid]));
    }

    pub fn controller_pid(&self) -> u32 {
        self.controller.as_ref().expect("the controller runs").id()
    }

    /// Deletes everything that the controller remembers. The switch file is no
    /// memory: it says what is so.
    pub fn lose_store(&self) {
        let state = fs::read_dir(self.dir.path().join("state")).expect("the state folder is there");
        for entry in state {
            let entry = entry.expect("it can be read");
            // A copy of a repository is no memory either.
            if entry.file_name() != "switch" && entry.file_name() != ".from-git" {
                fs::remove_dir_all(entry.path()).expect("the store goes");
            }
        }
    }

    /// Runs a command of quaymaster's against this host to its end.
    pub fn quaymaster(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("quaymaster runs")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(quaymaster_binary());
        command
            .args(arguments)
            .arg("--state-dir")
            .arg(self.dir.path().join("state"))
            .arg("--socket")
            .arg(self.dir.path().join("quaymaster.sock"))
            .current_dir(self.dir.path())
            .env("DOCKER_CONFIG", self.docker_config())
            .env("GIT_CONFIG_GLOBAL", self.git_config())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(self.engine.as_ref().map(|engine| ("DOCKER_HOST", engine)))
            .env("QUAYMASTER_SECRETS_DIR", self.secrets_dir())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Returns the folder of the credentials that this host's controller uses.
    pub fn docker_config(&self) -> PathBuf {
        self.dir.path().join("docker")
    }

    /// Returns the file of the git configuration that this host's controller uses; it is
    /// there only if a test writes it.
    pub fn git_config(&self) -> PathBuf {
        self.dir.path().join("gitconfig")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("quaymaster.log")
    }

    /// Returns everything that the controllers of this host have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    // --- looking ---------------------------------------------------------------

    /// Asks the controller; None while it does not answer.
    pub fn status(&self) -> Option<Status> {
        let output = self.quaymaster(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Returns whether a controller listens, whatever its passes are at.
    pub fn is_listening(&self) -> bool {
        UnixStream::connect(self.dir.path().join("quaymaster.sock")).is_ok()
    }

    /// Polls the status until `is_so`; panics with everything there is to know
    /// if it never is.
    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        match eventually(|| self.status().filter(&is_so)) {
            Some(status) => status,
            None => self.give_up(what),
        }
    }

    /// Polls anything observable until it is there.
    #[track_caller]
    pub fn until_seen<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        match eventually(look) {
            Some(found) => found,
            None => self.give_up(what),
        }
    }

    #[track_caller]
    pub fn until_settled(&self) -> Status {
        self.until("every service is settled", Status::is_settled)
    }

    /// Waits until `service` answers `VERSION SLOT` through Caddy.
    #[track_caller]
    pub fn until_answers(&self, service: &str, banner: &str) {
        let site = self.site(service);
        self.until_seen(&format!("{service} answers {banner:?}"), || {
            (site.banner().as_deref() == Some(banner)).then_some(())
        });
    }

    #[track_caller]
    fn give_up(&self, what: &str) -> ! {
        let status = self.quaymaster(&["status"]);
        let log = fs::read(self.log_path()).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(12_000)..];
        panic!(
            "never seen: {what}\n--- status\n{}{}\n--- containers\n{:#?}\n--- the controller's log\n{}",
            String::from_utf8_lossy(&status.stdout),
            String::from_utf8_lossy(&status.stderr),
            self.replicas(),
            String::from_utf8_lossy(tail),
        )
    }

    pub fn replicas(&self) -> Vec<Replica> {
        replicas(&self.stack)
    }

    pub fn running(&self, service: &str) -> Vec<Replica> {
        let mut found = self.replicas();
        found.retain(|replica| replica.running && replica.service == service);
        found
    }

    pub fn site(&self, service: &str) -> Site {
        Site { host: self.host_name(service), port: self.edge.port }
    }

    pub fn traffic(&self, service: &str) -> Traffic {
        self.site(service).traffic("/", Load::LIGHT)
    }

    /// Returns where clients of every kind find a service.
    pub fn target(&self, service: &str) -> Target {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let authority = self.edge.authority();
        Target {
            host: self.host_name(service),
            plain: loopback(self.edge.port),
            tls: self.edge.tls_port.map(|port| Tls::trusting(&authority, loopback(port))),
            patience: Target::PATIENCE,
        }
    }

    /// Waits until `service`, which answers, does so over TLS: until Caddy has a
    /// certificate for it.
    #[track_caller]
    pub fn until_tls(&self, service: &str) {
        let target = self.target(service);
        self.until_seen(&format!("{service} answers over TLS"), || {
            let counts = load::Traffic::start(&target, &[(Kind::Http2, 1)]).end();
            counts[&Kind::Http2].is_spotless().then_some(())
        });
    }
}

/// Returns the binary that cargo built beside the test or bench that runs:
/// `PROFILE/quaymaster` for `PROFILE/deps/NAME-HASH`.
/// Returns the binary that is tested: the one beside the test's own.
pub fn quaymaster_binary() -> PathBuf {
    let running = env::current_exe().expect("a running program has a path");
    let profile = running.ancestors().nth(2).expect("cargo runs it from PROFILE/deps");
    profile.join("quaymaster")
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut controller) = self.controller.take() {
            // Killed at once, it could leave a creation that the engine ends later.
            let _ = Command::new("kill").args(["-TERM", &controller.id().to_string()]).status();
            if eventually(|| controller.try_wait().transpose()).is_none() {
                let _ = controller.kill();
                let _ = controller.wait();
            }
        }
        if thread::panicking() {
            eprintln!("--- the controller's log\n{}", self.log());
        }
        for id in container_ids(&self.stack) {
            docker_lenient(&["rm", "--force", "--volumes", &id]);
        }
        docker_lenient(&["network", "rm", &format!("{}_default", self.stack)]);
        for volume in self.volumes.borrow().iter() {
            docker_lenient(&["volume", "rm", volume]);
        }
        for image in self.images.borrow().iter() {
            docker_lenient(&["image", "rm", image]);
        }
        // What was pulled carries a tag of our stack, beside the registry's digest.
        for id in image_ids(&format!("quaymaster/{}", self.stack)) {
            docker_lenient(&["image", "rm", "--force", &id]);
        }
    }
}
