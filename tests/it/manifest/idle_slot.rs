//! What the idle slot is for before it is promoted: `standby:` and `route.preview:`.

use quaymaster::domain::Preview;

use super::{CANARY, accepted, file_is_refused, lines_are_refused, refused, stack_with, web};

fn preview(written: &str) -> Option<Preview> {
    web(&format!("route: {{ host: a.example, port: 1, preview: {written} }}")).route?.preview
}

#[track_caller]
fn preview_is_refused(written: &str, column: usize, message: &str, help: &str) {
    let before = "route: { host: a.example, port: 1, preview: ";
    let lines = format!("{before}{written} }}");
    lines_are_refused(&lines, (1, before.len() + column), message, help);
}

#[test]
fn a_preview_is_told_by_a_host_or_a_header() {
    let host = Some(Preview::Host("preview.a.example".to_owned()));
    assert_eq!(preview("preview.a.example"), host);
    assert_eq!(preview("{ host: preview.a.example }"), host);
    let header = |value: Option<&str>| {
        let value = value.map(str::to_owned);
        Some(Preview::Header { name: "X-Preview".to_owned(), value })
    };
    assert_eq!(preview("{ header: X-Preview }"), header(None));
    assert_eq!(preview("{ header: { X-Preview: 1 } }"), header(Some("1")));
    assert_eq!(preview(""), None);
}

#[test]
fn a_preview_is_one_thing_that_caddy_can_tell() {
    preview_is_refused("https://a.example", 1, "is not a host name: it is a URL", "name alone");
    preview_is_refused("[a.example]", 1, "expected a host name", "");
    preview_is_refused("{ host: A.example }", 9, "is not a host name", "lower case");
    preview_is_refused("{ host: b.example, header: X }", 20, "told by one thing", "keep one");
    preview_is_refused("{ heder: X }", 3, "unknown key `heder`", "did you mean `header`?");
    let empty = "route: { host: a.example, port: 1, preview: {} }";
    lines_are_refused(empty, (1, 36), "names no preview", "header: X-Preview");
    preview_is_refused("{ header: \"X Y\" }", 11, "not a header", "letters");
    preview_is_refused("{ header: { X: \"a*\" } }", 13, "not a header", "`*`");
    preview_is_refused("{ header: { X: \"{x}\" } }", 13, "not a header", "`{}`");
    preview_is_refused("{ header: { X: 1, Y: 2 } }", 3, "by one header", "X-Preview");
    lines_are_refused("preview: a.example", (1, 1), "is not supported", "under `route:`");
}

#[test]
fn a_previews_host_is_nothing_elses() {
    let two = |first: &str, second: &str| {
        format!(
            "name: shop\nproxy: {{ caddy: {{}} }}\nservices:\n  a: {{ image: a, route: {{ port: 1, {first} }} }}\n  b: {{ image: b, route: {{ port: 1, {second} }} }}\n"
        )
    };
    accepted(&two(
        "host: a.example, preview: p.a.example",
        "host: b.example, preview: p.b.example",
    ));
    accepted(&two(
        "host: a.example, preview: { header: X }",
        "host: b.example, preview: { header: X }",
    ));
    file_is_refused(
        &two("host: a.example, preview: a.example", "host: b.example"),
        (4, 62),
        "`a.example` is the service `a`'s already",
        "line 4",
    );
    file_is_refused(
        &two("host: a.example", "host: b.example, path: /x/*, preview: a.example"),
        (5, 74),
        "`a.example` is the service `a`'s already",
        "line 4",
    );
    file_is_refused(
        &two("host: a.example, preview: p.example", "host: b.example, preview: p.example"),
        (5, 62),
        "`p.example` is the service `a`'s already",
        "line 4",
    );
}

#[test]
fn only_blue_green_with_a_route_has_an_idle_slot() {
    let route = "route: { host: a.example, port: 1 }";
    let standby = web(&format!("standby: {{ image: \"shop/web:$TAG\" }}\n{route}")).standby;
    assert_eq!(standby.map(|image| image.as_str().to_owned()).as_deref(), Some("shop/web:1.4.2"));
    for (lines, at) in [
        ("standby: { image: a }".to_owned(), (1, 1)),
        (format!("standby: {{ image: a }}\n{route}\nrollout: {{ strategy: rolling }}"), (1, 1)),
        ("standby: { image: a }\nrollout: { strategy: blue-green }".to_owned(), (1, 1)),
        (
            "route: { host: a.example, port: 1, preview: p.example }\nrollout: { strategy: rolling }"
                .to_owned(),
            (1, 36),
        ),
        (
            "route: { host: a.example, port: 1, preview: p.example }\nvolumes: [\"data:/d\"]"
                .to_owned(),
            (1, 36),
        ),
    ] {
        lines_are_refused(&lines, at, "this service has none", "`strategy: blue-green`");
    }
    let once = "standby: { image: a }\nrestart: \"no\"";
    lines_are_refused(once, (1, 1), "there is no standby of a service that runs once", "remove");
    let inside = "route: { internal: true, port: 1, preview: p.example }";
    lines_are_refused(inside, (1, 35), "looked at by nobody from outside", "`internal: true`");
}

#[test]
fn a_standby_is_an_image_and_nothing_else() {
    let with = |standby: &str| format!("standby: {standby}\nroute: {{ host: a.example, port: 1 }}");
    lines_are_refused(&with("{}"), (1, 1), "names no image", "add `image:`");
    lines_are_refused(&with("shop/web:2"), (1, 10), "expected a map", "image: shop/web:2");
    lines_are_refused(&with("{ image: Bad }"), (1, 19), "is not a repository", "registry/");
    lines_are_refused(&with("{ imge: a }"), (1, 12), "unknown key `imge`", "`image`?");
    let more = with("{ image: a, command: x }");
    lines_are_refused(&more, (1, 22), "unknown key `command`", "known here: image");
}

#[test]
fn no_refusal_of_a_preview_shows_a_secret() {
    for preview in [
        "{ header: { \"X Y\": Canary-5f1e } }",
        "{ header: { X: \"Canary-5f1e*\" } }",
        "{ header: { X: Canary-5f1e }, host: \"$NONE\" }",
        "{ header: \"$TOKEN \" }",
        "$TOKEN",
    ] {
        let lines = format!("route: {{ host: a.example, port: 1, preview: {preview} }}");
        let report = refused(&stack_with(&lines.replace("preview: $TOKEN", "preview: \"$TOKEN\"")));
        let json = serde_json::to_string(&report).unwrap();
        assert!(!format!("{report}{json}{report:?}").contains(CANARY), "{preview}\n{report}");
    }
}
