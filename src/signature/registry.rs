//! One repository of a registry, as far as signatures need it: a few GETs.
//!
//! Sources: the OCI distribution specification 1.1, and distribution's token
//! specification for who asks. Written on [`crate::http`] rather than on oci-client,
//! which would switch on TLS for every client of reqwest in this program.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::header::{HeaderMap, LINK, LOCATION, WWW_AUTHENTICATE};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use crate::{
    credentials::Login,
    domain::{Digest, Secret, image::DOCKER_HUB, snapshot::Failure},
    http::{Answer, Body, Connector, NoAnswer, Post, Question, Route, Wants, ask},
};

use super::{
    challenge::Challenge,
    failure::{denied, rate_limited, transient},
    flaw::Flaw,
    insecure::MayBePlain,
};

/// Where Docker Hub answers, which is not what it is called.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// How many times a question may be sent elsewhere: blobs often are.
const MAX_REDIRECTS: usize = 5;

/// A repository that can be asked.
pub(super) struct Registry<'c> {
    connector: &'c Connector,
    base: Url,
    /// As people call it.
    host: String,
    repository: String,
    authorization: Option<Secret>,
    until: Instant,
}

/// What came back for a path.
pub(super) enum Got {
    Bytes { bytes: Vec<u8>, next: Option<String> },
    Absent,
    TooLong,
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: Option<String>,
}

impl<'c> Registry<'c> {
    /// Finds out how the registry is to be asked, and as whom.
    pub async fn reach(
        connector: &'c Connector,
        (host, repository): (&str, &str),
        login: Option<Login>,
        may_be_plain: MayBePlain,
        until: Instant,
    ) -> Result<Registry<'c>, Failure> {
        let address = if host == DOCKER_HUB { DOCKER_HUB_HOST } else { host };
        let base = |scheme: &str| Url::parse(&format!("{scheme}://{address}/v2/")).ok();
        let name = format!("{host}/{repository}");
        let bad = || transient(&name, "the registry's name is not one of a host");
        let mut registry = Registry {
            connector,
            base: base("https").ok_or_else(bad)?,
            host: host.to_owned(),
            repository: repository.to_owned(),
            authorization: None,
            until,
        };
        let mut answer = registry.ask(registry.base.clone(), &BTreeMap::new(), None).await;
        if answer.is_err() && may_be_plain == MayBePlain::Yes {
            registry.base = base("http").ok_or_else(bad)?;
            answer = registry.ask(registry.base.clone(), &BTreeMap::new(), None).await;
        }
        let answer = answer.map_err(|why| registry.transient(&why))?;
        match answer.status {
            401 => registry.authorize(&answer.headers, login).await?,
            429 | 500.. => return Err(registry.failed(&answer)),
            _ => {}
        }
        Ok(registry)
    }

    /// Returns a manifest by its tag or digest.
    pub async fn manifest(&self, reference: &str) -> Result<Got, Failure> {
        const KINDS: &str = "application/vnd.oci.image.manifest.v1+json, \
            application/vnd.oci.image.index.v1+json, \
            application/vnd.docker.distribution.manifest.v2+json";
        self.get(&format!("{}/manifests/{reference}", self.repository), KINDS).await
    }

    /// Returns what refers to a manifest; Absent where the registry does not know how.
    pub async fn referrers(&self, digest: &Digest) -> Result<Got, Failure> {
        let path = format!("{}/referrers/{digest}", self.repository);
        self.get(&path, "application/vnd.oci.image.index.v1+json").await
    }

    /// Returns what follows on the first part of a long answer.
    pub async fn next(&self, link: &str) -> Result<Got, Failure> {
        match self.base.join(link) {
            Ok(url) if url.host() == self.base.host() => self.follow(url, "*/*").await,
            Ok(_) | Err(_) => Ok(Got::Absent),
        }
    }

    /// Returns exactly what the digest names.
    pub async fn blob(&self, digest: &Digest) -> Result<Result<Vec<u8>, Flaw>, Failure> {
        let path = format!("{}/blobs/{digest}", self.repository);
        Ok(exactly(self.get(&path, "*/*").await?, digest))
    }

    async fn get(&self, path: &str, accept: &str) -> Result<Got, Failure> {
        let url = self.base.join(path).map_err(|_| self.transient("this is no path"))?;
        self.follow(url, accept).await
    }

    async fn follow(&self, mut url: Url, accept: &str) -> Result<Got, Failure> {
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = BTreeMap::from([("accept".to_owned(), Secret::new(accept))]);
            // Nobody else is told who asks.
            if url.origin() == self.base.origin()
                && let Some(authorization) = &self.authorization
            {
                headers.insert("authorization".to_owned(), authorization.clone());
            }
            let answer = self.ask(url.clone(), &headers, None).await;
            let answer = answer.map_err(|why| self.transient(&why))?;
            match answer.status {
                200 => return Ok(got(answer)),
                404 => return Ok(Got::Absent),
                // What a registry says that does not know the path at all.
                400 | 405 | 406 | 501 if url.path().contains("/referrers/") => {
                    return Ok(Got::Absent);
                }
                301 | 302 | 303 | 307 | 308 => {
                    let to = header(&answer.headers, LOCATION).and_then(|to| url.join(&to).ok());
                    url = to.ok_or_else(|| self.transient("it sends us nowhere"))?;
                    if self.base.scheme() == "https" && url.scheme() != "https" {
                        return Err(self.transient("it sends us where there is no TLS"));
                    }
                }
                // A store that the registry sends us to lets nobody in for long: the next
                // look gets another address.
                401 | 403 if url.origin() != self.base.origin() => {
                    let why = format!("what it sends us to answers {}", answer.status);
                    return Err(self.transient(&why));
                }
                _ => return Err(self.failed(&answer)),
            }
        }
        Err(self.transient("it sends us on and on"))
    }

    async fn ask(
        &self,
        url: Url,
        headers: &BTreeMap<String, Secret>,
        post: Option<Post>,
    ) -> Result<Answer, String> {
        let route = Route::ByEnvironment;
        let question = Question { url, headers, route, wants: Wants::Body, host: None, post };
        ask(self.connector, &question, self.until).await.map_err(|no_answer| match no_answer {
            NoAnswer::Unreached(why) | NoAnswer::Broken(why) => why,
        })
    }

    /// Gets what the registry wants to be told with every question.
    async fn authorize(
        &mut self,
        headers: &HeaderMap,
        login: Option<Login>,
    ) -> Result<(), Failure> {
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
        let mut known =
            challenges.filter_map(|it| Challenge::parse(it.to_str().unwrap_or_default()));
        self.authorization = match known.next() {
            None => return Err(self.transient("it wants to know who asks in a way unknown here")),
            Some(Challenge::Basic) => login.as_ref().and_then(basic),
            Some(Challenge::Bearer { realm, service }) => {
                Some(self.token(&realm, service, login).await?)
            }
        };
        Ok(())
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<String>,
        login: Option<Login>,
    ) -> Result<Secret, Failure> {
        let bad = || self.transient("it names nobody who could give a token");
        let mut url = Url::parse(realm).map_err(|_| bad())?;
        if self.base.scheme() == "https" && url.scheme() != "https" {
            return Err(bad());
        }
        let scope = format!("repository:{}:pull", self.repository);
        let service = service.unwrap_or_default();
        let mut headers = BTreeMap::new();
        let mut post = None;
        match &login {
            Some(Login::IdentityToken(token)) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.append_pair("grant_type", "refresh_token")
                    .append_pair("refresh_token", token.reveal())
                    .append_pair("client_id", "quaymaster")
                    .append_pair("service", &service)
                    .append_pair("scope", &scope);
                post = Some(Post {
                    content_type: "application/x-www-form-urlencoded",
                    body: form.finish().into_bytes(),
                });
            }
            Some(Login::Password { .. }) | None => {
                url.query_pairs_mut().append_pair("service", &service).append_pair("scope", &scope);
                let who = login.as_ref().and_then(basic);
                headers.extend(who.map(|who| ("authorization".to_owned(), who)));
            }
        }
        let answer = self.ask(url, &headers, post).await.map_err(|why| self.transient(&why))?;
        let token = match (answer.status, &answer.body) {
            (200, Body::Read(bytes)) => serde_json::from_slice::<Token>(bytes).ok(),
            (400 | 401 | 403, _) => return Err(self.denied(answer.status)),
            (_, _) => return Err(self.failed(&answer)),
        };
        let token =
            token.and_then(|it| it.token).ok_or_else(|| self.transient("it gives no token"))?;
        Ok(Secret::new(format!("Bearer {token}")))
    }

    fn failed(&self, answer: &Answer) -> Failure {
        match answer.status {
            401 | 403 => self.denied(answer.status),
            429 => rate_limited(&self.name(), answer.retry_after),
            status => self.transient(&format!("{} answers {status}", self.host)),
        }
    }

    fn denied(&self, status: u16) -> Failure {
        denied(&self.name(), &self.host, status)
    }

    fn transient(&self, why: &str) -> Failure {
        transient(&self.name(), why)
    }

    fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }
}

/// Returns what came back if it is what the digest names.
pub(super) fn exactly(got: Got, digest: &Digest) -> Result<Vec<u8>, Flaw> {
    let Got::Bytes { bytes, .. } = got else { return Err(Flaw::Damaged) };
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    match hash == digest.hex() {
        true => Ok(bytes),
        false => Err(Flaw::Damaged),
    }
}

fn got(answer: Answer) -> Got {
    let next = header(&answer.headers, LINK).and_then(|link| next_of(&link));
    match answer.body {
        Body::Read(bytes) => Got::Bytes { bytes, next },
        Body::TooLong => Got::TooLong,
    }
}

/// Reads `<…>; rel="next"`.
fn next_of(link: &str) -> Option<String> {
    let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then(|| target.to_owned())
}

fn basic(login: &Login) -> Option<Secret> {
    match login {
        Login::Password { user, password } => {
            let pair = format!("{user}:{}", password.reveal());
            Some(Secret::new(format!("Basic {}", STANDARD.encode(pair))))
        }
        Login::IdentityToken(_) => None,
    }
}

fn header(headers: &HeaderMap, name: hyper::header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
