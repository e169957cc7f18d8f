//! How an image version behaves once it is started.

/// Times are milliseconds since the container's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Serves from then on.
    ReadyAfter(i64),
    /// Runs, and never serves.
    NeverReady,
    /// Exits by itself, with this code, without ever serving.
    ExitsAfter { after: i64, code: i64 },
    /// Serves, then exits; again after each start.
    ReadyThenExits { ready: i64, exits: i64 },
    /// Serves, then runs on without serving.
    ReadyThenSick { ready: i64, sick: i64 },
    /// Serves for one period, then does not for one, and so on.
    Flapping { period: i64 },
    /// Docker cannot start it: no such command.
    CannotStart,
}

impl Behaviour {
    /// Returns whether a request is answered this long after the start.
    pub fn serves(self, up: i64) -> bool {
        match self {
            Behaviour::ReadyAfter(ready) => up >= ready,
            Behaviour::NeverReady | Behaviour::ExitsAfter { .. } | Behaviour::CannotStart => false,
            Behaviour::ReadyThenExits { ready, exits } => (ready..exits).contains(&up),
            Behaviour::ReadyThenSick { ready, sick } => (ready..sick).contains(&up),
            Behaviour::Flapping { period } => (up / period) % 2 == 1,
        }
    }

    /// Returns when it exits by itself, and with which code.
    pub fn exit(self) -> Option<(i64, i64)> {
        match self {
            Behaviour::ExitsAfter { after, code } => Some((after, code)),
            Behaviour::ReadyThenExits { exits, .. } => Some((exits, 1)),
            Behaviour::ReadyAfter(_)
            | Behaviour::NeverReady
            | Behaviour::ReadyThenSick { .. }
            | Behaviour::Flapping { .. }
            | Behaviour::CannotStart => None,
        }
    }
}
