//! What people see, on pages of several widths.

use insta::assert_snapshot;
use jiff::tz::TimeZone;
use quaymaster::{
    cli::{
        args::Output,
        changes::{Action, Changes, FieldChange, ServiceChange},
        client::ClientError,
        error::CommandError,
        report,
        view::{self, Page, Palette},
    },
    controller::StatusReport,
    domain::{
        Commit, GitStanding, Slot,
        memory::{Event, EventKind},
        snapshot::{FlipMechanism, NameMechanism},
    },
    plan::ServiceState,
};

use super::reports::{every_state, image, release, service};

const PIPE: Page = Page { width: None, palette: Palette::Plain };

fn page(width: usize) -> Page {
    Page { width: Some(width), palette: Palette::Plain }
}

#[test]
fn the_status_table_fits_its_page() {
    for width in [60, 80, 120] {
        let lines = view::status::render(page(width), &every_state(), 8);
        for line in &lines {
            assert!(console::measure_text_width(line) <= width, "{width} columns: {line}");
        }
        assert_snapshot!(format!("status_{width}"), lines.join("\n"));
    }
}

#[test]
fn a_pipe_gets_one_line_a_service() {
    let lines = view::status::render(PIPE, &every_state(), 8);
    for service in &every_state().services {
        let rows = lines.iter().filter(|line| line.starts_with(service.name.as_str()));
        assert_eq!(rows.count(), 1, "{}", service.name);
    }
    assert_snapshot!("status_pipe", lines.join("\n"));
}

#[test]
fn what_cannot_be_seen_is_said_first() {
    let mut report = every_state();
    report.services.truncate(1);
    report.docker.known = false;
    report.docker.why = Some("connection refused".to_owned());
    report.proxy.part.known = false;
    report.proxy.part.why = Some("connection refused at 127.0.0.1:2019".to_owned());
    report.proxy.version = None;
    report.file.valid = false;
    report.file.problem =
        Some("quaymaster.yaml:3:9: error: `prot` is not a key\n  mend".to_owned());
    report.orphans = vec!["old".parse().expect("a name")];
    assert_snapshot!("status_trouble", view::status::render(page(80), &report, 8).join("\n"));
}

#[test]
fn how_traffic_moves_is_said_with_its_reason() {
    let mut report = every_state();
    report.services.clear();
    let why = "Caddy does not see /var/lib/quaymaster/switch/shop".to_owned();
    let ways = [
        None,
        Some(FlipMechanism::SwitchFile),
        Some(FlipMechanism::AdminApi { why: why.clone() }),
        Some(FlipMechanism::Blocked { why }),
    ];
    let shown = ways.map(|flip| {
        report.proxy.flip = flip;
        let json = serde_json::to_string(&report.proxy).expect("a report is JSON");
        format!("{}\n{json}", view::status::render(page(80), &report, 8).join("\n"))
    });
    assert_snapshot!("status_flip", shown.join("\n\n"));
}

#[test]
fn who_answers_to_names_is_said_with_its_reason() {
    let docker = |why: &str| Some(NameMechanism::Docker { why: why.to_owned() });
    let mut report = every_state();
    report.services.truncate(2);
    let no_other = docker("it has other ports (9090), and a name leads to one place");
    let shown = [
        (Some(NameMechanism::Caddy), Some(NameMechanism::Caddy)),
        (Some(NameMechanism::Caddy), no_other),
        (docker("Caddy is elsewhere"), docker("Caddy is elsewhere")),
    ]
    .map(|(all, first)| {
        report.proxy.names = all;
        report.services[0].name_answered = first;
        let lines = view::status::render(page(80), &report, 8);
        lines.into_iter().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    });
    report.services[0].hosts.clear();
    report.proxy.untold = [report.services[1].name.clone()].into();
    let inside_only = view::status::render(page(80), &report, 8)[3..5].join("\n");
    assert_snapshot!("status_names", [&shown[..], &[inside_only]].concat().join("\n\n"));
}

#[test]
fn plain_text_has_no_colour_and_colours_say_no_more_than_it() {
    let report = every_state();
    let plain = view::status::render(page(100), &report, 8).join("\n");
    let coloured = Page { width: Some(100), palette: Palette::Colours };
    let coloured = view::status::render(coloured, &report, 8).join("\n");
    assert!(!plain.contains('\u{1b}'));
    assert!(coloured.contains('\u{1b}'));
    assert_eq!(console::strip_ansi_codes(&coloured), plain);
}

#[test]
fn a_countdown_alone_is_no_change() {
    let before = every_state();
    let mut after = before.clone();
    after.services[0].waiting_on = vec!["blue warm for rollback, 9m40s left".to_owned()];
    assert_eq!(view::progress::changes(PIPE, Some(&before), &after), Vec::<String>::new());
    after.services[1].active_slot = Some(Slot::Green);
    after.services[1].state = ServiceState::Settled;
    after.services.pop();
    assert_snapshot!(
        "progress",
        [
            view::progress::changes(PIPE, None, &before),
            view::progress::changes(PIPE, Some(&before), &after)
        ]
        .concat()
        .join("\n")
    );
}

#[test]
fn history_reads_oldest_first_with_its_reason() {
    let event = |at_unix_ms, kind, text: &str| Event {
        at_unix_ms,
        service: "worker".parse().expect("a name"),
        kind,
        slot: Some(Slot::Green),
        release: Some(release("0badc0de0bad")),
        image: Some(image("worker:2")),
        commit: None,
        text: text.to_owned(),
    };
    let events = [
        event(1_795_258_800_000, EventKind::Started, "worker:2"),
        event(1_795_258_812_345, EventKind::Held, "shop-worker-green-1 exited with code 1"),
    ];
    let lines = view::history::render(page(80), &events, &TimeZone::UTC);
    assert_snapshot!("history", lines.join("\n"));
    assert_eq!(view::history::render(PIPE, &[], &TimeZone::UTC), ["Nothing has happened yet."]);
}

#[test]
fn a_plan_reads_as_a_diff() {
    let field = |field: &str, from: Option<&str>, to: Option<&str>| FieldChange {
        field: field.to_owned(),
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
    };
    let change = |name: &str, action, why: &str, fields, way: &[&str]| ServiceChange {
        name: name.parse().expect("a name"),
        action,
        why: why.to_owned(),
        fields,
        way: way.iter().map(|&text| text.to_owned()).collect(),
    };
    let changes = Changes {
        stack: "shop".parse().expect("a name"),
        something_to_do: true,
        unseen: vec![],
        services: vec![
            change("gateway", Action::Keep, "runs as declared", vec![], &[]),
            change(
                "old",
                Action::Remove,
                "the file no longer declares it",
                vec![],
                &["drain", "stop and remove 1 replica"],
            ),
            change(
                "orchestrator",
                Action::Change,
                "rolling out; serving orchestrator:1",
                vec![
                    field("image", Some("orchestrator:1"), Some("orchestrator:2")),
                    field("environment.TOKEN", Some("(hidden)"), Some("(hidden)")),
                    field("user", Some("1000"), None),
                ],
                &[
                    "pull orchestrator:2",
                    "start 2 replicas in green",
                    "probe until ready",
                    "flip blue → green",
                    "drain the old ones for at most 30s",
                    "keep blue warm for 12m",
                ],
            ),
            change(
                "worker",
                Action::Create,
                "first deployment",
                vec![field("image", None, Some("worker:1"))],
                &["start 1 replica in blue"],
            ),
        ],
        on_other_hosts: vec!["edge".parse().expect("a name")],
        first_steps: vec![
            "pull orchestrator:2".to_owned(),
            "create network shop_default".to_owned(),
        ],
    };
    assert_snapshot!("plan", view::changes::render(page(80), &changes).join("\n"));
    let nothing = Changes {
        something_to_do: false,
        services: changes.services[..1].to_vec(),
        first_steps: vec![],
        ..changes
    };
    assert_snapshot!("plan_nothing", view::changes::render(page(80), &nothing).join("\n"));
}

#[test]
fn an_error_says_what_failed_and_what_to_type_next() {
    let errors = [
        CommandError::Client(ClientError::NoController("/run/quaymaster/quaymaster.sock".into())),
        CommandError::Client(ClientError::Refused {
            error: "`shop` is not held: there is nothing to try again".to_owned(),
            hint: Some("`quaymaster status` shows what it waits on".to_owned()),
        }),
        CommandError::Unreadable {
            path: "quaymaster.yaml".into(),
            source: std::io::ErrorKind::NotFound.into(),
        },
        CommandError::NoSuchService {
            service: "shpo".parse().expect("a name"),
            known: vec!["shop".parse().expect("a name"), "worker".parse().expect("a name")],
        },
        CommandError::SlotIsAuto {
            service: "shop".parse().expect("a name"),
            active: Some(Slot::Green),
        },
    ];
    let texts = errors.iter().map(|error| report::render(PIPE, Output::People, error));
    assert_snapshot!("errors", texts.collect::<Vec<String>>().join("\n\n"));
    assert_snapshot!("error_json", report::render(PIPE, Output::Json, &errors[3]));
}

#[test]
fn a_service_without_a_reason_to_wait_says_nothing() {
    assert_eq!(view::status::what_next(&service("a", "a:1")), "");
}

fn from_git() -> StatusReport {
    let commit: Commit = "0123456789abcdef0123456789abcdef01234567".parse().expect("a commit");
    let mut report = every_state();
    report.commit = Some(commit.clone());
    report.file.git = Some(GitStanding {
        refused: None,
        url: "https://git.example.com/shop/state.git".to_owned(),
        branch: "main".to_owned(),
        path: "stacks/prod.yaml".to_owned(),
        commit,
        earlier: Vec::new(),
        subject: "shop: \u{1b}[31mv2".to_owned(),
        committed_at_unix_ms: report.at_unix_ms - 130_000,
        fetched_at_unix_ms: None,
        trouble: None,
    });
    report
}

#[test]
fn a_commit_stands_where_the_file_would() {
    let mut report = from_git();
    let lines = view::status::render(PIPE, &report, 8);
    let line = "git: https://git.example.com/shop/state.git main @ 0123456 \"shop: v2\" 2 min ago \
                · stacks/prod.yaml · Caddy 2.11.7 · flips by switch file";
    assert_eq!(lines[1], line);
    let before = report.clone();
    let git = report.file.git.as_mut().expect("it is in Git");
    git.trouble = Some("main was rewritten".to_owned());
    report.file.valid = false;
    let lines = view::status::render(PIPE, &report, 8).join("\n");
    assert!(lines.contains("✗ The branch is not followed: main was rewritten"), "{lines}");
    assert!(lines.contains("not valid. What 0123456 said stays in force."), "{lines}");
    let changes = view::progress::changes(PIPE, Some(&before), &report);
    assert!(changes.contains(&"the branch is not followed: main was rewritten".to_owned()));
    assert!(
        view::progress::changes(PIPE, Some(&every_state()), &before)
            .contains(&"commit 0123456 is in force".to_owned())
    );
}

#[test]
fn a_commit_is_as_old_as_people_say() {
    let aged = |seconds: i64| {
        let mut report = from_git();
        let now = report.at_unix_ms;
        report.file.git.as_mut().expect("it is in Git").committed_at_unix_ms = now - seconds * 1000;
        let line = view::status::render(PIPE, &report, 8).remove(1);
        let age = line.split("v2\" ").nth(1).and_then(|rest| rest.split(" ·").next());
        age.expect("an age").to_owned()
    };
    let ages = [-5, 59, 60, 7_200, 86_400, 400_000].map(aged);
    assert_eq!(ages, ["just now", "just now", "1 min ago", "2 h ago", "1 day ago", "4 days ago"]);
}
