//! git as a child process: it asks nobody, runs nothing of the repository's, ends in
//! time, and says no more than is wanted.
//!
//! What the user has configured for reaching a server stays in force: credential
//! helpers, keys, known hosts, proxies, `url.insteadOf`.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};

use super::remote::Remote;

/// How long git may work on its own files.
pub(super) const LOCAL_DEADLINE: Duration = Duration::from_secs(120);

/// More than anything we ask git for: a file of 1 MiB.
const MAX_OUTPUT_BYTES: u64 = 2 * 1024 * 1024;
const MAX_ERROR_BYTES: u64 = 64 * 1024;

/// What git is told on every call, over all configuration.
const SETTINGS: &[&str] = &[
    // Nothing of a repository's or a template's is ever run.
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    // A symlink becomes a file that holds where it would have led.
    "core.symlinks=false",
    // What stands in the tree is what was committed.
    "core.autocrlf=false",
    "core.sparseCheckout=false",
    "core.logAllRefUpdates=false",
    "log.showSignature=false",
    // A power cut must not leave a name of what is not on the disk.
    "core.fsync=all",
    "gc.auto=0",
    "maintenance.auto=false",
    "gc.autoDetach=false",
    // A server that falls silent is given up before our own deadline.
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=45",
];

/// Of git's own variables, those that say how to reach a server. All others could
/// lead it to another repository, or have it run or print something.
const KEPT: &[&str] = &[
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "GIT_SSL_NO_VERIFY",
    "GIT_SSL_VERSION",
    "GIT_PROXY_COMMAND",
    "GIT_PROXY_SSL_CAINFO",
    "GIT_HTTP_USER_AGENT",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_EXEC_PATH",
];

/// Answers git's question for the URL's own credential, and nothing else.
const HELPER: &str = "!f() { test \"$1\" = get && \
    printf 'username=%s\\npassword=%s\\n' \"$QUAYMASTER_GIT_USER\" \"$QUAYMASTER_GIT_SECRET\"; \
    }; f";

/// Why git did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("`git` is not installed, or not in the PATH")]
    NotInstalled,
    #[error("cannot run `git`")]
    NotRun(#[source] io::Error),
    #[error("`git {what}` did not end within {} s", after.as_secs())]
    TooSlow { what: String, after: Duration },
    #[error("`git {what}` answered with too much")]
    TooMuch { what: String },
    #[error("`git {what}` failed: {said}")]
    Failed {
        what: String,
        code: Option<i32>,
        /// Its own words, without anything secret.
        said: String,
    },
}

/// git, working on one bare repository.
#[derive(Debug)]
pub(super) struct Git {
    repository: PathBuf,
    remote: Remote,
}

impl Git {
    pub fn new(repository: PathBuf, remote: Remote) -> Git {
        Git { repository, remote }
    }

    pub fn repository(&self) -> &Path {
        &self.repository
    }

    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Runs git on the repository alone.
    pub async fn local(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        self.run(self.command(arguments), arguments, LOCAL_DEADLINE).await
    }

    /// Returns one line of what git says.
    pub async fn line(&self, arguments: &[&str]) -> Result<String, GitError> {
        let output = self.local(arguments).await?;
        Ok(String::from_utf8_lossy(&output).trim_end().to_owned())
    }

    /// Runs git with the files of `tree` for its work tree. What it writes there,
    /// every user of a container may read.
    pub async fn in_tree(&self, tree: &Path, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        let inner = self.command(arguments);
        let mut command = Command::new("sh");
        command.args(["-c", "umask 022 && exec \"$0\" \"$@\"", "git"]);
        let (program, rest) = (inner.as_std().get_args(), inner.as_std().get_envs());
        command.arg("--work-tree").arg(tree).args(program).current_dir(tree);
        for (name, value) in rest {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.run(command, arguments, LOCAL_DEADLINE).await
    }

    /// Runs git with the remote within its reach.
    pub async fn remotely(
        &self,
        arguments: &[&str],
        deadline: Duration,
    ) -> Result<Vec<u8>, GitError> {
        let mut command = self.command(arguments);
        if !self.has_ssh_command().await? {
            command.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=20");
        }
        if let Some(credential) = self.remote.credential() {
            // The last of the helpers where only the user is named, else the only one.
            // For this host alone: not for a proxy, and not for one that is redirected to.
            let scope = self.remote.origin();
            let (username, helper) =
                (format!("credential.{scope}.username"), format!("credential.{scope}.helper"));
            let mut settings = vec![(username, credential.username.as_str())];
            if credential.password.is_some() {
                settings.push((helper.clone(), ""));
            }
            settings.push((helper, HELPER));
            command.env("GIT_CONFIG_COUNT", settings.len().to_string());
            for (n, (name, value)) in settings.into_iter().enumerate() {
                command.env(format!("GIT_CONFIG_KEY_{n}"), name);
                command.env(format!("GIT_CONFIG_VALUE_{n}"), value);
            }
            command.env("QUAYMASTER_GIT_USER", &credential.username);
            command.env("QUAYMASTER_GIT_SECRET", credential.password.as_deref().unwrap_or(""));
        }
        self.run(command, arguments, deadline).await
    }

    /// Whether the user says how to run ssh.
    async fn has_ssh_command(&self) -> Result<bool, GitError> {
        if ["GIT_SSH_COMMAND", "GIT_SSH"].iter().any(|name| env::var_os(name).is_some()) {
            return Ok(true);
        }
        match self.local(&["config", "--get", "core.sshCommand"]).await {
            Ok(_) => Ok(true),
            Err(GitError::Failed { code: Some(1), .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        for (name, _) in env::vars_os() {
            let is_git = name.to_str().is_some_and(|name| name.starts_with("GIT_"));
            if is_git && !KEPT.iter().any(|kept| name == *kept) {
                command.env_remove(name);
            }
        }
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            // Empty is not unset: it also overrides `core.askPass`.
            .env("GIT_ASKPASS", "")
            .env("SSH_ASKPASS", "")
            .env("SSH_ASKPASS_REQUIRE", "never")
            .env("GCM_INTERACTIVE", "never")
            .env("GIT_PAGER", "cat")
            // What is put on the disk is not fetched for it.
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("LC_ALL", "C");
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command
            .args(["--no-replace-objects", "--literal-pathspecs"])
            .arg("--git-dir")
            .arg(&self.repository)
            .args(arguments);
        command
    }

    async fn run(
        &self,
        mut command: Command,
        arguments: &[&str],
        deadline: Duration,
    ) -> Result<Vec<u8>, GitError> {
        // Before its name stand only settings.
        let is_name = |argument: &&&str| !argument.starts_with('-') && !argument.contains('=');
        let what = || arguments.iter().find(is_name).copied().unwrap_or_default().to_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // It starts others, ssh for one: they go with it.
            .process_group(0)
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => GitError::NotInstalled,
                _ => GitError::NotRun(error),
            })?;
        let group = Group::of(child.id());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let work = async {
            let (stdout, stderr) =
                tokio::try_join!(read(stdout, MAX_OUTPUT_BYTES), read(stderr, MAX_ERROR_BYTES))?;
            Ok((stdout, stderr, child.wait().await?))
        };
        let ended: io::Result<(Read, Read, ExitStatus)> = tokio::time::timeout(deadline, work)
            .await
            .map_err(|_| GitError::TooSlow { what: what(), after: deadline })?;
        let (stdout, stderr, status) = ended.map_err(GitError::NotRun)?;
        group.forget();
        if !status.success() {
            let said = self.remote.redacted(&String::from_utf8_lossy(&stderr.bytes));
            let said = essence(&said);
            return Err(GitError::Failed { what: what(), code: status.code(), said });
        }
        match stdout.is_whole {
            true => Ok(stdout.bytes),
            false => Err(GitError::TooMuch { what: what() }),
        }
    }
}

/// The child and everything that it started, killed unless they have ended.
struct Group(Option<Pid>);

impl Group {
    fn of(id: Option<u32>) -> Group {
        Group(id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// It has ended: its number may be another's by now.
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // What has ended already needs no killing.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

struct Read {
    bytes: Vec<u8>,
    is_whole: bool,
}

/// Reads to the end, and keeps no more than `max_bytes`.
async fn read(from: Option<impl AsyncRead + Unpin>, max_bytes: u64) -> io::Result<Read> {
    let mut bytes = Vec::new();
    let Some(mut from) = from else { return Ok(Read { bytes, is_whole: true }) };
    (&mut from).take(max_bytes).read_to_end(&mut bytes).await?;
    let rest = tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(Read { bytes, is_whole: rest == 0 })
}

/// Returns the lines of an error that say something, as one.
fn essence(said: &str) -> String {
    const SHOWN_LINES: usize = 4;
    const SHOWN_CHARS: usize = 600;
    let is_noise = |line: &str| {
        line.is_empty()
            || line.starts_with("hint:")
            || line.starts_with("warning: redirecting")
            || line.starts_with("Please make sure you have the correct access rights")
            || line == "and the repository exists."
    };
    let lines = said.lines().map(str::trim).filter(|line| !is_noise(line));
    let told: Vec<&str> = lines
        .map(|line| line.trim_start_matches("fatal: ").trim_start_matches("error: "))
        .take(SHOWN_LINES)
        .collect();
    let text: String = told.join("; ").chars().filter(|c| !c.is_control()).collect();
    match text.is_empty() {
        true => "it does not say why".to_owned(),
        false => text.chars().take(SHOWN_CHARS).collect(),
    }
}
