//! Turns an error into what people read: what failed, why, what to type next.

use std::{error::Error, iter};

use serde::Serialize;

use super::{
    args::Output,
    client::ClientError,
    error::CommandError,
    exit::Exit,
    public_client::PublicClientError,
    view::{Ink, Page},
};
use crate::{
    docker::ConnectError,
    domain::ServiceName,
    lock::LockError,
    plan::Refusal,
    server::{BadSecretFile, BindError, refusal_hint},
    source::git::{GitError, RepositoryError},
    store::OpenError,
};

/// An error, taken apart for people or programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    pub error: String,
    /// Each the cause of the one before.
    pub causes: Vec<String>,
    pub hint: Option<String>,
}

impl ErrorReport {
    pub fn of(error: &CommandError) -> ErrorReport {
        let causes = iter::successors(error.source(), |cause| (*cause).source());
        let mut causes: Vec<String> = causes.map(ToString::to_string).collect();
        // Libraries like to repeat a cause in its effect.
        causes.dedup();
        ErrorReport { error: error.to_string(), causes, hint: hint(error) }
    }
}

/// Returns the text for standard error, without a line break at its end.
pub fn render(page: Page, output: Output, error: &CommandError) -> String {
    match output {
        Output::Json => {
            serde_json::to_string(&ErrorReport::of(error)).expect("plain data serialises")
        }
        Output::People => match error {
            CommandError::File(text) => text.trim_end().to_owned(),
            other => render_for_people(page, &ErrorReport::of(other)),
        },
    }
}

fn render_for_people(page: Page, report: &ErrorReport) -> String {
    let mut lines = vec![format!("{} {}", page.paint(Ink::Bad, "error:"), report.error)];
    let causes = report.causes.iter();
    lines.extend(causes.map(|cause| format!("  {} {cause}", page.paint(Ink::Dim, "because:"))));
    if let Some(hint) = &report.hint {
        lines.push(format!("  {} {hint}", page.paint(Ink::Busy, "try:")));
    }
    lines.join("\n")
}

/// Returns the exit code that the error ends the program with.
pub fn exit(error: &CommandError) -> Exit {
    match error {
        CommandError::File(_)
        | CommandError::NoPolicy { .. }
        | CommandError::Unreadable { .. }
        | CommandError::NoFile(_)
        | CommandError::Remote(_)
        | CommandError::RepoPath(_)
        | CommandError::Repository(RepositoryError::BadBranch(_))
        | CommandError::FileInGit { .. }
        | CommandError::SecretFile(_)
        | CommandError::NoSuchService { .. }
        | CommandError::Refused(Refusal::NoSuchService(_))
        | CommandError::SlotIsAuto { .. } => Exit::Wrong,
        CommandError::Repository(
            RepositoryError::Held(_) | RepositoryError::Folder { .. } | RepositoryError::Git(_),
        )
        | CommandError::Fetch(_)
        | CommandError::Client(_)
        | CommandError::PublicClient(_)
        | CommandError::Listen(_)
        | CommandError::Bind(_)
        | CommandError::Runtime(_)
        | CommandError::Connect(_)
        | CommandError::DockerUnseen(_)
        | CommandError::Docker(_)
        | CommandError::Lock(_)
        | CommandError::Store(_)
        | CommandError::Unsaved(_)
        | CommandError::Refused(_)
        | CommandError::Clock(_)
        | CommandError::NothingRuns { .. }
        | CommandError::NotEdited { .. }
        | CommandError::NotWritten { .. }
        | CommandError::Print(_) => Exit::Failed,
    }
}

fn hint(error: &CommandError) -> Option<String> {
    let hint = match error {
        CommandError::Client(error) => return client_hint(error),
        CommandError::Bind(error) => bind_hint(error).to_owned(),
        CommandError::Unreadable { .. } => {
            "name the file: quaymaster validate path/to/quaymaster.yaml".to_owned()
        }
        CommandError::NoPolicy { .. } => {
            "name one: quaymaster policy check --policy policy.yaml quaymaster.yaml".to_owned()
        }
        CommandError::Remote(_) => {
            "name it as for `git clone`: --git https://git.example.com/shop/state.git".to_owned()
        }
        CommandError::RepoPath(_) => "name the file from the top of the repository".to_owned(),
        CommandError::Repository(error) => return repository_hint(error).map(str::to_owned),
        CommandError::Fetch(error) => return error.hint().map(str::to_owned),
        CommandError::FileInGit { service, .. } => {
            format!("change `slot:` of {service} there, commit and push")
        }
        CommandError::PublicClient(error) => return public_client_hint(error).map(str::to_owned),
        CommandError::SecretFile(error) => secret_file_hint(error).to_owned(),
        CommandError::Listen(_) => "choose another --listen".to_owned(),
        CommandError::Connect(error) => return connect_hint(error).map(str::to_owned),
        CommandError::DockerUnseen(why) => return docker_hint(why).map(str::to_owned),
        CommandError::Docker(failure) => return docker_hint(&failure.message).map(str::to_owned),
        CommandError::Lock(error) => lock_hint(error).to_owned(),
        CommandError::Store(error) => store_hint(error).to_owned(),
        CommandError::NoSuchService { known, .. } if known.is_empty() => {
            "it has none at all".to_owned()
        }
        CommandError::NoSuchService { known, .. } => {
            let known: Vec<&str> = known.iter().map(ServiceName::as_str).collect();
            format!("it has {}", known.join(", "))
        }
        CommandError::NothingRuns { .. } => "`quaymaster status` says why".to_owned(),
        CommandError::SlotIsAuto { active, .. } => {
            let active = active.map_or("blue", |slot| slot.as_str());
            format!(
                "with `auto` a new image goes to the idle slot and flips by itself; to choose by \
                 hand, write `slot: {active}` into the file first, which is where it runs now"
            )
        }
        CommandError::Refused(refusal) => refusal_hint(refusal),
        CommandError::NoFile(_) => {
            "name the file with --file, or start the controller: one that follows Git tells \
             only while it runs"
                .to_owned()
        }
        CommandError::NotWritten { .. } => {
            "the file is replaced as a whole, so its folder must be writable too".to_owned()
        }
        CommandError::File(_)
        | CommandError::Runtime(_)
        | CommandError::Unsaved(_)
        | CommandError::Clock(_)
        | CommandError::NotEdited { .. }
        | CommandError::Print(_) => return None,
    };
    Some(hint)
}

fn client_hint(error: &ClientError) -> Option<String> {
    match error {
        ClientError::NoController(_) => Some(
            "start one with `quaymaster run FILE` or `--git URL`, or name its socket with --socket"
                .to_owned(),
        ),
        ClientError::NotAllowed(_) => {
            Some("its socket is its owner's alone: use `sudo quaymaster …`".to_owned())
        }
        ClientError::Failed { .. } => {
            Some("its log says what it is doing: `journalctl -u quaymaster`".to_owned())
        }
        ClientError::Refused { hint, .. } => hint.clone(),
    }
}

fn bind_hint(error: &BindError) -> &'static str {
    match error {
        BindError::Answered(_) => {
            "`quaymaster status` shows it; for a second stack give each its own --socket and \
             --state-dir"
        }
        BindError::NotASocket(_) => "move it away, or choose another --socket",
        BindError::Folder { .. } | BindError::Listen { .. } => {
            "run it as root, or choose a --socket in a folder that is yours"
        }
    }
}

fn public_client_hint(error: &PublicClientError) -> Option<&'static str> {
    match error {
        PublicClientError::NoToken(_) => {
            Some("set QUAYMASTER_TOKEN to what --status-token-file of the controller holds")
        }
        PublicClientError::Refused(_) => {
            Some("it has to be what --status-token-file of the controller holds")
        }
        PublicClientError::Off(_) => {
            Some("start the controller with --listen and --status-token-file")
        }
        PublicClientError::TokenFile { .. }
        | PublicClientError::Unreachable { .. }
        | PublicClientError::Failed { .. } => None,
    }
}

fn secret_file_hint(error: &BadSecretFile) -> &'static str {
    match error {
        BadSecretFile::Open(_) => "a secret is its owner's alone: `chmod 600` it",
        BadSecretFile::Empty(_) => "write one into it: `openssl rand -hex 32`",
        BadSecretFile::Unreadable { .. } | BadSecretFile::TooLarge(_) => {
            "name a file that holds the secret alone"
        }
    }
}

fn repository_hint(error: &RepositoryError) -> Option<&'static str> {
    match error {
        RepositoryError::Held(_) => {
            Some("it converges by itself: push a commit, or look with `quaymaster status`")
        }
        RepositoryError::Folder { .. } => {
            Some("run it as root, or choose a --state-dir in a folder that is yours")
        }
        RepositoryError::Git(GitError::NotInstalled) => Some("install it: `apt install git`"),
        RepositoryError::BadBranch(_) | RepositoryError::Git(_) => None,
    }
}

fn connect_hint(error: &ConnectError) -> Option<&'static str> {
    match error {
        ConnectError::Unreachable { why, .. } => docker_hint(why),
        ConnectError::UnsupportedHost(_) => None,
        ConnectError::TooOld { .. } => Some("update Docker, then try again"),
    }
}

fn lock_hint(error: &LockError) -> &'static str {
    match error {
        LockError::Held { .. } => {
            "it converges by itself: edit the file, or look with `quaymaster status`"
        }
        LockError::Socket { .. } => "try again",
    }
}

fn store_hint(error: &OpenError) -> &'static str {
    match error {
        OpenError::Held { .. } => "stop that one first, or give this one a --state-dir of its own",
        OpenError::Folder { .. } | OpenError::Unreadable { .. } => {
            "run it as root, or choose a --state-dir in a folder that is yours"
        }
    }
}

/// Returns the mend for the ways in which Docker is most often out of reach.
fn docker_hint(message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["permission denied"]) {
        Some("use `sudo`, or join the group: `sudo usermod -aG docker $USER` and log in again")
    } else if says(&["no such", "refused", "not found", "timed out", "connect"]) {
        Some("is Docker running? `sudo systemctl start docker`; elsewhere? set DOCKER_HOST")
    } else {
        None
    }
}
