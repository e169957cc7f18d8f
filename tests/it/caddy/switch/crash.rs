//! A controller that dies between the write to Caddy and the switch file.

use reqwest::Method;

use super::*;
use crate::rig::{backend, caddy::binaries};

#[tokio::test]
async fn after_a_crash_before_the_switch_the_old_release_answers_and_the_flip_is_made_up_for() {
    for binary in binaries() {
        let quay = Quay::open(&binary).await;
        let blue = release(Slot::Blue, "b10eb10eb10e", &[backend::answering("blue").await]);
        let green = release(Slot::Green, "9e3e9e3e9e3e", &[backend::answering("green").await]);
        quay.write(&blue).await;
        let file = fs::read(quay.file("web.1")).unwrap();
        quay.write(&green).await;
        // The half that a crash leaves: both lanes in Caddy, the old file.
        fs::write(quay.file("web.1"), &file).unwrap();
        fs::remove_file(quay.file("web.2")).unwrap();
        let configured = quay.configured().await;

        let restarted = Caddy::new(&"shop".parse().unwrap(), quay.state.path());
        let seen = restarted.observe(&quay.config).await.unwrap();
        assert_eq!((seen.table, seen.intact), (blue.clone(), true));
        assert_served(quay.port, HOST, "/", 200, "blue").await;

        restarted.write(&quay.config, &green).await.unwrap();
        assert_eq!(quay.configured().await, configured);
        assert_served(quay.port, HOST, "/", 200, "green").await;
        quay.assert_stands(&green).await;
    }
}

#[tokio::test]
async fn after_a_crash_between_the_two_names_the_one_that_caddy_finds_first_is_what_stands() {
    for binary in binaries() {
        let quay = Quay::open(&binary).await;
        let blue = release(Slot::Blue, "b10eb10eb10e", &[backend::answering("blue").await]);
        let green = release(Slot::Green, "9e3e9e3e9e3e", &[backend::answering("green").await]);
        quay.write(&blue).await;
        let one = fs::read(quay.file("web.1")).unwrap();
        quay.write(&green).await;
        fs::write(quay.file("web.1"), &one).unwrap();
        // What was being written when it died.
        fs::write(quay.file("new"), "{\"1\":").unwrap();

        let seen = quay.observe().await;
        assert_eq!((seen.table, seen.intact), (green.clone(), false));
        assert_served(quay.port, HOST, "/", 200, "green").await;

        quay.write(&blue).await;
        quay.assert_stands(&blue).await;
        assert_eq!(quay.files(), ["web.1"]);
        assert_served(quay.port, HOST, "/", 200, "blue").await;
    }
}

#[tokio::test]
async fn a_caddy_that_lost_our_routes_gets_them_back_with_the_lane_that_was_active() {
    for binary in binaries() {
        let mut quay = Quay::open(&binary).await;
        let blue = release(Slot::Blue, "b10eb10eb10e", &[backend::answering("blue").await]);
        let green = release(Slot::Green, "9e3e9e3e9e3e", &[backend::answering("green").await]);
        quay.write(&blue).await;
        quay.write(&with_standby(&green, &blue)).await;

        quay.at.restart().await;
        let seen = quay.observe().await;
        assert_eq!((seen.table, seen.intact), (RouteTable::new(), false));
        quay.write(&with_standby(&green, &blue)).await;

        quay.assert_stands(&with_standby(&green, &blue)).await;
        assert_served(quay.port, HOST, "/", 200, "green").await;
        assert_eq!(quay.files(), ["web.2+standby"]);
    }
}

#[tokio::test]
async fn any_edit_of_our_routes_is_noticed_and_put_right() {
    let service = "apps/http/servers/srv0/routes/0/handle/0/routes/0/handle/0";
    let edits = [
        (Method::DELETE, format!("{service}/routes/0"), Value::Null),
        (Method::PATCH, format!("{service}/routes/2/match/0/file/root"), json!("/elsewhere")),
        (
            Method::PATCH,
            format!("{service}/routes/1/handle/0/upstreams"),
            json!([{ "dial": "10.9.9.9:1" }]),
        ),
        (Method::DELETE, format!("{service}/routes/3/handle/0/health_checks"), Value::Null),
        (Method::PATCH, format!("{service}/routes"), json!([])),
    ];
    for binary in binaries() {
        let quay = Quay::open(&binary).await;
        let blue = release(Slot::Blue, "b10eb10eb10e", &[backend::answering("blue").await]);
        let green = release(Slot::Green, "9e3e9e3e9e3e", &[backend::answering("green").await]);
        quay.write(&blue).await;
        let wanted = with_standby(&green, &blue);
        quay.write(&wanted).await;
        let right = quay.configured().await;
        for (method, path, value) in &edits {
            quay.at.edit(method.clone(), path, value).await;
            let seen = quay.observe().await;
            assert!(!seen.intact || seen.table != wanted, "{method} {path} went unnoticed");
            quay.write(&wanted).await;
            quay.assert_stands(&wanted).await;
            assert_eq!(quay.configured().await, right, "{method} {path}");
        }
        assert_served(quay.port, HOST, "/", 200, "green").await;
    }
}
