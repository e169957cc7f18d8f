//! The [`Proxy`] port over Caddy's admin API.
//!
//! Place: an adapter; it knows `domain` and `ports`, and Caddy's JSON never
//! leaves this folder. Flow of a pass: `admin` reads `apps.http` with one
//! request, `app` looks into it, `place` picks the server, `read` turns
//! our subtree into a route table, `render` turns a table into the subtree
//! (with `precedence` deciding whose route comes first), and `change` finds
//! the one write that makes what stands what should stand.
//!
//! Observing and writing share `change`: a subtree is intact exactly when
//! writing the table that was read from it would change nothing.
//!
//! Deliberately absent: writes through `/id/…` (with a second writer they hit
//! the wrong route, even under `If-Match`), `POST /load` (it ignores
//! `If-Match` and owns everybody's configuration), Caddy's health checks (one
//! false alarm on a single upstream is an outage; the prober decides), and a
//! `caddy` child process (Caddy may run in a container).

mod admin;
mod app;
mod change;
mod dialect;
mod etag;
mod ids;
mod place;
mod precedence;
mod read;
mod render;
#[cfg(test)]
mod round_trip;

use std::time::Duration;

use tokio::sync::Mutex;
use tracing::warn;

use crate::{
    domain::{
        RouteTable, StackName,
        snapshot::{Failure, FailureKind, ProxyState},
        stack::{AdminEndpoint, ProxyConfig},
    },
    ports::Proxy,
};

use admin::{Admin, AdminError};
use app::HttpApp;
use change::Write;
use dialect::{Dialect, Streams};
use place::PlaceError;

/// How often one write starts again from the top because someone else changed
/// the configuration meanwhile, or because its answer was lost.
const MAX_WRITE_ATTEMPTS: u32 = 5;

/// The pause after a write whose answer was lost, times the attempt: Caddy may
/// still be busy with it.
const LOST_ANSWER_PAUSE: Duration = Duration::from_millis(50);

/// One stack's part of a Caddy.
#[derive(Debug)]
pub struct Caddy {
    stack: StackName,
    /// Held for a whole observation or write: Caddy restarts its admin server
    /// at each change, so a call beside a write loses its connection.
    link: Mutex<Option<Link>>,
}

/// A Caddy that has answered, and what was learned about it.
#[derive(Debug)]
struct Link {
    endpoint: AdminEndpoint,
    admin: Admin,
    dialect: Dialect,
}

/// Why our routes could not be read or written.
#[derive(Debug, thiserror::Error)]
enum CaddyError {
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(
        "Caddy at {endpoint} was changed by someone else during each of {MAX_WRITE_ATTEMPTS} \
         tries to write our routes"
    )]
    Contended { endpoint: String },
    #[error("the route of `{service}` has no replica to send to")]
    NoDials { service: String },
}

impl Caddy {
    /// Returns the routes of `stack` in whichever Caddy the calls name.
    pub fn new(stack: &StackName) -> Caddy {
        Caddy { stack: stack.clone(), link: Mutex::new(None) }
    }

    /// Runs `work` on the link to `endpoint`. A link that failed to connect is
    /// forgotten, with all that was learned: what answers there next may be
    /// another Caddy.
    async fn linked<T>(
        &self,
        endpoint: &AdminEndpoint,
        work: impl AsyncFnOnce(&mut Link) -> Result<T, CaddyError>,
    ) -> Result<T, Failure> {
        let mut held = self.link.lock().await;
        let result = async {
            let link = match held.as_mut() {
                Some(link) if link.endpoint == *endpoint => link,
                Some(_) | None => held.insert(meet(endpoint).await?),
            };
            work(link).await
        }
        .await;
        if let Err(CaddyError::Admin(AdminError::Unreachable { .. })) = &result {
            *held = None;
        }
        result.map_err(|error| error.into_failure())
    }
}

/// Makes a link, and learns what its Caddy understands.
async fn meet(endpoint: &AdminEndpoint) -> Result<Link, CaddyError> {
    let admin = Admin::new(endpoint)?;
    let dialect = dialect::learn(&admin).await?;
    if dialect.trusts_every_web_page {
        warn!(
            caddy = admin.name(),
            "this Caddy lets any web page opened on this machine replace its configuration \
             (CVE-2026-27589); update to 2.11 or newer, or move its admin endpoint to a unix socket"
        );
    }
    Ok(Link { endpoint: endpoint.clone(), admin, dialect })
}

impl Proxy for Caddy {
    async fn observe(&self, config: &ProxyConfig) -> Result<ProxyState, Failure> {
        self.linked(&config.admin, async |link| {
            let standing = link.admin.read_http_app().await?;
            link.dialect.hear(&standing);
            Ok(self.state(config, &standing.app, &link.dialect))
        })
        .await
    }

    async fn write(&self, config: &ProxyConfig, table: &RouteTable) -> Result<(), Failure> {
        self.linked(&config.admin, async |link| {
            if let Some((service, _)) =
                table.iter().find(|(_, state)| state.backend.dials.is_empty())
            {
                return Err(CaddyError::NoDials { service: service.to_string() });
            }
            let mut attempts = 0;
            while attempts < MAX_WRITE_ATTEMPTS {
                match self.write_once(link, config, table).await? {
                    Attempt::Done => return Ok(()),
                    Attempt::Learned => {}
                    Attempt::Overtaken => attempts += 1,
                    Attempt::AnswerLost => {
                        attempts += 1;
                        tokio::time::sleep(LOST_ANSWER_PAUSE * attempts).await;
                    }
                }
            }
            Err(CaddyError::Contended { endpoint: link.admin.name().to_owned() })
        })
        .await
    }
}

/// How one try of a write ended.
enum Attempt {
    /// The table stands.
    Done,
    /// Someone else has changed the configuration since it was read.
    Overtaken,
    /// It was refused for a word that this Caddy does not know; that happens
    /// once, because the word is not used again.
    Learned,
    /// The write may or may not have been applied; only reading again tells.
    AnswerLost,
}

impl Caddy {
    /// Reads, and sends the one write that is missing, if any.
    async fn write_once(
        &self,
        link: &mut Link,
        config: &ProxyConfig,
        table: &RouteTable,
    ) -> Result<Attempt, CaddyError> {
        let standing = link.admin.read_http_app().await?;
        link.dialect.hear(&standing);
        let streams = link.dialect.streams();
        let Some(write) = self.missing_write(config, &standing.app, table, streams)? else {
            return Ok(Attempt::Done);
        };
        let tag = match standing.etag {
            Some(tag) => tag,
            // `apps.http` does not exist, so it has no tag: the whole
            // configuration's stands in for it, if that still lacks it.
            None => match link.admin.read_root_tag().await? {
                Some(tag) => tag,
                None => return Ok(Attempt::Overtaken),
            },
        };
        match link.admin.send(&write, &tag).await {
            Ok(()) => Ok(Attempt::Done),
            Err(AdminError::Stale { .. }) => Ok(Attempt::Overtaken),
            Err(AdminError::AnswerLost { .. }) => Ok(Attempt::AnswerLost),
            Err(AdminError::Rejected { message, .. })
                if streams == Streams::Untold && message.contains(render::STREAM_CLOSE_DELAY) =>
            {
                link.dialect.refused_stream_close_delay();
                Ok(Attempt::Learned)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the write that makes our part of `app` exactly `table`; None if
    /// it is that already.
    fn missing_write(
        &self,
        config: &ProxyConfig,
        app: &HttpApp,
        table: &RouteTable,
        streams: Streams,
    ) -> Result<Option<Write>, PlaceError> {
        let id = ids::of_stack(&self.stack);
        if table.is_empty() {
            return Ok(change::without(app, &id));
        }
        let place = place::choose(app, config.listen.as_deref())?;
        let route = render::subtree(&self.stack, table, place.https, streams);
        Ok(change::with(app, &id, &place.site, route))
    }

    /// Returns our part of `app` as a route table, and whether it stands as we
    /// would write it.
    fn state(&self, config: &ProxyConfig, app: &HttpApp, dialect: &Dialect) -> ProxyState {
        let ours = app.top_level(&ids::of_stack(&self.stack));
        let table = ours.first().map(|spot| read::table(&self.stack, spot.route));
        let table = table.unwrap_or_default();
        let intact = match dialect.streams() {
            Streams::Untold => [Streams::Outlive, Streams::AreCut].as_slice(),
            Streams::Outlive => [Streams::Outlive].as_slice(),
            Streams::AreCut => [Streams::AreCut].as_slice(),
        }
        .iter()
        // A place that stays open is not intact: the write that follows is
        // what tells the operator so.
        .any(|&streams| matches!(self.missing_write(config, app, &table, streams), Ok(None)));
        ProxyState { table, intact, version: dialect.version }
    }
}

impl CaddyError {
    fn into_failure(self) -> Failure {
        let kind = match &self {
            CaddyError::Admin(error) => error.kind(),
            CaddyError::Place(_) | CaddyError::NoDials { .. } => FailureKind::Refused,
            CaddyError::Contended { .. } => FailureKind::Transient,
        };
        Failure { kind, message: with_cause(&self) }
    }
}

/// Returns an error's words and those of its innermost cause, which is where
/// reqwest keeps what the system said.
fn with_cause(error: &dyn std::error::Error) -> String {
    let innermost = std::iter::successors(error.source(), |cause| cause.source()).last();
    match innermost {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
