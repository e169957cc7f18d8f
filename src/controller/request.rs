//! What an operator can ask of a running controller.
//!
//! A request only changes the memory and wakes the loop; what follows from it
//! is planned like everything else.

use tokio::sync::oneshot;

use crate::domain::{DeploymentReport, ServiceName, memory::Event};
use crate::plan::Refusal;

/// One request, with where to answer. An answer that nobody waits for any more
/// is dropped.
#[derive(Debug)]
pub enum Request {
    /// Try the held release of this service again.
    Retry(ServiceName, Reply),
    /// Give this service's traffic back to the release before the present one.
    Rollback(ServiceName, Reply),
    /// Promote this service's release as soon as it may be.
    Promote(ServiceName, Reply),
    /// Tell what happened, oldest first.
    History(oneshot::Sender<Vec<Event>>),
    /// Tell what became of each deployment, oldest first.
    Reports(oneshot::Sender<Vec<DeploymentReport>>),
}

/// One sentence on what happens now, or why not.
pub type Reply = oneshot::Sender<Result<String, Refusal>>;
