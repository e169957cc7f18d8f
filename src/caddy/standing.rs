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
    Inside, RouteState, RouteTable, ServiceName, StackName,
    snapshot::{FlipMechanism, ProxyState},
    stack::{FlipChoice, ProxyConfig},
};

use super::{
    app::HttpApp,
    change::{self, Wanted, Write},
    dialect::{Dialect, Streams},
    ids, inside,
    lane::{self, Lanes, Sign, Standby},
    names::Names,
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
    names: Names,
    routes: BTreeMap<ServiceName, Route>,
    inside: BTreeMap<ServiceName, Inside>,
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
        names: Names,
    ) -> Standing<'a> {
        let ours = app.top_level(&ids::of_stack(stack));
        let routes = ours.first().map(|spot| read::routes(stack, spot.route)).unwrap_or_default();
        let server = app.server(&ids::of_names_server(stack));
        let inside = server.map(|server| inside::read(stack, server)).unwrap_or_default();
        Standing { stack, config, folder, app, found, flip, names, routes, inside }
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
        let is_unclear = |name: &&ServiceName| !table.contains_key(*name);
        let unclear = self.routes.keys().filter(is_unclear).cloned().collect();
        ProxyState {
            table,
            unclear,
            intact,
            idle: self.idle(),
            flip: self.flip,
            names: self.names.mechanism,
            refused: self.names.refused,
            version: dialect.version,
        }
    }

    /// Returns what makes our part exactly `table`.
    pub fn toward(&self, table: &RouteTable, streams: Streams) -> Result<Change, PlaceError> {
        let (id, names) = (ids::of_stack(self.stack), ids::of_names_server(self.stack));
        let write = |route, server| {
            change::toward(self.app, Wanted { id: &id, route, names: &names, server })
        };
        if table.is_empty() {
            let course = course::plot(&BTreeMap::new(), &BTreeMap::new(), self.found);
            return Ok(Change { course, write: write(None, None), rest: Rest::Nothing });
        }
        let place = place::choose(self.app, self.config.listen.as_deref())?;
        let table = &self.without_refused(table);
        let with = |flips| {
            let handlers = render::handlers(self.stack, table, flips, streams);
            let route = render::subtree(self.stack, table, &handlers, place.https);
            write(Some((place.site.clone(), route)), inside::server(self.stack, table, &handlers))
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

    /// Returns the table without the addresses that Caddy cannot have.
    fn without_refused(&self, table: &RouteTable) -> RouteTable {
        let mut table = table.clone();
        for state in table.values_mut() {
            if let Some(inside) = &mut state.inside {
                inside.listen.retain(|listen| !self.names.refused.contains_key(listen));
            }
            state.inside = state.inside.take().filter(|inside| !inside.listen.is_empty());
        }
        table
    }

    fn table(&self) -> RouteTable {
        let inside = |name: &ServiceName| self.inside.get(name).cloned();
        let state = |(name, route): (&ServiceName, &Route)| match route {
            Route::Direct(state) => {
                Some((name.clone(), RouteState { inside: inside(name), ..state.clone() }))
            }
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
                    inside: inside(name),
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
