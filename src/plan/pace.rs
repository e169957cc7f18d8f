//! How fast something that failed is tried again: a function of attempts and time.
//!
//! Every step goes through here, so that nothing that keeps failing is done in a
//! tight loop.

use std::time::Duration;

use crate::domain::{
    Memory, Timestamp,
    memory::Attempts,
    snapshot::{FailureKind, Subject},
};

use super::{Plan, Step, WaitingOn, view::World};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whoever asks for a longer pause than this is asked again all the same.
const LONGEST_ASKED: Duration = Duration::from_secs(60 * 60);

/// Returns the pause after `count` failures in a row: half a second, doubled
/// each time, at most a minute.
pub fn pause(count: u32) -> Duration {
    let doublings = count.saturating_sub(1).min(16);
    (FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE)
}

/// Returns when the next try may start.
fn next_try(attempts: &Attempts) -> Timestamp {
    let asked = match attempts.failure.kind {
        FailureKind::RateLimited { retry_after } => {
            retry_after.map_or(LONGEST_PAUSE, |asked| asked.min(LONGEST_ASKED))
        }
        FailureKind::Transient
        | FailureKind::Refused
        | FailureKind::NoSuchImage
        | FailureKind::NameTaken => Duration::ZERO,
    };
    attempts.last_at + pause(attempts.count).max(asked)
}

/// Returns the wait for the next try, while it is too early for one.
pub fn wait(world: World, attempts: &Attempts) -> Option<WaitingOn> {
    let at = next_try(attempts);
    let (attempt, failure) = (attempts.count, attempts.failure.to_string());
    (at > world.at()).then_some(WaitingOn::Retry { at, attempt, failure })
}

/// Takes out the steps that it is too early for, and has their services wait.
pub fn slow_down(world: World, plan: &mut Plan) {
    for step in std::mem::take(&mut plan.steps) {
        let Some(wait) = earlier_tries(world, &step).and_then(|it| wait(world, it)) else {
            plan.steps.push(step);
            continue;
        };
        let concerns = |name| match step.subject().service() {
            Some(service) => service == name,
            None => true,
        };
        for (name, service) in &mut plan.services {
            if concerns(name) && !service.waiting_on.contains(&wait) {
                service.waiting_on.push(wait.clone());
            }
        }
    }
}

fn earlier_tries<'w>(world: World<'w>, step: &Step) -> Option<&'w Attempts> {
    match step {
        // A pull and a look at a signature have their own pace; what failed is held at
        // once.
        Step::Pull { .. } | Step::Verify { .. } | Step::Hold(_) | Step::RemoveImage { .. } => None,
        Step::CreateNetwork { .. }
        | Step::CreateVolume { .. }
        | Step::Create(_)
        | Step::Start { .. }
        | Step::SetRestartPolicy { .. }
        | Step::Stop { .. }
        | Step::Remove { .. }
        | Step::WriteRoutes { .. } => failed_before(world.memory, &step.subject()),
    }
}

fn failed_before<'m>(memory: &'m Memory, subject: &Subject) -> Option<&'m Attempts> {
    match subject {
        Subject::Replica { service, .. } | Subject::Service(service) => {
            memory.services.get(service)?.failed_steps.as_ref()
        }
        Subject::Proxy => memory.failed_writes.as_ref(),
        Subject::Host(_) => memory.failed_host_steps.as_ref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_slows_to_a_minute() {
        let pauses: Vec<u64> = (1..=9).map(|n| pause(n).as_millis() as u64).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    }
}
