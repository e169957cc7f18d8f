//! One pull: credentials → digest → layers → our mark → the platform.
//!
//! The tag is resolved once and the digest is pulled, so that what is run is what
//! was looked at, even if the tag moves in between.

use std::{path::PathBuf, time::Duration};

use bollard::{
    auth::DockerCredentials,
    models::ImageInspect,
    query_parameters::{CreateImageOptionsBuilder, TagImageOptionsBuilder},
};
use futures::StreamExt;

use crate::{
    credentials,
    domain::{
        Digest, ImageRef, Resolution, StackName,
        snapshot::{Failure, FailureKind},
        time::human,
    },
};

use super::{
    Options,
    connection::{CALL_DEADLINE, Connection, Platform},
    failure::{CallError, within},
    image::Mark,
    login, pull_failure,
    pull_progress::Progress,
};

/// All that a pull needs to know.
pub(super) struct Puller {
    client: bollard::Docker,
    platform: Platform,
    mark: Mark,
    docker_config: Option<PathBuf>,
    idle_timeout: Duration,
}

impl Puller {
    pub fn new(connection: &Connection, stack: &StackName, options: &Options) -> Puller {
        Puller {
            // The engine sends no header before the registry has answered.
            client: connection.client.clone().with_timeout(options.pull_idle_timeout),
            platform: connection.platform.clone(),
            mark: Mark::of(stack),
            docker_config: options.docker_config.clone(),
            idle_timeout: options.pull_idle_timeout,
        }
    }

    /// Pulls an image and marks it as this stack's. `on_progress` gets the share
    /// done, in percent, each time it has grown.
    pub async fn pull(
        &self,
        image: &ImageRef,
        on_progress: impl FnMut(u8),
    ) -> Result<Resolution, Failure> {
        let config = self.docker_config.as_deref();
        let login = credentials::of_registry(config, image.registry()).await?;
        let credentials = login.map(|login| login::for_engine(login, image.registry()));
        let resolved = match image.digest() {
            Some(digest) => Some(digest.clone()),
            None => self.resolve(image, credentials.clone()).await?,
        };
        let present = match &resolved {
            Some(digest) => self.inspect(image, digest).await?,
            None => None,
        };
        let (digest, found) = match (resolved, present) {
            (Some(digest), Some(found)) => (digest, found),
            (resolved, _) => {
                let digest = self.fetch(image, resolved, credentials, on_progress).await?;
                let found = self.inspect(image, &digest).await?;
                let found = found.ok_or_else(|| ended_without(image, "the image"))?;
                (digest, found)
            }
        };
        let image_id = found
            .id
            .as_deref()
            .unwrap_or_default()
            .parse()
            .map_err(|_| ended_without(image, "an id that Quaymaster can read"))?;
        let resolution = Resolution { digest, image_id };
        // Marked before it is judged, so that an image that cannot run here is
        // pruned like any other of ours.
        self.mark(image, &resolution).await?;
        self.check_platform(image, &found)?;
        Ok(resolution)
    }

    /// Asks the registry what the tag means; None if only a pull can tell.
    async fn resolve(
        &self,
        image: &ImageRef,
        credentials: Option<DockerCredentials>,
    ) -> Result<Option<Digest>, Failure> {
        let name = format!("{}:{}", image.name(), image.tag().unwrap_or("latest"));
        let call = self.client.inspect_registry_image(&name, credentials);
        let error = match within(self.idle_timeout.min(CALL_DEADLINE), call).await {
            Ok(found) => {
                return Ok(found.descriptor.digest.and_then(|digest| digest.parse().ok()));
            }
            Err(error) => error,
        };
        let failure = pull_failure::of(&error, image);
        match failure.kind {
            FailureKind::Refused | FailureKind::RateLimited { .. } => Err(failure),
            // A registry that does not answer this question may serve the pull;
            // one that is down fails that as well, in the same words.
            FailureKind::Transient | FailureKind::NoSuchImage | FailureKind::NameTaken => Ok(None),
        }
    }

    /// Pulls the digest, or the tag where the digest is not known, and returns
    /// the digest that came. A pull by tag leaves the tag here, as `docker pull`
    /// does; pruning then takes it for an operator's and leaves the image.
    async fn fetch(
        &self,
        image: &ImageRef,
        digest: Option<Digest>,
        credentials: Option<DockerCredentials>,
        mut on_progress: impl FnMut(u8),
    ) -> Result<Digest, Failure> {
        let version = match &digest {
            Some(digest) => digest.as_str(),
            None => image.tag().unwrap_or("latest"),
        };
        let options =
            CreateImageOptionsBuilder::new().from_image(&image.name()).tag(version).build();
        let mut stream = std::pin::pin!(self.client.create_image(Some(options), None, credentials));
        let mut progress = Progress::default();
        // An error may still come after a 200, as the last thing in the stream.
        loop {
            let next = tokio::time::timeout(self.idle_timeout, stream.next()).await;
            match next {
                Ok(Some(Ok(line))) => {
                    if let Some(percent) = progress.advance(&line) {
                        on_progress(percent);
                    }
                }
                Ok(Some(Err(error))) => {
                    return Err(pull_failure::of(&CallError::Docker(error), image));
                }
                Ok(None) => break,
                Err(_) => return Err(stalled(image, self.idle_timeout)),
            }
        }
        digest.or_else(|| progress.digest()).ok_or_else(|| ended_without(image, "a digest"))
    }

    async fn inspect(
        &self,
        image: &ImageRef,
        digest: &Digest,
    ) -> Result<Option<ImageInspect>, Failure> {
        let name = format!("{}@{digest}", image.name());
        match within(CALL_DEADLINE, self.client.inspect_image(&name)).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error.transient(&format!("look at image {image}"))),
        }
    }

    async fn mark(&self, image: &ImageRef, resolution: &Resolution) -> Result<(), Failure> {
        let options = TagImageOptionsBuilder::new()
            .repo(&self.mark.repository)
            .tag(&Mark::tag(&resolution.digest))
            .build();
        let call = self.client.tag_image(resolution.image_id.as_str(), Some(options));
        within(CALL_DEADLINE, call)
            .await
            .map_err(|error| error.transient(&format!("mark image {image}")))
    }

    fn check_platform(&self, image: &ImageRef, found: &ImageInspect) -> Result<(), Failure> {
        let os = found.os.as_deref().unwrap_or_default();
        let architecture = found.architecture.as_deref().unwrap_or_default();
        let host = &self.platform;
        if host.runs(os, architecture) {
            return Ok(());
        }
        Err(Failure {
            kind: FailureKind::Refused,
            message: format!(
                "wrong architecture: {image} is {os}/{architecture}, this host is {}/{}",
                host.os, host.architecture
            ),
        })
    }
}

fn stalled(image: &ImageRef, idle: Duration) -> Failure {
    let message = format!("cannot pull {image}: no progress for {}, cancelled", human(idle));
    Failure { kind: FailureKind::Transient, message }
}

fn ended_without(image: &ImageRef, what: &str) -> Failure {
    let message = format!("cannot pull {image}: the pull ended without {what}");
    Failure { kind: FailureKind::Transient, message }
}
