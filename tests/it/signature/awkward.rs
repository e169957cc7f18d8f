//! Registries that are not like Debian's, and ones that fail.

use std::{fs, time::Duration};

use quaymaster::{
    domain::snapshot::{Failure, FailureKind},
    ports::Verifier,
    signature::{Options, Signatures},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    MANIFEST,
    fake::{Answer, Asked, Fake},
    wanted_of,
};
use crate::rig::cosign::Signer;

const IMAGE: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn digest(bytes: &[u8]) -> String {
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

fn ok(body: impl Into<Vec<u8>>) -> Answer {
    (200, String::new(), body.into())
}

fn status(status: u16) -> Answer {
    (status, String::new(), Vec::new())
}

/// A bundle of `ci` that signs [`IMAGE`], and the manifest that holds it.
struct Pushed {
    bundle: Vec<u8>,
    manifest: Vec<u8>,
}

impl Pushed {
    fn by(ci: &Signer) -> Pushed {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "digest": { "sha256": &IMAGE["sha256:".len()..] } }],
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "predicate": {},
        });
        let bundle = ci.bundle(&statement).to_string().into_bytes();
        let layer = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "digest": digest(&bundle),
            "size": bundle.len(),
        });
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer] });
        Pushed { bundle, manifest: manifest.to_string().into_bytes() }
    }

    fn index(&self) -> Value {
        let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
        json!({ "manifests": [{ "digest": digest(&self.manifest), "artifactType": kind }] })
    }

    /// Answers as a registry with a referrers API does that lets anybody in.
    fn answer(&self, path: &str) -> Answer {
        match path {
            "/v2/" => ok("{}"),
            path if path.ends_with(&format!("/referrers/{IMAGE}")) => ok(self.index().to_string()),
            path if path.ends_with(&digest(&self.manifest)) => ok(self.manifest.clone()),
            path if path.ends_with(&digest(&self.bundle)) => ok(self.bundle.clone()),
            _ => status(404),
        }
    }
}

fn path(asked: &Asked) -> &str {
    asked.line.split_once(' ').map_or("", |(_, path)| path)
}

/// Looks for the signature with this `config.json`.
async fn look(fake: &Fake, ci: &Signer, config: &str) -> Result<(), Failure> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("config.json"), config.replace("HOST", &fake.host))
        .expect("written");
    let docker_config = Some(folder.path().to_owned());
    let options = Options { docker_config, ..Options::default() };
    Signatures::new(options).verify(&wanted_of(&fake.host, "shop/web", IMAGE, &[ci])).await
}

#[tokio::test]
async fn the_referrers_api_is_asked_first() {
    let ci = Signer::default();
    let pushed = Pushed::by(&ci);
    let fake = Fake::start(move |_, asked| pushed.answer(path(asked)));
    assert_eq!(look(&fake, &ci, "{}").await, Ok(()));
    assert!(fake.asked().iter().all(|asked| !asked.line.contains("sha256-")), "{:?}", fake.asked());
}

#[tokio::test]
async fn a_long_list_of_referrers_is_read_on() {
    let ci = Signer::default();
    let pushed = Pushed::by(&ci);
    let fake = Fake::start(move |_, asked| match path(asked) {
        path if path.ends_with("?page=2") => ok(pushed.index().to_string()),
        path if path.contains("/referrers/") => {
            let link = format!("Link: <{path}?page=2>; rel=\"next\"\r\n");
            (200, link, br#"{"manifests":[]}"#.to_vec())
        }
        path => pushed.answer(path),
    });
    assert_eq!(look(&fake, &ci, "{}").await, Ok(()));
}

/// `ci:secret-word`
const LOGIN: &str = r#"{"auths":{"HOST":{"auth":"Y2k6c2VjcmV0LXdvcmQ="}}}"#;

fn wants_a_token(host: &str) -> Answer {
    let challenge = format!(
        "WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"the service\"\r\n"
    );
    (401, challenge, Vec::new())
}

#[tokio::test]
async fn a_token_is_asked_for_as_whom_docker_is_logged_in() {
    let ci = Signer::default();
    let pushed = Pushed::by(&ci);
    let fake =
        Fake::start(move |host, asked| match (path(asked), asked.authorization.as_deref()) {
            (path, Some("Basic Y2k6c2VjcmV0LXdvcmQ=")) if path.starts_with("/token?") => {
                ok(r#"{"token":"t0ken"}"#)
            }
            (path, _) if path.starts_with("/token?") => status(401),
            (path, Some("Bearer t0ken")) => pushed.answer(path),
            (_, _) => wants_a_token(host),
        });
    assert_eq!(look(&fake, &ci, LOGIN).await, Ok(()));
    let token = fake.asked().into_iter().find(|it| it.line.contains("/token")).expect("asked");
    assert!(token.line.contains("service=the+service"), "{token:?}");
    assert!(token.line.contains("scope=repository%3Ashop%2Fweb%3Apull"), "{token:?}");
    let failure = look(&fake, &ci, "{}").await.expect_err("anonymous");
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(failure.message.contains("docker login"), "{failure}");
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let ci = Signer::default();
    let pushed = Pushed::by(&ci);
    let fake = Fake::start(move |host, asked| match asked.authorization.as_deref() {
        Some("Bearer t0ken") => pushed.answer(path(asked)),
        _ if asked.line == "POST /token" && asked.body.contains("refresh_token=ident") => {
            ok(r#"{"access_token":"t0ken"}"#)
        }
        _ => wants_a_token(host),
    });
    let config = r#"{"auths":{"HOST":{"identitytoken":"ident"}}}"#;
    assert_eq!(look(&fake, &ci, config).await, Ok(()));
}

#[tokio::test]
async fn nobody_else_is_told_who_asks() {
    let ci = Signer::default();
    let pushed = Pushed::by(&ci);
    let (bundle, blob) = (pushed.bundle.clone(), digest(&pushed.bundle));
    let store = Fake::start(move |_, _| ok(bundle.clone()));
    let elsewhere = store.host.clone();
    let fake = Fake::start(move |_, asked| match (path(asked), asked.authorization.as_deref()) {
        (_, None) => (401, "WWW-Authenticate: Basic realm=\"x\"\r\n".to_owned(), Vec::new()),
        (path, Some(_)) if path.ends_with(&blob) => {
            (307, format!("Location: http://{elsewhere}/blob\r\n"), Vec::new())
        }
        (path, Some(_)) => pushed.answer(path),
    });
    assert_eq!(look(&fake, &ci, LOGIN).await, Ok(()));
    let asked = store.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization, None);
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_does_not_count() {
    let ci = Signer::default();
    for at in ["manifest", "bundle"] {
        let (real, other) = (Pushed::by(&ci), Pushed::by(&ci));
        let (manifest, bundle) = (digest(&real.manifest), digest(&real.bundle));
        let fake = Fake::start(move |_, asked| match path(asked) {
            path if at == "manifest" && path.ends_with(&manifest) => ok(other.manifest.clone()),
            path if at == "bundle" && path.ends_with(&bundle) => ok(other.bundle.clone()),
            path => real.answer(path),
        });
        let failure = look(&fake, &ci, "{}").await.expect_err(at);
        assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
        assert!(failure.message.contains("cannot be read"), "{failure}");
    }
}

#[tokio::test]
async fn what_cannot_be_told_is_asked_again() {
    let ci = Signer::default();
    for broken in [500, 503, 418] {
        // The one place where the signature is fails, and the other knows of none.
        let pushed = Pushed::by(&ci);
        let fake = Fake::start(move |_, asked| match path(asked) {
            path if path.contains("/referrers/") => status(broken),
            path => pushed.answer(path),
        });
        let failure = look(&fake, &ci, "{}").await.expect_err("nobody can tell");
        assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
        assert!(failure.message.contains(&format!("answers {broken}")), "{failure}");
    }
    let fake = Fake::start(|_, _| (429, "Retry-After: 90\r\n".to_owned(), Vec::new()));
    let failure = look(&fake, &ci, "{}").await.expect_err("too many requests");
    let retry_after = Some(Duration::from_secs(90));
    assert_eq!(failure.kind, FailureKind::RateLimited { retry_after });
}

#[tokio::test]
async fn a_registry_that_sends_us_in_circles_or_floods_us_is_left() {
    let ci = Signer::default();
    let fake = Fake::start(|host, asked| match path(asked) {
        "/v2/" => ok("{}"),
        path => (302, format!("Location: http://{host}{path}\r\n"), Vec::new()),
    });
    let failure = look(&fake, &ci, "{}").await.expect_err("it never ends");
    assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
    let fake = Fake::start(|_, asked| match path(asked) {
        "/v2/" => ok("{}"),
        _ => ok(vec![b' '; 2 << 20]),
    });
    let failure = look(&fake, &ci, "{}").await.expect_err("too much");
    assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
}
