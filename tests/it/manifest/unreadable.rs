//! What is no desired state at all, or was made to take long: refused before anything
//! is read into it.

use quaymaster::domain::manifest::AllowDeleteAll;

use super::{accepted, file_is_refused, lines_are_refused, problem, read_bytes, refused};

#[test]
fn a_syntax_error_names_its_line() {
    file_is_refused("name: shop\nservices:\n  web: [a\n", (3, 8), "not YAML", "indentation");
    lines_are_refused("route: { port: ${PORT} }", (1, 17), "not YAML", "quotes around a `${…}`");
    let report = refused("name: shop\nservices:\n  web:\n\timage: a\n");
    assert_eq!(report.problems()[0].line, 4);
}

#[test]
fn an_empty_file_never_means_delete_everything() {
    for text in ["", "\n\n", "# nothing\n", "---\n", "~\n"] {
        for allow in [AllowDeleteAll::No, AllowDeleteAll::Yes] {
            let report = read_bytes(text.as_bytes(), allow).unwrap_err();
            assert_eq!(report.problems()[0].message, "the file is empty", "{text:?}");
        }
    }
}

#[test]
fn no_service_at_all_needs_to_be_allowed() {
    file_is_refused("name: shop\nservices: {}\n", (2, 1), "no services", "--allow-delete-all");
    file_is_refused("name: shop\n", (1, 1), "no services", "--allow-delete-all");
    let stack = read_bytes(b"name: shop\nservices: {}\n", AllowDeleteAll::Yes).unwrap();
    assert!(stack.services.is_empty());
}

#[test]
fn a_file_over_a_mebibyte_is_not_even_parsed() {
    let text = format!("name: shop\n#{}\n", "x".repeat(1 << 20));
    assert!(problem(&text).message.contains("more than 1048576"));
}

#[test]
fn an_alias_bomb_does_not_go_off() {
    let mut text = "name: shop\nx-a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (from, to) in ('a'..'j').zip('b'..='j') {
        let aliases = vec![format!("*{from}"); 10].join(", ");
        text += &format!("x-{to}: &{to} [{aliases}]\n");
    }
    let problem = problem(&text);
    assert!(problem.message.contains("aliases"), "{problem:?}");
    // 10⁵ values are reached by the fifth level, not the ninth.
    assert!(problem.line <= 7, "{problem:?}");
}

#[test]
fn an_alias_inside_its_own_anchor_is_refused() {
    let problem = problem("name: shop\nx-a: &a [1, *a]\n");
    assert_eq!((problem.line, problem.column), (2, 13));
}

#[test]
fn nesting_is_bounded_at_32_levels() {
    let nested = |depth: usize| format!("x-a: {}{}\n", "[".repeat(depth), "]".repeat(depth));
    let tail = "name: shop\nservices: { web: { image: a } }\n";
    // The top level is the first.
    accepted(&(nested(31) + tail));
    assert!(problem(&(nested(32) + tail)).message.contains("deeper than 32"));
    assert!(problem(&(nested(100_000) + tail)).message.contains("deeper than 32"));
    let through_alias = format!("x-b: &b {0}{1}\nx-c: {0}*b{1}\n", "[".repeat(20), "]".repeat(20));
    assert!(problem(&(through_alias + tail)).message.contains("deeper than 32"));
}

#[test]
fn what_is_no_text_is_refused_where_it_stops_being_one() {
    let report = read_bytes(b"name: shop\n# caf\xe9\n", AllowDeleteAll::No).unwrap_err();
    let problem = &report.problems()[0];
    assert_eq!((problem.line, problem.column), (2, 6));
    assert_eq!(problem.message, "this is not UTF-8");

    file_is_refused("name: shop\nx: a\0b\n", (2, 5), "NUL", "damaged");
    lines_are_refused("user: \"a\\0b\"", (1, 7), "NUL", "remove");
}

#[test]
fn a_second_document_is_refused() {
    file_is_refused(
        "name: shop\nservices: { web: { image: a } }\n---\nname: other\n",
        (3, 1),
        "second document",
        "file of its own",
    );
}

#[test]
fn files_made_to_take_long_are_refused_all_the_same() {
    let many = |line: &dyn Fn(usize) -> String| (0..30_000).map(line).collect::<String>();
    let files = [
        many(&|n| format!("k{n}: 1\n")),
        format!(
            "name: a\nservices: {{ w: {{ image: a, networks: [{}] }} }}\n",
            many(&|n| format!("n{n},"))
        ),
        format!(
            "name: a\nservices: {{ w: {{ image: a, ports: [{}] }} }}\n",
            many(&|_| "1-65535,".to_owned())
        ),
        format!(
            "name: a\nservices: {{ w: {{ image: a, user: \"{}\" }} }}\n",
            many(&|n| format!("$V{n} "))
        ),
        format!(
            "name: a\nservices: {{ w: {{ image: a, environment: {{ {} }} }} }}\n",
            many(&|n| format!("K{n}: [],"))
        ),
        format!(
            "name: a\nservices:\n{}  s30000: {{ image: a, depends_on: [s0] }}\n",
            many(&|n| format!("  s{n}: {{ image: a, depends_on: [s{}] }}\n", n + 1))
                .get(..900_000)
                .map(|text| text[..text.rfind('\n').unwrap() + 1].to_owned())
                .unwrap()
        ),
        format!(
            "name: a\nservices: {{ w: {{ image: a, route: {{ port: 1, host: [{}] }} }} }}\n",
            many(&|n| format!("h{n}.x,"))
        ),
    ];
    for text in files {
        assert!(!refused(&text).problems().is_empty());
    }
}
