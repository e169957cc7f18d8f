//! One service: its keys, and what must be true of them together.

use std::time::Duration;

use crate::domain::{
    ContainerSpec, ImageRef, ProbeCheck, Service, ServiceKind, ServiceName, Slot, SlotChoice,
    Strategy,
    release::{Mount, MountSource, RestartPolicy},
    stack::{NetworkSpec, VolumeSpec},
};

use super::{
    capacity::{self, Deploy},
    container::{self, WrittenRestart},
    depends_on::{self, WrittenDependencies},
    environment,
    fields::{Fields, refuse_name},
    gates::{self, Place},
    granted::{self, Wanted},
    hosts::{self, WrittenHosts},
    image, mounts, networks,
    ports::{self, Exposed, ReadPort},
    probe::{self, HealthcheckDeclared, Subject},
    reader::Reader,
    resources::{self, Resources},
    rollout::{self, WrittenRollout},
    rollout_group::{self, WrittenGroup},
    route::{self, ReadRoute, RoutePort},
    secrets::Secrets,
    standby, unsupported, upstreams,
    yaml::{Entry, Span},
};

/// How long a replica must stay up whose probe asks nothing.
const STARTED_MIN_HEALTHY: Duration = Duration::from_secs(5);

/// What the top level says for all services.
#[derive(Default)]
pub(super) struct Defaults {
    pub rollout: WrittenRollout,
    pub probe: probe::Timing,
}

/// What a service's keys may refer to.
pub(super) struct Surroundings<'s> {
    pub defaults: &'s Defaults,
    pub networks: &'s mut Resources<NetworkSpec>,
    pub volumes: &'s mut Resources<VolumeSpec>,
    pub secrets: &'s mut Secrets,
}

/// A service, and where the file says what other services are checked against.
pub(super) struct Read {
    /// None if something is wrong with it alone.
    pub service: Option<Service>,
    pub kind: ServiceKind,
    pub route: Option<ReadRoute>,
    pub depends_on: WrittenDependencies,
    pub rollout_group: Option<WrittenGroup>,
    pub hosts: Option<WrittenHosts>,
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    name: &ServiceName,
    entry: &Entry,
    surroundings: &mut Surroundings<'_>,
) -> Option<Read> {
    let map = reader.map(&entry.value, "a map with an `image:`")?;
    if let Some(slots) = map.get("slots").filter(|slots| !slots.value.is_null()) {
        return Some(upstreams::read(reader, name, map, slots, surroundings.defaults));
    }
    let mut fields = Fields::of(map);
    let image = read_image(reader, entry.key_span, &mut fields);
    let slot = fields.get("slot").and_then(|it| read_slot(reader, it)).unwrap_or(SlotChoice::Auto);
    let deploy = capacity::read_deploy(reader, fields.get("deploy"));
    let exposed = ports::read_expose(reader, fields.get("expose"));
    let published = ports::read_published(reader, fields.get("ports"));
    let mounts = mounts::read(reader, fields.get("volumes"), surroundings.volumes);
    let restart = container::read_restart(reader, fields.get("restart"));
    let route_entry = fields.get("route");
    let route = route_entry.and_then(|it| route::read(reader, it, RoutePort::Exposed(&exposed)));
    let probe_entry = fields.get("probe");
    let written_rollout =
        fields.get("rollout").map(|it| rollout::read(reader, &it.value)).unwrap_or_default();
    let depends_on =
        fields.get("depends_on").map(|it| depends_on::read(reader, &it.value)).unwrap_or_default();

    let rollout_group = fields.get("rollout_group").and_then(|it| rollout_group::read(reader, it));
    let hosts = fields.get("hosts").and_then(|it| hosts::read(reader, it));
    let standby_entry = fields.get("standby");
    let standby = standby_entry.and_then(|it| standby::read(reader, it));
    fields.get("slots");

    let mut spec = read_spec(reader, name, &mut fields, surroundings);
    let is_here = hosts.as_ref().is_none_or(|hosts| hosts.include(reader.input.host));
    let wanted = match is_here && reader.input.vault.is_open() {
        true => Wanted::Here,
        false => Wanted::NotHere,
    };
    let secrets = fields.get("secrets");
    granted::read(reader, secrets, surroundings.secrets, wanted, &mounts, &mut spec);
    spec.resources = deploy.resources.clone();
    spec.expose = Exposed::as_docker(&exposed);
    spec.route_port = route.as_ref().map(|read| read.route.port);
    let kind = match restart {
        WrittenRestart::Unsaid => ServiceKind::LongRunning,
        WrittenRestart::Policy(policy) => {
            spec.restart = policy;
            ServiceKind::LongRunning
        }
        WrittenRestart::Once => {
            spec.restart = RestartPolicy::No;
            ServiceKind::OneShot
        }
    };
    let probe = probe::read(
        reader,
        probe_entry,
        surroundings.defaults.probe,
        Subject {
            kind,
            route_port: spec.route_port,
            healthcheck: match container::is_enabled(spec.healthcheck.as_ref()) {
                true => HealthcheckDeclared::Yes,
                false => HealthcheckDeclared::No,
            },
        },
    );
    fields.finish(reader, &unsupported::OF_A_SERVICE);

    let facts = Facts {
        name: entry.key_span,
        kind,
        routed: route_entry,
        probed: probe_entry,
        deploy: &deploy,
        published: &published,
        mounts: &mounts,
        gates: written_rollout.gates_at(),
        by_hand: written_rollout.by_hand_at(),
        rollout_group: rollout_group.as_ref(),
        preview: route.as_ref().and_then(|read| Some(read.preview.as_ref()?.span)),
        standby: standby_entry.map(|it| it.key_span),
    };
    let default_rollout = match kind {
        ServiceKind::LongRunning => surroundings.defaults.rollout.clone(),
        ServiceKind::OneShot => surroundings.defaults.rollout.clone().without_gates(),
    };
    let strategy =
        choose_strategy(reader, &facts, written_rollout.strategy, default_rollout.strategy);
    check_together(reader, &facts);
    check_idle_slot(reader, &facts, strategy);
    spec.ports = published.into_iter().map(|read| read.port).collect();
    spec.mounts = mounts;
    let asks_nothing = probe.as_ref().is_some_and(|probe| probe.check == ProbeCheck::Started);
    let min_healthy_time = match kind {
        ServiceKind::LongRunning if asks_nothing => STARTED_MIN_HEALTHY,
        ServiceKind::LongRunning | ServiceKind::OneShot => Duration::ZERO,
    };
    let rollout = written_rollout.or(default_rollout).complete(
        reader,
        strategy,
        min_healthy_time,
        &gates::Subject {
            service: name,
            image: image.as_ref(),
            route_port: spec.route_port,
            place: Place::Here,
        },
    );
    let service = image.zip(probe).map(|(image, probe)| Service {
        name: name.clone(),
        image,
        slot,
        kind,
        replicas: deploy.replicas,
        route: route.as_ref().map(|read| read.route.clone()),
        probe,
        spec,
        depends_on: depends_on.iter().map(|(on, it)| (on.clone(), it.condition)).collect(),
        rollout,
        rollout_group: rollout_group.as_ref().map(|group| group.name.clone()),
        standby,
        upstreams: None,
    });
    Some(Read { service, kind, route, depends_on, rollout_group, hosts })
}

fn read_image(reader: &mut Reader<'_>, service: Span, fields: &mut Fields<'_>) -> Option<ImageRef> {
    let Some(image) = fields.get("image") else {
        if fields.has_slip_of("image") {
            return None;
        }
        let help = "add `image:`, such as `registry.example.com/shop/web:1.4.2`";
        reader.refuse(service, "this service has no `image`", help);
        return None;
    };
    image::read(reader, &image.value)
}

pub(super) fn read_slot(reader: &mut Reader<'_>, entry: &Entry) -> Option<SlotChoice> {
    const SLOTS: [&str; 3] = ["blue", "green", "auto"];
    let text = reader.text(&entry.value, "a slot")?;
    match text.value.parse::<Slot>() {
        Ok(slot) => Some(SlotChoice::Declared(slot)),
        Err(_) if text.value == "auto" => Some(SlotChoice::Auto),
        Err(_) => {
            let message = format!("unknown slot `{}`", text.shown());
            let help = "a slot is `blue`, `green` or `auto`";
            refuse_name(reader, text.span, message, &text.value, SLOTS.into_iter(), help);
            None
        }
    }
}

/// Reads the keys that go to Docker as they are. Those that other keys decide
/// with (ports, mounts, restart) are filled in by the caller.
fn read_spec(
    reader: &mut Reader<'_>,
    name: &ServiceName,
    fields: &mut Fields<'_>,
    surroundings: &mut Surroundings<'_>,
) -> ContainerSpec {
    let (env_file, environment) = (fields.get("env_file"), fields.get("environment"));
    ContainerSpec {
        command: fields.get("command").and_then(|it| reader.command(&it.value)),
        entrypoint: fields.get("entrypoint").and_then(|it| reader.command(&it.value)),
        environment: environment::read(reader, env_file, environment),
        networks: networks::read_attachments(
            reader,
            name,
            fields.get("networks"),
            surroundings.networks,
        ),
        healthcheck: fields
            .get("healthcheck")
            .and_then(|it| container::read_healthcheck(reader, it)),
        user: fields
            .get("user")
            .and_then(|it| reader.text(&it.value, "a user"))
            .map(|text| text.value),
        working_dir: fields
            .get("working_dir")
            .and_then(|it| container::read_working_dir(reader, it)),
        stop_signal: fields.get("stop_signal").and_then(|it| container::read_signal(reader, it)),
        stop_grace_period: fields
            .get("stop_grace_period")
            .and_then(|it| reader.duration(&it.value)),
        logging: fields.get("logging").and_then(|it| capacity::read_logging(reader, it)),
        labels: fields
            .get("labels")
            .map(|it| resources::read_labels(reader, it))
            .unwrap_or_default(),
        extra_hosts: container::read_extra_hosts(reader, fields.get("extra_hosts")),
        ulimits: capacity::read_ulimits(reader, fields.get("ulimits")),
        cap_add: container::read_added_capabilities(reader, fields.get("cap_add")),
        cap_drop: container::read_capabilities(reader, fields.get("cap_drop")),
        read_only: fields.get("read_only").and_then(|it| reader.flag(&it.value)) == Some(true),
        tmpfs: mounts::read_tmpfs(reader, fields.get("tmpfs")),
        init: fields.get("init").and_then(|it| reader.flag(&it.value)),
        shm_size_bytes: fields.get("shm_size").and_then(|it| reader.positive_bytes(&it.value)),
        security_opt: container::read_security_options(reader, fields.get("security_opt")),
        ..ContainerSpec::default()
    }
}

/// What the keys of a service are checked against one another with.
struct Facts<'r> {
    /// Where the service's name stands.
    name: Span,
    kind: ServiceKind,
    routed: Option<&'r Entry>,
    probed: Option<&'r Entry>,
    deploy: &'r Deploy<'r>,
    published: &'r [ReadPort],
    mounts: &'r [Mount],
    /// Where the service's own gates stand.
    gates: Option<Span>,
    /// Where it says that somebody promotes it.
    by_hand: Option<Span>,
    rollout_group: Option<&'r WrittenGroup>,
    /// Where these stand.
    preview: Option<Span>,
    standby: Option<Span>,
}

impl Facts<'_> {
    /// Why two releases of the service cannot run side by side, if they cannot.
    fn exclusive(&self) -> Option<&'static str> {
        if self.published.iter().any(|read| read.port.host_port.is_some()) {
            return Some(
                "it publishes a fixed port of the host, which only one container can have",
            );
        }
        self.mounts
            .iter()
            .any(|mount| !mount.read_only && matches!(mount.source, MountSource::Volume(_)))
            .then_some("it writes to a named volume, which both releases would share")
    }
}

/// Returns the declared strategy, else the one that fits: whatever must not run
/// twice is recreated, what has a route flips, the rest rolls.
fn choose_strategy(
    reader: &mut Reader<'_>,
    facts: &Facts<'_>,
    written: Option<(Strategy, Span)>,
    default: Option<(Strategy, Span)>,
) -> Strategy {
    let exclusive = facts.exclusive();
    // A default that does not fit is mended in the service.
    let default = default.map(|(strategy, _)| (strategy, facts.name));
    match (facts.kind, written.or(default), exclusive) {
        (ServiceKind::OneShot, _, _) => {
            if let Some((Strategy::BlueGreen | Strategy::Rolling, span)) = written {
                let help = "remove `strategy:`, or remove `restart: \"no\"`";
                reader.refuse(
                    span,
                    "a service that runs once (`restart: \"no\"`) is always recreated",
                    help,
                );
            }
            Strategy::Recreate
        }
        (ServiceKind::LongRunning, Some((Strategy::Recreate, _)), _) => Strategy::Recreate,
        (ServiceKind::LongRunning, Some((strategy, span)), Some(reason)) => {
            reader.refuse(
                span,
                format!("two releases of this service cannot run side by side: {reason}"),
                "write `strategy: recreate`; or let Caddy have the port (`route:`), or mount the volume `:ro`",
            );
            strategy
        }
        (ServiceKind::LongRunning, Some((strategy, _)), None) => strategy,
        (ServiceKind::LongRunning, None, Some(_)) => Strategy::Recreate,
        (ServiceKind::LongRunning, None, None) if facts.routed.is_some() => Strategy::BlueGreen,
        (ServiceKind::LongRunning, None, None) => Strategy::Rolling,
    }
}

/// A standby and a preview need a slot that is idle, and a group moves between slots.
fn check_idle_slot(reader: &mut Reader<'_>, facts: &Facts<'_>, strategy: Strategy) {
    let has_one = strategy == Strategy::BlueGreen && facts.routed.is_some();
    for (key, span) in [("standby", facts.standby), ("preview", facts.preview)] {
        if let Some(span) = span
            && !has_one
            && facts.kind == ServiceKind::LongRunning
        {
            let message = format!("`{key}` is about the idle slot, and this service has none");
            let help = "remove it; `strategy: blue-green` with a `route:` has two slots";
            reader.refuse(span, message, help);
        }
    }
    if let Some(span) = facts.by_hand
        && strategy == Strategy::Recreate
        && facts.kind == ServiceKind::LongRunning
    {
        let message = "nothing would serve until somebody promotes it: this service is stopped before it is started anew";
        reader.refuse(span, message, "remove `auto_promote: false`");
    }
    if let Some(group) = facts.rollout_group
        && strategy != Strategy::BlueGreen
        && facts.kind == ServiceKind::LongRunning
    {
        let message = "the services of a group move in one step, and this one does not";
        let help = "write `rollout: { strategy: blue-green }`, or remove `rollout_group:`";
        reader.refuse(group.span, message, help);
    }
}

fn check_together(reader: &mut Reader<'_>, facts: &Facts<'_>) {
    let fixed = facts.published.iter().find(|read| read.port.host_port.is_some());
    if let Some(fixed) = fixed
        && facts.deploy.replicas > 1
    {
        let help = "keep one replica, or let Caddy have the port (`route:`)";
        reader.refuse(fixed.span, "several replicas cannot publish one port of the host", help);
    }
    if facts.kind == ServiceKind::LongRunning {
        return;
    }
    let once = "of a service that runs once (`restart: \"no\"`)";
    let help = "remove it, or remove `restart: \"no\"`";
    if let Some(route) = facts.routed {
        reader.refuse(route.key_span, format!("there is no route {once}"), help);
    }
    if let Some(probe) = facts.probed {
        reader.refuse(
            probe.key_span,
            format!("there is no probe {once}: its exit code says all"),
            help,
        );
    }
    if let Some(standby) = facts.standby {
        reader.refuse(standby, format!("there is no standby {once}"), help);
    }
    if let Some(gates) = facts.gates {
        reader.refuse(gates, format!("there are no gates {once}: its exit code says all"), help);
    }
    if let Some(group) = facts.rollout_group {
        reader.refuse(group.span, format!("nothing is promoted {once}"), help);
    }
    if let Some(replicas) = facts.deploy.written
        && facts.deploy.replicas > 1
    {
        reader.refuse(replicas.value.span, format!("there is one replica {once}"), help);
    }
}
