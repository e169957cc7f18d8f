//! A registry's login as the engine takes it.

use bollard::auth::DockerCredentials;

use crate::{
    credentials::{DOCKER_HUB_LOGIN, Login},
    domain::image::DOCKER_HUB,
};

pub(super) fn for_engine(login: Login, registry: &str) -> DockerCredentials {
    let server = if registry == DOCKER_HUB { DOCKER_HUB_LOGIN } else { registry };
    let serveraddress = Some(server.to_owned());
    match login {
        // Never bollard's `auth` field: Docker ignores it.
        Login::Password { user, password } => DockerCredentials {
            username: Some(user),
            password: Some(password.reveal().to_owned()),
            serveraddress,
            ..Default::default()
        },
        Login::IdentityToken(token) => DockerCredentials {
            identitytoken: Some(token.reveal().to_owned()),
            serveraddress,
            ..Default::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    #[test]
    fn docker_hub_is_called_as_docker_calls_it() {
        let login = || Login::Password { user: "user".to_owned(), password: Secret::new("pa+ss") };
        let engine = for_engine(login(), "r.example:5000");
        assert_eq!(engine.username.as_deref(), Some("user"));
        assert_eq!(engine.password.as_deref(), Some("pa+ss"));
        assert_eq!((engine.auth, engine.serveraddress.as_deref()), (None, Some("r.example:5000")));
        let hub = for_engine(login(), "docker.io").serveraddress;
        assert_eq!(hub.as_deref(), Some("https://index.docker.io/v1/"));
        let token = for_engine(Login::IdentityToken(Secret::new("T")), "r.example");
        assert_eq!((token.identitytoken.as_deref(), token.password), (Some("T"), None));
    }
}
