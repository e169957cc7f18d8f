//! What a good file means.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use quaymaster::domain::{
    DependsOn, ProbeCheck, ServiceKind, Slot, SlotChoice, Strategy,
    release::{MountSource, PortProtocol, RestartPolicy},
    stack::{AdminEndpoint, FlipChoice, Images, NameChoice, ProxyConfig},
};

use super::{accepted, web};

const SECOND: Duration = Duration::from_secs(1);

fn revealed(lines: &str) -> BTreeMap<String, String> {
    let environment = web(lines).spec.environment;
    environment.into_iter().map(|(key, value)| (key, value.reveal().to_owned())).collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_smallest_service_gets_every_default() {
    let service = web("");
    assert_eq!(service.slot, SlotChoice::Auto);
    assert_eq!(service.kind, ServiceKind::LongRunning);
    assert_eq!(service.replicas, 1);
    assert_eq!(service.probe.check, ProbeCheck::Started);
    assert_eq!((service.probe.interval, service.probe.timeout), (10 * SECOND, 5 * SECOND));
    assert_eq!((service.probe.healthy_after, service.probe.unhealthy_after), (1, 3));
    assert_eq!(service.rollout.strategy, Strategy::Rolling);
    assert_eq!(service.rollout.progress_deadline, 600 * SECOND);
    assert_eq!(service.rollout.min_healthy_time, 5 * SECOND);
    assert_eq!(service.rollout.drain_timeout, 30 * SECOND);
    assert_eq!(service.rollout.bake, 30 * SECOND);
    assert_eq!(service.rollout.scale_down_delay, 600 * SECOND);
    assert!(service.rollout.auto_revert);
    assert_eq!(service.spec.restart, RestartPolicy::Always);
    assert_eq!(service.spec.networks[0].network, "shop_default");
    assert!(service.spec.networks[0].aliases.contains("web"));
}

#[test]
fn designs_own_example_is_read() {
    let stack = accepted(
        r#"
name: dev-tools
proxy:
  caddy: { admin: "http://127.0.0.1:2019" }      # or unix:///run/caddy/admin.sock
defaults:
  rollout: { drain_timeout: 30s, bake: 2m }
services:
  orchestrator:
    image: registry.digitalocean.com/the-shop-infra/orchestrator:3f9c2ab
    slot: blue                                    # blue | green | auto (default)
    route: { host: orchestrator.example.com, path: /*, port: 8001 }
    probe: { http: { path: /health, port: 8001 } }   # http | tcp | exec | docker
    environment: { LANGFUSE_HOST: "${TAG:?set it in .env}" }
    deploy: { replicas: 2 }
    rollout:
      strategy: blue-green                        # blue-green | rolling | recreate
      pre_promotion:
        - job: { command: ["./migrate"], timeout: 5m }
        - prometheus: { url: "http://127.0.0.1:9090", query: "up{job='x'}", condition: ">= 1" }
      post_promotion:
        - http: { url: "https://cloud.langfuse.com/api/public/health", status: 200 }
      scale_down_delay: 1h
  postgres:
    image: postgres:15-alpine
    volumes: ["postgres-data:/var/lib/postgresql/data"]
    rollout: { strategy: recreate }
volumes: { postgres-data: {} }
"#,
    );
    let orchestrator = &stack.services[&"orchestrator".parse().unwrap()];
    assert_eq!(orchestrator.slot, SlotChoice::Declared(Slot::Blue));
    assert_eq!(orchestrator.replicas, 2);
    assert_eq!(orchestrator.rollout.bake, 120 * SECOND);
    assert_eq!(orchestrator.rollout.pre_promotion.len(), 2);
    assert_eq!(orchestrator.rollout.post_promotion.len(), 1);
    assert_eq!(orchestrator.rollout.scale_down_delay, 3600 * SECOND);
    let route = orchestrator.route.as_ref().unwrap();
    assert_eq!((route.hosts[0].as_str(), route.path.as_str()), ("orchestrator.example.com", "/*"));
    assert_eq!(orchestrator.spec.route_port, Some(8001));
    assert_eq!(
        stack.proxy,
        Some(ProxyConfig {
            admin: AdminEndpoint::Tcp { host: "127.0.0.1".to_owned(), port: 2019 },
            listen: None,
            flip: FlipChoice::Auto,
            names: NameChoice::Auto,
        })
    );
    assert_eq!(stack.volumes.keys().collect::<Vec<_>>(), ["dev-tools_postgres-data"]);
    assert_eq!(stack.networks.keys().collect::<Vec<_>>(), ["dev-tools_default"]);
    assert_eq!(stack.images, Images::default());
}

#[test]
fn the_strategy_follows_from_what_can_run_twice() {
    let strategy = |lines: &str| web(lines).rollout.strategy;
    assert_eq!(strategy("route: { host: a.example, port: 1 }"), Strategy::BlueGreen);
    assert_eq!(strategy(""), Strategy::Rolling);
    assert_eq!(strategy("volumes: [\"data:/d\"]"), Strategy::Recreate);
    assert_eq!(strategy("volumes: [\"data:/d:ro\"]"), Strategy::Rolling);
    assert_eq!(strategy("ports: [\"80:80\"]"), Strategy::Recreate);
    let routed_and_exclusive = "route: { host: a.example, port: 1 }\nvolumes: [\"data:/d\"]";
    assert_eq!(strategy(routed_and_exclusive), Strategy::Recreate);
}

#[test]
fn restart_no_written_out_is_a_service_that_runs_once() {
    for written in ["\"no\"", "no"] {
        let service = web(&format!("restart: {written}"));
        assert_eq!(service.kind, ServiceKind::OneShot);
        assert_eq!(service.spec.restart, RestartPolicy::No);
        assert_eq!(service.rollout.strategy, Strategy::Recreate);
        assert_eq!(service.probe.check, ProbeCheck::Started);
    }
    let on_failure = web("restart: on-failure:3").spec.restart;
    assert_eq!(on_failure, RestartPolicy::OnFailure { max_attempts: Some(3) });
}

#[test]
fn a_probe_that_is_not_written_asks_what_can_be_asked() {
    let check = |lines: &str| web(lines).probe.check;
    let route = "route: { host: a.example, port: 8001 }";
    assert_eq!(check(route), ProbeCheck::Tcp { port: 8001 });
    assert_eq!(check(&format!("{route}\nhealthcheck: {{ test: x }}")), ProbeCheck::Docker);
    let disabled = format!("{route}\nhealthcheck: {{ disable: true }}");
    assert_eq!(check(&disabled), ProbeCheck::Tcp { port: 8001 });
    let ProbeCheck::Http { path, port, status, .. } =
        check(&format!("{route}\nprobe: {{ http: }}"))
    else {
        panic!("not http");
    };
    assert_eq!((path.as_str(), port, status), ("/", 8001, None));
    for docker in ["docker", "{ docker: }", "{ docker: {} }"] {
        assert_eq!(check(&format!("probe: {docker}")), ProbeCheck::Docker);
    }
    for exec in ["[pg_isready, -q]", "{ command: pg_isready -q }", "pg_isready -q"] {
        let command = vec!["pg_isready".to_owned(), "-q".to_owned()];
        assert_eq!(check(&format!("probe: {{ exec: {exec} }}")), ProbeCheck::Exec { command });
    }
    assert_eq!(web("probe: { tcp: { port: 1 }, interval: 1s }").probe.healthy_after, 2);
}

#[test]
fn the_port_of_a_route_may_come_from_expose() {
    let service = web("route: { host: a.example }\nexpose: [8001, 53/udp]");
    assert_eq!(service.route.unwrap().port, 8001);
    assert_eq!(Vec::from_iter(&service.spec.expose), ["53/udp", "8001/tcp"]);
}

#[test]
fn environments_are_maps_or_lists_and_keep_numbers_as_they_are_written() {
    let expected = map(&[("A", "1.10"), ("B", "true"), ("C", "0x1F"), ("D", "010"), ("E", "")]);
    assert_eq!(revealed("environment: { A: 1.10, B: true, C: 0x1F, D: 010, E: \"\" }"), expected);
    assert_eq!(revealed("environment: [A=1.10, B=true, C=0x1F, D=010, E=]"), expected);
}

#[test]
fn a_variable_without_a_value_is_passed_through() {
    assert_eq!(revealed("environment: [TAG, X=a=b]"), map(&[("TAG", "1.4.2"), ("X", "a=b")]));
    assert_eq!(revealed("environment: { TAG: }"), map(&[("TAG", "1.4.2")]));
}

#[test]
fn later_env_files_and_then_the_environment_win() {
    let expected = map(&[("BOTH", "more"), ("FROM_FILE", "yes"), ("QUOTED", "$kept")]);
    assert_eq!(revealed("env_file: [app.env, ./more.env]"), expected);
    let own = revealed("env_file: /srv/shop/app.env\nenvironment: { BOTH: own }");
    assert_eq!(own["BOTH"], "own");
    let optional = "env_file: [{ path: none.env, required: false }, { path: x/../app.env }]";
    assert_eq!(revealed(optional)["BOTH"], "file");
}

#[test]
fn variables_are_filled_in_everywhere() {
    let service = web("route: { host: \"${NONE:-a.example}\", port: \"${PORT}\" }\nuser: $TAG-$$1");
    assert_eq!(service.route.unwrap().port, 8001);
    assert_eq!(service.spec.user.as_deref(), Some("1.4.2-$1"));
}

#[test]
fn commands_are_words_or_one_text_split_as_a_shell_does() {
    let expected = Some(vec!["sh".to_owned(), "-c".to_owned(), "exec app".to_owned()]);
    assert_eq!(web("command: sh -c 'exec app'").spec.command, expected);
    assert_eq!(web("entrypoint: [sh, -c, exec app]").spec.entrypoint, expected);
    assert_eq!(web("command: []").spec.command, Some(vec![]));
    assert_eq!(web("command: ").spec.command, None);
    // A variable with a space stays one word only in a list, as in Compose.
    assert_eq!(web("command: [\"$SPACED\"]").spec.command.unwrap().len(), 1);
}

#[test]
fn ports_have_a_short_and_a_long_form_and_ranges() {
    let ports = web("ports: [\"8080:80\", \"127.0.0.1:53:53/udp\", \"[::1]:90:90\", 3000-3001, \"127.0.0.1::81\", { target: 82, published: \"8082\", mode: host }]").spec.ports;
    let written: Vec<_> = ports
        .iter()
        .map(|it| (it.container_port, it.host_port, it.host_ip.map(|ip| ip.to_string())))
        .collect();
    assert_eq!(
        written,
        [
            (80, Some(8080), None),
            (53, Some(53), Some("127.0.0.1".to_owned())),
            (90, Some(90), Some("::1".to_owned())),
            (3000, None, None),
            (3001, None, None),
            (81, None, Some("127.0.0.1".to_owned())),
            (82, Some(8082), None),
        ]
    );
    assert_eq!(ports[1].protocol, PortProtocol::Udp);
}

#[test]
fn volumes_get_dockers_names_and_paths_become_absolute() {
    let mounts = web(
        "volumes:\n- data:/a\n- ./conf:/b:ro\n- ../up:/c\n- /etc/hosts:/d\n- /e\n- { type: tmpfs, target: /f, tmpfs: { size: 1m } }\n- { type: volume, source: data, target: /g, read_only: true }\n- { type: bind, source: ./x, target: /h, bind: { create_host_path: true } }",
    )
    .spec
    .mounts;
    let sources: Vec<_> = mounts.iter().map(|mount| mount.source.clone()).collect();
    assert_eq!(
        sources,
        [
            MountSource::Volume("shop_data".to_owned()),
            MountSource::Bind("/srv/shop/conf".to_owned()),
            MountSource::Bind("/srv/up".to_owned()),
            MountSource::Bind("/etc/hosts".to_owned()),
            MountSource::Anonymous,
            MountSource::Tmpfs { size_bytes: Some(1 << 20) },
            MountSource::Volume("shop_data".to_owned()),
            MountSource::Bind("/srv/shop/x".to_owned()),
        ]
    );
    let read_only: Vec<_> = mounts.iter().filter(|it| it.read_only).map(|it| &it.target).collect();
    assert_eq!(read_only, ["/b", "/g"]);
}

#[test]
fn networks_and_volumes_that_nobody_uses_are_not_made() {
    let stack = accepted(
        "name: shop
networks:
  front: { driver: bridge, ipam: { config: [{ subnet: 172.30.0.0/24 }] } }
  back: { internal: true, labels: { a: b } }
  theirs: { external: true, name: edge }
  unused: {}
volumes:
  data: { name: exact, driver_opts: { type: nfs } }
  old: { external: { name: legacy } }
  unused:
services:
  web:
    image: a
    networks: { front: { aliases: [www] }, theirs: , back: }
    volumes: [\"data:/a\", \"old:/b\"]
",
    );
    let web = &stack.services[&"web".parse().unwrap()];
    let networks: Vec<_> = web.spec.networks.iter().map(|it| it.network.as_str()).collect();
    assert_eq!(networks, ["shop_front", "edge", "shop_back"]);
    assert_eq!(Vec::from_iter(&web.spec.networks[0].aliases), ["web", "www"]);
    assert_eq!(stack.networks.keys().collect::<Vec<_>>(), ["shop_back", "shop_front"]);
    assert_eq!(stack.networks["shop_front"].subnets, ["172.30.0.0/24"]);
    assert!(stack.networks["shop_back"].internal);
    assert_eq!(stack.external_networks, ["edge"]);
    assert_eq!(stack.volumes.keys().collect::<Vec<_>>(), ["exact"]);
    assert_eq!(stack.external_volumes, ["legacy"]);
}

#[test]
fn dependencies_are_a_list_or_a_map_with_conditions() {
    let stack = accepted(
        "name: shop
services:
  web:
    image: a
    depends_on: { db: { condition: service_healthy, required: true }, migrate: { condition: service_completed_successfully } }
  worker: { image: a, depends_on: [db] }
  migrate: { image: a, restart: \"no\", depends_on: { db: } }
  db: { image: b }
",
    );
    let conditions = |name: &str| {
        stack.services[&name.parse().unwrap()].depends_on.values().copied().collect::<Vec<_>>()
    };
    assert_eq!(
        conditions("web"),
        [DependsOn::ServiceHealthy, DependsOn::ServiceCompletedSuccessfully]
    );
    assert_eq!(conditions("worker"), [DependsOn::ServiceStarted]);
    assert_eq!(conditions("migrate"), [DependsOn::ServiceStarted]);
}

#[test]
fn the_rest_of_compose_arrives_as_it_is_written() {
    let spec = web(
        "healthcheck: { test: curl -f localhost, interval: 1m30s, retries: 3, start_period: 0s }
user: 1000
working_dir: /app
stop_signal: SIGUSR1
stop_grace_period: 1m
deploy: { resources: { limits: { cpus: '0.50', memory: 512M, pids: 100 }, reservations: { cpus: 0.25, memory: 20m } } }
logging: { driver: json-file, options: { max-size: 10m, max-file: 3 } }
labels: [a.b=c, flag]
extra_hosts: [\"db:10.0.0.1\", \"v6=[::1]\", \"host.docker.internal:host-gateway\"]
ulimits: { nproc: 65535, nofile: { soft: 20000, hard: 40000 } }
cap_add: [net_admin]
cap_drop: [ALL]
read_only: true
tmpfs: [/run, \"/tmp:size=64m\"]
init: true
shm_size: 64mb
security_opt: [\"no-new-privileges:true\"]",
    )
    .spec;
    let healthcheck = spec.healthcheck.unwrap();
    assert_eq!(healthcheck.test, ["CMD-SHELL", "curl -f localhost"]);
    assert_eq!(healthcheck.interval, Some(90 * SECOND));
    assert_eq!((healthcheck.retries, healthcheck.start_period), (Some(3), Some(Duration::ZERO)));
    assert_eq!(spec.user.as_deref(), Some("1000"));
    assert_eq!(spec.working_dir.as_deref(), Some("/app"));
    assert_eq!(spec.stop_signal.as_deref(), Some("SIGUSR1"));
    assert_eq!(spec.stop_grace_period, Some(60 * SECOND));
    assert_eq!(spec.resources.cpu_limit_milli, Some(500));
    assert_eq!(spec.resources.memory_limit_bytes, Some(512 << 20));
    assert_eq!(spec.resources.memory_reservation_bytes, Some(20 << 20));
    assert_eq!(spec.resources.pids_limit, Some(100));
    let logging = spec.logging.unwrap();
    assert_eq!(logging.options, map(&[("max-file", "3"), ("max-size", "10m")]));
    assert_eq!(spec.labels, map(&[("a.b", "c"), ("flag", "")]));
    let hosts = [("db", "10.0.0.1"), ("host.docker.internal", "host-gateway"), ("v6", "::1")];
    assert_eq!(spec.extra_hosts, map(&hosts));
    assert_eq!(spec.ulimits["nofile"], (20_000, 40_000));
    assert_eq!(spec.ulimits["nproc"], (65_535, 65_535));
    assert!(spec.cap_add.contains("NET_ADMIN") && spec.cap_drop.contains("ALL"));
    assert_eq!(spec.tmpfs, map(&[("/run", ""), ("/tmp", "size=64m")]));
    assert_eq!((spec.init, spec.read_only), (Some(true), true));
    assert_eq!(spec.shm_size_bytes, Some(64 << 20));
    assert_eq!(spec.security_opt, ["no-new-privileges:true"]);
}

#[test]
fn anchors_merge_keys_and_extensions_work_as_in_compose() {
    let stack = accepted(
        "name: shop
x-common: &common
  restart: unless-stopped
  environment: &env { A: 1, B: 2 }
x-logging: &logging { logging: { driver: local } }
services:
  web:
    <<: [*common, *logging]
    image: a
    environment: { <<: *env, B: own }
    x-note: ignored
  worker: { <<: *common, image: b }
",
    );
    let web = &stack.services[&"web".parse().unwrap()].spec;
    assert_eq!(web.restart, RestartPolicy::UnlessStopped);
    assert_eq!(web.environment["A"].reveal(), "1");
    assert_eq!(web.environment["B"].reveal(), "own");
    assert_eq!(web.logging.as_ref().unwrap().driver.as_deref(), Some("local"));
    let worker = &stack.services[&"worker".parse().unwrap()].spec;
    assert_eq!(worker.environment["B"].reveal(), "2");
}

#[test]
fn caddy_may_listen_anywhere_and_be_administered_over_a_socket() {
    let stack = accepted(
        "\u{feff}name: shop\r\nproxy: { caddy: { admin: unix:///run/caddy/admin.sock, listen: \":8443\" } }\r\nimages: { retain_releases: 2, retain_for: 14d, min_free_disk: 25% }\r\nservices: { web: { image: a } }\r\n",
    );
    let proxy = stack.proxy.unwrap();
    assert_eq!(proxy.admin, AdminEndpoint::Unix(PathBuf::from("/run/caddy/admin.sock")));
    assert_eq!(proxy.listen.as_deref(), Some(":8443"));
    let retain_for = Some(Duration::from_secs(14 * 24 * 3600));
    let images = Images { retain_releases: 2, retain_for, min_free_percent: 25 };
    assert_eq!(stack.images, images);
}

#[test]
fn flips_go_the_way_the_file_says() {
    let flip_of = |caddy: &str| {
        let text = format!(
            "name: shop\nproxy: {{ caddy: {caddy} }}\nservices: {{ web: {{ image: a }} }}\n"
        );
        accepted(&text).proxy.unwrap().flip
    };
    for (caddy, flip) in [
        ("", FlipChoice::Auto),
        ("{}", FlipChoice::Auto),
        ("{ flip: auto }", FlipChoice::Auto),
        ("{ flip: admin-api }", FlipChoice::AdminApi),
        ("{ flip: \"switch-file\" }", FlipChoice::SwitchFile),
    ] {
        assert_eq!(flip_of(caddy), flip, "{caddy}");
    }
}

#[test]
fn names_are_answered_by_whom_the_file_says() {
    let names_of = |caddy: &str| {
        let text = format!(
            "name: shop\nproxy: {{ caddy: {caddy} }}\nservices: {{ web: {{ image: a }} }}\n"
        );
        accepted(&text).proxy.unwrap().names
    };
    for (caddy, names) in [
        ("", NameChoice::Auto),
        ("{}", NameChoice::Auto),
        ("{ names: auto }", NameChoice::Auto),
        ("{ names: caddy }", NameChoice::Caddy),
        ("{ names: \"docker\" }", NameChoice::Docker),
    ] {
        assert_eq!(names_of(caddy), names, "{caddy}");
    }
}

#[test]
fn a_route_for_the_inside_only_has_a_port_and_no_host() {
    let route = web("route: { internal: true, port: 8001 }").route.unwrap();
    assert_eq!((route.hosts.len(), route.path.as_str(), route.port), (0, "/*", 8001));
    let route = web("route: { internal: false, host: a.example, port: 1 }").route.unwrap();
    assert_eq!(route.hosts, ["a.example"]);
}

#[test]
fn hosts_may_be_several_wildcards_and_addresses() {
    let route = web("route: { hosts: [a.example, \"*.b.example\", 127.0.0.1, localhost], path: /api/*, port: 1 }").route.unwrap();
    assert_eq!(route.hosts, ["a.example", "*.b.example", "127.0.0.1", "localhost"]);
    assert_eq!(route.path, "/api/*");
}
