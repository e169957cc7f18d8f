//! What can go wrong at a call into the world, and when it does.
//!
//! Whether a call fails depends on the seed and the call's number alone, so
//! that leaving out an edit or a fault kind disturbs the rest little: that is
//! what makes a failing seed shrink.

use std::fmt;

use super::prng;

/// One method of the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Containers,
    Host,
    CreateNetwork,
    CreateVolume,
    Create,
    Start,
    SetRestartPolicy,
    Stop,
    Remove,
    RemoveImage,
    Logs,
    BeginPull,
    TakePulled,
    ObserveProxy,
    InFlight,
    WriteProxy,
    LoadMemory,
    SaveMemory,
    LoadStack,
    /// Last, and not among [`Call::DRAWN`]: only some worlds make it.
    Verify,
}

impl Call {
    pub const ALL: [Call; 20] = [
        Call::Containers,
        Call::Host,
        Call::CreateNetwork,
        Call::CreateVolume,
        Call::Create,
        Call::Start,
        Call::SetRestartPolicy,
        Call::Stop,
        Call::Remove,
        Call::RemoveImage,
        Call::Logs,
        Call::BeginPull,
        Call::TakePulled,
        Call::ObserveProxy,
        Call::InFlight,
        Call::WriteProxy,
        Call::LoadMemory,
        Call::SaveMemory,
        Call::LoadStack,
        Call::Verify,
    ];

    /// How many of them every world makes: a seed draws among these.
    pub const DRAWN: usize = 19;

    /// Returns the faults that this call can meet.
    pub fn faults(self) -> &'static [Fault] {
        const CRASHES: &[Fault] = &[Fault::CrashBefore, Fault::CrashAfter];
        const READS: &[Fault] =
            &[Fault::CrashBefore, Fault::CrashAfter, Fault::ErrorBefore, Fault::SlowBefore];
        match self {
            Call::Containers
            | Call::Host
            | Call::Logs
            | Call::ObserveProxy
            | Call::InFlight
            | Call::Verify => READS,
            Call::CreateNetwork
            | Call::CreateVolume
            | Call::Create
            | Call::Start
            | Call::SetRestartPolicy
            | Call::Stop
            | Call::Remove
            | Call::RemoveImage
            | Call::WriteProxy => &Fault::ALL,
            // A file is read again until it is stable, and a broken one is an
            // edit of the scenario.
            Call::BeginPull | Call::TakePulled | Call::LoadMemory | Call::LoadStack => CRASHES,
            Call::SaveMemory => &[Fault::CrashBefore, Fault::CrashAfter, Fault::ErrorBefore],
        }
    }

    /// Returns whether the call changes something that outlives the controller.
    pub fn mutates(self) -> bool {
        match self {
            Call::CreateNetwork
            | Call::CreateVolume
            | Call::Create
            | Call::Start
            | Call::SetRestartPolicy
            | Call::Stop
            | Call::Remove
            | Call::RemoveImage
            | Call::BeginPull
            | Call::WriteProxy
            | Call::SaveMemory => true,
            Call::Containers
            | Call::Host
            | Call::Logs
            | Call::TakePulled
            | Call::ObserveProxy
            | Call::InFlight
            | Call::LoadMemory
            | Call::LoadStack
            | Call::Verify => false,
        }
    }
}

/// What can happen to one call. The full fault model adds its kinds here:
/// stale and partial reads, hangs, applied and then timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9` before the call did anything.
    CrashBefore,
    /// `kill -9` after the call took effect, before its answer was read.
    CrashAfter,
    /// An error, and nothing was done.
    ErrorBefore,
    /// It was done, and then an error came back.
    ErrorAfter,
    /// It takes its time, then is done.
    SlowBefore,
    /// It is done at once, and the answer takes its time.
    SlowAfter,
}

impl Fault {
    pub const ALL: [Fault; 6] = [
        Fault::CrashBefore,
        Fault::CrashAfter,
        Fault::ErrorBefore,
        Fault::ErrorAfter,
        Fault::SlowBefore,
        Fault::SlowAfter,
    ];

    pub const CRASHES: [Fault; 2] = [Fault::CrashBefore, Fault::CrashAfter];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Fault::CrashBefore => "crash before",
            Fault::CrashAfter => "crash after",
            Fault::ErrorBefore => "error before",
            Fault::ErrorAfter => "error after",
            Fault::SlowBefore => "slow before",
            Fault::SlowAfter => "slow after",
        })
    }
}

/// A fault kind with how many of ten thousand calls meet it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub fault: Fault,
    pub per_ten_thousand: u64,
}

/// Which calls go wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    pub seed: u64,
    pub rates: Vec<Rate>,
    /// After this time, in milliseconds, nothing goes wrong by chance any more.
    pub until: i64,
    /// This fault at the n-th call, from 0, of this kind: what is rare is met too.
    pub focus: Option<(Call, Fault, u64)>,
    /// This fault at exactly the call with this number.
    pub at: Option<(u64, Fault)>,
}

impl FaultPlan {
    /// Returns what happens to the call with this number, the n-th of its kind.
    pub fn decide(&self, call: Call, index: u64, nth: u64, now: i64) -> Option<Fault> {
        if let Some((at, fault)) = self.at
            && at == index
        {
            return call.faults().contains(&fault).then_some(fault);
        }
        if now >= self.until {
            return None;
        }
        if let Some((focus, fault, at)) = self.focus
            && (focus, at) == (call, nth)
        {
            return Some(fault);
        }
        let mut draw = prng::hash(self.seed, index, 1) % 10_000;
        for rate in &self.rates {
            if draw < rate.per_ten_thousand {
                return call.faults().contains(&rate.fault).then_some(rate.fault);
            }
            draw -= rate.per_ten_thousand;
        }
        None
    }

    /// Returns how long a slow call takes, in milliseconds.
    pub fn slowness(&self, index: u64) -> i64 {
        const CHOICES: [i64; 5] = [5, 60, 400, 2_500, 9_000];
        let at = prng::hash(self.seed, index, 2) % 5;
        CHOICES[usize::try_from(at).expect("less than five")]
    }
}
