//! Floor 3: the loop, and what it tells about itself.
//!
//! [`Controller::pass`] is one turn: load the file → observe → `remember` →
//! save → `plan` → `check` → begin the steps. It needs no runtime: production
//! drives it with tokio ([`run`]), the simulator polls it by hand. Steps are
//! futures that the controller owns; dropping the controller at any await is
//! what `kill -9` looks like, and loses nothing that the next pass needs.

mod act;
mod observe;
pub mod request;
pub mod run;
pub mod status;
mod tell;
pub mod wake;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tracing::{error, info, warn};

use crate::{
    domain::{
        Memory, RouteTable, ServiceName, Snapshot, Stack, StackName, Timestamp,
        memory::{Accepted, Boot, Event},
        snapshot::{Outcome, Subject, Work},
        time::Now,
    },
    plan::{
        self, Plan, Refusal, ServicePlan, ServiceState, Step, WaitingOn, check::without_violations,
    },
    ports::{Clock, Engine, Gatekeeper, Ledger, Notifier, Prober, Proxy, Source, Verifier},
};

pub use request::Request;
pub use status::{FileStanding, StatusReport};
pub use wake::{Wake, Waker, Wakes};

/// How many creations and starts are in flight at once: more gain nothing on a
/// small host (measured: 20 starts take 5.3 s one at a time, 3.1 s by four, 2.9 s
/// by sixteen). Stops only wait, and are not counted.
const MAX_STARTS: usize = 4;

/// The world, as the controller reaches it.
pub struct Ports<E, X, P, G, L, S, C> {
    pub engine: Arc<E>,
    pub proxy: Arc<X>,
    pub prober: Arc<P>,
    pub gates: Arc<G>,
    pub verifier: Arc<dyn Verifier>,
    pub ledger: Arc<L>,
    pub source: Arc<S>,
    pub clock: Arc<C>,
    pub notifier: Arc<dyn Notifier>,
}

/// How long after a proxy could not be left it is tried again.
const BETWEEN_LEAVES: Duration = Duration::from_secs(10);

/// Keeps one stack at what its file declares.
pub struct Controller<E, X, P, G, L, S, C> {
    ports: Ports<E, X, P, G, L, S, C>,
    memory: Memory,
    /// The last stack that was valid.
    stack: Stack,
    file: FileStanding,
    in_flight: FuturesUnordered<BoxFuture<'static, (Subject, Outcome)>>,
    busy: BTreeMap<Subject, Work>,
    /// The addresses that those of `busy` give to new replicas.
    claimed: BTreeMap<Subject, Vec<IpAddr>>,
    /// Those of `busy` that load the host.
    starting: BTreeSet<Subject>,
    outcomes: Vec<Outcome>,
    /// The memory has changed since it was last saved, because a save failed.
    is_unsaved: bool,
    /// When a proxy that the file names no more could last not be left.
    left_at: Option<Timestamp>,
    last: Option<(Snapshot, Plan, Now)>,
}

/// What one pass came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// How many steps it began.
    pub steps: usize,
    /// Every service stands as declared or is held, and nothing is in flight.
    pub converged: bool,
    /// When to look again without being woken.
    pub revisit: Option<Timestamp>,
}

/// What a look came to.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub stack: &'a Stack,
    pub seen: &'a Snapshot,
    pub memory: &'a Memory,
    pub plan: &'a Plan,
}

impl<E, X, P, G, L, S, C> Controller<E, X, P, G, L, S, C>
where
    E: Engine + 'static,
    X: Proxy + 'static,
    P: Prober + 'static,
    G: Gatekeeper + 'static,
    L: Ledger + 'static,
    S: Source + 'static,
    C: Clock + 'static,
{
    /// Makes a controller of `stack`: the one that the file declares, or while
    /// the file is bad, the one that was accepted last.
    pub fn new(ports: Ports<E, X, P, G, L, S, C>, stack: Stack, path: PathBuf) -> Self {
        let memory = ports.ledger.load().rebase(&ports.clock.boot_id(), ports.clock.now());
        let file = FileStanding { path, valid: true, problem: None, git: None };
        Controller {
            ports,
            memory,
            stack,
            file,
            in_flight: FuturesUnordered::new(),
            busy: BTreeMap::new(),
            claimed: BTreeMap::new(),
            starting: BTreeSet::new(),
            outcomes: Vec::new(),
            is_unsaved: false,
            left_at: None,
            last: None,
        }
    }

    /// Does one pass. Steps that change the world are begun, not awaited, apart
    /// from the one write to the proxy, which takes milliseconds.
    pub async fn pass(&mut self) -> Pass {
        self.load_file().await;
        self.leave_proxy().await;
        self.learn_what_was_told();
        let (seen, plan, now) = self.decide().await;
        self.say_changes(&plan);
        let secrets = plan::secret_files(&self.stack, &seen, &self.memory, &plan);
        self.ports.engine.keep_secrets(&secrets);
        let steps = self.begin(&plan).await;
        self.tell(&plan);
        let pass = Pass {
            steps,
            converged: self.is_converged(&seen, &plan, steps),
            revisit: plan.revisit,
        };
        self.last = Some((seen, plan, now));
        pass
    }

    /// Looks and decides as a pass does, and begins nothing.
    pub async fn look(&mut self) -> Look<'_> {
        self.load_file().await;
        let decided = self.decide().await;
        let (seen, plan, _) = &*self.last.insert(decided);
        Look { stack: &self.stack, seen, memory: &self.memory, plan }
    }

    async fn decide(&mut self) -> (Snapshot, Plan, Now) {
        let outcomes = self.take_outcomes();
        let mut seen = self.observe(outcomes).await;
        let now = self.now();
        self.remember(&seen, now);
        let mut plan = plan::plan(&self.stack, &seen, &self.memory, now);
        if plan.wants_host || plan.wants_in_flight {
            self.observe_more(&plan, &mut seen).await;
            // What ended has been learned already.
            seen.outcomes.clear();
            self.remember(&seen, now);
            plan = plan::plan(&self.stack, &seen, &self.memory, now);
        }
        let violations = plan::check(&self.stack, &seen, &self.memory, now, &plan);
        for violation in &violations {
            error!(%violation, "a plan was about to break a rule and is not followed: a bug");
        }
        let plan = without_violations(&seen, plan, &violations);
        // While Docker cannot be seen, what was counted is not forgotten.
        if seen.containers.known().is_some() {
            self.ports.gates.watch(plan.measure.clone());
        }
        (seen, plan, now)
    }

    /// Waits for the next step in flight to end; false if there is none.
    pub async fn step_done(&mut self) -> bool {
        match self.in_flight.next().await {
            Some((subject, outcome)) => {
                self.busy.remove(&subject);
                self.claimed.remove(&subject);
                self.starting.remove(&subject);
                self.outcomes.push(outcome);
                true
            }
            None => false,
        }
    }

    /// Returns the path that the desired state is known by.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Returns how the stack stood after the last pass.
    pub fn status(&self) -> Option<StatusReport> {
        let (seen, plan, at) = self.last.as_ref()?;
        let report = status::report(&self.stack, &self.file, seen, &self.memory, plan, *at);
        Some(StatusReport { unreached: self.unreached(), ..report })
    }

    /// Returns what happened, oldest first.
    pub fn history(&self) -> &[Event] {
        &self.memory.history
    }

    /// Forgets that a service is held. The next pass tries again.
    pub fn retry(&mut self, service: &ServiceName) -> Result<String, Refusal> {
        let changed = plan::retry(&self.stack, &self.memory, service, self.now())?;
        self.memorise(changed);
        Ok(format!("{service} is tried again"))
    }

    /// Holds the declared release of a service. The next pass gives its
    /// traffic to the release before it.
    pub fn rollback(&mut self, service: &ServiceName) -> Result<String, Refusal> {
        let Some((seen, _, _)) = &self.last else { return Err(Refusal::EngineUnknown) };
        let changed = plan::rollback(&self.stack, seen, &self.memory, service, self.now())?;
        self.memorise(changed);
        Ok(format!("{service} goes back to its earlier release"))
    }

    /// Approves the declared release of a service. The next pass that finds it ready,
    /// with its gates passed, gives it the traffic.
    pub fn promote(&mut self, service: &ServiceName) -> Result<String, Refusal> {
        let Some((seen, _, _)) = &self.last else { return Err(Refusal::EngineUnknown) };
        let changed = plan::promote(&self.stack, seen, &self.memory, service, self.now())?;
        self.memorise(changed);
        Ok(format!("{service} is promoted once it is ready and its gates have passed"))
    }

    fn now(&self) -> Now {
        Now { at: self.ports.clock.now(), unix_ms: self.ports.clock.unix_ms() }
    }

    /// Reads the file. A bad one changes nothing but what `status` says.
    async fn load_file(&mut self) {
        let problem = match self.ports.source.load().await {
            Ok(stack) if stack.name != self.stack.name => {
                Some(renamed(&self.stack.name, &stack.name))
            }
            Ok(stack) => {
                self.accept(stack);
                None
            }
            Err(problem) => Some(problem),
        };
        if let Some(problem) = &problem
            && self.file.problem.as_ref() != Some(problem)
        {
            warn!("the file is not valid; the last good one stays in force\n{problem}");
        }
        self.file.git = self.ports.source.standing();
        self.file.valid = problem.is_none();
        self.file.problem = problem;
    }

    fn accept(&mut self, stack: Stack) {
        let accepted = Accepted { stack: stack.clone(), file: self.file.path.clone() };
        if self.memory.accepted.as_ref() != Some(&accepted) {
            info!(services = stack.services.len(), "the file is accepted");
            tell::say_what_has_no_effect(&stack);
            self.memory.accepted = Some(accepted);
            self.save();
        }
        self.stack = stack;
    }

    /// Takes our routes out of a proxy that the file names no more, before anything
    /// is stopped that it may send requests to. One that cannot be reached holds
    /// nothing up, and is tried again.
    async fn leave_proxy(&mut self) {
        let (None, Some(left)) = (&self.stack.proxy, &self.memory.proxy) else { return };
        let now = self.ports.clock.now();
        if self.left_at.is_some_and(|at| now < at + BETWEEN_LEAVES) {
            return;
        }
        match self.ports.proxy.write(left, &RouteTable::new()).await {
            Ok(()) => {
                info!("our routes are taken out of the proxy that the file names no more");
                self.left_at = None;
                self.memorise(Memory { proxy: None, ..self.memory.clone() });
            }
            Err(failure) => {
                if self.left_at.is_none() {
                    warn!("the proxy that the file names no more may keep our routes: {failure}");
                }
                self.left_at = Some(now);
            }
        }
    }

    fn take_outcomes(&mut self) -> Vec<Outcome> {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        let pulled = self.ports.engine.take_pulled();
        outcomes.extend(pulled.into_iter().map(|(image, result)| {
            match &result {
                Ok(found) => info!(%image, digest = found.digest.short(), "pulled"),
                Err(failure) => warn!(%image, "not pulled: {failure}"),
            }
            Outcome::Pulled { image, result }
        }));
        outcomes
    }

    fn remember(&mut self, seen: &Snapshot, now: Now) {
        let changed = plan::remember(&self.stack, &self.memory, seen, now);
        if changed != self.memory || self.is_unsaved {
            self.memorise(changed);
        }
    }

    fn memorise(&mut self, memory: Memory) {
        self.memory = memory;
        self.save();
    }

    fn save(&mut self) {
        let saved_at = self.ports.clock.now();
        self.memory.boot = Some(Boot { id: self.ports.clock.boot_id(), saved_at });
        // The ledger itself warns, no traffic depends on it, and the next pass
        // tries again.
        self.is_unsaved = self.ports.ledger.save(&self.memory).is_err();
    }

    /// Begins the steps that there is room for and returns how many.
    async fn begin(&mut self, plan: &Plan) -> usize {
        let mut begun = 0;
        for step in &plan.steps {
            if let Step::WriteRoutes { table, .. } = step {
                self.memorise(plan::intend(&self.stack, &self.memory, table));
                let outcome = self.act(step.clone()).await;
                self.outcomes.push(outcome);
                begun += 1;
                continue;
            }
            let subject = step.subject();
            if is_a_start(step) {
                if self.starting.len() >= MAX_STARTS {
                    continue;
                }
                self.starting.insert(subject.clone());
            }
            self.busy.insert(subject.clone(), step.work());
            if let Step::Create(new) = step {
                let addresses = new.addresses.values().copied().collect();
                self.claimed.insert(subject.clone(), addresses);
            }
            let done = self.act(step.clone());
            self.in_flight.push(Box::pin(async move { (subject, done.await) }));
            begun += 1;
        }
        begun
    }

    fn act(&self, step: Step) -> impl Future<Output = Outcome> + Send + use<E, X, P, G, L, S, C> {
        let (engine, proxy) = (Arc::clone(&self.ports.engine), Arc::clone(&self.ports.proxy));
        let config = self.stack.proxy.clone();
        let verifier = Arc::clone(&self.ports.verifier);
        act::act(engine, proxy, verifier, config, step)
    }

    fn is_converged(&self, seen: &Snapshot, plan: &Plan, steps: usize) -> bool {
        let is_held = |name: &ServiceName| {
            plan.services.get(name).is_none_or(|on| on.state == ServiceState::Held)
        };
        let arrived = |service: &ServicePlan| match service.state {
            ServiceState::Settled => true,
            // What is fallen back on may still be coming up.
            ServiceState::Held => service.waiting_on.iter().all(WaitingOn::is_settled),
            // Nothing comes of waiting for a human, or for what is held itself.
            ServiceState::Progressing | ServiceState::Degraded => {
                let in_vain = |wait: &WaitingOn| match wait {
                    WaitingOn::Dependency { service, .. } => is_held(service),
                    WaitingOn::Promotion { .. } => true,
                    _ => false,
                };
                let degraded = service.state == ServiceState::Degraded;
                match service.waiting_on.iter().all(WaitingOn::is_settled) {
                    true => degraded,
                    false => service.waiting_on.iter().any(in_vain),
                }
            }
            ServiceState::Unknown => false,
        };
        steps == 0
            && self.busy.is_empty()
            && seen.pulls.is_empty()
            && plan.services.values().all(arrived)
    }

    /// One line per service that stands otherwise than before.
    fn say_changes(&self, plan: &Plan) {
        let before = self.last.as_ref().map(|(_, plan, _)| &plan.services);
        for (name, service) in &plan.services {
            let was = before.and_then(|services| services.get(name));
            let is_news =
                was.is_none_or(|was| (was.state, &was.reason) != (service.state, &service.reason));
            if is_news {
                let state = service.state.to_string();
                match service.state {
                    ServiceState::Settled | ServiceState::Progressing => {
                        info!(service = %name, state, "{}", service.reason);
                    }
                    ServiceState::Degraded | ServiceState::Held | ServiceState::Unknown => {
                        warn!(service = %name, state, "{}", service.reason);
                    }
                }
            }
        }
    }
}

/// Creating and starting load the host; stopping and removing only wait.
fn is_a_start(step: &Step) -> bool {
    match step {
        Step::Create(_) | Step::Start { .. } => true,
        Step::CreateNetwork { .. }
        | Step::CreateVolume { .. }
        | Step::Pull { .. }
        | Step::Verify { .. }
        | Step::SetRestartPolicy { .. }
        | Step::Stop { .. }
        | Step::Remove { .. }
        | Step::Hold(_)
        | Step::WriteRoutes { .. }
        | Step::RemoveImage { .. } => false,
    }
}

fn renamed(old: &StackName, new: &StackName) -> String {
    format!(
        "the file's `name` changed from `{old}` to `{new}`: that is another stack. \
         Change it back, or stop this controller and start one for `{new}` with its own --state-dir"
    )
}
