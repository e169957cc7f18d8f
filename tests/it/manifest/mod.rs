//! The desired-state file: what is accepted and what it means, what is refused
//! and how that reads.

mod accepted;
mod gates;
mod hostile;
mod hosts;
mod idle_slot;
mod policy;
mod refused;
mod refused_routes;
mod report;
pub mod secrets;
mod seeds;
mod slot_edit;
mod telling;
mod unreadable;
mod upstreams;

use std::{io, path::Path};

use quaymaster::domain::{
    HostIdentity, Service, Stack,
    manifest::{AllowDeleteAll, Input, Problem, Report, parse},
};

/// The variables of every test here. `TOKEN` is a secret that no message may
/// show.
const VARIABLES: [(&str, &str); 5] =
    [("TAG", "1.4.2"), ("PORT", "8001"), ("EMPTY", ""), ("TOKEN", CANARY), ("SPACED", "two words")];

const CANARY: &str = "Canary-5f1e";

/// The files beside the desired-state file.
const FILES: [(&str, &[u8]); 4] = [
    ("app.env", b"FROM_FILE=yes\nBOTH=file\nQUOTED='$kept'\n"),
    ("more.env", b"BOTH=more\n"),
    ("broken.env", b"FINE=1\nCanary-5f1e\n"),
    ("binary.env", b"A=\xff"),
];

fn variable(name: &str) -> Option<String> {
    VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

fn file(path: &Path) -> io::Result<Vec<u8>> {
    FILES
        .iter()
        .find(|(name, _)| Path::new(name) == path)
        .map(|(_, content)| content.to_vec())
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn read_bytes(text: &[u8], allow_delete_all: AllowDeleteAll) -> Result<Stack, Report> {
    read_on(&HostIdentity::default(), text, allow_delete_all)
}

/// Reads a file as this host does.
fn read_on(
    host: &HostIdentity,
    text: &[u8],
    allow_delete_all: AllowDeleteAll,
) -> Result<Stack, Report> {
    parse(&Input {
        file_name: "quaymaster.yaml",
        text,
        variables: &variable,
        read_file: &file,
        vault: &secrets::TestVault,
        base_dir: Path::new("/srv/shop"),
        allow_delete_all,
        host,
        policy: None,
    })
}

fn read(text: &str) -> Result<Stack, Report> {
    read_bytes(text.as_bytes(), AllowDeleteAll::No)
}

/// Returns the stack of a file that must be fine.
fn accepted(text: &str) -> Stack {
    read(text).unwrap_or_else(|report| panic!("refused:\n{text}\n{report}"))
}

/// Returns the report of a file that must be refused.
fn refused(text: &str) -> Report {
    match read(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(report) => report,
    }
}

/// Returns the one problem of a file that must have exactly one.
fn problem(text: &str) -> Problem {
    let report = refused(text);
    match report.problems() {
        [problem] => problem.clone(),
        _ => panic!("not one problem:\n{text}\n{report}"),
    }
}

/// Checks a whole file: where the one problem is, and pieces of what is said.
#[track_caller]
fn file_is_refused(text: &str, (line, column): (usize, usize), message: &str, help: &str) {
    let problem = problem(text);
    assert_eq!((problem.line, problem.column), (line, column), "{text}\n{problem:?}");
    assert!(problem.message.contains(message), "{text}\n{problem:?}");
    assert!(problem.help.contains(help), "{text}\n{problem:?}");
}

/// Checks lines of a service. The place is counted within these lines.
#[track_caller]
fn lines_are_refused(lines: &str, (line, column): (usize, usize), message: &str, help: &str) {
    file_is_refused(&stack_with(lines), (line + FIRST_LINE - 1, column + 4), message, help);
}

/// Returns a stack of one service, `web`, with these lines in it.
fn stack_with(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "name: shop\nproxy: {{ caddy: {{}} }}\nvolumes: {{ data: {{}} }}\nservices:\n  web:\n    image: shop/web:1\n{lines}"
    )
}

/// The first line that `stack_with` puts its lines on.
const FIRST_LINE: usize = 7;

/// Returns the service `web` with these lines in it.
fn web(lines: &str) -> Service {
    accepted(&stack_with(lines)).services.remove(&"web".parse().unwrap()).expect("it is declared")
}
