//! Gates, promotion by hand, groups and what stands in the idle slot, on the real
//! engine.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::Duration,
};

use super::shop_with;
use crate::rig::{docker::docker, host::Host};

/// A host on which v1 serves from blue.
fn serving_v1() -> Host {
    let mut host = Host::new();
    host.image("v1");
    host.image("v2");
    host.save(&shop_with("v1", "auto", ""));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    host
}

fn gated(version: &str, rollout: &str) -> String {
    shop_with(version, "auto", &format!("    rollout:\n{rollout}"))
}

const MIGRATION: &str = "      pre_promotion: [{ job: { command: [job], timeout: 1m } }]\n";

/// The job containers of a host, in any state: id and state.
fn jobs(host: &Host) -> Vec<(String, String)> {
    let stack = format!("label=quaymaster.stack={}", host.stack);
    let format = "{{.ID}} {{.Status}}";
    let filters = ["--filter", &stack, "--filter", "label=quaymaster.gate"];
    let listed = docker(&[&["ps", "-a", "--no-trunc", "--format", format][..], &filters].concat());
    let pairs = listed.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(id, status)| (id.to_owned(), status.to_owned())).collect()
}

fn printed(id: &str) -> String {
    docker(&["logs", id])
}

#[test]
fn a_migration_runs_once_before_the_flip_and_no_request_fails() {
    let host = serving_v1();
    let traffic = host.traffic("shop");
    host.save(&gated("v2", MIGRATION));
    host.until_answers("shop", "v2 green");
    host.until("v2 is settled", |s| s.service("shop").is_settled_in("green"));
    traffic.end().assert_none_failed();
    let jobs = jobs(&host);
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert!(jobs[0].1.starts_with("Exited (0)"), "{jobs:?}");
    assert_eq!(printed(&jobs[0].0).matches("job starts").count(), 1);
    let history = host.quaymaster(&["history", "shop"]);
    let history = String::from_utf8_lossy(&history.stdout).into_owned();
    assert!(history.contains("pre-promotion gate `job job` passed"), "{history}");
}

#[test]
fn a_job_is_told_where_the_new_release_is() {
    let host = serving_v1();
    let gate = "      pre_promotion: [{ job: { command: [job], environment: { SAY: hello } } }]\n";
    host.save(&gated("v2", gate));
    host.until_answers("shop", "v2 green");
    let id = &jobs(&host)[0].0;
    let environment = docker(&["inspect", "--format", "{{json .Config.Env}}", id]);
    assert!(environment.contains("QUAYMASTER_TARGET=http://"), "{environment}");
    assert!(printed(id).contains("hello"));
    // It answers to no name of the service, and publishes nothing.
    let aliases = "{{range .NetworkSettings.Networks}}{{json .Aliases}}{{end}}";
    let aliases = docker(&["inspect", "--format", aliases, id]);
    assert!(!aliases.contains("\"shop\""), "{aliases}");
}

#[test]
fn a_migration_that_fails_holds_the_release_and_is_not_run_again() {
    let host = serving_v1();
    let gate = "      pre_promotion: [{ job: { command: [job], environment: { EXIT_CODE: 3 } } \
                }]\n";
    let traffic = host.traffic("shop");
    host.save(&gated("v2", gate));
    let status = host.until("v2 is held", |s| s.service("shop").state == "held");
    assert!(status.service("shop").tells("exited with code 3"), "{status:?}");
    host.until_seen("everything of v2 is gone", || {
        (host.replicas().len() == 1 && jobs(&host).is_empty()).then_some(())
    });
    host.until_answers("shop", "v1 blue");
    traffic.end().assert_none_failed();
    let shown = host.quaymaster(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("job ends with exit code 3"), "{shown}");
    assert!(shown.contains("pre-promotion gate `job job` failed: exited with code 3"), "{shown}");
    // A new try runs it once more.
    assert!(host.quaymaster(&["retry", "shop"]).status.success());
    host.until("v2 is tried", |s| s.service("shop").state == "progressing");
    host.until("v2 is held again", |s| s.service("shop").state == "held");
}

#[test]
fn a_controller_that_is_killed_under_a_migration_does_not_run_it_twice() {
    let mut host = serving_v1();
    let gate =
        "      pre_promotion: [{ job: { command: [job], environment: { EXIT_AFTER: 4 } } }]\n";
    host.save(&gated("v2", gate));
    host.until_seen("the migration runs", || {
        jobs(&host).first().filter(|(_, status)| status.starts_with("Up")).cloned()
    });
    host.kill();
    // The store is lost as well: the container tells what was done.
    host.lose_store();
    host.start();
    host.until_answers("shop", "v2 green");
    let jobs = jobs(&host);
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!(printed(&jobs[0].0).matches("job starts").count(), 1);
}

#[test]
fn gates_look_into_the_new_release_before_anybody_else_does() {
    let host = serving_v1();
    let gates = "      pre_promotion:\n        - exec: { command: [/demo, check] }\n        \
                 - http: { path: /health, interval: 200ms }\n";
    host.save(&gated("v2", gates));
    host.until_answers("shop", "v2 green");
    host.until("v2 is settled", |s| s.service("shop").is_settled_in("green"));
    let never = "      pre_promotion: [{ http: { path: /no-such-page } }]\n";
    let traffic = host.traffic("shop");
    host.save(&gated("v1", never).replace("auto\n", "auto\n    environment: { NEW: \"1\" }\n"));
    let status = host.until("the release is held", |s| s.service("shop").state == "held");
    assert!(status.service("shop").tells("http :8080/no-such-page"), "{status:?}");
    host.until_answers("shop", "v2 green");
    traffic.end().assert_none_failed();
}

/// A tool that answers with a status which the test sets.
struct Tool {
    address: SocketAddr,
    status: Arc<AtomicU16>,
}

impl Tool {
    fn answering(status: u16) -> Tool {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let status = Arc::new(AtomicU16::new(status));
        let shared = Arc::clone(&status);
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, shared.load(Ordering::Relaxed));
            }
        });
        Tool { address, status }
    }

    fn now_answers(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }
}

fn answer(mut stream: TcpStream, status: u16) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let _ = stream.read(&mut [0; 4096]);
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    // Whoever asked may have gone.
    let _ = stream.write_all(head.as_bytes());
}

#[test]
fn a_gate_that_fails_in_the_bake_flips_back_and_no_request_fails() {
    let host = serving_v1();
    let tool = Tool::answering(200);
    let gate = format!(
        "      bake: 1m\n      post_promotion: [{{ http: {{ url: \"http://{}/traces\", \
         interval: 200ms }} }}]\n",
        tool.address
    );
    let traffic = host.traffic("shop");
    host.save(&gated("v2", &gate));
    host.until_answers("shop", "v2 green");
    host.until("the gate passes", |s| s.service("shop").tells("baking"));
    let before = host.running("shop");
    // A tool that is down says nothing of the release.
    tool.now_answers(503);
    host.until("the gate waits", |s| s.service("shop").tells("503"));
    tool.now_answers(404);
    let status = host.until("v2 is held", |s| s.service("shop").state == "held");
    assert!(status.service("shop").tells("post-promotion gate"), "{status:?}");
    host.until_answers("shop", "v1 blue");
    traffic.end().assert_none_failed();
    // The very container that had been warm: no pull, no start.
    let after = host.running("shop");
    assert!(after.iter().all(|replica| before.iter().any(|b| b.id == replica.id)));
}

#[test]
fn an_operator_looks_at_a_release_and_promotes_it() {
    let host = serving_v1();
    let file = gated("v2", "      auto_promote: false\n").replace(
        "port: 8080 }\n    probe",
        "port: 8080, preview: { host: preview.HOST } }\n    probe",
    );
    host.save(&file);
    host.until("v2 waits", |s| s.service("shop").tells("quaymaster promote shop"));
    host.until_answers("preview", "v2 green");
    host.until_answers("shop", "v1 blue");
    let traffic = host.traffic("shop");
    let promoted = host.quaymaster(&["promote", "shop"]);
    assert!(promoted.status.success(), "{}", String::from_utf8_lossy(&promoted.stderr));
    host.until_answers("shop", "v2 green");
    traffic.end().assert_none_failed();
    let again = host.quaymaster(&["promote", "shop"]);
    assert!(!again.status.success());
}

#[test]
fn a_header_leads_to_the_release_that_waits() {
    let host = serving_v1();
    let file = gated("v2", "      auto_promote: false\n").replace(
        "port: 8080 }\n    probe",
        "port: 8080, preview: { header: X-Preview } }\n    probe",
    );
    host.save(&file);
    host.until("v2 waits", |s| s.service("shop").tells("quaymaster promote shop"));
    let with_header = || {
        let (_, body) = host.site("shop").get_with("/", "X-Preview: yes").ok()?;
        body.starts_with("v2 green").then_some(())
    };
    host.until_seen("the header leads to v2", with_header);
    host.until_answers("shop", "v1 blue");
}

#[test]
fn a_standby_is_there_before_its_flip() {
    let host = serving_v1();
    host.save(&shop_with("v1", "blue", "    standby: { image: \"APP:v2\" }\n"));
    host.until("v2 stands by", |s| s.service("shop").tells("standby in green, 1 of 1 ready"));
    let before = host.replicas();
    host.save(&shop_with("v2", "green", ""));
    host.until_answers("shop", "v2 green");
    let after = host.replicas();
    assert_eq!(before.len(), 2);
    assert!(after.iter().all(|replica| before.iter().any(|b| b.id == replica.id)), "{after:?}");
}

fn pair(version: &str, api_version: &str) -> String {
    let service = |name: &str, version: &str| {
        format!(
            "  {name}:\n    image: APP:{version}\n    rollout_group: all\n    \
             route: {{ host: {name}.HOST, port: 8080 }}\n    \
             probe: {{ http: {{ path: /health, port: 8080 }} }}\n"
        )
    };
    format!("services:\n{}{}", service("shop", version), service("api", api_version))
}

#[test]
fn a_group_is_promoted_together_or_not_at_all() {
    let mut host = Host::new();
    for version in ["v1", "v2", "v3"] {
        host.image(version);
    }
    host.image_with("sick", &[("UNHEALTHY", "1")]);
    host.save(&pair("v1", "v1"));
    host.start();
    host.until_settled();
    host.save(&pair("v2", "v2"));
    host.until_answers("shop", "v2 green");
    host.until_answers("api", "v2 green");
    host.until_settled();
    let flips = host.log().lines().filter(|line| line.contains("write routes: api: blue")).count();
    assert_eq!(flips, 1, "both moved in one write");
    assert!(host.log().contains(", shop: blue"), "both moved in one write");

    host.save(&pair("v3", "sick"));
    host.until("the api is held", |s| s.service("api").state == "held");
    let status = host.until("so is the shop", |s| s.service("shop").state == "held");
    assert!(status.service("shop").tells("of which api failed"), "{status:?}");
    host.until_answers("shop", "v2 green");
    host.until_answers("api", "v2 green");
    host.save(&pair("v3", "v3"));
    host.until_answers("shop", "v3 blue");
    host.until_answers("api", "v3 blue");
}
