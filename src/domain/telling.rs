//! Who is told what happens, and in whose name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{Fingerprint, Secret, Template, memory::EventKind};

/// What the file says of telling people, and what is told of this host and commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telling {
    /// What this host is called.
    pub host: String,
    /// Whose work the commit of the file is; None for one that is not in Git.
    pub commit: Option<CommitNote>,
    /// `notify:`, each with a name of its own.
    pub receivers: Vec<Receiver>,
    /// `commit_status:`.
    pub status: Option<StatusTarget>,
}

/// What people write on a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitNote {
    pub subject: String,
    pub author: String,
}

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// What logs and `status` call it: its address is a secret.
    pub name: String,
    pub on: BTreeSet<Topic>,
    pub channel: Channel,
}

/// How somebody is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Any HTTP server.
    Webhook {
        url: Secret,
        headers: BTreeMap<String, Secret>,
        /// What is sent; None sends JSON.
        template: Option<Template>,
    },
    /// Slack's incoming webhook, which Mattermost and Rocket.Chat take as well.
    Slack { url: Secret },
    /// Discord's.
    Discord { url: Secret },
}

/// Which receiver, or which forge: a fingerprint that tells nothing of its address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReceiverId(Fingerprint);

impl Receiver {
    /// Returns who this is. With another address it is somebody else, who has been
    /// told nothing yet; with other words or topics it is not.
    pub fn id(&self) -> ReceiverId {
        let (kind, url) = match &self.channel {
            Channel::Webhook { url, .. } => ("webhook", url),
            Channel::Slack { url } => ("slack", url),
            Channel::Discord { url } => ("discord", url),
        };
        ReceiverId(Fingerprint::of(&(&self.name, kind, url)))
    }
}

/// Where a forge shows how a commit came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusTarget {
    pub forge: Forge,
    /// The root of its API, without a `/` at the end.
    pub api: Secret,
    /// `owner/name`; with GitLab also `group/subgroup/name`.
    pub repository: String,
    pub token: Secret,
}

impl StatusTarget {
    /// Returns which forge and repository this is.
    pub fn id(&self) -> ReceiverId {
        ReceiverId(Fingerprint::of(&("commit status", self.forge, &self.api, &self.repository)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forge {
    GitHub,
    GitLab,
    /// Forgejo has the same API.
    Gitea,
}

impl Forge {
    pub const ALL: [Forge; 3] = [Forge::GitHub, Forge::GitLab, Forge::Gitea];

    /// Returns what the file calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Forge::GitHub => "github",
            Forge::GitLab => "gitlab",
            Forge::Gitea => "gitea",
        }
    }

    /// Returns the API of the one that everybody means; None where there is none, so
    /// that no token goes to somebody by default.
    pub fn public_api(self) -> Option<&'static str> {
        match self {
            Forge::GitHub => Some("https://api.github.com"),
            Forge::GitLab => Some("https://gitlab.com/api/v4"),
            Forge::Gitea => None,
        }
    }
}

impl fmt::Display for Forge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What there is to tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    Started,
    Passed,
    Approved,
    Promoted,
    Good,
    Held,
    RolledBack,
    Superseded,
    Retried,
    /// The file became bad: what it said before stays in force.
    FileInvalid,
    /// It is good again.
    FileValid,
    /// The branch was rewritten, and is not followed there.
    BranchRefused,
}

impl Topic {
    pub const ALL: [Topic; 12] = [
        Topic::Started,
        Topic::Passed,
        Topic::Approved,
        Topic::Promoted,
        Topic::Good,
        Topic::Held,
        Topic::RolledBack,
        Topic::Superseded,
        Topic::Retried,
        Topic::FileInvalid,
        Topic::FileValid,
        Topic::BranchRefused,
    ];

    /// What somebody is told of who does not say.
    pub const DEFAULT: [Topic; 3] = [Topic::Promoted, Topic::Held, Topic::RolledBack];

    /// Returns what the file calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Topic::Started => "started",
            Topic::Passed => "passed",
            Topic::Approved => "approved",
            Topic::Promoted => "promoted",
            Topic::Good => "good",
            Topic::Held => "held",
            Topic::RolledBack => "rolled-back",
            Topic::Superseded => "superseded",
            Topic::Retried => "retried",
            Topic::FileInvalid => "file-invalid",
            Topic::FileValid => "file-valid",
            Topic::BranchRefused => "branch-refused",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<EventKind> for Topic {
    fn from(kind: EventKind) -> Topic {
        match kind {
            EventKind::Started => Topic::Started,
            EventKind::Passed => Topic::Passed,
            EventKind::Approved => Topic::Approved,
            EventKind::Promoted => Topic::Promoted,
            EventKind::Good => Topic::Good,
            EventKind::Held => Topic::Held,
            EventKind::RolledBack => Topic::RolledBack,
            EventKind::Superseded => Topic::Superseded,
            EventKind::Retried => Topic::Retried,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_and_the_store_have_the_same_words() {
        for topic in Topic::ALL {
            let stored = serde_json::to_string(&topic).expect("a word");
            assert_eq!(stored, format!("\"{topic}\""));
        }
        for forge in Forge::ALL {
            assert_eq!(serde_json::to_string(&forge).expect("a word"), format!("\"{forge}\""));
        }
    }

    #[test]
    fn other_words_do_not_make_another_receiver() {
        let webhook = |name: &str, url: &str, template: Option<&str>| Receiver {
            name: name.to_owned(),
            on: BTreeSet::new(),
            channel: Channel::Webhook {
                url: Secret::new(url),
                headers: BTreeMap::new(),
                template: template.map(|text| Template::parse(text).expect("a template")),
            },
        };
        let id = webhook("a", "http://a/", None).id();
        assert_eq!(webhook("a", "http://a/", Some("{{ text }}")).id(), id);
        assert_ne!(webhook("a", "http://b/", None).id(), id);
        assert_ne!(webhook("b", "http://a/", None).id(), id);
    }
}
