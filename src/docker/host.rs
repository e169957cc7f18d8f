//! What the host holds beside containers: images, networks, volumes, disk.

use std::path::{Path, PathBuf};

use bollard::{
    models::ImageSummary,
    query_parameters::{ListImagesOptions, ListVolumesOptions},
};

use crate::domain::snapshot::{Disk, Failure, Host, LocalImage};

use super::{
    Docker,
    connection::LOOK_DEADLINE,
    failure::{CallError, within},
    image::Mark,
    listening,
};

impl Docker {
    pub(super) async fn look_at_host(&self) -> Result<Host, Failure> {
        let (images, networks, volumes, root_dir) = tokio::try_join!(
            within(LOOK_DEADLINE, self.client.list_images(None::<ListImagesOptions>)),
            self.look_at_networks(),
            within(LOOK_DEADLINE, self.client.list_volumes(None::<ListVolumesOptions>)),
            self.root_dir(),
        )
        .map_err(|error: CallError| error.transient("look at the host"))?;
        let mark = Mark::of(&self.stack);
        Ok(Host {
            images: images.iter().filter_map(|image| local_image(image, &mark)).collect(),
            networks,
            volumes: volumes.volumes.into_iter().flatten().map(|volume| volume.name).collect(),
            disk: root_dir.and_then(disk_of),
            listening: self.is_local.then(listening::read).flatten(),
        })
    }

    /// Returns where the engine keeps its images, if that is on this machine.
    async fn root_dir(&self) -> Result<Option<&Path>, CallError> {
        if !self.is_local {
            return Ok(None);
        }
        let ask = || async {
            let info = within(LOOK_DEADLINE, self.client.info()).await?;
            // Inside a container that has the socket the folder is not there.
            let folder = info.docker_root_dir.map(PathBuf::from);
            Ok::<_, CallError>(folder.filter(|folder| folder.is_dir()))
        };
        Ok(self.root_dir.get_or_try_init(ask).await?.as_deref())
    }
}

fn disk_of(folder: &Path) -> Option<Disk> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(Disk {
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

/// Reads one listed image; None for an id that is no digest.
fn local_image(listed: &ImageSummary, mark: &Mark) -> Option<LocalImage> {
    let named = |names: &[String]| -> Vec<String> {
        names.iter().filter(|name| !name.contains("<none>")).cloned().collect()
    };
    let (marks, tags): (Vec<_>, Vec<_>) =
        named(&listed.repo_tags).into_iter().partition(|tag| mark.digest_of(tag).is_some());
    Some(LocalImage {
        id: listed.id.parse().ok()?,
        tags: tags.into_iter().collect(),
        digests: named(&listed.repo_digests).into_iter().collect(),
        pulled_as: marks.iter().filter_map(|tag| mark.digest_of(tag)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_mark_makes_an_image_ours() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let mark = Mark::of(&"shop".parse().expect("a name"));
        let own = mark.tag_of(&digest.parse().expect("a digest"));
        let foreign = own.replace("/shop:", "/other:");
        let listed = ImageSummary {
            id: digest.clone(),
            repo_tags: vec![own, foreign.clone(), "<none>:<none>".to_owned()],
            repo_digests: vec!["<none>@<none>".to_owned(), format!("app@{digest}")],
            ..Default::default()
        };
        let image = local_image(&listed, &mark).expect("an image");
        assert_eq!(image.tags.into_iter().collect::<Vec<_>>(), [foreign]);
        assert_eq!(image.digests.into_iter().collect::<Vec<_>>(), [format!("app@{digest}")]);
        assert_eq!(
            image.pulled_as.into_iter().map(|d| d.to_string()).collect::<Vec<_>>(),
            [digest]
        );
    }
}
