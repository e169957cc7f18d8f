//! What people and accidents do to the switch files.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::rig::{backend, caddy::binaries};

type Damage = (&'static str, fn(&Quay));

/// What stands is `web.2+standby`.
const DAMAGES: [Damage; 11] = [
    ("missing", |quay| fs::remove_file(quay.file("web.2+standby")).unwrap()),
    ("doubled", |quay| fs::write(quay.file("web.2"), "x").map(drop).unwrap()),
    ("doubled by one that does not count", |quay| fs::write(quay.file("web.1"), "x").unwrap()),
    ("renamed", |quay| fs::rename(quay.file("web.2+standby"), quay.file("web.1")).unwrap()),
    ("empty", |quay| fs::write(quay.file("web.2+standby"), "").unwrap()),
    ("not text", |quay| fs::write(quay.file("web.2+standby"), [0xff; 9000]).unwrap()),
    ("of an unknown service", |quay| fs::write(quay.file("other.1"), "x").unwrap()),
    ("a folder", |quay| {
        fs::remove_file(quay.file("web.2+standby")).unwrap();
        fs::create_dir_all(quay.file("web.2+standby").join("within")).unwrap();
    }),
    ("a link to nowhere", |quay| {
        fs::remove_file(quay.file("web.2+standby")).unwrap();
        symlink("nowhere", quay.file("web.2+standby")).unwrap();
    }),
    ("all gone", |quay| fs::remove_dir_all(quay.state.path().join("switch")).unwrap()),
    ("no folder", |quay| {
        fs::remove_dir_all(quay.folder()).unwrap();
        fs::write(quay.folder(), "x").unwrap();
    }),
];

#[tokio::test]
async fn every_damage_is_noticed_and_one_write_repairs_it_without_a_word_to_caddy() {
    for binary in binaries() {
        let quay = Quay::open(&binary).await;
        let blue = release(Slot::Blue, "b10eb10eb10e", &[backend::answering("blue").await]);
        let green = release(Slot::Green, "9e3e9e3e9e3e", &[backend::answering("green").await]);
        quay.write(&blue).await;
        let wanted = with_standby(&green, &blue);
        quay.write(&wanted).await;
        let configured = quay.configured().await;
        for (name, damage) in DAMAGES {
            quay.assert_stands(&wanted).await;
            damage(&quay);
            let seen = quay.observe().await;
            assert!(!seen.intact || seen.table != wanted, "{name} went unnoticed");
            // What is told of a route is what Caddy does, or nothing.
            let answers = get(quay.port, HOST, "/").await.unwrap().1;
            for state in seen.table.values() {
                assert_eq!(state.backend.slot.as_str(), answers, "{name}");
            }

            quay.write(&wanted).await;

            quay.assert_stands(&wanted).await;
            assert_eq!(quay.files(), ["web.2+standby"], "{name}");
            assert_eq!(get(quay.port, HOST, "/").await.unwrap(), (200, "green".into()), "{name}");
            assert_eq!(quay.configured().await, configured, "{name}");
        }
    }
}

#[tokio::test]
async fn a_folder_that_was_closed_to_others_is_opened_again_by_the_next_look() {
    for binary in binaries() {
        let quay = Quay::open(&binary).await;
        let wanted = release(Slot::Blue, "b10eb10eb10e", &[nowhere()]);
        quay.write(&wanted).await;
        for folder in [quay.folder(), quay.state.path().join("switch")] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
            quay.assert_stands(&wanted).await;
            let mode = fs::metadata(&folder).unwrap().permissions().mode();
            assert_eq!(mode & 0o011, 0o011, "{}", folder.display());
        }
    }
}

#[tokio::test]
async fn an_edit_that_names_another_release_is_told_as_what_it_says() {
    for binary in binaries() {
        let quay = Quay::open(&binary).await;
        let wanted = release(Slot::Blue, "b10eb10eb10e", &[backend::answering("blue").await]);
        quay.write(&wanted).await;
        let content = fs::read_to_string(quay.file("web.1")).unwrap();
        fs::write(quay.file("web.1"), content.replace("b10eb10eb10e", "000000000000")).unwrap();
        let seen = quay.observe().await;
        assert_eq!(seen.table[&service()].backend.release.to_string(), "000000000000");
        quay.write(&wanted).await;
        quay.assert_stands(&wanted).await;
    }
}

#[tokio::test]
async fn a_folder_that_vanished_while_the_other_lane_was_dead_costs_no_request() {
    for binary in binaries() {
        let quay = Quay::open(&binary).await;
        let dead = SocketAddr::from(([127, 0, 0, 1], port::free()));
        let green = release(Slot::Green, "9e3e9e3e9e3e", &[backend::answering("green").await]);
        quay.write(&release(Slot::Blue, "b10eb10eb10e", &[dead])).await;
        quay.write(&green).await;
        assert_eq!(quay.files(), ["web.2"]);
        assert_served(quay.port, HOST, "/", 200, "green").await;

        fs::remove_dir_all(quay.state.path().join("switch")).unwrap();

        for _ in 0..20 {
            assert_eq!(get(quay.port, HOST, "/").await.unwrap(), (200, "green".into()));
        }
    }
}
