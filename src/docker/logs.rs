//! A container's standard output and error, as lines.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use futures::{Stream, StreamExt, stream};

use crate::domain::{
    ContainerId,
    said::{Edge, SaidLine},
    snapshot::{Failure, FailureKind},
};

use super::{Docker, failure::CallError};

const DOING: &str = "read the container's log";

/// How long the engine may pause within a log that has an end.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// The longest line that is passed on, in bytes; the rest of it is left out.
const MAX_LINE_BYTES: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogStream {
    Stdout,
    Stderr,
}

/// One line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub stream: LogStream,
    pub text: String,
    /// It has the length at which lines are cut, here and by Docker: there may be more.
    pub is_cut: bool,
}

/// From where a log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    All,
    Last(usize),
}

impl Docker {
    /// Returns the lines that stand in the log, oldest first.
    pub fn log_lines(
        &self,
        id: &ContainerId,
        tail: Tail,
    ) -> impl Stream<Item = Result<LogLine, Failure>> + Send + use<> {
        let lines = lines(self.raw_log(id, tail, LogsOptionsBuilder::new().follow(false)));
        // A log that has an end must not hang before it.
        stream::unfold(Some(Box::pin(lines)), |lines| async {
            let mut lines = lines?;
            match tokio::time::timeout(MAX_SILENCE, lines.next()).await {
                Ok(Some(line)) => Some((line, Some(lines))),
                Ok(None) => None,
                Err(_) => Some((Err(CallError::Deadline(MAX_SILENCE).transient(DOING)), None)),
            }
        })
    }

    /// Returns the lines that stand in the log and then those that come, until
    /// the container stops.
    pub fn follow_log(
        &self,
        id: &ContainerId,
        tail: Tail,
    ) -> impl Stream<Item = Result<LogLine, Failure>> + Send + use<> {
        lines(self.raw_log(id, tail, LogsOptionsBuilder::new().follow(true)))
    }

    pub(super) async fn last_log_lines(
        &self,
        id: &ContainerId,
        tail: usize,
    ) -> Result<Vec<SaidLine>, Failure> {
        // One more than is wanted tells whether there is more.
        let mut lines = std::pin::pin!(self.log_lines(id, Tail::Last(tail + 1)));
        let mut read = Vec::new();
        while let Some(line) = lines.next().await {
            read.push(line?);
        }
        Ok(said(read, tail))
    }

    fn raw_log(
        &self,
        id: &ContainerId,
        tail: Tail,
        options: LogsOptionsBuilder,
    ) -> impl Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send + use<> {
        let tail = match tail {
            Tail::All => "all".to_owned(),
            Tail::Last(lines) => lines.to_string(),
        };
        // Without these two Docker refuses the call.
        let options = options.stdout(true).stderr(true).tail(&tail).build();
        self.client.logs(&id.0, Some(options))
    }
}

/// Puts the engine's chunks together into lines.
fn lines(
    chunks: impl Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send,
) -> impl Stream<Item = Result<LogLine, Failure>> + Send {
    let chunks = chunks.map(Some).chain(stream::iter([None]));
    chunks
        .scan(Assembly::default(), |assembly, chunk| {
            let items: Vec<Result<LogLine, Failure>> = match chunk {
                Some(Ok(chunk)) => assembly.take(&chunk).into_iter().map(Ok).collect(),
                Some(Err(error)) => {
                    let error = CallError::Docker(error);
                    let kind = match error.status() {
                        Some(404) => FailureKind::Refused,
                        Some(_) | None => FailureKind::Transient,
                    };
                    vec![Err(error.into_failure(kind, DOING))]
                }
                None => assembly.rest().into_iter().map(Ok).collect(),
            };
            std::future::ready(Some(stream::iter(items)))
        })
        .flatten()
}

/// The lines that have begun and not yet ended, by stream.
#[derive(Default)]
struct Assembly {
    open: HashMap<LogStream, Vec<u8>>,
}

impl Assembly {
    fn take(&mut self, chunk: &LogOutput) -> Vec<LogLine> {
        let (stream, bytes) = match chunk {
            LogOutput::StdErr { message } => (LogStream::Stderr, message),
            LogOutput::StdOut { message }
            | LogOutput::StdIn { message }
            | LogOutput::Console { message } => (LogStream::Stdout, message),
        };
        let open = self.open.entry(stream).or_default();
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (piece, ends) = match piece.strip_suffix(b"\n") {
                Some(piece) => (piece, true),
                None => (piece, false),
            };
            let room = MAX_LINE_BYTES.saturating_sub(open.len());
            open.extend_from_slice(&piece[..piece.len().min(room)]);
            if ends {
                lines.push(line(stream, &std::mem::take(open)));
            }
        }
        lines
    }

    fn rest(&mut self) -> Vec<LogLine> {
        let mut open: Vec<_> = self.open.drain().filter(|(_, bytes)| !bytes.is_empty()).collect();
        open.sort_by_key(|(stream, _)| *stream == LogStream::Stderr);
        open.into_iter().map(|(stream, bytes)| line(stream, &bytes)).collect()
    }
}

fn line(stream: LogStream, bytes: &[u8]) -> LogLine {
    let is_cut = bytes.len() >= MAX_LINE_BYTES;
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    LogLine { stream, text: String::from_utf8_lossy(bytes).into_owned(), is_cut }
}

/// Returns the last `tail` of the lines that one entry more was asked for.
///
/// Docker counts by its own entries, of which a long line has several. The first that it
/// gives may thus be the middle of a line, of either stream, unless it gave all there are:
/// not more lines than entries were asked for, and none that has several.
fn said(read: Vec<LogLine>, tail: usize) -> Vec<SaidLine> {
    let is_all = read.len() <= tail && read.iter().all(|line| !line.is_cut);
    let mut begun = HashSet::new();
    let mut said: Vec<SaidLine> = read
        .into_iter()
        .map(|line| {
            let is_first = begun.insert(line.stream);
            let begins = if is_first && !is_all { Edge::Cut } else { Edge::Whole };
            let ends = if line.is_cut { Edge::Cut } else { Edge::Whole };
            SaidLine { text: line.text, begins, ends }
        })
        .collect();
    said.split_off(said.len().saturating_sub(tail))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn out(text: &'static str) -> LogOutput {
        LogOutput::StdOut { message: text.into() }
    }

    fn err(text: &'static str) -> LogOutput {
        LogOutput::StdErr { message: text.into() }
    }

    fn read(chunks: Vec<LogOutput>) -> Vec<String> {
        let chunks = stream::iter(chunks.into_iter().map(Ok));
        let lines = lines(chunks).map(|line| line.expect("no error").text);
        lines.collect::<Vec<_>>().now_or_never().expect("nothing to wait for")
    }

    #[test]
    fn lines_are_put_together_by_stream() {
        let chunks = vec![out("be"), err("oops\n"), out("gin\nse"), out("cond\r\nrest")];
        assert_eq!(read(chunks), ["oops", "begin", "second", "rest"]);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let long: &'static str = "x".repeat(MAX_LINE_BYTES + 5).leak();
        let lines = read(vec![out(long), out("y\nnext\n")]);
        assert_eq!((lines[0].len(), lines[1].as_str()), (MAX_LINE_BYTES, "next"));
    }

    #[test]
    fn a_line_knows_where_it_may_be_cut() {
        let long: &'static str = format!("{}\n", "x".repeat(MAX_LINE_BYTES + 5)).leak();
        let read = |chunks: Vec<LogOutput>, tail| {
            let lines = lines(stream::iter(chunks.into_iter().map(Ok)));
            let lines = lines.map(|line| line.expect("no error")).collect::<Vec<_>>();
            said(lines.now_or_never().expect("nothing to wait for"), tail)
        };
        let edges = |said: Vec<SaidLine>| -> Vec<_> {
            said.into_iter().map(|line| (line.begins, line.ends)).collect()
        };
        let short = || vec![out("a\n"), out("b\n"), err("c\n")];
        assert_eq!(edges(read(short(), 3)), [(Edge::Whole, Edge::Whole); 3], "it is all");
        let more = [(Edge::Whole, Edge::Whole), (Edge::Cut, Edge::Whole)];
        assert_eq!(edges(read(short(), 2)), more, "the first of standard error may be a part");
        let several = [(Edge::Cut, Edge::Whole), (Edge::Whole, Edge::Cut)];
        assert_eq!(edges(read(vec![out("a\n"), out(long)], 3)), several);
    }

    #[test]
    fn bytes_that_are_no_text_do_not_break_the_log() {
        let chunk = LogOutput::StdOut { message: (&b"a\xffb\n"[..]).into() };
        assert_eq!(read(vec![chunk]), ["a\u{fffd}b"]);
    }
}
