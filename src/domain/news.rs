//! News: what there is to tell, and who has been told.
//!
//! Everything that is told stands in the memory first, and stays there until those
//! who want it have it or it is old. So a controller that is killed in between tells
//! it all the same, and one that is not tells it once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Commit, DeploymentReport, Fingerprint, StackName, Timestamp,
    memory::Event,
    telling::{Receiver, ReceiverId, StatusTarget, Topic},
};

/// The most news that wait to be told.
pub const MAX_NEWS: usize = 100;

/// What is to be told, and how far everybody has been.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    /// The number of the newest news there ever was.
    pub last: u64,
    /// Oldest first; at most [`MAX_NEWS`].
    pub news: Vec<News>,
    /// For everybody whom the file names, the number of the news up to which there is
    /// nothing more to tell. While nobody is named, nothing is noted.
    pub told: BTreeMap<ReceiverId, u64>,
    /// The commit status that was set last.
    pub status: Option<StatusTold>,
    /// The commit status that did not get through, until it is tried again.
    pub status_given_up: Option<StatusGivenUp>,
    pub file: FileNoted,
}

/// How the file stood when it was last news.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileNoted {
    pub is_bad: bool,
    /// Where the branch was rewritten to.
    pub refused: Option<Commit>,
}

impl Outbox {
    /// Takes in something new, if there is anybody to tell.
    pub fn note(&mut self, news: impl FnOnce(u64) -> News) {
        if self.told.is_empty() {
            return;
        }
        self.last += 1;
        self.news.push(news(self.last));
        let surplus = self.news.len().saturating_sub(MAX_NEWS);
        self.news.drain(..surplus);
    }
}

/// Something to tell of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    pub number: u64,
    /// Since when it is seen to wait; None before the next pass.
    pub since: Option<Timestamp>,
    /// Wall-clock milliseconds since 1970, for people.
    pub at_unix_ms: i64,
    pub topic: Topic,
    pub about: About,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    Service {
        event: Event,
        /// Of the release that it is about; None where nothing is known of it.
        deployment: Option<Box<DeploymentReport>>,
    },
    /// The desired-state file, or its branch.
    File { text: String, commit: Option<Commit>, subject: Option<String> },
}

/// Something to deliver, with whom it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Letter {
    News { to: Receiver, from: Sender, news: Box<News> },
    Status { to: StatusTarget, from: Sender, status: CommitStatus },
}

/// Which of the letters of a receiver: what it says of it may change while it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LetterKey {
    News(u64),
    Status(Commit, CommitState),
}

/// In whose name something is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    pub stack: StackName,
    pub host: String,
}

impl Letter {
    /// Returns who gets it: those of one receiver go one after another.
    pub fn receiver(&self) -> ReceiverId {
        match self {
            Letter::News { to, .. } => to.id(),
            Letter::Status { to, .. } => to.id(),
        }
    }

    pub fn key(&self) -> LetterKey {
        match self {
            Letter::News { news, .. } => LetterKey::News(news.number),
            Letter::Status { status, .. } => LetterKey::Status(status.commit.clone(), status.state),
        }
    }

    /// Returns what people call whoever gets it.
    pub fn addressee(&self) -> &str {
        match self {
            Letter::News { to, .. } => &to.name,
            Letter::Status { to, .. } => to.forge.as_str(),
        }
    }
}

/// A letter that needs no more effort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub letter: Letter,
    pub end: DeliveryEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryEnd {
    Told,
    /// Nobody took it, or whoever did refused it.
    GivenUp,
}

/// Somebody whom news do not reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreached {
    /// What the file calls whoever it is.
    pub name: String,
    /// Without the path of the address, its user and its query, which may be secret. Where
    /// nobody answers, the host and its port are in it, so that people see what was asked.
    pub why: String,
}

/// How a commit came out on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitStatus {
    pub commit: Commit,
    pub state: CommitState,
    /// For people, in one short line.
    pub description: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommitState {
    /// A service is on its way to what the commit declares.
    Pending,
    /// All of them stand as it declares.
    Success,
    /// One failed.
    Failure,
    /// Its file is not valid.
    Error,
}

/// A commit status that was set, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusTold {
    pub to: ReceiverId,
    pub status: CommitStatus,
}

/// A commit status that a forge did not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusGivenUp {
    pub told: StatusTold,
    /// Of the token that it was tried with: with another one it may be taken.
    pub token: Fingerprint,
    pub at: Timestamp,
}
