//! What `quaymaster wait` makes of a report.

use quaymaster::{
    cli::wait::{Verdict, judge},
    controller::StatusReport,
    domain::{Commit, GitStanding, ServiceName},
    plan::ServiceState,
};

use super::reports::every_state;

fn commit(digit: char) -> Commit {
    digit.to_string().repeat(40).parse().expect("a commit")
}

/// A stack of which the commit `aaaa…` is in force and everything is settled.
fn settled() -> StatusReport {
    let mut report = every_state();
    report.services.retain(|service| service.state == ServiceState::Settled);
    report.commit = Some(commit('a'));
    report.file.git = Some(GitStanding {
        refused: None,
        url: "https://git.example.com/shop/state.git".to_owned(),
        branch: "main".to_owned(),
        path: "stacks/prod.yaml".to_owned(),
        commit: commit('a'),
        subject: "shop: v2".to_owned(),
        earlier: vec![commit('9'), commit('8')],
        committed_at_unix_ms: 0,
        fetched_at_unix_ms: None,
        trouble: None,
    });
    report
}

fn of(report: &StatusReport, digits: &str) -> Verdict {
    judge(report, Some(&digits.parse().expect("digits")), &[]).expect("no service is named")
}

fn waiting(verdict: Verdict) -> String {
    match verdict {
        Verdict::Waiting(on) => on,
        other => panic!("{other:?}"),
    }
}

fn failed(verdict: Verdict) -> String {
    match verdict {
        Verdict::Failed(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_commit_in_force_and_settled_is_done() {
    let report = settled();
    assert_eq!(of(&report, "aaaaaaa"), Verdict::Done);
    assert_eq!(judge(&report, None, &[]).expect("none named"), Verdict::Done);
}

#[test]
fn a_commit_that_was_overtaken_is_judged_by_the_one_that_came_after() {
    let mut report = settled();
    assert_eq!(of(&report, "8888888"), Verdict::Done);
    // While the last file is bad, an earlier one is in force: nothing is after it yet.
    report.file.valid = false;
    report.commit = Some(commit('9'));
    assert_eq!(of(&report, "8888888"), Verdict::Done);
    assert!(failed(of(&report, "aaaaaaa")).contains("not valid"));
    report.commit = Some(commit('8'));
    waiting(of(&report, "9999999"));
}

#[test]
fn another_commit_is_waited_out() {
    let mut report = settled();
    assert_eq!(waiting(of(&report, "bbbbbbb")), "bbbbbbb is not in force, aaaaaaa is");
    let git = report.file.git.as_mut().expect("it is in Git");
    git.trouble = Some("nobody answers".to_owned());
    assert!(waiting(of(&report, "bbbbbbb")).ends_with("not followed: nobody answers"));
    // What is in force already needs no Git.
    assert_eq!(of(&report, "aaaaaaa"), Verdict::Done);
}

#[test]
fn a_commit_whose_file_is_bad_never_comes_into_force() {
    let mut report = settled();
    report.file.valid = false;
    report.file.git.as_mut().expect("it is in Git").commit = commit('b');
    assert!(failed(of(&report, "bbbbbbb")).contains("is not valid; aaaaaaa stays in force"));
    waiting(of(&report, "ccccccc"));
}

#[test]
fn a_file_outside_git_is_of_no_commit() {
    let report = StatusReport { commit: None, ..settled() };
    assert!(failed(of(&report, "aaaaaaa")).contains("is not in Git"));
}

#[test]
fn only_what_is_asked_for_counts() {
    let mut report = every_state();
    report.commit = Some(commit('a'));
    let name = |text: &str| text.parse::<ServiceName>().expect("a name");
    let judged = |names: &[&str]| {
        let names: Vec<ServiceName> = names.iter().map(|text| name(text)).collect();
        judge(&report, None, &names)
    };
    assert_eq!(judged(&["gateway"]).expect("known"), Verdict::Done);
    assert!(
        waiting(judged(&["gateway", "orchestrator"]).expect("known"))
            .starts_with("orchestrator: rolling out")
    );
    assert!(waiting(judged(&["search"]).expect("known")).starts_with("search: the proxy cannot"));
    assert!(failed(judged(&[]).expect("all")).starts_with("postgres is degraded"));
    assert!(failed(judged(&["worker"]).expect("known")).starts_with("worker is held"));
    assert!(judged(&["wrker"]).is_err());
}
