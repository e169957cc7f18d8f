//! What the environment tells the server to do.

use std::{env, path::PathBuf, str::FromStr, time::Duration};

/// How the server behaves. Every field has a harmless default.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// `PORT`, 8080.
    pub port: u16,
    /// `VERSION`, `v0`: the first word of every answer.
    pub version: String,
    /// `START_DELAY` seconds before it listens.
    pub start_delay: Duration,
    /// `UNHEALTHY=1` or `FLAP=n`.
    pub health: Health,
    /// `EXIT_AFTER` seconds after its start, by itself.
    pub exit_after: Option<Duration>,
    /// `EXIT_CODE`, with which it exits by itself: 1 for a server, 0 for a job.
    pub exit_code: Option<u8>,
    /// `IGNORE_SIGTERM=1`: only a SIGKILL ends it.
    pub on_sigterm: OnSigterm,
    /// `RESPONSE_DELAY` milliseconds before `/` answers.
    pub response_delay: Duration,
    /// `SAY`: a line for its log, at start.
    pub say: Option<String>,
    /// `DATA_DIR`: each start appends a line to a file there, which `/data` shows.
    pub data_dir: Option<PathBuf>,
    /// Where the controller says it runs.
    pub berth: Berth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Good,
    Bad,
    /// So many good answers, then so many bad ones, and again.
    Flapping(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSigterm {
    /// Finishes the requests in flight for at most `DRAIN` seconds (10), exits 0.
    Drain(Duration),
    Ignore,
}

/// What the controller puts into every replica's environment.
#[derive(Clone, Debug)]
pub struct Berth {
    pub slot: String,
    pub release: String,
    pub replica: String,
}

impl Behaviour {
    /// Reads the environment; a value that does not parse ends the process, so
    /// that a typing error in a test never passes for good behaviour.
    pub fn from_environment() -> Behaviour {
        let health = match (flag("UNHEALTHY"), number::<u64>("FLAP")) {
            (true, _) => Health::Bad,
            (false, Some(n)) => Health::Flapping(n.max(1)),
            (false, None) => Health::Good,
        };
        let on_sigterm = if flag("IGNORE_SIGTERM") {
            OnSigterm::Ignore
        } else {
            OnSigterm::Drain(seconds("DRAIN").unwrap_or(Duration::from_secs(10)))
        };
        Behaviour {
            port: number("PORT").unwrap_or(8080),
            version: text("VERSION").unwrap_or_else(|| "v0".to_owned()),
            start_delay: seconds("START_DELAY").unwrap_or_default(),
            health,
            exit_after: seconds("EXIT_AFTER"),
            exit_code: number("EXIT_CODE"),
            on_sigterm,
            response_delay: number("RESPONSE_DELAY").map(Duration::from_millis).unwrap_or_default(),
            say: text("SAY"),
            data_dir: text("DATA_DIR").map(PathBuf::from),
            berth: Berth {
                slot: text("QUAYMASTER_SLOT").unwrap_or_else(|| "-".to_owned()),
                release: text("QUAYMASTER_RELEASE").unwrap_or_else(|| "-".to_owned()),
                replica: text("QUAYMASTER_REPLICA").unwrap_or_else(|| "-".to_owned()),
            },
        }
    }
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn flag(name: &str) -> bool {
    matches!(text(name).as_deref(), Some("1" | "true" | "yes"))
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    let value = text(name)?;
    match value.parse() {
        Ok(number) => Some(number),
        Err(_) => refuse(name, &value),
    }
}

fn seconds(name: &str) -> Option<Duration> {
    let value: f64 = number(name)?;
    Some(Duration::try_from_secs_f64(value).unwrap_or_else(|_| refuse(name, &value.to_string())))
}

fn refuse(name: &str, value: &str) -> ! {
    eprintln!("{name}={value} is not a number that makes sense there");
    std::process::exit(2)
}
