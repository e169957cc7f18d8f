//! Gates, groups and who promotes: what the file says of them and what it may not.

use std::time::Duration;

use quaymaster::domain::{
    Gate, GateCheck,
    gate::{HttpCheck, HttpTarget, JobSpec, JsonCheck},
};

use super::{CANARY, accepted, file_is_refused, lines_are_refused, refused, stack_with, web};

const ROUTE: &str = "route: { host: a.example, port: 8001 }\n";

/// Returns the gates before and after the promotion of a service with a route.
fn gates(rollout: &str) -> (Vec<Gate>, Vec<Gate>) {
    let rollout = web(&format!("{ROUTE}rollout: {rollout}")).rollout;
    (rollout.pre_promotion, rollout.post_promotion)
}

/// Returns the only gate before promotion.
fn gate(written: &str) -> Gate {
    let (pre, post) = gates(&format!("{{ pre_promotion: [{written}] }}"));
    assert!(post.is_empty());
    <[Gate; 1]>::try_from(pre).expect("one gate")[0].clone()
}

fn job(written: &str) -> JobSpec {
    gate(written).job().expect("a job").clone()
}

fn http(written: &str) -> HttpCheck {
    match gate(written).check {
        GateCheck::Http(check) => check,
        other => panic!("not http: {other:?}"),
    }
}

/// The place, within the lines, of column `column` of a gate in the list.
const fn at(column: usize) -> (usize, usize) {
    (1, "rollout: { pre_promotion: [".len() + column)
}

#[track_caller]
fn gate_is_refused(written: &str, column: usize, message: &str, help: &str) {
    let lines = format!("rollout: {{ pre_promotion: [{written}] }}\n{ROUTE}");
    lines_are_refused(&lines, at(column), message, help);
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn designs_own_gates_are_read() {
    let (pre, post) = gates(
        "
  pre_promotion:
    - job: { command: [\"./migrate\"], timeout: 5m }
    - prometheus: { url: \"http://127.0.0.1:9090\", query: \"up{job='x'}\", condition: \">= 1\" }
  post_promotion:
    - http: { url: \"https://cloud.langfuse.com/api/public/health\", status: 200 }",
    );
    let shown: Vec<String> = pre.iter().chain(&post).map(Gate::to_string).collect();
    assert_eq!(
        shown,
        [
            "job ./migrate",
            "prometheus up{job='x'} >= 1",
            "http https://cloud.langfuse.com/api/public/health",
        ]
    );
    assert_eq!(pre[0].timeout, seconds(300));
}

#[test]
fn patience_has_defaults() {
    let patience = |written: &str| {
        let gate = gate(written);
        (gate.interval, gate.timeout, gate.failure_limit)
    };
    assert_eq!(gate("job: { command: a }").timeout, seconds(600));
    assert_eq!(patience("exec: a"), (seconds(10), seconds(30), 0));
    assert_eq!(patience("http: { path: / }"), (seconds(10), seconds(10), 0));
    let prometheus = "url: \"http://p\", query: up, condition: \"> 0\"";
    assert_eq!(patience(&format!("prometheus: {{ {prometheus} }}")), (seconds(10), seconds(10), 0));
    let all = "timeout: 1s, interval: 100ms, failure_limit: 3";
    let written = (Duration::from_millis(100), seconds(1), 3);
    assert_eq!(patience(&format!("exec: {{ command: a, {all} }}")), written);
    assert_eq!(patience(&format!("http: {{ path: /, {all} }}")), written);
    assert_eq!(patience(&format!("prometheus: {{ {prometheus}, {all} }}")), written);
}

#[test]
fn a_job_is_like_a_replica_and_says_what_differs() {
    let full = job("job: { command: ./migrate up, image: shop/tools:1, environment: [A=$TAG] }");
    assert_eq!(full.command, Some(vec!["./migrate".to_owned(), "up".to_owned()]));
    assert_eq!(full.image.map(|image| image.as_str().to_owned()).as_deref(), Some("shop/tools:1"));
    assert_eq!(full.environment["A"].reveal(), "1.4.2");
    let other_image = job("job: { image: shop/tools:1 }");
    assert_eq!((other_image.command, other_image.environment.len()), (None, 0));
}

#[test]
fn a_command_is_written_as_a_probe_writes_it() {
    for written in ["[./check, -q]", "./check -q", "{ command: ./check -q }"] {
        let command = vec!["./check".to_owned(), "-q".to_owned()];
        assert_eq!(gate(&format!("exec: {written}")).check, GateCheck::Exec { command });
    }
}

#[test]
fn http_asks_a_url_or_the_replica() {
    let check = http(
        "http: { url: \"https://$TAG.example/x?y\", headers: { Authorization: \"Basic ${TOKEN}\" }, status: 302, json: { pointer: /a/0, condition: \">= 1\" } }",
    );
    let HttpTarget::Url(url) = &check.target else { panic!("not a URL") };
    assert_eq!(url.reveal(), "https://1.4.2.example/x?y");
    assert_eq!(check.headers["Authorization"].reveal(), format!("Basic {CANARY}"));
    assert_eq!(check.status, Some(302));
    let condition = Some(">= 1".parse().unwrap());
    assert_eq!(check.json, Some(JsonCheck { pointer: "/a/0".to_owned(), condition }));

    let replica = |path: &str, port| HttpTarget::Replica { path: path.to_owned(), port };
    assert_eq!(http("http: { path: /smoke }").target, replica("/smoke", 8001));
    assert_eq!(http("http: { path: /a?b, port: 9 }").target, replica("/a?b", 9));
    for (json, pointer) in [("/a", "/a"), ("\"\"", ""), ("{ pointer: /a~1b }", "/a~1b")] {
        let check = http(&format!("http: {{ path: /, json: {json} }}"));
        assert_eq!(check.json, Some(JsonCheck { pointer: pointer.to_owned(), condition: None }));
    }
}

#[test]
fn a_gate_checks_one_known_thing() {
    gate_is_refused("{}", 1, "this gate checks nothing", "`job`, `exec`, `http`");
    gate_is_refused("htpp: { path: / }", 1, "unknown key `htpp`", "did you mean `http`?");
    gate_is_refused("{ job: { command: a }, exec: a }", 24, "one thing", "item of its own");
    gate_is_refused("{ exec: a, timeout: 1s }", 12, "`timeout` is not", "inside the gate");
    gate_is_refused("tcp: { port: 1 }", 1, "`tcp` is not supported", "its probe has passed");
    gate_is_refused("./migrate", 1, "expected a map with `job`", "");
    let not_a_list = format!("rollout: {{ pre_promotion: {{ exec: a }} }}\n{ROUTE}");
    lines_are_refused(&not_a_list, (1, 27), "expected a list of gates", "");
}

#[test]
fn a_job_never_starts_the_service_itself() {
    for written in [
        "job:",
        "job: {}",
        "job: { command: [] }",
        "job: { environment: { A: b } }",
        "job: { image: shop/web:1 }",
    ] {
        gate_is_refused(written, 1, "would start the service itself", "name a `command:`");
    }
    gate_is_refused("job: { command: a, interval: 1s }", 20, "`interval` is not", "runs once");
    gate_is_refused("job: { command: a, failure_limit: 1 }", 20, "`failure_limit`", "runs once");
    gate_is_refused("job: { command: a, timeout: 0s }", 29, "zero", "");
    gate_is_refused("job: { image: Bad }", 15, "is not a repository", "");
    gate_is_refused("job: { comand: a }", 8, "unknown key `comand`", "did you mean `command`?");
}

#[test]
fn a_command_has_words() {
    for written in ["exec:", "exec: []", "exec: {}"] {
        let column = if written == "exec:" { 5 } else { 7 };
        gate_is_refused(written, column, "no command", "write `exec:");
    }
    gate_is_refused("exec: { command: a, retries: 1 }", 21, "unknown key `retries`", "known here");
}

#[test]
fn patience_is_bounded() {
    let exec = |more: &str| format!("exec: {{ command: a, {more} }}");
    gate_is_refused(&exec("interval: 0s"), 31, "zero", "");
    gate_is_refused(&exec("interval: 99ms"), 31, "all the time", "100ms");
    gate_is_refused(&exec("timeout: 0s"), 30, "zero", "");
    gate_is_refused(&exec("failure_limit: -1"), 36, "whole number", "");
}

#[test]
fn a_url_is_http_and_has_a_host() {
    for (url, reason, help) in [
        ("ftp://a/", "does not begin with `http://`", "https://example.com/health"),
        ("a.example/x", "does not begin with `http://`", "https://example.com/health"),
        ("file:///etc/passwd", "it is a file", "exec:"),
        ("http://a b/", "a space", "`%`"),
        ("http://", "", "a host"),
        ("http://a:x/", "invalid port", "a host"),
    ] {
        // The key is shown as being at fault, since the value may be secret.
        gate_is_refused(&format!("http: {{ url: \"{url}\" }}"), 9, reason, help);
    }
    gate_is_refused("http: { url: \"http://a\", path: / }", 26, "one address", "keep `url:`");
    gate_is_refused("http: { url: \"http://a\", port: 80 }", 26, "its own port", "into the URL");
    gate_is_refused("http: { status: 200 }", 1, "no address to ask", "`path: /…`");
    gate_is_refused("http: { path: smoke }", 15, "is not a path", "begins with `/`");
    gate_is_refused("http: { path: /, method: POST }", 18, "`method` is not", "GET");
    gate_is_refused("http: { path: /, status: 99 }", 26, "whole number", "100 to 599");
    let header = "http: { path: /, headers: { \"a b\": c } }";
    gate_is_refused(header, 29, "not an HTTP header", "letters");
}

#[test]
fn what_is_looked_for_in_json_is_a_pointer_and_a_condition() {
    let json = |json: &str| format!("http: {{ path: /, json: {json} }}");
    for pointer in ["a/b", "\"$.a\"", "/a~2", "/a~"] {
        let written = json(&pointer.replace('$', "$$"));
        gate_is_refused(&written, 24, "is not a JSON pointer", "`/a/b`");
    }
    gate_is_refused(&json("{ condition: \"> 1\" }"), 18, "names no value", "pointer: /a/b");
    gate_is_refused(&json("{ pointer: /a, condition: \"1\" }"), 50, "begins with", "in quotes");
    gate_is_refused(&json("{ pointer: /a, condition: \"> ok\" }"), 50, "not a number", "");
    gate_is_refused(&json("{ pointr: /a }"), 26, "unknown key `pointr`", "`pointer`?");
}

#[test]
fn prometheus_is_asked_for_numbers() {
    let with = |written: &str| format!("prometheus: {{ {written} }}");
    let url = "url: \"http://p:9090/prometheus\"";
    gate_is_refused("prometheus: {}", 1, "no `url`, no `query`, no `condition`", "write a map");
    gate_is_refused(&with(&format!("{url}, query: up")), 1, "no `condition`", "\">= 1\"");
    gate_is_refused(
        &with(&format!("{url}, query: up, condition: \"== ok\"")),
        70,
        "answers with numbers",
        "\">= 1\"",
    );
    gate_is_refused(&with(&format!("{url}, query: \" \", condition: \"> 1\"")), 55, "empty", "up{");
    let with_query = "url: \"http://p/?a\", query: up, condition: \"> 1\"";
    gate_is_refused(&with(with_query), 15, "a `?` or a `#`", "address alone");
}

#[test]
fn a_condition_without_its_quotes_is_no_yaml_and_says_so() {
    for condition in [">= 1", "> 1", "!= 1"] {
        let in_flow = format!(
            "rollout: {{ pre_promotion: [prometheus: {{ url: \"http://p\", query: up, condition: {condition} }}] }}"
        );
        let in_block = format!(
            "rollout:\n  pre_promotion:\n  - prometheus:\n      url: http://u:Canary-5f1e@p\n      query: up\n      condition: {condition}"
        );
        for lines in [in_flow, in_block] {
            let report = refused(&stack_with(&lines));
            let [problem] = report.problems() else { panic!("not one problem: {report}") };
            assert!(problem.help.contains("in quotes"), "{lines}\n{report}");
            assert!(!report.to_string().contains(CANARY), "{report}");
        }
        let shown = refused(&stack_with(&format!(
            "rollout:\n  pre_promotion:\n  - prometheus:\n      url: http://p\n      condition: {condition}"
        )));
        assert!(shown.to_string().contains(&format!("condition: {condition}")), "{shown}");
    }
}

#[test]
fn a_gate_stands_once_in_a_phase() {
    let (pre, post) = gates("{ pre_promotion: [exec: a, exec: b], post_promotion: [exec: a] }");
    assert_eq!((pre.len(), post.len()), (2, 1));
    gate_is_refused("exec: a, exec: { command: [a], timeout: 1s }", 10, "a second time", "line 7");
    // The route's port, once meant and once written.
    let both = "http: { path: / }, http: { path: /, port: 8001 }";
    gate_is_refused(both, 20, "a second time", "line 7");
    let many: Vec<String> = (0..21).map(|n| format!("exec: c{n}")).collect();
    let problem = super::problem(&stack_with(&format!(
        "rollout: {{ pre_promotion: [{}] }}",
        many.join(", ")
    )));
    assert!(problem.message.contains("at most 20 gates"), "{problem:?}");
    let (pre, _) = gates(&format!("{{ pre_promotion: [{}] }}", many[..20].join(", ")));
    assert_eq!(pre.len(), 20);
}

#[test]
fn a_path_needs_a_port() {
    lines_are_refused(
        "rollout: { post_promotion: [http: { path: / }] }",
        (1, 29),
        "no port, and `web` no route",
        "add `port:`",
    );
    let pre = web("rollout: { pre_promotion: [http: { path: /, port: 1 }] }").rollout.pre_promotion;
    assert_eq!(pre.len(), 1);
}

#[test]
fn what_runs_once_has_no_gates_and_no_group() {
    let once = |lines: &str| format!("restart: \"no\"\n{lines}");
    let gates = once("rollout: { post_promotion: [exec: a], bake: 1s }");
    lines_are_refused(&gates, (2, 12), "its exit code says all", "restart");
    web(&once("rollout: { pre_promotion: [] }"));
    let stack = |kind: &str| {
        format!(
            "name: shop\nservices:\n  a: {{ image: a, rollout_group: g{kind} }}\n  b: {{ image: b, rollout_group: g, rollout: {{ strategy: blue-green }} }}\n"
        )
    };
    let once = stack(", restart: \"no\"");
    file_is_refused(&once, (3, 33), "nothing is promoted", "remove it");
    accepted(&stack(", rollout: { strategy: blue-green }"));
}

#[test]
fn a_services_own_gates_replace_those_of_all() {
    let stack = accepted(
        "name: shop
proxy: { caddy: {} }
defaults: { rollout: { pre_promotion: [http: { path: /smoke }], auto_promote: false } }
services:
  web: { image: a, route: { host: a.example, port: 1 } }
  api: { image: a, route: { host: b.example, port: 2 } }
  own: { image: a, rollout: { pre_promotion: [exec: a], auto_promote: true } }
  none: { image: a, rollout: { pre_promotion: [] } }
  once: { image: a, restart: \"no\" }
",
    );
    let shown = |name: &str| {
        let rollout = &stack.services[&name.parse().unwrap()].rollout;
        let gates: Vec<String> = rollout.pre_promotion.iter().map(Gate::to_string).collect();
        (gates.join(", "), rollout.auto_promote)
    };
    assert_eq!(shown("web"), ("http :1/smoke".to_owned(), false));
    assert_eq!(shown("api"), ("http :2/smoke".to_owned(), false));
    assert_eq!(shown("own"), ("exec a".to_owned(), true));
    assert_eq!(shown("none"), (String::new(), false));
    assert_eq!(shown("once").0, "");
    file_is_refused(
        "name: shop
defaults: { rollout: { pre_promotion: [http: { path: /smoke }] } }
services:
  db: { image: a }
",
        (2, 40),
        "no port, and `db` no route",
        "add `port:`",
    );
}

#[test]
fn somebody_may_have_to_say_when() {
    assert!(web("").rollout.auto_promote);
    assert!(!web("rollout: { auto_promote: false }").rollout.auto_promote);
    lines_are_refused("rollout: { auto_promote: no }", (1, 26), "neither `true`", "");
}

#[test]
fn nobody_is_alone_in_a_group() {
    let stack = accepted(
        "name: shop\nservices:\n  a: { image: a, rollout_group: x-1, rollout: { strategy: blue-green } }\n  b: { image: b, rollout_group: x-1, rollout: { strategy: blue-green } }\n  c: { image: c }\n",
    );
    let group = |name: &str| {
        let group = stack.services[&name.parse().unwrap()].rollout_group.clone();
        group.map(|group| group.to_string())
    };
    assert_eq!(group("a").as_deref(), Some("x-1"));
    assert_eq!(group("c"), None);
    let alone = "rollout_group: all\nrollout: { strategy: blue-green }";
    lines_are_refused(alone, (1, 16), "nobody else is in this group", "others");
    let steps = "rollout_group: all\nrollout: { strategy: rolling }";
    assert!(refused(&stack_with(steps)).to_string().contains("move in one step"));
    lines_are_refused("rollout_group: A", (1, 16), "lower-case", "lower-case");
    lines_are_refused("rollout: { rollout_group: a }", (1, 12), "is not supported", "beside");
    lines_are_refused("pre_promotion: []", (1, 1), "is not supported", "under `rollout:`");
    let report = refused(
        "name: shop\nservices:\n  a: { image: a, rollout_group: shop, rollout: { strategy: blue-green } }\n  b: { image: b, rollout_group: shpo, rollout: { strategy: blue-green } }\n",
    );
    assert_eq!(report.problems().len(), 2);
    assert_eq!(report.problems()[0].help, "did you mean `shpo`?");
}

#[test]
fn no_refusal_of_a_gate_shows_a_secret() {
    for written in [
        "http: { url: \"ftp://u:$TOKEN@a/\" }",
        "http: { url: \"http://u:Canary-5f1e@a b/\" }",
        "http: { url: \"http://u:Canary-5f1e@a/?key=Canary-5f1e\", status: 1 }",
        "http: { url: \"http://u:Canary-5f1e@a/$NONE\" }",
        "prometheus: { url: \"http://u:Canary-5f1e@a/?\", query: up, condition: \"> 1\" }",
        "prometheus: { url: \"http://u:Canary-5f1e@a/\", query: up, condition: \">\" }",
        "http: { path: $TOKEN }",
        "http: { path: /, json: \"$TOKEN\" }",
        "http: { path: /, json: { pointer: /a, condition: \"$TOKEN\" } }",
        "http: { path: /, headers: { A: \"Canary-5f1e\\n\" } }",
        "http: { path: /, headers: { \"a b\": Canary-5f1e } }",
        "exec: { command: a, timeout: $TOKEN }",
        "job: { image: \"$TOKEN\" }",
        "job: { command: a, environment: { A: Canary-5f1e, B: $NONE } }",
    ] {
        let report = refused(&stack_with(&format!("rollout: {{ pre_promotion: [{written}] }}")));
        let json = serde_json::to_string(&report).unwrap();
        assert!(!format!("{report}{json}{report:?}").contains(CANARY), "{written}\n{report}");
    }
}

#[test]
fn what_is_not_said_leaves_no_mark_on_a_declaration() {
    let written = serde_json::to_string(&web(ROUTE)).unwrap();
    for key in [
        "pre_promotion",
        "post_promotion",
        "auto_promote",
        "rollout_group",
        "standby",
        "upstreams",
        "preview",
    ] {
        let as_key = format!("\"{key}\":");
        assert!(!written.contains(&as_key), "a `{key}` would give every service a new fingerprint");
    }
}
