//! A release that dies after its flip costs no request: the one before catches.

use super::shop_with;
use crate::rig::{
    docker::docker,
    edge::{Listens, Version, binary},
    host::{Flip, Host},
    load::{Kind, Traffic},
};

/// Longer than any test: the release is still in its bake when it dies.
const BAKING: &str = "    rollout: { bake: 10m }\n";

fn a_dying_release_costs_no_request(flip: Flip, clients: &[(Kind, usize)]) {
    let mut host = Host::behind(&binary(Version::New), Listens::Plain, flip);
    host.image("v1");
    host.image("v2");
    host.save(&shop_with("v1", "blue", BAKING));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.save(&shop_with("v2", "green", BAKING));
    host.until_answers("shop", "v2 green");
    host.until("v1 is warm", |s| s.service("shop").tells("blue warm"));

    let traffic = Traffic::start(&host.target("shop"), clients);
    let green = host.running("shop").into_iter().find(|replica| replica.slot == "green");
    docker(&["kill", &green.expect("v2 runs").id]);
    host.until("v2 is held", |s| s.service("shop").state == "held");
    host.until_answers("shop", "v1 blue");
    let seen = traffic.end();
    for (kind, counts) in &seen {
        assert!(counts.sent > 0, "{kind:?} never asked");
        assert_eq!(counts.failed, 0, "{kind:?}: {counts:#?}");
    }
}

#[test]
fn a_dying_release_costs_no_request_by_switch_file() {
    a_dying_release_costs_no_request(Flip::SwitchFile, &[(Kind::KeepAlive, 4), (Kind::Fresh, 4)]);
}

/// With kept connections alone: the flip back reloads Caddy, and that may reset a
/// fresh one.
#[test]
fn a_dying_release_costs_no_request_by_admin_api() {
    a_dying_release_costs_no_request(Flip::AdminApi, &[(Kind::KeepAlive, 8)]);
}
