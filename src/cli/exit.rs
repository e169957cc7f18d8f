//! How a command ended, as a shell sees it.

use std::process::ExitCode;

/// The exit codes of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: it is done.
    Done,
    /// 1: it failed, or something is held.
    Failed,
    /// 2: the file or the arguments are wrong.
    Wrong,
    /// 2, by `plan --exit-code`: there is something to do.
    SomethingToDo,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Wrong | Exit::SomethingToDo => 2,
        })
    }
}
