//! Our mark on the images that this stack pulled, and taking it off again.
//!
//! The mark is a tag, `quaymaster/STACK:sha256-…`. It says whose the image is
//! without any memory of ours, and it keeps `docker image prune` off an image that
//! otherwise only a digest names.

use std::collections::HashMap;

use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveImageOptions};

use crate::domain::{Digest, ImageId, StackName, snapshot::Failure};

use super::{
    Docker,
    connection::CALL_DEADLINE,
    failure::{CallError, within},
};

/// How a stack marks images: the repository of its tags.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub repository: String,
}

impl Mark {
    pub fn of(stack: &StackName) -> Mark {
        let name = stack.as_str();
        // A stack's name may be no repository's (`a_`, `a-_b`); the dot keeps the
        // written-out form apart from every name.
        let as_written = format!("quaymaster/{name}");
        let is_repository = as_written.parse::<crate::domain::ImageRef>().is_ok();
        let repository = if is_repository {
            as_written
        } else {
            let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
            format!("quaymaster/x.{hex}")
        };
        Mark { repository }
    }

    /// Returns the tag's own part: what follows the repository and the colon.
    pub fn tag(digest: &Digest) -> String {
        format!("sha256-{}", digest.hex())
    }

    /// Returns the whole name of the mark for this digest.
    pub fn tag_of(&self, digest: &Digest) -> String {
        format!("{}:{}", self.repository, Mark::tag(digest))
    }

    /// Returns the digest that a listed name marks; None if it is not our mark.
    pub fn digest_of(&self, name: &str) -> Option<Digest> {
        let hex = name.strip_prefix(&self.repository)?.strip_prefix(":sha256-")?;
        format!("sha256:{hex}").parse().ok()
    }
}

impl Docker {
    pub(super) async fn unmark_image(&self, id: &ImageId, digest: &Digest) -> Result<(), Failure> {
        let doing = || format!("remove image {}", digest.short());
        let mark = Mark::of(&self.stack).tag_of(digest);
        let image = match within(CALL_DEADLINE, self.client.inspect_image(id.as_str())).await {
            Ok(image) => image,
            Err(error) if error.status() == Some(404) => return Ok(()),
            Err(error) => return Err(error.transient(&doing())),
        };
        let tags = image.repo_tags.unwrap_or_default();
        if !tags.contains(&mark) {
            return Ok(());
        }
        let is_ours_alone = tags.iter().all(|tag| *tag == mark);
        if is_ours_alone {
            if self.is_used(id).await.map_err(|error| error.transient(&doing()))? {
                return Ok(());
            }
            // The digests first, the mark last: after a crash in between the
            // image is still marked, and the next prune goes on.
            for name in image.repo_digests.unwrap_or_default() {
                self.untag(&name).await.map_err(|error| error.transient(&doing()))?;
            }
        }
        self.untag(&mark).await.map_err(|error| error.transient(&doing()))
    }

    /// Returns whether any container on the host, ours or not, runs or ran this image.
    async fn is_used(&self, id: &ImageId) -> Result<bool, CallError> {
        let filters = HashMap::from([("ancestor".to_owned(), vec![id.to_string()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let users = within(CALL_DEADLINE, self.client.list_containers(Some(options))).await?;
        Ok(!users.is_empty())
    }

    /// Takes one name off an image; with its last name the image goes. Never by
    /// force: one that came into use meanwhile stays.
    async fn untag(&self, name: &str) -> Result<(), CallError> {
        let call = self.client.remove_image(name, None::<RemoveImageOptions>, None);
        match within(CALL_DEADLINE, call).await {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.status(), Some(404 | 409)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(stack: &str) -> Mark {
        Mark::of(&stack.parse().expect("a name"))
    }

    #[test]
    fn a_mark_is_read_back_by_its_own_stack_only() {
        let digest: Digest = format!("sha256:{}", "0b".repeat(32)).parse().expect("a digest");
        let tag = mark("shop").tag_of(&digest);
        assert_eq!(mark("shop").digest_of(&tag), Some(digest));
        assert_eq!(mark("sho").digest_of(&tag), None);
        assert_eq!(mark("shop").digest_of("quaymaster/shop:latest"), None);
    }

    #[test]
    fn every_stack_name_makes_a_valid_tag() {
        for stack in ["a", "a-b", "a_b", "a_", "a-_b", "a___b", "9"] {
            let reference = format!("{}:x", mark(stack).repository);
            assert!(reference.parse::<crate::domain::ImageRef>().is_ok(), "{reference}");
        }
        assert_ne!(mark("a_").repository, mark("x-615f").repository);
    }
}
