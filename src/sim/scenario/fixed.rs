//! One short scenario a situation, for the runs that crash at every single call.

use std::time::Duration;

use crate::{
    domain::{ProbeCheck, ServiceKind, Slot, SlotChoice, Strategy},
    sim::{
        faults::FaultPlan,
        world::{GateFate, Shelf, SignatureFate, Version, behaviour::Behaviour, operator::Act},
    },
};

use super::{GateDraft, Scenario, ServiceDraft, must_be_signed, stack_of, version_of};

/// Milliseconds by which the first deployment of each scenario has settled.
const SETTLED: i64 = 12_000;

/// Returns every fixed scenario.
pub fn all() -> Vec<Scenario> {
    vec![
        first_deployment(),
        automatic_flip(),
        declared_flip_and_revert(),
        swap(),
        rolling(),
        recreate(),
        recreate_that_fails(),
        worker(),
        never_ready(),
        missing_tag(),
        dies_in_its_bake(),
        superseded(),
        orphan(),
        job(),
        gated_flip(),
        failing_gate(),
        failing_job(),
        group(),
        signed_flip(),
        unsigned(),
    ]
}

fn quick(name: &'static str) -> ServiceDraft {
    ServiceDraft {
        drain_timeout: Duration::from_millis(1_000),
        min_healthy_time: Duration::from_millis(200),
        progress_deadline: Duration::from_secs(20),
        bake: Duration::from_secs(2),
        scale_down_delay: Duration::from_secs(2),
        ..ServiceDraft::new(name)
    }
}

fn sound(name: &str, number: u32) -> Version {
    version_of(name, number, Behaviour::ReadyAfter(300))
}

fn scenario(
    name: &str,
    catalog: Vec<Version>,
    initial: &[ServiceDraft],
    edits: &[(i64, Vec<ServiceDraft>)],
) -> Scenario {
    let acts = edits.iter().map(|(at, drafts)| (*at, Act::Edit(stack_of(drafts))));
    Scenario {
        name: name.to_owned(),
        catalog,
        initial: stack_of(initial),
        acts: acts.collect(),
        faults: FaultPlan::default(),
        lost_wakes_percent: 0,
        mutant: None,
    }
}

/// From version 1 to version 2 of one service.
fn upgrade(name: &str, draft: &ServiceDraft, next: Behaviour) -> Scenario {
    let catalog = vec![sound(draft.name, 1), version_of(draft.name, 2, next)];
    let second = ServiceDraft { version: 2, ..draft.clone() };
    scenario(name, catalog, std::slice::from_ref(draft), &[(SETTLED, vec![second])])
}

fn first_deployment() -> Scenario {
    let drafts = [quick("api"), ServiceDraft { replicas: 2, ..quick("web") }];
    scenario("first deployment", vec![sound("api", 1), sound("web", 1)], &drafts, &[])
}

fn automatic_flip() -> Scenario {
    let draft = ServiceDraft { replicas: 2, ..quick("api") };
    upgrade("automatic flip", &draft, Behaviour::ReadyAfter(300))
}

fn declared_flip_and_revert() -> Scenario {
    let blue = ServiceDraft { slot: SlotChoice::Declared(Slot::Blue), ..quick("api") };
    let green =
        ServiceDraft { slot: SlotChoice::Declared(Slot::Green), version: 2, ..blue.clone() };
    let edits = [(SETTLED, vec![green]), (SETTLED + 4_000, vec![blue.clone()])];
    scenario("declared flip and revert", vec![sound("api", 1), sound("api", 2)], &[blue], &edits)
}

fn swap() -> Scenario {
    let draft = ServiceDraft { slot: SlotChoice::Declared(Slot::Blue), ..quick("api") };
    upgrade("swap", &draft, Behaviour::ReadyAfter(300))
}

fn rolling() -> Scenario {
    let draft = ServiceDraft { strategy: Strategy::Rolling, replicas: 2, ..quick("api") };
    upgrade("rolling", &draft, Behaviour::ReadyAfter(300))
}

fn recreate() -> Scenario {
    let draft = ServiceDraft { strategy: Strategy::Recreate, ..quick("db") };
    upgrade("recreate", &draft, Behaviour::ReadyAfter(300))
}

fn recreate_that_fails() -> Scenario {
    let draft = ServiceDraft { strategy: Strategy::Recreate, routed: false, ..quick("db") };
    upgrade("recreate that fails", &draft, Behaviour::ExitsAfter { after: 200, code: 1 })
}

fn worker() -> Scenario {
    let draft = ServiceDraft { routed: false, ..quick("web") };
    upgrade("worker", &draft, Behaviour::ReadyAfter(300))
}

fn never_ready() -> Scenario {
    upgrade("never ready", &quick("api"), Behaviour::NeverReady)
}

fn missing_tag() -> Scenario {
    let mut scenario = upgrade("missing tag", &quick("api"), Behaviour::ReadyAfter(0));
    scenario.catalog[1].shelf = Shelf::Missing;
    scenario
}

fn dies_in_its_bake() -> Scenario {
    let draft = ServiceDraft { bake: Duration::from_secs(6), ..quick("api") };
    let next = Behaviour::ReadyThenExits { ready: 200, exits: 3_000 };
    upgrade("dies in its bake", &draft, next)
}

fn superseded() -> Scenario {
    let draft = quick("api");
    let mut scenario = upgrade("superseded", &draft, Behaviour::NeverReady);
    scenario.catalog.push(sound("api", 3));
    let third = ServiceDraft { version: 3, ..draft };
    scenario.acts.push((SETTLED + 5_000, Act::Edit(stack_of(&[third]))));
    scenario
}

fn orphan() -> Scenario {
    let both = [quick("api"), quick("web")];
    let edits = [(SETTLED, vec![quick("api")])];
    scenario("orphan", vec![sound("api", 1), sound("web", 1)], &both, &edits)
}

fn job() -> Scenario {
    let draft = ServiceDraft {
        kind: ServiceKind::OneShot,
        strategy: Strategy::Recreate,
        check: ProbeCheck::Started,
        routed: false,
        ..quick("job")
    };
    let mut scenario = upgrade("job", &draft, Behaviour::ExitsAfter { after: 300, code: 1 });
    scenario.catalog[0].behaviour = Behaviour::ExitsAfter { after: 300, code: 0 };
    scenario
}

fn gated(name: &'static str) -> ServiceDraft {
    let gates = vec![GateDraft::Job, GateDraft::Measured];
    ServiceDraft { pre_promotion: gates.clone(), post_promotion: gates, ..quick(name) }
}

fn gated_flip() -> Scenario {
    let mut scenario = upgrade("gated flip", &gated("api"), Behaviour::ReadyAfter(300));
    scenario.catalog[1].gates = GateFate::PassesAfter(1);
    scenario
}

fn failing_gate() -> Scenario {
    let mut scenario = upgrade("failing gate", &gated("api"), Behaviour::ReadyAfter(300));
    scenario.catalog[1].gates = GateFate::Fails;
    scenario
}

fn failing_job() -> Scenario {
    let mut scenario = upgrade("failing job", &gated("api"), Behaviour::ReadyAfter(300));
    scenario.catalog[1].job_code = 1;
    scenario
}

/// The look at the next version's signature fails once.
fn signed_flip() -> Scenario {
    let mut scenario = upgrade("signed flip", &quick("api"), Behaviour::ReadyAfter(300));
    scenario.catalog[1].signature = SignatureFate::SignedAfter(1);
    must_be_signed(&mut scenario);
    scenario
}

fn unsigned() -> Scenario {
    let mut scenario = upgrade("unsigned", &quick("api"), Behaviour::ReadyAfter(300));
    scenario.catalog[1].signature = SignatureFate::Unsigned;
    must_be_signed(&mut scenario);
    scenario
}

/// Both members go on, then one of them fails.
fn group() -> Scenario {
    let both = |version| {
        ["api", "web"].map(|name| ServiceDraft { version, group: Some("all"), ..quick(name) })
    };
    let mut catalog: Vec<Version> =
        (1..=3).flat_map(|version| ["api", "web"].map(|name| sound(name, version))).collect();
    catalog[5].behaviour = Behaviour::NeverReady;
    let edits = [(SETTLED, both(2).to_vec()), (2 * SETTLED, both(3).to_vec())];
    scenario("group", catalog, &both(1), &edits)
}
