//! Notices at once when Caddy ends, comes back, or gets another configuration.
//!
//! Caddy tells nobody. But it ends every connection to its admin endpoint when it
//! goes, and also when it loads a configuration, since that restarts the endpoint.
//! So one connection is kept open, and its end is the news. Like any wake it
//! carries no data: the next pass looks.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};

use crate::domain::stack::AdminEndpoint;

/// What is called when it is worth looking at Caddy again.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The pause between two tries to reach a Caddy that is gone.
const BETWEEN_TRIES: Duration = Duration::from_millis(250);

/// The pause after a connection that ended at once, in case they all do.
const BETWEEN_CONNECTIONS: Duration = Duration::from_millis(50);

/// A watch over one endpoint, for as long as it lives.
#[derive(Debug)]
pub struct AdminWatch {
    endpoint: AdminEndpoint,
    watching: JoinHandle<()>,
}

impl AdminWatch {
    /// Begins to watch. Must be called inside a runtime.
    pub fn begin(endpoint: &AdminEndpoint, wake: Wake) -> AdminWatch {
        let watching = tokio::spawn(watch(endpoint.clone(), wake));
        AdminWatch { endpoint: endpoint.clone(), watching }
    }

    pub fn is_of(&self, endpoint: &AdminEndpoint) -> bool {
        self.endpoint == *endpoint
    }
}

impl Drop for AdminWatch {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

async fn watch(endpoint: AdminEndpoint, wake: Wake) {
    let mut was_reached = true;
    loop {
        let stream = reach(&endpoint).await;
        // Said once when it goes, and once when it is back.
        if stream.is_ok() != was_reached {
            was_reached = stream.is_ok();
            wake();
        }
        let Ok(stream) = stream else {
            tokio::time::sleep(BETWEEN_TRIES).await;
            continue;
        };
        // However it ends, it is over.
        let _ = until_it_ends(stream, &endpoint).await;
        wake();
        tokio::time::sleep(BETWEEN_CONNECTIONS).await;
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn reach(endpoint: &AdminEndpoint) -> io::Result<Box<dyn Stream>> {
    Ok(match endpoint {
        AdminEndpoint::Tcp { host, port } => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Box::new(TcpStream::connect((host, *port)).await?)
        }
        AdminEndpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

/// Asks for something small, since a connection that was never used is not ended
/// with the others, and waits.
async fn until_it_ends(mut stream: Box<dyn Stream>, endpoint: &AdminEndpoint) -> io::Result<()> {
    let host = endpoint.authority();
    let request = format!("GET /config/admin HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; 4096];
    while stream.read(&mut answer).await? > 0 {}
    Ok(())
}
