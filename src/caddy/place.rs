//! Which of Caddy's servers gets our routes, and what becomes of its TLS.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    app::{HttpApp, Server, is_a_stacks},
    ids,
};

/// Where our top-level route belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub site: Site,
    pub https: Https,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// The server of this name, which exists.
    Server(String),
    /// A server to create.
    NewServer { name: String, listen: String },
}

/// Whether Caddy's automatic HTTPS may see our hosts.
///
/// It turns a server on any other port than the HTTP port to TLS as soon as a
/// top-level route names a host. On a server that serves plain HTTP so far (say
/// `:8080` behind a load balancer), that would cut off everybody else there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Https {
    Automatic,
    LeftAsItIs,
}

/// Why no server can be chosen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    #[error(
        "Caddy has several servers and none of them is plainly the one for our routes; \
         set `proxy.caddy.listen` to an address of one of them: {0}"
    )]
    Open(String),
    #[error("Caddy's admin API cannot reach into a server that is named `{0}`; rename it")]
    Unreachable(String),
}

/// The name of a server that we create.
const OUR_SERVER: &str = "quaymaster";

/// Returns the place of our route: the server on `listen`; without one the only
/// server, else the one on the HTTPS port, else the one on the HTTP port. With
/// no such server, one is created: on `listen`, or on the HTTPS port, whose
/// HTTP redirects Caddy then serves by itself.
pub fn choose(app: &HttpApp, listen: Option<&str>) -> Result<Place, PlaceError> {
    let site = match listen {
        Some(listen) => on_listen(app, listen)?,
        None => by_default(app)?,
    };
    let https = match &site {
        // The name is one segment of the path in every write.
        Site::Server(name) if name.contains('/') || ["", ".", ".."].contains(&name.as_str()) => {
            return Err(PlaceError::Unreachable(name.clone()));
        }
        Site::Server(name) => {
            app.server(name).map_or(Https::Automatic, |server| https(app, server))
        }
        Site::NewServer { listen, .. } => https_of_listens(app, &[listen]),
    };
    Ok(Place { site, https })
}

fn on_listen(app: &HttpApp, listen: &str) -> Result<Site, PlaceError> {
    let listens_there =
        |server: Server<'_>| server.listens().iter().any(|l| plain(l) == plain(listen));
    match pick(app, listens_there) {
        Pick::One(name) => Ok(Site::Server(name)),
        Pick::None => Ok(new_server(app, listen.to_owned())),
        Pick::Several => Err(PlaceError::Open(listed(app))),
    }
}

fn by_default(app: &HttpApp) -> Result<Site, PlaceError> {
    match pick(app, |_| true) {
        Pick::One(name) => return Ok(Site::Server(name)),
        Pick::None => return Ok(new_server(app, format!(":{}", app.https_port()))),
        Pick::Several => {}
    }
    for port in [app.https_port(), app.http_port()] {
        match pick(app, |server| server.listens().iter().any(|l| covers(l, port))) {
            Pick::One(name) => return Ok(Site::Server(name)),
            Pick::None => {}
            Pick::Several => break,
        }
    }
    Err(PlaceError::Open(listed(app)))
}

enum Pick {
    None,
    One(String),
    Several,
}

fn pick(app: &HttpApp, fits: impl Fn(Server<'_>) -> bool) -> Pick {
    let mut fitting = candidates(app).filter(|(_, server)| fits(*server));
    match (fitting.next(), fitting.next()) {
        (None, _) => Pick::None,
        (Some((name, _)), None) => Pick::One(name.to_owned()),
        (Some(_), Some(_)) => Pick::Several,
    }
}

/// The servers that face outside: what answers to names within a stack does not.
fn candidates(app: &HttpApp) -> impl Iterator<Item = (&str, Server<'_>)> {
    app.servers().filter(|(name, _)| !ids::is_names_server(name))
}

fn new_server(app: &HttpApp, listen: String) -> Site {
    let mut name = OUR_SERVER.to_owned();
    let mut number = 1;
    while app.server(&name).is_some() {
        number += 1;
        name = format!("{OUR_SERVER}-{number}");
    }
    Site::NewServer { name, listen }
}

fn listed(app: &HttpApp) -> String {
    let mut text = String::new();
    for (name, server) in candidates(app) {
        let separator = if text.is_empty() { "" } else { ", " };
        let listens = server.listens().join(" ");
        write!(text, "{separator}`{name}` on {listens}").expect("writing to a String succeeds");
    }
    text
}

fn https(app: &HttpApp, server: Server<'_>) -> Https {
    let automatic = server.0.get("automatic_https");
    let of_automatic = |key: &str| automatic.and_then(|automatic| automatic.get(key));
    let switched_off = of_automatic("disable").and_then(Value::as_bool) == Some(true);
    let policies = server.0.get("tls_connection_policies").and_then(Value::as_array);
    let has_policies = policies.is_some_and(|policies| !policies.is_empty());
    let skipped = of_automatic("skip").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let names_hosts = server
        .routes()
        .iter()
        .filter(|route| !is_a_stacks(route))
        .flat_map(top_level_hosts)
        .any(|host| !skipped.contains(host));
    if switched_off || has_policies || names_hosts {
        return Https::Automatic;
    }
    https_of_listens(app, &server.listens())
}

fn https_of_listens(app: &HttpApp, listens: &[impl AsRef<str>]) -> Https {
    let (http, https) = (app.http_port(), app.https_port());
    let is_http_only = listens.iter().all(|listen| covers(listen.as_ref(), http));
    let has_https = listens.iter().any(|listen| covers(listen.as_ref(), https));
    if is_http_only || has_https { Https::Automatic } else { Https::LeftAsItIs }
}

fn top_level_hosts(route: &Value) -> impl Iterator<Item = &Value> {
    let matches = route.get("match").and_then(Value::as_array).into_iter().flatten();
    matches.filter_map(|matcher| matcher.get("host")?.as_array()).flatten()
}

/// Returns the address in the one spelling that is compared: without the
/// default network and without the host that means every address.
fn plain(listen: &str) -> String {
    let listen = listen.strip_prefix("tcp/").unwrap_or(listen);
    let every = ["0.0.0.0:", "[::]:", "*:"];
    let port = every.into_iter().find_map(|host| listen.strip_prefix(host));
    port.map_or_else(|| listen.to_owned(), |port| format!(":{port}"))
}

/// Returns whether a listen address (`:443`, `tcp/10.0.0.1:8000-8010`) has the port.
fn covers(listen: &str, port: u16) -> bool {
    let Some((_, ports)) = listen.rsplit_once(':') else { return false };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) => (first..=last).contains(&port),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app(servers: Value) -> HttpApp {
        HttpApp(Some(json!({ "servers": servers })))
    }

    fn site(app: &HttpApp, listen: Option<&str>) -> Site {
        choose(app, listen).unwrap().site
    }

    #[test]
    fn the_only_server_gets_our_routes_whatever_it_listens_on() {
        let app = app(json!({ "srv0": { "listen": [":8080"] } }));
        assert_eq!(site(&app, None), Site::Server("srv0".into()));
    }

    #[test]
    fn of_several_servers_the_one_on_https_wins_then_the_one_on_http() {
        let a = json!({ "listen": ["127.0.0.1:9000"] });
        let http = json!({ "listen": ["tcp/:80"] });
        let https = json!({ "listen": ["0.0.0.0:443", ":8443"] });
        let all = app(json!({ "a": a, "http": http, "https": https }));
        assert_eq!(site(&all, None), Site::Server("https".into()));
        let two = app(json!({ "a": a, "http": http }));
        assert_eq!(site(&two, None), Site::Server("http".into()));
    }

    #[test]
    fn a_server_that_answers_to_names_never_gets_our_routes() {
        let inside = json!({ "listen": ["172.18.0.1:443"] });
        let all = app(json!({ "srv0": { "listen": [":8080"] }, "quaymaster-a-names": inside }));
        assert_eq!(site(&all, None), Site::Server("srv0".into()));
        let alone = app(json!({ "quaymaster-a-names": inside }));
        let new = Site::NewServer { name: "quaymaster".into(), listen: ":443".into() };
        assert_eq!(site(&alone, None), new);
    }

    #[test]
    fn a_choice_that_stays_open_lists_the_servers() {
        let app =
            app(json!({ "a": { "listen": [":8080"] }, "b": { "listen": [":8081", ":8082"] } }));
        let error = choose(&app, None).unwrap_err().to_string();
        assert!(error.contains("`a` on :8080, `b` on :8081 :8082"), "{error}");
        assert!(error.contains("proxy.caddy.listen"), "{error}");
        assert_eq!(site(&app, Some("tcp/0.0.0.0:8082")), Site::Server("b".into()));
    }

    #[test]
    fn without_a_server_one_is_created_where_it_is_wanted() {
        let none = HttpApp(None);
        let new =
            |name: &str, listen: &str| Site::NewServer { name: name.into(), listen: listen.into() };
        assert_eq!(site(&none, None), new("quaymaster", ":443"));
        let ports = HttpApp(Some(json!({ "https_port": 8443, "http_port": 0 })));
        assert_eq!(site(&ports, None), new("quaymaster", ":8443"));
        let taken = app(json!({ "quaymaster": { "listen": [":443"] } }));
        assert_eq!(site(&taken, Some(":8080")), new("quaymaster-2", ":8080"));
    }

    #[test]
    fn automatic_https_stays_away_from_a_server_that_speaks_plain_http() {
        let https = |server: Value| choose(&app(json!({ "s": server })), None).unwrap().https;
        let site = |host: &str| json!([{ "match": [{ "host": [host] }] }]);
        assert_eq!(https(json!({ "listen": [":8080"] })), Https::LeftAsItIs);
        let skipped = json!({ "listen": [":8080"], "routes": site("a.example"),
            "automatic_https": { "skip": ["a.example"] } });
        assert_eq!(https(skipped), Https::LeftAsItIs);
        let other_stack = json!({ "listen": [":8080"],
            "routes": [{ "@id": "quaymaster-x", "match": [{ "host": ["x.example"] }] }] });
        assert_eq!(https(other_stack), Https::LeftAsItIs);

        assert_eq!(https(json!({ "listen": [":443"] })), Https::Automatic);
        assert_eq!(https(json!({ "listen": [":80"] })), Https::Automatic);
        let named = json!({ "listen": [":8443"], "routes": site("a.example") });
        assert_eq!(https(named), Https::Automatic);
        let tls = json!({ "listen": [":8443"], "tls_connection_policies": [{}] });
        assert_eq!(https(tls), Https::Automatic);
    }

    #[test]
    fn a_range_of_ports_covers_those_within() {
        assert!(covers(":8000-8010", 8005) && !covers(":8000-8010", 8011));
        assert!(covers("[::1]:443", 443) && !covers("unix//run/x.sock", 443));
    }
}
