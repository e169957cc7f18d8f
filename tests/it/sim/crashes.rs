//! A crash before and after every single call of each fixed scenario.

use quaymaster::sim::{
    Scenario,
    faults::{Fault, FaultPlan},
    run,
    scenario::fixed,
};

#[test]
fn fixed_scenarios_end_well_without_faults() {
    for scenario in fixed::all() {
        let verdict = run(&scenario);
        assert_eq!(verdict.violations, [], "{}", scenario.name);
    }
}

#[test]
fn a_crash_before_or_after_any_call_breaks_no_rule() {
    let mut failed = Vec::new();
    for scenario in fixed::all() {
        let calls = run(&scenario).calls;
        for (call, fault) in (0..calls).flat_map(|call| Fault::CRASHES.map(|fault| (call, fault))) {
            let faults = FaultPlan { at: Some((call, fault)), ..FaultPlan::default() };
            let verdict = run(&Scenario { faults, ..scenario.clone() });
            if let Some(violation) = verdict.violations.first() {
                failed.push(format!("{}, {fault} call {call}: {violation}", scenario.name));
            }
        }
    }
    assert!(failed.is_empty(), "{} runs break a rule:\n{}", failed.len(), failed.join("\n"));
}
