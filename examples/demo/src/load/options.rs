//! The arguments of `load`.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

pub const USAGE: &str = "\
usage: quaymaster-demo load http://HOST[:PORT][/PATH] [OPTION]…
  --connect IP:PORT  where to connect, instead of looking HOST up
  --keep-alive N     clients that keep their connection (4)
  --fresh N          clients that make one for each request (0)
  --pause MS         between two requests of one client (5)
  --for SECONDS      end by itself; else SIGTERM or SIGINT ends it";

/// What to ask, and where.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    /// The `Host` header.
    pub host: String,
    pub path: String,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub target: Target,
    pub keep_alive: usize,
    pub fresh: usize,
    pub pause: Duration,
    pub limit: Option<Duration>,
}

impl Options {
    pub fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut url = None;
        let mut connect = None;
        let (mut keep_alive, mut fresh) = (4, 0);
        let (mut pause, mut limit) = (Duration::from_millis(5), None);
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
                Ok::<&str, String>(value.as_str())
            };
            match argument.as_str() {
                "--connect" => connect = Some(number(value()?)?),
                "--keep-alive" => keep_alive = number(value()?)?,
                "--fresh" => fresh = number(value()?)?,
                "--pause" => pause = Duration::from_millis(number(value()?)?),
                "--for" => limit = Some(Duration::from_secs(number(value()?)?)),
                option if option.starts_with('-') => {
                    return Err(format!("unknown option {option}"));
                }
                given => url = Some(given),
            }
        }
        let target = target(url.ok_or("no URL given")?, connect)?;
        Ok(Options { target, keep_alive, fresh, pause, limit })
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` does not make sense there"))
}

fn target(url: &str, connect: Option<SocketAddr>) -> Result<Target, String> {
    let rest = url.strip_prefix("http://").ok_or("the URL must start with http://")?;
    let (host, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let port = host.rsplit_once(':').map_or(Ok(80), |(_, port)| number(port))?;
    let address = connect.map_or_else(|| look_up(host, port), Ok)?;
    Ok(Target { address, host: host.to_owned(), path: path.to_owned() })
}

/// Names under `.localhost` mean this machine (RFC 6761); others are looked up
/// once, as any client that keeps its addresses does.
fn look_up(host: &str, port: u16) -> Result<SocketAddr, String> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if name == "localhost" || name.ends_with(".localhost") {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    let found = (name, port).to_socket_addrs().map_err(|why| format!("{name}: {why}"))?.next();
    found.ok_or_else(|| format!("{name} has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Options::parse(&arguments)
    }

    #[test]
    fn a_url_says_host_port_and_path() {
        let options = parse("http://a.localhost:81/b?c=1 --fresh 2").unwrap();
        let target = options.target;
        assert_eq!((target.address.port(), target.host.as_str()), (81, "a.localhost:81"));
        assert_eq!((target.path.as_str(), options.fresh), ("/b?c=1", 2));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in ["https://a", "http://a:b", "http://a --fresh", "http://a --warp 9", "--fresh 1"]
        {
            assert!(parse(bad).is_err(), "{bad} was accepted");
        }
    }
}
