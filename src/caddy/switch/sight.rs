//! Whether Caddy sees the folder: asked of Caddy itself.
//!
//! The controller may run as root on the host, and Caddy as somebody else, in a
//! container, or with a private view of the file system. So a nonce is left in
//! the folder, and Caddy is asked to adapt a Caddyfile that imports it: only if
//! it can read the file does the answer carry the nonce. That needs no route and
//! changes nothing.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    caddy::admin::{Admin, AdminError},
    domain::{snapshot::FlipMechanism, stack::FlipChoice},
};

use super::folder::{Access, Folder};

/// What Caddy sees of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    Seen,
    Unseen { why: String },
}

/// Asks Caddy, with one request, for the `nonce` at its path.
///
/// # Errors
///
/// Fails if Caddy cannot be asked; that it sees nothing is an answer.
pub async fn look(
    admin: &Admin,
    folder: &Folder,
    nonce: io::Result<(PathBuf, String)>,
) -> Result<Sight, AdminError> {
    let shown = folder.path().display();
    let unseen = |why: String| Ok(Sight::Unseen { why });
    if !is_plain(folder.path()) {
        return unseen(format!(
            "the path {shown} has a character that means something to Caddy; use another --state-dir"
        ));
    }
    let (path, nonce) = match (nonce, folder.access()) {
        (Ok(nonce), Access::Controls | Access::Looks) => nonce,
        (Err(error), Access::Controls) => return unseen(format!("cannot write {shown}: {error}")),
        (Err(_), Access::Looks) => {
            return unseen(format!("no controller has left anything for Caddy to see in {shown}"));
        }
    };
    let caddyfile = format!(":1 {{\n\timport \"{}\"\n}}\n", path.display());
    let answer = admin.adapt(caddyfile).await?;
    if answer.is_success() && String::from_utf8_lossy(&answer.body).contains(&nonce) {
        return Ok(Sight::Seen);
    }
    let words = match answer.is_success() {
        true => "it finds another folder there".to_owned(),
        false => answer.message(),
    };
    unseen(format!(
        "Caddy does not see {shown}: {words}. Let the user that it runs as pass through every \
         folder above (chmod o+x), or mount it into its container at the same path"
    ))
}

/// Returns the mechanism of a file that does not want the other one.
pub fn as_the_file_says() -> FlipMechanism {
    FlipMechanism::AdminApi { why: "the file says `proxy.caddy.flip: admin-api`".to_owned() }
}

/// Returns the mechanism that the file's choice and Caddy's sight come to.
pub fn mechanism(choice: FlipChoice, sight: Sight) -> FlipMechanism {
    match (choice, sight) {
        (FlipChoice::AdminApi, Sight::Seen | Sight::Unseen { .. }) => as_the_file_says(),
        (FlipChoice::Auto | FlipChoice::SwitchFile, Sight::Seen) => FlipMechanism::SwitchFile,
        (FlipChoice::Auto, Sight::Unseen { why }) => FlipMechanism::AdminApi { why },
        (FlipChoice::SwitchFile, Sight::Unseen { why }) => FlipMechanism::Blocked {
            why: format!("`proxy.caddy.flip: switch-file` cannot be had: {why}; or write `auto`"),
        },
    }
}

/// Returns whether Caddy takes the path as it stands: without placeholders,
/// patterns or quotes.
fn is_plain(path: &Path) -> bool {
    let special = |c: char| c.is_whitespace() || c.is_control() || "{}[]*?\"`\\<>".contains(c);
    path.to_str().is_some_and(|text| !text.contains(special))
}
