//! Drives controllers through a scenario, one after another.
//!
//! What production leaves to tokio happens here by hand: a pass is polled until
//! it is done, steps in flight are polled after it, and then time jumps to the
//! next wake, the next deadline or the tick. A killed controller is dropped
//! where it stands.

use std::{
    collections::{BTreeSet, VecDeque},
    future::Future,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::task::noop_waker;

use crate::{
    controller::{Controller, Pass, Ports},
    domain::{Secret, Stack, Timestamp},
    ports::Verifier,
};

use super::{
    counters::{Counters, Feature},
    oracle::{Ending, Rule, Violation},
    ports::SimPort,
    prng,
    scenario::{self, Scenario},
    trace::Trace,
    world::{
        Version, World,
        operator::{Act, summary},
    },
};

type SimController = Controller<SimPort, SimPort, SimPort, SimPort, SimPort, SimPort, SimPort>;

/// Milliseconds between two passes if nothing else wakes the loop.
const TICK: i64 = 10_000;
/// Milliseconds that a pass takes.
const PASS: i64 = 2;
/// The most passes until the world must stand still, after the last change.
const MAX_CALM_PASSES: u32 = 800;
/// The most passes of the eventful part.
const MAX_STORM_PASSES: u32 = 20_000;
/// Milliseconds in which nothing may happen for the world to stand still.
const STILL: i64 = 3 * TICK;

/// How a run came out.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub scenario: String,
    pub violations: Vec<Violation>,
    /// Empty unless it was asked for.
    pub trace: Vec<String>,
    pub counters: Counters,
    /// How many calls were made.
    pub calls: u64,
    pub passes: u32,
}

/// Runs the scenario of a seed.
pub fn run_seed(seed: u64) -> Verdict {
    run(&scenario::generate(seed))
}

/// Runs a scenario without keeping its trace.
pub fn run(scenario: &Scenario) -> Verdict {
    Run::new(scenario, Trace::none()).finish()
}

/// Runs a scenario and keeps its trace.
pub fn run_traced(scenario: &Scenario) -> Verdict {
    Run::new(scenario, Trace::kept()).finish()
}

struct Run<'a> {
    scenario: &'a Scenario,
    port: SimPort,
    controller: Option<SimController>,
    acts: VecDeque<(i64, Act)>,
    passes: u32,
}

/// How polling a future by hand came out.
enum Polled<T> {
    Done(T),
    /// The controller was killed meanwhile.
    Killed,
    /// It waits for something that never comes.
    Stuck,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, mut trace: Trace) -> Run<'a> {
        trace.line(0, || format!("-- declared: {}", summary(&scenario.initial)));
        for version in &scenario.catalog {
            let Version { image, behaviour, shelf, pull_time, gates, job_code, signature } =
                version;
            trace.line(0, || {
                format!(
                    "-- {image}: {behaviour:?}, {shelf:?}, {pull_time} ms, gates {gates:?}, \
                     jobs end with {job_code}, {signature:?}"
                )
            });
        }
        Run {
            scenario,
            port: SimPort::new(World::new(scenario, trace)),
            controller: None,
            acts: scenario.acts.iter().cloned().collect(),
            passes: 0,
        }
    }

    fn finish(mut self) -> Verdict {
        self.storm();
        self.calm();
        let ending = match self.scenario.is_disturbed() {
            true => Ending::Disturbed,
            false => Ending::Undisturbed,
        };
        if self.settle() {
            self.port.world().judge_end(ending);
            self.recover();
        }
        self.controller = None;
        let mut world = self.port.world();
        Verdict {
            scenario: self.scenario.name.clone(),
            violations: std::mem::take(&mut world.oracle.violations),
            trace: std::mem::take(&mut world.trace).into_lines(),
            counters: world.counters.clone(),
            calls: world.calls,
            passes: self.passes,
        }
    }

    fn is_clean(&self) -> bool {
        self.port.world().oracle.violations.is_empty()
    }

    /// The eventful part: until the last act, and until the faults stop.
    fn storm(&mut self) {
        let last_act = self.scenario.acts.last().map_or(0, |(at, _)| *at);
        let until = last_act.max(self.scenario.faults.until);
        while self.now() < until && self.passes < MAX_STORM_PASSES && self.is_clean() {
            self.turn();
        }
        let now = self.now();
        while let Some((_, act)) = self.acts.pop_front() {
            // Only a storm that was cut short leaves any.
            self.port.world().act(&act);
        }
        debug_assert!(now <= self.now(), "time runs forward");
    }

    /// Ends every outage, and mends a broken file.
    fn calm(&mut self) {
        let last_good = self
            .scenario
            .acts
            .iter()
            .rev()
            .find_map(|(_, act)| match act {
                Act::Edit(stack) => Some(Arc::clone(stack)),
                _ => None,
            })
            .unwrap_or_else(|| Arc::clone(&self.scenario.initial));
        let mut world = self.port.world();
        world.say(|| "-- from here on nothing goes wrong".to_owned());
        let now = world.now;
        world.faults.rates.clear();
        world.faults.focus = None;
        world.docker.down_until = now;
        world.caddy.down_until = now;
        world.registry.down_until = now;
        world.act(&Act::DiskFreed);
        world.act(&Act::FreeNames);
        if world.file.is_err() {
            world.act(&Act::Edit(last_good));
        }
    }

    /// Runs on until the world stands still; false and a violation if it never does.
    fn settle(&mut self) -> bool {
        let first = self.passes;
        let mut still_since = None;
        loop {
            if !self.is_clean() {
                return false;
            }
            if self.passes - first > MAX_CALM_PASSES {
                let mut world = self.port.world();
                let at = world.now;
                let text = format!("{MAX_CALM_PASSES} passes and no rest");
                // A release that nobody can call good or bad may go on forever.
                if world.is_expected_to_rest() {
                    world.oracle.violations.push(Violation { rule: Rule::L1, at, text });
                }
                return false;
            }
            let rests = match self.turn() {
                Some(pass) => pass.steps == 0 && pass.revisit.is_none(),
                None => false,
            };
            let now = self.now();
            match (rests, still_since) {
                (false, _) => still_since = None,
                (true, None) => still_since = Some(now),
                (true, Some(since)) if now - since >= STILL => return true,
                (true, Some(_)) => {}
            }
        }
    }

    /// An operator changes something about what is held in error: now nothing
    /// excuses it.
    fn recover(&mut self) {
        let mut touched = BTreeSet::new();
        loop {
            let held = self.port.world().held_in_error();
            if !self.is_clean() || held.is_empty() {
                break;
            }
            // One that depends on another comes to light after it.
            let again = held.iter().any(|name| !touched.insert(name.clone()));
            if again {
                break;
            }
            self.touch(&held);
            if !self.settle() {
                return;
            }
        }
        if self.is_clean() && !touched.is_empty() {
            self.port.world().judge_end(Ending::Undisturbed);
            self.port.world().counters.feature(Feature::Recovered);
        }
    }

    /// Edits the named services so that each is a new declaration.
    fn touch(&mut self, names: &[crate::domain::ServiceName]) {
        let mut world = self.port.world();
        let Ok(stack) = world.file.clone() else { return };
        let mut stack = Stack::clone(&stack);
        for name in names {
            if let Some(service) = stack.services.get_mut(name) {
                service.spec.environment.insert("TOUCHED".to_owned(), Secret::new("yes"));
            }
        }
        world.act(&Act::Edit(Arc::new(stack)));
    }

    fn now(&self) -> i64 {
        self.port.world().now
    }

    /// One turn of the loop: a pass, the steps it began, and the wait for what
    /// wakes the next one. None if the controller was killed in it.
    fn turn(&mut self) -> Option<Pass> {
        let Some(mut controller) = self.controller.take().or_else(|| self.start()) else {
            self.wait_until(self.now() + TICK);
            return None;
        };
        self.passes += 1;
        {
            let mut world = self.port.world();
            (world.woken, world.engine_told) = (false, false);
        }
        let pass = match self.poll(controller.pass()) {
            Polled::Done(pass) => pass,
            Polled::Killed => return None,
            Polled::Stuck => return self.stuck("a pass"),
        };
        self.advance(self.now() + PASS);
        self.port.world().note_whole();
        if !self.wait(&mut controller, &pass) {
            return None;
        }
        self.controller = Some(controller);
        Some(pass)
    }

    fn stuck(&mut self, what: &str) -> Option<Pass> {
        let mut world = self.port.world();
        let (at, text) = (world.now, format!("{what} hangs"));
        world.oracle.violations.push(Violation { rule: Rule::L1, at, text });
        None
    }

    /// Starts a controller, some time after the last one was killed. None while
    /// there is no file to start from.
    fn start(&mut self) -> Option<SimController> {
        if self.port.world().crashed {
            let now = self.now();
            let seed = self.scenario.faults.seed;
            let index = u64::try_from(now).unwrap_or_default();
            let pause = prng::hash(seed, index, 4) % 4;
            let pause = [40, 500, 3_000, 12_000][usize::try_from(pause).expect("less than four")];
            self.wait_until(now + pause);
        }
        let mut world = self.port.world();
        world.crashed = false;
        world.say(|| "a controller starts".to_owned());
        let accepted = world.store.as_ref().and_then(|memory| Some(memory.accepted.clone()?.stack));
        let stack = world.file.clone().map(|stack| Stack::clone(&stack)).ok().or(accepted)?;
        drop(world);
        let port = Arc::new(self.port.clone());
        let ports = Ports {
            engine: Arc::clone(&port),
            proxy: Arc::clone(&port),
            prober: Arc::clone(&port),
            gates: Arc::clone(&port),
            verifier: Arc::clone(&port) as Arc<dyn Verifier>,
            ledger: Arc::clone(&port),
            source: Arc::clone(&port),
            clock: Arc::clone(&port),
            notifier: port,
        };
        let controller = Controller::new(ports, stack, PathBuf::from("quaymaster.yaml"));
        (!self.port.world().crashed).then_some(controller)
    }

    /// Waits as the loop in production does; false if the controller was killed.
    fn wait(&mut self, controller: &mut SimController, pass: &Pass) -> bool {
        let mut ended = 0;
        let in_flight = loop {
            match self.poll_once(controller.step_done()) {
                Poll::Ready(true) => ended += 1,
                Poll::Ready(false) => break false,
                Poll::Pending => break true,
            }
        };
        if self.port.world().crashed {
            return false;
        }
        if ended > 0 || (pass.steps > 0 && !in_flight) {
            return true;
        }
        let now = self.now();
        let booted_at = self.port.world().booted_at;
        let due = pass.revisit.map_or(i64::MAX, |Timestamp(at)| at.saturating_add(booted_at));
        let deadline = due.clamp(now, now + TICK);
        loop {
            if self.port.world().crashed {
                return false;
            }
            if let Poll::Ready(true) = self.poll_once(controller.step_done()) {
                return !self.port.world().crashed;
            }
            if self.is_woken() || self.now() >= deadline {
                return true;
            }
            self.advance(deadline);
        }
    }

    /// Returns whether a wake came through.
    fn is_woken(&mut self) -> bool {
        let percent = self.scenario.lost_wakes_percent;
        let seed = self.scenario.faults.seed;
        let mut world = self.port.world();
        let woken = std::mem::take(&mut world.woken);
        let told = std::mem::take(&mut world.engine_told);
        if woken || !told {
            return woken;
        }
        let index = u64::try_from(world.now).unwrap_or_default();
        let is_lost = prng::hash(seed, index, 3) % 100 < percent;
        if is_lost {
            world.counters.feature(Feature::WakeLost);
        }
        !is_lost
    }

    fn wait_until(&mut self, at: i64) {
        while self.now() < at {
            self.advance(at);
        }
    }

    /// Moves the time to the next thing that happens, `to` at the latest.
    fn advance(&mut self, to: i64) {
        let next_act = self.acts.front().map_or(to, |(at, _)| (*at).min(to));
        let mut world = self.port.world();
        world.advance(next_act);
        let now = world.now;
        drop(world);
        while self.acts.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, act)) = self.acts.pop_front() {
                self.port.world().act(&act);
            }
        }
    }

    fn poll_once<F: Future>(&self, future: F) -> Poll<F::Output> {
        let waker = noop_waker();
        pin!(future).poll(&mut Context::from_waker(&waker))
    }

    /// Polls a future, moving the time on while it waits.
    fn poll<F: Future>(&mut self, future: F) -> Polled<F::Output> {
        let waker = noop_waker();
        let mut future = pin!(future);
        let mut idle = 0;
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                _ if self.port.world().crashed => return Polled::Killed,
                Poll::Ready(done) => return Polled::Done(done),
                Poll::Pending => {}
            }
            idle += 1;
            if idle > 10_000 {
                return Polled::Stuck;
            }
            self.advance(self.now() + TICK);
            if self.port.world().crashed {
                return Polled::Killed;
            }
        }
    }
}
