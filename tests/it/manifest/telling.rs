//! `notify:` and `commit_status:` — what the file says of telling people.

use quaymaster::domain::{
    Secret,
    facts::Facts,
    telling::{Channel, Forge, Telling, Topic},
};

use super::{CANARY, accepted, file_is_refused, refused};

fn with(lines: &str) -> String {
    format!("name: shop\nservices: {{ web: {{ image: a }} }}\n{lines}")
}

/// The first line that `with` puts its lines on.
const FIRST_LINE: usize = 3;

fn telling(lines: &str) -> Telling {
    accepted(&with(lines)).telling
}

#[track_caller]
fn is_refused(lines: &str, (line, column): (usize, usize), message: &str, help: &str) {
    file_is_refused(&with(lines), (line + FIRST_LINE - 1, column), message, help);
}

/// One line, in which what is at fault begins with the last `at`.
#[track_caller]
fn line_is_refused(line: &str, at: &str, message: &str, help: &str) {
    let column = line.rfind(at).expect("it is in the line") + 1;
    is_refused(&format!("{line}\n"), (1, column), message, help);
}

/// One receiver in a list.
#[track_caller]
fn one_is_refused(receiver: &str, at: &str, message: &str, help: &str) {
    line_is_refused(&format!("notify: [{receiver}]"), at, message, help);
}

#[test]
fn every_kind_is_read_with_what_it_is_told_by_default() {
    let told = telling(
        "notify:
  - slack: { url: \"https://hooks.slack.com/services/T/B/x\" }
  - slack: { url: \"https://chat.example.com/hooks/x\" }
    name: ops
    on: held
  - discord: { url: \"https://discord.com/api/webhooks/1/x\" }
    on: [good, rolled back, file-invalid]
  - webhook:
      url: https://example.com/hook
      headers: { Authorization: Bearer x }
      template: \"{{ service }} {{ event }}\"
  - slack: { url: \"http://127.0.0.1/\" }
",
    );
    let names: Vec<&str> = told.receivers.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["slack", "ops", "discord", "webhook", "slack 2"]);
    let on = |at: usize| told.receivers[at].on.iter().copied().collect::<Vec<_>>();
    assert_eq!(on(0), [Topic::Promoted, Topic::Held, Topic::RolledBack]);
    assert_eq!(on(1), [Topic::Held]);
    assert_eq!(on(2), [Topic::Good, Topic::RolledBack, Topic::FileInvalid]);
    let Channel::Webhook { url, headers, template } = &told.receivers[3].channel else {
        panic!("{told:?}")
    };
    assert_eq!(url.reveal(), "https://example.com/hook");
    assert_eq!(headers["Authorization"], Secret::new("Bearer x"));
    let filled = template.as_ref().expect("a template").fill_in(&Facts::sample());
    assert_eq!(filled.expect("filled in"), "web promoted");
    assert_eq!(telling(""), Telling { host: told.host.clone(), ..Telling::default() });
    assert!(telling("notify: []\n").receivers.is_empty());
}

#[test]
fn every_forge_is_read_with_the_api_that_everybody_means() {
    let status = |lines: &str| telling(&format!("commit_status: {{ {lines} }}\n")).status;
    let hub = status("forge: github, repository: shop/state.git-2, token: t").expect("a forge");
    assert_eq!((hub.forge, hub.api.reveal()), (Forge::GitHub, "https://api.github.com"));
    let lab = status("forge: gitlab, repository: a/b/c, token: t").expect("a forge");
    assert_eq!((lab.forge, lab.api.reveal()), (Forge::GitLab, "https://gitlab.com/api/v4"));
    let url = "url: \"https://git.example.com/api/v1/\"";
    let tea = status(&format!("forge: gitea, {url}, repository: a/b, token: t")).expect("a forge");
    assert_eq!((tea.forge, tea.api.reveal()), (Forge::Gitea, "https://git.example.com/api/v1"));
}

#[test]
fn nobody_is_told_by_a_mistake() {
    one_is_refused("{}", "{", "this says nobody to tell", "write `webhook`, `slack` or `discord`");
    one_is_refused("{ slack: {} }", "slack", "this `slack` has no address", "add `url:");
    one_is_refused(
        "{ slack: { url: \"http://a\" }, discord: { url: \"http://a\" } }",
        "discord",
        "an item tells one",
        "an item of its own",
    );
    one_is_refused("{ slak: { url: \"http://a\" } }", "slak", "unknown key `slak`", "`slack`?");
    one_is_refused("{ email: { to: a } }", "email", "`email` is not supported yet", "remove it");
    one_is_refused(
        "{ slack: { url: \"http://a\", channel: ops } }",
        "channel",
        "`channel` is not supported",
        "the URL says which channel",
    );
    one_is_refused(
        "{ slack: { url: \"ftp://a\" } }",
        "url",
        "this URL cannot be asked",
        "`http://`",
    );
    let on = |words: &str| format!("{{ slack: {{ url: \"http://a\" }}, on: {words} }}");
    one_is_refused(
        &on("[promotd]"),
        "promotd",
        "nothing is told of `promotd`",
        "did you mean `promoted`?",
    );
    one_is_refused(&on("[]"), "on:", "this tells of nothing", "remove `on:`");
    one_is_refused(&on(""), "on:", "this tells of nothing", "remove `on:`");
    let named = "{ name: a, slack: { url: \"http://a\" } }";
    one_is_refused(&format!("{named}, {named}"), "a, slack", "`a` is somebody else already", "");
    one_is_refused(
        "{ name: \"\", slack: { url: \"http://a\" } }",
        "\"\"",
        "1 to 40 characters",
        "short",
    );
    is_refused("notify: { slack: {} }\n", (1, 9), "expected a list", "");
}

#[test]
fn a_template_that_cannot_work_is_refused_with_its_reason() {
    let hook =
        |template: &str| format!("{{ webhook: {{ url: \"http://a\", template: '{template}' }} }}");
    let refused = |template: &str, message: &str, help: &str| {
        one_is_refused(
            &hook(template),
            "template",
            &format!("this template does not work: {message}"),
            help,
        );
    };
    refused("{{ sevice }}", "it knows no `sevice`", "did you mean `service`?");
    refused("{{ qwertyuiop }}", "it knows no `qwertyuiop`", "there are id, event, at");
    refused("{{ service", "it cannot be read", "`{{ name }}` stands for a fact");
    refused("{{ commit.short }}", "it asks for something that there is not, in its line 1", "");
    refused("{{ text|shout }}", "it uses a filter that there is not", "`{{ name|tojson }}`");
}

#[test]
fn a_forge_that_cannot_be_told_is_refused() {
    let refused = |lines: &str, at: &str, message: &str, help: &str| {
        line_is_refused(&format!("commit_status: {{ {lines} }}"), at, message, help);
    };
    refused(
        "forge: github",
        "commit_status",
        "this has no `repository`, no `token`",
        "write a map such as",
    );
    refused(
        "forge: githb, repository: a/b, token: t",
        "githb",
        "no forge that is known",
        "`github`?",
    );
    refused(
        "forge: gitea, repository: a/b, token: t",
        "commit_status",
        "nobody is meant by `gitea`",
        "add `url:`",
    );
    refused(
        "forge: github, repository: a, token: t",
        "a, token",
        "`a` is not a repository",
        "`owner/name`",
    );
    refused(
        "forge: github, repository: a/b/c, token: t",
        "a/b/c",
        "not a repository",
        "`owner/name`",
    );
    refused(
        "forge: gitlab, repository: a/../c, token: t",
        "a/../c",
        "not a repository",
        "group/subgroup",
    );
    refused(
        "forge: github, repository: a/b, token: \"a b\"",
        "token",
        "this is no token",
        "in one line",
    );
    refused(
        "forge: github, repository: a/b, token: t, url: \"http://a/?b\"",
        "url",
        "this URL cannot be asked: it has a `?`",
        "the address alone",
    );
    refused(
        "forge: github, repository: a/b, token: t, context: x",
        "context",
        "`context` is not supported",
        "quaymaster/STACK/HOST",
    );
}

#[test]
fn no_secret_of_who_is_told_is_shown() {
    let lines = format!(
        "notify:\n  - slack: {{ url: \"http://{CANARY}@a/{CANARY}\" }}\n  \
         - webhook: {{ url: \"http://a\", headers: {{ X: {CANARY} }}, template: {CANARY} }}\n\
         commit_status: {{ forge: github, repository: a/b, token: {CANARY} }}\n"
    );
    assert!(!format!("{:?}", accepted(&with(&lines))).contains(CANARY));
    let broken = lines
        .replace("http://", "ftp://")
        .replace(&format!("template: {CANARY}"), &format!("template: \"{CANARY} {{{{ x\""))
        .replace(&format!("token: {CANARY}"), &format!("token: \"{CANARY} x\""));
    let report = refused(&with(&broken));
    assert_eq!(report.problems().len(), 4, "{report}");
    assert!(!format!("{report}{report:?}{}", report.graphical()).contains(CANARY), "{report}");
}

#[test]
fn no_template_is_shown_of_a_file_that_is_not_yaml() {
    let lines =
        format!("notify:\n  - webhook:\n      template: |\n        {CANARY}: \"\n\t{CANARY} [\n");
    let report = refused(&with(&lines));
    assert!(!format!("{report}{}", report.graphical()).contains(CANARY), "{report}");
}

#[test]
fn an_address_where_a_map_belongs_is_not_shown() {
    for lines in [
        format!("notify:\n  - slack: \"http://a/{CANARY}\"\n"),
        format!("notify: {{ slack: http://a/{CANARY} }}\n"),
        format!("notify: [\"https://a/{CANARY}\"]\n"),
        format!("notify: https://a/{CANARY}\n"),
        format!(
            "notify:\n  - webhook: {{ url: http://a, headers: [\"Authorization: Bearer {CANARY}\"] }}\n"
        ),
    ] {
        let report = refused(&with(&lines));
        let shown = format!("{report}{report:?}{}", report.graphical());
        assert!(!shown.contains("5f1e"), "{lines}{report}");
    }
}
