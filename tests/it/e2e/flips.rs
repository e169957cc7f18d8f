//! Many flips under many clients, by admin API; by switch file, `switch_file.rs`.

use std::time::Duration;

use super::{shop, shop_with};
use crate::rig::{
    client::Load,
    edge::{Listens, Version, binary},
    host::{Flip, Host},
};

const FLIPS: usize = 300;

fn many_flips(version: Version) {
    let mut host = Host::behind(&binary(version), Listens::Plain, Flip::AdminApi);
    host.image("v1");
    host.image("v2");
    host.save(&shop("v1", "blue"));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    host.save(&shop("v2", "green"));
    host.until_answers("shop", "v2 green");
    host.until_settled();

    // 24 that ask all the time, 8 whose requests each outlive many flips.
    let quick = Load { clients: 24, pause: Duration::from_millis(40) };
    let slow = Load { clients: 8, pause: Duration::ZERO };
    let hot = host.site("shop").traffic("/", quick);
    let in_flight = host.site("shop").traffic("/slow?ms=3000", slow);
    for flip in 0..FLIPS {
        let (image, slot) = if flip % 2 == 0 { ("v1", "blue") } else { ("v2", "green") };
        host.save(&shop(image, slot));
        host.until_answers("shop", &format!("{image} {slot}"));
    }
    let seen = hot.end();
    seen.assert_none_failed();
    assert_eq!(seen.answers.len(), 2, "{:?}", seen.answers);
    in_flight.end().assert_none_failed();
    // Both releases stayed as they were all the time.
    assert_eq!(host.running("shop").len(), 2);
}

#[test]
fn three_hundred_flips_by_admin_api_fail_no_request() {
    many_flips(Version::New);
}

#[test]
fn three_hundred_flips_by_admin_api_fail_no_request_on_debians_caddy() {
    many_flips(Version::Old);
}

#[test]
fn a_client_that_has_seen_the_new_release_never_sees_the_old_one_again() {
    let mut host = Host::new();
    host.image("v1");
    host.image("v2");
    host.save(&shop("v1", "blue"));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    // One client asks one thing after the other, so its answers have an order.
    let one = Load { clients: 1, pause: Duration::ZERO };
    let traffic = host.site("shop").traffic("/", one);
    host.save(&shop("v2", "green"));
    host.until_answers("shop", "v2 green");
    host.until_settled();
    let seen = traffic.end();
    seen.assert_none_failed();
    let (old, new) = (&seen.answers["v1 blue"], &seen.answers["v2 green"]);
    assert!(old.last_ms <= new.first_ms, "{:?}", seen.answers);
}

#[test]
fn a_stream_outlives_a_flip() {
    let mut host = Host::new();
    host.image("v1");
    host.image("v2");
    let patient = "    rollout: { drain_timeout: 20s }\n";
    host.save(&shop_with("v1", "blue", patient));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    let site = host.site("shop");
    let stream = std::thread::spawn(move || site.get("/stream?ms=100&n=60"));
    host.save(&shop_with("v2", "green", patient));
    host.until_answers("shop", "v2 green");
    let (status, events) = stream.join().expect("no panic").expect("the stream ends well");
    assert_eq!(status, 200);
    assert!(events.contains("data: 60 v1 blue"), "the stream was cut: {events}");
}

#[test]
fn requests_in_flight_finish_before_the_old_release_stops() {
    let mut host = Host::new();
    host.image("v1");
    host.image("v2");
    // No warm standby: the old release is stopped as soon as it is drained.
    let eager = "    rollout: { drain_timeout: 5s, bake: 0s, scale_down_delay: 0s }\n";
    host.save(&shop_with("v1", "blue", eager));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    let slow = Load { clients: 8, pause: Duration::ZERO };
    let in_flight = host.site("shop").traffic("/slow?ms=1500", slow);
    let hot = host.traffic("shop");
    host.save(&shop_with("v2", "green", eager));
    host.until_answers("shop", "v2 green");
    host.until_seen("the old release is gone", || (host.replicas().len() == 1).then_some(()));
    in_flight.end().assert_none_failed();
    hot.end().assert_none_failed();
}
