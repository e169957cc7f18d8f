//! Whose name a registry is asked in: Docker's own `config.json`.
//!
//! Read anew each time, so that a `docker login` mends what it should without a
//! restart. Beside the adapters, because both who pulls and who looks at signatures asks. `docker_credential` reads the file and asks helpers; what it lacks is
//! here: Docker Hub's several names, a helper's "there is none", and a deadline.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use docker_credential::{CredentialRetrievalError, DockerCredential};

use crate::domain::{
    Secret,
    image::DOCKER_HUB,
    snapshot::{Failure, FailureKind},
};

/// What `docker login` calls Docker Hub.
pub const DOCKER_HUB_LOGIN: &str = "https://index.docker.io/v1/";

/// How long a credential helper may take.
const HELPER_DEADLINE: Duration = Duration::from_secs(30);

/// The most characters of a helper's words that a failure carries.
const MAX_HELPER_WORDS: usize = 200;

/// As whom a registry is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    Password {
        user: String,
        password: Secret,
    },
    /// What an OAuth login left, to be exchanged for tokens.
    IdentityToken(Secret),
}

/// Returns the folder of Docker's configuration: `DOCKER_CONFIG`, else `.docker`
/// in the home of the user we run as.
pub fn default_folder() -> Option<PathBuf> {
    let named = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty());
    named.map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".docker")))
}

/// Returns the credentials for a registry; None means to ask anonymously.
///
/// A file that cannot be read or a helper that fails is a failure: to go on
/// anonymously would end in a refusal that names the wrong cause.
pub async fn of_registry(folder: Option<&Path>, registry: &str) -> Result<Option<Login>, Failure> {
    let Some(folder) = folder else { return Ok(None) };
    let path = folder.join("config.json");
    let config = match tokio::fs::read(&path).await {
        Ok(config) => config,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failure(registry, &format!("{}: {error}", path.display()))),
    };
    let registry = registry.to_owned();
    let asked_for = registry.clone();
    // A helper is a child process that the crate waits for.
    let lookup = tokio::task::spawn_blocking(move || look_up(&config, &registry));
    match tokio::time::timeout(HELPER_DEADLINE, lookup).await {
        Ok(Ok(Ok(found))) => Ok(found.map(Login::from)),
        Ok(Ok(Err(why))) => Err(failure(&asked_for, &describe(&why, &path))),
        Ok(Err(_)) => Err(failure(&asked_for, "the credential helper's output broke the reader")),
        Err(_) => Err(failure(&asked_for, "the credential helper did not answer")),
    }
}

/// Returns the names under which the file may hold a registry's credentials.
fn logins_of(registry: &str) -> Vec<String> {
    if registry == DOCKER_HUB {
        let names = [DOCKER_HUB_LOGIN, "index.docker.io", DOCKER_HUB, "registry-1.docker.io"];
        return names.map(str::to_owned).to_vec();
    }
    vec![registry.to_owned(), format!("https://{registry}")]
}

fn look_up(
    config: &[u8],
    registry: &str,
) -> Result<Option<DockerCredential>, CredentialRetrievalError> {
    for login in logins_of(registry) {
        match docker_credential::get_credential_from_reader(config, &login) {
            Ok(found) => return Ok(Some(found)),
            Err(CredentialRetrievalError::NoCredentialConfigured) => {}
            // The words that Docker's helpers have agreed on.
            Err(CredentialRetrievalError::HelperFailure { stdout, .. })
                if stdout.contains("credentials not found") => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

impl From<DockerCredential> for Login {
    fn from(found: DockerCredential) -> Login {
        match found {
            DockerCredential::UsernamePassword(user, password) => {
                Login::Password { user, password: Secret::new(password) }
            }
            DockerCredential::IdentityToken(token) => Login::IdentityToken(Secret::new(token)),
        }
    }
}

/// Returns what went wrong, without anything that could be a secret (S9).
fn describe(why: &CredentialRetrievalError, path: &Path) -> String {
    let file = path.display();
    match why {
        CredentialRetrievalError::HelperFailure { helper, stdout, stderr } => {
            // Helpers speak on either; a secret is only ever on the standard
            // output of one that succeeded.
            let said = [stderr.trim(), stdout.trim()].into_iter().find(|said| !said.is_empty());
            let line = said.and_then(|said| said.lines().next()).unwrap_or("it said nothing");
            let line: String = line.chars().take(MAX_HELPER_WORDS).collect();
            format!("{helper}: {line}")
        }
        CredentialRetrievalError::HelperCommunicationError => {
            format!("the credential helper that {file} names cannot be run; is it in PATH?")
        }
        CredentialRetrievalError::MalformedHelperResponse => {
            "the credential helper's answer is not what Docker's protocol says".to_owned()
        }
        CredentialRetrievalError::CredentialDecodingError => {
            format!("{file}: `auth` is not Base64 of USER:PASSWORD")
        }
        CredentialRetrievalError::CredentialMismatchError => {
            format!("{file}: `auth` differs from `username` and `password`")
        }
        CredentialRetrievalError::ConfigReadError => format!("{file} is not valid JSON"),
        CredentialRetrievalError::ConfigNotFound
        | CredentialRetrievalError::NoCredentialConfigured => format!("{file}: nothing found"),
    }
}

fn failure(registry: &str, why: &str) -> Failure {
    // An operator mends this outside the desired state, so it is tried again.
    let message = format!("cannot read the credentials for {registry}: {why}");
    Failure { kind: FailureKind::Transient, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(config: serde_json::Value, registry: &str) -> Option<Login> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
        of_registry(Some(folder.path()), registry).await.expect("readable")
    }

    /// `user:pa+ss`
    const AUTH: &str = "dXNlcjpwYStzcw==";

    #[tokio::test]
    async fn a_login_is_decoded_into_user_and_password() {
        let config = serde_json::json!({ "auths": { "r.example:5000": { "auth": AUTH } } });
        let found = found(config, "r.example:5000").await.expect("credentials");
        let password = Secret::new("pa+ss");
        assert_eq!(found, Login::Password { user: "user".to_owned(), password });
    }

    #[tokio::test]
    async fn docker_hub_is_known_by_each_of_its_names() {
        for name in ["https://index.docker.io/v1/", "index.docker.io", "docker.io"] {
            let config = serde_json::json!({ "auths": { name: { "auth": AUTH } } });
            found(config, "docker.io").await.expect(name);
        }
    }

    #[tokio::test]
    async fn an_identity_token_is_passed_on() {
        let config = serde_json::json!({ "auths": { "r.example": { "identitytoken": "T" } } });
        let found = found(config, "r.example").await.expect("credentials");
        assert_eq!(found, Login::IdentityToken(Secret::new("T")));
    }

    #[tokio::test]
    async fn another_registrys_login_is_never_sent() {
        let config = serde_json::json!({ "auths": { "r.example": { "auth": AUTH } } });
        assert_eq!(found(config, "r.example.evil.example").await, None);
    }

    #[tokio::test]
    async fn no_file_means_anonymous_and_a_broken_one_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(of_registry(Some(folder.path()), "r.example").await, Ok(None));
        std::fs::write(folder.path().join("config.json"), "{").expect("written");
        let failure = of_registry(Some(folder.path()), "r.example").await.expect_err("broken");
        assert!(failure.message.ends_with("config.json is not valid JSON"), "{failure}");
    }

    #[tokio::test]
    async fn a_helper_that_is_missing_is_a_failure() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = serde_json::json!({ "credHelpers": { "r.example": "of-nobody-at-all" } });
        std::fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
        let failure = of_registry(Some(folder.path()), "r.example").await.expect_err("no helper");
        assert!(failure.message.contains("is it in PATH?"), "{failure}");
    }

    #[test]
    fn a_broken_auth_is_not_quoted() {
        let path = Path::new("/root/.docker/config.json");
        let why = describe(&CredentialRetrievalError::CredentialDecodingError, path);
        assert_eq!(why, "/root/.docker/config.json: `auth` is not Base64 of USER:PASSWORD");
    }
}
