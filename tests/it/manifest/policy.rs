//! The policy of a host: what is accepted and what it means, what is refused, and
//! what a desired-state file gets that breaks it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use quaymaster::domain::{
    HostIdentity, HostPolicy, Stack,
    manifest::{
        AllowDeleteAll, Input, PolicyInForce, PolicyInput, Problem, Report, parse, parse_policy,
    },
    policy::{DigestRule, Permission},
};

use super::{file, secrets::TestVault, variable};

const FILE: &str = "/etc/quaymaster/policy.yaml";

const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3R0ZtpfBd3Y8DaXuB1gM8JPlhsDI
EfXO/WsMJEN14hEn8wajX2HklqL7igZPFICv6tBUGylIHp2mTH2Nhv38mg==
-----END PUBLIC KEY-----
";

fn key_file(path: &Path) -> io::Result<Vec<u8>> {
    match path.to_str() {
        Some("/etc/quaymaster/keys/ci.pub") => Ok(KEY.into()),
        Some("/etc/quaymaster/rsa.pub") => {
            let body = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAA==";
            Ok(format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n").into())
        }
        Some("/etc/quaymaster/ci.key") => Ok(b"-----BEGIN ENCRYPTED PRIVATE KEY-----".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn read_policy(text: &str) -> Result<HostPolicy, Report> {
    parse_policy(&PolicyInput {
        file_name: FILE,
        text: text.as_bytes(),
        base_dir: Path::new("/etc/quaymaster"),
        read_key: &key_file,
    })
}

fn policy(text: &str) -> HostPolicy {
    read_policy(text).unwrap_or_else(|report| panic!("refused:\n{text}\n{report}"))
}

#[track_caller]
fn policy_is_refused(text: &str, (line, column): (usize, usize), message: &str, help: &str) {
    let report = read_policy(text).expect_err("it is refused");
    let [problem] = report.problems() else { panic!("not one problem:\n{text}\n{report}") };
    assert_eq!((problem.line, problem.column), (line, column), "{report}");
    assert!(problem.message.contains(message) && problem.help.contains(help), "{report}");
}

/// A folder that a container could write to, and in which it made a link.
fn real_path(path: &Path) -> PathBuf {
    match path.strip_prefix("/srv/shop/upload/escape") {
        Ok(rest) => Path::new("/etc").join(rest),
        Err(_) => path.to_owned(),
    }
}

/// The engine listens elsewhere than usual, behind a link.
fn in_force(rules: &HostPolicy) -> PolicyInForce<'_> {
    static SOCKETS: LazyLock<[PathBuf; 2]> =
        LazyLock::new(|| ["/data/engine/d".into(), "/opt/real/d".into()]);
    PolicyInForce { rules, real_path: &real_path, engine_sockets: &*SOCKETS }
}

/// Reads a desired-state file of one service with these lines on a host with this policy.
fn under(policy_text: &str, lines: &str) -> Result<Stack, Report> {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!(
        "name: shop\nproxy: {{ caddy: {{}} }}\nvolumes:\n  data: {{}}\nservices:\n  web:\n{lines}"
    );
    whole_under(policy_text, &text)
}

/// The same of a whole file.
fn whole_under(policy_text: &str, text: &str) -> Result<Stack, Report> {
    let rules = policy(policy_text);
    parse(&Input {
        file_name: "quaymaster.yaml",
        text: text.as_bytes(),
        variables: &variable,
        read_file: &file,
        vault: &TestVault,
        base_dir: Path::new("/srv/state"),
        allow_delete_all: AllowDeleteAll::No,
        host: &HostIdentity::default(),
        policy: Some(in_force(&rules)),
    })
}

/// The first line that `under` puts its lines on.
const FIRST_LINE: usize = 7;

#[track_caller]
fn obeys(policy: &str, lines: &str) -> Stack {
    under(policy, lines).unwrap_or_else(|report| panic!("refused:\n{report}"))
}

#[track_caller]
fn breaks(policy: &str, lines: &str, (line, column): (usize, usize), message: &str, help: &str) {
    let problem = the_problem(policy, lines);
    let at = (problem.line + 1 - FIRST_LINE, problem.column - 4);
    assert_eq!(at, (line, column), "{problem:?}");
    assert!(problem.message.contains(message), "{problem:?}");
    assert!(problem.message.contains(FILE), "the policy is not named: {problem:?}");
    assert!(problem.help.contains(help), "{problem:?}");
}

#[track_caller]
fn the_problem(policy: &str, lines: &str) -> Problem {
    let report = under(policy, lines).expect_err("it is refused");
    let [problem] = report.problems() else { panic!("not one problem:\n{report}") };
    problem.clone()
}

#[test]
fn a_whole_policy_is_read() {
    let read = policy(
        "images:\n  allowed: [registry.example.com, docker.io/library]\n  digest: required\n  \
         signed:\n    - images: registry.example.com/shop\n      keys: [keys/ci.pub]\n\
         containers:\n  bind_mounts: [/srv/shop, \"/etc/ssl/certs:ro\", ./]\n  \
         docker_socket: forbidden\n  host_network: forbidden\n  cap_add: [CAP_NET_BIND_SERVICE]\n  \
         security_opt: [\"no-new-privileges:true\"]\n",
    );
    assert_eq!(read.digest, DigestRule::Required);
    assert_eq!(read.containers.docker_socket, Permission::Forbidden);
    assert_eq!(read.allowed_images.map(|it| it.len()), Some(2));
    assert_eq!(read.signatures[0].keys[0].name, "keys/ci.pub");
    assert_eq!(read.key_files, [Path::new("/etc/quaymaster/keys/ci.pub")]);
    assert_eq!(read.containers.bind_mounts.map(|it| it.len()), Some(3));
    let caps: Vec<String> = read.containers.cap_add.into_iter().flatten().collect();
    assert_eq!(caps, ["NET_BIND_SERVICE"]);
}

#[test]
fn a_rule_that_is_not_written_is_off() {
    let read = policy("images: {}\n");
    assert_eq!(read, HostPolicy { file: FILE.to_owned(), ..HostPolicy::default() });
    let lines = "image: anything\ncap_add: [ALL]\nvolumes: [\"/var/run/docker.sock:/s\"]";
    obeys("containers: {}\n", lines);
}

#[test]
fn a_rule_without_a_value_is_refused() {
    for (text, at) in [
        ("images:\ncontainers: {}\n", (1, 8)),
        ("images: {}\ncontainers:  # nothing\n", (2, 12)),
        ("images: { digest: }\n", (1, 19)),
        ("images: { allowed: }\n", (1, 20)),
        ("containers:\n  docker_socket:   # forbidden\n", (2, 17)),
        ("containers:\n  host_network: ~\n", (2, 17)),
    ] {
        let problem = &read_policy(text).expect_err(text).problems()[0].clone();
        assert_eq!(problem.line, at.0, "{problem:?}");
        assert!(problem.message.contains("expected"), "{problem:?}");
    }
}

#[test]
fn a_misspelt_rule_is_refused_with_the_right_one() {
    policy_is_refused("imags: {}\n", (1, 1), "unknown key `imags`", "did you mean `images`?");
    let text = "containers: { cap_ad: [] }\n";
    policy_is_refused(text, (1, 15), "unknown key `cap_ad`", "did you mean `cap_add`?");
    let text = "containers:\n  docker_socket: forbiden\n";
    policy_is_refused(text, (2, 18), "`forbiden` is neither", "did you mean `forbidden`?");
    let text = "images: { digest: yes }\n";
    policy_is_refused(text, (1, 19), "`yes` is neither", "write `required` or `optional`");
    let text = "containers: { privileged: forbidden }\n";
    policy_is_refused(text, (1, 15), "not supported", "no desired-state file can ask for it");
}

#[test]
fn an_empty_policy_is_a_mistake() {
    for text in ["", "# nothing\n", "\n\n"] {
        policy_is_refused(text, (1, 1), "no rules", "images: {}");
    }
    policy_is_refused("images: {\n", (1, 9), "not YAML", "");
    policy_is_refused("- images\n", (1, 1), "expected a map", "images");
}

#[test]
fn a_registry_is_named_in_full() {
    let text = "images: { allowed: [postgres] }\n";
    policy_is_refused(text, (1, 21), "`postgres` names no registry", "docker.io/library");
    let text = "images:\n  allowed: [registry.example.com/a:1]\n";
    policy_is_refused(text, (2, 13), "is not a registry", "beginning of a repository");
    policy_is_refused("images:\n  allowed:\n", (2, 10), "expected a list", "");
}

#[test]
fn a_key_that_cannot_be_used_says_why() {
    let signed = |keys: &str| {
        format!(
            "images:\n  allowed: [\"*\"]\n  signed:\n    - {{ images: r.example, keys: {keys} }}\n"
        )
    };
    let at = (4, 35);
    policy_is_refused(&signed("[gone.pub]"), at, "`gone.pub` cannot be read", "cosign");
    policy_is_refused(&signed("[rsa.pub]"), at, "this is an RSA key", "cosign public-key");
    policy_is_refused(&signed("[ci.key]"), at, "private key", "");
    policy_is_refused(&signed("[]"), (4, 28), "without a key", "");
    let text = "images:\n  allowed: [\"*\"]\n  signed:\n    - { images: r.example }\n";
    policy_is_refused(text, (4, 7), "no `keys`", "keys: [ci.pub]");
    let inline = KEY.replace('\n', "\n          ");
    policy(&format!(
        "images:\n  signed:\n    - images: \"*\"\n      keys:\n        - |\n          {inline}\n"
    ));
}

#[test]
fn signatures_without_a_list_of_registries_would_be_walked_around() {
    let rule = "signed: [{ images: r.example, keys: [keys/ci.pub] }]";
    let text = format!("images:\n  {rule}\n");
    policy_is_refused(&text, (2, 3), "from anywhere else would need no signature", "allowed:");
    policy(&format!("images:\n  allowed: [\"*\"]\n  {rule}\n"));
    let twice = format!(
        "images:\n  allowed: [r.example]\n  {}\n",
        rule.replace("images: r.example", "images: [r.example, R.example/]")
    );
    policy_is_refused(&twice, (3, 34), "there is a rule for `r.example` already", "one rule");
}

#[test]
fn images_come_from_the_registries_that_are_allowed() {
    let rules = "images: { allowed: [registry.example.com/shop, docker.io/library] }\n";
    obeys(rules, "image: registry.example.com/shop/web:1");
    obeys(rules, "image: postgres:15");
    let message =
        "this host does not run images of registry.example.com/other/web (`images.allowed`";
    let help = "registry.example.com/shop, docker.io/library";
    breaks(rules, "image: registry.example.com/other/web:1", (1, 8), message, help);
    breaks(rules, "image: qdrant/qdrant:1", (1, 8), "docker.io/qdrant/qdrant", help);
    let none = "images: { allowed: [] }\n";
    breaks(none, "image: postgres", (1, 8), "docker.io/library/postgres", "none at all");
}

#[test]
fn every_image_that_can_run_is_held_against_the_policy() {
    let rules = "images: { allowed: [docker.io/library] }\n";
    let standby =
        "image: postgres\nroute: { host: a.example, port: 1 }\nstandby: { image: evil/x }";
    breaks(rules, standby, (3, 19), "docker.io/evil/x", "");
    let job = "image: postgres\nroute: { host: a.example, port: 1 }\nrollout:\n  pre_promotion:\n    - job: { image: evil/x }";
    breaks(rules, job, (5, 21), "docker.io/evil/x", "");
}

#[test]
fn a_value_of_a_variable_is_not_shown() {
    let rules =
        "images: { allowed: [r.example], digest: required }\ncontainers: { bind_mounts: [] }\n";
    let lines = "image: shop/${TOKEN:-x}:1\nvolumes: [\"/srv/${TOKEN}:/x\"]";
    let report = under(rules, &lines.replace("${TOKEN:-x}", "a")).expect_err("refused");
    assert!(!report.to_string().contains(super::CANARY), "{report}");
}

#[test]
fn images_have_a_digest_where_it_is_required() {
    let rules = "images: { digest: required }\n";
    let digest = "a".repeat(64);
    obeys(rules, &format!("image: shop/web@sha256:{digest}"));
    obeys(rules, &format!("image: shop/web:1@sha256:{digest}"));
    let message = "only images with a digest (`images.digest`";
    breaks(rules, "image: shop/web:1", (1, 8), message, "`shop/web:1@sha256:…`");
}

#[test]
fn the_rules_of_signatures_travel_with_the_stack() {
    let rules = "images:\n  signed: [{ images: \"*\", keys: [keys/ci.pub] }]\n";
    let stack = obeys(rules, "image: shop/web:1");
    let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let image = "shop/web:1".parse().unwrap();
    let wanted = stack.signature_of(&image, &digest).expect("it must be signed");
    assert_eq!(wanted.signers(), "keys/ci.pub");
}

const MOUNTS: &str = "containers: { bind_mounts: [/srv/shop, \"/etc/ssl/certs:ro\", ./], docker_socket: forbidden }\n";

fn mounting(volume: &str) -> String {
    format!("image: shop/web:1\nvolumes:\n  - {volume}")
}

#[test]
fn what_is_on_the_list_may_be_mounted() {
    for volume in [
        "/srv/shop:/x",
        "/srv/shop/upload:/x",
        "/etc/ssl/certs:/x:ro",
        "./conf:/x:ro",
        "data:/x",
        "/x",
        "{ type: tmpfs, target: /x }",
        "{ type: bind, source: /srv/shop, target: /x }",
    ] {
        obeys(MOUNTS, &mounting(volume));
    }
}

#[test]
fn nothing_else_of_the_host_may_be_mounted() {
    let at = (3, 5);
    let rule = "(`containers.bind_mounts`";
    for volume in ["/srv:/x", "/srv/shopping:/x", "/srv/shop/../../etc:/x", "../other:/x"] {
        breaks(MOUNTS, &mounting(volume), at, rule, "/srv/shop, /etc/ssl/certs:ro, ./");
    }
    let long = "{ type: bind, source: /etc, target: /x }";
    breaks(MOUNTS, &mounting(long), at, rule, "a named volume");
    breaks(MOUNTS, &mounting("/etc/ssl/certs:/x"), at, "read-only", "`:ro`");
}

#[test]
fn what_may_not_be_mounted_is_no_secret_either() {
    let text = |path: &str| {
        format!(
            "name: shop\nsecrets:\n  key: {{ file: {path} }}\n\
             services: {{ web: {{ image: shop/web:1, secrets: [key] }} }}\n"
        )
    };
    let told = |path: &str| {
        let read = whole_under(MOUNTS, &text(path));
        read.map_or_else(|report| report.to_string(), |_| String::new())
    };
    assert!(told("/etc/shadow").contains("(`containers.bind_mounts`"), "{}", told("/etc/shadow"));
    for path in ["/srv/shop/key", "/etc/ssl/certs/key", "./key"] {
        assert!(!told(path).contains("bind_mounts"), "{}", told(path));
    }
}

#[test]
fn a_link_does_not_lead_out_of_what_may_be_mounted() {
    let message = "a symbolic link leads elsewhere";
    breaks(MOUNTS, &mounting("/srv/shop/upload/escape:/x"), (3, 5), message, "");
    breaks(MOUNTS, &mounting("/srv/shop/upload/escape/shadow:/x"), (3, 5), message, "");
}

#[test]
fn a_volume_is_no_way_around_it() {
    let text = |volumes: &str| {
        let rules = policy(MOUNTS);
        let text = format!(
            "name: shop\nservices: {{ web: {{ image: a, volumes: [\"v:/x\"] }} }}\nvolumes:\n  v: {volumes}\n"
        );
        parse(&Input {
            file_name: "quaymaster.yaml",
            text: text.as_bytes(),
            variables: &variable,
            read_file: &file,
            vault: &TestVault,
            base_dir: Path::new("/srv/state"),
            allow_delete_all: AllowDeleteAll::No,
            host: &HostIdentity::default(),
            policy: Some(in_force(&rules)),
        })
    };
    let inside = "{ driver_opts: { type: none, o: bind, device: /srv/shop/data } }";
    assert!(text(inside).is_ok(), "{}", text(inside).unwrap_err());
    assert!(text("{ driver_opts: { type: tmpfs, device: tmpfs } }").is_ok());
    assert!(text("{ driver_opts: { type: nfs, o: \"addr=10.0.0.1\", device: \":/x\" } }").is_ok());
    for outside in [
        "{ driver_opts: { type: none, o: bind, device: / } }",
        "{ driver_opts: { type: none, o: \"rw,bind\", device: /srv/shop/../../etc } }",
        "{ driver_opts: { type: nfs, o: bind, device: /etc } }",
        "{ driver_opts: { type: tmpfs, o: rbind, device: /etc } }",
        "{ driver_opts: { type: ext4, device: /dev/sda1 } }",
        "{ driver_opts: { type: overlay, o: \"lowerdir=/etc\", device: overlay } }",
        "{ driver_opts: { o: bind, device: /var/run/docker.sock } }",
        "{ driver: local-persist, driver_opts: { mountpoint: /etc } }",
    ] {
        let report = text(outside).expect_err(outside);
        assert!(report.problems()[0].message.contains(FILE), "{report}");
    }
}

#[test]
fn dockers_socket_is_found_wherever_it_is_named() {
    let rules = "containers: { docker_socket: forbidden }\n";
    for volume in [
        "/var/run/docker.sock:/x",
        "/run/docker.sock:/x:ro",
        "/run:/x",
        "/var/run:/x",
        "/var:/x",
        "/:/x",
        "/home/me/.docker/run/docker.sock:/x",
        "/run/containerd:/x",
        "/data/engine/d:/x",
        "/data/engine:/x",
        "/data:/x",
        "/opt/real:/x",
    ] {
        breaks(rules, &mounting(volume), (3, 5), "(`containers.docker_socket`", "has the host");
    }
    obeys(rules, &mounting("/var/lib/shop:/x"));
    // On the list all the same: the narrower rule wins.
    let both = "containers: { docker_socket: forbidden, bind_mounts: [/] }\n";
    breaks(both, &mounting("/run:/x"), (3, 5), "docker_socket", "");
}

#[test]
fn the_hosts_network_is_known_by_its_name() {
    let rules = policy("containers: { host_network: forbidden }\n");
    let read = |networks: &str| {
        let text = format!(
            "name: shop\nnetworks:\n  {networks}\nservices: {{ web: {{ image: a, networks: [n] }} }}\n"
        );
        parse(&Input {
            file_name: "quaymaster.yaml",
            text: text.as_bytes(),
            variables: &variable,
            read_file: &file,
            vault: &TestVault,
            base_dir: Path::new("/srv/state"),
            allow_delete_all: AllowDeleteAll::No,
            host: &HostIdentity::default(),
            policy: Some(in_force(&rules)),
        })
    };
    assert!(read("n: {}").is_ok());
    assert!(read("n: { external: true }").is_ok());
    for host in [
        "n: { external: true, name: host }",
        "n: { external: { name: host } }",
        "n: { name: host }",
    ] {
        let report = read(host).expect_err(host);
        let problem = &report.problems()[0];
        assert_eq!((problem.line, problem.column), (3, 3), "{report}");
        assert!(problem.message.contains("host_network"), "{report}");
    }
}

#[test]
fn capabilities_are_the_ones_that_are_allowed() {
    let rules = "containers: { cap_add: [NET_BIND_SERVICE] }\n";
    obeys(rules, "image: a\ncap_add: [net_bind_service, CAP_NET_BIND_SERVICE]\ncap_drop: [ALL]");
    let message = "this host does not give containers ALL, SYS_ADMIN (`containers.cap_add`";
    let lines = "image: a\ncap_add: [NET_BIND_SERVICE, SYS_ADMIN, ALL]";
    breaks(rules, lines, (2, 10), message, "allowed here: NET_BIND_SERVICE");
    let none = "containers: { cap_add: [] }\n";
    breaks(none, "image: a\ncap_add: [KILL]", (2, 10), "KILL", "remove it");
}

#[test]
fn security_options_are_the_ones_that_are_allowed() {
    let rules = "containers: { security_opt: [\"no-new-privileges:true\"] }\n";
    obeys(rules, "image: a\nsecurity_opt: [\"no-new-privileges:true\"]");
    let lines = "image: a\nsecurity_opt: [seccomp=unconfined]";
    let message = "`seccomp=unconfined` (`containers.security_opt`";
    breaks(rules, lines, (2, 16), message, "no-new-privileges:true");
}
