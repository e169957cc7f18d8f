//! What the desired state says, held against the policy of this host.
//!
//! Called where each thing is read, so that a violation stands at its own line and
//! column like any other flaw, and the whole file is refused (rule R). The message
//! names the policy's file and the rule, because the mend may be there.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::domain::{
    HostPolicy, ImageRef,
    policy::{AllowedMount, DigestRule, MountAccess, MountPlace, Permission},
    stack::VolumeSpec,
};

use super::{
    PolicyInForce,
    reader::{Reader, Text},
    yaml::{Entry, Span},
};

/// What a container engine listens on: whoever has it has the host.
const ENGINE_SOCKETS: [&str; 4] = [
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/var/run/containerd/containerd.sock",
];

/// Kinds of volumes that hold nothing of this host.
const FOREIGN_VOLUMES: [&str; 4] = ["tmpfs", "nfs", "nfs4", "cifs"];

/// Docker's names of networks that are the host's own, or another container's.
const HOST_NETWORK: &str = "host";

/// Said of a path that would be fine as it is written.
const LED_ELSEWHERE: &str = ", which a symbolic link leads elsewhere,";

/// Returns how messages name a rule.
fn rule(rules: &HostPolicy, key: &str) -> String {
    format!("`{key}` in {}", rules.file)
}

fn or_change_it(otherwise: &str) -> String {
    format!("{otherwise}; or have the policy changed")
}

pub(super) fn image(reader: &mut Reader<'_>, span: Span, image: &ImageRef) {
    let Some(PolicyInForce { rules, .. }) = reader.input.policy else { return };
    if let Some(allowed) = &rules.allowed_images
        && !allowed.iter().any(|prefix| prefix.holds(image))
    {
        let list: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        let from = match list.is_empty() {
            true => "it allows none at all".to_owned(),
            false => format!("allowed here: {}", list.join(", ")),
        };
        let name = reader.shown_at(span, &image.name());
        let rule = rule(rules, "images.allowed");
        let message = format!("this host does not run images of {name} ({rule})");
        reader.refuse(span, message, or_change_it(&from));
    }
    if rules.digest == DigestRule::Required && image.digest().is_none() {
        let rule = rule(rules, "images.digest");
        let message = format!("this host runs only images with a digest ({rule})");
        let name = reader.shown_at(span, image.as_str());
        let help = format!(
            "write `{name}@sha256:…`; `docker buildx imagetools inspect {name}` shows the digest"
        );
        reader.refuse(span, message, help);
    }
}

/// Returns what a mount is for that may say that it is read-only.
pub(super) fn access(read_only: bool) -> MountAccess {
    if read_only { MountAccess::ReadOnly } else { MountAccess::ReadWrite }
}

/// Checks a path of the host that a container would see, or a secret be read from. Symbolic links are followed:
/// a container that may write to an allowed folder could else make one that leads out.
pub(super) fn bind_mount(reader: &mut Reader<'_>, span: Span, path: &Path, wanted: MountAccess) {
    let Some(PolicyInForce { rules, real_path, engine_sockets }) = reader.input.policy else {
        return;
    };
    let real = real_path(path);
    let name = reader.shown_at(span, &path.to_string_lossy());
    let holds_socket = |path: &Path| {
        let own = engine_sockets.iter().map(PathBuf::as_path);
        let mut sockets = ENGINE_SOCKETS.iter().map(Path::new).chain(own);
        path.file_name().is_some_and(|file| file == "docker.sock")
            || sockets.any(|socket| socket.starts_with(path))
    };
    if rules.containers.docker_socket == Permission::Forbidden
        && (holds_socket(path) || holds_socket(&real))
    {
        let rule = rule(rules, "containers.docker_socket");
        let led = if holds_socket(path) { "" } else { LED_ELSEWHERE };
        let message = format!("{name}{led} would give the container this host's Docker ({rule})");
        let help = "remove it: who has Docker's socket has the host";
        reader.refuse(span, message, or_change_it(help));
        return;
    }
    let Some(allowed) = &rules.containers.bind_mounts else { return };
    let beside = reader.input.base_dir.to_owned();
    let is_written = |mount: &AllowedMount| path.starts_with(place(&mount.place, &beside));
    let here = |mount: &&AllowedMount| {
        is_written(mount) && real.starts_with(real_path(&place(&mount.place, &beside)))
    };
    let rule = rule(rules, "containers.bind_mounts");
    let mut fitting = allowed.iter().filter(here).peekable();
    if fitting.peek().is_none() {
        let list: Vec<String> = allowed.iter().map(written).collect();
        let help = match list.is_empty() {
            true => "use a named volume".to_owned(),
            false => format!("use a named volume, or one of: {}", list.join(", ")),
        };
        let led = if allowed.iter().any(is_written) { LED_ELSEWHERE } else { "" };
        let message = format!("this host does not let {name}{led} be mounted ({rule})");
        reader.refuse(span, message, or_change_it(&help));
    } else if wanted == MountAccess::ReadWrite
        && fitting.all(|mount| mount.access == MountAccess::ReadOnly)
    {
        let message = format!("this host lets {name} be mounted read-only ({rule})");
        reader.refuse(span, message, or_change_it("add `:ro`"));
    }
}

fn place(place: &MountPlace, beside: &Path) -> PathBuf {
    match place {
        MountPlace::Path(path) => path.clone(),
        MountPlace::BesideTheFile => beside.to_owned(),
    }
}

fn written(mount: &AllowedMount) -> String {
    let place = match &mount.place {
        MountPlace::Path(path) => path.display().to_string(),
        MountPlace::BesideTheFile => "./ (the folder of this file)".to_owned(),
    };
    match mount.access {
        MountAccess::ReadWrite => place,
        MountAccess::ReadOnly => format!("{place}:ro"),
    }
}

/// Checks how a volume is made: one of the `local` driver can be any folder, device or
/// overlay of the host under another name.
pub(super) fn volume(
    reader: &mut Reader<'_>,
    (driver, options): (Option<&Entry>, Option<&Entry>),
    spec: &VolumeSpec,
) {
    let Some(PolicyInForce { rules, .. }) = reader.input.policy else { return };
    let restricts = rules.containers.bind_mounts.is_some()
        || rules.containers.docker_socket == Permission::Forbidden;
    if !restricts {
        return;
    }
    let rule = rule(rules, "containers.bind_mounts");
    if let (Some(entry), Some(name)) = (driver, &spec.driver)
        && name != "local"
    {
        let message = format!(
            "what a volume of the driver `{}` mounts cannot be told ({rule})",
            reader.shown_at(entry.value.span, name)
        );
        reader.refuse(entry.value.span, message, or_change_it("use the driver `local`"));
    }
    let Some(entry) = options else { return };
    let option = |key: &str| spec.driver_opts.get(key).map(String::as_str);
    let flags: Vec<&str> = option("o").unwrap_or_default().split(',').collect();
    let is_bind = flags.iter().any(|flag| matches!(*flag, "bind" | "rbind"));
    match (option("type"), option("device")) {
        (Some(kind), _) if !is_bind && FOREIGN_VOLUMES.contains(&kind) => {}
        (None, None) if option("o").is_none() => {}
        (_, Some(device)) if is_bind && device.starts_with('/') => {
            let path = super::mounts::resolved(Path::new(device));
            bind_mount(reader, entry.key_span, &path, access(flags.contains(&"ro")));
        }
        (_, _) => {
            let message =
                format!("what of this host the volume would mount cannot be told ({rule})");
            let help = "write `type: none`, `o: bind` and an absolute `device:`, or no options";
            reader.refuse(entry.key_span, message, or_change_it(help));
        }
    }
}

/// Checks a network by the name that Docker knows it by.
pub(super) fn network(reader: &mut Reader<'_>, span: Span, name: &str) {
    let Some(PolicyInForce { rules, .. }) = reader.input.policy else { return };
    if rules.containers.host_network == Permission::Forbidden && name == HOST_NETWORK {
        let rule = rule(rules, "containers.host_network");
        let message = format!("this host does not share its network with containers ({rule})");
        reader.refuse(span, message, or_change_it("use a network of the stack, and `ports:`"));
    }
}

pub(super) fn added_capabilities(
    reader: &mut Reader<'_>,
    entry: Option<&Entry>,
    names: &BTreeSet<String>,
) {
    let Some(PolicyInForce { rules, .. }) = reader.input.policy else { return };
    let (Some(entry), Some(allowed)) = (entry, &rules.containers.cap_add) else { return };
    let is_refused =
        |name: &&String| !allowed.contains(name.strip_prefix("CAP_").unwrap_or(name.as_str()));
    let refused: Vec<String> = names.iter().filter(is_refused).cloned().collect();
    if !refused.is_empty() {
        let rule = rule(rules, "containers.cap_add");
        let refused = reader.shown_at(entry.value.span, &refused.join(", "));
        let message = format!("this host does not give containers {refused} ({rule})");
        let help = match allowed.is_empty() {
            true => "remove it".to_owned(),
            false => {
                let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
                format!("allowed here: {}", allowed.join(", "))
            }
        };
        reader.refuse(entry.value.span, message, or_change_it(&help));
    }
}

pub(super) fn security_option(reader: &mut Reader<'_>, text: &Text) {
    let Some(PolicyInForce { rules, .. }) = reader.input.policy else { return };
    let Some(allowed) = &rules.containers.security_opt else { return };
    if !allowed.contains(&text.value) {
        let rule = rule(rules, "containers.security_opt");
        let message = format!("this host does not allow `{}` ({rule})", text.shown());
        let help = match allowed.is_empty() {
            true => "remove it".to_owned(),
            false => {
                let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
                format!("allowed here: {}", allowed.join(", "))
            }
        };
        reader.refuse(text.span, message, or_change_it(&help));
    }
}
