//! The demo app: one small static server that misbehaves when its environment
//! says so, and the clients that the examples and tests need beside it.
//!
//! ```text
//! quaymaster-demo          serve, told by the environment (see `behaviour.rs`)
//! quaymaster-demo check    exit 0 if the server beside it is healthy: for exec probes
//! quaymaster-demo job      exit with EXIT_CODE after EXIT_AFTER: for one-shot services
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

const USAGE: &str =
    "usage: quaymaster-demo [serve | check [PATH] | job | get URL | load URL [OPTION]…]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    let rest: Vec<String> = arguments.collect();
    match command.as_deref() {
        None | Some("serve") => serve::serve(Behaviour::from_environment()),
        Some("check") => check::check(&Behaviour::from_environment(), rest.first()),
        Some("job") => serve::job(&Behaviour::from_environment()),
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
