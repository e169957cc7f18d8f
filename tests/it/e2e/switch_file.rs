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
/// Longer than any test.
const WARM: &str = "10m";

/// A release that says that it is `version`. What is in flight may take 5 s. Flips
/// go between two slots that stay warm, deploys go into one that is empty.
fn release(version: &str, slot: &str, warm: &str) -> String {
    let more = format!(
        "    environment: {{ VERSION: {version} }}\n    \
         rollout: {{ drain_timeout: 8s, bake: 0s, scale_down_delay: {warm} }}\n"
    );
    shop_with("app", slot, &more)
}

/// A host that serves `v1` from blue, on every port.
fn serving_v1(version: Version) -> Host {
    let mut host = Host::behind(&binary(version), Listens::PlainAndTls, Flip::SwitchFile);
    host.image("app");
    host.save(&release("v1", "blue", "0s"));
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
    host.save(&release("v2", "green", WARM));
    host.until_answers("shop", "v2 green");
    host.until_settled();

    // Light enough to leave two cores to the flips.
    let clients = Kind::ALL.map(|kind| (kind, 3));
    let traffic = Traffic::start(&host.target("shop"), &clients);
    for flip in 0..FLIPS {
        let (version, slot) = if flip % 2 == 0 { ("v1", "blue") } else { ("v2", "green") };
        host.save(&release(version, slot, WARM));
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
