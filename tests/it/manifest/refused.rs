//! Trust's list of bad desired state: each line a test, each refusal with the
//! place, the reason and the mend.

use super::{CANARY, accepted, file_is_refused, lines_are_refused, read, refused, stack_with};

#[test]
fn a_duplicate_key_is_refused_with_both_lines() {
    lines_are_refused("user: a\nuser: b", (2, 1), "second time", "line 7");
    file_is_refused(
        "name: shop\nservices:\n  web: { image: a }\n  web: { image: b }\n",
        (4, 3),
        "`web` stands here a second time",
        "line 3",
    );
    lines_are_refused("environment: [A=1, B=2, A=3]", (1, 25), "`A` stands", "line 7");
}

#[test]
fn an_unknown_key_gets_the_nearest_known_one() {
    lines_are_refused("enviroment: {}", (1, 1), "unknown key `enviroment`", "`environment`?");
    lines_are_refused("depends-on: []", (1, 1), "unknown key", "did you mean `depends_on`?");
    lines_are_refused("rollout: { stratgy: rolling }", (1, 12), "`stratgy`", "`strategy`?");
    file_is_refused(
        "nme: shop\nname: shop\nservices: { web: { image: a } }\n",
        (1, 1),
        "unknown key `nme`",
        "did you mean `name`?",
    );
    // Nothing is near: then all that is known is said.
    lines_are_refused("probe: { frequency: 1s }", (1, 10), "`frequency`", "http, tcp, exec");
}

#[test]
fn wrong_types_and_ports_are_refused_at_the_value() {
    lines_are_refused("route: { host: a.example, port: 80a }", (1, 33), "`80a`", "1 to 65535");
    for port in ["0", "70000", "-1", "+80", "8.5", "\"\""] {
        let lines = format!("route: {{ host: a.example, port: {port} }}");
        lines_are_refused(&lines, (1, 33), "is not a port", "1 to 65535");
    }
    lines_are_refused("route: { host: a.example, port: [80] }", (1, 33), "a list", "a port");
    lines_are_refused("route: [a]", (1, 8), "expected a map", "host: shop.example.com");
    lines_are_refused("init: yes", (1, 7), "neither `true` nor `false`", "`true` or `false`");
    lines_are_refused("ports: 80", (1, 8), "expected a list of ports", "a list");
    lines_are_refused("ports: [\"0:80\"]", (1, 9), "`0:80`", "1 to 65535");
    lines_are_refused("ports: [\"70000\"]", (1, 9), "`70000`", "1 to 65535");
    lines_are_refused("ports: [\"1-3:1-2\"]", (1, 9), "differ in length", "8080:80");
    lines_are_refused("ports: [\"1.2.3:80:80\"]", (1, 9), "is not a published port", "127.0.0.1");
    lines_are_refused("deploy: { replicas: two }", (1, 21), "whole number", "0 to 100");
    lines_are_refused("deploy: { replicas: 0 }", (1, 21), "at least one", "remove the service");
    lines_are_refused("services", (1, 1), "not YAML", "");
}

#[test]
fn names_that_could_leave_their_folder_are_refused() {
    let long = "a".repeat(64);
    for name in ["../etc", "Shop", "", "-a", "a b", long.as_str()] {
        let service = format!("name: shop\nservices:\n  \"{name}\": {{ image: a }}\n");
        file_is_refused(&service, (3, 3), "is not a service's name", "rename");
        let stack = format!("name: \"{name}\"\nservices: {{ web: {{ image: a }} }}\n");
        file_is_refused(&stack, (1, 7), "a name", "lower-case");
    }
    file_is_refused(
        "services: { web: { image: a } }\n",
        (1, 1),
        "has no `name`",
        "add `name: shop`",
    );
}

#[test]
fn image_references_are_checked() {
    let digest = format!("a@sha256:{}", "0".repeat(63));
    for image in ["Shop", "a//b", "a:b:c", "host:0/a", "a b", digest.as_str(), "a@md5:1"] {
        let text = format!("name: shop\nservices:\n  web:\n    image: \"{image}\"\n");
        file_is_refused(&text, (4, 12), "is not a", "registry/repository:tag");
    }
    file_is_refused("name: shop\nservices:\n  web: {}\n", (3, 3), "no `image`", "add `image:`");
    file_is_refused("name: shop\nservices:\n  web:\n", (3, 6), "found nothing", "`image:`");
}

#[test]
fn durations_are_bounded() {
    for (duration, reason) in [
        ("0s", "zero"),
        ("-1s", "negative"),
        ("31d", "at most 30 days"),
        ("99999999999999999999h", "span of time"),
        ("5", "needs a unit"),
        ("soon", "not a span of time"),
    ] {
        let lines = format!("rollout: {{ progress_deadline: {duration} }}");
        lines_are_refused(&lines, (1, 31), reason, "");
        let lines = format!("probe: {{ interval: {duration} }}");
        lines_are_refused(&lines, (1, 20), reason, "");
    }
    lines_are_refused(
        "rollout: { min_healthy_time: 10m }",
        (1, 30),
        "no release could get ready",
        "longer",
    );
}

#[test]
fn a_probe_asks_the_replica_and_nothing_else() {
    lines_are_refused(
        "probe: { http: { path: /, port: 80, host: db } }",
        (1, 37),
        "`host` is not supported",
        "the replica itself",
    );
    lines_are_refused("probe: { file: /tmp/ready }", (1, 10), "`file` is not", "exec:");
    lines_are_refused(
        "probe: { http: { path: \"http://db/\", port: 80 } }",
        (1, 24),
        "is not a path",
        "the host is always the replica",
    );
    lines_are_refused("probe: { tcp: {} }", (1, 10), "no port", "add `port:`");
    lines_are_refused("probe: { tcp: { port: 1 }, exec: [a] }", (1, 28), "one thing", "keep one");
    lines_are_refused("probe: { exec: { command: [] } }", (1, 16), "no command", "pg_isready");
    lines_are_refused(
        "probe: { http: { port: 80, headers: { \"a b\": c } } }",
        (1, 39),
        "not an HTTP header",
        "letters",
    );
}

#[test]
fn an_env_file_must_be_there_and_inside() {
    lines_are_refused("env_file: none.env", (1, 11), "no such file", "required: false");
    for path in ["../secret.env", "/etc/passwd", "a/../../b", "."] {
        let lines = format!("env_file: [{path}]");
        lines_are_refused(&lines, (1, 12), "outside the folder", "--env-file");
    }
    lines_are_refused("env_file: broken.env", (1, 11), "line 2: expected `KEY=value`", "");
    lines_are_refused("env_file: binary.env", (1, 11), "not UTF-8", "");
}

#[test]
fn an_undefined_variable_is_an_error_at_its_dollar() {
    lines_are_refused(
        "environment: { HOST: \"http://${LANGFUSE}/x\" }",
        (1, 30),
        "the variable `LANGFUSE` is not set",
        "${LANGFUSE:-…}",
    );
    lines_are_refused(
        "environment: { HOST: \"${NONE:?set it in .env}\" }",
        (1, 23),
        "`NONE` is required: set it in .env",
        "--env-file",
    );
    lines_are_refused("environment: [\"A=${EMPTY:?}\"]", (1, 18), "`EMPTY` is required", "");
    lines_are_refused("command: echo $", (1, 15), "starts no variable", "`$$`");
    lines_are_refused("environment: [NONE]", (1, 15), "`NONE` has no value", "`\"\"`");
    lines_are_refused("environment: { NONE: }", (1, 16), "`NONE` has no value", "`\"\"`");
}

#[test]
fn every_undefined_variable_is_reported_at_once() {
    let report = refused(&stack_with("command: $A ${B} ${A}\nuser: ${C}"));
    let messages: Vec<_> = report.problems().iter().map(|it| &it.message).collect();
    assert_eq!(messages.len(), 4, "{report}");
}

#[test]
fn building_on_the_host_is_refused() {
    lines_are_refused("build: .", (1, 1), "`build` is not supported", "CI");
}

#[test]
fn what_must_not_run_twice_cannot_flip_or_roll() {
    for strategy in ["blue-green", "rolling"] {
        let with = |lines: &str| format!("{lines}\nrollout: {{ strategy: {strategy} }}");
        let help = "strategy: recreate";
        lines_are_refused(&with("ports: [\"80:80\"]"), (2, 22), "fixed port", help);
        lines_are_refused(&with("volumes: [\"data:/d\"]"), (2, 22), "named volume", help);
        super::web(&with("volumes: [\"data:/d:ro\", \"/anonymous\", \"./bind:/b\"]"));
        super::web(&with("ports: [\"80\"]"));
    }
    lines_are_refused(
        "ports: [\"80:80\"]\ndeploy: { replicas: 2 }",
        (1, 9),
        "several replicas",
        "one replica",
    );
}

#[test]
fn a_service_that_runs_once_has_no_route_probe_or_replicas() {
    let once = |lines: &str| format!("restart: \"no\"\n{lines}");
    lines_are_refused(&once("route: { host: a.example, port: 1 }"), (2, 1), "no route", "remove");
    lines_are_refused(&once("probe: { exec: [a] }"), (2, 1), "no probe", "remove");
    lines_are_refused(&once("deploy: { replicas: 2 }"), (2, 21), "one replica", "remove");
    lines_are_refused(&once("rollout: { strategy: rolling }"), (2, 22), "recreated", "remove");
}

#[test]
fn dependencies_are_known_possible_and_free_of_cycles() {
    let stack = |web: &str, db: &str| {
        format!(
            "name: shop\nservices:\n  web: {{ image: a, depends_on: {web} }}\n  database: {{ image: b, {db} }}\n"
        )
    };
    file_is_refused(
        &stack("[databse]", ""),
        (3, 33),
        "no service `databse`",
        "did you mean `database`?",
    );
    file_is_refused(
        &stack("[database]", "depends_on: [web]"),
        (3, 33),
        "database → web → database",
        "remove one",
    );
    file_is_refused(&stack("[web]", ""), (3, 33), "web → web", "remove one");
    file_is_refused(
        &stack("{ database: { condition: service_completed_successfully } }", ""),
        (3, 34),
        "never completes",
        "restart: \"no\"",
    );
    file_is_refused(
        &stack("{ database: { condition: service_healthy } }", "restart: \"no\""),
        (3, 34),
        "never becomes healthy",
        "service_completed_successfully",
    );
    file_is_refused(
        &stack("{ database: { condition: service_ready } }", ""),
        (3, 57),
        "unknown condition `service_ready`",
        "",
    );
}

#[test]
fn a_long_chain_of_dependencies_is_no_cycle_and_no_overflow() {
    let mut text = "name: shop\nservices:\n  s0: { image: a }\n".to_owned();
    for n in 1..3000 {
        text += &format!("  s{n}: {{ image: a, depends_on: [s{}] }}\n", n - 1);
    }
    accepted(&text);
}

#[test]
fn unknown_words_get_the_known_ones() {
    lines_are_refused("slot: gren", (1, 7), "unknown slot `gren`", "did you mean `green`?");
    lines_are_refused("slot: purple", (1, 7), "unknown slot", "`blue`, `green` or `auto`");
    lines_are_refused(
        "rollout: { strategy: bluegreen }",
        (1, 22),
        "unknown strategy `bluegreen`",
        "did you mean `blue-green`?",
    );
    lines_are_refused("rollout: { strategy: canary }", (1, 22), "unknown strategy", "`rolling`");
    lines_are_refused("restart: sometimes", (1, 10), "`sometimes`", "unless-stopped");
    lines_are_refused("ulimits: { nofiles: 1 }", (1, 12), "`nofiles`", "`nofile`?");
}

#[test]
fn keys_of_later_versions_are_refused_and_not_ignored() {
    for lines in ["x-quaymaster: {}", "failover: {}"] {
        lines_are_refused(lines, (1, 1), "not supported yet", "remove it");
    }
    for line in ["x-quaymaster: {}", "failover: {}"] {
        let text = format!("{line}\nname: shop\nservices: {{ web: {{ image: a }} }}\n");
        file_is_refused(&text, (1, 1), "not supported yet", "remove it");
    }
}

#[test]
fn keys_of_compose_that_mean_nothing_here_say_what_to_do_instead() {
    for (line, help) in [
        ("network_mode: host", "networks of the stack"),
        ("privileged: true", "cap_add"),
        ("pid: host", "remove"),
        ("devices: []", "remove"),
        ("profiles: [a]", "file of their own"),
        ("container_name: web", "names carry the slot, release and replica"),
        ("pull_policy: always", "digest"),
        ("links: [db]", "by name"),
        ("configs: []", "bind-mount"),
        ("mem_limit: 1g", "deploy:"),
        ("scale: 2", "replicas"),
    ] {
        lines_are_refused(line, (1, 1), "is not supported", help);
    }
    lines_are_refused("deploy: { mode: global }", (1, 11), "`mode` is not supported", "Swarm");
}

#[test]
fn only_versions_that_compose_had_are_known() {
    for version in ["\"3.8\"", "\"2\"", "3", "'3.9'"] {
        accepted(&format!("version: {version}\nname: a\nservices: {{ w: {{ image: a }} }}\n"));
    }
    for version in ["\"4\"", "\"1\"", "quaymaster/v2", "\"3.x\"", "\"3.\""] {
        let text = format!("version: {version}\nname: a\nservices: {{ w: {{ image: a }} }}\n");
        file_is_refused(&text, (1, 10), "is not a version", "remove `version:`");
    }
    assert!(read("version: [3]\nname: a\nservices: { w: { image: a } }\n").is_err());
}

#[test]
fn volumes_and_networks_are_declared() {
    lines_are_refused("volumes: [\"dta:/d\"]", (1, 11), "no volume for `dta:/d`", "`data`?");
    lines_are_refused("volumes: [\"cache:/d\"]", (1, 11), "no volume", "under `volumes:`");
    lines_are_refused("volumes: [\"~/d:/d\"]", (1, 11), "home", "`./`");
    lines_are_refused("volumes: [\"data:d\"]", (1, 11), "absolute path", "data:/path");
    lines_are_refused("volumes: [\"data:/\"]", (1, 11), "absolute path", "");
    lines_are_refused("volumes: [\"data:/d:z\"]", (1, 11), "option", "`ro` and `rw`");
    lines_are_refused("volumes: [/d, \"./x:/d/\"]", (1, 15), "already", "line 7");
    lines_are_refused("volumes: [{ source: data, target: /d }]", (1, 11), "no `type`", "bind");
    lines_are_refused("networks: [back]", (1, 12), "no network `back`", "`networks: { back:");
    lines_are_refused("networks: [defualt]", (1, 12), "no network", "did you mean `default`?");
    lines_are_refused("networks: []", (1, 1), "no network at all", "remove the key");
    lines_are_refused(
        "networks: { default: { ipv4_address: 10.0.0.2 } }",
        (1, 24),
        "`ipv4_address` is not supported",
        "two releases",
    );
    file_is_refused(
        "name: shop\nvolumes: { a: { external: true, driver: x } }\nservices: { w: { image: a } }\n",
        (2, 12),
        "external",
        "only",
    );
}

#[test]
fn our_own_labels_cannot_be_written() {
    lines_are_refused(
        "labels: { quaymaster.stack: other }",
        (1, 11),
        "the controller's own",
        "another name",
    );
    lines_are_refused("labels: [quaymaster.slot=blue]", (1, 10), "the controller's own", "");
}

#[test]
fn no_message_shows_what_a_variable_stands_for() {
    for lines in [
        "user: a\nslot: $TOKEN",
        "route: { host: $TOKEN, port: 80 }",
        "route: { host: a.example, port: $TOKEN }",
        "rollout: { strategy: $TOKEN }",
        "rollout: { bake: $TOKEN }",
        "restart: $TOKEN",
        "ports: [$TOKEN]",
        "expose: [$TOKEN]",
        "volumes: [$TOKEN]",
        "networks: [$TOKEN]",
        "depends_on: [$TOKEN]",
        "environment: [\"$TOKEN\"]",
        "init: $TOKEN",
        "shm_size: $TOKEN",
        "deploy: { replicas: $TOKEN }",
        "deploy: { resources: { limits: { cpus: $TOKEN } } }",
        "extra_hosts: [$TOKEN]",
        "cap_add: [\"$TOKEN \"]",
        "stop_signal: $TOKEN",
        "working_dir: $TOKEN",
        "env_file: $TOKEN",
        "env_file: broken.env",
        "probe: { http: { path: $TOKEN, port: 80 } }",
        "healthcheck: { test: [\"$TOKEN\"] }",
    ] {
        let report = refused(&stack_with(lines));
        let json = serde_json::to_string(&report).unwrap();
        assert!(!format!("{report}{json}{report:?}").contains(CANARY), "{lines}\n{report}");
    }
    let report = refused("name: shop\nservices: { w: { image: \"$TOKEN\" } }\n");
    assert!(!report.to_string().contains(CANARY), "{report}");
}

#[test]
fn one_mistake_does_not_hide_those_that_need_the_whole_stack() {
    let report = refused(
        "name: shop
services:
  web: { image: Bad, depends_on: [nobody], route: { host: a.example, port: 1 } }
  db: { image: b, volumes: [\"undeclared:/d\"], rollout: { strategy: blue-green } }
",
    );
    let messages: Vec<_> = report.problems().iter().map(|it| it.message.as_str()).collect();
    let expected =
        ["is not a repository", "no service", "needs a proxy", "no volume", "two releases"];
    assert_eq!(messages.len(), expected.len(), "{report}");
    for (message, piece) in messages.iter().zip(expected) {
        assert!(message.contains(piece), "{message} / {piece}");
    }
}

#[test]
fn a_default_strategy_that_does_not_fit_is_mended_in_the_service() {
    file_is_refused(
        "name: shop
defaults: { rollout: { strategy: rolling } }
services:
  once: { image: a, restart: \"no\" }
  db:
    image: b
    ports: [\"80:80\"]
",
        (5, 3),
        "cannot run side by side",
        "strategy: recreate",
    );
}

#[test]
fn a_service_has_no_more_ports_than_it_could_mean() {
    lines_are_refused("ports: [1-1024, 2000]", (1, 17), "at most 1024", "shorter");
    lines_are_refused("expose: [1-65535]", (1, 10), "at most 1024", "shorter");
}
