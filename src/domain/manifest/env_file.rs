//! Files of `KEY=value` lines: `--env-file`, and `env_file:` of a service.
//!
//! The syntax is that of Compose's `.env` files. Written here rather than taken
//! from a crate, because those at hand quote the whole line in their errors (a
//! secret, S9), refuse an unquoted value with spaces, and look into the
//! environment of the process by themselves.

use std::collections::BTreeMap;

use super::interpolate::{Cause, interpolate};

/// Why an environment file cannot be read. Never holds a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct BadEnvFile {
    /// Counted from 1.
    pub line: usize,
    pub reason: String,
}

/// Returns the variables that `text` sets.
///
/// Values that are not in single quotes may refer to others as `${VAR}`: to the
/// lines above, which `variables` outranks.
///
/// # Errors
///
/// The first line that is no comment and no `KEY=value`, leaves a quote open or
/// refers to a variable that is not set.
pub fn read_env_file(
    text: &str,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, BadEnvFile> {
    let mut set = BTreeMap::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let lookup = |name: &str| variables(name).or_else(|| set.get(name).cloned());
        let (pair, tail) =
            read_line(rest, &lookup).map_err(|reason| BadEnvFile { line, reason })?;
        set.extend(pair);
        line += rest[..rest.len() - tail.len()].matches('\n').count();
        rest = tail;
    }
    Ok(set)
}

/// A name and its value.
type Pair = (String, String);

/// Returns the variable of the first line, and what follows the line. A quoted
/// value may take several.
fn read_line<'t>(
    text: &'t str,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<(Option<Pair>, &'t str), String> {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let trimmed = line.trim_start();
    if trimmed.trim_end().is_empty() || trimmed.starts_with('#') {
        return Ok((None, after));
    }
    let declared = trimmed.strip_prefix("export ").map_or(trimmed, str::trim_start);
    let Some((key, value)) = declared.split_once('=') else {
        return Err("expected `KEY=value`".to_owned());
    };
    let key = key.trim_end();
    if !is_key(key) {
        return Err("a name has letters, digits and `_` only, and no digit first".to_owned());
    }
    let value = value.trim_start_matches([' ', '\t']);
    let from_value = &text[line.len() - value.len()..];
    let (value, tail) = match value.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let (value, tail) = quoted(&from_value[1..], quote)
                .ok_or_else(|| format!("the value of `{key}` has no closing quote"))?;
            (
                value,
                after_quote(tail)
                    .map_err(|()| format!("text follows the quoted value of `{key}`"))?,
            )
        }
        Some(_) | None => (unquoted(value), after),
    };
    let value = match from_value.starts_with('\'') {
        true => value,
        false => interpolate(&value, variables).map_err(|unfilled| match &unfilled[0].cause {
            Cause::Undefined { name } | Cause::Required { name, .. } => format!(
                "`{key}` refers to `{name}`, which is not set; single quotes keep a `$` as it is"
            ),
            Cause::Malformed { reason } => {
                format!("in the value of `{key}`: {reason}; single quotes keep a `$` as it is")
            }
        })?,
    };
    if value.contains('\0') {
        return Err(format!("the value of `{key}` holds a NUL byte"));
    }
    Ok((Some((key.to_owned(), value)), tail))
}

fn is_key(key: &str) -> bool {
    !key.is_empty()
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// An unquoted value ends at ` #` or the end of the line.
fn unquoted(value: &str) -> String {
    if value.starts_with('#') {
        return String::new();
    }
    let end = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
    value[..end].trim_end().to_owned()
}

/// Returns the value up to the closing quote, and what follows that.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            end if end == quote => return Some((value, &text[at + 1..])),
            '\\' => match (characters.next()?.1, quote) {
                ('\'', '\'') => value.push('\''),
                (escaped, '\'') => value.extend(['\\', escaped]),
                ('n', _) => value.push('\n'),
                ('r', _) => value.push('\r'),
                ('t', _) => value.push('\t'),
                // Stays escaped for the interpolation that follows.
                ('$', _) => value.push_str("$$"),
                (escaped @ ('"' | '\\'), _) => value.push(escaped),
                (escaped, _) => value.extend(['\\', escaped]),
            },
            literal => value.push(literal),
        }
    }
    None
}

/// Returns what follows the rest of a line that holds no more than a comment.
fn after_quote(text: &str) -> Result<&str, ()> {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let rest = line.trim();
    if rest.is_empty() || rest.starts_with('#') { Ok(after) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, String>, BadEnvFile> {
        read_env_file(text, &|name| (name == "HOME").then(|| "/root".to_owned()))
    }

    #[test]
    fn lines_are_read_as_compose_reads_them() {
        let lines = [
            ("A=b", "b"),
            ("A=", ""),
            ("A=b c", "b c"),
            ("A = b", "b"),
            ("export A=b", "b"),
            ("A=b # comment", "b"),
            ("A=b#c", "b#c"),
            ("A=#c", ""),
            ("A='$x # y'", "$x # y"),
            ("A='it\\'s'", "it's"),
            ("A=\"x\\ty\" # c", "x\ty"),
            ("A=\"cost \\$5\"", "cost $5"),
            ("A=\"two\nlines\"", "two\nlines"),
            ("A=$HOME/x", "/root/x"),
            ("A=${NONE:-d}", "d"),
            ("A=pa$$word", "pa$word"),
            ("\u{feff}A=b\r\n", "b"),
            ("B=1\nA=${B}2", "12"),
            ("HOME=/else\nA=$HOME", "/root"),
            ("A=a=b==", "a=b=="),
        ];
        for (text, value) in lines {
            assert_eq!(read(text).expect(text).get("A").map(String::as_str), Some(value), "{text}");
        }
    }

    #[test]
    fn an_error_names_the_line_and_never_the_value() {
        let bad = [
            ("A=\"1\n2\"\nhunter2", 3),
            ("A='hunter2", 1),
            ("# c\n\nA='x'hunter2", 3),
            ("A=hunter2$NONE", 1),
            ("1A=hunter2", 1),
            ("A=hunter2$", 1),
        ];
        for (text, line) in bad {
            let error = read(text).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
