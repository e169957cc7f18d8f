//! Gates: what a promotion waits for, and what undoes it.

use std::{collections::BTreeMap, time::Duration};

use insta::assert_snapshot;
use quaymaster::{
    domain::{
        Gate, GateCheck, GateKey, Phase, Service,
        gate::JobSpec,
        memory::EventKind,
        snapshot::{ContainerId, ContainerState, JobContainer, Measured, Measurement, Outcome},
        time::Now,
    },
    plan::{Step, promote, retry, rollback},
};

use super::scene::*;

fn job(command: &str) -> Gate {
    let command = Some(vec![command.to_owned()]);
    let spec = JobSpec { command, image: None, environment: BTreeMap::new() };
    gate(GateCheck::Job(spec))
}

pub(super) fn measured(command: &str) -> Gate {
    gate(GateCheck::Exec { command: vec![command.to_owned()] })
}

fn gate(check: GateCheck) -> Gate {
    let (interval, timeout) = (Duration::from_secs(10), Duration::from_secs(300));
    Gate { check, interval, timeout, failure_limit: 0 }
}

fn before(gates: impl IntoIterator<Item = Gate>) -> Service {
    let mut service = tagged(service("shop"), "v2");
    service.rollout.pre_promotion = gates.into_iter().collect();
    service
}

/// v1 serves in blue, v2 is ready in green.
fn ready_in_green(service: Service) -> Scene {
    Scene::of([service])
        .ready("shop", Blue, "v1", 1)
        .ready("shop", Green, "v2", 1)
        .routed("shop", Blue, "v1")
}

fn key(scene: &Scene, tag: &str, gate: &Gate, phase: Phase) -> GateKey {
    let service = scene.service("shop");
    let release = release(&service, tag).id;
    GateKey { service: service.name, release, gate: gate.id(phase) }
}

pub(super) trait Gated {
    fn job(self, tag: &str, gate: &Gate, phase: Phase, state: ContainerState) -> Self;
    fn no_job(self) -> Self;
    fn measures(self, gate: &Gate, phase: Phase, failed: u32, last: Measurement) -> Self;
    fn held(self) -> Self;
    fn asked(self, request: Request) -> Self;
}

pub(super) enum Request {
    Promote,
    Retry,
    Rollback,
}

impl Gated for Scene {
    fn job(mut self, tag: &str, gate: &Gate, phase: Phase, state: ContainerState) -> Scene {
        let key = key(&self, tag, gate, phase);
        let of = release(&self.service("shop"), tag);
        let name = format!("demo-shop-{tag}-job");
        self.seen.jobs.retain(|job| job.key != key);
        self.seen.jobs.push(JobContainer {
            id: ContainerId(name.clone()),
            name,
            key,
            digest: of.digest,
            image_id: of.image_id,
            state,
            created_at: 0,
        });
        self
    }

    fn no_job(self) -> Scene {
        self.edit(|scene| scene.seen.jobs.clear())
    }

    fn measures(self, gate: &Gate, phase: Phase, failed: u32, last: Measurement) -> Scene {
        let key = key(&self, "v2", gate, phase);
        self.edit(|scene| {
            scene.seen.measured.insert(key, Measured { passed: 0, failed, last });
        })
    }

    /// The hold that the plan asks for is in the memory by the next pass.
    fn held(self) -> Scene {
        let (memory, plan) = self.pass();
        let hold = plan.steps.into_iter().find_map(|step| match step {
            Step::Hold(new) => Some(new),
            _ => None,
        });
        let hold = hold.expect("the plan holds");
        self.edit(|scene| {
            scene.memory = memory;
            let service = hold.service.clone();
            scene.seen.outcomes =
                vec![Outcome::Held { service, of: hold.of, hold: Box::new(hold.hold) }];
        })
        .later(0)
        .edit(|scene| scene.seen.outcomes.clear())
    }

    fn asked(self, request: Request) -> Scene {
        let scene = self.later(0);
        let (shop, now) = ("shop".parse().expect("a name"), Now { at: scene.now, unix_ms: 0 });
        let memory = match request {
            Request::Promote => promote(&scene.stack, &scene.seen, &scene.memory, &shop, now),
            Request::Retry => retry(&scene.stack, &scene.memory, &shop, now),
            Request::Rollback => rollback(&scene.stack, &scene.seen, &scene.memory, &shop, now),
        };
        scene.edit(|scene| scene.memory = memory.expect("it is followed"))
    }
}

const PRE: Phase = Phase::PrePromotion;

pub(super) fn passed() -> Measurement {
    Measurement::Passed("exited with code 0".to_owned())
}

pub(super) fn refused() -> Measurement {
    Measurement::Failed("exited with code 3".to_owned())
}

fn silence() -> Measurement {
    Measurement::Unanswered("connection refused".to_owned())
}

// --- jobs --------------------------------------------------------------------------

#[test]
fn a_job_is_created_once_the_release_is_ready() {
    let migrate = job("./migrate");
    let scene = Scene::of([before([migrate.clone()])])
        .ready("shop", Blue, "v1", 1)
        .replica("shop", Green, "v2", 1, RUNNING)
        .routed("shop", Blue, "v1");
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: rolling out; serving shop:v1
          waits: 0 of 1 ready in green, 1m1s left
    ");
    let scene = ready_in_green(before([migrate]));
    assert_snapshot!(scene.plan(), @r"
        create demo-shop-v2-job-30f3edd794f8 (shop:v2 in green)
        shop is progressing: rolling out; serving shop:v1
          waits: pre-promotion gate `job ./migrate`
    ");
}

#[test]
fn a_job_is_started_and_awaited() {
    let migrate = job("./migrate");
    let scene = ready_in_green(before([migrate.clone()]));
    let scene = scene.job("v2", &migrate, PRE, Created);
    assert_snapshot!(scene.plan(), @r"
        start demo-shop-v2-job
        shop is progressing: rolling out; serving shop:v1
          waits: pre-promotion gate `job ./migrate`
    ");
    let scene = scene.job("v2", &migrate, PRE, RUNNING);
    assert_snapshot!(scene.later(60_000).plan(), @r"
        shop is progressing: rolling out; serving shop:v1
          waits: pre-promotion gate `job ./migrate`, 4m1s left
    ");
}

#[test]
fn a_job_that_succeeded_opens_the_way_and_is_not_run_again() {
    let migrate = job("./migrate");
    let scene = ready_in_green(before([migrate.clone()]));
    let scene = scene.job("v2", &migrate, PRE, Exited { code: 0 }).later(0);
    assert_snapshot!(scene.plan(), @r"
        write routes: shop: blue v1 → green v2
        shop is progressing: rolling out; serving shop:v1
    ");
    // Also after somebody has pruned its container.
    assert_snapshot!(scene.no_job().plan(), @r"
        write routes: shop: blue v1 → green v2
        shop is progressing: rolling out; serving shop:v1
    ");
}

#[test]
fn a_container_that_succeeded_tells_it_to_a_lost_memory() {
    let migrate = job("./migrate");
    let scene = ready_in_green(before([migrate.clone()]));
    let scene = scene.job("v2", &migrate, PRE, Exited { code: 0 });
    let scene = scene.edit(|scene| scene.memory.services.clear());
    let (memory, plan) = scene.pass();
    let created = plan.steps.iter().any(|step| matches!(step, Step::Create(_)));
    assert!(!created, "{:?}", plan.steps);
    let gates = &memory.services.values().next().expect("remembered").gates;
    // Unknown whether it was ready before: the job counts as soon as it is.
    assert!(gates.len() <= 1);
}

#[test]
fn a_job_that_failed_holds_the_release_with_its_log() {
    let migrate = job("./migrate");
    let scene = ready_in_green(before([migrate.clone()]));
    let scene = scene.job("v2", &migrate, PRE, Exited { code: 3 }).later(0);
    assert_snapshot!(scene.plan(), @r"
        hold shop:v2: pre-promotion gate `job ./migrate` failed: exited with code 3
        shop is held: pre-promotion gate `job ./migrate` failed: exited with code 3; still serving shop:v1
    ");
    let (_, plan) = scene.pass();
    let hold = plan.steps.iter().find_map(|step| match step {
        Step::Hold(new) => Some(new),
        _ => None,
    });
    let hold = hold.expect("the plan holds");
    assert_eq!(hold.log_of.as_ref().map(|id| id.0.as_str()), Some("demo-shop-v2-job"));
    assert_eq!(hold.hold.gates.len(), 1);
    assert_snapshot!(scene.held().plan(), @r"
        stop demo-shop-green-v2-1
        remove demo-shop-v2-job
        shop is held: pre-promotion gate `job ./migrate` failed: exited with code 3; still serving shop:v1
    ");
}

#[test]
fn a_job_that_takes_too_long_is_stopped() {
    let migrate = job("./migrate");
    let scene = ready_in_green(before([migrate.clone()]));
    let scene = scene.job("v2", &migrate, PRE, RUNNING).later(300_000).later(0);
    assert_snapshot!(scene.plan(), @r"
        hold shop:v2: pre-promotion gate `job ./migrate` failed: did not end within 5m
        stop demo-shop-v2-job
        shop is held: pre-promotion gate `job ./migrate` failed: did not end within 5m; still serving shop:v1
    ");
}

#[test]
fn a_retried_job_waits_until_its_old_container_is_gone() {
    let migrate = job("./migrate");
    let scene = ready_in_green(before([migrate.clone()]));
    let scene = scene.job("v2", &migrate, PRE, Exited { code: 3 }).later(0).held();
    let scene = scene.asked(Request::Retry);
    assert_snapshot!(scene.plan(), @r"
        remove demo-shop-v2-job
        shop is progressing: rolling out; serving shop:v1
          waits: pre-promotion gate `job ./migrate`, 5m1s left
    ");
    assert_snapshot!(scene.no_job().plan(), @r"
        create demo-shop-v2-job-30f3edd794f8 (shop:v2 in green)
        shop is progressing: rolling out; serving shop:v1
          waits: pre-promotion gate `job ./migrate`
    ");
}

#[test]
fn a_job_of_a_superseded_release_is_not_cut_off_and_none_runs_beside_it() {
    let migrate = job("./migrate");
    let scene = ready_in_green(before([migrate.clone()]));
    let scene = scene.job("v3", &migrate, PRE, RUNNING);
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: rolling out; serving shop:v1
          waits: pre-promotion gate `demo-shop-v3-job` (one job runs at a time)
          waits: pre-promotion gate `job ./migrate`
    ");
    let scene = scene.job("v3", &migrate, PRE, Exited { code: 1 });
    assert_snapshot!(scene.plan(), @r"
        remove demo-shop-v3-job
        create demo-shop-v2-job-30f3edd794f8 (shop:v2 in green)
        shop is progressing: rolling out; serving shop:v1
          waits: pre-promotion gate `job ./migrate`
    ");
}

#[test]
fn a_job_of_another_image_pulls_it_first() {
    let image = Some("tests:v7".parse().expect("an image"));
    let spec = JobSpec { command: None, image, environment: BTreeMap::new() };
    let scene = ready_in_green(before([gate(GateCheck::Job(spec))]));
    assert_snapshot!(scene.plan(), @r"
        pull tests:v7
        shop is progressing: rolling out; serving shop:v1
          waits: pulling tests:v7
          waits: pre-promotion gate `job tests:v7`
    ");
}

#[test]
fn a_hung_job_of_a_release_left_behind_is_stopped_in_time() {
    let migrate = job("./migrate");
    let scene = ready_in_green(before([migrate.clone()]));
    let scene = scene.job("v3", &migrate, PRE, RUNNING).later(0);
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: rolling out; serving shop:v1
          waits: pre-promotion gate `demo-shop-v3-job` (one job runs at a time)
          waits: pre-promotion gate `job ./migrate`
    ");
    assert_snapshot!(scene.later(300_000).later(0).plan(), @r"
        stop demo-shop-v3-job
        shop is progressing: rolling out; serving shop:v1
          waits: pre-promotion gate `demo-shop-v3-job` (one job runs at a time)
          waits: pre-promotion gate `job ./migrate`
    ");
}

#[test]
fn a_job_that_was_stopped_has_not_succeeded_whatever_its_code() {
    let migrate = job("./migrate");
    let scene = ready_in_green(before([migrate.clone()]));
    let scene = scene.job("v2", &migrate, PRE, RUNNING).later(300_000).later(0).held();
    let scene = scene.job("v2", &migrate, PRE, Exited { code: 0 }).later(0);
    let scene = scene.asked(Request::Retry).later(0).no_job();
    assert!(scene.plan().contains("create demo-shop-v2-job"), "{}", scene.plan());
}

// --- measurements ------------------------------------------------------------------

#[test]
fn gates_are_looked_at_one_after_another() {
    let (first, second) = (measured("first"), measured("second"));
    let scene = ready_in_green(before([first.clone(), second.clone()]));
    let asked = |scene: &Scene| scene.pass().1.measure.into_keys().collect::<Vec<_>>();
    assert_eq!(asked(&scene), [key(&scene, "v2", &first, PRE)]);
    let scene = scene.measures(&first, PRE, 0, passed()).later(0);
    assert_eq!(asked(&scene), [key(&scene, "v2", &second, PRE)]);
    let scene = scene.measures(&second, PRE, 0, passed()).later(0);
    assert_snapshot!(scene.plan(), @r"
        write routes: shop: blue v1 → green v2
        shop is progressing: rolling out; serving shop:v1
    ");
}

#[test]
fn a_gate_that_fails_holds_the_release() {
    let check = measured("./check");
    let scene = ready_in_green(before([check.clone()]));
    let scene = scene.measures(&check, PRE, 1, refused()).later(0);
    assert_snapshot!(scene.plan(), @r"
        hold shop:v2: pre-promotion gate `exec ./check` failed: exited with code 3
        shop is held: pre-promotion gate `exec ./check` failed: exited with code 3; still serving shop:v1
    ");
}

#[test]
fn failures_within_the_limit_are_waited_out() {
    let check = Gate { failure_limit: 2, ..measured("./check") };
    let scene = ready_in_green(before([check.clone()]));
    let scene = scene.measures(&check, PRE, 2, refused()).later(0);
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: rolling out; serving shop:v1
          waits: pre-promotion gate `exec ./check`, 1m1s left (exited with code 3)
    ");
}

#[test]
fn silence_is_no_failure_until_the_deadline() {
    let check = measured("./check");
    let scene = ready_in_green(before([check.clone()]));
    let scene = scene.measures(&check, PRE, 0, silence()).later(59_000);
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: rolling out; serving shop:v1
          waits: pre-promotion gate `exec ./check`, 2s left (connection refused)
    ");
    assert_snapshot!(scene.later(1_000).later(0).plan(), @r"
        hold shop:v2: pre-promotion gate `exec ./check` failed: did not pass within 1m: connection refused
        shop is held: pre-promotion gate `exec ./check` failed: did not pass within 1m: connection refused; still serving shop:v1
    ");
}

#[test]
fn what_was_good_before_is_not_looked_at_again() {
    let check = measured("./check");
    let scene = ready_in_green(before([check])).edit(|scene| {
        let v2 = placement(&scene.service("shop"), Green, "v2");
        let shop = scene.memory.services.get_mut(&"shop".parse().expect("a name"));
        shop.expect("known").good.insert(0, v2.release);
    });
    assert_snapshot!(scene.plan(), @r"
        write routes: shop: blue v1 → green v2
        shop is progressing: rolling out; serving shop:v1
    ");
}

#[test]
fn gates_look_at_the_first_replica_of_a_rolling_release() {
    let check = job("./check");
    let mut shop = before([check.clone()]);
    shop.rollout.strategy = quaymaster::domain::Strategy::Rolling;
    shop.replicas = 2;
    let scene = Scene::of([shop])
        .ready("shop", Blue, "v1", 1)
        .ready("shop", Blue, "v1", 2)
        .ready("shop", Blue, "v2", 1)
        .routed("shop", Blue, "v1")
        .job("v2", &check, PRE, RUNNING);
    // The time that a gate takes is not the release's.
    let scene = scene.later(90_000);
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: rolling out; serving shop:v1
          waits: 1 of 2 ready in blue
          waits: pre-promotion gate `job ./check`, 3m31s left
    ");
    let scene = scene.job("v2", &check, PRE, Exited { code: 0 }).later(0);
    assert_snapshot!(scene.plan(), @r"
        write routes: shop: blue v1 → blue v2
        shop is progressing: rolling out; serving shop:v1
          waits: 1 of 2 ready in blue, 1m1s left
    ");
}

// --- an operator -------------------------------------------------------------------

#[test]
fn a_release_waits_for_an_operator_where_the_file_says_so() {
    let mut shop = before([]);
    shop.rollout.auto_promote = false;
    let scene = ready_in_green(shop).later(500_000);
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: ready in green, to be promoted: quaymaster promote shop; serving shop:v1
          waits: ready in green, to be promoted by hand
    ");
    let scene = scene.asked(Request::Promote);
    assert_snapshot!(scene.plan(), @r"
        write routes: shop: blue v1 → green v2
        shop is progressing: rolling out; serving shop:v1
    ");
    let events = &scene.memory.history;
    assert_eq!(events.last().map(|event| event.kind), Some(EventKind::Approved));
}
