//! One controller per stack on a host (S10), whatever state folder each was given.
//!
//! The hold is an abstract Unix socket whose name is made of the engine's id and
//! the stack; see unix(7). Binding it is atomic, the kernel frees it the
//! moment its owner dies, and it leaves no file to go stale. Whoever comes
//! second connects to it, and the kernel says which process it belongs to.
//!
//! Abstract names belong to a network namespace: a controller in a container
//! takes part only with host networking. Any local user can take a name, and so
//! keep a controller from starting; the error then names that user's process.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    path::Path,
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::task::JoinHandle;

use crate::domain::{Fingerprint, StackName};

/// The characters that are shown of the holder's command line.
const SHOWN_COMMAND_CHARS: usize = 80;

/// How often a name is tried whose holder vanishes while it is asked about.
const MAX_TRIES: u32 = 5;

/// Why a stack could not be held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("stack {stack} is held by {holder}")]
    Held { stack: StackName, holder: Holder },
    #[error("cannot hold stack {stack}")]
    Socket {
        stack: StackName,
        #[source]
        source: io::Error,
    },
}

/// The process that holds a stack, as far as it can be seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// None for a process of another PID namespace.
    pub pid: Option<i32>,
    /// Its command line, shortened.
    pub command: Option<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.pid, &self.command) {
            (Some(pid), Some(command)) => write!(f, "process {pid} ({command})"),
            (Some(pid), None) => write!(f, "process {pid}"),
            (None, _) => f.write_str("a process that cannot be seen from here"),
        }
    }
}

/// The right to act on a stack, for as long as it lives.
#[derive(Debug)]
pub struct StackLock {
    answering: JoinHandle<()>,
}

impl StackLock {
    /// Takes the stack on the engine that this id tells from every other, or says
    /// who has it. Must be called inside a runtime.
    pub fn take(engine: &str, stack: &StackName) -> Result<StackLock, LockError> {
        let failed = |source| LockError::Socket { stack: stack.clone(), source };
        let name = socket_name(engine, stack);
        let mut tries = 1;
        loop {
            match bind(&name) {
                Ok(listener) => {
                    let listener = tokio::net::UnixListener::from_std(listener).map_err(failed)?;
                    return Ok(StackLock { answering: tokio::spawn(answer(listener)) });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => match ask(&name) {
                    Ok(holder) => return Err(LockError::Held { stack: stack.clone(), holder }),
                    // It has died since; the name is free.
                    Err(refused)
                        if refused.kind() == io::ErrorKind::ConnectionRefused
                            && tries < MAX_TRIES =>
                    {
                        tries += 1;
                    }
                    Err(source) => return Err(failed(source)),
                },
                Err(source) => return Err(failed(source)),
            }
        }
    }
}

impl Drop for StackLock {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// Closes each connection: the asker has learned all it wants from the kernel.
/// Left alone, they would fill the socket's backlog.
async fn answer(listener: tokio::net::UnixListener) {
    loop {
        if let Err(error) = listener.accept().await {
            // Out of file descriptors: the name stays ours, which is what counts.
            tracing::debug!(%error, "a question about the stack's holder went unanswered");
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    }
}

fn bind(name: &[u8]) -> io::Result<UnixListener> {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Asks the kernel whose socket this is.
fn ask(name: &[u8]) -> io::Result<Holder> {
    // Without blocking: the holder may be stopped with a full backlog.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new_abstract_name(name)?) {
        Ok(()) => {}
        Err(rustix::io::Errno::AGAIN) => return Ok(Holder { pid: None, command: None }),
        Err(error) => return Err(error.into()),
    }
    // By tokio and not by rustix, whose `Pid` cannot hold the zero that stands
    // for a process of a PID namespace that is not ours.
    let peer = tokio::net::UnixStream::from_std(UnixStream::from(socket))?.peer_cred()?;
    let pid = peer.pid().filter(|pid| *pid != 0);
    Ok(Holder { pid, command: pid.and_then(command_line) })
}

fn command_line(pid: i32) -> Option<String> {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = raw
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    let (program, arguments) = words.split_first()?;
    let program = Path::new(program.as_ref()).file_name().map(|name| name.to_string_lossy())?;
    let mut line = program.into_owned();
    arguments.iter().for_each(|argument| {
        line.push(' ');
        line.push_str(argument);
    });
    if line.chars().count() > SHOWN_COMMAND_CHARS {
        line = line.chars().take(SHOWN_COMMAND_CHARS - 1).chain(['…']).collect();
    }
    Some(line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

fn socket_name(engine: &str, stack: &StackName) -> Vec<u8> {
    let fingerprint = Fingerprint::of(&(engine, stack.as_str()));
    format!("quaymaster/{}", fingerprint.as_str()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(name: &str) -> StackName {
        name.parse().expect("a plain name")
    }

    /// Names of sockets are host-wide, and so are these tests.
    fn engine(test: &str) -> String {
        format!("test-{test}-{}", std::process::id())
    }

    #[tokio::test]
    async fn a_second_controller_is_told_who_holds_the_stack() {
        let engine = engine("second");
        let _held = StackLock::take(&engine, &stack("shop")).expect("free");
        let refused = StackLock::take(&engine, &stack("shop")).expect_err("held");
        let text = refused.to_string();
        let expected = format!("stack shop is held by process {} (", std::process::id());
        assert!(text.starts_with(&expected), "{text}");
    }

    #[tokio::test]
    async fn another_stack_and_another_engine_are_free() {
        let (here, there) = (engine("here"), engine("there"));
        let _shop = StackLock::take(&here, &stack("shop")).expect("free");
        let _blog = StackLock::take(&here, &stack("blog")).expect("another stack");
        let _far = StackLock::take(&there, &stack("shop")).expect("another engine");
    }

    #[tokio::test]
    async fn many_askers_do_not_wear_the_holder_out() {
        let engine = engine("many");
        let _held = StackLock::take(&engine, &stack("shop")).expect("free");
        for _ in 0..5_000 {
            let refused = StackLock::take(&engine, &stack("shop")).expect_err("held");
            let LockError::Held { .. } = refused else { panic!("{refused:?}") };
            tokio::task::yield_now().await;
        }
        let last = StackLock::take(&engine, &stack("shop")).expect_err("held").to_string();
        assert!(last.contains(&std::process::id().to_string()), "{last}");
    }
}
