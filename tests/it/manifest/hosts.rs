//! One file for several hosts: `hosts:` of a service.

use quaymaster::domain::{
    HostIdentity, Stack,
    manifest::{AllowDeleteAll, Report},
};

use super::{CANARY, accepted, file_is_refused, lines_are_refused, read_on, refused, stack_with};

/// Returns what a host of this name and these labels makes of a file.
fn read_as(name: &str, labels: &[&str], text: &str) -> Result<Stack, Report> {
    let labels = labels.iter().map(|label| {
        let (key, value) = label.split_once('=').expect("a label");
        (key.to_owned(), value.to_owned())
    });
    read_on(&HostIdentity::new(name, labels), text.as_bytes(), AllowDeleteAll::No)
}

/// Returns the services that run on a host.
fn services_on(name: &str, labels: &[&str], text: &str) -> Vec<String> {
    let stack = read_as(name, labels, text).unwrap_or_else(|report| panic!("{report}"));
    stack.services.keys().map(ToString::to_string).collect()
}

const FLEET: &str = "name: shop
services:
  everywhere: { image: a }
  one: { image: a, hosts: edge-1 }
  some: { image: a, hosts: [edge-1, edge-2.example.com, \"role=worker\"] }
  workers: { image: a, hosts: role=worker }
  both: { image: a, hosts: { role: worker, zone: a } }
";

#[test]
fn a_service_runs_where_a_name_or_a_label_fits() {
    assert_eq!(services_on("edge-1", &[], FLEET), ["everywhere", "one", "some"]);
    assert_eq!(services_on("EDGE-1", &[], FLEET), ["everywhere", "one", "some"]);
    assert_eq!(services_on("edge-2.example.com", &[], FLEET), ["everywhere", "some"]);
    assert_eq!(services_on("edge-2", &[], FLEET), ["everywhere"]);
    let worker = ["everywhere", "some", "workers"];
    assert_eq!(services_on("w", &["role=worker"], FLEET), worker);
    assert_eq!(services_on("w", &["role=worker", "zone=b"], FLEET), worker);
    let all = ["both", "everywhere", "some", "workers"];
    assert_eq!(services_on("w", &["role=worker", "zone=a"], FLEET), all);
}

#[test]
fn what_other_hosts_run_is_known_and_checked() {
    let stack = read_as("edge-1", &[], FLEET).unwrap_or_else(|report| panic!("{report}"));
    let others: Vec<_> = stack.on_other_hosts.iter().map(ToString::to_string).collect();
    assert_eq!(others, ["both", "workers"]);
    let bad =
        "name: shop\nservices:\n  a: { image: a }\n  b: { image: b, hosts: other, prot: 1 }\n";
    file_is_refused(bad, (4, 32), "unknown key `prot`", "");
    assert!(accepted("name: shop\nservices: { a: { image: a } }\n").on_other_hosts.is_empty());
}

#[test]
fn a_file_without_a_service_for_this_host_removes_nothing() {
    let text = "name: shop\nservices:\n  a: { image: a, hosts: [edge-1] }\n  b: { image: b, hosts: { role: db } }\n";
    let report = read_as("edge-9", &["zone=a"], text).expect_err("nothing would be left");
    let [problem] = report.problems() else { panic!("not one problem: {report}") };
    assert_eq!((problem.line, problem.column), (3, 18));
    let message = "no service of the file is for this host (edge-9, zone=a)";
    assert_eq!(problem.message, message);
    assert!(problem.help.contains("--host-name"), "{problem:?}");
    let nobody = HostIdentity::default();
    let stack = read_on(&nobody, text.as_bytes(), AllowDeleteAll::Yes).expect("it is allowed");
    assert_eq!((stack.services.len(), stack.on_other_hosts.len()), (0, 2));
}

#[test]
fn a_host_is_a_name_or_a_label() {
    for (hosts, column, message) in [
        ("[\"a b\"]", 9, "not a host's name"),
        ("[Edge]", 9, "not a host's name"),
        ("[\"-a\"]", 9, "not a host's name"),
        ("\"\"", 8, "not a host's name"),
        ("[\"=a\"]", 9, "neither side is empty"),
        ("[\"a=\"]", 9, "neither side is empty"),
        ("\"role=a b\"", 8, "letters, digits"),
        ("{ role: \"a b\" }", 16, "letters, digits"),
        ("{ \"a b\": c }", 17, "letters, digits"),
        ("{ role: [a] }", 16, "expected a label's value"),
    ] {
        lines_are_refused(&format!("hosts: {hosts}"), (1, column), message, "");
    }
    for empty in ["[]", "{}"] {
        let lines = format!("hosts: {empty}");
        lines_are_refused(&lines, (1, 1), "no host would run", "every host");
    }
    file_is_refused(
        "hosts: [a]\nname: shop\nservices: { w: { image: a } }\n",
        (1, 1),
        "`hosts` is not supported",
        "in each service",
    );
}

#[test]
fn a_dependency_runs_wherever_it_is_needed() {
    let two = |web: &str, db: &str| {
        format!(
            "name: shop\nservices:\n  web: {{ image: a, depends_on: [db]{web} }}\n  db: {{ image: b{db} }}\n  other: {{ image: c }}\n"
        )
    };
    for (web, db) in [
        ("", ""),
        (", hosts: a", ""),
        (", hosts: a", ", hosts: [a]"),
        (", hosts: a", ", hosts: [b, a]"),
        (", hosts: { x: y }", ", hosts: x=y"),
    ] {
        accepted(&two(web, db));
    }
    for (web, db) in
        [("", ", hosts: a"), (", hosts: a", ", hosts: b"), (", hosts: [a, b]", ", hosts: a")]
    {
        file_is_refused(
            &two(web, db),
            (3, 33),
            "`db` does not run on every host that `web` runs on",
            "give `db` the same `hosts:`",
        );
    }
}

#[test]
fn two_hosts_may_have_the_same_requests() {
    let two = |first: &str, second: &str| {
        format!(
            "name: shop\nproxy: {{ caddy: {{}} }}\nservices:\n  a: {{ image: a, hosts: {first}, route: {{ host: x.example, port: 1 }} }}\n  b: {{ image: b, hosts: {second}, route: {{ host: x.example, port: 1 }} }}\n  c: {{ image: c }}\n"
        )
    };
    accepted(&two("edge-1", "[edge-2, edge-3]"));
    for (first, second) in
        [("edge-1", "[edge-2, edge-1]"), ("edge-1", "role=b"), ("role=a", "role=b")]
    {
        let report = refused(&two(first, second));
        let [problem] = report.problems() else { panic!("not one problem: {report}") };
        assert!(problem.message.contains("is the service `a`'s already"), "{problem:?}");
    }
}

#[test]
fn a_group_is_on_the_same_hosts() {
    let two = |first: &str, second: &str| {
        format!(
            "name: shop\nservices:\n  a: {{ image: a, rollout_group: g, hosts: {first}, rollout: &one {{ strategy: blue-green }} }}\n  b: {{ image: b, rollout_group: g, hosts: {second}, rollout: *one }}\n  c: {{ image: c }}\n"
        )
    };
    accepted(&two("[x, y]", "[y, x]"));
    file_is_refused(&two("x", "y"), (4, 33), "`a` of the same group", "the same hosts");
}

#[test]
fn no_refusal_of_a_host_shows_a_variable() {
    for lines in ["hosts: \"$TOKEN \"", "hosts: [\"a=$TOKEN \"]", "hosts: { a: \"$TOKEN \" }"] {
        let report = refused(&stack_with(lines));
        assert!(!report.to_string().contains(CANARY), "{report}");
    }
}
