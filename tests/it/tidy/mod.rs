//! The house rules that a compiler does not check.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Every top-level module of `src`, and its floor.
const FLOORS: &[(&str, u8)] = &[
    ("domain", 0),
    ("plan", 1),
    ("ports", 2),
    ("docker", 2),
    ("caddy", 2),
    ("probe", 2),
    ("gate", 2),
    ("http", 2),
    ("credentials", 2),
    ("notify", 2),
    ("signature", 2),
    ("store", 2),
    ("source", 2),
    ("sim", 2),
    ("clock", 2),
    ("lock", 2),
    ("systemd", 2),
    ("controller", 3),
    ("server", 3),
    ("cli", 4),
];

/// The modules of floor 2 that all others of it may import.
const SEAMS: &[&str] = &["ports", "http", "credentials"];

/// The simulator drives the production loop: the one edge that points upward.
const UPWARD: &[(&str, &str)] = &[("sim", "controller")];

/// What floors 0 and 1 must not know: runtimes, wire types, clocks, chance.
const FORBIDDEN_BELOW: &[&str] = &[
    "tokio",
    "bollard",
    "reqwest",
    "axum",
    "sled",
    "notify::",
    "rand::",
    "std::time::Instant",
    "std::time::SystemTime",
    "SystemTime::now",
    "Instant::now",
    "std::thread",
    "std::net::Tcp",
    "std::process",
];

/// The longest a source file may get before it is asked whether it holds one idea.
const MAX_LINES: usize = 500;

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the entry is readable").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns the top-level module a file belongs to; None for `lib.rs` and `main.rs`.
fn module_of(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(src()).expect("a file of src");
    let first = inside.components().next()?.as_os_str().to_string_lossy().into_owned();
    let name = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
    (name != "lib" && name != "main").then_some(name)
}

fn floor_of(module: &str) -> u8 {
    let known = FLOORS.iter().find(|(name, _)| *name == module);
    known.unwrap_or_else(|| panic!("`{module}` has no floor: add it to FLOORS")).1
}

/// Code without comments, one line a line.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file is readable");
    let without = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text.lines().map(without).collect::<Vec<_>>().join("\n")
}

/// Every top-level module that the code names through `crate::`.
fn imports(code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => {
                found.insert(word(rest));
            }
            // `use crate::{a::b, c}`: the names at the first level of the braces.
            Some(group) => found.extend(first_level(group).iter().map(|part| word(part.trim()))),
        }
    }
    found
}

fn first_level(group: &str) -> Vec<String> {
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => parts.push(String::new()),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                parts.last_mut().expect("never empty").push(c);
            }
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[test]
fn imports_only_point_downward() {
    let mut upward = Vec::new();
    for path in sources(&src()) {
        let Some(from) = module_of(&path) else { continue };
        for to in imports(&code(&path)) {
            if to == from || UPWARD.contains(&(from.as_str(), to.as_str())) {
                continue;
            }
            let between_adapters =
                floor_of(&from) == floor_of(&to) && floor_of(&from) == 2 && !SEAMS.contains(&&*to);
            if floor_of(&to) > floor_of(&from) || between_adapters {
                upward.push(format!("{}: {from} imports {to}", path.display()));
            }
        }
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn decisions_know_no_runtime_no_wire_and_no_clock() {
    let mut known = Vec::new();
    for floor in ["domain", "plan"] {
        for path in sources(&src().join(floor)) {
            let code = code(&path);
            let found = FORBIDDEN_BELOW.iter().filter(|name| code.contains(*name));
            known.extend(found.map(|name| format!("{} knows {name}", path.display())));
        }
    }
    assert!(known.is_empty(), "{}", known.join("\n"));
}

#[test]
fn a_file_holds_one_idea() {
    let long: Vec<String> = sources(&src())
        .into_iter()
        .filter_map(|path| {
            let lines = fs::read_to_string(&path).expect("readable").lines().count();
            (lines > MAX_LINES).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn imports_of_every_form_are_seen() {
    let code = "use crate::a::b; use crate::{c::{d, e}, f}; fn x() { crate::g::h() }";
    let found: Vec<String> = imports(code).into_iter().collect();
    assert_eq!(found, ["a", "c", "f", "g"]);
}
