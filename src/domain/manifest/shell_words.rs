//! A command written as one text, split as a POSIX shell splits words.
//!
//! Quotes and backslashes only: nothing is expanded and no operator is known,
//! as in Compose.

/// The text ends inside quotes or after a backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the command ends inside a quote or after a backslash")]
pub(super) struct Unfinished;

pub(super) fn split(text: &str) -> Result<Vec<String>, Unfinished> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next().ok_or(Unfinished)? {
                        '\'' => break,
                        literal => word.push(literal),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next().ok_or(Unfinished)? {
                        '"' => break,
                        '\\' => push_escaped(word, characters.next().ok_or(Unfinished)?),
                        literal => word.push(literal),
                    }
                }
            }
            '\\' => match characters.next().ok_or(Unfinished)? {
                '\n' => {}
                literal => word.get_or_insert_default().push(literal),
            },
            literal => word.get_or_insert_default().push(literal),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Inside double quotes a backslash escapes only what is special there.
fn push_escaped(word: &mut String, escaped: char) {
    match escaped {
        '\n' => {}
        '"' | '\\' | '$' | '`' => word.push(escaped),
        literal => {
            word.push('\\');
            word.push(literal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        let commands: [(&str, &[&str]); 7] = [
            ("redis-server --save ''", &["redis-server", "--save", ""]),
            ("  sh -c 'exec \"$0\" x'  ", &["sh", "-c", "exec \"$0\" x"]),
            (r#"echo "a \"b\" \n" c\ d"#, &["echo", r#"a "b" \n"#, "c d"]),
            ("a'b'\"c\"d", &["abcd"]),
            ("a \\\n  b", &["a", "b"]),
            ("a && b", &["a", "&&", "b"]),
            ("", &[]),
        ];
        for (text, words) in commands {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn an_open_quote_is_refused() {
        for text in ["'a", "\"a", "a\\", "\"a\\"] {
            assert_eq!(split(text), Err(Unfinished), "{text}");
        }
    }
}
