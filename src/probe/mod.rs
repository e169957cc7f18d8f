//! The prober: one task per replica that asks it whether it is ready.
//!
//! [`Probes`] keeps one task per watched target; each task checks
//! (`check`), counts (`standing`) and pauses. What a decision needs is read
//! from [`Prober::standings`]; the wake callback only says that it is worth
//! looking. Docker's own health and plain "it runs" are answered from the
//! container list, so targets with such a probe are left alone here.

mod check;
mod standing;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::JoinHandle;

use crate::{
    domain::{ContainerId, ProbeCheck, snapshot::ProbeStanding},
    ports::{Exec, ProbeTarget, Prober},
};

use check::Checker;
use standing::Standing;

/// Called when a replica was probed for the first time, became ready or ceased
/// to be.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Probes over the network, and inside replicas through `X`.
pub struct Probes<X> {
    checker: Arc<Checker<X>>,
    wake: Wake,
    watched: Mutex<BTreeMap<ContainerId, Watched>>,
}

struct Watched {
    target: ProbeTarget,
    /// None until the first probe has ended.
    standing: Arc<Mutex<Option<Standing>>>,
    task: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may still write its standing once, into a cell that nobody reads.
        self.task.abort();
    }
}

impl<X: Exec + 'static> Probes<X> {
    pub fn new(exec: X, wake: Wake) -> Probes<X> {
        Probes { checker: Arc::new(Checker::new(exec)), wake, watched: Mutex::default() }
    }

    fn begin(&self, id: ContainerId, target: ProbeTarget) -> Watched {
        let standing = Arc::new(Mutex::new(None));
        let task = tokio::spawn(probe_forever(
            Arc::clone(&self.checker),
            id,
            target.clone(),
            Arc::clone(&standing),
            Arc::clone(&self.wake),
        ));
        Watched { target, standing, task }
    }
}

/// Must be used inside a runtime: each target is a task of it.
impl<X: Exec + 'static> Prober for Probes<X> {
    fn watch(&self, mut targets: BTreeMap<ContainerId, ProbeTarget>) {
        targets.retain(|_, target| asks_the_replica(&target.probe.check));
        let mut watched = lock(&self.watched);
        watched.retain(|id, known| targets.get(id) == Some(&known.target));
        for (id, target) in targets {
            watched.entry(id).or_insert_with_key(|id| self.begin(id.clone(), target));
        }
    }

    fn standings(&self) -> BTreeMap<ContainerId, ProbeStanding> {
        lock(&self.watched)
            .iter()
            .filter_map(|(id, known)| Some((id.clone(), lock(&known.standing).as_ref()?.shown())))
            .collect()
    }
}

/// Returns whether this check is the prober's work.
fn asks_the_replica(check: &ProbeCheck) -> bool {
    match check {
        ProbeCheck::Http { .. } | ProbeCheck::Tcp { .. } | ProbeCheck::Exec { .. } => true,
        ProbeCheck::Docker | ProbeCheck::Started => false,
    }
}

async fn probe_forever<X: Exec>(
    checker: Arc<Checker<X>>,
    id: ContainerId,
    target: ProbeTarget,
    shared: Arc<Mutex<Option<Standing>>>,
    wake: Wake,
) {
    let mut standing = Standing::new(&target.probe);
    loop {
        let result = checker.check(&id, &target).await;
        let before = (standing.probes > 0).then_some(standing.ready);
        standing = standing.after(result);
        *lock(&shared) = Some(standing.clone());
        if before != Some(standing.ready) {
            wake();
        }
        tokio::time::sleep(standing.pause()).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Whole values are stored under these locks, so one that a panic left
    // behind is as good as any.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
