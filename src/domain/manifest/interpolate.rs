//! `${VAR}` in values, by the rules of the Compose Specification, with one
//! difference: an undefined variable is an error, never an empty text.

/// How deep `${A:-${B:-…}}` may nest.
const MAX_NESTING: usize = 16;

/// Why a text could not be filled in. Never holds a variable's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfilled {
    /// The piece of the written text that is at fault, to point at.
    pub fragment: String,
    pub cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Undefined {
        name: String,
    },
    /// `${VAR:?message}`; the message as the file writes it.
    Required {
        name: String,
        message: String,
    },
    Malformed {
        reason: &'static str,
    },
}

/// Returns `text` with every variable filled in, or everything that stands in
/// the way.
pub(super) fn interpolate(
    text: &str,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Vec<Unfilled>> {
    let mut filling = Filling { variables, unfilled: Vec::new() };
    let filled = filling.fill(text, 0);
    if filling.unfilled.is_empty() { Ok(filled) } else { Err(filling.unfilled) }
}

struct Filling<'a> {
    variables: &'a dyn Fn(&str) -> Option<String>,
    unfilled: Vec<Unfilled>,
}

impl Filling<'_> {
    fn fill(&mut self, text: &str, depth: usize) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            filled.push_str(&rest[..dollar]);
            let at = &rest[dollar..];
            let after = &at[1..];
            if let Some(escaped) = after.strip_prefix('$') {
                filled.push('$');
                rest = escaped;
            } else if let Some(inner) = after.strip_prefix('{') {
                let Some(end) = closing_brace(inner) else {
                    self.malformed("${", "`${` has no closing `}`");
                    return filled;
                };
                filled.push_str(&self.braced(&inner[..end], depth));
                rest = &inner[end + 1..];
            } else {
                let name = &after[..name_length(after)];
                if name.is_empty() {
                    self.malformed("$", "a `$` that starts no variable");
                } else {
                    filled.push_str(&self.plain(name, &format!("${name}")));
                }
                rest = &after[name.len()..];
            }
        }
        filled.push_str(rest);
        filled
    }

    /// Fills in what stands between `${` and `}`.
    fn braced(&mut self, inner: &str, depth: usize) -> String {
        let name = &inner[..name_length(inner)];
        let fragment = format!("${{{name}");
        if name.is_empty() {
            self.malformed(&fragment, "`${` is not followed by a variable's name");
            return String::new();
        }
        if depth >= MAX_NESTING {
            self.malformed(&fragment, "variables are nested too deep");
            return String::new();
        }
        let tail = &inner[name.len()..];
        if tail.is_empty() {
            return self.plain(name, &format!("{fragment}}}"));
        }
        // With a colon, an empty value counts as none.
        let (operator, empty_counts_as_none) = match tail.strip_prefix(':') {
            Some(operator) => (operator, true),
            None => (tail, false),
        };
        let value =
            (self.variables)(name).filter(|value| !(empty_counts_as_none && value.is_empty()));
        let mut characters = operator.chars();
        match (characters.next(), characters.as_str()) {
            (Some('-'), default) => match value {
                Some(value) => value,
                None => self.fill(default, depth + 1),
            },
            (Some('+'), instead) => match value {
                Some(_) => self.fill(instead, depth + 1),
                None => String::new(),
            },
            (Some('?'), message) => match value {
                Some(value) => value,
                None => {
                    let (name, message) = (name.to_owned(), message.to_owned());
                    self.unfilled
                        .push(Unfilled { fragment, cause: Cause::Required { name, message } });
                    String::new()
                }
            },
            _ => {
                self.malformed(
                    &fragment,
                    "after the name comes `}`, `:-`, `-`, `:?`, `?`, `:+` or `+`",
                );
                String::new()
            }
        }
    }

    fn plain(&mut self, name: &str, fragment: &str) -> String {
        (self.variables)(name).unwrap_or_else(|| {
            let cause = Cause::Undefined { name: name.to_owned() };
            self.unfilled.push(Unfilled { fragment: fragment.to_owned(), cause });
            String::new()
        })
    }

    fn malformed(&mut self, fragment: &str, reason: &'static str) {
        let cause = Cause::Malformed { reason };
        self.unfilled.push(Unfilled { fragment: fragment.to_owned(), cause });
    }
}

fn name_length(text: &str) -> usize {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !text.starts_with(is_start) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// Returns where the `}` stands that closes an expression whose `${` came
/// before `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut previous = ' ';
    for (at, character) in text.char_indices() {
        match character {
            '{' if previous == '$' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        previous = character;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Option<String> {
        match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn every_form_of_compose_means_what_compose_says() {
        let forms = [
            ("no variable", "no variable"),
            ("${SET}", "value"),
            ("a$SET/b", "avalue/b"),
            ("[${EMPTY}]", "[]"),
            ("$$SET costs 5$$", "$SET costs 5$"),
            ("$${SET}", "${SET}"),
            ("${SET:-x}", "value"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY-x}", ""),
            ("${NONE:-x}", "x"),
            ("${NONE-x}", "x"),
            ("${NONE:-}", ""),
            ("${NONE:-${SET}}", "value"),
            ("${NONE:-${ALSO:-deep}}", "deep"),
            ("${NONE:-a b: {c}", "a b: {c"),
            ("${SET:+x}", "x"),
            ("${EMPTY:+x}", ""),
            ("${EMPTY+x}", "x"),
            ("${NONE:+x}", ""),
            ("${SET:?needed}", "value"),
            ("${EMPTY?needed}", ""),
        ];
        for (text, filled) in forms {
            assert_eq!(interpolate(text, &variables).as_deref(), Ok(filled), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_all_named_at_once() {
        let missing = interpolate("${A}-$B-${C:?set it in .env}", &variables).unwrap_err();
        let fragments: Vec<_> = missing.iter().map(|it| it.fragment.as_str()).collect();
        assert_eq!(fragments, ["${A}", "$B", "${C"]);
        assert_eq!(
            missing[2].cause,
            Cause::Required { name: "C".to_owned(), message: "set it in .env".to_owned() }
        );
    }

    #[test]
    fn a_required_variable_that_is_empty_counts_as_missing_only_with_a_colon() {
        assert!(interpolate("${EMPTY:?needed}", &variables).is_err());
        assert!(interpolate("${EMPTY?needed}", &variables).is_ok());
    }

    #[test]
    fn a_stray_dollar_is_an_error_and_not_a_guess() {
        for text in ["^a$", "${", "${SET", "${}", "${1}", "${SET!x}", "$ {SET}", "$1"] {
            let error = interpolate(text, &variables).unwrap_err();
            assert!(matches!(error[0].cause, Cause::Malformed { .. }), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "${NONE:-".repeat(100_000) + &"}".repeat(100_000);
        assert!(interpolate(&deep, &variables).is_err());
    }
}
