//! The server's life: start, listen, drain, exit.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    net::{TcpListener, TcpStream},
    process::{ExitCode, exit},
    sync::Arc,
    thread,
    time::Duration,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    behaviour::{Behaviour, OnSigterm},
    connections::Connections,
    endpoints::{Answered, App},
    http::Incoming,
    websocket,
};

/// Serves until a signal or its own `EXIT_AFTER` ends it.
pub fn serve(behaviour: Behaviour) -> ExitCode {
    let connections = Arc::new(Connections::default());
    // Signals first: as process 1 of a container it would otherwise ignore
    // them while it is still starting.
    await_signals(behaviour.on_sigterm, Arc::clone(&connections));
    let berth = &behaviour.berth;
    println!("{} starts in {} as replica {}", behaviour.version, berth.slot, berth.replica);
    if let Some(line) = &behaviour.say {
        println!("{line}");
    }
    if let Some(after) = behaviour.exit_after {
        let code = behaviour.exit_code.unwrap_or(1);
        thread::spawn(move || exit_after(after, code));
        if after.is_zero() {
            // The other thread ends the process: nothing is to listen before.
            thread::sleep(Duration::from_secs(60));
        }
    }
    if let Err(why) = note_start(&behaviour) {
        eprintln!("cannot write to DATA_DIR: {why}");
        return ExitCode::FAILURE;
    }
    thread::sleep(behaviour.start_delay);
    let listener = match TcpListener::bind(("0.0.0.0", behaviour.port)) {
        Ok(listener) => listener,
        Err(why) => {
            eprintln!("cannot listen on port {}: {why}", behaviour.port);
            return ExitCode::FAILURE;
        }
    };
    println!("listening on port {}", behaviour.port);
    let app = Arc::new(App::new(behaviour));
    for stream in listener.incoming().flatten() {
        let (app, connections) = (Arc::clone(&app), Arc::clone(&connections));
        thread::spawn(move || converse(stream, &app, &connections));
    }
    ExitCode::SUCCESS
}

/// Runs a one-shot job: says so, takes `EXIT_AFTER`, exits with `EXIT_CODE` (0).
pub fn job(behaviour: &Behaviour) -> ExitCode {
    println!("{} job starts", behaviour.version);
    if let Some(line) = &behaviour.say {
        println!("{line}");
    }
    if let Err(why) = note_start(behaviour) {
        eprintln!("cannot write to DATA_DIR: {why}");
        return ExitCode::FAILURE;
    }
    thread::sleep(behaviour.exit_after.unwrap_or_default());
    let code = behaviour.exit_code.unwrap_or(0);
    println!("job ends with exit code {code}");
    ExitCode::from(code)
}

fn await_signals(on_sigterm: OnSigterm, connections: Arc<Connections>) {
    let mut signals = Signals::new([SIGTERM, SIGINT]).expect("both signals can be caught");
    thread::spawn(move || {
        for signal in signals.forever() {
            match (signal, on_sigterm) {
                (SIGTERM, OnSigterm::Ignore) => println!("SIGTERM ignored"),
                (SIGTERM, OnSigterm::Drain(limit)) => {
                    println!("SIGTERM: draining");
                    let left = connections.drain(limit);
                    println!("drained, {left} left");
                    exit(0)
                }
                _ => exit(130),
            }
        }
    });
}

fn exit_after(after: Duration, code: u8) -> ! {
    thread::sleep(after);
    eprintln!("exiting with code {code}");
    exit(i32::from(code))
}

/// Leaves a line for `/data`: what a volume must keep.
fn note_start(behaviour: &Behaviour) -> io::Result<()> {
    let Some(dir) = &behaviour.data_dir else { return Ok(()) };
    let mut file = OpenOptions::new().create(true).append(true).open(dir.join("starts"))?;
    writeln!(file, "{} {}", behaviour.version, behaviour.berth.slot)?;
    file.sync_all()
}

/// Answers one connection's requests until its end.
fn converse(mut stream: TcpStream, app: &App, connections: &Connections) {
    let Some(ticket) = connections.enter(&stream) else { return };
    let _ = stream.set_nodelay(true);
    let Ok(reader) = stream.try_clone() else { return };
    let mut incoming = Incoming::new(reader);
    while let Ok(true) = incoming.wait() {
        ticket.in_flight();
        let Ok(request) = incoming.request() else { return };
        match app.answer(&request, &mut stream, connections) {
            Ok(Answered::KeepAlive) => ticket.idle(),
            Ok(Answered::Close) | Err(_) => return,
            Ok(Answered::WebSocket) => {
                ticket.socket();
                return websocket::echo(stream, incoming.into_rest());
            }
        }
    }
}
