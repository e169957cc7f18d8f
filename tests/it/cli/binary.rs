//! The binary itself: exit codes, and which stream gets what.

use std::process::{Command, Output};

fn quaymaster(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Command::new(env!("CARGO_BIN_EXE_quaymaster"))
        .current_dir(folder.path())
        .env_clear()
        .env("QUAYMASTER_STATE_DIR", folder.path().join("state"))
        .env("QUAYMASTER_SOCKET", folder.path().join("none.sock"))
        .args(arguments)
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn wrong_arguments_end_with_2_and_leave_stdout_empty() {
    for arguments in [&["sail"][..], &["retry"], &["status", "--colour"], &["run", "a", "b"], &[]] {
        let output = quaymaster(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        assert!(text(&output.stderr).contains("Usage"), "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_results() {
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"]] {
        let output = quaymaster(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_ne!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn a_request_without_a_controller_fails_and_says_how_to_start_one() {
    for command in ["retry", "rollback"] {
        let output = quaymaster(&[command, "shop"]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert_eq!(text(&output.stdout), "", "{command}");
        assert!(text(&output.stderr).contains("quaymaster run FILE"), "{command}");
    }
}

#[test]
fn an_error_can_be_json() {
    let output = quaymaster(&["retry", "shop", "--json"]);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON");
    assert!(error["error"].as_str().is_some_and(|text| text.contains("no controller answers")));
    assert!(error["hint"].is_string());
}
