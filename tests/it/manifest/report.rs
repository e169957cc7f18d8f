//! How refusals read.

use super::{CANARY, FIRST_LINE, refused, stack_with};

const SEVERAL: &str = "name: shop
proxy: { caddy: {} }
services:
  web:
    imagee: shop/web:${TAG}
    build: .
    route: { host: Shop.example.com, port: 80a }
    environment:
      LANGFUSE_HOST: \"https://${LANGFUSE}/api\"
      PASSWORD: Canary-5f1e
    depends_on: [databse]
  database:
    image: postgres:15
    volumes: [\"data:/var/lib/postgresql/data\"]
    rollout: { strategy: blue-green }
";

#[test]
fn all_errors_of_a_file_are_shown_with_line_caret_and_mend() {
    insta::assert_snapshot!(refused(SEVERAL));
}

#[test]
fn machines_get_the_same_as_json() {
    insta::assert_json_snapshot!(refused(SEVERAL));
}

#[test]
fn a_terminal_gets_the_same_words() {
    let drawn = refused(SEVERAL).graphical();
    assert!(drawn.contains("the variable `LANGFUSE` is not set"), "{drawn}");
}

#[test]
fn a_secret_written_in_the_file_is_blotted_out_of_the_line_that_is_shown() {
    let leaks = [
        "environment: { PASSWORD: Canary-5f1e, X: $NONE }",
        "environment: [PASSWORD=Canary-5f1e, X=$NONE]",
        "environment: { PASSWORD: \"Canary-5f1e$NONE\" }",
        "environment: { PASSWORD: Canary-5f1e, PASSWORD: 2 }",
        "probe: { http: { port: 80a, headers: { Authorization: Canary-5f1e } } }",
        "logging: { drver: x, options: { token: Canary-5f1e } }",
        "environment:\n  PASSWORD: \"Canary-5f1e",
        "environment:\n  PASSWORD: Canary-5f1e: x",
        "environment:\n- \"PASSWORD=Canary-5f1e\" x",
        "environment:\n  PASSWORD: |\n    Canary-5f1e\n   bad: [",
        "environment: { PASSWORD: Canary-5f1e ]",
    ];
    for lines in leaks {
        let report = refused(&stack_with(lines));
        assert!(!format!("{report}{report:?}").contains(CANARY), "{report}");
    }
}

#[test]
fn an_ordinary_line_is_shown_as_it_is() {
    let report = refused(&stack_with("command: echo hello # a comment\nslot: gren"));
    assert!(report.to_string().contains("slot: gren"), "{report}");
    assert_eq!(report.problems()[0].line, FIRST_LINE + 1);
}

#[test]
fn a_long_line_is_cut_around_the_fault() {
    let padding = "x".repeat(100_000);
    let report = refused(&stack_with(&format!(
        "labels: {{ a: {padding}, quaymaster.slot: blue, b: {padding} }}"
    )));
    assert!(report.to_string().len() < 1_000, "{}", report.to_string().len());
    assert!(report.to_string().contains("quaymaster.slot"), "{report}");
}

#[test]
fn thousands_of_errors_are_counted_and_not_all_shown() {
    let keys: String = (0..5_000).map(|n| format!("unknown{n}: 1\n")).collect();
    let report = refused(&stack_with(&keys));
    assert_eq!(report.problems().len(), 50);
    assert!(report.to_string().ends_with("and 4950 more"), "{report}");
}

#[test]
fn nothing_that_a_terminal_obeys_gets_out() {
    for lines in ["\"\\e[2Jkey\": 1", "\"a\\u202Eb\": 1", "user: \u{9b}31m\nslot: \u{9b}2J"] {
        let report = refused(&stack_with(lines)).to_string();
        let obeyed = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!report.contains(obeyed), "{report:?}");
    }
}
