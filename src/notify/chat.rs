//! What people read in a chat: short, and the same in Slack's and Discord's way of
//! writing. Pure.

use crate::domain::{facts::Facts, telling::Topic};

/// Discord takes 2,000 characters; more is too long for anybody.
const MAX_CHARS: usize = 1_900;

/// Which way of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chat {
    /// `mrkdwn`.
    Slack,
    /// Markdown.
    Discord,
}

impl Chat {
    fn strong(self, text: &str) -> String {
        match self {
            Chat::Slack => format!("*{}*", self.escape(text)),
            Chat::Discord => format!("**{}**", self.escape(text)),
        }
    }

    fn code(self, text: &str) -> String {
        format!("`{}`", self.in_code(&text.replace('`', "'")))
    }

    fn block(self, lines: &str) -> String {
        format!("```\n{}\n```", self.in_code(&lines.replace("```", "'''")))
    }

    /// Slack gives a meaning to three characters everywhere; Discord to many, but to
    /// none in code.
    fn escape(self, text: &str) -> String {
        match self {
            Chat::Slack => self.in_code(text),
            Chat::Discord => {
                let is_special = |c: char| "\\*_~`|>[]#@<".contains(c);
                let escaped = |c: char| [is_special(c).then_some('\\'), Some(c)];
                text.chars().flat_map(escaped).flatten().collect()
            }
        }
    }

    fn in_code(self, text: &str) -> String {
        match self {
            Chat::Slack => text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
            Chat::Discord => text.to_owned(),
        }
    }
}

/// Returns the message.
pub(super) fn write(chat: Chat, topic: Topic, facts: &Facts) -> String {
    let of = |name: &str| facts.text(name).unwrap_or_default();
    let host = chat.escape(of("host"));
    let what = match facts.text("service") {
        Some(service) => chat.strong(&format!("{}/{service}", of("stack"))),
        None => chat.strong(of("stack")),
    };
    let (mark, happened) = match topic {
        Topic::Started => ("🚀", "rolling out"),
        Topic::Passed => ("☑️", "a gate passed"),
        Topic::Approved => ("👍", "approved"),
        Topic::Promoted => ("✅", "promoted"),
        Topic::Good => ("🏁", "good"),
        Topic::Held => ("❌", "held"),
        Topic::RolledBack => ("↩️", "rolled back"),
        Topic::Superseded => ("⏭️", "superseded"),
        Topic::Retried => ("🔁", "tried again"),
        Topic::FileInvalid => ("⚠️", "the file is not valid; what it said before stays in force"),
        Topic::FileValid => ("✅", "the file is valid again"),
        Topic::BranchRefused => ("⚠️", "the branch was rewritten, and is not followed"),
    };
    let mut first = format!("{mark} {what} {happened} on {host}");
    if let Some(images) = facts.images() {
        first += &format!(": {}", chat.code(&images));
    }
    if let Some(took) = facts.text("took").filter(|_| topic == Topic::Promoted) {
        first += &format!(" in {took}");
    }
    let mut lines = vec![first];
    lines.extend(commit(chat, facts));
    match (facts.text("reason"), topic) {
        (Some(problem), Topic::FileInvalid) => lines.push(chat.block(problem)),
        (Some(reason), _) => lines.push(chat.escape(reason)),
        (None, _) => {}
    }
    if !facts.log().is_empty() {
        lines.push(chat.block(&facts.log().join("\n")));
    }
    let text = lines.join("\n");
    match text.char_indices().nth(MAX_CHARS) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

/// Returns which commit it was, and whose.
fn commit(chat: Chat, facts: &Facts) -> Option<String> {
    let mut line = chat.code(facts.text("short_commit")?);
    if let Some(subject) = facts.text("subject").filter(|subject| !subject.is_empty()) {
        line += &format!(" {}", chat.escape(subject));
    }
    if let Some(author) = facts.text("author").filter(|author| !author.is_empty()) {
        line += &format!(" · {}", chat.escape(author));
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Commit,
        news::{About, News, Sender},
    };

    fn told(chat: Chat, topic: Topic, text: &str, subject: &str) -> String {
        let commit: Commit = "ab".repeat(20).parse().expect("a commit");
        let (text, subject) = (text.to_owned(), Some(subject.to_owned()));
        let about = About::File { text, commit: Some(commit), subject };
        let news = News { number: 1, since: None, at_unix_ms: 0, topic, about };
        let from = Sender { stack: "shop".parse().expect("a name"), host: "edge_1".to_owned() };
        write(chat, topic, &Facts::of(&news, &from))
    }

    #[test]
    fn nobody_is_called_and_nothing_obeyed() {
        let subject = "<!channel> a & *b* @everyone";
        let text = "line 1\n```<x>\n```";
        assert_eq!(
            told(Chat::Slack, Topic::FileInvalid, text, subject),
            "⚠️ *shop* the file is not valid; what it said before stays in force on edge_1\n\
             `abababa` &lt;!channel&gt; a &amp; *b* @everyone\n\
             ```\nline 1\n'''&lt;x&gt;\n'''\n```"
        );
        assert_eq!(
            told(Chat::Discord, Topic::FileInvalid, text, subject),
            "⚠️ **shop** the file is not valid; what it said before stays in force on edge\\_1\n\
             `abababa` \\<!channel\\> a & \\*b\\* \\@everyone\n\
             ```\nline 1\n'''<x>\n'''\n```"
        );
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = "ä".repeat(5_000);
        let text = told(Chat::Discord, Topic::FileInvalid, &[&*long; 12].join("\n"), "s");
        assert!(text.chars().count() <= 2_000 && text.ends_with('…'), "{}", text.len());
    }
}
