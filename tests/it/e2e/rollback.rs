//! Going back.

use super::{shop, shop_with};
use crate::rig::host::Host;

/// Returns a host that went from v1 in blue to v2 in green, blue still warm.
fn flipped() -> Host {
    let mut host = Host::new();
    host.image("v1");
    host.image("v2");
    host.save(&shop("v1", "blue"));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    host.save(&shop("v2", "green"));
    host.until_answers("shop", "v2 green");
    host.until("shop is settled in green", |s| s.service("shop").is_settled_in("green"));
    host
}

#[test]
fn a_reverted_edit_is_one_flip_without_a_pull_or_a_start() {
    let host = flipped();
    let before = host.replicas();
    let traffic = host.traffic("shop");
    host.save(&shop("v1", "blue"));
    host.until_answers("shop", "v1 blue");
    host.until("shop is settled in blue", |s| s.service("shop").is_settled_in("blue"));
    traffic.end().assert_none_failed();
    // The very same containers, none of them started again.
    assert_eq!(host.replicas(), before);
}

#[test]
fn the_rollback_command_needs_no_edit() {
    let host = flipped();
    let output = host.quaymaster(&["rollback", "shop"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    host.until_answers("shop", "v1 blue");
}

#[test]
fn the_flip_command_edits_the_file_and_keeps_its_comments() {
    let host = flipped();
    let commented = format!("# ours\n{}", host.file(&shop_with("v2", "green", "    # the end\n")));
    host.save_raw(&commented);
    host.until("shop is settled in green", |s| s.service("shop").is_settled_in("green"));
    let output = host.quaymaster(&["flip", "shop"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let edited = std::fs::read_to_string(host.file_path()).expect("the file is there");
    assert_eq!(edited, commented.replace("slot: green", "slot: blue"));
}

#[test]
fn a_reverted_edit_in_mid_rollout_leaves_no_orphan() {
    let mut host = Host::new();
    host.image("v1");
    host.image_with("v2", &[("START_DELAY", "60")]);
    host.save(&shop("v1", "blue"));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    let before = host.running("shop");
    let traffic = host.traffic("shop");
    host.save(&shop("v2", "green"));
    host.until_seen("v2 starts", || (host.running("shop").len() == 2).then_some(()));
    host.save(&shop("v1", "blue"));
    host.until_seen("v2 is gone", || (host.replicas().len() == 1).then_some(()));
    host.until_settled();
    traffic.end().assert_none_failed();
    let after = host.running("shop");
    assert_eq!(after[0].id, before[0].id, "the serving replica was replaced");
}

#[test]
fn the_status_tells_all_of_both_slots() {
    let host = flipped();
    let status = host.until_settled();
    assert_eq!(status.stack, host.stack);
    let shop = status.service("shop");
    assert_eq!(shop.strategy.as_deref(), Some("blue-green"));
    assert_eq!(shop.image, Some(host.tag("v2")));
    assert!(shop.digest.as_ref().is_some_and(|digest| digest.starts_with("sha256:")));
    let (blue, green) = (shop.slots.blue.as_ref(), shop.slots.green.as_ref());
    let (blue, green) = (blue.expect("blue is warm"), green.expect("green is active"));
    assert_eq!((&blue.image, &green.image), (&Some(host.tag("v1")), &Some(host.tag("v2"))));
    assert_eq!((green.ready, green.replicas), (1, 1));
    assert_eq!((blue.ready, blue.replicas), (1, 1));
    // It finished its bake, so it is also the last good one.
    assert_eq!(shop.release, green.release);
    assert_eq!(shop.last_good, green.release);
    assert_ne!(blue.release, green.release);
}
