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
                return websocket::echo(stream, incoming.into_rest(), connections);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::SocketAddr,
        thread::JoinHandle,
        time::{Duration, Instant},
    };

    use tungstenite::{Message, client, protocol::frame::coding::CloseCode};

    use super::*;

    /// Serves one connection; returns the client's end of it.
    fn one_connection() -> (TcpStream, Arc<Connections>, JoinHandle<()>) {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let connections = Arc::new(Connections::default());
        let served = Arc::clone(&connections);
        let app = App::new(Behaviour::from_environment());
        let server = thread::spawn(move || converse(listener.accept().unwrap().0, &app, &served));
        (peer, connections, server)
    }

    #[test]
    fn a_websocket_echoes_and_a_drain_says_goodbye() {
        let (peer, connections, server) = one_connection();
        let (mut socket, _) = client("ws://localhost/ws", peer).unwrap();
        socket.send(Message::text("ahoy")).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text("ahoy"));
        let drained = thread::spawn(move || connections.drain(Duration::from_secs(20)));
        let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!("no close frame") };
        assert_eq!(frame.code, CloseCode::Away);
        assert_eq!(drained.join().unwrap(), 0);
        server.join().unwrap();
    }

    #[test]
    fn a_drain_lets_the_request_in_flight_finish_and_then_closes() {
        let (mut peer, connections, server) = one_connection();
        let began = Instant::now();
        write!(peer, "GET /slow?ms=300 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        // The request counts as soon as its first byte was read.
        while began.elapsed() < Duration::from_secs(10) && !connections.any_in_flight() {
            thread::yield_now();
        }
        assert_eq!(connections.drain(Duration::from_secs(20)), 0);
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Connection: close"));
        server.join().unwrap();
    }

    #[test]
    fn a_drain_closes_an_idle_connection_at_once() {
        let (mut peer, connections, server) = one_connection();
        write!(peer, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut first = [0; 1024];
        let read = peer.read(&mut first).unwrap();
        assert!(String::from_utf8_lossy(&first[..read]).contains("keep-alive"));
        assert_eq!(connections.drain(Duration::from_secs(20)), 0);
        assert_eq!(peer.read(&mut first).unwrap(), 0, "the connection is still open");
        server.join().unwrap();
    }
}
