//! What the Caddy at hand understands.
//!
//! The admin API has no word for its version. What tells it nevertheless is a
//! stack dump, whose file names carry the module's version in official builds
//! (`…/caddy/v2@v2.11.7/admin.go`; Debian's have none), and how it behaves.
//! Behaviour decides wherever it can be seen, since distributions carry fixes
//! back.

use crate::domain::snapshot::ProxyVersion;

use super::admin::{Admin, AdminError, Answer, Standing};

/// What a Caddy said of itself when it was first met, and since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub version: Option<ProxyVersion>,
    /// It takes orders from a page of another origin that a browser on its
    /// machine shows: CVE-2026-27589, fixed in 2.11.
    pub trusts_every_web_page: bool,
    streams: Streams,
}

/// What becomes of WebSockets when the configuration changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// They outlive it by `stream_close_delay`: since 2.7.
    Outlive,
    /// They are cut at once, and the field is refused.
    AreCut,
    /// Not known before the first write tries.
    Untold,
}

const WITH_STREAM_CLOSE_DELAY: (u32, u32) = (2, 7);

/// An address that answers with a dump of what runs.
const STACK_DUMP: &str = "/debug/pprof/goroutine?debug=1";

/// What a browser says of a request that a page of another origin makes.
const OF_ANOTHER_ORIGIN: (&str, &str) = ("Sec-Fetch-Mode", "no-cors");

/// Asks a Caddy what it understands, with at most two requests. Whatever it
/// does not tell stays unknown; only a Caddy that cannot be reached is an error.
pub async fn learn(admin: &Admin) -> Result<Dialect, AdminError> {
    let as_a_page = told(admin.get_as(STACK_DUMP, &[OF_ANOTHER_ORIGIN]).await)?;
    let trusts_every_web_page = as_a_page.is_some();
    let dump = match as_a_page {
        Some(dump) => Some(dump),
        None => told(admin.get_as(STACK_DUMP, &[]).await)?,
    };
    let version = dump.and_then(|dump| version_in(&String::from_utf8_lossy(&dump.body)));
    let streams = match version {
        Some(version) if (version.major, version.minor) >= WITH_STREAM_CLOSE_DELAY => {
            Streams::Outlive
        }
        Some(_) => Streams::AreCut,
        None => Streams::Untold,
    };
    Ok(Dialect { version, trusts_every_web_page, streams })
}

fn told(answer: Result<Answer, AdminError>) -> Result<Option<Answer>, AdminError> {
    match answer {
        Ok(answer) => Ok(answer.is_success().then_some(answer)),
        Err(unreachable @ AdminError::Unreachable { .. }) => Err(unreachable),
        Err(_) => Ok(None),
    }
}

impl Dialect {
    pub fn streams(&self) -> Streams {
        self.streams
    }

    /// Learns from an answer: one whose ETag is a header comes from 2.8 or newer.
    pub fn hear(&mut self, standing: &Standing) {
        if standing.tag_was_a_header {
            self.streams = Streams::Outlive;
        }
    }

    /// Learns from a write that was refused for its `stream_close_delay`.
    pub fn refused_stream_close_delay(&mut self) {
        self.streams = Streams::AreCut;
    }
}

fn version_in(dump: &str) -> Option<ProxyVersion> {
    let (_, rest) = dump.split_once("github.com/caddyserver/caddy/v2@v")?;
    let numbers = rest.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?;
    let mut numbers = numbers.split('.').map(|number| number.parse().ok());
    Some(ProxyVersion { major: numbers.next()??, minor: numbers.next()??, patch: numbers.next()?? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_dump_of_an_official_build_tells_the_version() {
        let line =
            |file: &str| format!("#\t0x5\tgithub.com/caddyserver/caddy/v2.run+0x1\t\t{file}");
        let official = line("github.com/caddyserver/caddy/v2@v2.11.7/admin.go:443");
        let version = ProxyVersion { major: 2, minor: 11, patch: 7 };
        assert_eq!(version_in(&official), Some(version));
        let beta = line("/go/pkg/mod/github.com/caddyserver/caddy/v2@v2.11.7-beta.1/admin.go:443");
        assert_eq!(version_in(&beta), Some(version));
        let debian = line("github.com/caddyserver/caddy/v2/admin.go:406");
        assert_eq!(version_in(&debian), None);
    }
}
