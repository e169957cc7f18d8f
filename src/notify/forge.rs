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

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(forge: Forge, api: &str, state: CommitState) -> (String, Vec<String>, Value) {
        let (api, token) = (Secret::new(api), Secret::new("t0k"));
        let repository = match forge {
            Forge::GitLab => "a/b/c",
            Forge::GitHub | Forge::Gitea => "a/b",
        };
        let to = StatusTarget { forge, api, repository: repository.to_owned(), token };
        let stack = "shop".parse().expect("a name");
        let from = Sender { stack, host: "edge-1".to_owned() };
        let commit = "ab".repeat(20).parse().expect("a commit");
        let description = "web runs as declared".to_owned();
        let (url, headers, body) =
            request(&to, &from, &CommitStatus { commit, state, description });
        let headers = headers.iter().map(|(name, value)| format!("{name}: {}", value.reveal()));
        (url, headers.collect(), body)
    }

    #[test]
    fn each_forge_is_asked_as_it_documents() {
        let sha = "ab".repeat(20);
        let body = |state: &str| {
            json!({
                "state": state,
                "context": "quaymaster/shop/edge-1",
                "description": "web runs as declared",
            })
        };
        let (url, headers, said) = asked(Forge::GitHub, "https://api.x", CommitState::Pending);
        assert_eq!(url, format!("https://api.x/repos/a/b/statuses/{sha}"));
        assert!(headers.contains(&"Authorization: Bearer t0k".to_owned()));
        assert_eq!(said, body("pending"));
        let (url, headers, said) = asked(Forge::GitLab, "https://x/api/v4", CommitState::Failure);
        assert_eq!(url, format!("https://x/api/v4/projects/a%2Fb%2Fc/statuses/{sha}"));
        assert_eq!(headers, ["PRIVATE-TOKEN: t0k"]);
        assert_eq!(said, body("failed"));
        let (url, headers, said) = asked(Forge::Gitea, "https://x/api/v1", CommitState::Error);
        assert_eq!(url, format!("https://x/api/v1/repos/a/b/statuses/{sha}"));
        assert_eq!(headers, ["Authorization: token t0k"]);
        assert_eq!(said, body("error"));
    }
}
