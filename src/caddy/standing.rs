//! Everything of ours as one look found it, in Caddy's configuration and in the
//! switch files; and what is missing to make it something else.
//!
//! Pure. What Caddy does with a request is what counts: of the files, the one
//! that its matchers find.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use crate::domain::{
    RouteState, RouteTable, ServiceName, StackName,
    snapshot::{FlipMechanism, ProxyState},
    stack::{FlipChoice, ProxyConfig},
};

use super::{
    app::HttpApp,
    change::{self, Write},
    dialect::{Dialect, Streams},
    ids,
    lane::{self, Lanes, Sign, Standby},
    place::{self, PlaceError},
    read::{self, Route},
    render::{self, Flips},
    switch::{
        Folder,
        course::{self, Course},
        folder::Found,
    },
};

/// What one look found.
pub struct Standing<'a> {
    stack: &'a StackName,
    config: &'a ProxyConfig,
    folder: &'a Folder,
    app: &'a HttpApp,
    found: &'a Found,
    flip: FlipMechanism,
    routes: BTreeMap<ServiceName, Route>,
}

/// What is missing, in the order in which it is done: the files of `course.before`,
/// the write, the other files.
#[derive(Debug)]
pub struct Change {
    pub course: Course,
    pub write: Option<Write>,
    pub rest: Rest,
}

/// What is left to do after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    Nothing,
    /// Something that must not be done before what answers now has stopped to.
    Follows,
}

impl Change {
    fn is_nothing(&self) -> bool {
        self.write.is_none() && self.course.is_empty() && self.rest == Rest::Nothing
    }
}

impl<'a> Standing<'a> {
    pub fn new(
        stack: &'a StackName,
        config: &'a ProxyConfig,
        folder: &'a Folder,
        app: &'a HttpApp,
        found: &'a Found,
        flip: FlipMechanism,
    ) -> Standing<'a> {
        let ours = app.top_level(&ids::of_stack(stack));
        let routes = ours.first().map(|spot| read::routes(stack, spot.route)).unwrap_or_default();
        Standing { stack, config, folder, app, found, flip, routes }
    }

    /// Returns what stands as a route table, and whether it stands as we would
    /// write it.
    pub fn state(self, dialect: &Dialect) -> ProxyState {
        let table = self.table();
        let intact = match dialect.streams() {
            Streams::Untold => [Streams::Outlive, Streams::AreCut].as_slice(),
            Streams::Outlive => [Streams::Outlive].as_slice(),
            Streams::AreCut => [Streams::AreCut].as_slice(),
        }
        .iter()
        // A place that stays open, or a mechanism that cannot be had, is not
        // intact: the write that follows is what tells the operator so.
        .any(|&streams| {
            let is_blocked = matches!(self.flip, FlipMechanism::Blocked { .. });
            (!is_blocked || table.is_empty())
                && self.toward(&table, streams).is_ok_and(|change| change.is_nothing())
        });
        ProxyState { table, intact, idle: self.idle(), flip: self.flip, version: dialect.version }
    }

    /// Returns what makes our part exactly `table`.
    pub fn toward(&self, table: &RouteTable, streams: Streams) -> Result<Change, PlaceError> {
        let id = ids::of_stack(self.stack);
        if table.is_empty() {
            let course = course::plot(&BTreeMap::new(), &BTreeMap::new(), self.found);
            let write = change::without(self.app, &id);
            return Ok(Change { course, write, rest: Rest::Nothing });
        }
        let place = place::choose(self.app, self.config.listen.as_deref())?;
        let with = |flips| {
            let route = render::subtree(self.stack, table, flips, place.https, streams);
            change::with(self.app, &id, &place.site, route)
        };
        Ok(match self.flip {
            // Files that nothing looks for hurt nobody; they are put right before
            // anything looks for them again.
            FlipMechanism::AdminApi { .. } | FlipMechanism::Blocked { .. } => Change {
                course: Course::default(),
                write: with(Flips::ByAdminApi),
                rest: Rest::Nothing,
            },
            FlipMechanism::SwitchFile => {
                let standing = self.lanes();
                let lanes = settled(table, &standing);
                let rest =
                    if settled(table, &lanes) == lanes { Rest::Nothing } else { Rest::Follows };
                let flips = Flips::BySwitchFile { folder: self.folder.path(), lanes: &lanes };
                let course = course::plot(&standing, &lanes, self.found);
                Change { course, write: with(flips), rest }
            }
        })
    }

    fn table(&self) -> RouteTable {
        let state = |(name, route): (&ServiceName, &Route)| match route {
            Route::Direct(state) => Some((name.clone(), state.clone())),
            Route::Switched { route, stream_close_delay, dials } => {
                let lanes = self.lanes_of(name, dials.clone());
                let Sign { lane, standby } = lanes.answering()?;
                let standby = match standby {
                    Standby::Catches => lanes.backend(lane.other()),
                    Standby::Rests => None,
                };
                let state = RouteState {
                    route: route.clone(),
                    backend: lanes.backend(lane)?,
                    standby,
                    stream_close_delay: *stream_close_delay,
                };
                Some((name.clone(), state))
            }
        };
        self.routes.iter().filter_map(state).collect()
    }

    /// Returns the addresses of lanes that get no request.
    fn idle(&self) -> BTreeMap<ServiceName, BTreeSet<SocketAddr>> {
        let idle = |(name, lanes): (ServiceName, Lanes)| {
            let Sign { lane, standby } = lanes.answering()?;
            let dials = lanes.dials.get(lane.other());
            let rests = standby == Standby::Rests && !dials.is_empty();
            rests.then(|| (name, dials.clone()))
        };
        self.lanes().into_iter().filter_map(idle).collect()
    }

    /// Returns the lanes of every service that has some in the configuration, or
    /// a switch file.
    fn lanes(&self) -> BTreeMap<ServiceName, Lanes> {
        let names: BTreeSet<&ServiceName> =
            self.routes.keys().chain(self.found.services()).collect();
        let lanes = |name: &ServiceName| match self.routes.get(name) {
            Some(Route::Switched { dials, .. }) => self.lanes_of(name, dials.clone()),
            Some(Route::Direct(_)) | None => self.lanes_of(name, lane::Dials::default()),
        };
        names.into_iter().map(|name| (name.clone(), lanes(name))).collect()
    }

    fn lanes_of(&self, name: &ServiceName, dials: lane::Dials) -> Lanes {
        let (sign, tenants) = match self.found.shown(name) {
            Some((sign, tenants)) => (Some(sign), tenants.unwrap_or_default()),
            None => (None, lane::Tenants::default()),
        };
        let sign = if self.is_unseen() { Some(Sign::WITHOUT_A_FILE) } else { sign };
        Lanes { dials, tenants, sign }
    }

    /// Returns whether Caddy, asked, sees none of the files.
    fn is_unseen(&self) -> bool {
        match (&self.flip, self.config.flip) {
            (FlipMechanism::SwitchFile, _) | (_, FlipChoice::AdminApi) => false,
            (
                FlipMechanism::AdminApi { .. } | FlipMechanism::Blocked { .. },
                FlipChoice::Auto | FlipChoice::SwitchFile,
            ) => true,
        }
    }
}

/// Returns how the lanes of the whole table are to stand.
fn settled(
    table: &RouteTable,
    standing: &BTreeMap<ServiceName, Lanes>,
) -> BTreeMap<ServiceName, Lanes> {
    let named: BTreeSet<SocketAddr> = table.values().flat_map(RouteState::dials).copied().collect();
    let none = Lanes::default();
    let lanes = table.iter().map(|(name, state)| {
        let standing = standing.get(name).unwrap_or(&none);
        (name.clone(), lane::settled(state, standing, &named))
    });
    lanes.collect()
}
