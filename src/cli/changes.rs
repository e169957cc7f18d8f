//! What the file wants otherwise than it is: the answer of `quaymaster plan`.
//!
//! A [`Plan`] stops at the next barrier, so its steps alone do not show where
//! things go. This compares, service by service, what is declared with what
//! serves, and says in words how the one becomes the other. Pure, and free of
//! secret values: of an environment only names are told (S9).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

use crate::controller::status::{ServiceStatus, StatusReport};
use crate::domain::{
    Container, Gate, Memory, Release, ReleaseId, Route, Service, ServiceName, Slot, SlotChoice,
    Snapshot, Stack, StackName, Strategy, service::ServiceKind, time::human,
};
use crate::plan::{Plan, ServiceState, Step};

/// Everything that would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changes {
    pub stack: StackName,
    pub something_to_do: bool,
    /// Why a part of the world could not be compared.
    pub unseen: Vec<String>,
    /// In the order of their names; unchanged ones too.
    pub services: Vec<ServiceChange>,
    /// What the file declares for other hosts only.
    pub on_other_hosts: Vec<ServiceName>,
    /// What the first pass would begin with, in order.
    pub first_steps: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceChange {
    pub name: ServiceName,
    pub action: Action,
    /// Why, in one sentence.
    pub why: String,
    pub fields: Vec<FieldChange>,
    /// How it gets there, in order.
    pub way: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing of it runs yet.
    Create,
    Change,
    /// The file no longer declares it.
    Remove,
    /// The declared release failed before; nothing is tried.
    Held,
    /// It is as declared.
    Keep,
}

/// One thing that differs. A missing side is None; a value that may be secret
/// is `(hidden)` on both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    pub field: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

/// What is compared.
#[derive(Clone, Copy)]
struct Sides<'a> {
    stack: &'a Stack,
    seen: &'a Snapshot,
    memory: &'a Memory,
    plan: &'a Plan,
    /// What was in force until now.
    before: Option<&'a Stack>,
}

/// Returns what would change if `stack` were put in force instead of `before`.
pub fn changes(
    stack: &Stack,
    seen: &Snapshot,
    memory: &Memory,
    plan: &Plan,
    report: &StatusReport,
    before: Option<&Stack>,
) -> Changes {
    let sides = Sides { stack, seen, memory, plan, before };
    let containers = seen.containers.known().map_or(&[][..], Vec::as_slice);
    let mut services: BTreeMap<&ServiceName, ServiceChange> = BTreeMap::new();
    for (name, service) in &stack.services {
        let Some(status) = report.service(name) else { continue };
        services.insert(name, change(sides, service, status));
    }
    for name in &report.orphans {
        services.insert(name, removal(name, containers));
    }
    let first_steps: Vec<String> = plan.steps.iter().map(Step::to_string).collect();
    let services: Vec<ServiceChange> = services.into_values().collect();
    let changing = services.iter().any(|change| match change.action {
        Action::Create | Action::Change | Action::Remove => true,
        Action::Held | Action::Keep => false,
    });
    Changes {
        stack: stack.name.clone(),
        unseen: unseen(report),
        something_to_do: changing || !first_steps.is_empty(),
        services,
        on_other_hosts: stack.on_other_hosts.iter().cloned().collect(),
        first_steps,
    }
}

fn unseen(report: &StatusReport) -> Vec<String> {
    let docker = report.docker.why.iter().map(|why| format!("Docker cannot be seen: {why}"));
    let caddy = report.proxy.part.why.iter().map(|why| format!("Caddy cannot be seen: {why}"));
    docker.chain(caddy).collect()
}

fn change(sides: Sides, service: &Service, status: &ServiceStatus) -> ServiceChange {
    let fields = field_changes(sides, service, status);
    let stepped = sides.plan.steps.iter().any(|step| steps_on(step, &service.name));
    let action = if status.state == ServiceState::Held {
        Action::Held
    } else if status.release.is_none() {
        Action::Create
    } else if stepped || !fields.is_empty() {
        Action::Change
    } else {
        Action::Keep
    };
    let way = match action {
        Action::Create | Action::Change => way(sides, service, status),
        Action::Remove | Action::Held | Action::Keep => Vec::new(),
    };
    ServiceChange { name: service.name.clone(), action, why: status.reason.clone(), fields, way }
}

fn steps_on(step: &Step, service: &ServiceName) -> bool {
    match step {
        Step::Pull { service: of, .. } | Step::Verify { service: of, .. } => of == service,
        Step::CreateNetwork { .. }
        | Step::CreateVolume { .. }
        | Step::Create(_)
        | Step::Start { .. }
        | Step::SetRestartPolicy { .. }
        | Step::Stop { .. }
        | Step::Remove { .. }
        | Step::Hold(_)
        | Step::WriteRoutes { .. }
        | Step::RemoveImage { .. } => step.subject().service() == Some(service),
    }
}

fn removal(name: &ServiceName, containers: &[Container]) -> ServiceChange {
    let replicas = containers.iter().filter(|container| container.service == *name).count();
    ServiceChange {
        name: name.clone(),
        action: Action::Remove,
        why: "the file no longer declares it".to_owned(),
        fields: Vec::new(),
        way: vec![
            "take its route away".to_owned(),
            "drain".to_owned(),
            format!("stop and remove {}", replica_count(replicas)),
            "keep its volumes".to_owned(),
        ],
    }
}

/// Compares what is declared with what serves, as far as each part of that can
/// be known: image, slot and replicas from the containers, the route from the
/// proxy, the container's specification from the retained release, and the rest
/// from the stack that was last in force.
fn field_changes(sides: Sides, service: &Service, status: &ServiceStatus) -> Vec<FieldChange> {
    let Sides { seen, memory, .. } = sides;
    let before = sides.before.and_then(|stack| stack.services.get(&service.name));
    let Some(serving) = &status.release else { return first_fields(service) };
    let mut fields = Vec::new();
    let mut differ = |field: &str, from: String, to: String| {
        if from != to {
            fields.push(FieldChange { field: field.to_owned(), from: Some(from), to: Some(to) });
        }
    };
    differ("image", status.image.to_string(), service.image.to_string());
    if let (Some(active), SlotChoice::Declared(declared)) = (status.active_slot, service.slot) {
        differ("slot", active.to_string(), declared.to_string());
    }
    let active = status.active_slot.and_then(|slot| status.slots.get(slot));
    let replicas = active.map_or(0, |slot| slot.replicas);
    // A job that was done needs its container no more.
    if service.kind == ServiceKind::LongRunning {
        differ("deploy.replicas", replicas.to_string(), service.replicas.to_string());
    }

    if let Some(proxy) = seen.proxy.known() {
        let from = proxy.table.get(&service.name).map(|state| route_text(&state.route));
        let to = service.route.as_ref().map(route_text);
        if from != to {
            fields.push(FieldChange { field: "route".to_owned(), from, to });
        }
    }
    let release = memory
        .services
        .get(&service.name)
        .and_then(|memory| memory.releases.iter().find(|release| release.id == *serving));
    if let Some(Release { spec, .. }) = release {
        compare("", &json(spec), &json(&service.spec), &mut fields);
    }
    if let Some(before) = before {
        compare("probe", &json(&before.probe), &json(&service.probe), &mut fields);
        compare("rollout", &json(&before.rollout), &json(&service.rollout), &mut fields);
        compare("depends_on", &json(&before.depends_on), &json(&service.depends_on), &mut fields);
    }
    fields
}

/// Returns the few fields by which a new service is known.
fn first_fields(service: &Service) -> Vec<FieldChange> {
    let new =
        |field: &str, to: String| FieldChange { field: field.to_owned(), from: None, to: Some(to) };
    let mut fields = vec![new("image", service.image.to_string())];
    if let SlotChoice::Declared(slot) = service.slot {
        fields.push(new("slot", slot.to_string()));
    }
    if service.replicas != 1 {
        fields.push(new("deploy.replicas", service.replicas.to_string()));
    }
    if let Some(route) = &service.route {
        fields.push(new("route", route_text(route)));
    }
    fields
}

fn route_text(route: &Route) -> String {
    match route.hosts.is_empty() {
        true => format!("internal, to port {}", route.port),
        false => format!("{}{} to port {}", route.hosts.join(", "), route.path, route.port),
    }
}

fn json(part: &impl Serialize) -> Value {
    serde_json::to_value(part).expect("plain data with string keys serialises")
}

fn compare(path: &str, from: &Value, to: &Value, fields: &mut Vec<FieldChange>) {
    if from == to {
        return;
    }
    let is_span = span(from).is_some() || span(to).is_some();
    if let (Value::Object(from), Value::Object(to), false) = (from, to, is_span) {
        let keys: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
        for key in keys {
            let part = |side: &serde_json::Map<String, Value>| {
                side.get(key).cloned().unwrap_or(Value::Null)
            };
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            compare(&path, &part(from), &part(to), fields);
        }
        return;
    }
    let show = |side: &Value| match side {
        Value::Object(_) if is_span => span(side).map(human),
        Value::Null => None,
        Value::String(_)
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)
            if may_be_secret(path) =>
        {
            Some("(hidden)".to_owned())
        }
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(side.to_string())
        }
    };
    fields.push(FieldChange { field: path.to_owned(), from: show(from), to: show(to) });
}

/// Returns the span of time that serde writes as an object.
fn span(value: &Value) -> Option<Duration> {
    let parts = value.as_object().filter(|parts| parts.len() == 2)?;
    let nanos = u32::try_from(parts.get("nanos")?.as_u64()?).ok()?;
    Some(Duration::new(parts.get("secs")?.as_u64()?, nanos))
}

/// Whether values at this path are often passwords or tokens, by themselves or
/// because a variable was filled in.
fn may_be_secret(path: &str) -> bool {
    const PATHS: [&str; 7] = [
        "environment",
        "secrets",
        "logging.options",
        "command",
        "entrypoint",
        "healthcheck",
        "labels",
    ];
    let is_at = |start: &str| path.strip_prefix(start).is_some_and(|rest| !starts_a_name(rest));
    PATHS.into_iter().any(is_at) || path.contains(".headers") || path.contains(".exec")
}

fn starts_a_name(rest: &str) -> bool {
    rest.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}

/// Returns how the declared release comes to serve.
fn way(sides: Sides, service: &Service, status: &ServiceStatus) -> Vec<String> {
    let Sides { stack, memory, plan, .. } = sides;
    let mut way = Vec::new();
    let pulls = |step: &Step| matches!(step, Step::Pull { service: of, .. } if *of == service.name);
    if plan.steps.iter().any(pulls) {
        way.push(format!("pull {}", service.image));
    }
    let target = plan.services.get(&service.name).and_then(|planned| planned.target.as_ref());
    let slot = target_slot(service, status, target);
    let warm = status
        .slots
        .get(slot)
        .is_some_and(|held| Some(&held.release) == target && held.ready >= service.replicas);
    let start = format!("start {} in {slot}", replica_count(service.replicas as usize));
    let drain = human(service.rollout.drain_timeout);
    let known = memory.services.get(&service.name);
    let was_good =
        target.is_some_and(|target| known.is_some_and(|known| known.good.contains(target)));
    // What served before need not prove itself again.
    let proof = if was_good { Vec::new() } else { proof(stack, service) };
    let moves =
        target.is_none() || target != status.release.as_ref() || Some(slot) != status.active_slot;

    if service.kind == ServiceKind::OneShot {
        way.push("run it once, to exit code 0".to_owned());
        return way;
    }
    if !moves {
        if status.slots.get(slot).is_none_or(|held| held.replicas != service.replicas) {
            way.push(format!("bring it to {}", replica_count(service.replicas as usize)));
        }
        return way;
    }
    let Some(active) = status.active_slot else {
        way.extend([start, "probe until ready".to_owned()]);
        way.extend(proof);
        if service.route.is_some() {
            way.push(format!("route to {slot}"));
        }
        return way;
    };
    match service.rollout.strategy {
        Strategy::BlueGreen if warm && slot != active => {
            way.extend(proof);
            way.push(format!("flip {active} → {slot}, which is warm: no pull, no start"));
            way.push(format!("drain {active} for at most {drain}"));
        }
        Strategy::BlueGreen => {
            way.extend([start, "probe until ready".to_owned()]);
            way.extend(proof);
            way.push(match (&service.route, slot == active) {
                (Some(_), false) => format!("flip {active} → {slot}"),
                (Some(_), true) => format!("move the route to them within {slot}"),
                (None, _) => format!("cut over to {slot}"),
            });
            way.push(format!("drain the old ones for at most {drain}"));
        }
        Strategy::Rolling => {
            way.extend(proof.into_iter().map(|step| format!("{step} with the first replica")));
            way.push(format!(
                "replace {} one by one in {slot}",
                replica_count(service.replicas as usize)
            ));
        }
        Strategy::Recreate => {
            way.extend(["stop the old ones".to_owned(), start, "probe until ready".to_owned()]);
            way.extend(proof);
        }
    }
    if !was_good && !service.rollout.post_promotion.is_empty() {
        let gates = gate_names(&service.rollout.post_promotion);
        way.push(format!("flip back if {gates} fails in the bake"));
    }
    if service.rollout.strategy == Strategy::BlueGreen && slot != active {
        let warm_for = human(service.rollout.bake + service.rollout.scale_down_delay);
        way.push(format!("keep {active} warm for {warm_for}"));
    }
    way
}

/// Returns what a new release must do before it is promoted.
fn proof(stack: &Stack, service: &Service) -> Vec<String> {
    let rollout = &service.rollout;
    let gates = (!rollout.pre_promotion.is_empty())
        .then(|| format!("pass {}", gate_names(&rollout.pre_promotion)));
    let approval =
        (!rollout.auto_promote).then(|| format!("wait for `quaymaster promote {}`", service.name));
    gates.into_iter().chain(approval).chain(group_text(stack, service)).collect()
}

fn gate_names(gates: &[Gate]) -> String {
    let names: Vec<String> = gates.iter().map(|gate| format!("`{gate}`")).collect();
    names.join(", ")
}

/// Returns who is promoted together with a service.
fn group_text(stack: &Stack, service: &Service) -> Option<String> {
    let group = service.rollout_group.as_ref()?;
    let is_member = |other: &&Service| other.rollout_group.as_ref() == Some(group);
    let others = stack.services.values().filter(is_member).filter(|it| it.name != service.name);
    let others: Vec<&str> = others.map(|other| other.name.as_str()).collect();
    (!others.is_empty()).then(|| format!("wait until {} can follow too", others.join(", ")))
}

fn target_slot(service: &Service, status: &ServiceStatus, target: Option<&ReleaseId>) -> Slot {
    match (service.slot, service.rollout.strategy, status.active_slot) {
        (SlotChoice::Declared(slot), _, _) => slot,
        (SlotChoice::Auto, _, None) => Slot::Blue,
        // While the image is not resolved, there is no target yet.
        (SlotChoice::Auto, Strategy::BlueGreen, Some(active))
            if target.is_none() || target != status.release.as_ref() =>
        {
            active.other()
        }
        (SlotChoice::Auto, _, Some(active)) => active,
    }
}

fn replica_count(count: usize) -> String {
    if count == 1 { "1 replica".to_owned() } else { format!("{count} replicas") }
}
