//! "Sometimes": what happened at least once over all the runs. A simulator that
//! never meets a situation proves nothing about it.

use std::collections::BTreeMap;

use super::faults::{Call, Fault};

/// A situation that the seeds must reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    Pulled,
    PullRefused,
    PullFailed,
    PullCutByCrash,
    NoSpace,
    Exited,
    RestartedByPolicy,
    StartRefused,
    NameTaken,
    AddressReused,
    HumanRemoved,
    HumanKilled,
    HumanStopped,
    EngineDown,
    ProxyDown,
    ProxyWiped,
    ProxyEdited,
    FileBroken,
    FileMended,
    Edited,
    StoreLost,
    HostRebooted,
    WakeLost,
    Flipped,
    RouteRestored,
    Held,
    JobSucceeded,
    ImageRemoved,
    StoppedAfterDrain,
    /// Before `drain_timeout`, because nothing was in flight any more.
    StoppedOnceIdle,
    /// At `drain_timeout`, with requests still in flight.
    StoppedInFlight,
    EndedHealthy,
    EndedHeld,
    Recovered,
    /// A signature was found.
    Verified,
    /// A signature was looked for, and there is none.
    Unsigned,
}

impl Feature {
    pub const ALL: [Feature; 36] = [
        Feature::Pulled,
        Feature::PullRefused,
        Feature::PullFailed,
        Feature::PullCutByCrash,
        Feature::NoSpace,
        Feature::Exited,
        Feature::RestartedByPolicy,
        Feature::StartRefused,
        Feature::NameTaken,
        Feature::AddressReused,
        Feature::HumanRemoved,
        Feature::HumanKilled,
        Feature::HumanStopped,
        Feature::EngineDown,
        Feature::ProxyDown,
        Feature::ProxyWiped,
        Feature::ProxyEdited,
        Feature::FileBroken,
        Feature::FileMended,
        Feature::Edited,
        Feature::StoreLost,
        Feature::HostRebooted,
        Feature::WakeLost,
        Feature::Flipped,
        Feature::RouteRestored,
        Feature::Held,
        Feature::JobSucceeded,
        Feature::ImageRemoved,
        Feature::StoppedAfterDrain,
        Feature::StoppedOnceIdle,
        Feature::StoppedInFlight,
        Feature::EndedHealthy,
        Feature::EndedHeld,
        Feature::Recovered,
        Feature::Verified,
        Feature::Unsigned,
    ];
}

/// How often what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub calls: BTreeMap<Call, u64>,
    pub faults: BTreeMap<(Call, Fault), u64>,
    pub features: BTreeMap<Feature, u64>,
}

impl Counters {
    pub fn called(&mut self, call: Call) {
        *self.calls.entry(call).or_default() += 1;
    }

    pub fn fault(&mut self, call: Call, fault: Fault) {
        *self.faults.entry((call, fault)).or_default() += 1;
    }

    pub fn feature(&mut self, feature: Feature) {
        *self.features.entry(feature).or_default() += 1;
    }

    /// Adds what another run counted.
    pub fn add(&mut self, other: &Counters) {
        fn sum<K: Ord + Copy>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            from.iter().for_each(|(key, n)| *to.entry(*key).or_default() += n);
        }
        sum(&mut self.calls, &other.calls);
        sum(&mut self.faults, &other.faults);
        sum(&mut self.features, &other.features);
    }

    /// Returns everything that can happen and never did.
    pub fn never(&self) -> Vec<String> {
        let calls = Call::ALL.into_iter().filter(|call| !self.calls.contains_key(call));
        let faults = Call::ALL
            .into_iter()
            .flat_map(|call| call.faults().iter().map(move |fault| (call, *fault)))
            .filter(|key| !self.faults.contains_key(key));
        let features = Feature::ALL.into_iter().filter(|f| !self.features.contains_key(f));
        calls
            .map(|call| format!("{call:?} was never called"))
            .chain(faults.map(|(call, fault)| format!("{fault} {call:?} never happened")))
            .chain(features.map(|feature| format!("{feature:?} never happened")))
            .collect()
    }
}
