//! A stack that is moving over from Compose.
//!
//! Its volumes keep the names that Compose gave them, so that data stays where it
//! is. As long as Compose's own container runs on one, a second database on it
//! would destroy it.

use std::collections::HashMap;

use bollard::query_parameters::ListContainersOptionsBuilder;

use crate::{
    domain::{
        release::MountSource,
        snapshot::{Failure, FailureKind},
    },
    plan::NewContainer,
};

use super::{Docker, connection::LOOK_DEADLINE, failure::within};

/// The label that Compose puts on its containers: its project, our stack.
const COMPOSE_PROJECT: &str = "com.docker.compose.project";

impl Docker {
    /// Fails while Compose runs a container on a volume that the replica is to have.
    pub(super) async fn refuse_beside_compose(&self, new: &NewContainer) -> Result<(), Failure> {
        let creating = format!("create {}", new.name);
        let volumes = new.release.spec.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume(name) => Some(name.clone()),
            MountSource::Bind(_) | MountSource::Anonymous | MountSource::Tmpfs { .. } => None,
        });
        let volumes: Vec<String> = volumes.collect();
        if volumes.is_empty() {
            return Ok(());
        }
        let filters = HashMap::from([
            ("volume".to_owned(), volumes),
            ("label".to_owned(), vec![format!("{COMPOSE_PROJECT}={}", self.stack)]),
        ]);
        let options = ListContainersOptionsBuilder::new().filters(&filters).build();
        let found = within(LOOK_DEADLINE, self.client.list_containers(Some(options)))
            .await
            .map_err(|error| error.transient(&creating))?;
        let Some(holder) = found.into_iter().next() else { return Ok(()) };
        let names = holder.names.unwrap_or_default();
        let name = names.first().map_or("a container", |name| name.trim_start_matches('/'));
        Err(Failure {
            kind: FailureKind::Transient,
            message: format!(
                "cannot {creating}: Compose still runs {name} on the same volume; stop what \
                 Compose started (`docker compose down`, which keeps volumes)"
            ),
        })
    }
}
