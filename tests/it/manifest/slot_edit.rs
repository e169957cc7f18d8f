//! `flip` edits one word and keeps every other byte.

use quaymaster::domain::{
    Slot,
    manifest::{SlotNotEdited, with_slot},
};

#[track_caller]
fn green(text: &str) -> Result<String, SlotNotEdited> {
    with_slot(text, &"web".parse().unwrap(), Slot::Green)
}

#[test]
fn a_slot_is_replaced_where_it_stands() {
    let files = [
        ("services:\n  web:\n    slot: blue   # why\n    image: a\n", "slot: green   # why\n"),
        ("services:\n  web:\n    slot: 'blue'\n", "slot: green\n"),
        ("services:\r\n  web:\r\n    slot: blue\r\n", "slot: green\r\n"),
        ("services: { web: { image: a, slot: blue } }", "slot: green }"),
        ("services:\n  web:\n    slot: \n    image: a\n", "slot: green"),
        ("services:\n  db:\n    slot: blue\n  web:\n    slot: auto\n", "slot: green"),
    ];
    for (before, after) in files {
        let edited = green(before).unwrap();
        assert!(edited.contains(after), "{before}\n{edited}");
        // Nothing but the slot's own word is different.
        let changes = similar::TextDiff::from_lines(before, &edited);
        let removed =
            changes.iter_all_changes().filter(|it| it.tag() == similar::ChangeTag::Delete);
        assert_eq!(removed.count(), 1, "{before}\n{edited}");
    }
}

#[test]
fn a_missing_slot_becomes_the_first_key() {
    let files = [
        (
            "# top\nservices:\n\n  # the web\n  web: # here\n    # the image\n    image: a # x\n\n",
            "# top\nservices:\n\n  # the web\n  web: # here\n    # the image\n    slot: green\n    image: a # x\n\n",
        ),
        (
            "services:\r\n  web:\r\n    image: a\r\n",
            "services:\r\n  web:\r\n    slot: green\r\n    image: a\r\n",
        ),
        ("services: { web: { image: a } }", "services: { web: { slot: green, image: a } }"),
        (
            "x: &x { slot: blue, image: a }\nservices:\n  web:\n    <<: *x\n",
            "x: &x { slot: blue, image: a }\nservices:\n  web:\n    slot: green\n    <<: *x\n",
        ),
        (
            "\u{feff}services:\n  web:\n    image: é\n",
            "\u{feff}services:\n  web:\n    slot: green\n    image: é\n",
        ),
    ];
    for (before, after) in files {
        assert_eq!(green(before).as_deref(), Ok(after));
    }
}

#[test]
fn what_is_not_the_services_own_is_left_alone() {
    let service = "web".parse().unwrap();
    for shared in [
        "x: &x { image: a }\nservices: { web: *x }\n",
        "services:\n  web: &x\n    image: a\n  other: *x\n",
        "x: &s blue\nservices:\n  web:\n    slot: *s\n",
        "services:\n  web:\n    slot: &s blue\n",
    ] {
        assert!(matches!(green(shared), Err(SlotNotEdited::Shared(_))), "{shared}");
    }
    let variable = "services:\n  web:\n    slot: ${SLOT}\n";
    assert_eq!(green(variable), Err(SlotNotEdited::Variable(service)));
    assert!(matches!(green("services: {}\n"), Err(SlotNotEdited::NoSuchService(_))));
    assert_eq!(green("services: ["), Err(SlotNotEdited::Unreadable));
}
