//! `slots:` — a service that runs elsewhere.

use std::collections::BTreeSet;

use quaymaster::domain::{
    Gate, ProbeCheck, Service, ServiceKind, Slot, SlotChoice, Strategy, release::RestartPolicy,
};

use super::{accepted, file_is_refused, refused};

const SLOTS: &str = "slots: { blue: { upstreams: [\"10.0.0.4:8080\", \"10.0.0.5:80\"] }, green: { upstreams: [\"[fd00::4]:81\"] } }";

/// Returns a file with one service of these lines.
fn file(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!("name: shop\nproxy: {{ caddy: {{}} }}\nservices:\n  api:\n{lines}")
}

/// Returns a service of these lines, beside its slots and its route.
fn api(slot: &str, lines: &[&str]) -> Service {
    let all = [&[SLOTS, slot, "route: { host: a.example }"], lines].concat();
    accepted(&file(&all)).services.remove(&"api".parse().unwrap()).expect("it is declared")
}

/// Checks a line that stands below slots, slot and route.
#[track_caller]
fn line_is_refused(line: &str, column: usize, message: &str, help: &str) {
    let text = file(&[SLOTS, "slot: blue", "route: { host: a.example }", line]);
    file_is_refused(&text, (8, column + 4), message, help);
}

#[track_caller]
fn slots_are_refused(slots: &str, column: usize, message: &str, help: &str) {
    let slots = format!("slots: {slots}");
    let text = file(&[&slots, "slot: blue", "route: { host: a.example }"]);
    file_is_refused(&text, (5, column + 4), message, help);
}

#[test]
fn both_slots_are_addresses() {
    let service = api("slot: blue", &[]);
    let addresses = |addresses: &[&str]| -> BTreeSet<_> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    };
    let upstreams = service.upstreams.expect("it runs elsewhere");
    assert_eq!(upstreams[&Slot::Blue], addresses(&["10.0.0.4:8080", "10.0.0.5:80"]));
    assert_eq!(upstreams[&Slot::Green], addresses(&["[fd00::4]:81"]));
    assert_eq!((service.slot, service.replicas), (SlotChoice::Declared(Slot::Blue), 2));
    assert_eq!(service.image.as_str(), "10.0.0.4:8080");
    assert_eq!(service.route.expect("it has one").port, 8080);
    assert_eq!(service.probe.check, ProbeCheck::Tcp { port: 8080 });
    assert_eq!((service.spec.route_port, service.spec.restart), (Some(8080), RestartPolicy::No));
    assert_eq!(service.kind, ServiceKind::LongRunning);
    assert_eq!(service.rollout.strategy, Strategy::BlueGreen);

    let green = api("slot: green", &[]);
    assert_eq!((green.replicas, green.image.as_str()), (1, "fd00-0-0-0-0-0-0-4:81"));
    assert_eq!(green.probe.check, ProbeCheck::Tcp { port: 81 });
}

#[test]
fn it_is_probed_and_gated_from_outside() {
    let service = api(
        "slot: blue",
        &[
            "probe: { http: { path: /health }, interval: 1s }",
            "rollout: { bake: 1m, pre_promotion: [http: { path: /smoke }, http: { url: \"https://a.example\" }] }",
        ],
    );
    let ProbeCheck::Http { path, port, .. } = service.probe.check else { panic!("not http") };
    assert_eq!((path.as_str(), port), ("/health", 8080));
    let gates: Vec<_> = service.rollout.pre_promotion.iter().map(Gate::to_string).collect();
    assert_eq!(gates, ["http :8080/smoke", "http https://a.example"]);
}

#[test]
fn an_address_is_a_number_and_a_port() {
    let blue = |address: &str| {
        format!(
            "{{ blue: {{ upstreams: [\"{address}\"] }}, green: {{ upstreams: [\"10.0.0.9:1\"] }} }}"
        )
    };
    for address in [
        "db:80",
        "10.0.0.4",
        "10.0.0.4:0",
        "10.0.0.4:70000",
        "fd00::4:80",
        "0.0.0.0:80",
        "http://10.0.0.4:80",
        "",
    ] {
        let message = "is not an address and its port";
        slots_are_refused(&blue(address), 30, message, "`[fd00::4]:80`");
    }
}

#[test]
fn each_slot_has_addresses_of_its_own() {
    let green = "green: { upstreams: [\"10.0.0.9:1\"] }";
    slots_are_refused(&format!("{{ {green} }}"), 1, "where blue is", "`blue:` and `green:`");
    slots_are_refused(&format!("{{ blue: {{}}, {green} }}"), 10, "no `upstreams`", "10.0.0.4:80");
    let none = format!("{{ blue: {{ upstreams: [] }}, {green} }}");
    slots_are_refused(&none, 29, "no upstreams", "at least one");
    let both = format!("{{ blue: {{ upstreams: [\"10.0.0.9:1\"] }}, {green} }}");
    slots_are_refused(&both, 68, "`10.0.0.9:1` stands here a second time", "line 5");
    let many: Vec<String> = (1..=17).map(|n| format!("\"10.0.0.1:{n}\"")).collect();
    let report = refused(&file(&[
        &format!("slots: {{ blue: {{ upstreams: [{}] }}, {green} }}", many.join(", ")),
        "slot: blue",
        "route: { host: a.example }",
    ]));
    assert!(report.to_string().contains("at most 16 upstreams"), "{report}");
    let other = format!("{{ blue: {{ upstreams: [\"10.0.0.4:1\"] }}, {green}, red: {{}} }}");
    slots_are_refused(&other, 85, "unknown key `red`", "");
}

#[test]
fn somebody_says_which_slot_is_active() {
    let with = |lines: &[&str]| {
        let lines = [&[SLOTS, "route: { host: a.example }"], lines].concat();
        file(&lines)
    };
    file_is_refused(&with(&[]), (5, 5), "which slot is active", "`slot: blue`");
    file_is_refused(&with(&["slot: auto"]), (7, 11), "nobody can choose", "`slot: blue`");
    file_is_refused(&with(&["slot: gren"]), (7, 11), "unknown slot `gren`", "`green`?");
}

#[test]
fn it_is_called_from_outside() {
    let with = |route: &str| file(&[SLOTS, "slot: blue", route]);
    file_is_refused(&with("x-a: 1"), (5, 5), "has no `route`", "add `route:");
    let inside = with("route: { internal: true }");
    file_is_refused(&inside, (7, 5), "from outside only", "add `route:");
    let port = with("route: { host: a.example, port: 80 }");
    file_is_refused(&port, (7, 31), "each upstream has its own port", "remove it");
}

#[test]
fn nothing_of_it_runs_here() {
    for (line, key) in [
        ("image: a", "image"),
        ("environment: { A: b }", "environment"),
        ("deploy: { replicas: 2 }", "deploy"),
        ("depends_on: [api]", "depends_on"),
        ("standby: { image: a }", "standby"),
        ("restart: \"no\"", "restart"),
        ("volumes: []", "volumes"),
    ] {
        let message = format!("`{key}` is not for a service that runs elsewhere");
        line_is_refused(line, 1, &message, "to run the service here");
    }
    line_is_refused("prob: {}", 1, "unknown key `prob`", "did you mean `probe`?");
    line_is_refused("network_mode: host", 1, "`network_mode` is not supported", "");
    line_is_refused("probe: { exec: [a] }", 10, "nothing of this service runs here", "`tcp:`");
    line_is_refused("probe: docker", 8, "nothing of this service runs here", "`tcp:`");
    line_is_refused("probe: { tcp: { port: 1 } }", 17, "asked at its own port", "remove it");
    line_is_refused(
        "rollout: { strategy: rolling }",
        22,
        "always blue-green",
        "remove `strategy:`",
    );
    for gate in ["exec: a", "job: { image: a }"] {
        let line = format!("rollout: {{ pre_promotion: [{gate}] }}");
        line_is_refused(&line, 28, "nothing of `api` runs here", "write `http:`");
    }
}

#[test]
fn what_a_stack_says_of_all_rollouts_does_not_make_it_roll() {
    let text = file(&[SLOTS, "slot: blue", "route: { host: a.example }"]);
    let with = |defaults: &str| format!("defaults: {{ rollout: {defaults} }}\n{text}");
    let stack = accepted(&with("{ strategy: rolling, bake: 1s }"));
    let rollout = &stack.services[&"api".parse().unwrap()].rollout;
    assert_eq!(rollout.strategy, Strategy::BlueGreen);
    let bad = with("{ pre_promotion: [exec: a] }");
    file_is_refused(&bad, (1, 40), "nothing of `api` runs here", "replaces that of `defaults:`");
}
