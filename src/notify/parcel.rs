//! What is sent for a letter, and where to. Pure.

use std::collections::BTreeMap;

use serde_json::json;
use url::Url;

use crate::{
    domain::{Letter, Secret, facts::Facts, telling::Channel},
    http::{Post, Secrets, address},
};

use super::{
    chat::{Chat, write},
    forge,
};

const JSON: &str = "application/json";

/// A POST that can be sent.
pub(super) struct Parcel {
    pub url: Url,
    pub headers: BTreeMap<String, Secret>,
    pub post: Post,
    /// What must not be told of it.
    pub secrets: Secrets,
}

impl Parcel {
    /// Returns what is sent; the error says for people why nothing can be.
    pub fn of(letter: &Letter) -> Result<Parcel, String> {
        match letter {
            Letter::News { to, from, news } => {
                let facts = Facts::of(news, from);
                let none = BTreeMap::new();
                match &to.channel {
                    Channel::Webhook { url, headers, template: None } => {
                        Parcel::new(url.reveal(), headers, json_post(&facts.json()))
                    }
                    Channel::Webhook { url, headers, template: Some(template) } => {
                        let text = template.fill_in(&facts);
                        let text = text.map_err(|bad| format!("its template: {bad}"))?;
                        let content_type = match template.makes_json() {
                            true => JSON,
                            false => "text/plain; charset=utf-8",
                        };
                        let post = Post { content_type, body: text.into_bytes() };
                        Parcel::new(url.reveal(), headers, post)
                    }
                    Channel::Slack { url } => {
                        let body = json!({ "text": write(Chat::Slack, news.topic, &facts) });
                        Parcel::new(url.reveal(), &none, json_post(&body))
                    }
                    Channel::Discord { url } => {
                        // Nobody is to be called by a name in a log.
                        let body = json!({
                            "content": write(Chat::Discord, news.topic, &facts),
                            "allowed_mentions": { "parse": [] },
                        });
                        Parcel::new(url.reveal(), &none, json_post(&body))
                    }
                }
            }
            Letter::Status { to, from, status } => {
                let (url, headers, body) = forge::request(to, from, status);
                Parcel::new(&url, &headers, json_post(&body))
            }
        }
    }

    fn new(url: &str, headers: &BTreeMap<String, Secret>, post: Post) -> Result<Parcel, String> {
        let mut found = address::secrets(url);
        found.extend(headers.values().flat_map(|value| Secrets::of_header(value.reveal())));
        let url = Url::parse(url).map_err(|_| "its URL cannot be sent to".to_owned())?;
        // Chats have the key in the path.
        found.push(url.path().trim_matches('/').to_owned());
        found.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
        let secrets = Secrets::new(found);
        Ok(Parcel { url, headers: headers.clone(), post, secrets })
    }
}

fn json_post(body: &serde_json::Value) -> Post {
    Post { content_type: JSON, body: body.to_string().into_bytes() }
}
