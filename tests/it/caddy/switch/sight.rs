//! Which mechanism is used, and what becomes of the routes when it changes.

use std::{
    fs::File,
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, PermissionsExt, symlink},
    },
};

use quaymaster::domain::snapshot::FailureKind;

use super::*;
use crate::rig::{backend, caddy::binaries};

/// A state folder that Caddy sees only when told to, as one that is mounted into
/// its container or not: its path leads over a link, either straight to the
/// folder or by way of a file handle that only this process has.
struct Mount {
    state: TempDir,
    handle: File,
}

impl Mount {
    fn new() -> Mount {
        let state = tempfile::tempdir().unwrap();
        fs::create_dir(state.path().join("real")).unwrap();
        let handle = File::open(state.path().join("real")).unwrap();
        let mount = Mount { state, handle };
        mount.hide();
        mount
    }

    fn path(&self) -> PathBuf {
        self.state.path().join("state")
    }

    fn hide(&self) {
        self.lead_to(Path::new(&format!("/proc/self/fd/{}", self.handle.as_raw_fd())));
    }

    fn show(&self) {
        self.lead_to(&self.state.path().join("real"));
    }

    fn lead_to(&self, target: &Path) {
        let new = self.state.path().join("new");
        symlink(target, &new).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    fn caddy(&self) -> Caddy {
        Caddy::new(&"shop".parse().unwrap(), &self.path())
    }
}

fn why(flip: &FlipMechanism) -> &str {
    match flip {
        FlipMechanism::AdminApi { why } | FlipMechanism::Blocked { why } => why,
        FlipMechanism::SwitchFile => "",
    }
}

#[tokio::test]
async fn the_admin_api_is_used_where_caddy_does_not_see_the_folder_and_the_reason_told() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        let mount = Mount::new();
        let caddy = mount.caddy();
        let config = ProxyConfig { flip: FlipChoice::Auto, ..at.proxy_config() };
        let blue = web(Slot::Blue, backend::answering("blue").await);

        caddy.write(&config, &blue).await.unwrap();

        let seen = caddy.observe(&config).await.unwrap();
        assert_eq!((&seen.table, seen.intact), (&blue, true));
        let folder = mount.path().join("switch/shop");
        let reason = format!("Caddy does not see {}", folder.display());
        assert!(matches!(seen.flip, FlipMechanism::AdminApi { .. }), "{:?}", seen.flip);
        assert!(why(&seen.flip).contains(&reason), "{:?}", seen.flip);
        assert_served(port, HOST, "/", 200, "blue").await;
        assert!(!at.read("apps").await.to_string().contains("try_files"));
    }
}

#[tokio::test]
async fn the_mechanism_changes_with_what_caddy_sees_and_the_release_stays() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        let mount = Mount::new();
        let caddy = mount.caddy();
        let config = ProxyConfig { flip: FlipChoice::Auto, ..at.proxy_config() };
        let blue = web(Slot::Blue, backend::answering("blue").await);
        let green = web(Slot::Green, backend::answering("green").await);
        let wanted = with_standby(&green, &blue);
        caddy.write(&config, &wanted).await.unwrap();
        for _ in 0..2 {
            mount.show();
            caddy.write(&config, &wanted).await.unwrap();
            let seen = caddy.observe(&config).await.unwrap();
            assert_eq!(seen.flip, FlipMechanism::SwitchFile);
            assert_eq!((&seen.table, seen.intact), (&wanted, true));
            assert_served(port, HOST, "/", 200, "green").await;

            mount.hide();
            caddy.write(&config, &wanted).await.unwrap();
            let seen = caddy.observe(&config).await.unwrap();
            assert!(matches!(seen.flip, FlipMechanism::AdminApi { .. }), "{:?}", seen.flip);
            assert_eq!((&seen.table, seen.intact), (&wanted, true));
            assert_served(port, HOST, "/", 200, "green").await;
        }
    }
}

#[tokio::test]
async fn where_caddy_lost_sight_of_the_folder_what_it_does_then_is_told() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        let mount = Mount::new();
        mount.show();
        let config = ProxyConfig { flip: FlipChoice::Auto, ..at.proxy_config() };
        let blue = web(Slot::Blue, backend::answering("blue").await);
        let green = web(Slot::Green, backend::answering("green").await);
        let caddy = mount.caddy();
        caddy.write(&config, &blue).await.unwrap();
        caddy.write(&config, &green).await.unwrap();
        assert_served(port, HOST, "/", 200, "green").await;

        mount.hide();
        let seen = mount.caddy().observe(&config).await.unwrap();

        assert_eq!(get(port, HOST, "/").await.unwrap(), (200, "blue".into()));
        assert_eq!((seen.table, seen.intact), (with_standby(&blue, &green), false));
        // A flip that Caddy would not see is not made by a rename.
        caddy.write(&config, &green).await.unwrap();
        assert_served(port, HOST, "/", 200, "green").await;
        assert!(!at.read("apps").await.to_string().contains("try_files"));
    }
}

#[tokio::test]
async fn a_switch_file_that_is_asked_for_and_cannot_be_had_is_refused_with_the_mend() {
    for binary in binaries() {
        let at = RunningCaddy::start(&binary, one_server(port::free())).await;
        let before = at.read_bytes("apps").await;
        let mount = Mount::new();
        let caddy = mount.caddy();
        let config = ProxyConfig { flip: FlipChoice::SwitchFile, ..at.proxy_config() };

        let failure = caddy.write(&config, &web(Slot::Blue, nowhere())).await.unwrap_err();

        assert_eq!(failure.kind, FailureKind::Refused);
        let folder = mount.path().join("switch/shop");
        for words in ["proxy.caddy.flip: switch-file", &folder.display().to_string(), "mount it"] {
            assert!(failure.message.contains(words), "{failure}");
        }
        assert_eq!(at.read_bytes("apps").await, before);
        let seen = caddy.observe(&config).await.unwrap();
        assert_eq!(why(&seen.flip), failure.message);
        assert!(seen.intact, "a stack without routes needs no mechanism");

        mount.show();
        caddy.write(&config, &web(Slot::Blue, nowhere())).await.unwrap();
        assert_eq!(caddy.observe(&config).await.unwrap().flip, FlipMechanism::SwitchFile);
    }
}

#[tokio::test]
async fn the_file_can_ask_for_the_admin_api_and_back() {
    for binary in binaries() {
        let quay = Quay::open(&binary).await;
        let green = release(Slot::Green, "9e3e9e3e9e3e", &[backend::answering("green").await]);
        let by_admin = ProxyConfig { flip: FlipChoice::AdminApi, ..quay.config.clone() };
        for _ in 0..2 {
            quay.write(&green).await;
            quay.assert_stands(&green).await;
            let seen = quay.caddy.observe(&by_admin).await.unwrap();
            assert_eq!((&seen.table, seen.intact), (&green, false));
            assert!(why(&seen.flip).contains("proxy.caddy.flip: admin-api"), "{:?}", seen.flip);

            quay.caddy.write(&by_admin, &green).await.unwrap();
            let seen = quay.caddy.observe(&by_admin).await.unwrap();
            assert_eq!((&seen.table, seen.intact), (&green, true));
            let seen = quay.observe().await;
            assert_eq!((&seen.table, seen.intact), (&green, false));
        }
    }
}

#[tokio::test]
async fn a_look_creates_nothing_and_tells_what_the_controller_tells() {
    for binary in binaries() {
        let quay = Quay::open(&binary).await;
        let look = || Caddy::onlooking(&"shop".parse().unwrap(), quay.state.path());
        let seen = look().observe(&quay.config).await.unwrap();
        assert!(matches!(seen.flip, FlipMechanism::AdminApi { .. }), "{:?}", seen.flip);
        assert!(seen.intact);
        assert_eq!(fs::read_dir(quay.state.path()).unwrap().count(), 0);

        let blue = release(Slot::Blue, "b10eb10eb10e", &[nowhere()]);
        quay.write(&blue).await;
        assert_eq!(look().observe(&quay.config).await.unwrap(), quay.observe().await);
    }
}

#[tokio::test]
async fn a_caddy_of_another_user_sees_the_folder_once_the_way_to_it_is_open() {
    // Only root can start a Caddy as somebody else.
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start_as(&binary, 65_534, one_server(port)).await;
        let state = tempfile::tempdir().unwrap();
        fs::set_permissions(state.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let caddy = Caddy::new(&"shop".parse().unwrap(), state.path());
        let config = ProxyConfig { flip: FlipChoice::Auto, ..at.proxy_config() };
        let blue = web(Slot::Blue, backend::answering("blue").await);
        caddy.write(&config, &blue).await.unwrap();
        let seen = caddy.observe(&config).await.unwrap();
        assert!(why(&seen.flip).contains("chmod o+x"), "{:?}", seen.flip);

        fs::set_permissions(state.path(), fs::Permissions::from_mode(0o711)).unwrap();

        // No write is needed for it to be noticed.
        let seen = caddy.observe(&config).await.unwrap();
        assert_eq!(seen.flip, FlipMechanism::SwitchFile);
        let green = web(Slot::Green, backend::answering("green").await);
        caddy.write(&config, &blue).await.unwrap();
        caddy.write(&config, &green).await.unwrap();
        assert_served(port, HOST, "/", 200, "green").await;
        caddy.write(&config, &blue).await.unwrap();
        assert_eq!(get(port, HOST, "/").await.unwrap(), (200, "blue".into()));
    }
}
