//! Disks that fill up: an engine whose images stand on a small disk of their own.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    thread,
};

use crate::rig::{
    daemon::Daemon,
    docker::{docker, docker_lenient},
    host::Host,
    registry::{Access, Registry},
    run,
};

/// A host whose engine has so many MiB for images, and a registry.
struct Cramped {
    host: Host,
    daemon: Daemon,
    registry: Registry,
    /// The registry as the engine reaches it.
    registry_there: String,
}

impl Cramped {
    fn new(number: u8, size_mib: u32) -> Cramped {
        let daemon = Daemon::start_on_disk(number, size_mib);
        let registry = Registry::start(Access::Anybody);
        let mut host = Host::new();
        host.engine = Some(daemon.host());
        let listener = TcpListener::bind((daemon.machine, 0)).expect("the link is there");
        let registry_there = listener.local_addr().expect("it is bound").to_string();
        let to = registry.host().to_owned();
        thread::spawn(move || forward(&listener, &to));
        Cramped { host, daemon, registry, registry_there }
    }

    /// Pushes a release with this much that cannot be compressed.
    fn push(&self, version: &str, ballast_mib: usize) {
        self.host.image(version);
        let tag = self.host.tag(version);
        let container = docker(&["create", &tag]).trim().to_owned();
        let ballast = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut random = fs::File::open("/dev/urandom").expect("it is there");
        let wanted = u64::try_from(ballast_mib).expect("few") << 20;
        let mut ballast_file = ballast.as_file();
        io::copy(&mut io::Read::take(&mut random, wanted), &mut ballast_file).expect("room");
        ballast_file.flush().expect("room");
        docker(&["cp", &ballast.path().display().to_string(), &format!("{container}:/ballast")]);
        docker(&["commit", &container, &tag]);
        docker(&["rm", &container]);
        self.registry.push(&tag, &format!("shop:{version}"));
        docker_lenient(&["image", "rm", &tag]);
    }

    fn save(&self, version: &str, min_free: &str) {
        let there = &self.registry_there;
        let services = format!(
            "images: {{ min_free_disk: {min_free} }}\nservices:\n  shop:\n    \
             image: {there}/shop:{version}\n    rollout: {{ progress_deadline: 10m }}\n"
        );
        self.host.save(&services);
    }

    fn until_runs(&self, version: &str) {
        let image = format!("{}/shop:{version}", self.registry_there);
        self.host.until(&format!("{version} is settled"), |status| {
            let shop = status.service("shop");
            shop.state == "settled" && shop.image.as_ref() == Some(&image)
        });
    }

    /// The containers that run, by their ids.
    fn running(&self) -> String {
        run(&mut self.daemon.docker(&["ps", "--quiet", "--no-trunc"]))
    }

    /// The disk's free space and size, in MiB.
    fn disk(&self) -> (u64, u64) {
        let mut df = Command::new("df");
        let told = run(df.args(["--block-size=1M", "--output=avail,size"]).arg(self.daemon.data()));
        let mut numbers = told.split_whitespace().filter_map(|word| word.parse().ok());
        (numbers.next().expect("a number"), numbers.next().expect("a number"))
    }

    /// Takes all but so many MiB of the disk, until the file is removed.
    fn fill(&self, leave_mib: u64) -> PathBuf {
        let path = self.daemon.data().join("somebody-elses.log");
        let take = self.disk().0.saturating_sub(leave_mib);
        run(Command::new("fallocate").arg("--length").arg(format!("{take}MiB")).arg(&path));
        path
    }
}

/// Carries connections to the registry, which is on the loopback.
fn forward(listener: &TcpListener, to: &str) {
    for here in listener.incoming() {
        let (Ok(here), Ok(there)) = (here, TcpStream::connect(to)) else { continue };
        let pairs = [(&here, &there), (&there, &here)]
            .map(|(from, to)| (from.try_clone().expect("cloned"), to.try_clone().expect("cloned")));
        for (mut from, mut to) in pairs {
            thread::spawn(move || {
                // Either side may hang up at any time.
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
        }
    }
}

#[test]
fn a_disk_with_too_little_room_starts_no_rollout_until_there_is_more() {
    let mut cramped = Cramped::new(7, 200);
    cramped.push("v1", 1);
    cramped.push("v2", 1);
    cramped.save("v1", "10%");
    cramped.host.start();
    cramped.until_runs("v1");
    let before = cramped.running();

    let filler = cramped.fill(12);
    cramped.save("v2", "10%");
    cramped.host.until("it waits for room", |s| s.service("shop").tells("10 % needed"));
    assert_eq!(cramped.running(), before);
    let images = run(&mut cramped.daemon.docker(&["images", "--quiet", "--no-trunc"]));
    // Its own name and our mark.
    let distinct: BTreeSet<&str> = images.lines().collect();
    assert_eq!(distinct.len(), 1, "v2 was pulled all the same: {images}");

    fs::remove_file(filler).expect("it is there");
    cramped.until_runs("v2");
}

#[test]
fn a_disk_that_fills_up_in_a_pull_stops_nothing_and_nothing_is_left_of_the_pull() {
    let mut cramped = Cramped::new(8, 300);
    cramped.push("v1", 1);
    cramped.push("v2", 80);
    cramped.save("v1", "0%");
    cramped.host.start();
    cramped.until_runs("v1");
    let before = cramped.running();

    // Room for what comes over the wire, and not for what it is unpacked to.
    let filler = cramped.fill(100);
    let (free, _) = cramped.disk();
    cramped.save("v2", "0%");
    cramped.host.until("the pull fails", |s| s.service("shop").tells("no space left on device"));
    assert_eq!(cramped.running(), before);
    // Between two tries it is as it was before the first.
    cramped.host.until_seen("the space is given back", || {
        let (now, _) = cramped.disk();
        (now + 2 >= free).then_some(())
    });

    fs::remove_file(filler).expect("it is there");
    cramped.until_runs("v2");
}

#[test]
fn images_that_nothing_needs_go_and_nothing_else_does() {
    let mut cramped = Cramped::new(9, 200);
    for version in ["v1", "v2", "v3", "v4"] {
        cramped.push(version, 1);
    }
    // What somebody pulled by hand and a volume that nothing uses.
    let theirs = format!("{}/shop:v2", cramped.registry_there);
    run(&mut cramped.daemon.docker(&["pull", "--quiet", &theirs]));
    run(&mut cramped.daemon.docker(&["volume", "create", "theirs"]));
    cramped.host.start();
    for version in ["v1", "v2", "v3", "v4"] {
        cramped.save(version, "0%, retain_releases: 2");
        cramped.until_runs(version);
    }
    let tags = || {
        let format = "{{.Repository}}:{{.Tag}}";
        run(&mut cramped.daemon.docker(&["images", "--format", format]))
    };
    let ours = |tags: &str| tags.lines().filter(|tag| tag.starts_with("quaymaster/")).count();
    cramped.host.until_seen("two releases are kept", || (ours(&tags()) == 2).then_some(()));
    assert!(tags().contains(&theirs), "{}", tags());
    let volumes = run(&mut cramped.daemon.docker(&["volume", "ls", "--quiet"]));
    assert!(volumes.contains("theirs"), "{volumes}");
}
