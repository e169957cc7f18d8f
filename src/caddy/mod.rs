//! The [`Proxy`] port over Caddy's admin API and a folder of switch files.
//!
//! Place: an adapter; it knows `domain` and `ports`, and Caddy's JSON never
//! leaves this folder. Flow of a pass: `admin` reads `apps.http` with one
//! request, `app` looks into it, `place` picks the server, `read` turns our
//! subtree back into routes and `standing` joins them with what `switch` found;
//! `render` turns a table into the subtree (with `precedence` deciding whose
//! route comes first and `forward` how a request is sent on), `inside` turns it
//! into the server that answers to the services' names (`names` decides whether
//! Caddy can), and `change` finds the one write that makes what stands what
//! should stand. `in_flight` counts what a drain waits for, and
//! `watch` notices a Caddy that came anew.
//!
//! Traffic moves by one of two mechanisms. By the admin API, the configuration
//! names what answers, and a flip is a write of it, which rebuilds all of Caddy's
//! servers. By switch file, the configuration has two lanes for each service
//! (`lane`) and a file chooses (`switch`): a flip is a rename, and where the
//! next release comes to addresses that a lane has already, nothing else. The
//! switch file is used where Caddy itself has shown that it sees the folder.
//!
//! Observing and writing share `standing`: what stands is intact exactly when
//! writing the table that was read from it would change nothing.
//!
//! Deliberately absent: writes through `/id/…` (with a second writer they hit
//! the wrong route, even under `If-Match`), `POST /load` (it ignores
//! `If-Match` and owns everybody's configuration), Caddy's health checks on
//! a single upstream (one false alarm is an outage; the prober decides), and a
//! `caddy` child process (Caddy may run in a container).

mod admin;
mod app;
mod change;
#[cfg(test)]
mod crash_anywhere;
mod dialect;
mod etag;
mod forward;
mod ids;
mod in_flight;
mod inside;
mod lane;
mod names;
mod place;
mod precedence;
mod read;
mod render;
#[cfg(test)]
mod round_trip;
mod standing;
mod switch;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Mutex as SyncMutex, PoisonError},
    time::Duration,
};

use tokio::sync::Mutex;
use tracing::warn;

use crate::{
    domain::{
        RouteState, RouteTable, StackName,
        snapshot::{Failure, FailureKind, FlipMechanism, InFlight, ProxyState},
        stack::{AdminEndpoint, FlipChoice, ProxyConfig},
    },
    ports::Proxy,
};

use admin::{Admin, AdminError};
use change::Write;
use dialect::{Dialect, Streams};
use etag::ETag;
use names::Names;
use place::PlaceError;
use standing::{Change, Rest, Standing};
use switch::{
    Access, Folder,
    sight::{self, Sight},
};
use watch::{AdminWatch, Wake};

/// How often one write starts again from the top because someone else changed
/// the configuration meanwhile, or because its answer was lost.
const MAX_WRITE_ATTEMPTS: u32 = 5;

/// The pause after a write whose answer was lost, times the attempt: Caddy may
/// still be busy with it.
const LOST_ANSWER_PAUSE: Duration = Duration::from_millis(50);

/// One stack's part of a Caddy.
pub struct Caddy {
    stack: StackName,
    folder: Folder,
    /// Held for a whole observation or write: Caddy restarts its admin server
    /// at each change, so a call beside a write loses its connection.
    link: Mutex<Option<Link>>,
    /// None for a look.
    wake: Option<Wake>,
    watch: SyncMutex<Option<AdminWatch>>,
}

/// A Caddy that has answered, and what was learned about it.
#[derive(Debug)]
struct Link {
    endpoint: AdminEndpoint,
    admin: Admin,
    dialect: Dialect,
    /// What Caddy saw of the switch folder, as that was then.
    sight: Option<(switch::folder::Stamp, Sight)>,
    /// Who can answer to names, as that was last asked.
    names: Option<names::Seen>,
    /// Where it could not listen to answer to names, and why.
    refused: BTreeMap<SocketAddr, String>,
    /// Where it could not listen once.
    doubted: BTreeSet<SocketAddr>,
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
    #[error("{why}")]
    Blocked { why: String },
    #[error("cannot write the switch files in {}", folder.display())]
    Switch {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Caddy {
    /// Returns the routes of `stack` in whichever Caddy the calls name, with its
    /// switch files below `state_dir`.
    pub fn new(stack: &StackName, state_dir: &Path) -> Caddy {
        Caddy::with(stack, state_dir, Access::Controls)
    }

    /// Returns the same for a look: nothing is created in `state_dir`.
    pub fn onlooking(stack: &StackName, state_dir: &Path) -> Caddy {
        Caddy::with(stack, state_dir, Access::Looks)
    }

    fn with(stack: &StackName, state_dir: &Path, access: Access) -> Caddy {
        let folder = Folder::new(state_dir, stack, access);
        let watch = SyncMutex::default();
        Caddy { stack: stack.clone(), folder, link: Mutex::new(None), wake: None, watch }
    }

    /// Has `wake` called when Caddy ends, comes back or gets another configuration.
    /// Its calls must then be made inside a runtime.
    pub fn waking(self, wake: Wake) -> Caddy {
        Caddy { wake: Some(wake), ..self }
    }

    fn keep_watch(&self, endpoint: &AdminEndpoint) {
        let Some(wake) = &self.wake else { return };
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if !watch.as_ref().is_some_and(|watch| watch.is_of(endpoint)) {
            *watch = Some(AdminWatch::begin(endpoint, Wake::clone(wake)));
        }
    }

    /// Runs `work` on the link to `endpoint`. A link that failed to connect is
    /// forgotten, with all that was learned: what answers there next may be
    /// another Caddy.
    async fn linked<T>(
        &self,
        endpoint: &AdminEndpoint,
        work: impl AsyncFnOnce(&mut Link) -> Result<T, CaddyError>,
    ) -> Result<T, Failure> {
        self.keep_watch(endpoint);
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
    Ok(Link {
        endpoint: endpoint.clone(),
        admin,
        dialect,
        sight: None,
        names: None,
        refused: BTreeMap::new(),
        doubted: BTreeSet::new(),
    })
}

impl Link {
    /// Learns from a write that failed where Caddy cannot listen to answer to names;
    /// any other error is returned.
    fn learn_names(
        &mut self,
        table: &RouteTable,
        error: AdminError,
    ) -> Result<Attempt, CaddyError> {
        let (AdminError::Rejected { message, .. } | AdminError::Broken { message, .. }) = &error
        else {
            return Err(error.into());
        };
        let inside = table.values().filter_map(|state| state.inside.as_ref());
        let mut listens: BTreeSet<SocketAddr> =
            inside.flat_map(|inside| &inside.listen).copied().collect();
        listens.retain(|listen| !self.refused.contains_key(listen));
        let refused = names::refused(message, &listens);
        if refused.is_empty() {
            return Err(error.into());
        }
        let is_new = refused.keys().any(|listen| !self.doubted.contains(listen));
        if is_new && matches!(error, AdminError::Broken { .. }) {
            // It may be free again at once.
            self.doubted.extend(refused.keys());
            return Ok(Attempt::AnswerLost);
        }
        for (listen, why) in &refused {
            warn!(%listen, why, "Caddy cannot answer to names here");
        }
        self.refused.extend(refused);
        Ok(Attempt::Learned)
    }
}

impl Proxy for Caddy {
    async fn observe(&self, config: &ProxyConfig) -> Result<ProxyState, Failure> {
        self.linked(&config.admin, async |link| {
            let flip = self.mechanism(link, config.flip, Look::AsBefore).await?;
            let read = link.admin.read_http_app().await?;
            link.dialect.hear(&read);
            let found = self.on_disk(Folder::read).await;
            let mechanism = names::mechanism(&link.admin, config, &mut link.names).await?;
            let names = Names { mechanism, refused: link.refused.clone() };
            let standing =
                Standing::new(&self.stack, config, &self.folder, &read.app, &found, flip, names);
            Ok(standing.state(&link.dialect))
        })
        .await
    }

    async fn in_flight(&self, config: &ProxyConfig) -> Result<InFlight, Failure> {
        self.linked(&config.admin, async |link| {
            Ok(in_flight::count(&link.admin, &link.dialect).await?)
        })
        .await
    }

    async fn write(&self, config: &ProxyConfig, table: &RouteTable) -> Result<(), Failure> {
        self.linked(&config.admin, async |link| {
            let goes_nowhere = |state: &RouteState| {
                let standby = state.standby.as_ref();
                state.backend.dials.is_empty() || standby.is_some_and(|it| it.dials.is_empty())
            };
            if let Some((service, _)) = table.iter().find(|(_, state)| goes_nowhere(state)) {
                return Err(CaddyError::NoDials { service: service.to_string() });
            }
            let mut attempts = 0;
            while attempts < MAX_WRITE_ATTEMPTS {
                match self.write_once(link, config, table).await? {
                    Attempt::Done => return Ok(()),
                    Attempt::Learned => {}
                    Attempt::Halfway | Attempt::Overtaken => attempts += 1,
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

/// Whether what Caddy saw before still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Unless the folder is another one since, or who may pass to it.
    AsBefore,
    /// It does not: a rename that Caddy does not see moves nothing, and then the
    /// release that still has the traffic would be drained and stopped.
    Anew,
}

/// How one try of a write ended.
enum Attempt {
    /// The table stands.
    Done,
    /// What answered before does no longer, and the rest of the table can follow.
    Halfway,
    /// Someone else has changed the configuration since it was read.
    Overtaken,
    /// It was refused for a word that this Caddy does not know, or an address that
    /// it cannot have; that happens once for each, because it is not used again.
    Learned,
    /// The write may or may not have been applied; only reading again tells.
    AnswerLost,
}

impl Caddy {
    /// Returns how traffic is to move, asking Caddy what it sees where that
    /// matters.
    async fn mechanism(
        &self,
        link: &mut Link,
        choice: FlipChoice,
        look: Look,
    ) -> Result<FlipMechanism, CaddyError> {
        match choice {
            FlipChoice::AdminApi => return Ok(sight::as_the_file_says()),
            FlipChoice::Auto | FlipChoice::SwitchFile => {}
        }
        let stamp = self.on_disk(Folder::stamp).await;
        let sight = match (&link.sight, look) {
            (Some((then, sight)), Look::AsBefore) if *then == stamp => sight.clone(),
            (Some(_) | None, _) => {
                let nonce = self.on_disk(Folder::nonce).await;
                let sight = sight::look(&link.admin, &self.folder, nonce).await?;
                // Leaving the nonce may have made the folder.
                let stamp = self.on_disk(Folder::stamp).await;
                link.sight.insert((stamp, sight)).1.clone()
            }
        };
        Ok(sight::mechanism(choice, sight))
    }

    /// Reads, and does what is missing, if anything: the switch files, and the
    /// one write between them.
    async fn write_once(
        &self,
        link: &mut Link,
        config: &ProxyConfig,
        table: &RouteTable,
    ) -> Result<Attempt, CaddyError> {
        let flip = match table.is_empty() {
            // Nothing is to flip.
            true => FlipMechanism::SwitchFile,
            false => self.mechanism(link, config.flip, Look::Anew).await?,
        };
        if let FlipMechanism::Blocked { why } = flip {
            return Err(CaddyError::Blocked { why });
        }
        let read = link.admin.read_http_app().await?;
        link.dialect.hear(&read);
        let found = self.on_disk(Folder::read).await;
        let names = Names { refused: link.refused.clone(), ..Names::default() };
        let standing =
            Standing::new(&self.stack, config, &self.folder, &read.app, &found, flip, names);
        let streams = link.dialect.streams();
        let Change { course, write, rest } = standing.toward(table, streams)?;
        self.switched(move |folder| folder.show(&course.before)).await?;
        if let Some(write) = write {
            match self.send(link, &write, read.etag, streams, table).await? {
                Attempt::Done => {}
                unfinished => return Ok(unfinished),
            }
        }
        self.switched(move |folder| {
            folder.show(&course.after)?;
            folder.remove(&course.gone)
        })
        .await?;
        Ok(match rest {
            Rest::Nothing => Attempt::Done,
            Rest::Follows => Attempt::Halfway,
        })
    }

    async fn send(
        &self,
        link: &mut Link,
        write: &Write,
        tag: Option<ETag>,
        streams: Streams,
        table: &RouteTable,
    ) -> Result<Attempt, CaddyError> {
        let tag = match tag {
            Some(tag) => tag,
            // `apps.http` does not exist, so it has no tag: the whole
            // configuration's stands in for it, if that still lacks it.
            None => match link.admin.read_root_tag().await? {
                Some(tag) => tag,
                None => return Ok(Attempt::Overtaken),
            },
        };
        match link.admin.send(write, &tag).await {
            Ok(()) => Ok(Attempt::Done),
            Err(AdminError::Stale { .. }) => Ok(Attempt::Overtaken),
            Err(AdminError::AnswerLost { .. }) => Ok(Attempt::AnswerLost),
            Err(AdminError::Rejected { message, .. })
                if streams == Streams::Untold && message.contains(forward::STREAM_CLOSE_DELAY) =>
            {
                link.dialect.refused_stream_close_delay();
                Ok(Attempt::Learned)
            }
            Err(error) => link.learn_names(table, error),
        }
    }

    async fn switched(
        &self,
        work: impl FnOnce(&Folder) -> io::Result<()> + Send + 'static,
    ) -> Result<(), CaddyError> {
        let failed = |source| CaddyError::Switch { folder: self.folder.path().to_owned(), source };
        self.on_disk(work).await.map_err(failed)
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> T + Send + 'static,
    ) -> T {
        let folder = self.folder.clone();
        let work = tokio::task::spawn_blocking(move || work(&folder));
        work.await.expect("work on the folder does not panic")
    }
}

impl CaddyError {
    fn into_failure(self) -> Failure {
        let kind = match &self {
            CaddyError::Admin(error) => error.kind(),
            CaddyError::Place(_) | CaddyError::NoDials { .. } | CaddyError::Blocked { .. } => {
                FailureKind::Refused
            }
            CaddyError::Contended { .. } | CaddyError::Switch { .. } => FailureKind::Transient,
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
