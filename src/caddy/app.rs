//! A look into Caddy's `apps.http`: servers, their routes, and where ours are.

use serde_json::{Map, Value};

use super::ids;

/// What stands at `/config/apps/http`; None where nothing does.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpApp(pub Option<Value>);

/// A top-level route that carries the id that was looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spot<'a> {
    pub server: &'a str,
    pub index: usize,
    pub route: &'a Value,
}

/// The address with which every read and write of ours begins.
pub const PATH: &str = "/config/apps/http";

impl HttpApp {
    /// Returns the servers by name, in the order of their names. Caddy runs no
    /// configuration in which one is anything but an object.
    pub fn servers(&self) -> impl Iterator<Item = (&str, Server<'_>)> {
        let servers = self.server_map().into_iter().flatten();
        servers
            .filter(|(_, value)| value.is_object())
            .map(|(name, value)| (name.as_str(), Server(value)))
    }

    pub fn server(&self, name: &str) -> Option<Server<'_>> {
        self.server_map()?.get(name).filter(|value| value.is_object()).map(Server)
    }

    /// Returns whether anything stands where the servers do, even nothing but null.
    pub fn has_servers(&self) -> bool {
        self.0.as_ref().is_some_and(|app| app.get("servers").is_some())
    }

    fn server_map(&self) -> Option<&Map<String, Value>> {
        self.0.as_ref()?.get("servers")?.as_object()
    }

    /// Returns the port that is plain HTTP everywhere: 80 unless configured.
    pub fn http_port(&self) -> u16 {
        self.port("http_port").unwrap_or(80)
    }

    /// Returns the port that is HTTPS wherever there are hosts: 443 unless
    /// configured.
    pub fn https_port(&self) -> u16 {
        self.port("https_port").unwrap_or(443)
    }

    fn port(&self, key: &str) -> Option<u16> {
        let port = self.0.as_ref()?.get(key)?.as_u64()?;
        // Caddy takes 0 for "not configured".
        u16::try_from(port).ok().filter(|port| *port != 0)
    }

    /// Returns the servers' own routes that carry this id.
    pub fn top_level(&self, id: &str) -> Vec<Spot<'_>> {
        self.servers()
            .flat_map(|(server, value)| {
                let routes = value.routes().iter().enumerate();
                routes.map(move |(index, route)| Spot { server, index, route })
            })
            .filter(|spot| carries(spot.route, id))
            .collect()
    }

    /// Counts the objects within servers that carry this id, at any depth.
    pub fn count(&self, id: &str) -> usize {
        self.servers().map(|(_, server)| count_within(server.0, id)).sum()
    }
}

/// One server's configuration.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a>(pub &'a Value);

impl<'a> Server<'a> {
    pub fn routes(self) -> &'a [Value] {
        self.0.get("routes").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    pub fn listens(self) -> Vec<&'a str> {
        let listen = self.0.get("listen").and_then(Value::as_array);
        listen.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Returns whether everything before `index` is a stack's route too: then
    /// nobody else's route takes our requests first.
    pub fn is_in_front(self, index: usize) -> bool {
        self.routes().iter().take(index).all(is_a_stacks)
    }
}

/// Returns whether the route is the top-level route of any stack, ours or not.
pub fn is_a_stacks(route: &Value) -> bool {
    route.get("@id").and_then(Value::as_str).is_some_and(ids::is_a_stack)
}

/// Returns whether the object itself carries the id.
pub fn carries(value: &Value, id: &str) -> bool {
    value.get("@id").and_then(Value::as_str) == Some(id)
}

fn count_within(value: &Value, id: &str) -> usize {
    let count = |inner: &Value| usize::from(carries(inner, id)) + count_within(inner, id);
    match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
