//! Telling people: hands over what is due, and learns what has arrived.

use tracing::warn;

use super::Controller;
use crate::{
    domain::{Receiver, Stack, Unreached, telling::StatusTarget},
    plan::{
        Plan,
        tell::{self, FileSeen},
    },
    ports::{Clock, Engine, Gatekeeper, Ledger, Prober, Proxy, Source},
};

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
    /// Learns what has been told, and what is news of the file.
    pub(super) fn learn_what_was_told(&mut self) {
        let deliveries = self.ports.notifier.take_delivered();
        let (telling, outbox) = (&self.stack.telling, &self.memory.outbox);
        let nobody_is_told = telling.receivers.is_empty() && outbox.told.is_empty();
        if nobody_is_told && deliveries.is_empty() && outbox.status_given_up.is_none() {
            return;
        }
        let now = self.now();
        let changed = tell::prepare(&self.stack, &self.memory, self.file_seen(), &deliveries, now);
        if changed != self.memory {
            self.memorise(changed);
        }
    }

    /// Returns whether anything is still to be told, as far as the last pass knew.
    pub(super) fn has_more_to_tell(&self) -> bool {
        let Some((_, plan, _)) = &self.last else { return false };
        !tell::due(&self.stack, &self.memory, plan, self.file_seen()).is_empty()
    }

    pub(super) fn tell(&self, plan: &Plan) {
        let due = tell::due(&self.stack, &self.memory, plan, self.file_seen());
        self.ports.notifier.deliver(due);
    }

    /// Returns whom news keep failing to reach, of those whom the file names now.
    pub(super) fn unreached(&self) -> Vec<Unreached> {
        let mut unreached = self.ports.notifier.unreached();
        let telling = &self.stack.telling;
        let receivers = telling.receivers.iter().map(Receiver::id);
        let all = receivers.chain(telling.status.as_ref().map(StatusTarget::id));
        all.filter_map(|id| unreached.remove(&id)).collect()
    }

    fn file_seen(&self) -> FileSeen<'_> {
        let git = self.file.git.as_ref();
        FileSeen {
            problem: self.file.problem.as_deref(),
            commit: git.map(|git| &git.commit),
            subject: git.map(|git| git.subject.as_str()),
            refused: git.and_then(|git| git.refused.as_ref()),
        }
    }
}

/// Says of a stack that is new what in it has no effect.
pub(super) fn say_what_has_no_effect(stack: &Stack) {
    if stack.telling.status.is_some() && stack.commit.is_none() {
        warn!("`commit_status` has no effect: the file is not in Git, so there is no commit");
    }
}
