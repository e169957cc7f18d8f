//! A real Prometheus on loopback: Debian's `prometheus`, in a folder of its own.

use std::{
    env, fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{eventually, free_port};

/// A Prometheus that scrapes one target; it ends with its owner.
pub struct Prometheus {
    process: Child,
    folder: TempDir,
    port: u16,
}

impl Prometheus {
    /// Starts one that scrapes `127.0.0.1:scraped` ten times a second.
    pub fn start(scraped: u16) -> Prometheus {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = format!(
            "global: {{scrape_interval: 100ms, scrape_timeout: 100ms}}\n\
             scrape_configs:\n- job_name: shop\n  static_configs: [{{targets: [\"127.0.0.1:{scraped}\"]}}]\n"
        );
        fs::write(folder.path().join("prometheus.yml"), config).expect("the folder is writable");
        let port = free_port();
        let process = spawn(&folder, port);
        Prometheus { process, folder, port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends the process; its port then refuses connections.
    pub fn stop(&mut self) {
        // It may have ended by itself.
        self.process.kill().ok();
        self.process.wait().ok();
    }

    /// Starts it again, on the same port and data.
    pub fn restart(&mut self) {
        self.stop();
        self.process = spawn(&self.folder, self.port);
    }
}

fn spawn(folder: &TempDir, port: u16) -> Child {
    let program = env::var_os("QUAYMASTER_TEST_PROMETHEUS").unwrap_or_else(|| "prometheus".into());
    let path = folder.path().display();
    let mut process = Command::new(program)
        .arg(format!("--config.file={path}/prometheus.yml"))
        .arg(format!("--storage.tsdb.path={path}/data"))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--log.level=error")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("prometheus is installed, or $QUAYMASTER_TEST_PROMETHEUS names it");
    let listens = || match process.try_wait().expect("it is ours") {
        Some(status) => panic!("prometheus ended at its start: {status}"),
        None => TcpStream::connect(("127.0.0.1", port)).ok(),
    };
    eventually(listens).expect("prometheus listens");
    process
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.stop();
    }
}
