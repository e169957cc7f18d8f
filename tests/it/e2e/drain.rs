//! The old release goes when its last request has ended, and not before.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use super::shop_with;
use crate::rig::{client::Site, host::Host};

/// No warm standby, and a drain that outlasts any test: whoever waited for its
/// end would never see the old release stop.
const EAGER: &str = "    rollout: { drain_timeout: 1h, bake: 0s, scale_down_delay: 0s }\n";

#[test]
fn the_old_release_outlives_its_requests_and_no_more() {
    let mut host = Host::new();
    host.image("v1");
    host.image("v2");
    host.save(&shop_with("v1", "blue", EAGER));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    let site = host.site("shop");
    let mut socket = WebSocket::open(&site).expect("the demo speaks WebSocket");
    let slow = thread::spawn(move || site.get("/slow?ms=5000"));

    host.save(&shop_with("v2", "green", EAGER));
    host.until_answers("shop", "v2 green");
    host.until("both are counted", |status| status.service("shop").tells("2 requests in flight"));
    let (status, body) = slow.join().expect("no panic").expect("it is answered");
    assert_eq!((status, body.split(' ').next()), (200, Some("v1")));
    host.until("one is left", |status| status.service("shop").tells("1 request in flight"));
    assert_eq!(socket.echo("still here").expect("the old release runs"), "still here");
    assert_eq!(host.running("shop").len(), 2);

    drop(socket);
    host.until_seen("the old release is gone", || (host.replicas().len() == 1).then_some(()));
    host.until_settled();
}

/// The least of RFC 6455 that an echo takes.
struct WebSocket(BufReader<TcpStream>);

impl WebSocket {
    fn open(site: &Site) -> io::Result<WebSocket> {
        let mut stream = TcpStream::connect(("127.0.0.1", site.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(
            stream,
            "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            site.host
        )?;
        let mut socket = WebSocket(BufReader::new(stream));
        let mut line = String::new();
        socket.0.read_line(&mut line)?;
        if !line.contains(" 101 ") {
            return Err(io::Error::other(line));
        }
        while line != "\r\n" {
            line.clear();
            socket.0.read_line(&mut line)?;
        }
        Ok(socket)
    }

    /// Sends a text of less than 126 bytes and returns what comes back.
    fn echo(&mut self, text: &str) -> io::Result<String> {
        let length = u8::try_from(text.len()).map_err(io::Error::other)?;
        // A final text frame, masked as a client's must be: with zeros.
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.0.get_mut().write_all(&frame)?;
        let mut head = [0; 2];
        self.0.read_exact(&mut head)?;
        let mut body = vec![0; usize::from(head[1])];
        self.0.read_exact(&mut body)?;
        String::from_utf8(body).map_err(io::Error::other)
    }
}
