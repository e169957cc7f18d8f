//! The oracle objects to every mutant: it can fail.

use quaymaster::sim::{Rule, Scenario, mutant::Mutant, run, scenario::generate};

/// How many seeds a mutant may survive.
const SEEDS: u64 = 2_000;

fn is_caught(mutant: Mutant, rule: Rule) -> bool {
    (0..SEEDS).any(|seed| {
        let scenario = Scenario { mutant: Some(mutant), ..generate(seed) };
        run(&scenario).violations.iter().any(|violation| violation.rule == rule)
    })
}

#[test]
fn each_mutant_breaks_the_rule_it_is_about() {
    let rules = Mutant::ALL.map(|mutant| {
        let rule = match mutant {
            Mutant::SkipReadiness | Mutant::SkipGates => Rule::S1,
            Mutant::RunJobsAgain => Rule::S8,
            Mutant::SkipDrain | Mutant::CountNothing | Mutant::StopTheRouted => Rule::S2,
            Mutant::UnknownProxyIsEmpty => Rule::S5,
            Mutant::MixReleases => Rule::S6,
            Mutant::AdoptForeign => Rule::S4,
            Mutant::DropARoute => Rule::S3,
            Mutant::ForgetHolds => Rule::S7,
            Mutant::NeverPull => Rule::L1,
            Mutant::SkipSignatures => Rule::S11,
        };
        (mutant, rule)
    });
    let survivors = rules.into_iter().filter(|(mutant, rule)| !is_caught(*mutant, *rule));
    assert_eq!(survivors.collect::<Vec<_>>(), []);
}
