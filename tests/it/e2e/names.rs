//! A container that calls a service by its name, while that is flipped and
//! deployed.

use std::fs;

use serde_json::Value;

use crate::rig::{
    docker::docker,
    edge::{Listens, Version, binary},
    free_port,
    host::{Flip, Host},
};

const FLIPS: usize = 40;
const DEPLOYS: usize = 6;

const WARM: &str = "drain_timeout: 8s, bake: 0s, scale_down_delay: 10m";
const EAGER: &str = "drain_timeout: 8s, bake: 0s, scale_down_delay: 0s";

/// A host whose `shop` is called by its name, and the containers that call it:
/// one keeps its connections, the other makes a new one for each request.
struct Town {
    host: Host,
    port: u16,
    /// Whether the file has the callers.
    callers: bool,
    /// The host of the shop's route, as the file has it.
    route: &'static str,
}

const CALLERS: [&str; 2] = ["keeper", "fresher"];

impl Town {
    /// A town with a shop that answers as this release, and callers that have
    /// started after it.
    fn open(version: Version, release: &Release) -> Town {
        Town::on_route(version, Flip::SwitchFile, release, "host: shop.HOST")
    }

    fn on_route(version: Version, flip: Flip, release: &Release, route: &'static str) -> Town {
        let mut host = Host::behind(&binary(version), Listens::Plain, flip);
        host.names = Some("caddy");
        host.image("app");
        let mut town = Town { host, port: free_port(), callers: false, route };
        town.save(release);
        town.host.start();
        town.host.until_settled();
        town.callers = true;
        town.save(release);
        town.host.until("the callers call", |status| {
            status.is_settled() && status.services.len() == 1 + CALLERS.len()
        });
        for caller in CALLERS {
            let id = town.caller(caller);
            let hosts = docker(&["inspect", "--format", "{{json .HostConfig.ExtraHosts}}", &id]);
            assert!(hosts.contains("\"shop:"), "{hosts}");
        }
        town
    }

    fn save(&self, release: &Release) {
        let Release { version, environment, keys } = release;
        let Town { port, route, .. } = self;
        let mut text = format!(
            "services:\n  shop:\n    image: APP:app\n    \
             environment: {{ VERSION: {version}, PORT: \"{port}\"{environment} }}\n    \
             route: {{ {route}, port: {port} }}\n    \
             probe: {{ http: {{ path: /health, port: {port} }} }}\n{keys}"
        );
        let connections =
            ["--keep-alive, \"3\"", "--keep-alive, \"0\", --fresh, \"2\""].map(str::to_owned);
        for (caller, connections) in CALLERS.iter().zip(connections).filter(|_| self.callers) {
            text += &format!(
                "  {caller}:\n    image: APP:app\n    \
                 command: [load, \"http://shop:{port}/\", {connections}]\n"
            );
        }
        self.host.save(&text);
    }

    fn caller(&self, name: &str) -> String {
        self.host.running(name).remove(0).id
    }

    /// Asks once, from a caller's container; returns version and slot.
    fn ask(&self) -> String {
        let url = format!("http://shop:{}/", self.port);
        let answer = docker(&["exec", &self.caller("keeper"), "/demo", "get", &url]);
        answer.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn until_called(&self, banner: &str) {
        self.host.until_seen(&format!("shop answers {banner} by name"), || {
            (self.ask() == banner).then_some(())
        });
    }

    /// Ends the callers' runs; returns what each has counted.
    fn counted(&self) -> Vec<Counted> {
        let counted = CALLERS.map(|caller| {
            let id = self.caller(caller);
            docker(&["kill", "--signal", "TERM", &id]);
            self.host.until_seen("a caller says what it has counted", || {
                let said = docker(&["logs", &id]);
                said.lines().find_map(|line| serde_json::from_str(line).ok()).map(Counted)
            })
        });
        counted.into()
    }
}

/// What the file says of the shop, apart from where it is.
struct Release {
    version: String,
    /// More of its environment, each with a comma before it.
    environment: &'static str,
    /// More lines of its keys.
    keys: String,
}

fn release(version: &str, slot: &str, rollout: &str) -> Release {
    let keys = format!("    slot: {slot}\n    rollout: {{ {rollout} }}\n");
    Release { version: version.to_owned(), environment: "", keys }
}

#[derive(Debug)]
struct Counted(Value);

impl Counted {
    /// The banners of all answers.
    fn answers(&self) -> Vec<&str> {
        let answers = self.0["answers"].as_object().expect("answers by their banner");
        answers.keys().map(String::as_str).collect()
    }

    #[track_caller]
    fn assert_none_failed(&self) {
        assert!(self.0["requests"].as_u64().expect("a count") > 0, "{}", self.0);
        assert_eq!(self.0["failed"], 0, "{}", self.0);
    }
}

fn flips_and_deploys_fail_no_request(version: Version) {
    let town = Town::open(version, &release("v1", "blue", WARM));
    town.save(&release("v2", "green", WARM));
    town.until_called("v2 green");
    town.host.until_settled();
    for flip in 0..FLIPS {
        let (version, slot) = if flip % 2 == 0 { ("v1", "blue") } else { ("v2", "green") };
        town.save(&release(version, slot, WARM));
        town.host.until_answers("shop", &format!("{version} {slot}"));
        // Both at once.
        assert_eq!(town.ask(), format!("{version} {slot}"));
    }
    for deploy in 0..DEPLOYS {
        let slot = if deploy % 2 == 0 { "blue" } else { "green" };
        town.save(&release(&format!("d{deploy}"), slot, EAGER));
        town.host.until_answers("shop", &format!("d{deploy} {slot}"));
        assert_eq!(town.ask(), format!("d{deploy} {slot}"));
        town.host.until_settled();
    }
    let status = town.host.quaymaster(&["status"]).stdout;
    assert!(String::from_utf8_lossy(&status).contains("names by Caddy"));
    for counted in town.counted() {
        eprintln!("{version:?} {}", counted.0);
        counted.assert_none_failed();
        // Both slots of the flips, and each deploy.
        assert_eq!(counted.answers().len(), 2 + DEPLOYS, "{:?}", counted.answers());
    }
}

#[test]
fn flips_and_deploys_fail_no_request_by_name() {
    flips_and_deploys_fail_no_request(Version::New);
}

#[test]
fn flips_and_deploys_fail_no_request_by_name_on_debians_caddy() {
    flips_and_deploys_fail_no_request(Version::Old);
}

#[test]
fn flips_by_admin_api_fail_no_request_by_name() {
    let v1 = release("v1", "blue", WARM);
    let town = Town::on_route(Version::New, Flip::AdminApi, &v1, "host: shop.HOST");
    for flip in 0..10 {
        let (version, slot) = if flip % 2 == 0 { ("v2", "green") } else { ("v1", "blue") };
        town.save(&release(version, slot, WARM));
        town.until_called(&format!("{version} {slot}"));
        town.host.until_settled();
    }
    for counted in town.counted() {
        eprintln!("by admin API {}", counted.0);
        counted.assert_none_failed();
    }
}

#[test]
fn a_name_never_leads_to_a_release_that_is_not_ready() {
    let town = Town::open(Version::New, &release("v1", "blue", EAGER));
    // It answers everything else, for as long as it may take to become healthy.
    let sick = Release { environment: ", UNHEALTHY: \"1\"", ..release("v2", "green", EAGER) };
    town.save(&sick);
    town.host.until("the sick release is held", |s| s.service("shop").state == "held");
    for counted in town.counted() {
        counted.assert_none_failed();
        assert_eq!(counted.answers(), ["v1 blue"]);
    }
}

#[test]
fn a_name_leads_to_what_is_active_of_a_service_that_rolls() {
    let rolling = |version| {
        let keys = format!(
            "    rollout: {{ strategy: rolling, {EAGER} }}\n    deploy: {{ replicas: 2 }}\n"
        );
        Release { version: String::from(version), environment: "", keys }
    };
    let town = Town::open(Version::New, &rolling("v1"));
    for version in ["v2", "v3"] {
        town.save(&rolling(version));
        town.host.until("it is on its way", |s| !s.is_settled());
        town.host.until_settled();
        assert!(town.ask().starts_with(version));
    }
    town.counted().iter().for_each(Counted::assert_none_failed);
}

#[test]
fn a_name_leads_to_what_is_active_of_a_service_that_is_recreated() {
    let recreated = |version| {
        let keys = format!("    rollout: {{ strategy: recreate, {EAGER} }}\n");
        Release { version: String::from(version), environment: "", keys }
    };
    let town = Town::open(Version::New, &recreated("v1"));
    town.save(&recreated("v2"));
    town.host.until("it is on its way", |s| !s.is_settled());
    town.host.until_settled();
    assert!(town.ask().starts_with("v2"));
}

#[test]
fn a_service_for_the_inside_only_is_called_by_its_name_alone() {
    let v1 = release("v1", "blue", EAGER);
    let town = Town::on_route(Version::New, Flip::SwitchFile, &v1, "internal: true");
    town.until_called("v1 blue");
    town.save(&release("v2", "green", EAGER));
    town.until_called("v2 green");
    for counted in town.counted() {
        counted.assert_none_failed();
    }
    assert_eq!(town.host.site("shop").get("/").expect("Caddy answers").0, 404);
}

#[test]
fn by_default_status_says_who_answers_to_names_and_why() {
    let mut host = Host::new();
    host.image("v1");
    // Only where there is somebody who calls.
    let caller = "  caller:\n    image: APP:v1\n    probe: { tcp: { port: 8080 } }\n";
    host.save(&format!("{}{caller}", super::shop("v1", "blue")));
    host.start();
    host.until_settled();
    let status = host.quaymaster(&["status"]).stdout;
    let status = String::from_utf8_lossy(&status);
    let may_bind = fs::read_to_string("/proc/sys/net/ipv4/ip_nonlocal_bind");
    match may_bind.as_deref().map(str::trim) {
        Ok("1") => assert!(status.contains("names by Caddy"), "{status}"),
        _ => assert!(status.contains("by Docker: net.ipv4.ip_nonlocal_bind is not 1"), "{status}"),
    }
}

#[test]
fn names_outlive_a_caddy_that_resumes() {
    let mut town = Town::open(Version::New, &release("v1", "blue", WARM));
    // Nobody puts anything back: what answers is what Caddy has saved.
    assert!(town.host.terminate().success());
    town.host.edge.restart_resumed();
    town.until_called("v1 blue");
}

#[test]
fn a_file_that_leaves_names_to_docker_breaks_no_container_that_was_told_otherwise() {
    let mut town = Town::open(Version::New, &release("v1", "blue", WARM));
    town.host.names = Some("docker");
    town.save(&release("v2", "green", WARM));
    town.host.until_answers("shop", "v2 green");
    town.host.until_settled();
    assert_eq!(town.ask(), "v2 green");
    town.counted().iter().for_each(Counted::assert_none_failed);
}
