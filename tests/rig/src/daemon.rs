//! One more Docker engine on this machine: a host of its own, in its own network
//! namespace, reached over a pair of virtual links.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{eventually, run, unique_name};

/// An engine; it ends, and its network goes, when it is dropped.
pub struct Daemon {
    dir: TempDir,
    namespace: String,
    process: Child,
    /// Where this machine reaches the ports that it publishes.
    pub address: Ipv4Addr,
    /// Where it reaches this machine.
    pub machine: Ipv4Addr,
}

impl Daemon {
    /// Starts the engine number `number`: no two of one test may share it.
    pub fn start(number: u8) -> Daemon {
        let dir = tempfile::Builder::new().prefix("qmd-").tempdir().expect("a folder");
        Daemon::start_in(dir, number)
    }

    /// Starts one that keeps its images on a disk of its own, of so many MiB.
    pub fn start_on_disk(number: u8, size_mib: u32) -> Daemon {
        let dir = tempfile::Builder::new().prefix("qmd-").tempdir().expect("a folder");
        let image = dir.path().join("disk");
        let data = data_of(dir.path());
        let disk = fs::File::create(&image).expect("the folder is writable");
        disk.set_len(u64::from(size_mib) << 20).expect("a file may have holes");
        fs::create_dir(&data).expect("the folder is writable");
        // Without the share that only root could use: full is full.
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image));
        run(as_root("mount").args(["-o", "loop"]).arg(&image).arg(&data));
        Daemon::start_in(dir, number)
    }

    fn start_in(dir: TempDir, number: u8) -> Daemon {
        let namespace = unique_name("qm");
        // Names of links have room for 15 characters.
        let unique = std::process::id() % 10_000;
        let (near, far) = (format!("qn{unique}x{number}"), format!("qf{unique}x{number}"));
        // Of the range that documents are written with, so that no real host has it.
        let net = [198, 18, u8::try_from(unique % 250).expect("small"), number * 4];
        let at = |host: u8| Ipv4Addr::new(net[0], net[1], net[2], net[3] + host);
        let (here, there) = (at(1), at(2));
        for arguments in [
            format!("netns add {namespace}"),
            format!("link add {near} type veth peer name {far} netns {namespace}"),
            format!("address add {here}/30 dev {near}"),
            format!("link set {near} up"),
            format!("-n {namespace} address add {there}/30 dev {far}"),
            format!("-n {namespace} link set {far} up"),
            format!("-n {namespace} link set lo up"),
        ] {
            run(as_root("ip").args(arguments.split(' ')));
        }
        // Not the configuration of this machine's own engine.
        let config = dir.path().join("daemon.json");
        // A registry of this machine speaks no TLS to it.
        let insecure = format!("{{\"insecure-registries\": [\"{here}/32\"]}}");
        fs::write(&config, insecure).expect("the folder is writable");
        let log = fs::File::create(dir.path().join("log")).expect("the folder is writable");
        // An engine before 24 has its identity from /etc/docker, which all of one machine
        // would share: so each sees a folder of its own there.
        let etc = dir.path().join("etc");
        fs::create_dir(&etc).expect("the folder is writable");
        let script = "mount --bind \"$0\" /etc/docker && exec \"$@\"";
        let process = as_root("nsenter")
            .arg(format!("--net=/var/run/netns/{namespace}"))
            .args(["unshare", "--mount", "sh", "-c", script])
            .arg(&etc)
            .arg("dockerd")
            .arg(format!("--config-file={}", config.display()))
            .arg(format!("--host={}", host_of(dir.path())))
            .arg(format!("--data-root={}", data_of(dir.path()).display()))
            .arg(format!("--exec-root={}", dir.path().join("exec").display()))
            .arg(format!("--pidfile={}", dir.path().join("pid").display()))
            .arg(format!("--bip=172.31.{number}.1/24"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be doubled"))
            .stderr(log)
            .spawn()
            .expect("dockerd is installed");
        let daemon = Daemon { dir, namespace, process, address: there, machine: here };
        let answers = || daemon.docker(&["version"]).output().ok()?.status.success().then_some(());
        if eventually(answers).is_none() {
            let log = fs::read_to_string(daemon.dir.path().join("log")).unwrap_or_default();
            panic!("the engine did not start:\n{log}");
        }
        daemon
    }

    /// Returns what `DOCKER_HOST` is to be.
    pub fn host(&self) -> String {
        host_of(self.dir.path())
    }

    pub fn folder(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Returns where it keeps its images.
    pub fn data(&self) -> PathBuf {
        data_of(self.dir.path())
    }

    /// Returns the `docker` command for this engine.
    pub fn docker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(self.host()).args(arguments);
        command
    }

    /// Gives the engine an image that this machine's own has.
    pub fn load(&self, tag: &str) {
        let mut save = Command::new("docker")
            .args(["save", tag])
            .stdout(Stdio::piped())
            .spawn()
            .expect("docker runs");
        run(self.docker(&["load"]).stdin(save.stdout.take().expect("it is piped")));
        assert!(save.wait().expect("it ends").success(), "docker save failed");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let listed = self.docker(&["ps", "--all", "--quiet"]).output();
        let ids = listed.map(|output| output.stdout).unwrap_or_default();
        let ids = String::from_utf8_lossy(&ids).into_owned();
        if !ids.trim().is_empty() {
            let _ = self.docker(&["rm", "--force"]).args(ids.split_whitespace()).output();
        }
        let pid = self.process.id().to_string();
        let _ = as_root("kill").args(["-TERM", &pid]).output();
        let _ = self.process.wait();
        let data = data_of(self.dir.path());
        // Only one on a disk of its own has something mounted there.
        let _ = as_root("umount").arg(&data).output();
        // The links go with the namespace.
        let _ = as_root("ip").args(["netns", "delete", &self.namespace]).output();
    }
}

fn data_of(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn host_of(folder: &Path) -> String {
    format!("unix://{}", folder.join("docker.sock").display())
}

/// Returns a command with the rights that namespaces take.
fn as_root(program: &str) -> Command {
    let is_root = run(Command::new("id").arg("-u")).trim() == "0";
    if is_root {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["--non-interactive", program]);
    command
}
