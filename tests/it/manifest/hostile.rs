//! Whatever the bytes, the answer is a stack or a report that can be shown.

use proptest::prelude::*;
use quaymaster::domain::{
    Slot,
    manifest::{AllowDeleteAll, read_env_file, with_slot},
};

use super::read_bytes;

/// A file that uses every part of the format.
const EVERYTHING: &str = r#"name: shop
version: "3.8"
x-common: &common { restart: unless-stopped, environment: &env { A: 1, "B": 'two' } }
proxy: { caddy: { admin: "http://127.0.0.1:2019", listen: ":443" } }
defaults: { rollout: { bake: 2m }, probe: { interval: 5s } }
images: { retain_releases: 3, min_free_disk: 5% }
services:
  web: # a comment – with a dash
    <<: *common
    image: "shop/web:${TAG:-1}@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    slot: blue
    route: { hosts: [shop.example, "*.shop.example"], path: /a/*, port: "${PORT}" }
    probe: { http: { path: /health, headers: { X-Key: Canary-5f1e } }, timeout: 2s }
    environment: { <<: *env, PASSWORD: "Canary-5f1e", URL: "http://${TAG}/$$" }
    env_file: [app.env, { path: more.env, required: false }]
    depends_on: { db: { condition: service_healthy } }
    deploy: { replicas: 2, resources: { limits: { cpus: "0.5", memory: 1g } } }
    healthcheck: { test: [CMD, "true"], interval: 10s }
    networks: { default: , back: { aliases: [www] } }
    command: sh -c "exec 'app'"
    ulimits: { nofile: { soft: 1, hard: 2 } }
    logging: { driver: local, options: { max-size: 1m } }
    rollout: { strategy: blue-green, drain_timeout: 10s }
  db:
    image: postgres:15
    volumes:
      - data:/var/lib/postgresql/data
      - { type: bind, source: ./conf, target: /conf, read_only: true }
    ports: ["127.0.0.1:5432:5432", 9000-9001]
    tmpfs: /run
    extra_hosts: ["a:10.0.0.1"]
    command: >
      postgres
      -c log=1
volumes: { data: { labels: { a: b } } }
networks: { back: { internal: true } }
"#;

#[test]
fn the_file_itself_is_fine() {
    super::accepted(EVERYTHING);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_gives_a_stack_or_a_report_that_can_be_shown(
        at in 0..EVERYTHING.len(),
        removed in 0..40_usize,
        pasted in prop_oneof![
            "[ \\n\\t:,\\[\\]{}\"'&*!|>%@$#~é-]{0,6}",
            (0..EVERYTHING.len(), 0..60_usize).prop_map(|(from, length)| {
                String::from_utf8_lossy(&EVERYTHING.as_bytes()[from..(from + length).min(EVERYTHING.len())]).into_owned()
            }),
        ],
    ) {
        let bytes = EVERYTHING.as_bytes();
        let tail = (at + removed).min(bytes.len());
        let damaged = [&bytes[..at], pasted.as_bytes(), &bytes[tail..]].concat();
        if let Err(report) = read_bytes(&damaged, AllowDeleteAll::Yes) {
            prop_assert!(!report.problems().is_empty());
            for problem in report.problems() {
                prop_assert!(problem.line >= 1 && problem.column >= 1);
                prop_assert!(!problem.message.is_empty() && !problem.help.is_empty());
            }
            report.graphical();
            let _ = report.to_string();
        }
    }

    #[test]
    fn a_slot_is_edited_in_any_file_that_can_be_read_or_not_at_all(
        at in 0..EVERYTHING.len(),
        pasted in "[ \\n:,\\[\\]{}\"'&*é-]{0,6}",
    ) {
        prop_assume!(EVERYTHING.is_char_boundary(at));
        let damaged = format!("{}{pasted}{}", &EVERYTHING[..at], &EVERYTHING[at..]);
        if let Ok(edited) = with_slot(&damaged, &"web".parse().unwrap(), Slot::Green) {
            let same = |(a, b): &(u8, u8)| a == b;
            let before = damaged.bytes().zip(edited.bytes()).take_while(same).count();
            let after = damaged[before..].bytes().rev().zip(edited[before..].bytes().rev());
            let removed = damaged.len() - before - after.take_while(same).count();
            // Nothing went but an old slot, at most with its quotes and what was pasted
            // into it.
            prop_assert!(removed <= "'blue'".len() + pasted.len(), "{edited}");
        }
    }

    #[test]
    fn an_env_file_of_any_text_never_panics(text in "[A-Z=\"'\\\\$#\\{\\}\\n é\0]{0,40}") {
        let _ = read_env_file(&text, &|_| None);
    }
}
