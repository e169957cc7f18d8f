//! Commit statuses, as each forge wants them. Pure.
//!
//! | forge | documented as |
//! | --- | --- |
//! | GitHub | "Create a commit status": `POST /repos/OWNER/NAME/statuses/SHA` |
//! | GitLab | "Set commit pipeline status": `POST /projects/PATH/statuses/SHA` |
//! | Gitea | "Create a commit status": as GitHub, below `/api/v1` |

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::domain::{
    Secret,
    news::{CommitState, CommitStatus, Sender},
    telling::{Forge, StatusTarget},
};

/// Returns the URL, the headers and the body that set a status.
pub(super) fn request(
    to: &StatusTarget,
    from: &Sender,
    status: &CommitStatus,
) -> (String, BTreeMap<String, Secret>, Value) {
    let StatusTarget { forge, api, repository, token } = to;
    let (api, token, sha) = (api.reveal(), token.reveal(), &status.commit);
    let context = format!("quaymaster/{}/{}", from.stack, from.host);
    let (url, headers) = match forge {
        Forge::GitHub => (
            format!("{api}/repos/{repository}/statuses/{sha}"),
            vec![
                ("Authorization", format!("Bearer {token}")),
                ("Accept", "application/vnd.github+json".to_owned()),
                ("X-GitHub-Api-Version", "2022-11-28".to_owned()),
            ],
        ),
        Forge::GitLab => {
            // Its path stands for a number, and is one segment.
            let project = repository.replace('/', "%2F");
            let url = format!("{api}/projects/{project}/statuses/{sha}");
            (url, vec![("PRIVATE-TOKEN", token.to_owned())])
        }
        Forge::Gitea => (
            format!("{api}/repos/{repository}/statuses/{sha}"),
            vec![("Authorization", format!("token {token}"))],
        ),
    };
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value)));
    let body = json!({
        "state": word(*forge, status.state),
        "context": context,
        "description": status.description,
    });
    (url, headers.collect(), body)
}

fn word(forge: Forge, state: CommitState) -> &'static str {
    match (forge, state) {
        (_, CommitState::Success) => "success",
        // What GitLab calls pending waits for somebody to take it up.
        (Forge::GitLab, CommitState::Pending) => "running",
        (Forge::GitLab, CommitState::Failure | CommitState::Error) => "failed",
        (Forge::GitHub | Forge::Gitea, CommitState::Pending) => "pending",
        (Forge::GitHub | Forge::Gitea, CommitState::Failure) => "failure",
        (Forge::GitHub | Forge::Gitea, CommitState::Error) => "error",
    }
}
