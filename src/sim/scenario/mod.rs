//! What is declared, what happens, and what goes wrong: everything a run
//! depends on, as plain data.

mod draft;
pub mod fixed;
mod generate;

use std::sync::Arc;

use crate::domain::Stack;

use super::{
    faults::{Fault, FaultPlan},
    mutant::Mutant,
    world::{Version, operator::Act},
};

pub use draft::{Fate, GateDraft, ServiceDraft, fate, service_name, stack_of, version_of};
pub use generate::generate;

/// One run, fully decided.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What replays it.
    pub name: String,
    /// The versions of all services' images.
    pub catalog: Vec<Version>,
    pub initial: Arc<Stack>,
    /// What happens, and when: milliseconds since the beginning, ascending.
    pub acts: Vec<(i64, Act)>,
    pub faults: FaultPlan,
    /// How many of a hundred wakes get lost: Docker's events are lossy.
    pub lost_wakes_percent: u64,
    pub mutant: Option<Mutant>,
}

impl Scenario {
    /// Returns whether something happens in it that can make a sound release
    /// fail: then that release may be held in the end.
    pub fn is_disturbed(&self) -> bool {
        let disturbs = |act: &Act| match act {
            Act::Remove { .. }
            | Act::Kill { .. }
            | Act::Stop { .. }
            | Act::EngineDown { .. }
            | Act::RegistryDown { .. }
            | Act::ProxyDown { .. }
            | Act::DiskFull
            | Act::TakeName { .. }
            | Act::Reboot => true,
            Act::Edit(_)
            | Act::BreakFile
            | Act::WipeProxy
            | Act::DropRoute(_)
            | Act::MisdirectRoute(_)
            | Act::DiskFreed
            | Act::FreeNames
            | Act::LoseStore
            | Act::KillController => false,
        };
        let mut faults = self
            .faults
            .rates
            .iter()
            .map(|rate| rate.fault)
            .chain(self.faults.focus.map(|(_, fault, _)| fault));
        let crashes_only = faults.all(|fault| Fault::CRASHES.contains(&fault));
        !crashes_only || self.acts.iter().any(|(_, act)| disturbs(act))
    }
}
