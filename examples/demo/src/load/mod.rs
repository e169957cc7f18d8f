//! `load URL`: clients that count answers and failures until they are told to
//! stop, and print one line of JSON.
//!
//! Two kinds of clients: those that keep their connection, as browsers and
//! other proxies do, and those that make a fresh connection for each request.
//! A kept connection that the server closed while it was idle is opened again
//! and the request repeated, as RFC 9112 section 9.3.1 lets every client do:
//! that is counted as a reconnect, not as a failure. Everything else that is
//! no `200` is a failure.

mod client;
mod options;
mod tally;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use client::{Client, Lifetime};
use options::Options;
use tally::Tally;

/// Runs the clients; exits with 0 if nothing failed, with 1 if something did,
/// with 2 if the arguments are wrong.
pub fn load(arguments: &[String]) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register(signal, Arc::clone(&stop)).expect("the signal can be caught");
    }
    let tally = Tally::new();
    let kept = (0..options.keep_alive).map(|_| Lifetime::Kept);
    let fresh = (0..options.fresh).map(|_| Lifetime::OneRequest);
    thread::scope(|scope| {
        for lifetime in kept.chain(fresh) {
            let (options, tally, stop) = (&options, &tally, &stop);
            scope.spawn(move || {
                repeat(Client::new(&options.target, lifetime), options, tally, stop)
            });
        }
    });
    println!("{}", tally.json());
    if tally.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Asks once and prints the body; exits with 0 if the answer was a `200`.
pub fn get(arguments: &[String]) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    match Client::new(&options.target, Lifetime::OneRequest).get().answer {
        Ok(answer) => {
            print!("{}", String::from_utf8_lossy(&answer.body));
            if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn repeat(mut client: Client, options: &Options, tally: &Tally, stop: &AtomicBool) {
    let began = Instant::now();
    let over = || {
        stop.load(Ordering::Relaxed) || options.limit.is_some_and(|limit| began.elapsed() >= limit)
    };
    while !over() {
        let asked = Instant::now();
        let answer = client.get();
        tally.note(asked, answer);
        thread::sleep(options.pause);
    }
}
