//! `commit_status:` — the forge that shows how a commit came out.

use crate::domain::{
    Secret,
    telling::{Forge, StatusTarget},
};

use super::{
    fields::{Fields, Refusals, refuse_name},
    reader::Reader,
    report::shown,
    url,
    yaml::Entry,
};

const EXAMPLE: &str =
    "a map such as `{ forge: github, repository: shop/state, token: \"${GITHUB_TOKEN}\" }`";

const REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        (
            "context",
            "remove it: it is `quaymaster/STACK/HOST`, so that hosts do not hide one another",
        ),
        ("owner", "write it into `repository: owner/name`"),
        ("project", "write `repository: group/name`"),
        ("api", "write `url:`"),
        ("sha", "remove it: it is the commit of the file in force"),
        ("branch", "remove it: it is the commit of the file in force"),
    ],
};

pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry) -> Option<StatusTarget> {
    let mut fields = Fields::of(reader.map(&entry.value, EXAMPLE)?);
    let (forge, repository) = (fields.get("forge"), fields.get("repository"));
    let (token, api) = (fields.get("token"), fields.get("url"));
    let required = [("forge", forge), ("repository", repository), ("token", token)];
    let missing: Vec<String> = required
        .into_iter()
        .filter(|(key, entry)| entry.is_none() && !fields.has_slip_of(key))
        .map(|(key, _)| format!("`{key}`"))
        .collect();
    let url_is_misspelt = fields.has_slip_of("url");
    fields.finish(reader, &REFUSALS);
    if !missing.is_empty() {
        let message = format!("this has no {}", missing.join(", no "));
        reader.refuse(entry.key_span, message, format!("write {EXAMPLE}"));
    }
    let forge = forge.and_then(|it| read_forge(reader, it));
    let repository = repository.and_then(|it| read_repository(reader, it, forge));
    let token = token.and_then(|it| read_token(reader, it));
    let api = match (api, forge) {
        (Some(api), _) => url::read_base(reader, api),
        (None, Some(forge)) => {
            if forge.public_api().is_none() && !url_is_misspelt {
                let message = format!("nobody is meant by `{forge}` alone");
                let help = "add `url:`, the root of its API: `https://git.example.com/api/v1`";
                reader.refuse(entry.key_span, message, help);
            }
            forge.public_api().map(Secret::new)
        }
        (None, None) => None,
    };
    let api = api.map(|api| Secret::new(api.reveal().trim_end_matches('/')));
    Some(StatusTarget { forge: forge?, api: api?, repository: repository?, token: token? })
}

fn read_forge(reader: &mut Reader<'_>, entry: &Entry) -> Option<Forge> {
    let help = "write `github`, `gitlab` or `gitea`; Forgejo is a `gitea`";
    let text = reader.text(&entry.value, "`github`, `gitlab` or `gitea`")?;
    let found = Forge::ALL.into_iter().find(|forge| forge.as_str() == text.value);
    if found.is_none() {
        let message = format!("`{}` is no forge that is known", text.shown());
        let names = Forge::ALL.into_iter().map(Forge::as_str);
        refuse_name(reader, text.span, message, &text.value, names, help);
    }
    found
}

fn read_repository(reader: &mut Reader<'_>, entry: &Entry, forge: Option<Forge>) -> Option<String> {
    let help = match forge {
        Some(Forge::GitLab) => {
            "write its path without the host: `group/name`, `group/subgroup/name`"
        }
        Some(Forge::GitHub | Forge::Gitea) | None => "write `owner/name`, without the host",
    };
    reader.parsed(&entry.value, "a repository", help, |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_part =
            |part: &str| !part.is_empty() && !matches!(part, "." | "..") && part.chars().all(plain);
        let parts = text.split('/').count();
        let has_owner = match forge {
            Some(Forge::GitLab) => parts >= 2,
            Some(Forge::GitHub | Forge::Gitea) => parts == 2,
            None => true,
        };
        match has_owner && text.split('/').all(is_part) {
            true => Ok(text.to_owned()),
            false => Err(format!("`{}` is not a repository", shown(text))),
        }
    })
}

fn read_token(reader: &mut Reader<'_>, entry: &Entry) -> Option<Secret> {
    let text = reader.text(&entry.value, "a token")?;
    if text.value.is_empty() || !text.value.bytes().all(|byte| byte.is_ascii_graphic()) {
        let help = "write it as the forge showed it, in one line: `token: \"${FORGE_TOKEN}\"`";
        reader.refuse(entry.key_span, "this is no token", help);
        return None;
    }
    Some(Secret::new(text.value))
}
