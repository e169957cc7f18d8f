//! What of Jinja a template may use: so little that no text grows without bound.
//!
//! The engine folds constants while it parses, so `"x" * 100000000` takes its memory
//! before anything is rendered. That is why a template is looked through first, by the
//! rules by which the engine tells text from tags. No operator repeats a text, nothing
//! stores one, only the short log is looped over, and a tag is too short to join many.

use super::BadTemplate;

/// The longest tag, with what opens and closes it: bounds what one expression joins,
/// and how deep it is.
const MAX_TAG_BYTES: usize = 500;

/// The most `if`, `elif` and `for`: the engine reads those that are nested recursively.
const MAX_BLOCKS: usize = 64;

/// Refuses a template that uses more.
pub(super) fn check(text: &str) -> Result<(), BadTemplate> {
    let mut blocks = 0;
    let mut from = 0;
    while let Some(opens_at) = next_tag(text, from) {
        let line = Some(1 + text[..opens_at].matches('\n').count());
        let refuse = |what| Err(BadTemplate::Faulty { what, line });
        let inside = opens_at + 2;
        let kind = text.as_bytes()[opens_at + 1];
        if kind == b'#' {
            let Some(length) = text[inside..].find("#}") else { return refuse(NOT_CLOSED) };
            from = inside + length + 2;
            continue;
        }
        let closer = if kind == b'{' { "}}" } else { "%}" };
        let length = match length_of(&text[inside..], closer) {
            Ok(length) => length,
            Err(what) => return refuse(what),
        };
        from = inside + length + closer.len();
        if from - opens_at > MAX_TAG_BYTES {
            return refuse("a tag is longer than 500 bytes");
        }
        if kind == b'%' {
            let words = &text[inside..inside + length];
            let words = words.strip_prefix(['-', '+']).unwrap_or(words);
            let words = words.strip_suffix(['-', '+']).unwrap_or(words);
            let words: Vec<&str> = words.split_whitespace().collect();
            blocks += match words[..] {
                ["if" | "elif", _, ..] | ["for", _, "in", "log"] => 1,
                ["else" | "endif" | "endfor"] => 0,
                _ => return refuse(NO_STATEMENT),
            };
        }
        if blocks > MAX_BLOCKS {
            return refuse("it has more than 64 of `if`, `elif` and `for`");
        }
    }
    Ok(())
}

const NOT_CLOSED: &str =
    "it cannot be read: a `{{`, `{%`, `{#`, bracket or quote is not closed or not open";

const NO_STATEMENT: &str = "it uses a statement that there is not: there are `if`, `elif`, \
                            `else`, `endif`, `for line in log` and `endfor`";

const NO_OPERATOR: &str = "it uses an operator or a character that there is not: facts are \
                           joined with `~` and compared with `==` or `<`, and nothing is \
                           calculated";

/// Returns where the next `{{`, `{%` or `{#` stands.
fn next_tag(text: &str, from: usize) -> Option<usize> {
    let mut pairs = text.as_bytes()[from..].windows(2);
    let found = pairs.position(|pair| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#'));
    found.map(|at| from + at)
}

/// Returns how many bytes of `rest` are inside a tag that `closer` closes.
fn length_of(rest: &str, closer: &str) -> Result<usize, &'static str> {
    let bytes = rest.as_bytes();
    let mut open_brackets = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if bytes[at..].starts_with(closer.as_bytes()) {
            // The engine does not see the end of a tag within brackets.
            return if open_brackets == 0 { Ok(at) } else { Err(NOT_CLOSED) };
        }
        let next = bytes.get(at + 1).copied();
        match byte {
            b'"' | b'\'' => at += quoted(&bytes[at..]).ok_or(NOT_CLOSED)?,
            b'(' | b'[' => open_brackets += 1,
            b')' | b']' => open_brackets = open_brackets.checked_sub(1).ok_or(NOT_CLOSED)?,
            b'=' if next == Some(b'=') => at += 1,
            b'!' | b'<' | b'>' if next == Some(b'=') => at += 1,
            b'<' | b'>' | b'|' | b'~' | b'.' | b',' | b'_' => {}
            // A negative number, or beside what opens or closes the tag, where it takes
            // the white space away.
            b'-' if at == 0
                || next.is_some_and(|next| next.is_ascii_digit())
                || bytes[at + 1..].starts_with(closer.as_bytes()) => {}
            b'+' if at == 0 || bytes[at + 1..].starts_with(closer.as_bytes()) => {}
            _ if byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() => {}
            _ => return Err(NO_OPERATOR),
        }
        at += 1;
    }
    Err(NOT_CLOSED)
}

/// Returns how far behind the quote that opens it a text is closed.
fn quoted(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match *bytes.get(at)? {
            b'\\' => at += 2,
            byte if byte == bytes[0] => return Some(at),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why_not(text: &str) -> String {
        check(text).expect_err("refused").to_string()
    }

    #[test]
    fn what_lets_text_grow_is_refused() {
        for calculated in [
            "{{ 'x' * 100000000 }}",
            "{{ 2 ** 64 }}",
            "{{ 'x' + 'y' }}",
            "{{ 'a\\'b' * 9 }}",
            "{{ text|indent(width=9) }}",
            "{{ {'a': 1} }}",
            "{{ log[::2] }}",
            "{{ --1 }}",
            "{{ 'é' ~ é }}",
            "{% if 9 * 9 %}{% endif %}",
        ] {
            assert!(why_not(calculated).contains("nothing is calculated"), "{calculated}");
        }
        for statement in [
            "{% set a = text %}",
            "{% macro a() %}{% endmacro %}",
            "{%- raw %}{{ }}{% endraw %}",
            "{% filter upper %}{% endfilter %}",
            "{% for a in range(9) %}{% endfor %}",
            "{% for a in log recursive %}{% endfor %}",
            "{% for a in [text, text] %}{% endfor %}",
            "{% %}",
        ] {
            let why = why_not(statement);
            assert!(why.contains("a statement") || why.contains("calculated"), "{statement}");
        }
        assert!(why_not(&format!("{{{{ {} }}}}", "a~".repeat(300))).contains("500 bytes"));
        assert!(why_not(&"{% if log %}".repeat(65)).contains("more than 64"));
    }

    #[test]
    fn a_tag_ends_where_the_engine_sees_its_end() {
        assert!(why_not("a\n{{ (text }} {{ ) }}").ends_with("not open, in its line 2"));
        for open in ["{{ text", "{{ 'a }}", "{% if log", "{# a", "{{ ) }}", "{{ 'a\\"] {
            assert!(why_not(open).contains("is not closed"), "{open}");
        }
        check("{{ '}}' ~ \"%}\" }}{# * {{ #} * {% if log %}").expect("no mistake");
        check("{{-text-}}{{+text+}}{%- if a >= -1 and (b != 'x') -%}").expect("no mistake");
    }
}
