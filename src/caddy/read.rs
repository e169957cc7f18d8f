//! Our subtree as a route table: the way back from [`super::render`].
//!
//! It reads as much as is still there. Whether anything was edited is not asked
//! here: whoever wants to know renders the table again and compares.

use std::{collections::BTreeSet, net::SocketAddr};

use serde_json::Value;

use crate::domain::{Backend, Route, RouteState, RouteTable, ServiceName, StackName};

use super::ids;

/// Returns the services that can be read back from the stack's top-level route;
/// one that was edited beyond recognition is absent.
pub fn table(stack: &StackName, subtree: &Value) -> RouteTable {
    let routes = subtree.pointer("/handle/0/routes").and_then(Value::as_array);
    routes.into_iter().flatten().filter_map(|route| service(stack, route)).collect()
}

fn service(stack: &StackName, route: &Value) -> Option<(ServiceName, RouteState)> {
    let service = ids::service(stack, route["@id"].as_str()?)?;
    let handler = route.pointer("/handle/0")?;
    let berth = ids::berth(stack, &service, handler["@id"].as_str()?)?;
    let matches = route["match"].as_array()?;
    let hosts: Vec<String> =
        matches.iter().map(|matcher| texts(&matcher["host"])).collect::<Option<Vec<_>>>()?.concat();
    let path = matches.first()?.pointer("/path/0")?.as_str()?.to_owned();
    let upstreams = handler["upstreams"].as_array()?;
    let dials: BTreeSet<SocketAddr> = upstreams
        .iter()
        .map(|upstream| upstream["dial"].as_str()?.parse().ok())
        .collect::<Option<_>>()?;
    if hosts.is_empty() || dials.is_empty() {
        return None;
    }
    let state = RouteState {
        route: Route { hosts, path, port: berth.port },
        backend: Backend { slot: berth.slot, release: berth.release, dials },
        stream_close_delay: berth.stream_close_delay,
    };
    Some((service, state))
}

fn texts(list: &Value) -> Option<Vec<String>> {
    list.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}
