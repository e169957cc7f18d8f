//! Flips and deploys by switch file: no request fails, and no connection ends.
//!
//! With clients of every kind, and stricter than the tests by admin API: there a
//! connection may end, if only the request on it is answered when it is sent
//! again.

use std::collections::BTreeMap;

use super::shop_with;
use crate::rig::{
    edge::{Listens, Version, binary},
    host::{Flip, Host},
    load::{Counts, Kind, Traffic},
};

const FLIPS: usize = 300;
const DEPLOYS: usize = 30;

/// Flips go between two slots that stay warm. What is in flight may take 5 s.
const FLIPPED: &str = "{ drain_timeout: 8s, bake: 0s, scale_down_delay: 10m }";
/// Deploys go into a slot that is empty again as soon as nothing is in flight to it.
const DEPLOYED: &str = "{ drain_timeout: 3s, bake: 0s, scale_down_delay: 0s }";

/// A release that says that it is `version`.
fn release(version: &str, slot: &str, rollout: &str) -> String {
    let more = format!("    environment: {{ VERSION: {version} }}\n    rollout: {rollout}\n");
    shop_with("app", slot, &more)
}

/// A host that serves `v1` from blue, on every port.
fn serving_v1(version: Version) -> Host {
    let mut host = Host::behind(&binary(version), Listens::PlainAndTls, Flip::SwitchFile);
    host.image("app");
    host.save(&release("v1", "blue", DEPLOYED));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_tls("shop");
    host.until_settled();
    host
}

#[track_caller]
fn assert_nothing_was_lost(seen: &BTreeMap<Kind, Counts>) {
    for (kind, counts) in seen {
        assert!(counts.sent > 0, "{kind:?} never asked");
        let lost = counts.failed + counts.dropped + counts.cut;
        assert_eq!(lost, 0, "{kind:?}: {counts:#?}");
    }
}

fn flips_drop_nothing(version: Version) {
    let host = serving_v1(version);
    host.save(&release("v2", "green", FLIPPED));
    host.until_answers("shop", "v2 green");
    host.until_settled();

    // Light enough to leave two cores to the flips.
    let clients = Kind::ALL.map(|kind| (kind, 3));
    let traffic = Traffic::start(&host.target("shop"), &clients);
    for flip in 0..FLIPS {
        let (version, slot) = if flip % 2 == 0 { ("v1", "blue") } else { ("v2", "green") };
        host.save(&release(version, slot, FLIPPED));
        host.until_answers("shop", &format!("{version} {slot}"));
    }
    let seen = traffic.end();
    assert_nothing_was_lost(&seen);
    // Both releases stayed, and so did every WebSocket.
    assert_eq!(seen[&Kind::WebSocket].sent, 3);
    assert_eq!(seen[&Kind::WebSocket].goodbyes, 0);
}

#[test]
fn three_hundred_flips_by_switch_file_drop_nothing() {
    flips_drop_nothing(Version::New);
}

#[test]
fn three_hundred_flips_by_switch_file_drop_nothing_on_debians_caddy() {
    flips_drop_nothing(Version::Old);
}

/// Returns Caddy's whole configuration of HTTP.
fn configuration(host: &Host) -> String {
    let answer = host.edge.admin_request("GET", "/config/apps/http");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

fn deploys_drop_nothing(version: Version, deploys: usize) {
    let host = serving_v1(version);
    // The second slot's first release: Caddy has to be told of it, once.
    host.save(&release("v2", "green", DEPLOYED));
    host.until_answers("shop", "v2 green");
    host.until_settled();
    let before = configuration(&host);

    // Short enough for the old release to be gone soon.
    let kinds = [Kind::KeepAlive, Kind::Fresh, Kind::Http2, Kind::Upload];
    let traffic = Traffic::start(&host.target("shop"), &kinds.map(|kind| (kind, 3)));
    for deploy in 0..deploys {
        let slot = if deploy % 2 == 0 { "blue" } else { "green" };
        let version = format!("v{}", deploy + 3);
        host.save(&release(&version, slot, DEPLOYED));
        host.until_answers("shop", &format!("{version} {slot}"));
        assert_eq!(configuration(&host), before, "Caddy was told of deploy {deploy}");
    }
    let seen = traffic.end();
    assert_nothing_was_lost(&seen);
}

#[test]
fn thirty_deploys_by_switch_file_drop_nothing() {
    deploys_drop_nothing(Version::New, DEPLOYS);
}

/// Fewer, since an old Caddy does not tell when nothing is in flight.
#[test]
fn ten_deploys_by_switch_file_drop_nothing_on_debians_caddy() {
    deploys_drop_nothing(Version::Old, 10);
}
