//! A tap in front of an admin endpoint: it counts requests, and can get between
//! a read and the write that follows.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What befalls one write.
pub enum Fate {
    /// Something else happens first.
    After(BoxFuture<'static, ()>),
    /// It is applied, and its answer never arrives.
    AnswerLost,
}

/// A forwarder to one address. Every request has a connection of its own.
#[derive(Clone)]
pub struct Tap {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    fates: Arc<Mutex<VecDeque<Fate>>>,
}

impl Tap {
    /// Takes the address that `start` will forward from, so that it can be
    /// allowed before the target starts.
    pub async fn bind() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    pub fn start(listener: TcpListener, target_port: u16) -> Tap {
        let address = listener.local_addr().unwrap();
        let tap = Tap { address, seen: Arc::default(), fates: Arc::default() };
        let accepting = tap.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let tap = accepting.clone();
                tokio::spawn(async move { tap.forward(client, target_port).await });
            }
        });
        tap
    }

    /// Lets this befall the next write that nothing befalls yet.
    pub fn befall(&self, fate: Fate) {
        self.fates.lock().unwrap().push_back(fate);
    }

    /// Takes the request lines (`GET /config/`) seen since the last call.
    pub fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    async fn forward(self, mut client: TcpStream, port: u16) -> std::io::Result<()> {
        let mut first = vec![0; 64 << 10];
        let length = client.read(&mut first).await?;
        let line = String::from_utf8_lossy(&first[..length]);
        let line = line.split(" HTTP/").next().unwrap_or_default().to_owned();
        let is_write = !line.starts_with("GET ");
        self.seen.lock().unwrap().push(line);
        let fate = if is_write { self.fates.lock().unwrap().pop_front() } else { None };
        let loses_answer = match fate {
            Some(Fate::After(first)) => {
                first.await;
                false
            }
            Some(Fate::AnswerLost) => true,
            None => false,
        };
        let mut target = TcpStream::connect(("127.0.0.1", port)).await?;
        target.write_all(&first[..length]).await?;
        if loses_answer {
            // Its first byte says that the write was applied.
            target.read_u8().await?;
            return Ok(());
        }
        tokio::io::copy_bidirectional(&mut client, &mut target).await.map(drop)
    }
}
