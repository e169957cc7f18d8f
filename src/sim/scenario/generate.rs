//! A scenario from a seed.

use std::time::Duration;

use crate::{
    domain::{DependsOn, ProbeCheck, ServiceKind, Slot, SlotChoice, Strategy},
    sim::{
        faults::{Call, Fault, FaultPlan, Rate},
        prng::{self, Prng},
        world::{GateFate, Shelf, SignatureFate, Version, behaviour::Behaviour, operator::Act},
    },
};

use super::{
    GateDraft, Scenario, ServiceDraft, must_be_signed, service_name, stack_of, version_of,
};

const NAMES: [&str; 4] = ["api", "db", "job", "web"];
const VERSIONS: u32 = 5;

/// Returns the scenario that this seed decides.
pub fn generate(seed: u64) -> Scenario {
    let mut prng = Prng::new(seed);
    let count = usize::try_from(prng.between(1, 4)).expect("a small number");
    let mut drafts: Vec<ServiceDraft> = Vec::new();
    for name in &NAMES[..count] {
        let draft = first_draft(&mut prng, name, &drafts);
        drafts.push(draft);
    }
    let mut catalog = catalog(&mut prng, &drafts);
    // Of a chance of their own, so that they leave the rest of a seed as it is.
    gates(&mut Prng::new(prng::hash(seed, 0, 5)), &mut drafts, &mut catalog);
    let initial = stack_of(&drafts);
    let mut acts = edits(&mut prng, drafts);
    let end_of_edits = acts.last().map_or(0, |(at, _)| *at) + 20_000;
    accidents(&mut prng, &NAMES[..count], end_of_edits, &mut acts);
    acts.sort_by_key(|(at, _)| *at);
    let mut scenario = Scenario {
        name: format!("seed {seed}"),
        catalog,
        initial,
        faults: faults(&mut prng, seed, end_of_edits),
        acts,
        lost_wakes_percent: *prng.pick(&[0, 0, 20, 90]),
        mutant: None,
    };
    // Likewise of a chance of their own.
    signatures(&mut Prng::new(prng::hash(seed, 0, 6)), &mut scenario);
    scenario
}

/// In a few worlds every image must be signed, and some are not.
fn signatures(prng: &mut Prng, scenario: &mut Scenario) {
    if !prng.chance(12) {
        return;
    }
    must_be_signed(scenario);
    for version in &mut scenario.catalog {
        version.signature = *prng.pick(&[
            SignatureFate::Signed,
            SignatureFate::Signed,
            SignatureFate::Signed,
            SignatureFate::SignedAfter(2),
            SignatureFate::Unsigned,
        ]);
        if version.shelf == Shelf::LocalOnly {
            // No registry could have a signature of it.
            version.signature = SignatureFate::Unsigned;
        }
    }
    if prng.chance(25) {
        let fault = *prng.pick(Call::Verify.faults());
        scenario.faults.focus = Some((Call::Verify, fault, *prng.pick(&[0, 1, 3])));
    }
}

fn first_draft(prng: &mut Prng, name: &'static str, earlier: &[ServiceDraft]) -> ServiceDraft {
    let mut draft = ServiceDraft::new(name);
    let strategies =
        [Strategy::BlueGreen, Strategy::BlueGreen, Strategy::Rolling, Strategy::Recreate];
    draft.strategy = *prng.pick(&strategies);
    draft.slot = slot(prng);
    draft.replicas = match draft.strategy {
        Strategy::BlueGreen | Strategy::Rolling => *prng.pick(&[1, 1, 2, 3]),
        Strategy::Recreate => 1,
    };
    draft.routed = prng.chance(75);
    draft.check = prng
        .pick(&[
            ProbeCheck::Http {
                path: "/".to_owned(),
                port: 8000,
                headers: Default::default(),
                status: None,
            },
            ProbeCheck::Tcp { port: 8000 },
            ProbeCheck::Exec { command: vec!["/ready".to_owned()] },
            ProbeCheck::Docker,
            ProbeCheck::Started,
        ])
        .clone();
    if name == "job" && prng.chance(60) {
        draft.kind = ServiceKind::OneShot;
        draft.routed = false;
        draft.replicas = 1;
        draft.check = ProbeCheck::Started;
        draft.strategy = Strategy::Recreate;
    }
    draft.drain_timeout = Duration::from_millis(*prng.pick(&[0, 500, 3_000, 8_000]));
    draft.min_healthy_time = Duration::from_millis(*prng.pick(&[0, 500, 2_000]));
    draft.bake = Duration::from_millis(*prng.pick(&[0, 3_000, 10_000]));
    draft.scale_down_delay = Duration::from_millis(*prng.pick(&[0, 5_000, 15_000]));
    if let Some(on) = earlier.last()
        && prng.chance(30)
    {
        let how = match on.kind {
            ServiceKind::OneShot => DependsOn::ServiceCompletedSuccessfully,
            ServiceKind::LongRunning => {
                *prng.pick(&[DependsOn::ServiceStarted, DependsOn::ServiceHealthy])
            }
        };
        draft.depends_on = Some((on.name, how));
    }
    draft
}

/// Gives some services gates, and some versions something to fail them with.
fn gates(prng: &mut Prng, drafts: &mut [ServiceDraft], catalog: &mut [Version]) {
    if !prng.chance(50) {
        return;
    }
    for draft in drafts.iter_mut().filter(|draft| draft.kind == ServiceKind::LongRunning) {
        let some = |prng: &mut Prng| {
            let all = [GateDraft::Job, GateDraft::Measured];
            let wanted = *prng.pick(&[0, 1, 2, 2]);
            all.into_iter().skip(usize::from(prng.chance(50))).take(wanted).collect()
        };
        draft.pre_promotion = some(prng);
        if prng.chance(50) {
            draft.post_promotion = some(prng);
        }
        let may_be_grouped = draft.routed && draft.strategy == Strategy::BlueGreen;
        if may_be_grouped && prng.chance(50) {
            draft.group = Some("all");
        }
    }
    for version in catalog {
        if prng.chance(25) {
            version.job_code = 1;
        }
        version.gates = *prng.pick(&[
            GateFate::Passes,
            GateFate::Passes,
            GateFate::Passes,
            GateFate::PassesAfter(3),
            GateFate::FailsAfter(1),
            GateFate::FailsAfter(3),
            GateFate::Fails,
            GateFate::NeverAnswers,
        ]);
    }
}

fn slot(prng: &mut Prng) -> SlotChoice {
    *prng.pick(&[
        SlotChoice::Auto,
        SlotChoice::Auto,
        SlotChoice::Declared(Slot::Blue),
        SlotChoice::Declared(Slot::Green),
    ])
}

fn catalog(prng: &mut Prng, drafts: &[ServiceDraft]) -> Vec<Version> {
    let mut catalog = Vec::new();
    for draft in drafts {
        for number in 1..=VERSIONS {
            let sound = prng.chance(if number == 1 { 85 } else { 55 });
            let behaviour = match (draft.kind, sound) {
                (ServiceKind::OneShot, true) => {
                    Behaviour::ExitsAfter { after: prng.between(100, 3_000), code: 0 }
                }
                (ServiceKind::OneShot, false) => {
                    Behaviour::ExitsAfter { after: prng.between(0, 3_000), code: 1 }
                }
                (ServiceKind::LongRunning, true) => Behaviour::ReadyAfter(prng.between(0, 3_000)),
                (ServiceKind::LongRunning, false) => unsound(prng),
            };
            let mut version = version_of(draft.name, number, behaviour);
            version.pull_time = *prng.pick(&[20, 300, 4_000]);
            if prng.chance(20) {
                version.shelf = *prng.pick(&[
                    Shelf::Missing,
                    Shelf::Denied,
                    Shelf::Flaky(2),
                    Shelf::RateLimited(1),
                    Shelf::LocalOnly,
                ]);
            }
            catalog.push(version);
        }
    }
    catalog
}

fn unsound(prng: &mut Prng) -> Behaviour {
    let ready = prng.between(0, 2_000);
    *prng.pick(&[
        Behaviour::NeverReady,
        Behaviour::NeverReady,
        Behaviour::ExitsAfter { after: 0, code: 1 },
        Behaviour::ExitsAfter { after: 900, code: 0 },
        Behaviour::ReadyThenExits { ready, exits: ready + 6_000 },
        Behaviour::ReadyThenSick { ready, sick: ready + 4_000 },
        Behaviour::Flapping { period: 1_500 },
        Behaviour::CannotStart,
    ])
}

/// The file's history: two to six edits, now quick after one another, now with
/// time for the last one to arrive.
fn edits(prng: &mut Prng, mut drafts: Vec<ServiceDraft>) -> Vec<(i64, Act)> {
    let mut acts = Vec::new();
    let mut at = 0;
    let mut before = drafts.clone();
    let all = drafts.clone();
    for _ in 0..prng.between(2, 6) {
        // Images are looked through every ten minutes: few edits come so late.
        at += if prng.chance(4) { 620_000 } else { *prng.pick(&[300, 4_000, 20_000, 60_000]) };
        let now = drafts.clone();
        if prng.chance(15) {
            // `git revert`
            drafts = before;
        } else {
            edit(prng, &mut drafts, &all);
        }
        before = now;
        if prng.chance(10) {
            acts.push((at, Act::BreakFile));
            at += prng.between(100, 8_000);
        }
        acts.push((at, Act::Edit(stack_of(&drafts))));
    }
    acts
}

fn edit(prng: &mut Prng, drafts: &mut Vec<ServiceDraft>, all: &[ServiceDraft]) {
    let last = i64::try_from(drafts.len()).expect("a few") - 1;
    let at = usize::try_from(prng.between(0, last)).expect("not negative");
    match prng.between(0, 11) {
        0..=4 => {
            drafts[at].version =
                u32::try_from(prng.between(1, i64::from(VERSIONS))).expect("small");
        }
        5 => {
            // A declared flip: image and slot together.
            drafts[at].version =
                u32::try_from(prng.between(1, i64::from(VERSIONS))).expect("small");
            drafts[at].slot = slot(prng);
        }
        6 => drafts[at].slot = slot(prng),
        7 => {
            if drafts[at].strategy != Strategy::Recreate {
                drafts[at].replicas = *prng.pick(&[1, 2, 3]);
            }
        }
        8 => drafts[at].knob += 1,
        9 => drafts[at].host += 1,
        10 if drafts.len() > 1 => {
            let gone = drafts.remove(at).name;
            drafts.iter_mut().for_each(|draft| {
                draft.depends_on = draft.depends_on.filter(|(on, _)| *on != gone);
            });
        }
        _ => {
            let missing = all.iter().find(|d| drafts.iter().all(|here| here.name != d.name));
            match missing {
                Some(back) => {
                    let mut back = back.clone();
                    back.depends_on = None;
                    drafts.push(back);
                }
                None => drafts[at].version = drafts[at].version % VERSIONS + 1,
            }
        }
    }
}

fn accidents(prng: &mut Prng, names: &[&'static str], end: i64, acts: &mut Vec<(i64, Act)>) {
    if prng.chance(30) {
        return;
    }
    for _ in 0..prng.between(1, 6) {
        let at = prng.between(0, end);
        let name: &str = names[usize::try_from(prng.between(0, 3)).expect("small") % names.len()];
        let service = service_name(name);
        let nth = usize::try_from(prng.between(0, 5)).expect("not negative");
        let millis = *prng.pick(&[500, 5_000, 30_000]);
        let act = match prng.between(0, 17) {
            0 | 1 => Act::Remove { service, nth },
            2 | 3 => Act::Kill { service, nth },
            4 => Act::Stop { service, nth },
            5 | 6 => Act::WipeProxy,
            7 => Act::DropRoute(service),
            8 => Act::MisdirectRoute(service),
            9 => Act::ProxyDown { millis },
            10 => Act::EngineDown { millis },
            11 => Act::RegistryDown { millis },
            12 => {
                acts.push((at + millis, Act::DiskFreed));
                Act::DiskFull
            }
            13 => {
                acts.push((at + millis, Act::FreeNames));
                Act::TakeName { service }
            }
            14 => Act::LoseStore,
            15 | 16 => Act::KillController,
            _ => Act::Reboot,
        };
        acts.push((at, act));
    }
}

/// A random subset of the fault kinds, each now and then.
fn faults(prng: &mut Prng, seed: u64, until: i64) -> FaultPlan {
    if prng.chance(25) {
        return FaultPlan { seed, ..FaultPlan::default() };
    }
    let rates = Fault::ALL
        .into_iter()
        .filter_map(|fault| {
            let rare = if Fault::CRASHES.contains(&fault) { [10, 40] } else { [50, 300] };
            let per_ten_thousand = *prng.pick(&rare);
            prng.chance(35).then_some(Rate { fault, per_ten_thousand })
        })
        .collect();
    let call = *prng.pick(&Call::ALL[..Call::DRAWN]);
    let fault = *prng.pick(call.faults());
    let nth = *prng.pick(&[0, 0, 1, 2, 5]);
    let focus = prng.chance(50).then_some((call, fault, nth));
    let until = match focus {
        // Images are looked through every ten minutes: what is to go wrong with
        // that needs the time.
        Some((Call::RemoveImage, _, _)) => until + 620_000,
        Some(_) | None => until,
    };
    FaultPlan { seed, rates, until, focus, at: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_scenario() {
        let text = |seed| format!("{:?}", generate(seed));
        assert_eq!(text(11), text(11));
        assert_ne!(text(11), text(12));
    }

    #[test]
    fn the_file_always_changes_to_something_else_in_time() {
        let acts = generate(5).acts;
        assert!(acts.is_sorted_by_key(|(at, _)| *at));
        let edits = acts.iter().filter(|(_, act)| matches!(act, Act::Edit(_)));
        assert!(edits.count() >= 2);
    }
}
