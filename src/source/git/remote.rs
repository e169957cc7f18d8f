//! Where a repository is, apart from what lets one in.
//!
//! A user and password in the URL go to git by way of its environment, which only
//! its own user can read: never as an argument, which every user of the host can
//! list, and never into a file.

use std::{fmt, path::Path};

/// Shown where a credential stood.
const HIDDEN: &str = "***";

/// A repository, and the credential that its URL came with.
#[derive(Clone)]
pub struct Remote {
    /// What git is told: without a credential.
    address: String,
    credential: Option<Credential>,
}

#[derive(Clone)]
pub(super) struct Credential {
    pub username: String,
    /// None where the URL names only the user: git's credential helpers know the rest.
    pub password: Option<String>,
    /// As the URL had them.
    spelled: Vec<String>,
}

/// Why a text is not a repository's URL. Never repeats the text, which may hold a
/// password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRemote {
    #[error("the repository's URL is empty")]
    Empty,
    #[error("the repository's URL begins with `-`, which git would take for an option")]
    Option,
    #[error("the repository's URL holds a control character")]
    Control,
}

impl Remote {
    /// Reads a URL, `user@host:path` or a path, as git would.
    ///
    /// # Errors
    ///
    /// Fails if it is nothing that git can be told.
    pub fn parse(url: &str) -> Result<Remote, BadRemote> {
        if url.is_empty() {
            return Err(BadRemote::Empty);
        }
        if url.starts_with('-') {
            return Err(BadRemote::Option);
        }
        if url.chars().any(char::is_control) {
            return Err(BadRemote::Control);
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Ok(Remote { address: absolute(url), credential: None });
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let Some((user_info, host)) = authority.rsplit_once('@') else {
            return Ok(Remote { address: url.to_owned(), credential: None });
        };
        let (username, password) = match user_info.split_once(':') {
            Some((username, password)) => (username, Some(password)),
            None => (user_info, None),
        };
        if matches!(scheme, "http" | "https") {
            let spelled = password.map_or_else(|| vec![username], |password| vec![password]);
            let credential = Credential {
                username: decoded(username),
                password: password.map(decoded),
                spelled: spelled.into_iter().map(str::to_owned).collect(),
            };
            let address = format!("{scheme}://{host}{path}");
            return Ok(Remote { address, credential: Some(credential) });
        }
        // SSH asks for a key; a password there is never used, and a user is no secret.
        Ok(Remote { address: format!("{scheme}://{username}@{host}{path}"), credential: None })
    }

    /// Returns what git is told.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns scheme, host and port: whom a credential is for.
    pub(super) fn origin(&self) -> &str {
        let start = self.address.find("://").map_or(0, |at| at + 3);
        let end = self.address[start..].find(['/', '?', '#']);
        end.map_or(&self.address, |end| &self.address[..start + end])
    }

    /// Returns the URL for people: a token in the query is left out as well.
    pub fn shown(&self) -> &str {
        self.address.split(['?', '#']).next().unwrap_or_default()
    }

    pub(super) fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// Returns `text` without anything that lets one in.
    pub(super) fn redacted(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some((_, query)) =
            self.address.split_once('?').filter(|(_, query)| !query.is_empty())
        {
            text = text.replace(query, HIDDEN);
        }
        for secret in self.credential.iter().flat_map(Credential::secrets) {
            text = text.replace(secret, HIDDEN);
        }
        text
    }
}

/// What a forge gives out has 20 characters (GitLab) or more.
const SHORTEST_TOKEN: usize = 12;

impl Credential {
    /// A name without a password is often a token: unless it is as short as only names
    /// are, it counts as one.
    fn secrets(&self) -> impl Iterator<Item = &str> {
        let (decoded, shortest) = match &self.password {
            Some(password) => (password, 1),
            None => (&self.username, SHORTEST_TOKEN),
        };
        let all = self.spelled.iter().chain([decoded]).map(String::as_str);
        all.filter(move |secret| secret.len() >= shortest)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.shown()).finish()
    }
}

/// Makes a path independent of the folder that git is started in. What git takes for
/// `host:path` stays as it is.
fn absolute(text: &str) -> String {
    let is_path = text.split('/').next().is_some_and(|first| !first.contains(':'));
    match std::path::absolute(Path::new(text)) {
        Ok(path) if is_path => path.to_string_lossy().into_owned(),
        Ok(_) | Err(_) => text.to_owned(),
    }
}

/// Undoes percent-encoding; what is none stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| first == b'%');
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str) -> Remote {
        Remote::parse(url).expect("a URL")
    }

    #[test]
    fn a_credential_is_neither_shown_nor_an_argument() {
        let remote = remote("https://ci:p%40ss@git.example.com/shop/state.git");
        assert_eq!(remote.address(), "https://git.example.com/shop/state.git");
        assert_eq!(remote.shown(), remote.address());
        let credential = remote.credential().expect("a credential");
        assert_eq!((&*credential.username, credential.password.as_deref()), ("ci", Some("p@ss")));
        let text = remote.redacted("no https://ci:p%40ss@git.example.com for p@ss");
        assert_eq!(text, "no https://ci:***@git.example.com for ***");
        assert!(!format!("{remote:?}").contains("ss"), "{remote:?}");
    }

    #[test]
    fn a_name_alone_may_be_a_token() {
        let token = remote("https://ghp_0123456789@git.example.com/state.git");
        assert_eq!(token.address(), "https://git.example.com/state.git");
        assert_eq!(token.redacted("bad ghp_0123456789"), "bad ***");
        let name = remote("https://git@git.example.com/state.git");
        assert_eq!(name.redacted("no git.example.com"), "no git.example.com");
        let query = super::Remote::parse("https://git.example.com/s.git?private_token=abc");
        let query = query.expect("a URL");
        assert_eq!(query.shown(), "https://git.example.com/s.git");
        assert_eq!(query.redacted("at ?private_token=abc"), "at ?***");
    }

    #[test]
    fn a_user_of_ssh_is_no_secret() {
        let urls = ["ssh://git@git.example.com:22/s.git", "git@git.example.com:shop/s.git"];
        for url in urls {
            assert_eq!(remote(url).shown(), url);
        }
        assert_eq!(remote("ssh://git:pw@example.com/s").address(), "ssh://git@example.com/s");
    }

    #[test]
    fn what_git_would_take_for_something_else_is_refused() {
        assert_eq!(Remote::parse("--upload-pack=evil").err(), Some(BadRemote::Option));
        assert_eq!(Remote::parse("").err(), Some(BadRemote::Empty));
        assert_eq!(Remote::parse("https://a\nb").err(), Some(BadRemote::Control));
        assert!(remote("state.git").address().starts_with('/'));
        assert_eq!(remote("/srv/state.git").shown(), "/srv/state.git");
    }
}
