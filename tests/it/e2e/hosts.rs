//! One file for several hosts, and an edge that flips traffic between two of them.

use std::process::{Child, Command, Stdio};

use crate::rig::{
    daemon::Daemon,
    host::{Host, quaymaster_binary},
};

/// A controller of one more host: its own engine, no Caddy.
struct Droplet {
    daemon: Daemon,
    controller: Child,
}

impl Droplet {
    fn start(edge: &Host, number: u8, name: &str, images: &[&str]) -> Droplet {
        let daemon = Daemon::start(number);
        for version in images {
            daemon.load(&edge.tag(version));
        }
        let folder = daemon.folder();
        let log = std::fs::File::create(folder.join("quaymaster.log")).expect("a file");
        let controller = Command::new(quaymaster_binary())
            .arg("run")
            .arg(edge.file_path())
            .args(["--host-name", name])
            .arg("--state-dir")
            .arg(folder.join("state"))
            .arg("--socket")
            .arg(folder.join("quaymaster.sock"))
            .env("DOCKER_HOST", daemon.host())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("quaymaster starts");
        Droplet { daemon, controller }
    }

    /// The services that it runs.
    fn runs(&self) -> Vec<String> {
        let format = "{{.Label \"quaymaster.service\"}}";
        let listed = self.daemon.docker(&["ps", "--format", format]).output().expect("it runs");
        let mut names: Vec<String> =
            String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect();
        names.sort();
        names
    }
}

impl Drop for Droplet {
    fn drop(&mut self) {
        let _ = self.controller.kill();
        let _ = self.controller.wait();
    }
}

fn file(slot: &str, blue: &str, green: &str, addresses: [String; 2]) -> String {
    let on = |name: &str, version: &str| {
        format!(
            "  app-{name}:\n    hosts: [{name}]\n    image: APP:{version}\n    \
             ports: [\"8080:8080\"]\n    probe: {{ tcp: {{ port: 8080 }} }}\n"
        )
    };
    let [at_blue, at_green] = addresses;
    format!(
        "services:\n{}{}  shop:\n    hosts: [edge]\n    slot: {slot}\n    slots:\n      \
         blue: {{ upstreams: [\"{at_blue}:8080\"] }}\n      \
         green: {{ upstreams: [\"{at_green}:8080\"] }}\n    \
         route: {{ host: shop.HOST }}\n    probe: {{ http: {{ path: /health }} }}\n",
        on("blue", blue),
        on("green", green),
    )
}

#[test]
fn an_edge_flips_traffic_between_two_hosts_of_one_file() {
    let mut edge = Host::new();
    edge.image("v1");
    edge.image("v2");
    // Nobody has the droplets yet: each takes its part as soon as it is there.
    let nobody = ["198.51.100.1".to_owned(), "198.51.100.2".to_owned()];
    edge.save(&file("blue", "v1", "v2", nobody));
    let blue = Droplet::start(&edge, 1, "blue", &["v1"]);
    let green = Droplet::start(&edge, 2, "green", &["v2"]);
    let addresses = || [&blue, &green].map(|droplet| droplet.daemon.address.to_string());
    edge.save(&file("blue", "v1", "v2", addresses()));
    let path = edge.file_path().display().to_string();
    edge.start_with(&[&path, "--host-name", "edge"]);

    // Started from the port of a droplet: the demo names the slot it was given there.
    edge.until_answers("shop", "v1 blue");
    edge.until_seen("each host runs its part", || {
        let parts = [blue.runs(), green.runs()];
        (parts == [vec!["app-blue".to_owned()], vec!["app-green".to_owned()]]).then_some(())
    });
    assert_eq!(edge.replicas().len(), 0, "nothing of it runs on the edge");

    let traffic = edge.traffic("shop");
    edge.save(&file("green", "v1", "v2", addresses()));
    edge.until_answers("shop", "v2 blue");
    edge.until("the edge is settled", |s| s.service("shop").is_settled_in("green"));
    // `git revert` is one flip back.
    edge.save(&file("blue", "v1", "v2", addresses()));
    edge.until_answers("shop", "v1 blue");
    traffic.end().assert_none_failed();
}

#[test]
fn nothing_flips_to_a_host_that_does_not_answer() {
    let mut edge = Host::new();
    edge.image("v1");
    let blue = Droplet::start(&edge, 3, "blue", &["v1"]);
    let at = [blue.daemon.address.to_string(), "127.0.0.1".to_owned()];
    edge.save(&file("blue", "v1", "v1", at.clone()).replace("127.0.0.1:8080", "127.0.0.1:1"));
    let path = edge.file_path().display().to_string();
    edge.start_with(&[&path, "--host-name", "edge"]);
    edge.until_answers("shop", "v1 blue");
    let traffic = edge.traffic("shop");
    edge.save(&file("green", "v1", "v1", at).replace("127.0.0.1:8080", "127.0.0.1:1"));
    edge.until("it waits", |s| s.service("shop").tells("connection refused"));
    edge.until_answers("shop", "v1 blue");
    traffic.end().assert_none_failed();
}
