//! `quaymaster report`: what became of each deployment, as people see it.

use insta::assert_snapshot;
use jiff::tz::TimeZone;
use quaymaster::{
    cli::view::{Page, Palette, deployments::render},
    domain::{
        DeploymentReport, Phase, Slot, Unreached,
        deployment::{
            DeployedCommit, DeploymentOutcome, Durations, GateResult, GateVerdict, PreviousRelease,
        },
    },
};

use super::reports::{every_state, image, release};

const PIPE: Page = Page { width: None, palette: Palette::Plain };

fn page(width: usize) -> Page {
    Page { width: Some(width), palette: Palette::Plain }
}

/// The time of the first: 2026-01-02 03:04:05 UTC.
const AT: i64 = 1_767_323_045_000;

fn deployed(tag: &str, outcome: DeploymentOutcome, minutes: i64) -> DeploymentReport {
    let new = image(&format!("registry.example.com/shop/web:{tag}"));
    DeploymentReport {
        at_unix_ms: AT + minutes * 60_000,
        ended_at_unix_ms: None,
        outcome,
        reason: None,
        stack: "shop".parse().expect("a name"),
        host: "edge-1".to_owned(),
        service: "web".parse().expect("a name"),
        slot: Some(Slot::Green),
        tag: new.tag().map(str::to_owned),
        image: new,
        digest: Some(format!("sha256:{}", "ab".repeat(32)).parse().expect("a digest")),
        release: Some(release("bbbbbbbbbbbb")),
        previous: Some(PreviousRelease {
            release: release("aaaaaaaaaaaa"),
            slot: Slot::Blue,
            image: Some(image("registry.example.com/shop/web:1.0.0")),
        }),
        commit: Some(DeployedCommit {
            sha: "0123456789abcdef0123456789abcdef01234567".parse().expect("a commit"),
            subject: Some("web: \u{1b}[31mcheaper".to_owned()),
            author: Some("Alice".to_owned()),
        }),
        durations: Durations {
            pull_ms: Some(3_200),
            ready_ms: Some(5_400),
            gates_ms: Some(61_000),
            promoted_ms: Some(69_600),
            bake_ms: Some(120_000),
        },
        gates: vec![GateResult {
            name: "job ./migrate".to_owned(),
            phase: Phase::PrePromotion,
            result: GateVerdict::Passed,
            text: Some("exited with code 0".to_owned()),
        }],
        log: Vec::new(),
    }
}

fn held() -> DeploymentReport {
    DeploymentReport {
        reason: Some("pre-promotion gate `http :8001/ready` failed: HTTP 503".to_owned()),
        durations: Durations { ready_ms: Some(900), ..Durations::default() },
        gates: vec![GateResult {
            name: "http :8001/ready".to_owned(),
            phase: Phase::PrePromotion,
            result: GateVerdict::Failed,
            text: Some("HTTP 503".to_owned()),
        }],
        log: vec!["starting".to_owned(), "fatal: relation orders does not exist".to_owned()],
        ..deployed("1.2.0", DeploymentOutcome::Held, 10)
    }
}

/// One of each outcome.
fn all() -> Vec<DeploymentReport> {
    let first = DeploymentReport {
        previous: None,
        commit: None,
        ..deployed("1.0.0", DeploymentOutcome::Good, 0)
    };
    let back = DeploymentReport {
        reason: Some("rolled back by an operator".to_owned()),
        ..deployed("1.3.0", DeploymentOutcome::RolledBack, 20)
    };
    let left = DeploymentReport {
        reason: Some("the file changed before it was done".to_owned()),
        durations: Durations::default(),
        ..deployed("1.4.0", DeploymentOutcome::Superseded, 30)
    };
    let now = DeploymentReport {
        release: None,
        digest: None,
        slot: None,
        durations: Durations::default(),
        gates: Vec::new(),
        ..deployed("1.6.0", DeploymentOutcome::UnderWay, 40)
    };
    let baking = deployed("1.5.0", DeploymentOutcome::Baking, 35);
    vec![first, deployed("1.1.0", DeploymentOutcome::Good, 5), held(), back, left, baking, now]
}

#[test]
fn the_deployments_fit_their_page() {
    for width in [80, 120] {
        let lines = render(page(width), &all(), &TimeZone::UTC);
        for line in &lines {
            assert!(console::measure_text_width(line) <= width, "{width} columns: {line}");
        }
        assert_snapshot!(format!("report_{width}"), lines.join("\n"));
    }
    assert_eq!(render(PIPE, &all(), &TimeZone::UTC).len(), 1 + all().len());
    assert_eq!(render(PIPE, &[], &TimeZone::UTC), ["Nothing has been deployed yet."]);
}

#[test]
fn one_deployment_is_shown_in_detail() {
    let good = render(page(80), &[deployed("1.1.0", DeploymentOutcome::Good, 5)], &TimeZone::UTC);
    let bad = render(page(80), &[held()], &TimeZone::UTC);
    let now = render(page(80), &all()[6..], &TimeZone::UTC);
    assert_snapshot!("report_detail", [good, bad, now].map(|lines| lines.join("\n")).join("\n\n"));
}

#[test]
fn a_report_reads_back_as_it_was_written() {
    let json = serde_json::to_string_pretty(&held()).expect("a report is JSON");
    assert_eq!(serde_json::from_str::<DeploymentReport>(&json).expect("it reads back"), held());
    assert_snapshot!("report_json", json);
}

#[test]
fn who_is_not_reached_is_said_in_status() {
    let mut report = every_state();
    report.unreached = vec![Unreached { name: "team".to_owned(), why: "HTTP 404".to_owned() }];
    let lines = quaymaster::cli::view::status::render(PIPE, &report, 8);
    assert!(lines.contains(&"! team is not told what happens: HTTP 404".to_owned()), "{lines:?}");
}
