//! One container's life.

use std::{collections::BTreeSet, time::Duration};

use quaymaster::{
    docker::Docker,
    domain::{
        ContainerId, ContainerSpec, Digest, Secret,
        release::{
            Healthcheck, Logging, Mount, MountSource, PortProtocol, PublishedPort, Resources,
        },
        snapshot::{ContainerState, FailureKind, Health, Listed},
        stack::{NetworkSpec, VolumeSpec},
    },
    plan::NewContainer,
    ports::Engine,
};
use serde_json::json;

use super::{Berth, attachment, docker, eventually, inspect, only, quiet};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_replica_lives_from_creation_to_removal() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let network = berth.name("default");
    engine.create_network(&network, &NetworkSpec::default()).await.expect("a network");
    let image = berth.image();
    let spec = ContainerSpec {
        networks: vec![attachment(&network, &["web"])],
        route_port: Some(8080),
        ..ContainerSpec::default()
    };
    let new = berth.replica(&image, &["serve"], spec);

    engine.create(&new).await.expect("created");
    let created = only(&engine).await;
    assert_eq!((&created.name, &created.service), (&new.name, &new.service));
    assert_eq!((created.slot, created.replica), (new.slot, new.replica));
    assert_eq!((&created.release, &created.digest), (&new.release.id, &new.release.digest));
    assert_eq!((&created.image_id, created.route_port), (&new.release.image_id, Some(8080)));
    assert_eq!((created.state, created.addresses.len()), (ContainerState::Created, 0));
    let inspected = inspect(&created.id);
    assert_eq!(inspected["HostConfig"]["RestartPolicy"]["Name"], "no");
    let aliases = &inspected["NetworkSettings"]["Networks"][&network]["Aliases"];
    assert!(aliases.as_array().expect("aliases").contains(&json!("web")), "{aliases}");

    engine.start(&created.id).await.expect("started");
    let running = only(&engine).await;
    assert_eq!(running.state, ContainerState::Running { health: None });
    let address = running.addresses[&network].to_string();
    let inspected = inspect(&created.id);
    assert_eq!(inspected["NetworkSettings"]["Networks"][&network]["IPAddress"], address);
    engine.start(&created.id).await.expect("a running one counts as started");

    engine.stop(&created.id, Some(SECOND)).await.expect("stopped");
    let stopped = only(&engine).await;
    assert_eq!(stopped.state, ContainerState::Exited { code: 0 });
    assert!(stopped.addresses.is_empty(), "an address of one that does not run");
    engine.stop(&created.id, Some(SECOND)).await.expect("a stopped one counts as stopped");

    engine.remove(&created.id).await.expect("removed");
    assert_eq!(engine.containers().await.expect("listed"), Listed::default());
    engine.remove(&created.id).await.expect("one that is gone counts as removed");
    engine.stop(&created.id, None).await.expect("one that is gone counts as stopped");
}

#[tokio::test]
async fn every_field_of_the_spec_reaches_docker() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let text = str::to_owned;
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("made-by-docker");
    let mount = |source, target: &str, read_only| Mount { source, target: text(target), read_only };
    let spec = ContainerSpec {
        entrypoint: Some(vec![text("/tiny")]),
        environment: [
            (text("KEY"), Secret::new("a=b")),
            (text("QUAYMASTER_SLOT"), Secret::new("x")),
        ]
        .into(),
        mounts: vec![
            mount(MountSource::Volume(berth.name("data")), "/data", false),
            mount(MountSource::Bind(missing.display().to_string()), "/bind", true),
            mount(MountSource::Anonymous, "/scratch", false),
            mount(MountSource::Tmpfs { size_bytes: Some(1 << 20) }, "/tmp", false),
        ],
        ports: vec![PublishedPort {
            container_port: 8080,
            protocol: PortProtocol::Udp,
            host_port: None,
            host_ip: Some([127, 0, 0, 1].into()),
        }],
        expose: [text("9000"), text("9001/udp")].into(),
        healthcheck: Some(Healthcheck {
            test: vec![text("CMD"), text("/tiny"), text("exit")],
            interval: Some(SECOND * 3),
            timeout: Some(SECOND * 2),
            start_period: Some(SECOND),
            start_interval: Some(SECOND),
            retries: Some(4),
        }),
        user: Some(text("1000:1000")),
        working_dir: Some(text("/work")),
        stop_signal: Some(text("SIGINT")),
        stop_grace_period: Some(Duration::from_millis(1500)),
        resources: Resources {
            cpu_limit_milli: Some(250),
            memory_limit_bytes: Some(64 << 20),
            memory_reservation_bytes: Some(32 << 20),
            pids_limit: Some(50),
        },
        logging: Some(Logging {
            driver: Some(text("json-file")),
            options: [(text("max-size"), text("1m"))].into(),
        }),
        labels: [(text("team"), text("docks"))].into(),
        extra_hosts: [(text("db"), text("10.0.0.9"))].into(),
        ulimits: [(text("nofile"), (100, 200))].into(),
        cap_add: [text("NET_ADMIN")].into(),
        cap_drop: [text("MKNOD")].into(),
        read_only: true,
        tmpfs: [(text("/run"), text("size=64k"))].into(),
        init: Some(true),
        shm_size_bytes: Some(1 << 21),
        security_opt: vec![text("no-new-privileges:true")],
        ..ContainerSpec::default()
    };
    engine.create_volume(&berth.name("data"), &Default::default()).await.expect("a volume");
    let new = berth.replica(&image, &["serve", "now"], spec);
    engine.create(&new).await.expect("created");
    let seen = inspect(&only(&engine).await.id);
    let (config, host) = (&seen["Config"], &seen["HostConfig"]);

    assert_eq!(config["Entrypoint"], json!(["/tiny"]));
    assert_eq!(config["Cmd"], json!(["serve", "now"]));
    let environment: BTreeSet<&str> =
        config["Env"].as_array().expect("a list").iter().filter_map(|e| e.as_str()).collect();
    for variable in [
        "KEY=a=b".to_owned(),
        format!("QUAYMASTER_STACK={}", berth.stack),
        "QUAYMASTER_SERVICE=web".to_owned(),
        "QUAYMASTER_SLOT=blue".to_owned(),
        format!("QUAYMASTER_RELEASE={}", new.release.id),
        "QUAYMASTER_REPLICA=1".to_owned(),
    ] {
        assert!(environment.contains(variable.as_str()), "{variable} not in {environment:?}");
    }
    assert!(!environment.contains("QUAYMASTER_SLOT=x"), "the file overwrote ours");
    assert_eq!(config["User"], "1000:1000");
    assert_eq!(config["WorkingDir"], "/work");
    assert_eq!((&config["StopSignal"], &config["StopTimeout"]), (&json!("SIGINT"), &json!(2)));
    assert_eq!(
        config["Healthcheck"],
        json!({ "Test": ["CMD", "/tiny", "exit"], "Interval": 3_000_000_000_i64,
            "Timeout": 2_000_000_000_i64, "StartPeriod": 1_000_000_000, "Retries": 4 })
    );
    assert_eq!(config["ExposedPorts"], json!({ "8080/udp": {}, "9000/tcp": {}, "9001/udp": {} }));
    assert_eq!(config["Labels"]["team"], "docks");

    assert_eq!(host["Binds"], json!([format!("{}:/bind:ro", missing.display())]));
    let mounts = host["Mounts"].as_array().expect("a list");
    let kinds: Vec<_> = mounts.iter().map(|m| (m["Type"].as_str(), m["Target"].as_str())).collect();
    assert_eq!(
        kinds,
        [("volume", "/data"), ("volume", "/scratch"), ("tmpfs", "/tmp")]
            .map(|(k, t)| (Some(k), Some(t)))
    );
    assert_eq!(mounts[0]["Source"], berth.name("data"));
    assert_eq!(mounts[2]["TmpfsOptions"]["SizeBytes"], 1 << 20);
    assert_eq!(
        host["PortBindings"],
        json!({ "8080/udp": [{ "HostIp": "127.0.0.1", "HostPort": "" }] })
    );
    assert_eq!((&host["NanoCpus"], &host["PidsLimit"]), (&json!(250_000_000), &json!(50)));
    assert_eq!((&host["Memory"], &host["MemoryReservation"]), (&json!(64 << 20), &json!(32 << 20)));
    // The engine may add defaults of its own.
    assert_eq!(host["LogConfig"]["Type"], "json-file");
    assert_eq!(host["LogConfig"]["Config"]["max-size"], "1m");
    assert_eq!(host["ExtraHosts"], json!(["db:10.0.0.9"]));
    assert_eq!(host["Ulimits"], json!([{ "Name": "nofile", "Soft": 100, "Hard": 200 }]));
    let capabilities = (host["CapAdd"].to_string(), host["CapDrop"].to_string());
    assert!(capabilities.0.contains("NET_ADMIN") && capabilities.1.contains("MKNOD"));
    assert_eq!((&host["ReadonlyRootfs"], &host["Init"]), (&json!(true), &json!(true)));
    assert_eq!(host["Tmpfs"], json!({ "/run": "size=64k" }));
    assert_eq!(host["ShmSize"], 1 << 21);
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges:true"]));
}

#[tokio::test]
async fn creating_twice_makes_one() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let new = berth.replica(&image, &["serve"], ContainerSpec::default());
    engine.create(&new).await.expect("created");
    let first = only(&engine).await;
    engine.create(&new).await.expect("it counts as created");
    assert_eq!(only(&engine).await.id, first.id);
}

#[tokio::test]
async fn a_foreign_container_with_our_name_is_told_and_left_alone() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let new = berth.replica(&image, &["serve"], ContainerSpec::default());
    let foreign = docker(&["create", "--name", &new.name, &image]);
    let failure = engine.create(&new).await.expect_err("the name is taken");
    quiet(&["rm", &new.name]);
    assert_eq!(failure.kind, FailureKind::NameTaken);
    let short = &foreign.trim()[..12];
    let mend = format!("docker rename {short} {}-old", new.name);
    assert!(failure.message.contains(&mend), "{failure}");
}

#[tokio::test]
async fn another_release_with_the_same_name_is_not_taken_for_this_one() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let first = berth.replica(&image, &["serve"], ContainerSpec::default());
    engine.create(&first).await.expect("created");
    let second = berth.replica(&image, &["serve", "anew"], ContainerSpec::default());
    let failure = engine.create(&second).await.expect_err("the name is taken");
    assert_eq!(failure.kind, FailureKind::NameTaken);
}

#[tokio::test]
async fn an_image_that_is_gone_is_told_as_such() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let mut new = berth.replica(&image, &["serve"], ContainerSpec::default());
    new.release.image_id = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
    let failure = engine.create(&new).await.expect_err("no such image");
    assert_eq!(failure.kind, FailureKind::NoSuchImage, "{failure}");
}

#[tokio::test]
async fn a_container_without_readable_labels_is_left_out() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let ours = berth.running(&engine, &["serve"]).await;
    let label = format!("quaymaster.stack={}", berth.stack);
    docker(&["create", "--label", &label, &berth.images[0]]);
    assert_eq!(only(&engine).await.id, ours.id);
}

#[tokio::test]
async fn exit_codes_and_health_come_with_the_list() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let failing = berth.replica(&image, &["exit", "42"], ContainerSpec::default());
    engine.create(&failing).await.expect("created");
    let id = only(&engine).await.id;
    engine.start(&id).await.expect("started");
    eventually(|| async {
        (only(&engine).await.state == ContainerState::Exited { code: 42 }).then_some(())
    })
    .await;
    engine.remove(&id).await.expect("removed");

    let check = |code: &str| Healthcheck {
        test: vec!["CMD".to_owned(), "/tiny".to_owned(), "exit".to_owned(), code.to_owned()],
        interval: Some(Duration::from_millis(200)),
        timeout: Some(SECOND * 30),
        start_period: None,
        start_interval: None,
        retries: Some(1),
    };
    for (code, health) in [("0", Health::Healthy), ("1", Health::Unhealthy)] {
        let spec = ContainerSpec { healthcheck: Some(check(code)), ..ContainerSpec::default() };
        let new = berth.replica(&image, &["serve"], spec);
        engine.create(&new).await.expect("created");
        let id = only(&engine).await.id;
        engine.start(&id).await.expect("started");
        let wanted = ContainerState::Running { health: Some(health) };
        eventually(|| async { (only(&engine).await.state == wanted).then_some(()) }).await;
        engine.stop(&id, Some(SECOND)).await.expect("stopped");
        engine.remove(&id).await.expect("removed");
    }
}

#[tokio::test]
async fn named_volumes_outlive_the_replica_and_anonymous_ones_do_not() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let named = berth.name("data");
    engine.create_volume(&named, &Default::default()).await.expect("a volume");
    let mount =
        |source, target: &str| Mount { source, target: target.to_owned(), read_only: false };
    let mounts = vec![
        mount(MountSource::Volume(named.clone()), "/data"),
        mount(MountSource::Anonymous, "/scratch"),
    ];
    let spec = ContainerSpec { mounts, ..ContainerSpec::default() };
    engine.create(&berth.replica(&image, &["serve"], spec)).await.expect("created");
    let id = only(&engine).await.id;
    engine.start(&id).await.expect("started");
    let seen = inspect(&id);
    let anonymous = seen["Mounts"]
        .as_array()
        .and_then(|mounts| mounts.iter().find(|mount| mount["Destination"] == "/scratch"))
        .and_then(|mount| mount["Name"].as_str())
        .expect("it was mounted")
        .to_owned();
    engine.stop(&id, Some(SECOND)).await.expect("stopped");
    engine.remove(&id).await.expect("removed");
    let volumes = engine.host().await.expect("seen").volumes;
    assert!(volumes.contains(&named) && !volumes.contains(&anonymous), "{volumes:?}");
}

#[tokio::test]
async fn a_missing_source_of_a_bind_mount_is_made_as_compose_does() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("data");
    let source = MountSource::Bind(missing.display().to_string());
    let mounts = vec![Mount { source, target: "/data".to_owned(), read_only: false }];
    let spec = ContainerSpec { mounts, ..ContainerSpec::default() };
    engine.create(&berth.replica(&image, &["serve"], spec)).await.expect("created");
    engine.start(&only(&engine).await.id).await.expect("started");
    assert!(missing.is_dir());
}

#[tokio::test]
async fn all_networks_are_joined_before_the_first_start_whatever_crashed() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let networks = ["front", "middle", "back"].map(|name| berth.name(name));
    for network in &networks {
        engine.create_network(network, &NetworkSpec::default()).await.expect("a network");
    }
    let networks_of = networks.iter().map(|network| attachment(network, &["app"])).collect();
    let spec = ContainerSpec { networks: networks_of, ..ContainerSpec::default() };
    engine.create(&berth.replica(&image, &["serve"], spec)).await.expect("created");
    // Another process goes on from here.
    drop(engine);
    let engine: Docker = berth.docker().await;
    let id = only(&engine).await.id;
    engine.start(&id).await.expect("started");
    let addresses = only(&engine).await.addresses;
    assert_eq!(addresses.keys().collect::<BTreeSet<_>>(), networks.iter().collect());
    let seen = inspect(&id);
    for network in &networks {
        let aliases = &seen["NetworkSettings"]["Networks"][network]["Aliases"];
        assert!(
            aliases.as_array().expect("aliases").contains(&json!("app")),
            "{network}: {aliases}"
        );
    }
}

#[tokio::test]
async fn a_refused_environment_is_not_quoted() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let environment = [(String::new(), Secret::new("hunter2"))].into();
    let spec = ContainerSpec { environment, ..ContainerSpec::default() };
    let new: NewContainer = berth.replica(&image, &["serve"], spec);
    let failure = engine.create(&new).await.expect_err("a variable without a name");
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(!failure.message.contains("hunter2"), "{failure}");
    assert!(failure.message.contains("(hidden)"), "Docker's words have changed: {failure}");
}

#[tokio::test]
async fn what_is_not_ours_is_not_seen() {
    let mut berth = Berth::new();
    let other = Berth::new();
    let engine = berth.docker().await;
    berth.running(&engine, &["serve"]).await;
    assert_eq!(other.docker().await.containers().await.expect("listed"), Listed::default());
    let absent = ContainerId("0".repeat(64));
    engine.remove(&absent).await.expect("gone");
    let digest: Digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
    engine.remove_image(&digest, &digest).await.expect("gone");
}

#[tokio::test]
async fn no_replica_is_created_beside_composes_own_on_one_volume() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let volume = berth.name("data");
    engine.create_volume(&volume, &VolumeSpec::default()).await.expect("created");
    let label = format!("com.docker.compose.project={}", berth.stack);
    let name = format!("{}-db-1", berth.stack);
    let mount = format!("{volume}:/data");
    docker(&["run", "-d", "--name", &name, "--label", &label, "-v", &mount, &image, "serve"]);

    let target = MountSource::Volume(volume.clone());
    let mount = Mount { source: target, target: "/data".to_owned(), read_only: false };
    let spec = ContainerSpec { mounts: vec![mount], ..ContainerSpec::default() };
    let new = berth.replica(&image, &["serve"], spec);
    let refused = engine.create(&new).await.expect_err("Compose's database runs").to_string();
    assert!(refused.contains(&name) && refused.contains("docker compose down"), "{refused}");
    docker(&["rm", "--force", &name]);
    engine.create(&new).await.expect("the volume is free");
    let made = only(&engine).await.id;
    engine.remove(&made).await.expect("removed");
    docker(&["volume", "rm", &volume]);
}
