//! Finding the engine, and learning once what it can do.

use std::{path::Path, time::Duration};

use bollard::{API_DEFAULT_VERSION, BollardRequest};

use super::failure::{CallError, within};

/// Where the engine listens when `DOCKER_HOST` does not say.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// How long the engine may take to answer an ordinary call, to the last byte.
pub(super) const CALL_DEADLINE: Duration = Duration::from_secs(60);

/// The longest that a look may take. A pass waits for one after the other, and
/// must end before the watchdog takes it for hung.
pub(super) const LOOK_DEADLINE: Duration = Duration::from_secs(20);

/// Why there is no engine to work with.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(
        "DOCKER_HOST is `{0}`; it must be unix:///PATH or tcp://HOST:PORT \
         (an engine behind ssh or TLS can be reached through `ssh -L`)"
    )]
    UnsupportedHost(String),
    #[error("cannot reach Docker at {host}: {why}")]
    Unreachable { host: String, why: String },
    #[error(
        "Docker at {host} speaks API {found}; Quaymaster needs {} (Docker 20.10) or newer",
        ApiVersion::OLDEST
    )]
    TooOld { host: String, found: String },
}

/// The version of the engine's API. What one lacks is asked here by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion {
    major: u32,
    minor: u32,
}

impl ApiVersion {
    pub const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 41 };

    pub fn parse(text: &str) -> Option<ApiVersion> {
        let (major, minor) = text.split_once('.')?;
        Some(ApiVersion { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// Returns whether a container can join several networks as it is created.
    pub fn creates_with_several_networks(self) -> bool {
        self >= ApiVersion { major: 1, minor: 44 }
    }

    /// Returns whether a health check's `start_interval` has an effect.
    pub fn knows_start_interval(self) -> bool {
        self >= ApiVersion { major: 1, minor: 44 }
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What an engine runs: `linux`, `amd64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Platform {
    pub os: String,
    pub architecture: String,
}

impl Platform {
    /// Returns whether an image of this system and architecture runs here. An
    /// image that does not say (an imported file system) is taken at its word.
    pub fn runs(&self, os: &str, architecture: &str) -> bool {
        let os_fits = os.is_empty() || os == self.os;
        let architecture_fits = match (architecture, self.architecture.as_str()) {
            ("", _) | ("386", "amd64") | ("arm", "arm64") => true,
            (image, host) => image == host,
        };
        os_fits && architecture_fits
    }
}

/// An engine that answered.
pub(super) struct Connection {
    pub endpoint: String,
    pub client: bollard::Docker,
    pub api: ApiVersion,
    pub platform: Platform,
    /// Whether the engine's files are this machine's files.
    pub is_local: bool,
}

/// Connects to `host`, else to `DOCKER_HOST`, else to the usual socket, and asks
/// for the engine's version: once, because bollard names no version in its
/// calls and every answer comes in the engine's newest dialect.
pub(super) async fn connect(host: Option<&str>) -> Result<Connection, ConnectError> {
    let host = match host {
        Some(host) => host.to_owned(),
        None => std::env::var("DOCKER_HOST")
            .ok()
            .filter(|host| !host.is_empty())
            .unwrap_or_else(|| DEFAULT_HOST.to_owned()),
    };
    let client = client(&host)?.with_request_modifier(with_url_safe_credentials);
    let unreachable = |why| ConnectError::Unreachable { host: host.clone(), why };
    let version = within(CALL_DEADLINE, client.version())
        .await
        .map_err(|error: CallError| unreachable(error.words()))?;
    let found = version.api_version.unwrap_or_default();
    let api = ApiVersion::parse(&found)
        .ok_or_else(|| unreachable(format!("it tells `{found}` as its API version")))?;
    if api < ApiVersion::OLDEST {
        return Err(ConnectError::TooOld { host, found });
    }
    let platform = Platform {
        os: version.os.unwrap_or_default(),
        architecture: version.arch.unwrap_or_default(),
    };
    let is_local = host.starts_with("unix://");
    Ok(Connection { endpoint: host, client, api, platform, is_local })
}

fn client(host: &str) -> Result<bollard::Docker, ConnectError> {
    let timeout = CALL_DEADLINE.as_secs();
    let unsupported = || ConnectError::UnsupportedHost(host.to_owned());
    let client = if let Some(path) = host.strip_prefix("unix://") {
        if !Path::new(path).exists() {
            let why = "there is no such socket; is Docker installed and running?".to_owned();
            return Err(ConnectError::Unreachable { host: host.to_owned(), why });
        }
        bollard::Docker::connect_with_unix(path, timeout, API_DEFAULT_VERSION)
    } else if host.starts_with("tcp://") || host.starts_with("http://") {
        if std::env::var_os("DOCKER_TLS_VERIFY").is_some_and(|value| !value.is_empty()) {
            return Err(unsupported());
        }
        bollard::Docker::connect_with_http(host, timeout, API_DEFAULT_VERSION)
    } else {
        return Err(unsupported());
    };
    client.map_err(|error| ConnectError::Unreachable {
        host: host.to_owned(),
        why: CallError::Docker(error).words(),
    })
}

/// Rewrites the credentials header into the alphabet that Docker reads.
///
/// Bollard writes standard Base64; Docker wants the URL-safe form and takes
/// what it cannot decode for no credentials at all: an anonymous pull.
fn with_url_safe_credentials(mut request: BollardRequest) -> BollardRequest {
    const HEADER: &str = "X-Registry-Auth";
    let Some(header) = request.headers().get(HEADER).and_then(|value| value.to_str().ok()) else {
        return request;
    };
    let url_safe = header.replace('+', "-").replace('/', "_");
    let value = url_safe.try_into().expect("Base64 is a valid header value");
    request.headers_mut().insert(HEADER, value);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let version = |text| ApiVersion::parse(text).expect("a version");
        assert!(version("1.9") < ApiVersion::OLDEST && version("1.100") > ApiVersion::OLDEST);
        assert!(!version("1.43").creates_with_several_networks());
        assert!(version("1.44").creates_with_several_networks());
        assert_eq!(ApiVersion::parse("new"), None);
    }

    #[test]
    fn an_image_runs_where_its_architecture_is() {
        let host = Platform { os: "linux".to_owned(), architecture: "amd64".to_owned() };
        assert!(host.runs("linux", "amd64") && host.runs("linux", "386") && host.runs("", ""));
        assert!(!host.runs("linux", "arm64") && !host.runs("windows", "amd64"));
    }

    #[tokio::test]
    async fn a_host_that_cannot_be_used_is_named_with_the_mend() {
        let error = connect(Some("ssh://me@there")).await.err().expect("not supported");
        assert!(error.to_string().contains("`ssh://me@there`; it must be unix:///"), "{error}");
        let error = connect(Some("unix:///nowhere/docker.sock")).await.err().expect("no socket");
        assert!(error.to_string().contains("is Docker installed and running?"), "{error}");
    }
}
