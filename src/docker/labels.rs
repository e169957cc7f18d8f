//! The labels by which a container tells whose it is and what it runs.
//!
//! They are all that a controller without any memory knows of a container, so
//! they must suffice; and Docker cannot change them, so they never lie later.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    domain::{Digest, GateId, ImageRef, ReleaseId, ServiceName, Slot, StackName},
    plan::NewContainer,
};

/// The ownership label: nothing without it is ever touched.
pub const STACK: &str = "quaymaster.stack";
pub const SERVICE: &str = "quaymaster.service";
pub const SLOT: &str = "quaymaster.slot";
pub const RELEASE: &str = "quaymaster.release";
pub const REPLICA: &str = "quaymaster.replica";
/// The image reference as the file had it.
pub const IMAGE: &str = "quaymaster.image";
/// The digest that the reference was resolved to.
pub const DIGEST: &str = "quaymaster.digest";
/// The commit that first declared the release; absent without Git. For people: nothing
/// is decided by it.
pub const COMMIT: &str = "quaymaster.commit";
/// The port that the route sends to; absent without a route.
pub const ROUTE_PORT: &str = "quaymaster.route_port";
/// The networks still to be joined before the first start, with the aliases
/// there, as JSON. Only on engines that join no more than one at creation.
pub const LATE_NETWORKS: &str = "quaymaster.late_networks";

/// The services whose names lead to the proxy by the container's hosts file, with
/// `,` between them; absent if none does.
pub const CALLS_BY_PROXY: &str = "quaymaster.calls_by_proxy";

/// The gate whose job the container runs; absent on a replica.
pub const GATE: &str = "quaymaster.gate";

/// On a network that is there only to learn which subnet is free.
pub const SCOUT: &str = "quaymaster.scout";

/// Docker's name of a network → the aliases to answer to there.
pub(super) type LateNetworks = BTreeMap<String, BTreeSet<String>>;

/// What the labels of one container say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub service: ServiceName,
    pub slot: Slot,
    pub release: ReleaseId,
    pub replica: u32,
    pub image: ImageRef,
    pub digest: Digest,
    pub route_port: Option<u16>,
    pub calls_by_proxy: BTreeSet<ServiceName>,
    pub job: Option<GateId>,
}

/// Why labels cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadLabels {
    #[error("label {0} is missing")]
    Missing(&'static str),
    #[error("label {name}: {why}")]
    Bad { name: &'static str, why: String },
}

/// Returns the labels of a replica to create: the file's own, then ours.
pub(super) fn of_new(stack: &StackName, new: &NewContainer) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> =
        new.release.spec.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let ours = [
        (STACK, stack.to_string()),
        (SERVICE, new.service.to_string()),
        (SLOT, new.slot.to_string()),
        (RELEASE, new.release.id.to_string()),
        (REPLICA, new.replica.to_string()),
        (IMAGE, new.release.image.to_string()),
        (DIGEST, new.release.digest.to_string()),
    ];
    labels.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    if let Some(port) = new.release.spec.route_port {
        labels.insert(ROUTE_PORT.to_owned(), port.to_string());
    }
    if let Some(gate) = &new.job {
        labels.insert(GATE.to_owned(), gate.to_string());
    }
    if let Some(commit) = &new.release.commit {
        labels.insert(COMMIT.to_owned(), commit.to_string());
    }
    if !new.hosts.is_empty() {
        let names: Vec<&str> = new.hosts.keys().map(ServiceName::as_str).collect();
        labels.insert(CALLS_BY_PROXY.to_owned(), names.join(","));
    }
    labels
}

/// Returns whether a container with these labels is the very replica asked for.
pub(super) fn is_replica(
    labels: &HashMap<String, String>,
    stack: &StackName,
    new: &NewContainer,
) -> bool {
    let wanted = of_new(stack, new);
    let same = |name: &str| labels.get(name) == wanted.get(name);
    labels.contains_key(STACK)
        && [STACK, SERVICE, SLOT, RELEASE, REPLICA, GATE].iter().all(|name| same(name))
}

/// Reads the labels of a listed container.
pub(super) fn read(labels: &HashMap<String, String>) -> Result<Identity, BadLabels> {
    let text = |name| labels.get(name).ok_or(BadLabels::Missing(name));
    fn bad<E: std::fmt::Display>(name: &'static str) -> impl FnOnce(E) -> BadLabels {
        move |error| BadLabels::Bad { name, why: error.to_string() }
    }
    Ok(Identity {
        service: text(SERVICE)?.parse().map_err(bad(SERVICE))?,
        slot: text(SLOT)?.parse().map_err(bad(SLOT))?,
        release: ReleaseId::try_from(text(RELEASE)?.clone()).map_err(bad(RELEASE))?,
        replica: text(REPLICA)?.parse().map_err(bad(REPLICA))?,
        image: text(IMAGE)?.parse().map_err(bad(IMAGE))?,
        digest: text(DIGEST)?.parse().map_err(bad(DIGEST))?,
        route_port: labels
            .get(ROUTE_PORT)
            .map(|port| port.parse().map_err(bad(ROUTE_PORT)))
            .transpose()?,
        calls_by_proxy: labels
            .get(CALLS_BY_PROXY)
            .map(|names| names.split(',').map(|name| name.parse().map_err(bad(CALLS_BY_PROXY))))
            .into_iter()
            .flatten()
            .collect::<Result<_, _>>()?,
        job: labels
            .get(GATE)
            .map(|id| GateId::try_from(id.clone()).map_err(bad(GATE)))
            .transpose()?,
    })
}

/// Returns the release that a container runs, by its labels.
pub(super) fn release(labels: &HashMap<String, String>) -> Option<ReleaseId> {
    ReleaseId::try_from(labels.get(RELEASE)?.clone()).ok()
}

/// Reads which networks are still to be joined; none without the label.
pub(super) fn late_networks(labels: &HashMap<String, String>) -> Result<LateNetworks, BadLabels> {
    let Some(json) = labels.get(LATE_NETWORKS) else { return Ok(LateNetworks::new()) };
    serde_json::from_str(json)
        .map_err(|error| BadLabels::Bad { name: LATE_NETWORKS, why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::tests::new_container;

    fn stack() -> StackName {
        "shop".parse().expect("a name")
    }

    #[test]
    fn what_is_written_is_read_back() {
        let new = new_container("web");
        let read = read(&of_new(&stack(), &new)).expect("our own labels");
        assert_eq!((read.service, read.slot), (new.service, new.slot));
        assert_eq!((read.release, read.replica), (new.release.id, new.replica));
        assert_eq!((read.image, read.digest), (new.release.image, new.release.digest));
        assert_eq!(read.route_port, new.release.spec.route_port);
    }

    #[test]
    fn the_names_that_a_container_was_told_are_read_back() {
        let mut new = new_container("web");
        let names = ["api", "shop"].map(|name| name.parse::<ServiceName>().expect("a name"));
        assert_eq!(read(&of_new(&stack(), &new)).expect("labels").calls_by_proxy, BTreeSet::new());
        new.hosts = names.clone().map(|name| (name, [10, 0, 0, 1].into())).into();
        let read = read(&of_new(&stack(), &new)).expect("our own labels");
        assert_eq!(read.calls_by_proxy, BTreeSet::from(names));
    }

    #[test]
    fn the_commit_that_declared_a_release_can_be_read_by_people() {
        let mut new = new_container("web");
        assert_eq!(of_new(&stack(), &new).get(COMMIT), None);
        let commit = "0123456789abcdef0123456789abcdef01234567";
        new.release.commit = Some(commit.parse().expect("a commit"));
        assert_eq!(of_new(&stack(), &new)[COMMIT], commit);
    }

    #[test]
    fn the_file_cannot_overwrite_our_labels() {
        let mut new = new_container("web");
        new.release.spec.labels.insert(STACK.to_owned(), "other".to_owned());
        assert_eq!(of_new(&stack(), &new)[STACK], "shop");
    }

    #[test]
    fn another_replica_is_not_the_one_asked_for() {
        let new = new_container("web");
        let labels = of_new(&stack(), &new);
        assert!(is_replica(&labels, &stack(), &new));
        assert!(!is_replica(&HashMap::new(), &stack(), &new));
        let second = NewContainer { replica: 2, ..new };
        assert!(!is_replica(&labels, &stack(), &second));
    }

    #[test]
    fn a_broken_label_is_named() {
        let mut labels = of_new(&stack(), &new_container("web"));
        labels.insert(SLOT.to_owned(), "red".to_owned());
        assert!(matches!(read(&labels), Err(BadLabels::Bad { name: SLOT, .. })));
        labels.remove(SLOT);
        assert_eq!(read(&labels), Err(BadLabels::Missing(SLOT)));
    }
}
