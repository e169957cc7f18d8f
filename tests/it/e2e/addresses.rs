//! Releases that come to stand where the last one of their slot stood.

use super::shop_with;
use crate::rig::{docker::docker, host::Host};

/// No warm standby: the old slot is empty when the next release comes.
const EAGER: &str = "    rollout: { drain_timeout: 1s, bake: 0s, scale_down_delay: 0s }\n";

/// Returns the one replica's address on the stack's network.
fn address(host: &Host) -> String {
    let running = host.running("shop");
    assert_eq!(running.len(), 1, "{running:?}");
    let format = format!(
        "{{{{with index .NetworkSettings.Networks \"{}_default\"}}}}{{{{.IPAddress}}}}{{{{end}}}}",
        host.stack
    );
    docker(&["inspect", "--format", &format, &running[0].id]).trim().to_owned()
}

fn deploy(host: &Host, version: &str, slot: &str) -> String {
    host.save(&shop_with(version, slot, EAGER));
    host.until_answers("shop", &format!("{version} {slot}"));
    host.until_seen("the old release is gone", || (host.replicas().len() == 1).then_some(()));
    host.until_settled();
    address(host)
}

#[test]
fn an_address_that_was_assigned_outlives_a_restart_of_its_container() {
    let mut host = Host::new();
    host.image("v1");
    host.save(&shop_with("v1", "blue", EAGER));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    let before = address(&host);
    let replica = host.running("shop").remove(0);
    docker(&["kill", &replica.id]);
    host.until_seen("it was started again", || {
        let now = host.running("shop");
        (now.len() == 1 && now[0].started_at != replica.started_at).then_some(())
    });
    host.until_answers("shop", "v1 blue");
    assert_eq!(address(&host), before);
}

#[test]
fn no_two_slots_ever_share_an_address() {
    let mut host = Host::new();
    host.image("v1");
    host.image("v2");
    host.save(&shop_with("v1", "blue", EAGER));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    let blue = address(&host);
    let green = deploy(&host, "v2", "green");
    assert_ne!(blue, green);
    assert_ne!(deploy(&host, "v1", "blue"), green);
}
