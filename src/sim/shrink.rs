//! Drops from a failing scenario what it does not need to fail.

use super::{Scenario, oracle::Rule, run};

/// Returns a smaller scenario that still breaks `rule`: without the acts, the
/// fault kinds and the lost wakes that do not matter.
pub fn shrink(scenario: &Scenario, rule: Rule) -> Scenario {
    let still_fails = |candidate: &Scenario| {
        run(candidate).violations.iter().any(|violation| violation.rule == rule)
    };
    let mut smallest = scenario.clone();
    loop {
        let candidates = smaller(&smallest);
        match candidates.into_iter().find(still_fails) {
            Some(found) => smallest = found,
            None => return smallest,
        }
    }
}

/// Every scenario with one thing less.
fn smaller(scenario: &Scenario) -> Vec<Scenario> {
    let mut candidates = Vec::new();
    for at in 0..scenario.acts.len() {
        let mut candidate = scenario.clone();
        candidate.acts.remove(at);
        candidates.push(candidate);
    }
    for at in 0..scenario.faults.rates.len() {
        let mut candidate = scenario.clone();
        candidate.faults.rates.remove(at);
        candidates.push(candidate);
    }
    if scenario.faults.focus.is_some() {
        let mut candidate = scenario.clone();
        candidate.faults.focus = None;
        candidates.push(candidate);
    }
    if scenario.lost_wakes_percent > 0 {
        candidates.push(Scenario { lost_wakes_percent: 0, ..scenario.clone() });
    }
    candidates
}
