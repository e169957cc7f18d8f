//! Where the clients go.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A site behind a proxy, or a server that plays one.
#[derive(Clone, Debug)]
pub struct Target {
    /// The `Host` header, and the name in the certificate.
    pub host: String,
    /// Plain HTTP/1.1, and HTTP/2 with prior knowledge if there is no TLS.
    pub plain: SocketAddr,
    pub tls: Option<Tls>,
    /// How long a client waits for anything that it is owed.
    pub patience: Duration,
}

/// How to speak HTTP/2 over TLS with the target.
#[derive(Clone)]
pub struct Tls {
    pub address: SocketAddr,
    config: Arc<ClientConfig>,
}

impl Target {
    /// Long enough for two busy cores: it bounds a hang and measures nothing.
    pub const PATIENCE: Duration = Duration::from_secs(15);
}

impl Tls {
    /// Trusts the authority in this PEM file, and asks for `h2`.
    pub fn trusting(authority: &Path, address: SocketAddr) -> Tls {
        let authority = CertificateDer::from_pem_file(authority).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(authority).expect("the certificate of an authority");
        let mut config =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Tls { address, config: Arc::new(config) }
    }

    /// Connects; an error if the other side does not speak HTTP/2.
    pub(super) async fn connect(&self, host: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await?;
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Ok(stream),
            Some(_) | None => Err(io::Error::other("the other side does not offer HTTP/2")),
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("address", &self.address).finish_non_exhaustive()
    }
}
