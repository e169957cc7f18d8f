//! Who is told what of a deployment, whatever becomes of those who are told.

use serde_json::Value;

use super::{shop, shop_with};
use crate::rig::{
    host::Host,
    mailbox::{Mail, Mailbox, Reply},
    repo::Repo,
};

const CANARY: &str = "Canary-9d41";

fn host() -> Host {
    let host = Host::new();
    host.image("v1");
    host.image("v2");
    host
}

/// A shop, and whom to tell.
fn told(services: &str, receivers: &str) -> String {
    format!("{services}notify:\n{receivers}")
}

fn webhook(mailbox: &Mailbox, on: &str) -> String {
    format!("- {{ webhook: {{ url: \"{}\" }}, on: [{on}] }}\n", mailbox.url("/hook"))
}

/// Waits until so many letters have been taken; panics if there ever are more.
#[track_caller]
fn taken(host: &Host, mailbox: &Mailbox, count: usize) -> Vec<Mail> {
    let mail = host.until_seen(&format!("{count} letters"), || {
        let taken = mailbox.taken();
        (taken.len() >= count).then_some(taken)
    });
    assert_eq!(mail.len(), count, "{mail:#?}");
    mail
}

fn events(mail: &[Mail]) -> Vec<String> {
    mail.iter().map(|mail| mail.json()["event"].as_str().expect("a word").to_owned()).collect()
}

fn report(host: &Host, arguments: &[&str]) -> Value {
    let output = host.quaymaster(&[&["report", "--json"], arguments].concat());
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn everybody_is_told_once_of_each_promotion_in_their_own_way() {
    let mut host = host();
    let (slack, discord, plain, custom) =
        (Mailbox::open(), Mailbox::open(), Mailbox::open(), Mailbox::open());
    let receivers = format!(
        "- slack: {{ url: \"{}\" }}\n\
         - discord: {{ url: \"{}\" }}\n\
         {}\
         - name: pager\n  on: promoted\n  webhook:\n    url: \"{}\"\n    \
         headers: {{ X-Key: \"{CANARY}\" }}\n    \
         template: '{{\"summary\": {{{{ text|tojson }}}}, \"of\": \"{{{{ service }}}}\"}}'\n",
        slack.url("/services/T0/B0/x"),
        discord.url("/api/webhooks/1/x"),
        webhook(&plain, "promoted, good, started"),
        custom.url("/"),
    );
    host.save(&told(&shop("v1", "auto"), &receivers));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    host.save(&told(&shop("v2", "auto"), &receivers));
    host.until_answers("shop", "v2 green");
    host.until("v2 is settled", |s| s.service("shop").is_settled_in("green"));

    let mail = taken(&host, &plain, 6);
    let twice = ["started", "promoted", "good", "started", "promoted", "good"];
    assert_eq!(events(&mail), twice);
    let (stack, body) = (&host.stack, mail[4].json());
    assert_eq!(mail[4].method, "POST");
    assert_eq!(mail[4].header("content-type"), "application/json");
    assert_eq!(body["image"], host.tag("v2").as_str());
    assert_eq!(body["previous_image"], host.tag("v1").as_str());
    assert_eq!((&body["slot"], &body["stack"]), (&"green".into(), &stack.as_str().into()));
    assert!(body["took_ms"].is_u64(), "{body}");
    let slack = taken(&host, &slack, 2);
    let text = slack[1].json()["text"].as_str().expect("a text").to_owned();
    let name = format!("✅ *{stack}/shop* promoted on ");
    assert!(text.starts_with(&name) && text.contains(": `app:v1 → app:v2` in "), "{text}");
    let discord = taken(&host, &discord, 2);
    let text = discord[0].json()["content"].as_str().expect("a text").to_owned();
    assert!(text.starts_with(&format!("✅ **{stack}/shop** promoted on ")), "{text}");
    assert_eq!(discord[0].json()["allowed_mentions"]["parse"], serde_json::json!([]));
    let custom = taken(&host, &custom, 2);
    assert_eq!(custom[1].json()["of"], "shop");
    assert_eq!(custom[1].header("x-key"), CANARY);
    assert!(!host.log().contains(CANARY));

    // The same news again, after a restart, would be one too many.
    host.terminate();
    host.start();
    host.until_settled();
    host.save(&told(&shop_with("v2", "auto", "    environment: { A: b }\n"), &receivers));
    let mail = taken(&host, &plain, 9);
    assert_eq!(events(&mail[6..]), ["started", "promoted", "good"]);
}

#[test]
fn a_held_release_is_told_of_with_its_reason_and_its_last_words() {
    let mut host = host();
    let complaint = format!("fatal: password {CANARY} is refused, giving up");
    let says = [("SAY", complaint.as_str()), ("EXIT_AFTER", "0"), ("EXIT_CODE", "3")];
    host.image_with("bad", &says);
    let (slack, plain) = (Mailbox::open(), Mailbox::open());
    let receivers = format!(
        "- slack: {{ url: \"{}\" }}\n{}",
        slack.url("/x"),
        webhook(&plain, "held, promoted")
    );
    host.save(&told(&shop("v1", "blue"), &receivers));
    host.start();
    host.until_answers("shop", "v1 blue");
    taken(&host, &plain, 1);
    let said = format!("    environment: {{ PASSWORD: {CANARY} }}\n");
    host.save(&told(&shop_with("bad", "green", &said), &receivers));
    let mail = taken(&host, &plain, 2);
    let body = mail[1].json();
    assert_eq!(body["event"], "held");
    assert_eq!(body["image"], host.tag("bad").as_str());
    assert_eq!(body["previous_image"], host.tag("v1").as_str());
    let reason = body["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("exited with code 3"), "{body}");
    assert!(
        body["log"]
            .as_array()
            .expect("lines")
            .iter()
            .any(|it| it.as_str().is_some_and(|it| it.ends_with("is refused, giving up")))
    );
    assert!(!mail[1].body.contains(CANARY), "{body}");
    let slack = taken(&host, &slack, 2);
    let text = slack[1].json()["text"].as_str().expect("a text").to_owned();
    assert!(text.starts_with(&format!("❌ *{}/shop* held on ", host.stack)), "{text}");
    assert!(text.contains(&reason) && text.contains("is refused, giving up\n"), "{text}");
    assert!(!text.contains(CANARY), "{text}");

    let held = report(&host, &["shop"]);
    let held = &held["reports"][0];
    assert_eq!((&held["outcome"], &held["reason"]), (&"held".into(), &reason.into()));
    assert_eq!(held["previous"]["image"], host.tag("v1").as_str());
    assert_eq!(held["durations"]["promoted_ms"], Value::Null);
    assert!(!report(&host, &[]).to_string().contains(CANARY));
}

#[test]
fn a_receiver_that_hangs_delays_nothing_and_is_told_later() {
    let mut host = host();
    let (hangs, fails, busy, well) =
        (Mailbox::open(), Mailbox::open(), Mailbox::open(), Mailbox::open());
    hangs.reply([Reply::Never]);
    fails.reply([Reply::Echo(500), Reply::Echo(503)]);
    busy.reply([Reply::TooMany(2)]);
    let all = [&hangs, &fails, &busy, &well];
    let receivers = all.map(|mailbox| webhook(mailbox, "promoted")).concat();
    host.save(&told(&shop("v1", "blue"), &receivers));
    host.start();
    host.until_answers("shop", "v1 blue");
    // It has the news, and says nothing.
    host.until_seen("the one that hangs is told", || (!hangs.got().is_empty()).then_some(()));
    host.save(&told(&shop("v2", "green"), &receivers));
    host.until_answers("shop", "v2 green");
    let stayed = hangs.got().len();
    host.until("v2 is settled", |s| s.service("shop").is_settled_in("green"));
    assert_eq!(stayed, 1, "the deployment waited for it");
    for mailbox in all {
        let mail = taken(&host, mailbox, 2);
        assert!(mail[0].json()["image"] == host.tag("v1").as_str(), "in the wrong order");
    }
    // Each try brought the same letter.
    let ids: Vec<Value> = fails.got().iter().map(|mail| mail.json()["id"].clone()).collect();
    assert_eq!((ids.len(), &ids[0]), (4, &ids[2]));
}

#[test]
fn news_that_a_killed_controller_did_not_bring_are_brought_by_the_next() {
    let mut host = host();
    let mailbox = Mailbox::open();
    let receivers = webhook(&mailbox, "promoted");
    host.save(&told(&shop("v1", "blue"), &receivers));
    host.start();
    taken(&host, &mailbox, 1);
    host.until_settled();
    mailbox.reply([Reply::Never]);
    host.save(&told(&shop("v2", "green"), &receivers));
    host.until_seen("the news are on their way", || (mailbox.got().len() == 2).then_some(()));
    host.kill();
    host.start();
    let mail = taken(&host, &mailbox, 2);
    assert_eq!(mail[1].json()["image"], host.tag("v2").as_str());
    assert_eq!(mail[1].json()["id"], mailbox.got()[1].json()["id"]);
    // A controller that knows nothing tells nothing: v2 was promoted long ago.
    host.until_settled();
    host.kill();
    host.lose_store();
    host.start();
    host.until_settled();
    host.save(&told(&shop("v1", "blue"), &receivers));
    let mail = taken(&host, &mailbox, 3);
    assert_eq!(mail[2].json()["image"], host.tag("v1").as_str());
}

#[test]
fn a_bad_file_and_a_rollback_are_told_of() {
    let mut host = host();
    let mailbox = Mailbox::open();
    let receivers = webhook(&mailbox, "file-invalid, file-valid, rolled-back");
    host.save(&told(&shop("v1", "blue"), &receivers));
    host.start();
    host.until_settled();
    host.save(&told(&shop("v1", "purple"), &receivers));
    let mail = taken(&host, &mailbox, 1);
    assert!(mail[0].json()["reason"].as_str().is_some_and(|it| it.contains("purple")));
    host.save(&told(&shop("v2", "green"), &receivers));
    host.until_answers("shop", "v2 green");
    host.until("v2 is settled", |s| s.service("shop").is_settled_in("green"));
    assert!(host.quaymaster(&["rollback", "shop"]).status.success());
    let mail = taken(&host, &mailbox, 3);
    assert_eq!(events(&mail), ["file-invalid", "file-valid", "rolled-back"]);
    let body = mail[2].json();
    assert_eq!(body["image"], host.tag("v1").as_str());
    assert_eq!(body["previous_image"], host.tag("v2").as_str());
    assert_eq!(body["reason"], "rolled back by an operator");
    assert_eq!(report(&host, &["shop"])["reports"][0]["outcome"], "rolled-back");
}

#[test]
fn somebody_who_refuses_is_said_by_name_and_nothing_else_is() {
    let mut host = host();
    let (gone, moved, other) = (Mailbox::open(), Mailbox::open(), Mailbox::open());
    gone.reply([Reply::Echo(404)]);
    moved.reply([Reply::Elsewhere(other.url("/"))]);
    let receivers = format!(
        "- name: old team\n  slack: {{ url: \"{}\" }}\n\
         - name: moved\n  webhook: {{ url: \"{}\", headers: {{ X-Key: \"{CANARY}\" }} }}\n",
        gone.url(&format!("/services/{CANARY}/{CANARY}?a={CANARY}")),
        moved.url("/"),
    );
    host.save(&told(&shop("v1", "blue"), &receivers));
    host.start();
    let shown = host.until_seen("status says so", || {
        let shown = String::from_utf8(host.quaymaster(&["status"]).stdout).expect("UTF-8");
        (shown.contains("old team is not told") && shown.contains("moved is not told"))
            .then_some(shown)
    });
    host.until_settled();
    assert!(shown.contains("HTTP 404"), "{shown}");
    let log = host.log();
    assert!(log.contains("old team") && log.contains("not told"), "{log}");
    let history = host.quaymaster(&["history", "--json"]);
    let all = log + &shown + &String::from_utf8_lossy(&history.stdout);
    assert!(!all.contains("Canary"), "{all}");
    assert_eq!((gone.got().len(), moved.got().len(), other.got().len()), (1, 1, 0));
    // Another address is somebody else, of whom nothing is known.
    let mended = receivers.replace("/services/", "/other/");
    host.save(&told(&shop("v1", "blue"), &mended));
    host.until_seen("status does not say so any more", || {
        let shown = String::from_utf8(host.quaymaster(&["status"]).stdout).expect("UTF-8");
        (!shown.contains("old team") && shown.contains("moved is not told")).then_some(())
    });
}

const PATH: &str = "stacks/prod.yaml";

fn statuses(mailbox: &Mailbox, commit: &str) -> Vec<String> {
    let mut got = mailbox.taken();
    got.retain(|mail| mail.path.ends_with(commit));
    got.iter().map(|mail| mail.json()["state"].as_str().expect("a word").to_owned()).collect()
}

#[test]
fn a_forge_shows_how_each_commit_came_out() {
    let mut host = host();
    host.image_with("bad", &[("EXIT_AFTER", "0"), ("EXIT_CODE", "3")]);
    let (forge, chat) = (Mailbox::open(), Mailbox::open());
    let more = format!(
        "commit_status: {{ forge: github, url: \"{}\", repository: shop/state, token: {CANARY} }}\n\
         notify:\n{}",
        forge.url("/api"),
        webhook(&chat, "promoted, branch-refused"),
    );
    let file = |services: &str| host.file(services) + &more;
    let (v1, v2) = (file(&shop("v1", "blue")), file(&shop("v2", "green")));
    let (bad, invalid) = (file(&shop("bad", "blue")), file(&shop("v2", "purple")));
    let repo = Repo::new();
    let first = repo.publish(PATH, &v1);
    let url = repo.url();
    host.start_with(&["--git", &url, "--path", PATH, "--interval", "1s", "--host-name", "Edge-1"]);
    let until = |commit: &str, states: &[&str]| {
        host.until_seen(&format!("{states:?} of {commit}"), || {
            (statuses(&forge, commit) == states).then_some(())
        });
    };
    until(&first, &["pending", "success"]);
    let mail = forge.taken();
    assert_eq!(mail[1].path, format!("/api/repos/shop/state/statuses/{first}"));
    assert_eq!(mail[1].header("authorization"), format!("Bearer {CANARY}"));
    assert_eq!(mail[1].json()["context"], format!("quaymaster/{}/edge-1", host.stack));
    assert_eq!(mail[1].json()["description"], "shop runs as declared");
    let second = repo.publish(PATH, &v2);
    until(&second, &["pending", "success"]);
    let third = repo.publish(PATH, &bad);
    until(&third, &["pending", "failure"]);
    let last = forge.taken().pop().expect("something");
    let description = last.json()["description"].as_str().expect("a text").to_owned();
    assert!(description.starts_with("shop: ") && description.chars().count() <= 140);
    let fourth = repo.publish(PATH, &invalid);
    until(&fourth, &["error"]);
    let fifth = repo.publish(PATH, &v2);
    // It says what stands already.
    until(&fifth, &["success"]);

    let body = taken(&host, &chat, 2)[1].json();
    assert_eq!(body["commit"], second.as_str());
    assert_eq!(
        (&body["subject"], &body["author"]),
        (&format!("change {PATH}").into(), &"Alice".into())
    );
    let commit = &report(&host, &["shop", "--last", "2"])["reports"][0]["commit"];
    assert_eq!((&commit["sha"], &commit["author"]), (&second.as_str().into(), &"Alice".into()));
    repo.git(&["commit", "--quiet", "--amend", "--message", "rewritten"]);
    repo.push_force();
    assert_eq!(taken(&host, &chat, 3)[2].json()["event"], "branch-refused");
    assert!(!host.log().contains(CANARY));
}

#[test]
fn what_converges_once_tells_before_it_ends_and_is_reported_after() {
    let host = host();
    let mailbox = Mailbox::open();
    host.save(&told(&shop("v1", "blue"), &webhook(&mailbox, "promoted")));
    let applied = host.quaymaster(&["apply", "quaymaster.yaml"]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    assert_eq!(events(&mailbox.taken()), ["promoted"]);
    let shown = report(&host, &[]);
    let deployed = &shown["reports"][0];
    assert_eq!(deployed["outcome"], "good");
    assert_eq!((&deployed["tag"], &deployed["slot"]), (&"v1".into(), &"blue".into()));
    let durations = &deployed["durations"];
    let millis = |name: &str| durations[name].as_u64().unwrap_or_else(|| panic!("{deployed}"));
    assert!(millis("ready_ms") <= millis("promoted_ms"), "{deployed}");
    let text = String::from_utf8(host.quaymaster(&["report"]).stdout).expect("UTF-8");
    assert!(text.contains("shop") && text.contains("✓ good"), "{text}");
}
