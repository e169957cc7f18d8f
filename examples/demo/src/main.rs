//! The demo app: one small static server that misbehaves when its environment
//! says so, and the clients that the examples and tests need beside it.
//!
//! ```text
//! quaymaster-demo          serve, told by the environment (see `behaviour.rs`)
//! quaymaster-demo check    exit 0 if the server beside it is healthy: for exec probes
//! quaymaster-demo job      exit with EXIT_CODE after EXIT_AFTER: for one-shot services
//! quaymaster-demo cat FILE… print files, such as its secrets
//! quaymaster-demo get URL  print one answer: for scripts on a machine without curl
//! quaymaster-demo load URL count answers and failures: for examples and tests
//! ```
//!
//! It stands in images made `FROM scratch`, so it needs no shell, no libc and
//! no files. It is deliberately no web framework: only what a proxy, a probe
//! and a drain can tell apart is here.

mod behaviour;
mod check;
mod connections;
mod endpoints;
mod http;
mod load;
mod serve;
mod websocket;

use std::process::ExitCode;

use behaviour::Behaviour;

const USAGE: &str = "usage: quaymaster-demo [serve | check [PATH] | job | cat FILE… | get URL | load URL [OPTION]…]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    let rest: Vec<String> = arguments.collect();
    match command.as_deref() {
        None | Some("serve") => serve::serve(Behaviour::from_environment()),
        Some("check") => check::check(&Behaviour::from_environment(), rest.first()),
        Some("job") => serve::job(&Behaviour::from_environment()),
        Some("cat") => cat(&rest),
        Some("get") => load::get(&rest),
        Some("load") => load::load(&rest),
        Some("--help" | "-h" | "help") => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Some(other) => {
            eprintln!("unknown command `{other}`\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Prints files one after the other, each ended by a line break.
fn cat(files: &[String]) -> ExitCode {
    for file in files {
        match std::fs::read(file) {
            Ok(content) => println!("{}", String::from_utf8_lossy(&content).trim_end()),
            Err(error) => {
                eprintln!("{file}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
