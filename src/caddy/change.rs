//! The one write that makes what stands what should stand.
//!
//! Pure: configuration in, at most one write out. It goes as deep as it can, so
//! that it touches nobody else's routes. Only a subtree of ours that was moved,
//! doubled or left in another server needs a wider write (one, because deleting
//! first would leave our hosts without a route for a moment); that one carries
//! other people's routes along as they were read, and its `If-Match` fails if
//! they have changed since.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{
    app::{self, HttpApp, carries},
    place::Site,
};

/// One request that changes the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub verb: Verb,
    /// Begins with `/config/`; percent-encoded.
    pub path: String,
}

/// What a write does with the value at its path.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    /// Creates it, in an array before the element that stands there.
    Put(Value),
    /// Replaces it.
    Patch(Value),
    Delete,
}

/// What is to stand of a stack.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The id of its top-level route.
    pub id: &'a str,
    pub route: Option<(Site, Value)>,
    /// The name of the server that answers to names.
    pub names: &'a str,
    pub server: Option<Value>,
}

/// Returns the one write that makes exactly this stand of a stack; None if it
/// does.
pub fn toward(app: &HttpApp, wanted: Wanted<'_>) -> Option<Write> {
    let Wanted { id, route, names, server } = wanted;
    let outside = match &route {
        Some((site, route)) => with(app, id, site, route.clone()),
        None => without(app, id),
    };
    let inside = server_only(app, names, server.as_ref());
    if outside.is_none() || inside.is_none() {
        return outside.or(inside);
    }
    // A route and another server have no narrower path in common.
    let mut servers = match route {
        Some((site, route)) => servers_with(app, id, &site, route),
        None => servers_without(app, id),
    };
    match server {
        Some(server) => drop(servers.insert(names.to_owned(), server)),
        None => drop(servers.remove(names)),
    }
    Some(whole(app, servers))
}

/// Returns the write that makes the server of this name stand so; None if it does.
fn server_only(app: &HttpApp, name: &str, server: Option<&Value>) -> Option<Write> {
    let path = server_path(name);
    let verb = match (app.server(name), server) {
        (None, None) => return None,
        (Some(before), Some(after)) if before.0 == after => return None,
        (Some(_), Some(after)) => Verb::Patch(after.clone()),
        (None, Some(after)) => Verb::Put(after.clone()),
        (Some(_), None) => Verb::Delete,
    };
    Some(Write { verb, path })
}

fn servers_with(app: &HttpApp, id: &str, site: &Site, route: Value) -> Map<String, Value> {
    let mut servers = servers_without(app, id);
    if let ([spot], 1, Site::Server(name)) = (app.top_level(id).as_slice(), app.count(id), site)
        && spot.server == name
        && app.server(name).is_some_and(|server| server.is_in_front(spot.index))
    {
        let routes = servers.get_mut(name).and_then(|server| server["routes"].as_array_mut());
        routes.expect("a route was just read from there").insert(spot.index, route);
    } else {
        put_in_front(&mut servers, site, route);
    }
    servers
}

/// A PATCH fails where nothing stands, and a PUT where something does.
fn whole(app: &HttpApp, servers: Map<String, Value>) -> Write {
    let servers = Value::Object(servers);
    let verb = if app.has_servers() { Verb::Patch(servers) } else { Verb::Put(servers) };
    Write { verb, path: servers_path() }
}

/// Returns the write that leaves no trace of the route with this id; None if
/// there is none.
fn without(app: &HttpApp, id: &str) -> Option<Write> {
    match (app.top_level(id).as_slice(), app.count(id)) {
        ([], 0) => None,
        ([spot], 1) => {
            Some(Write { verb: Verb::Delete, path: route_path(spot.server, spot.index) })
        }
        (_, _) => Some(rebuilt(app, servers_without(app, id))),
    }
}

/// Returns the write that makes `route`, whose id this is, stand once at its
/// site and in front; None if it does.
fn with(app: &HttpApp, id: &str, site: &Site, route: Value) -> Option<Write> {
    match (app.top_level(id).as_slice(), app.count(id), site) {
        ([], 0, Site::Server(name)) => Some(inserted(app, name, route)),
        // A PUT creates whatever is missing above its path.
        ([], 0, Site::NewServer { name, listen }) => {
            Some(Write { verb: Verb::Put(new_server(listen, route)), path: server_path(name) })
        }
        ([spot], 1, Site::Server(name))
            if spot.server == name
                && app.server(name).is_some_and(|server| server.is_in_front(spot.index)) =>
        {
            let path = route_path(name, spot.index);
            (*spot.route != route).then_some(Write { verb: Verb::Patch(route), path })
        }
        (_, _, site) => {
            let mut servers = servers_without(app, id);
            put_in_front(&mut servers, site, route);
            Some(rebuilt(app, servers))
        }
    }
}

fn inserted(app: &HttpApp, server: &str, route: Value) -> Write {
    let routes = format!("{}/routes", server_path(server));
    match app.server(server).and_then(|server| server.0.get("routes")) {
        None => Write { verb: Verb::Put(json!([route])), path: routes },
        // A PUT into an empty array fails on 2.6.2.
        Some(standing) if standing.as_array().is_none_or(Vec::is_empty) => {
            Write { verb: Verb::Patch(json!([route])), path: routes }
        }
        Some(_) => Write { verb: Verb::Put(route), path: route_path(server, 0) },
    }
}

/// Returns the narrowest write that turns the servers that stand into these.
fn rebuilt(app: &HttpApp, servers: Map<String, Value>) -> Write {
    let mut changed = servers.iter().filter_map(|(name, after)| {
        let before = app.server(name).map(|server| server.0);
        (before != Some(after)).then_some((name, before, after))
    });
    match (changed.next(), changed.next()) {
        (Some((name, Some(before), after)), None) if differ_in_routes_only(before, after) => {
            let path = format!("{}/routes", server_path(name));
            Write { verb: Verb::Patch(after["routes"].clone()), path }
        }
        (_, _) => whole(app, servers),
    }
}

fn differ_in_routes_only(before: &Value, after: &Value) -> bool {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else { return false };
    let rest = |server: &Map<String, Value>| {
        let mut server = server.clone();
        server.remove("routes");
        server
    };
    before.contains_key("routes") && after.contains_key("routes") && rest(before) == rest(after)
}

fn servers_without(app: &HttpApp, id: &str) -> Map<String, Value> {
    let servers = app.servers().map(|(name, server)| (name.to_owned(), server.0.clone()));
    let mut servers: Map<String, Value> = servers.collect();
    servers.values_mut().for_each(|server| strip(server, id));
    servers
}

fn strip(value: &mut Value, id: &str) {
    match value {
        Value::Array(items) => {
            items.retain(|item| !carries(item, id));
            items.iter_mut().for_each(|item| strip(item, id));
        }
        Value::Object(members) => {
            members.retain(|_, member| !carries(member, id));
            members.values_mut().for_each(|member| strip(member, id));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn put_in_front(servers: &mut Map<String, Value>, site: &Site, route: Value) {
    match site {
        Site::NewServer { name, listen } => {
            servers.insert(name.clone(), new_server(listen, route));
        }
        Site::Server(name) => {
            let server = servers.get_mut(name).and_then(Value::as_object_mut);
            let server = server.expect("the site is a server that was just read");
            let mut routes = vec![route];
            if let Some(Value::Array(others)) = server.remove("routes") {
                routes.extend(others);
            }
            server.insert("routes".to_owned(), Value::Array(routes));
        }
    }
}

fn new_server(listen: &str, route: Value) -> Value {
    json!({ "listen": [listen], "routes": [route] })
}

fn servers_path() -> String {
    format!("{}/servers", app::PATH)
}

fn server_path(server: &str) -> String {
    format!("{}/servers/{}", app::PATH, percent_encoded(server))
}

fn percent_encoded(segment: &str) -> String {
    segment.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => text.push(byte.into()),
            _ => write!(text, "%{byte:02X}").expect("writing to a String succeeds"),
        }
        text
    })
}

fn route_path(server: &str, index: usize) -> String {
    format!("{}/routes/{index}", server_path(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "quaymaster-shop";
    const NAMES: &str = "quaymaster-shop-names";

    fn ours(body: &str) -> Value {
        json!({ "@id": ID, "handle": [{ "handler": "static_response", "body": body }] })
    }

    fn foreign(body: &str) -> Value {
        json!({ "handle": [{ "handler": "static_response", "body": body }] })
    }

    fn other_stack() -> Value {
        json!({ "@id": "quaymaster-mail" })
    }

    fn app(servers: Value) -> HttpApp {
        HttpApp(Some(json!({ "servers": servers })))
    }

    fn with_routes(routes: Value) -> HttpApp {
        app(json!({ "srv0": { "listen": [":80"], "routes": routes } }))
    }

    fn srv0() -> Site {
        Site::Server("srv0".into())
    }

    fn write(verb: Verb, path: &str) -> Option<Write> {
        Some(Write { verb, path: format!("/config/apps/http{path}") })
    }

    #[test]
    fn what_stands_already_is_not_written() {
        let app = with_routes(json!([ours("v1"), foreign("x")]));
        assert_eq!(with(&app, ID, &srv0(), ours("v1")), None);
        assert_eq!(without(&with_routes(json!([foreign("x")])), ID), None);
        assert_eq!(without(&HttpApp(None), ID), None);
    }

    #[test]
    fn stacks_side_by_side_do_not_push_each_other_back() {
        let app = with_routes(json!([other_stack(), ours("v1"), foreign("x")]));
        assert_eq!(with(&app, ID, &srv0(), ours("v1")), None);
        let patch = write(Verb::Patch(ours("v2")), "/servers/srv0/routes/1");
        assert_eq!(with(&app, ID, &srv0(), ours("v2")), patch);
    }

    #[test]
    fn a_missing_route_goes_in_front_of_everybody_elses() {
        let put = |verb, path| write(verb, path);
        let missing = |routes| with(&with_routes(routes), ID, &srv0(), ours("v1"));
        assert_eq!(
            missing(json!([foreign("x")])),
            put(Verb::Put(ours("v1")), "/servers/srv0/routes/0")
        );
        let array = Verb::Patch(json!([ours("v1")]));
        assert_eq!(missing(json!([])), put(array.clone(), "/servers/srv0/routes"));
        assert_eq!(missing(Value::Null), put(array, "/servers/srv0/routes"));
        let bare = app(json!({ "srv0": { "listen": [":80"] } }));
        let put_array = put(Verb::Put(json!([ours("v1")])), "/servers/srv0/routes");
        assert_eq!(with(&bare, ID, &srv0(), ours("v1")), put_array);
    }

    #[test]
    fn a_missing_server_is_created_whatever_else_is_missing() {
        let site = Site::NewServer { name: "quaymaster".into(), listen: ":443".into() };
        let server = json!({ "listen": [":443"], "routes": [ours("v1")] });
        let put = write(Verb::Put(server), "/servers/quaymaster");
        for standing in [None, Some(Value::Null), Some(json!({ "servers": {} }))] {
            assert_eq!(with(&HttpApp(standing), ID, &site, ours("v1")), put);
        }
    }

    #[test]
    fn a_doubled_or_misplaced_route_is_put_right_in_one_write() {
        let right = json!([ours("v1"), foreign("a"), foreign("b")]);
        for routes in [
            json!([foreign("a"), ours("v1"), foreign("b")]),
            json!([ours("v1"), foreign("a"), foreign("b"), ours("old")]),
        ] {
            let patch = write(Verb::Patch(right.clone()), "/servers/srv0/routes");
            assert_eq!(with(&with_routes(routes), ID, &srv0(), ours("v1")), patch);
        }
    }

    #[test]
    fn a_route_in_another_server_or_deeper_moves_in_one_write() {
        let nested = json!({ "handle": [{ "handler": "subroute", "routes": [ours("v1")] }] });
        let emptied = json!({ "handle": [{ "handler": "subroute", "routes": [] }] });
        let server = |routes: Value| json!({ "listen": [":80"], "routes": routes });
        let standing =
            app(json!({ "srv0": server(json!([nested])), "srv1": server(json!([ours("v1")])) }));
        let right =
            json!({ "srv0": server(json!([ours("v1"), emptied])), "srv1": server(json!([])) });
        let patch = write(Verb::Patch(right), "/servers");
        assert_eq!(with(&standing, ID, &srv0(), ours("v1")), patch);
    }

    #[test]
    fn an_empty_table_deletes_our_route_and_nothing_else() {
        let app = with_routes(json!([other_stack(), ours("v1"), foreign("x")]));
        assert_eq!(without(&app, ID), write(Verb::Delete, "/servers/srv0/routes/1"));
        let doubled = with_routes(json!([ours("v1"), foreign("x"), ours("v1")]));
        let patch = write(Verb::Patch(json!([foreign("x")])), "/servers/srv0/routes");
        assert_eq!(without(&doubled, ID), patch);
    }

    fn wanted(route: Option<Value>, server: Option<Value>) -> Wanted<'static> {
        Wanted { id: ID, route: route.map(|it| (srv0(), it)), names: NAMES, server }
    }

    #[test]
    fn a_server_of_names_alone_is_written_at_its_own_path() {
        let app = with_routes(json!([ours("v1")]));
        let server = json!({ "listen": ["172.18.0.1:80"] });
        let path = "/servers/quaymaster-shop-names";
        let v1 = || Some(ours("v1"));
        let put = toward(&app, wanted(v1(), Some(server.clone())));
        assert_eq!(put, write(Verb::Put(server.clone()), path));
        let mut servers = app.0.clone().unwrap()["servers"].clone();
        servers[NAMES] = server.clone();
        let app = self::app(servers);
        assert_eq!(toward(&app, wanted(v1(), Some(server))), None);
        assert_eq!(toward(&app, wanted(v1(), None)), write(Verb::Delete, path));
        let other = json!({ "listen": ["172.18.0.1:81"] });
        let patch = write(Verb::Patch(other.clone()), path);
        assert_eq!(toward(&app, wanted(v1(), Some(other))), patch);
    }

    #[test]
    fn a_route_and_a_server_of_names_change_in_one_write_that_moves_nobody() {
        let app = with_routes(json!([other_stack(), ours("v1"), foreign("x")]));
        let server = json!({ "listen": ["172.18.0.1:80"] });
        let both = toward(&app, wanted(Some(ours("v2")), Some(server.clone())));
        let routes = json!([other_stack(), ours("v2"), foreign("x")]);
        let srv0 = json!({ "listen": [":80"], "routes": routes });
        let right = json!({ "srv0": srv0, NAMES: server });
        assert_eq!(both, write(Verb::Patch(right.clone()), "/servers"));
        let gone =
            json!({ "srv0": { "listen": [":80"], "routes": [other_stack(), foreign("x")] } });
        let app = self::app(right);
        assert_eq!(toward(&app, wanted(None, None)), write(Verb::Patch(gone), "/servers"));
    }

    #[test]
    fn where_there_is_no_server_both_are_put() {
        let server = json!({ "listen": ["172.18.0.1:80"] });
        let site = Site::NewServer { name: "quaymaster".into(), listen: ":443".into() };
        let of = |app: HttpApp| {
            let route = Some((site.clone(), ours("v1")));
            toward(&app, Wanted { id: ID, route, names: NAMES, server: Some(server.clone()) })
        };
        let outer = json!({ "listen": [":443"], "routes": [ours("v1")] });
        let both = json!({ "quaymaster": outer, NAMES: server });
        let put = write(Verb::Put(both.clone()), "/servers");
        assert_eq!(of(HttpApp(None)), put);
        assert_eq!(of(HttpApp(Some(json!({})))), put);
        let patch = write(Verb::Patch(both), "/servers");
        assert_eq!(of(HttpApp(Some(json!({ "servers": null })))), patch);
    }

    #[test]
    fn a_server_name_cannot_leave_its_segment_of_the_path() {
        assert_eq!(server_path("a b?c#d%e"), "/config/apps/http/servers/a%20b%3Fc%23d%25e");
    }
}
