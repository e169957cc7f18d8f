//! Networks and volumes.

use quaymaster::{
    domain::{
        ContainerSpec,
        stack::{NetworkSpec, VolumeSpec},
    },
    ports::Engine,
};

use super::{Berth, attachment, docker, only};

fn ids_of(network: &str) -> Vec<String> {
    let filter = format!("name=^{network}$");
    let ids = docker(&["network", "ls", "-q", "--filter", &filter]);
    ids.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_same_network_asked_for_at_once_is_made_once() {
    let berth = Berth::new();
    let engine = berth.docker().await;
    let name = berth.name("default");
    let spec = NetworkSpec {
        internal: true,
        labels: [("team".to_owned(), "docks".to_owned())].into(),
        ..NetworkSpec::default()
    };
    let asked = (0..5).map(|_| engine.create_network(&name, &spec));
    for result in futures::future::join_all(asked).await {
        result.expect("it counts as created");
    }
    assert_eq!(ids_of(&name).len(), 1);
    let format = "{{.Internal}} {{index .Labels \"team\"}} {{index .Labels \"quaymaster.stack\"}}";
    let seen = docker(&["network", "inspect", "--format", format, &name]);
    assert_eq!(seen.trim(), format!("true docks {}", berth.stack));
    assert!(engine.host().await.expect("seen").networks.contains_key(&name));
}

#[tokio::test]
async fn a_second_network_of_the_same_name_is_put_right() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let name = berth.name("default");
    engine.create_network(&name, &NetworkSpec::default()).await.expect("a network");
    // The command line looks first and the API does not: this is what a call in
    // flight at a crash leaves behind.
    let body = serde_json::json!({ "Name": name, "CheckDuplicate": false,
        "Labels": { "quaymaster.stack": berth.stack } });
    let client =
        reqwest::Client::builder().unix_socket("/var/run/docker.sock").build().expect("a client");
    let made = client.post("http://docker/networks/create").json(&body).send().await;
    let made = made.expect("Docker answers").status();
    if made == 409 {
        return; // An engine that refuses the double itself has no such trap.
    }
    assert_eq!((made.as_u16(), ids_of(&name).len()), (201, 2));
    let spec =
        ContainerSpec { networks: vec![attachment(&name, &["web"])], ..ContainerSpec::default() };
    engine.create(&berth.replica(&image, &["serve"], spec)).await.expect("created");
    engine.start(&only(&engine).await.id).await.expect("started");
    assert_eq!(ids_of(&name).len(), 1);
    assert!(only(&engine).await.addresses.contains_key(&name));
}

#[tokio::test]
async fn a_volume_that_is_there_counts_as_created() {
    let berth = Berth::new();
    let engine = berth.docker().await;
    let name = berth.name("data");
    for _ in 0..2 {
        engine.create_volume(&name, &VolumeSpec::default()).await.expect("a volume");
    }
    let format = "{{index .Labels \"quaymaster.stack\"}}";
    let label = docker(&["volume", "inspect", "--format", format, &name]);
    assert_eq!(label.trim(), berth.stack.as_str());
    assert!(engine.host().await.expect("seen").volumes.contains(&name));
}

#[tokio::test]
async fn the_disk_of_the_images_is_seen() {
    let berth = Berth::new();
    let disk = berth.docker().await.host().await.expect("seen").disk.expect("a local engine");
    assert!(disk.total_bytes > 0 && disk.free_bytes <= disk.total_bytes, "{disk:?}");
}
