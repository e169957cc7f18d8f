//! `secrets:` of the stack and of a service: each form, and each refusal.

use std::path::Path;

use quaymaster::domain::{
    HostIdentity, Secret, SecretBytes, SecretFile, Stack,
    manifest::{AllowDeleteAll, Holds, MAX_SECRET_BYTES, Undecrypted, Unread, Vault},
};

use super::{CANARY, accepted, file_is_refused, read_on, refused};

/// A vault with a few files, and with an identity for what begins with `age:`.
pub struct TestVault;

impl Vault for TestVault {
    fn read(&self, path: &Path, holds: Holds) -> Result<Vec<u8>, Unread> {
        match (path.to_str().expect("UTF-8"), holds) {
            ("db", Holds::ThePlainSecret) => Ok(CANARY.as_bytes().to_vec()),
            ("sub/binary", Holds::ThePlainSecret) => Ok(vec![0, 0xff]),
            ("db.age", Holds::AnEncryptedOne) => Ok(b"age:from a file".to_vec()),
            ("/etc/shop/db", Holds::ThePlainSecret) => Ok(b"of the host".to_vec()),
            ("/etc/shop/db.age", Holds::AnEncryptedOne) => Ok(b"age:of the host".to_vec()),
            ("/etc/shop/open", _) => Err(Unread::Open { path: path.to_owned() }),
            ("/etc/shop/empty", _) => Ok(Vec::new()),
            ("/etc/shop/large", _) => Err(Unread::TooLarge),
            ("/etc/shop/long", _) => Ok(vec![b'a'; 200 * 1024]),
            ("/etc/shop/folder", _) => Err(Unread::Unreadable("it is a folder".to_owned())),
            _ => Err(Unread::Missing),
        }
    }

    fn decrypt(&self, encrypted: &[u8]) -> Result<Vec<u8>, Undecrypted> {
        let text = std::str::from_utf8(encrypted).map_err(|_| Undecrypted::Damaged)?;
        let identity = "/etc/quaymaster/age.key".into();
        match text.trim().split_once(':') {
            Some(("age", value)) => Ok(value.as_bytes().to_vec()),
            Some(("others", _)) => Err(Undecrypted::ForOthers(identity)),
            Some(("alone", _)) => Err(Undecrypted::NoIdentity { usual: identity }),
            Some(("open", _)) => Err(Undecrypted::OpenIdentity(identity)),
            Some(_) | None => Err(Undecrypted::NotAge),
        }
    }
}

/// Returns a file with this at the top level, and these lines in the service `web`.
fn file(secrets: &str, service: &str) -> String {
    let lines: String = service.lines().map(|line| format!("    {line}\n")).collect();
    let secrets: String = secrets.lines().map(|line| format!("  {line}\n")).collect();
    format!("name: shop\nsecrets:\n{secrets}services:\n  web:\n    image: shop/web:1\n{lines}")
}

fn spec(stack: &Stack) -> &quaymaster::domain::ContainerSpec {
    &stack.services.values().next().expect("a service").spec
}

/// Returns what the secret `db` comes to, if the file says this of it.
fn value_of(origin: &str) -> SecretBytes {
    let stack = accepted(&file(&format!("db: {origin}"), "secrets: [db]"));
    spec(&stack).secrets["/run/secrets/db"].content.clone()
}

#[track_caller]
fn origin_is_refused(origin: &str, (line, column): (usize, usize), message: &str, help: &str) {
    let text = file(&format!("db: {origin}"), "secrets: [db]");
    file_is_refused(&text, (line + 2, column + 2), message, help);
}

#[track_caller]
fn use_is_refused(service: &str, (line, column): (usize, usize), message: &str, help: &str) {
    let text = file("db: { file: ./db }\ndb2: { file: db }", service);
    file_is_refused(&text, (line + 7, column + 4), message, help);
}

#[test]
fn a_value_comes_from_where_the_file_says() {
    let values: [(&str, &[u8]); 9] = [
        ("{ file: ./db }", CANARY.as_bytes()),
        ("{ file: sub/../db }", CANARY.as_bytes()),
        ("{ file: sub/binary }", &[0, 0xff]),
        ("{ file: /etc/shop/db }", b"of the host"),
        ("{ environment: TOKEN }", CANARY.as_bytes()),
        ("{ age: \"age:armored\" }", b"armored"),
        ("{ age: \"age:armored\", x-note: from 1Password }", b"armored"),
        ("{ age_file: ./db.age }", b"from a file"),
        ("{ age_file: /etc/shop/db.age }", b"of the host"),
    ];
    for (origin, value) in values {
        assert_eq!(value_of(origin), SecretBytes::new(value), "{origin}");
    }
    let block = "age: |\n      age:armored\n";
    assert_eq!(value_of(&format!("\n    {block}")), SecretBytes::new("armored"));
}

#[test]
fn a_service_has_it_as_a_file_by_default() {
    let stack = accepted(&file(
        "db: { file: ./db }\nkey: { environment: TOKEN }",
        "secrets:\n  - db\n  - { source: key, target: tls.key, uid: 103, gid: \"104\", mode: 0400 }\n  - { source: db, target: /etc/app/db, mode: \"0o440\" }",
    ));
    let file = |name: &str, uid, gid, mode| SecretFile {
        name: name.to_owned(),
        content: SecretBytes::new(CANARY),
        uid,
        gid,
        mode,
    };
    let expected = [
        ("/run/secrets/db", file("db", None, None, 0o444)),
        ("/run/secrets/tls.key", file("key", Some(103), Some(104), 0o400)),
        ("/etc/app/db", file("db", None, None, 0o440)),
    ];
    let expected = expected.map(|(target, file)| (target.to_owned(), file));
    assert_eq!(spec(&stack).secrets, expected.into());
    assert!(spec(&stack).environment.is_empty());
}

#[test]
fn a_service_may_have_it_as_a_variable() {
    let stack = accepted(&file(
        "db: { file: ./db }",
        "environment: { A: b }\nsecrets:\n  - { source: db, environment: DB_PASSWORD }",
    ));
    let environment = &spec(&stack).environment;
    assert_eq!(environment["DB_PASSWORD"], Secret::new(CANARY));
    assert_eq!(environment.len(), 2);
    assert!(spec(&stack).secrets.is_empty());
}

#[test]
fn a_rotated_value_makes_another_release_and_no_secret_none() {
    let fingerprint = |text: &str| {
        let stack = accepted(text);
        stack.services.values().next().expect("a service").declaration()
    };
    let with = |value: &str| file(&format!("db: {{ age: \"age:{value}\" }}"), "secrets: [db]");
    assert_eq!(fingerprint(&with("a")), fingerprint(&with("a")));
    assert_ne!(fingerprint(&with("a")), fingerprint(&with("b")));
    // What does not use them is not told of them: its release stays as it was.
    let unused = file("db: { file: ./none }", "");
    let without = "name: shop\nservices:\n  web:\n    image: shop/web:1\n";
    assert_eq!(fingerprint(&unused), fingerprint(without));
    let json = serde_json::to_string(spec(&accepted(without))).expect("it serialises");
    assert!(!json.contains("secrets"), "{json}");
}

#[test]
fn a_secret_that_only_other_hosts_use_need_not_be_here() {
    let text = file("db: { file: /only/there }", "hosts: [there]\nsecrets: [db]")
        + "  api: { image: shop/api:1 }\n";
    let here = HostIdentity::new("here", []);
    read_on(&here, text.as_bytes(), AllowDeleteAll::No).expect("it is not wanted here");
    let there = HostIdentity::new("there", []);
    let report = read_on(&there, text.as_bytes(), AllowDeleteAll::No).expect_err("wanted there");
    assert!(report.problems()[0].message.contains("there is no such file"), "{report}");
}

#[test]
fn where_a_value_comes_from_must_be_said_once() {
    origin_is_refused("{}", (1, 1), "not said where", "`age_file`");
    origin_is_refused("", (1, 1), "not said where", "`age_file`");
    origin_is_refused("{ file: ./db, environment: TOKEN }", (1, 19), "one value", "keep one");
    origin_is_refused("{ fiel: ./db }", (1, 7), "unknown key `fiel`", "`file`");
    origin_is_refused("{ external: true }", (1, 7), "`external`", "/path/on/the/host");
    origin_is_refused("{ file: ./db, name: x }", (1, 19), "`name`", "`target:`");
    origin_is_refused("{ file: ./db, labels: {} }", (1, 19), "`labels`", "Swarm");
    origin_is_refused("{ age: [a] }", (1, 7), "a text that `age` made", "`age: |`");
    let text = file("\"a b\": { file: ./db }", "");
    file_is_refused(&text, (3, 3), "`a b` is not a secret's name", "letters");
    file_is_refused(
        "name: a\nsecrets: [db]\nservices: { web: { image: a } }\n",
        (2, 1),
        "a map of secrets",
        "file:",
    );
}

#[test]
fn a_value_that_cannot_be_had_is_a_mistake_of_the_file() {
    origin_is_refused("{ file: ./none }", (1, 13), "`./none`: there is no such file", "umask 077");
    origin_is_refused("{ file: ../db }", (1, 13), "outside the folder", "from `/`");
    origin_is_refused("{ file: ~/db }", (1, 13), "outside the folder", "from `/`");
    origin_is_refused(
        "{ file: /etc/shop/open }",
        (1, 13),
        "every user",
        "`chmod 600 /etc/shop/open`",
    );
    origin_is_refused("{ file: /etc/shop/empty }", (1, 13), "is empty", "needs none");
    origin_is_refused(
        "{ file: /etc/shop/large }",
        (1, 13),
        &format!("more than {MAX_SECRET_BYTES}"),
        "volume",
    );
    origin_is_refused("{ file: /etc/shop/folder }", (1, 13), "it is a folder", "may read");
    origin_is_refused("{ file: \"${NONE}\" }", (1, 14), "`NONE` is not set", "--env-file");
    origin_is_refused("{ environment: NONE }", (1, 20), "`NONE` is not set", "--env-file");
    origin_is_refused("{ environment: EMPTY }", (1, 20), "is empty", "needs none");
    origin_is_refused(
        "{ age: \"others:x\" }",
        (1, 7),
        "not encrypted to the age identity",
        "age-keygen -y",
    );
    origin_is_refused("{ age: \"alone:x\" }", (1, 7), "no age identity", "--age-identity");
    origin_is_refused(
        "{ age: \"open:x\" }",
        (1, 7),
        "others than its owner",
        "`chmod 600 /etc/quaymaster/age.key`",
    );
    origin_is_refused("{ age_file: ./none.age }", (1, 17), "no such file", "create it");
}

#[test]
fn a_mistake_is_said_once_however_many_use_the_secret() {
    let text = file("db: { file: ./none }", "secrets: [db]")
        + "  api: { image: shop/api:1, secrets: [db] }\n";
    assert_eq!(refused(&text).problems().len(), 1);
}

#[test]
fn a_service_names_what_there_is() {
    use_is_refused("secrets: [bd]", (1, 11), "no secret `bd`", "did you mean `db`?");
    use_is_refused("secrets: [tls_key]", (1, 11), "no secret `tls_key`", "declare it");
    use_is_refused("secrets: db", (1, 10), "a list of secrets", "");
    use_is_refused("secrets: [{ target: x }]", (1, 11), "which secret", "`source: NAME`");
    use_is_refused("secrets: [{ sorce: db }]", (1, 13), "unknown key `sorce`", "`source`");
    use_is_refused(
        "secrets: [{ source: db, target: ../x }]",
        (1, 33),
        "`../x` does not name",
        "/run/secrets",
    );
    use_is_refused("secrets: [{ source: db, target: / }]", (1, 33), "does not name", "");
    use_is_refused("secrets: [{ source: db, uid: postgres }]", (1, 30), "whole number", "");
    for mode in ["440", "0888", "01777", "r--", "0o", "-0440"] {
        let lines = format!("secrets: [{{ source: db, mode: \"{mode}\" }}]");
        use_is_refused(&lines, (1, 31), "is not a file's mode", "`0440`");
    }
    use_is_refused(
        "secrets: [{ source: db, environment: A=B }]",
        (1, 38),
        "not a variable's name",
        "",
    );
    use_is_refused(
        "secrets: [{ source: db, environment: A, uid: 1 }]",
        (1, 41),
        "`uid` is of a file",
        "",
    );
}

#[test]
fn two_things_are_not_in_one_place() {
    use_is_refused("secrets: [db, db]", (1, 15), "there already", "line 8");
    use_is_refused(
        "secrets: [db, { source: db2, target: db }]",
        (1, 15),
        "there already",
        "line 8",
    );
    use_is_refused(
        "environment: { A: b }\nsecrets: [{ source: db, environment: A }]",
        (2, 11),
        "`A` is in the environment already",
        "keep one",
    );
    use_is_refused(
        "volumes: [\"/srv/db:/run/secrets/db\"]\nsecrets: [db]",
        (2, 11),
        "something is mounted on /run/secrets/db",
        "`target:`",
    );
}

#[test]
fn what_is_no_text_cannot_be_a_variable() {
    let text = |path: &str| {
        file(&format!("db: {{ file: {path} }}"), "secrets: [{ source: db, environment: A }]")
    };
    file_is_refused(&text("sub/binary"), (7, 15), "it is not UTF-8", "a file can hold it");
    file_is_refused(&text("/etc/shop/long"), (7, 15), "longer than Linux", "a file can hold it");
}

#[test]
fn a_service_that_runs_elsewhere_has_no_secrets() {
    let text = "name: shop\nproxy: { caddy: {} }\nsecrets: { db: { file: ./db } }\nservices:\n  web:\n    slot: blue\n    slots: { blue: { upstreams: [\"10.0.0.4:80\"] }, green: { upstreams: [\"10.0.0.5:80\"] } }\n    route: { host: a.test }\n    secrets: [db]\n";
    file_is_refused(
        text,
        (9, 5),
        "`secrets` is not for a service that runs elsewhere",
        "remove it",
    );
}

/// Whatever somebody writes where a secret belongs may be one.
#[test]
fn no_report_quotes_a_secret() {
    let mistakes = [
        format!("db: {CANARY}"),
        format!("db: [{CANARY}]"),
        format!("db: {{ content: {CANARY} }}"),
        format!("db: {{ value: {CANARY} }}"),
        format!("db: {{ valu: {CANARY} }}"),
        format!("db: {{ age: {CANARY} }}"),
        format!("db: {{ age: \"others:{CANARY}\", x: y }}"),
        format!("db:\n  age: |\n    {CANARY}\n"),
        format!("db: {{ file: ./none, driver: x, content: {CANARY} }}"),
        format!("db: {CANARY}: x"),
        "db: { environment: TOKEN, file: x }".to_owned(),
    ];
    for mistake in mistakes {
        let report = refused(&file(&mistake, "secrets: [db]"));
        let told = format!("{report}\n{}\n{report:?}", report.graphical());
        assert!(!told.contains(CANARY), "{mistake}\n{told}");
        let json = serde_json::to_string(&report).expect("it serialises");
        assert!(!json.contains(CANARY), "{mistake}\n{json}");
    }
    for line in [
        format!("environment: {{ A: [{CANARY}] }}"),
        format!("environmnet: {{ A: {CANARY} }}"),
        format!("env: {{ A: {CANARY} }}"),
        format!("db_password: {CANARY}"),
        format!("route: {{ prot: 1, token: {CANARY} }}"),
    ] {
        let told = refused(&file("db: { file: ./db }", &line)).to_string();
        assert!(!told.contains(CANARY), "{told}");
    }
    let debug = format!("{:?}", accepted(&file("db: { file: ./db }", "secrets: [db]")));
    assert!(!debug.contains(CANARY), "{debug}");
}
