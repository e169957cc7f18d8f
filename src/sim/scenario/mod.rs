//! What is declared, what happens, and what goes wrong: everything a run
//! depends on, as plain data.

mod draft;
pub mod fixed;
mod generate;

use std::sync::Arc;

use crate::domain::{
    Stack,
    policy::ImagePrefix,
    signature::{SignatureRule, SigningKey},
};

use super::{
    faults::{Fault, FaultPlan},
    mutant::Mutant,
    world::{Version, operator::Act},
};

pub use draft::{Fate, GateDraft, ServiceDraft, fate, service_name, stack_of, version_of};
pub use generate::generate;

/// A key of nobody: what is signed by it, the world knows.
const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3R0ZtpfBd3Y8DaXuB1gM8JPlhsDI
EfXO/WsMJEN14hEn8wajX2HklqL7igZPFICv6tBUGylIHp2mTH2Nhv38mg==
-----END PUBLIC KEY-----";

/// Has every image of a scenario signed before it may run, from beginning to end.
pub fn must_be_signed(scenario: &mut Scenario) {
    let key = SigningKey::from_pem("sim", KEY).expect("a public key");
    let rule = SignatureRule { images: ImagePrefix::Everything, keys: vec![key] };
    let edits = scenario.acts.iter_mut().filter_map(|(_, act)| match act {
        Act::Edit(stack) => Some(stack),
        _ => None,
    });
    for stack in edits.chain([&mut scenario.initial]) {
        Arc::make_mut(stack).signatures = vec![rule.clone()];
    }
}

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
