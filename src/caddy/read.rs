//! Our subtree as it stands: the way back from [`super::render`].
//!
//! It reads as much as is still there. Whether anything was edited is not asked
//! here: whoever wants to know renders it again and compares.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use serde_json::Value;

use crate::domain::{
    self, Backend, Preview, RouteState, ServiceName, StackName, memory::Placement,
};

use super::{
    forward,
    ids::{self, Destination},
    lane::{Dials, Lane},
};

/// A service's route in Caddy's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// It says itself where requests go. Where it is called by name is told
    /// elsewhere.
    Direct(RouteState),
    /// A switch file says which lane they go to.
    Switched { route: domain::Route, stream_close_delay: Duration, dials: Dials },
}

/// Returns the services that can be read back from the stack's top-level route;
/// one that was edited beyond recognition is absent.
pub fn routes(stack: &StackName, subtree: &Value) -> BTreeMap<ServiceName, Route> {
    let routes = subtree.pointer("/handle/0/routes").and_then(Value::as_array);
    routes.into_iter().flatten().filter_map(|route| service(stack, route)).collect()
}

fn service(stack: &StackName, route: &Value) -> Option<(ServiceName, Route)> {
    let service = ids::service(stack, route["@id"].as_str()?)?;
    let handler = route.pointer("/handle/0")?;
    let label = ids::label(stack, &service, handler["@id"].as_str()?)?;
    let matches = route["match"].as_array()?;
    let hosts: Vec<String> =
        matches.iter().map(|matcher| texts(&matcher["host"])).collect::<Option<Vec<_>>>()?.concat();
    let path = matches.first()?.pointer("/path/0")?.as_str()?.to_owned();
    let preview = preview(&matches.first()?["header"])?;
    let route = domain::Route { hosts, path, port: label.port, preview };
    let stream_close_delay = label.stream_close_delay;
    let route = match label.to {
        Destination::Switch => {
            let dials = lanes(stack, &service, handler)?;
            Route::Switched { route, stream_close_delay, dials }
        }
        Destination::Release { active, standby: None } => {
            let backend = backend(active, forward::read(handler)?)?;
            let (standby, inside) = (None, None);
            Route::Direct(RouteState { route, backend, standby, stream_close_delay, inside })
        }
        Destination::Release { active, standby: Some(standby) } => {
            let (dials, standby_dials) = forward::read_with_standby(handler)?;
            let backend = backend(active, dials)?;
            let standby = Some(self::backend(standby, standby_dials)?);
            let inside = None;
            Route::Direct(RouteState { route, backend, standby, stream_close_delay, inside })
        }
    };
    Some((service, route))
}

/// Returns the header that a route asks for, if it asks for one; the outer None is for
/// what is not ours.
fn preview(headers: &Value) -> Option<Option<Preview>> {
    let Some(headers) = headers.as_object() else { return headers.is_null().then_some(None) };
    let (name, values) = headers.iter().next().filter(|_| headers.len() == 1)?;
    let mut values = texts(values)?;
    let value = values.pop().filter(|_| values.is_empty());
    Some(Some(Preview::Header { name: name.clone(), value }))
}

/// Returns the addresses of the lanes; at least one has some.
fn lanes(stack: &StackName, service: &ServiceName, switch: &Value) -> Option<Dials> {
    let routes = switch["routes"].as_array()?;
    let mut dials = Dials::default();
    for handler in routes.iter().filter_map(|route| route.pointer("/handle/0")) {
        let Some(id) = handler["@id"].as_str() else { continue };
        for lane in Lane::BOTH.into_iter().filter(|lane| ids::of_lane(stack, service, *lane) == id)
        {
            dials.set(lane, forward::read(handler)?);
        }
    }
    (dials != Dials::default()).then_some(dials)
}

fn backend(placement: Placement, dials: BTreeSet<SocketAddr>) -> Option<Backend> {
    let Placement { slot, release } = placement;
    (!dials.is_empty()).then_some(Backend { slot, release, dials })
}

fn texts(list: &Value) -> Option<Vec<String>> {
    list.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}
