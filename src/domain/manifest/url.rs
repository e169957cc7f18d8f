//! `url:` — an address that a gate asks.
//!
//! It may hold a password or a key, so no message quotes it, and what is shown as
//! being at fault is its key.

use url::Url;

use crate::domain::Secret;

use super::{reader::Reader, yaml::Entry};

/// Why a text is no URL to ask, and the mend.
type Refusal = (String, &'static str);

const EXAMPLE: &str =
    "write `http://` or `https://`, a host, and a path: `https://example.com/health`";

pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry) -> Option<Secret> {
    read_as(reader, entry, |text| check(text).map(|_| ()))
}

/// Reads the address of a service that has paths of its own beneath it.
pub(super) fn read_base(reader: &mut Reader<'_>, entry: &Entry) -> Option<Secret> {
    read_as(reader, entry, |text| {
        let url = check(text)?;
        if url.query().is_some() || url.fragment().is_some() {
            let help = "write the address alone, such as `http://127.0.0.1:9090`";
            return Err(("it has a `?` or a `#`".to_owned(), help));
        }
        Ok(())
    })
}

fn read_as(
    reader: &mut Reader<'_>,
    entry: &Entry,
    check: impl Fn(&str) -> Result<(), Refusal>,
) -> Option<Secret> {
    let text = reader.text(&entry.value, "a URL")?;
    match check(&text.value) {
        Ok(()) => Some(Secret::new(text.value)),
        Err((reason, help)) => {
            reader.refuse(entry.key_span, format!("this URL cannot be asked: {reason}"), help);
            None
        }
    }
}

fn check(text: &str) -> Result<Url, Refusal> {
    let scheme = text.split(':').next().unwrap_or_default().to_ascii_lowercase();
    if scheme == "file" {
        let help =
            "a file inside the replica is asked for by `exec: [\"test\", \"-e\", \"/path\"]`";
        return Err(("it is a file".to_owned(), help));
    }
    // The parser is as lenient as a browser: it would take these out, or read a
    // host where none was meant.
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        let help = "write such a character as `%` and two digits, or remove it";
        return Err((
            "it has a space, a line break, a control character or a `\\`".to_owned(),
            help,
        ));
    }
    if !text.contains("://") || !matches!(&*scheme, "http" | "https") {
        return Err(("it does not begin with `http://` or `https://`".to_owned(), EXAMPLE));
    }
    // Its errors are fixed words, without any of the text.
    let url = Url::parse(text).map_err(|error| (error.to_string(), EXAMPLE))?;
    match text.split_once("://") {
        Some((_, rest)) if !rest.starts_with('/') && url.port() != Some(0) => Ok(url),
        Some(_) | None => Err(("it has no host, or port 0".to_owned(), EXAMPLE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_urls_with_a_host_are_asked() {
        for text in [
            "http://a",
            "https://u:p@a.example:8443/x?y=1#z",
            "http://127.0.0.1:9090/prometheus",
            "http://[::1]:80/",
            "HTTPS://Example.com/",
        ] {
            assert!(check(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "a.example",
            "/health",
            "http:/a",
            "http:a",
            "http://",
            "http:///a",
            "http://a b",
            "http://a\n",
            "https:\\\\a",
            "http://a\\@b",
            "http://a:0/",
            "http://a:99999/",
            "http://[::1/",
            "ftp://a/",
            "unix:///run/x.sock",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "FILE:/etc/passwd",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
