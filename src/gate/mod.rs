//! The gatekeeper: one task per gate that measures it, again and again.
//!
//! [`Gates`] keeps one task per watched target; each task measures (`measure`),
//! counts (`tally`) and pauses. What a decision needs is read from
//! [`Gatekeeper::measured`]; the wake callback only says that it is worth looking.
//! A measurement asks (through [`crate::http`]) and then judges the answer
//! (`judge_http`, `judge_prometheus`), which is pure. Jobs are the engine's work,
//! and left alone here.

mod conceal;
mod judge_http;
mod judge_prometheus;
mod measure;
mod tally;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::JoinHandle;

use crate::{
    domain::{GateKey, GateTarget, snapshot::Measured},
    ports::{Exec, Gatekeeper},
};

use measure::Measurer;

/// Called when a measurement said something new.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Measures over the network, and inside replicas through `X`.
pub struct Gates<X> {
    measurer: Arc<Measurer<X>>,
    wake: Wake,
    watched: Mutex<BTreeMap<GateKey, Watched>>,
}

struct Watched {
    target: GateTarget,
    /// None until the first measurement has ended.
    measured: Arc<Mutex<Option<Measured>>>,
    task: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may still write its count once, into a cell that nobody reads.
        self.task.abort();
    }
}

impl<X: Exec + 'static> Gates<X> {
    pub fn new(exec: X, wake: Wake) -> Gates<X> {
        Gates { measurer: Arc::new(Measurer::new(exec)), wake, watched: Mutex::default() }
    }

    fn begin(&self, target: GateTarget) -> Watched {
        let measured = Arc::new(Mutex::new(None));
        let task = tokio::spawn(measure_forever(
            Arc::clone(&self.measurer),
            target.clone(),
            Arc::clone(&measured),
            Arc::clone(&self.wake),
        ));
        Watched { target, measured, task }
    }
}

/// Must be used inside a runtime: each target is a task of it.
impl<X: Exec + 'static> Gatekeeper for Gates<X> {
    fn watch(&self, mut targets: BTreeMap<GateKey, GateTarget>) {
        targets.retain(|_, target| target.gate.is_measured());
        let mut watched = lock(&self.watched);
        watched.retain(|key, known| targets.get(key) == Some(&known.target));
        for (key, target) in targets {
            watched.entry(key).or_insert_with(|| self.begin(target));
        }
    }

    fn measured(&self) -> BTreeMap<GateKey, Measured> {
        lock(&self.watched)
            .iter()
            .filter_map(|(key, known)| Some((key.clone(), lock(&known.measured).clone()?)))
            .collect()
    }
}

async fn measure_forever<X: Exec>(
    measurer: Arc<Measurer<X>>,
    target: GateTarget,
    shared: Arc<Mutex<Option<Measured>>>,
    wake: Wake,
) {
    let mut measured = None;
    loop {
        let measurement = measurer.measure(&target).await;
        let is_news = tally::is_news(measured.as_ref(), &measurement);
        let now = tally::after(measured, measurement);
        *lock(&shared) = Some(now.clone());
        measured = Some(now);
        if is_news {
            wake();
        }
        tokio::time::sleep(target.gate.interval).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Whole values are stored under these locks, so one that a panic left
    // behind is as good as any.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
