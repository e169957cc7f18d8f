//! Who is told what, and what is reported of a deployment.

use quaymaster::{
    domain::{
        Commit, Delivery, DeploymentReport, Letter, Memory, Receiver, Secret, Slot, Stack,
        deployment::DeploymentOutcome,
        memory::{HeldBy, Hold},
        news::{CommitState, DeliveryEnd, LetterKey},
        snapshot::{HoldOf, Outcome},
        telling::{Channel, Forge, StatusTarget, Topic},
        time::Now,
    },
    plan::{
        Plan, retry, rollback,
        tell::{FileSeen, due, prepare},
    },
};

use super::scene::*;

fn receiver(name: &str, on: &[Topic]) -> Receiver {
    let url = Secret::new(format!("http://{name}.example/"));
    Receiver {
        name: name.to_owned(),
        on: on.iter().copied().collect(),
        channel: Channel::Slack { url },
    }
}

fn commit(digit: char) -> Commit {
    digit.to_string().repeat(40).parse().expect("a commit")
}

/// Somebody who is told of promotions, rollbacks and holds of `shop`, which has v1 in
/// blue and is to have v2.
fn told() -> Scene {
    let scene = Scene::of([tagged(service("shop"), "v2")])
        .ready("shop", Blue, "v1", 1)
        .active("shop", Blue, "v1")
        .routed("shop", Blue, "v1");
    scene.edit(|scene| {
        scene.stack.telling.host = "edge-1".to_owned();
        scene.stack.telling.receivers = vec![receiver("team", &Topic::DEFAULT)];
    })
}

impl Scene {
    /// Does what a pass does beside acting, after these deliveries.
    fn passes(mut self, deliveries: &[Delivery]) -> (Scene, Plan) {
        let now = Now { at: self.now, unix_ms: self.now.0 };
        self.memory = prepare(&self.stack, &self.memory, FileSeen::default(), deliveries, now);
        let (memory, plan) = self.pass();
        self.memory = memory;
        self.seen.outcomes.clear();
        (self, plan)
    }

    fn told_of(&self, plan: &Plan) -> Vec<(u64, Topic)> {
        let letters = due(&self.stack, &self.memory, plan, FileSeen::default());
        let news = letters.iter().filter_map(|letter| match letter {
            Letter::News { news, .. } => Some((news.number, news.topic)),
            Letter::Status { .. } => None,
        });
        news.collect()
    }

    fn report(&self) -> DeploymentReport {
        self.memory.all_reports().pop().expect("a deployment")
    }

    /// The traffic moves to v2 in green.
    fn flips(self) -> Scene {
        self.later(1_000).ready("shop", Green, "v2", 1).moved_to(Green, "v2")
    }

    /// The route points there now, and nobody has remembered it yet.
    fn moved_to(self, slot: Slot, tag: &str) -> Scene {
        let name = self.service("shop").name;
        let before = self.memory.service(&name);
        self.routed("shop", slot, tag).edit(|scene| {
            let service = scene.memory.services.get_mut(&name).expect("remembered");
            service.active = before.active;
            service.good = before.good;
            service.promoted_at = before.promoted_at;
            service.replicas.values_mut().for_each(|replica| replica.restart_policy_set = true);
        })
    }
}

fn delivered(letters: Vec<Letter>) -> Vec<Delivery> {
    letters.into_iter().map(|letter| Delivery { letter, end: DeliveryEnd::Told }).collect()
}

fn letters(scene: &Scene, plan: &Plan) -> Vec<Letter> {
    due(&scene.stack, &scene.memory, plan, FileSeen::default())
}

#[test]
fn a_promotion_is_told_once_and_until_it_is_delivered() {
    let (scene, plan) = told().passes(&[]);
    assert_eq!(scene.told_of(&plan), []);
    let (scene, plan) = scene.flips().passes(&[]);
    assert_eq!(scene.told_of(&plan), [(1, Topic::Promoted)]);
    // A killed controller's memory is all that the next one has.
    let text = serde_json::to_string(&scene.memory).expect("a memory serialises");
    let memory: Memory = serde_json::from_str(&text).expect("it reads back");
    let (scene, plan) = scene.edit(|scene| scene.memory = memory).later(1_000).passes(&[]);
    assert_eq!(scene.told_of(&plan), [(1, Topic::Promoted)]);
    let told = delivered(letters(&scene, &plan));
    let (scene, plan) = scene.later(1_000).passes(&told);
    assert_eq!(scene.told_of(&plan), []);
    assert!(scene.memory.outbox.news.is_empty());
}

#[test]
fn what_is_older_than_an_hour_is_not_news() {
    let (scene, _) = told().passes(&[]);
    let (scene, _) = scene.flips().passes(&[]);
    let (scene, plan) = scene.later(1_000).passes(&[]);
    assert_eq!(scene.told_of(&plan).len(), 1);
    let (scene, plan) = scene.later(3_600_000).passes(&[]);
    assert_eq!(scene.told_of(&plan), []);
}

#[test]
fn who_is_new_is_told_nothing_old_and_another_address_is_somebody_new() {
    let (scene, _) = told().passes(&[]);
    let (scene, _) = scene.flips().passes(&[]);
    let add = |scene: &mut Scene| {
        scene.stack.telling.receivers.push(receiver("new", &Topic::ALL));
    };
    let (scene, plan) = scene.edit(add).later(1_000).passes(&[]);
    assert_eq!(scene.told_of(&plan), [(1, Topic::Promoted)], "only who was there before");
    let replace = |scene: &mut Scene| {
        scene.stack.telling.receivers = vec![receiver("other", &Topic::ALL)];
    };
    let (scene, plan) = scene.edit(replace).later(1_000).passes(&[]);
    assert_eq!(scene.told_of(&plan), []);
}

#[test]
fn a_controller_that_knows_nothing_has_seen_no_promotion() {
    let scene = Scene::of([tagged(service("shop"), "v1")])
        .ready("shop", Blue, "v1", 1)
        .routed("shop", Blue, "v1")
        .edit(|scene| scene.stack.telling.receivers = vec![receiver("team", &Topic::ALL)]);
    let (scene, plan) = scene.passes(&[]);
    assert_eq!(scene.told_of(&plan), []);
    assert_eq!(scene.memory.all_reports(), []);
}

#[test]
fn without_anybody_to_tell_nothing_is_kept_to_be_told() {
    let nobody = |scene: &mut Scene| scene.stack.telling.receivers.clear();
    let (scene, _) = told().edit(nobody).passes(&[]);
    let (scene, _) = scene.flips().passes(&[]);
    assert_eq!(scene.memory.outbox, Memory::default().outbox);
}

#[test]
fn a_file_that_becomes_bad_is_told_of_once_and_when_it_is_good_again() {
    let scene = told().edit(|scene| scene.stack.telling.receivers[0].on = Topic::ALL.into());
    let now = Now { at: scene.now, unix_ms: 0 };
    let problem = Some("quaymaster.yaml:3:1: error");
    let (bad, refused) = (commit('b'), commit('c'));
    let seen = |problem, refused| FileSeen { problem, commit: Some(&bad), subject: None, refused };
    let topics = |memory: &Memory| -> Vec<Topic> {
        memory.outbox.news.iter().map(|news| news.topic).collect()
    };
    let memory = prepare(&scene.stack, &scene.memory, seen(problem, None), &[], now);
    assert_eq!(topics(&memory), [Topic::FileInvalid]);
    let again = prepare(&scene.stack, &memory, seen(problem, None), &[], now);
    assert_eq!(again, memory);
    let memory = prepare(&scene.stack, &memory, seen(None, Some(&refused)), &[], now);
    assert_eq!(topics(&memory), [Topic::FileInvalid, Topic::FileValid, Topic::BranchRefused]);
}

#[test]
fn a_deployment_is_reported_from_its_beginning_to_its_end() {
    let (scene, _) = told().passes(&[]);
    let (scene, _) = scene.later(1_000).failing("shop", Green, "v2", 1).passes(&[]);
    let report = scene.report();
    assert_eq!(report.outcome, DeploymentOutcome::UnderWay);
    assert_eq!((report.slot, report.host.as_str()), (Some(Green), "edge-1"));
    assert_eq!(report.previous.map(|previous| previous.slot), Some(Blue));
    let clear = |scene: &mut Scene| scene.containers_mut().retain(|it| it.slot == Blue);
    let (scene, _) = scene.edit(clear).flips().passes(&[]);
    let report = scene.report();
    assert_eq!(report.outcome, DeploymentOutcome::Baking);
    assert_eq!(report.durations.promoted_ms, Some(1_000));
    let (scene, _) = scene.later(60_000).passes(&[]);
    let report = scene.report();
    assert_eq!(report.outcome, DeploymentOutcome::Good);
    assert_eq!(report.durations.bake_ms, Some(60_000));
    assert_eq!(scene.memory.all_reports().len(), 1);
}

fn held(scene: &Scene, by: HeldBy) -> Hold {
    let service = scene.service("shop");
    Hold {
        declaration: service.declaration(),
        release: Some(release(&service, "v2").id),
        image: service.image.clone(),
        reason: "exited with code 3".to_owned(),
        log: vec!["fatal".to_owned(), "é".repeat(16_000)],
        gates: Vec::new(),
        by,
        at_unix_ms: 0,
    }
}

#[test]
fn a_hold_is_told_of_with_its_report_and_a_new_try_is_a_new_deployment() {
    let (scene, _) = told().passes(&[]);
    let (scene, _) = scene.later(1_000).failing("shop", Green, "v2", 1).passes(&[]);
    let hold = Box::new(held(&scene, HeldBy::Failure));
    let name = scene.service("shop").name;
    let outcome = Outcome::Held { service: name.clone(), of: HoldOf::Declared, hold };
    let (scene, plan) = scene.edit(|scene| scene.seen.outcomes.push(outcome)).passes(&[]);
    assert_eq!(scene.told_of(&plan), [(2, Topic::Held)]);
    let report = scene.report();
    assert_eq!(report.outcome, DeploymentOutcome::Held);
    assert_eq!(report.reason.as_deref(), Some("exited with code 3"));
    assert_eq!(report.log, ["fatal".to_owned(), "é".repeat(500) + "…"]);
    let now = Now { at: scene.now, unix_ms: 0 };
    let tried = retry(&scene.stack, &scene.memory, &name, now).expect("it is held");
    let (scene, _) = scene.edit(|scene| scene.memory = tried).later(1_000).passes(&[]);
    let outcomes: Vec<_> = scene.memory.all_reports().iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [DeploymentOutcome::Held, DeploymentOutcome::UnderWay]);
}

#[test]
fn an_operators_rollback_is_told_of_when_the_traffic_has_moved() {
    let (scene, _) = told().passes(&[]);
    let (scene, plan) = scene.flips().passes(&[]);
    let told = delivered(letters(&scene, &plan));
    let (scene, _) = scene.later(1_000).passes(&told);
    let now = Now { at: scene.now, unix_ms: 0 };
    let name = scene.service("shop").name;
    let back = rollback(&scene.stack, &scene.seen, &scene.memory, &name, now).expect("v1 is warm");
    let (scene, plan) = scene.edit(|scene| scene.memory = back).later(1_000).passes(&[]);
    assert_eq!(scene.told_of(&plan), []);
    let (scene, plan) = scene.later(1_000).moved_to(Blue, "v1").passes(&[]);
    assert_eq!(scene.told_of(&plan), [(2, Topic::RolledBack)]);
    let report = scene.report();
    assert_eq!(report.outcome, DeploymentOutcome::RolledBack);
    assert_eq!(report.reason.as_deref(), Some("rolled back by an operator"));
}

fn from_git(stack: &mut Stack) {
    stack.commit = Some(commit('a'));
    stack.telling.receivers.clear();
    stack.telling.status = Some(StatusTarget {
        forge: Forge::GitHub,
        api: Secret::new("http://forge"),
        repository: "a/b".to_owned(),
        token: Secret::new("t"),
    });
}

/// Returns what the forge is told, and the scene after it was.
fn forge_is_told(scene: Scene) -> (Option<LetterKey>, Scene) {
    let (scene, plan) = scene.passes(&[]);
    let letters = letters(&scene, &plan);
    let key = letters.first().map(Letter::key);
    let (scene, _) = scene.passes(&delivered(letters));
    (key, scene)
}

#[test]
fn a_commit_is_pending_until_everything_of_it_runs_and_stays_a_success() {
    let status = |state| Some(LetterKey::Status(commit('a'), state));
    let (first, scene) = forge_is_told(told().edit(|scene| from_git(&mut scene.stack)));
    assert_eq!(first, status(CommitState::Pending));
    assert_eq!(forge_is_told(scene.later(0)).0, None, "it knows");
    let scene = told().edit(|scene| from_git(&mut scene.stack)).flips();
    let scene = forge_is_told(scene.later(0)).1.later(20_000);
    let (_, scene) = forge_is_told(scene);
    let said = scene.memory.outbox.status.as_ref().map(|told| told.status.state);
    assert_eq!(said, Some(CommitState::Success));
    // A replica dies and is replaced: that is no news of the commit.
    let gone = |scene: &mut Scene| scene.containers_mut().clear();
    let (now, scene) = forge_is_told(scene.later(1_000).edit(gone));
    assert_eq!(now, None);
    let hold = held(&scene, HeldBy::Failure);
    let name = scene.service("shop").name;
    let hold = |scene: &mut Scene| {
        scene.memory.services.get_mut(&name).expect("remembered").hold = Some(hold);
    };
    assert_eq!(forge_is_told(scene.edit(hold)).0, status(CommitState::Failure));
}

#[test]
fn a_status_that_a_forge_did_not_take_is_tried_again() {
    let pending = Some(LetterKey::Status(commit('a'), CommitState::Pending));
    let said = |scene: &Scene, plan: &Plan| letters(scene, plan).first().map(Letter::key);
    let given_up = || {
        let (scene, plan) = told().edit(|scene| from_git(&mut scene.stack)).passes(&[]);
        let letters = letters(&scene, &plan).into_iter();
        let given_up = letters.map(|letter| Delivery { letter, end: DeliveryEnd::GivenUp });
        scene.later(1_000).passes(&given_up.collect::<Vec<_>>()).0
    };
    let (rests, plan) = given_up().later(598_000).passes(&[]);
    assert_eq!(said(&rests, &plan), None, "a forge that is down is left alone for a while");
    let (rested, plan) = rests.later(2_000).passes(&[]);
    assert_eq!(said(&rested, &plan), pending);
    let (rested, plan) = rested.later(1_000).passes(&[]);
    assert_eq!(said(&rested, &plan), pending, "until it is taken");

    let mended = |scene: &mut Scene| {
        scene.stack.telling.status.as_mut().expect("a forge").token = Secret::new("mended");
    };
    let (mended, plan) = given_up().edit(mended).later(1_000).passes(&[]);
    assert_eq!(said(&mended, &plan), pending, "with another token it may be taken");
    let bad = commit('b');
    let file = FileSeen { problem: Some("bad"), commit: Some(&bad), ..FileSeen::default() };
    let (scene, plan) = given_up().later(1_000).passes(&[]);
    assert_eq!(due(&scene.stack, &scene.memory, &plan, file).len(), 1, "what else is to be said");
}

#[test]
fn what_a_forge_cannot_be_told_is_not_said() {
    let scene = told().edit(|scene| from_git(&mut scene.stack));
    let unseen = |scene: Scene| scene.proxy_is_unknown();
    assert_eq!(forge_is_told(unseen(scene)).0, None);
    let outside = told().edit(|scene| {
        from_git(&mut scene.stack);
        scene.stack.commit = None;
    });
    assert_eq!(forge_is_told(outside).0, None, "there is no commit");
    let (scene, plan) = told().edit(|scene| from_git(&mut scene.stack)).passes(&[]);
    let bad = commit('b');
    let file = FileSeen { problem: Some("\nbad"), commit: Some(&bad), ..FileSeen::default() };
    let letters = due(&scene.stack, &scene.memory, &plan, file);
    let Letter::Status { status, .. } = &letters[0] else { panic!("{letters:?}") };
    assert_eq!((&status.commit, status.state), (&bad, CommitState::Error));
    assert_eq!(status.description, "the file is not valid: bad");
}

#[test]
fn a_file_takes_the_last_word_of_a_service_that_it_takes_out() {
    let (scene, _) = told().passes(&[]);
    let (scene, _) = scene.flips().passes(&[]);
    let (scene, _) = scene.later(1_000).edit(|scene| scene.stack.services.clear()).passes(&[]);
    let reports = scene.memory.all_reports();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].outcome, DeploymentOutcome::Superseded);
    let (scene, _) = scene.later(1_000).passes(&[]);
    assert_eq!(scene.memory.all_reports(), reports);
}
