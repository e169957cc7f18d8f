//! Routes and proxies that are refused, each with the place, the reason and the mend.

use super::{accepted, file_is_refused, lines_are_refused, read};

#[test]
fn two_services_cannot_have_the_same_requests() {
    let two = |first: &str, second: &str| {
        format!(
            "name: shop\nproxy: {{ caddy: {{}} }}\nservices:\n  a: {{ image: a, route: {{ {first}, port: 1 }} }}\n  b: {{ image: b, route: {{ {second}, port: 1 }} }}\n"
        )
    };
    file_is_refused(
        &two("host: x.example", "hosts: [y.example, x.example]"),
        (5, 46),
        "`x.example` with the same path is the service `a`'s already",
        "line 4",
    );
    let same_but_for_case = two("host: x.example, path: /A/*", "host: x.example, path: /a/*");
    assert!(read(&same_but_for_case).is_err());
    accepted(&two("host: x.example", "host: x.example, path: /api/*"));
}

#[test]
fn host_names_are_checked_before_caddy_sees_them() {
    let bad = [
        ("Shop.example", "lower case"),
        ("https://a.example", "name alone"),
        ("a.example/x", "name alone"),
        ("a.example:443", "proxy.caddy.listen"),
        ("a_b.example", "shop.example.com"),
        ("-a.example", "shop.example.com"),
        ("a..example", "shop.example.com"),
        ("a.example.", "shop.example.com"),
        ("*.com", "shop.example.com"),
        ("a.*.com", "shop.example.com"),
        ("*", "shop.example.com"),
        ("bücher.example", "shop.example.com"),
        ("300.1.1.1", "shop.example.com"),
        ("{host}", "shop.example.com"),
        ("bad host", "shop.example.com"),
    ];
    for (host, help) in bad {
        let lines = format!("route: {{ host: \"{host}\", port: 80 }}");
        lines_are_refused(&lines, (1, 16), "is not a host name", help);
    }
    lines_are_refused("route: { host: [], port: 80 }", (1, 16), "no host", "at least one");
    lines_are_refused("route: { port: 80 }", (1, 1), "no `host`", "add `host:");
    lines_are_refused("route: { host: [a.example, a.example], port: 80 }", (1, 28), "second", "7");
    for path in ["api", "/a*b", "/a b", "/{x}", "/a?b", "/*/a"] {
        let lines = format!("route: {{ host: a.example, port: 80, path: \"{path}\" }}");
        lines_are_refused(&lines, (1, 43), "is not a path pattern", "begins with `/`");
    }
}

#[test]
fn a_route_needs_a_port_and_a_proxy() {
    lines_are_refused("route: { host: a.example }", (1, 1), "no `port`", "add `port:`");
    lines_are_refused(
        "route: { host: a.example }\nexpose: [80, 81]",
        (1, 1),
        "`expose` does not name exactly one",
        "add `port:`",
    );
    file_is_refused(
        "name: shop\nservices:\n  web: { image: a, route: { host: a.example, port: 80 } }\n",
        (3, 20),
        "a route needs a proxy",
        "add `proxy:",
    );
}

#[test]
fn the_proxys_address_is_checked() {
    for admin in
        ["https://127.0.0.1:2019", "127.0.0.1:2019", "http://a", "unix://run", "http://a:b@c:1"]
    {
        let text = format!(
            "name: shop\nproxy: {{ caddy: {{ admin: \"{admin}\" }} }}\nservices: {{ w: {{ image: a }} }}\n"
        );
        file_is_refused(&text, (2, 26), "address of Caddy's admin API", "unix:///run");
    }
    let listen = "name: shop\nproxy: { caddy: { listen: 443 } }\nservices: { w: { image: a } }\n";
    file_is_refused(listen, (2, 27), "not a listening address", "`:443`");
}

#[test]
fn a_way_to_flip_is_one_of_three() {
    for (flip, reason, help) in [
        ("switch_file", "`switch_file` is no way to flip", "did you mean `switch-file`?"),
        ("adminapi", "`adminapi` is no way to flip", "did you mean `admin-api`?"),
        ("reload", "`reload` is no way to flip", "`auto`, `admin-api` or `switch-file`"),
        ("[auto]", "expected", ""),
        ("yes", "", ""),
    ] {
        let text = format!(
            "name: shop\nproxy: {{ caddy: {{ flip: {flip} }} }}\nservices: {{ w: {{ image: a }} }}\n"
        );
        file_is_refused(&text, (2, 25), reason, help);
    }
}

#[test]
fn names_are_answered_by_one_of_three() {
    for (names, reason, help) in [
        ("cady", "`cady` cannot answer to names", "did you mean `caddy`?"),
        ("dns", "`dns` cannot answer to names", "`auto`, `caddy` or `docker`"),
        ("[auto]", "expected", ""),
    ] {
        let text = format!(
            "name: shop\nproxy: {{ caddy: {{ names: {names} }} }}\nservices: {{ w: {{ image: a }} }}\n"
        );
        file_is_refused(&text, (2, 26), reason, help);
    }
}

#[test]
fn a_route_for_the_inside_only_has_no_host_and_no_path() {
    let reason = "has no host and no path";
    for (lines, column) in [
        ("route: { internal: true, host: a.example, port: 80 }", 26),
        ("route: { internal: true, hosts: [a.example], port: 80 }", 26),
        ("route: { internal: true, path: /x, port: 80 }", 26),
    ] {
        lines_are_refused(lines, (1, column), reason, "`internal: true`");
    }
    let neither = "neither `true` nor `false`";
    lines_are_refused("route: { internal: 1, port: 80 }", (1, 20), neither, "");
}
