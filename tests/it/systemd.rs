//! What systemd hears.

use std::{os::unix::net::UnixDatagram, time::Duration};

use quaymaster::systemd::{self, Heartbeat};

use crate::child;

/// Tells systemd everything once.
#[tokio::test]
#[ignore = "the child of systemd_hears_ready_status_and_that_we_live"]
async fn told() {
    let Some(_) = child::argument() else { return };
    systemd::ready();
    systemd::status("6 settled\nSTOPPING=1");
    let feeding = systemd::feed_watchdog(Heartbeat::new(Duration::from_secs(60)));
    std::future::pending::<()>().await;
    drop(feeding);
}

#[test]
fn systemd_hears_ready_status_and_that_we_live() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
    let mut child = child::running("systemd::told", "all")
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "20000")
        .spawn()
        .expect("it runs");
    let heard: Vec<String> = (0..4)
        .map(|_| {
            let mut buffer = [0; 256];
            let length = socket.recv(&mut buffer).expect("it speaks");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        })
        .collect();
    child.kill().expect("it lives");
    child.wait().expect("it was ours");
    assert_eq!(
        heard,
        ["READY=1\n", "STATUS=6 settled STOPPING=1\n", "WATCHDOG=1\n", "WATCHDOG=1\n"]
    );
}

#[test]
fn a_heart_without_a_beat_stops() {
    let heartbeat = Heartbeat::new(Duration::ZERO);
    heartbeat.beat();
    while heartbeat.is_beating() {
        std::thread::yield_now();
    }
    assert!(Heartbeat::new(Duration::from_secs(3_600)).is_beating());
}
