//! `proxy:` — where Caddy's admin API is, and what goes through it by which means.

use std::path::PathBuf;

use crate::domain::stack::{AdminEndpoint, FlipChoice, NameChoice, ProxyConfig};

use super::{
    fields::{Fields, NO_REFUSALS, refuse_name},
    reader::{Reader, port},
    report::shown,
    route::is_host,
    yaml::{Entry, Node},
};

const FLIPS: [(&str, FlipChoice); 3] = [
    ("auto", FlipChoice::Auto),
    ("admin-api", FlipChoice::AdminApi),
    ("switch-file", FlipChoice::SwitchFile),
];

const NAMES: [(&str, NameChoice); 3] =
    [("auto", NameChoice::Auto), ("caddy", NameChoice::Caddy), ("docker", NameChoice::Docker)];

/// Caddy's own default.
const ADMIN_PORT: u16 = 2019;

pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Option<ProxyConfig> {
    let example = "a map such as `caddy: { admin: \"http://127.0.0.1:2019\" }`";
    let mut fields = Fields::of(reader.map(node, example)?);
    let caddy = fields.get_or_null("caddy");
    fields.finish(reader, &NO_REFUSALS);
    let Some(caddy) = caddy else {
        reader.refuse(node.span, "`proxy` names no proxy", format!("write {example}"));
        return None;
    };
    if caddy.value.is_null() {
        return Some(ProxyConfig {
            admin: default_admin(),
            listen: None,
            flip: FlipChoice::default(),
            names: NameChoice::default(),
        });
    }
    let mut fields = Fields::of(reader.map(&caddy.value, "a map such as `{ admin: … }`")?);
    let admin = match fields.get("admin") {
        Some(entry) => reader.parsed(
            &entry.value,
            "an address of Caddy's admin API",
            "write `http://HOST:PORT` or `unix:///run/caddy/admin.sock`",
            parse_admin,
        ),
        None => Some(default_admin()),
    };
    let listen = fields.get("listen").map(|entry| {
        reader.parsed(
            &entry.value,
            "a listening address",
            "write the address as Caddy has it, such as `:443` or `127.0.0.1:8080`",
            parse_listen,
        )
    });
    let flip = fields.get("flip").map(|entry| read_flip(reader, entry));
    let names = fields.get("names").map(|entry| read_names(reader, entry));
    fields.finish(reader, &NO_REFUSALS);
    Some(ProxyConfig {
        admin: admin?,
        listen: match listen {
            Some(listen) => Some(listen?),
            None => None,
        },
        flip: match flip {
            Some(flip) => flip?,
            None => FlipChoice::default(),
        },
        names: match names {
            Some(names) => names?,
            None => NameChoice::default(),
        },
    })
}

fn read_flip(reader: &mut Reader<'_>, entry: &Entry) -> Option<FlipChoice> {
    let text = reader.text(&entry.value, "`auto`, `admin-api` or `switch-file`")?;
    let found = FLIPS.iter().find(|(name, _)| *name == text.value);
    if found.is_none() {
        refuse_name(
            reader,
            text.span,
            format!("`{}` is no way to flip", text.shown()),
            &text.value,
            FLIPS.iter().map(|(name, _)| *name),
            "write `auto`, `admin-api` or `switch-file`",
        );
    }
    found.map(|(_, flip)| *flip)
}

fn read_names(reader: &mut Reader<'_>, entry: &Entry) -> Option<NameChoice> {
    let text = reader.text(&entry.value, "`auto`, `caddy` or `docker`")?;
    let found = NAMES.iter().find(|(name, _)| *name == text.value);
    if found.is_none() {
        refuse_name(
            reader,
            text.span,
            format!("`{}` cannot answer to names", text.shown()),
            &text.value,
            NAMES.iter().map(|(name, _)| *name),
            "write `auto`, `caddy` or `docker`",
        );
    }
    found.map(|(_, names)| *names)
}

fn default_admin() -> AdminEndpoint {
    AdminEndpoint::Tcp { host: "127.0.0.1".to_owned(), port: ADMIN_PORT }
}

fn parse_admin(text: &str) -> Result<AdminEndpoint, String> {
    let refused = || format!("`{}` is not an address of Caddy's admin API", shown(text));
    if let Some(path) = text.strip_prefix("unix://") {
        return match path.starts_with('/') && path.len() > 1 {
            true => Ok(AdminEndpoint::Unix(PathBuf::from(path))),
            false => Err(refused()),
        };
    }
    let address = text.strip_prefix("http://").ok_or_else(refused)?;
    let address = address.strip_suffix('/').unwrap_or(address);
    let (host, written_port) = address.rsplit_once(':').ok_or_else(refused)?;
    let host = bare_host(host).ok_or_else(refused)?;
    Ok(AdminEndpoint::Tcp { host, port: port(written_port).map_err(|_| refused())? })
}

fn parse_listen(text: &str) -> Result<String, String> {
    let refused = || format!("`{}` is not a listening address", shown(text));
    let (host, written_port) = text.rsplit_once(':').ok_or_else(refused)?;
    if !host.is_empty() && bare_host(host).is_none() {
        return Err(refused());
    }
    port(written_port).map_err(|_| refused())?;
    Ok(text.to_owned())
}

/// Returns a host name or an address; the brackets of an IPv6 address stay.
fn bare_host(host: &str) -> Option<String> {
    let is_ipv6 = host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    (is_ipv6 || is_host(host).is_ok()).then(|| host.to_owned())
}
