//! The server that answers when a container calls a service by its name.
//!
//! ```text
//! quaymaster-STACK-names      listen: GATEWAY:PORT of every such service
//! ├ route                     match: host, remote_ip; terminal
//! │ └ the handler of the service's outer route, without its ids
//! └ route                     403 for everybody else
//! ```
//!
//! The handlers dial the same addresses as the outer ones and look for the same
//! switch file, so a flip moves both at once, and Caddy counts the requests of
//! both together: a drain needs to know nothing of this. Which release answers
//! is read from the outer routes alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use serde_json::{Value, json};

use crate::domain::{Inside, RouteTable, ServiceName, StackName, Subnet};

use super::{app::Server, ids};

/// Returns the server for those of the table that are called by name; None if
/// none is. `handlers` has the outer handler of every service.
pub fn server(
    stack: &StackName,
    table: &RouteTable,
    handlers: &BTreeMap<&ServiceName, Value>,
) -> Option<Value> {
    let mut listen: BTreeSet<SocketAddr> = BTreeSet::new();
    let mut routes = Vec::new();
    for (name, state) in table {
        let Some(inside) = &state.inside else { continue };
        let Some(port) = inside.listen.first().map(SocketAddr::port) else { continue };
        listen.extend(&inside.listen);
        let mut handler = handlers[name].clone();
        strip_ids(&mut handler);
        routes.push(json!({
            "@id": ids::of_name(stack, name, port),
            "match": [{ "host": [name], "remote_ip": { "ranges": inside.from } }],
            "handle": [handler],
            "terminal": true,
        }));
    }
    if routes.is_empty() {
        return None;
    }
    routes.push(json!({ "handle": [{ "handler": "static_response", "status_code": 403 }] }));
    Some(json!({
        "listen": listen,
        "routes": routes,
        // A name without a dot gets no certificate, and needs none on a bridge.
        "automatic_https": { "disable": true },
    }))
}

/// Caddy takes an id only once.
fn strip_ids(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(strip_ids),
        Value::Object(members) => {
            members.remove("@id");
            members.values_mut().for_each(strip_ids);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns where each service is answered for by its name.
pub fn read(stack: &StackName, server: Server<'_>) -> BTreeMap<ServiceName, Inside> {
    let listens: Vec<SocketAddr> =
        server.listens().into_iter().filter_map(|listen| listen.parse().ok()).collect();
    let inside = |route: &Value| {
        let matcher = route.pointer("/match/0")?;
        let name: ServiceName = matcher.pointer("/host/0")?.as_str()?.parse().ok()?;
        let ranges = matcher.pointer("/remote_ip/ranges")?.as_array()?.iter();
        let from: BTreeSet<Subnet> = ranges.filter_map(|it| it.as_str()?.parse().ok()).collect();
        let port = ids::port_of_name(stack, &name, route.get("@id")?.as_str()?)?;
        let is_its_own = |listen: &&SocketAddr| {
            listen.port() == port && from.iter().any(|subnet| subnet.contains(&listen.ip()))
        };
        let listen = listens.iter().filter(is_its_own).copied().collect();
        Some((name, Inside { listen, from }))
    };
    server.routes().iter().filter_map(inside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stripped_at_any_depth() {
        let mut value = json!({ "@id": "a", "routes": [{ "@id": "b", "handle": [1] }] });
        strip_ids(&mut value);
        assert_eq!(value, json!({ "routes": [{ "handle": [1] }] }));
    }

    #[test]
    fn what_somebody_wrote_into_the_server_is_passed_over() {
        let stack: StackName = "shop".parse().unwrap();
        let id = "quaymaster-shop.web.name.80";
        for route in [
            json!({}),
            json!({ "@id": id, "match": [{ "host": ["web"] }] }),
            json!({ "match": [{ "host": ["web"], "remote_ip": { "ranges": [] } }] }),
            json!({ "@id": id, "match": [{ "host": ["other"], "remote_ip": { "ranges": [] } }] }),
        ] {
            let server = json!({ "listen": ["x", "10.0.0.1:80"], "routes": [route] });
            assert_eq!(read(&stack, Server(&server)), BTreeMap::new());
        }
    }
}
