//! What can be typed.

use clap::{CommandFactory, Parser};
use quaymaster::cli::args::{Cli, Command};

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    for line in [
        ["quaymaster", "--socket", "/s", "--json", "status"],
        ["quaymaster", "status", "--json", "--socket", "/s"],
    ] {
        let cli = Cli::try_parse_from(line).expect("both orders are fine");
        assert!(cli.globals.json);
        assert_eq!(cli.globals.socket.to_str(), Some("/s"));
    }
}

#[test]
fn several_env_files_keep_their_order() {
    let line = ["quaymaster", "--env-file", "a", "validate", "--env-file", "b"];
    let cli = Cli::try_parse_from(line);
    // clap lets the later place of a global option win as a whole, so both must
    // stand together.
    drop(cli);
    let line = ["quaymaster", "validate", "--env-file", "a", "--env-file", "b"];
    let cli = Cli::try_parse_from(line).expect("it may be given again");
    assert_eq!(cli.globals.env_file, ["a", "b"].map(std::path::PathBuf::from));
}

#[test]
fn a_host_is_what_its_operator_says() {
    let line = ["quaymaster", "status", "--host-name", "Edge-1", "--host-label", "role=db,zone=a"];
    let host = Cli::try_parse_from(line).expect("a host").globals.host();
    assert_eq!(host.to_string(), "edge-1, role=db, zone=a");
    let machine = Cli::try_parse_from(["quaymaster", "status"]).expect("fine").globals.host();
    assert_ne!(machine.name, "", "the machine has a name");
    assert!(Cli::try_parse_from(["quaymaster", "status", "--host-label", "role"]).is_err());
}

#[test]
fn a_bare_level_is_about_this_program_alone() {
    let cli = Cli::try_parse_from(["quaymaster", "status", "--log", "debug"]).expect("a level");
    let filter = cli.globals.log.expect("it was given").to_string();
    assert!(filter.contains("quaymaster=debug"), "{filter}");
    assert!(!filter.contains("debug,") || filter.contains("warn"), "{filter}");
    assert!(Cli::try_parse_from(["quaymaster", "status", "--log", "a=loud"]).is_err());
}

#[test]
fn a_name_that_cannot_be_a_service_is_refused_at_once() {
    let refused = Cli::try_parse_from(["quaymaster", "retry", "../etc"]).expect_err("a bad name");
    assert_eq!(refused.exit_code(), 2);
}

#[test]
fn every_command_shows_an_example() {
    for command in Cli::command().get_subcommands() {
        let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(example.contains(&format!("quaymaster {}", command.get_name())), "{command}");
    }
}

#[test]
fn the_file_has_a_default() {
    let cli = Cli::try_parse_from(["quaymaster", "plan"]).expect("FILE may be left out");
    let Command::Plan(args) = cli.command else { panic!("not plan") };
    assert_eq!(args.file.file.to_str(), Some("quaymaster.yaml"));
}

#[test]
fn a_file_is_on_this_host_or_in_git_and_not_both() {
    let parsed = |line: &str| Cli::try_parse_from(format!("quaymaster {line}").split(' '));
    let cli = parsed("run --git https://git.example.com/s.git --branch prod").expect("in Git");
    let Command::Run(run) = cli.command else { panic!("it is `run`") };
    let git = run.converge.git;
    assert_eq!((git.branch.as_str(), git.path.as_str()), ("prod", "quaymaster.yaml"));
    assert_eq!(git.interval, std::time::Duration::from_secs(60));
    assert!(parsed("apply --git /srv/s.git --timeout 1m").is_ok());
    assert!(parsed("run --listen 9180").is_ok(), "a health check needs no Git");
    for wrong in [
        "run a.yaml --git u",
        "run --branch prod",
        "run --allow-force",
        "run --git u --interval 10ms",
        "run --git u --webhook-secret-file f",
        "run --listen 9180 --webhook-secret-file f",
        "run --status-token-file f",
        "run --listen nowhere",
        "wait --commit main",
        "wait --token-file f",
    ] {
        assert!(parsed(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_port_alone_is_for_this_host_alone() {
    let address = |text: &str| {
        let line = ["quaymaster", "run", "--listen", text];
        match Cli::try_parse_from(line).expect("an address").command {
            Command::Run(run) => run.listen.listen.expect("it was given").to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(address("9180"), "127.0.0.1:9180");
    assert_eq!(address(":9180"), "127.0.0.1:9180");
    assert_eq!(address("0.0.0.0:80"), "0.0.0.0:80");
    assert_eq!(address("[::1]:80"), "[::1]:80");
}
