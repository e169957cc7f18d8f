//! The policy of this host: a file beside the desired state, never part of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::domain::{
    HostPolicy,
    manifest::{self, PolicyInForce, PolicyInput},
};

use super::variables::read_bounded;

/// Where the policy is, and whether it has to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyFile {
    /// Somebody named it: without it nothing new is let in.
    Named(PathBuf),
    /// The usual place: without a file there, there is no policy.
    IfThere(PathBuf),
}

impl PolicyFile {
    /// Reads the policy as it stands now; None if there is none.
    ///
    /// # Errors
    ///
    /// Fails with the text for people if it cannot be read, or is not valid. Then no
    /// desired state may be let in: nobody knows what it would have to obey.
    pub fn read(&self) -> Result<Option<HostPolicy>, String> {
        let path = self.path();
        let text = match (read_bounded(path), self) {
            (Ok(text), _) => text,
            (Err(error), PolicyFile::IfThere(_)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            (Err(error), _) => {
                return Err(format!(
                    "cannot read the policy {}: {error}\n  nothing new is let in without it; \
                     put it there, or start without `--policy`",
                    path.display()
                ));
            }
        };
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let read = manifest::parse_policy(&PolicyInput {
            file_name: &path.display().to_string(),
            text: &text,
            base_dir: absolute.parent().unwrap_or(Path::new("/")),
            read_key: &read_bounded,
        });
        read.map(Some).map_err(|report| report.to_string())
    }

    pub fn path(&self) -> &Path {
        match self {
            PolicyFile::Named(path) | PolicyFile::IfThere(path) => path,
        }
    }
}

/// Returns a policy with what only this host can tell.
pub(super) fn in_force<'a>(rules: &'a HostPolicy, sockets: &'a [PathBuf]) -> PolicyInForce<'a> {
    PolicyInForce { rules, real_path: &real_path, engine_sockets: sockets }
}

/// Returns where the engine of this controller listens on this host, if `DOCKER_HOST` says
/// so: as it is said, and where that leads.
pub(super) fn engine_sockets() -> Vec<PathBuf> {
    std::env::var("DOCKER_HOST").map(|host| sockets_of(&host)).unwrap_or_default()
}

fn sockets_of(docker_host: &str) -> Vec<PathBuf> {
    let Some(path) = docker_host.strip_prefix("unix://") else { return Vec::new() };
    let written = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    let real = real_path(&written);
    if real == written { vec![written] } else { vec![written, real] }
}

/// Returns where a path leads through symbolic links. What does not exist yet is taken
/// as it is written: Docker will make it.
fn real_path(path: &Path) -> PathBuf {
    let known = path.ancestors().find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    let Some((above, real)) = known else { return path.to_owned() };
    let rest = path.strip_prefix(above).unwrap_or(Path::new(""));
    if rest.as_os_str().is_empty() { real } else { real.join(rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_policy_is_one_only_where_it_was_not_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.yaml");
        assert_eq!(PolicyFile::IfThere(path.clone()).read(), Ok(None));
        let why = PolicyFile::Named(path).read().expect_err("it is not there");
        assert!(why.contains("cannot read the policy"), "{why}");
        let of_a_folder = PolicyFile::IfThere(folder.path().to_owned()).read();
        assert!(of_a_folder.expect_err("a folder is no file").contains("not a regular file"));
    }

    #[test]
    fn the_engines_own_socket_is_known_as_it_is_said_and_where_it_leads() {
        let folder = tempfile::tempdir().expect("a folder");
        let here = fs::canonicalize(folder.path()).expect("it exists");
        fs::create_dir(here.join("real")).expect("made");
        std::os::unix::fs::symlink("real", here.join("link")).expect("made");
        let said = here.join("link/d.sock");
        let sockets = sockets_of(&format!("unix://{}", said.display()));
        assert_eq!(sockets, [said, here.join("real/d.sock")]);
        assert_eq!(sockets_of("tcp://10.0.0.1:2375"), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_path_is_followed_as_far_as_it_exists() {
        let folder = tempfile::tempdir().expect("a folder");
        let here = fs::canonicalize(folder.path()).expect("it exists");
        fs::create_dir(here.join("real")).expect("made");
        std::os::unix::fs::symlink("real", here.join("link")).expect("made");
        assert_eq!(real_path(&here.join("link/new/x")), here.join("real/new/x"));
        assert_eq!(real_path(&here.join("link")), here.join("real"));
    }
}
