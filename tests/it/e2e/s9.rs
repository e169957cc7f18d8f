//! S9: canaries are planted wherever a secret can stand, and looked for wherever we say
//! anything.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use age::secrecy::ExposeSecret as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::rig::{
    docker::{docker, docker_lenient},
    forge::Forge,
    host::Host,
    registry::{Access, Registry, docker_config},
    repo::Repo,
};

const PATH: &str = "stacks/prod.yaml";

/// In files of containers only: not even `docker inspect` shows these.
const FILES: [&str; 4] =
    ["canary-file-line-one", "canary-file-line-two", "canary-of-a-variable", "canary-of-age"];

/// What a container's environment naturally holds.
const VARIABLES: [&str; 3] = ["canary-environment", "canary-env-file", "canary-age-as-variable"];

/// Nothing of a container.
const OURS: [&str; 5] = [
    "canary-registry-password",
    "canary-git-password",
    "canary-gate-header",
    "canary-in-a-bad-file",
    "canary-forgotten-to-encrypt",
];

fn all() -> impl Iterator<Item = &'static str> {
    FILES.into_iter().chain(VARIABLES).chain(OURS)
}

#[track_caller]
fn assert_clean<'c>(what: &str, text: &str, canaries: impl Iterator<Item = &'c str>) {
    for canary in canaries {
        assert!(!text.contains(canary), "{what} tells {canary}:\n{text}");
        // Without the last digits, which depend on what follows.
        let encoded = BASE64_STANDARD.encode(canary);
        let encoded = &encoded[..encoded.len() - 4];
        assert!(!text.contains(encoded), "{what} tells {canary} in Base64:\n{text}");
    }
}

/// Looks at the arguments of every process, over and over.
struct ArgumentWatch {
    ended: Arc<AtomicBool>,
    watching: JoinHandle<Vec<String>>,
}

impl ArgumentWatch {
    fn begin() -> ArgumentWatch {
        let ended = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ended);
        let watching = thread::spawn(move || {
            let mut found = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").expect("Linux has it").flatten() {
                    // Many end while they are looked at.
                    let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    let arguments = String::from_utf8_lossy(&arguments).into_owned();
                    if all().any(|canary| arguments.contains(canary)) {
                        found.push(arguments);
                    }
                }
                thread::sleep(Duration::from_millis(2));
            }
            found
        });
        ArgumentWatch { ended, watching }
    }

    fn end(self) -> Vec<String> {
        self.ended.store(true, Ordering::Relaxed);
        self.watching.join().expect("it does not panic")
    }
}

struct Scene {
    host: Host,
    repo: Repo,
    registry: Registry,
    armored: String,
    as_variable: String,
    _forge: Forge,
}

impl Scene {
    fn new() -> Scene {
        let registry =
            Registry::start(Access::Only { user: "ci", password: "canary-registry-password" });
        let mut host = Host::new();
        fs::create_dir_all(host.docker_config()).expect("the folder can be made");
        let login = docker_config(registry.host(), "ci", "canary-registry-password");
        fs::write(host.docker_config().join("config.json"), login).expect("writable");

        let identity = age::x25519::Identity::generate();
        let key = host.save_beside("age.key", identity.to_string().expose_secret());
        let encrypt = |value: &str| {
            let recipient = identity.to_public();
            age::encrypt_and_armor(&recipient, value.as_bytes()).expect("encrypted")
        };
        host.save_beside("host-secret", "canary-file-line-one\ncanary-file-line-two\n");

        let repo = Repo::new();
        let bare = repo.bare();
        let login = BASE64_STANDARD.encode("ci:canary-git-password");
        let served = bare.parent().expect("a folder");
        let forge = Forge::serve(served, &format!("Basic {login}"));
        let url = format!("http://ci:canary-git-password@{}/state.git", forge.authority());
        host.environment = vec![
            ("QUAYMASTER_GIT", url),
            ("QUAYMASTER_AGE_IDENTITY", key.display().to_string()),
            ("SECRET_VARIABLE", "canary-of-a-variable".to_owned()),
            ("GATE_TOKEN", "canary-gate-header".to_owned()),
        ];
        let (armored, as_variable) = (encrypt("canary-of-age"), encrypt("canary-age-as-variable"));
        Scene { host, repo, registry, armored, as_variable, _forge: forge }
    }

    fn push_image(&self, version: &str) {
        self.host.image(version);
        self.registry.push(&self.host.tag(version), &format!("shop:{version}"));
        docker_lenient(&["image", "rm", &self.host.tag(version)]);
    }

    /// Returns the whole file, with these lines in the service.
    fn file(&self, version: &str, slot: &str, more: &str) -> String {
        let indented =
            |text: &str| text.lines().map(|line| format!("      {line}\n")).collect::<String>();
        let (registry, file) = (self.registry.host(), self.host.file_path());
        let secret = file.with_file_name("host-secret");
        self.host.file(&format!(
            "secrets:\n  host_file: {{ file: {} }}\n  variable: {{ environment: SECRET_VARIABLE }}\n  \
             encrypted:\n    age: |\n{}  as_variable:\n    age: |\n{}\
             services:\n  shop:\n    image: {registry}/shop:{version}\n    slot: {slot}\n    \
             route: {{ host: shop.HOST, port: 8080 }}\n    \
             probe: {{ http: {{ path: /health, port: 8080 }} }}\n    \
             environment: {{ PLAIN: canary-environment }}\n    env_file: app.env\n    \
             secrets:\n      - host_file\n      - variable\n      - encrypted\n      \
             - {{ source: as_variable, environment: DECRYPTED }}\n    \
             rollout:\n      bake: 1s\n      pre_promotion:\n        - http: {{ path: /health, port: 8080, \
             headers: {{ Authorization: \"Bearer ${{GATE_TOKEN}}\" }}, interval: 1s }}\n{more}",
            secret.display(),
            indented(&self.armored),
            indented(&self.as_variable),
        ))
    }

    fn publish(&self, text: &str) -> String {
        self.repo.write("stacks/app.env", "FROM_FILE=canary-env-file\n");
        // What is validated and planned without a controller.
        self.host.save_beside("app.env", "FROM_FILE=canary-env-file\n");
        self.host.save_raw(text);
        self.repo.publish(PATH, text)
    }

    /// Everything that we say of the stack.
    fn assert_says_nothing(&self, when: &str) {
        let file = self.host.file_path().display().to_string();
        let commands: [&[&str]; 12] = [
            &["status"],
            &["status", "--json"],
            &["history"],
            &["history", "--json"],
            &["validate", &file],
            &["validate", "--json", &file],
            &["validate", "--log", "trace", &file],
            &["plan", &file],
            &["plan", "--json", &file],
            &["plan", "--log", "trace", &file],
            &["retry", "none"],
            &["wait", "--timeout", "1s"],
        ];
        for command in commands {
            let output = self.host.quaymaster(command);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(!said.is_empty(), "{command:?} says nothing at all");
            assert_clean(&format!("{when}, {command:?}"), &said, all());
        }
        for replica in self.host.replicas() {
            let format = "{{json .Config.Labels}} {{json .Config.Cmd}} {{json .Config.Entrypoint}}";
            let told = docker(&["inspect", "--format", format, &replica.id]);
            assert_clean(&format!("{when}, a label or argument"), &told, all());
            let told = docker(&["inspect", &replica.id]);
            let ours = FILES.into_iter().chain(OURS);
            assert_clean(&format!("{when}, docker inspect"), &told, ours);
        }
        assert_clean(&format!("{when}, the log"), &self.host.log(), all());
    }
}

#[test]
fn no_canary_is_told_by_anything() {
    let mut scene = Scene::new();
    scene.push_image("v1");
    scene.push_image("v2");
    scene.publish(&scene.file("v1", "blue", ""));
    let arguments = ArgumentWatch::begin();

    // A good deploy, with everything logged that can be.
    scene.host.start_with(&["--path", PATH, "--interval", "1s", "--log", "trace"]);
    scene.host.until_answers("shop", "v1 blue");
    scene.host.until_settled();
    let replica = scene.host.running("shop").remove(0);
    let given = docker(&[
        "exec",
        &replica.id,
        "/demo",
        "cat",
        "/run/secrets/host_file",
        "/run/secrets/variable",
        "/run/secrets/encrypted",
        "/proc/self/environ",
    ]);
    // So that the rest is not clean for want of canaries.
    for canary in FILES.into_iter().chain(VARIABLES) {
        assert!(given.contains(canary), "{canary} was not given to the container: {given}");
    }
    scene.assert_says_nothing("after a deploy");

    // A release that prints all it was given, and exits.
    let tell_all = "    command: [cat, /run/secrets/host_file, /run/secrets/variable, \
                    /run/secrets/encrypted, /proc/self/environ, /none]\n";
    scene.publish(&scene.file("v2", "green", tell_all));
    scene.host.until("v2 is held", |s| s.service("shop").state == "held");
    scene.assert_says_nothing("after a failed deploy");
    for command in [&["logs", "shop"][..], &["logs", "shop", "--json"]] {
        let kept = scene.host.quaymaster(command);
        let kept = String::from_utf8_lossy(&kept.stdout).into_owned();
        assert!(kept.contains("(hidden)"), "its log was not kept: {kept}");
        assert_clean("the log that was kept", &kept, all());
    }

    // A file in which everything is wrong, near secrets.
    let bad = scene
        .file("v2", "purple", "    environmnet: { A: canary-in-a-bad-file }\n")
        .replace(
            "variable: { environment: SECRET_VARIABLE }",
            "variable: canary-forgotten-to-encrypt",
        )
        .replace("PLAIN: canary-environment", "PLAIN: [canary-environment]");
    scene.publish(&bad);
    scene.host.until_seen("the file is refused", || {
        let status = scene.host.quaymaster(&["status"]).stdout;
        String::from_utf8_lossy(&status).contains("purple").then_some(())
    });
    scene.assert_says_nothing("with a bad file");

    // A rollback.
    scene.publish(&scene.file("v2", "green", ""));
    scene.host.until_answers("shop", "v2 green");
    scene.host.until("v2 is settled", |s| s.service("shop").is_settled_in("green"));
    assert!(scene.host.quaymaster(&["rollback", "shop"]).status.success());
    scene.host.until_answers("shop", "v1 blue");
    scene.assert_says_nothing("after a rollback");
    assert_eq!(arguments.end(), Vec::<String>::new());

    // The store needs the values, and is for its owner only.
    let state = scene.host.state_dir().join(&scene.host.stack);
    assert_eq!(fs::metadata(&state).expect("it is there").mode() & 0o077, 0);
    assert!(scene.host.terminate().success());
    assert_clean("the last words", &scene.host.log(), all());
    assert_nothing_on_disk(&scene.host);
}

/// Of a secret file, nothing is on the disk but in the store.
fn assert_nothing_on_disk(host: &Host) {
    let file = host.file_path();
    let folder = file.parent().expect("a folder");
    let found = Command::new("grep")
        .args(["--recursive", "--files-with-matches", "--text", "canary-of-age"])
        .arg(folder)
        .output()
        .expect("grep runs");
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(found, "", "decrypted, and left on the disk");
    let mode = fs::metadata(host.secrets_dir()).expect("it is there").mode();
    assert_eq!(mode & 0o777, 0o700);
}
