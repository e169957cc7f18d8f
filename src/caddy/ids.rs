//! The `@id`s of our objects, in which Caddy keeps for us what its own fields
//! have no room for.
//!
//! | object | `@id` |
//! | --- | --- |
//! | a stack's top-level route | `quaymaster-STACK` |
//! | a service's route | `quaymaster-STACK.SERVICE` |
//! | its handler, by admin API | `….SLOT.RELEASE.PORT.STREAM_CLOSE_DELAY`, with a standby `.SLOT.RELEASE` |
//! | its handler, by switch file | `….switch.PORT.STREAM_CLOSE_DELAY` |
//! | a lane of that | `….LANE` |
//! | the route of its name | `quaymaster-STACK.SERVICE.name.PORT` |
//!
//! The server that answers to the names of services is called
//! `quaymaster-STACK-names`.
//!
//! A name has no dot, so no two of these are ever equal (Caddy refuses equal
//! ones since 2.11.2): `quaymaster-a-b` is the stack `a-b` and never service
//! `b` of stack `a`. The delay stands here because a Caddy before 2.7 has no
//! field for it, and the port because it is the route's even where a replica
//! is dialled elsewhere.

use std::time::Duration;

use crate::domain::{ServiceName, StackName, memory::Placement};

use super::lane::Lane;

/// What every id of every stack begins with.
const PREFIX: &str = "quaymaster-";

/// What the name of a server ends with that answers to names.
const NAMES: &str = "-names";

/// What the id of the route of a service's name has.
const NAME: &str = "name";

/// What the id of a handler has that leaves the choice to a switch file.
const SWITCH: &str = "switch";

/// What the id of a service's handler tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub to: Destination,
    pub port: u16,
    pub stream_close_delay: Duration,
}

/// Where a service's handler sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Release {
        active: Placement,
        standby: Option<Placement>,
    },
    /// To whichever the switch file says.
    Switch,
}

/// Returns whether the id belongs to any stack's top-level route.
pub fn is_a_stack(id: &str) -> bool {
    id.starts_with(PREFIX)
}

/// Returns the id of the stack's top-level route.
pub fn of_stack(stack: &StackName) -> String {
    format!("{PREFIX}{stack}")
}

/// Returns the name of the server that answers to the names of the stack's
/// services. No two stacks share one, because none is the end of another's.
pub fn of_names_server(stack: &StackName) -> String {
    format!("{PREFIX}{stack}{NAMES}")
}

/// Returns whether a server of this name answers to the names of any stack.
pub fn is_names_server(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.ends_with(NAMES))
}

/// Returns the id of the service's route.
pub fn of_service(stack: &StackName, service: &ServiceName) -> String {
    format!("{PREFIX}{stack}.{service}")
}

/// Returns the id of the service's handler.
pub fn of_handler(stack: &StackName, service: &ServiceName, label: &Label) -> String {
    let Label { to, port, stream_close_delay } = label;
    let delay = exact_text(*stream_close_delay);
    let of_service = of_service(stack, service);
    match to {
        Destination::Switch => format!("{of_service}.{SWITCH}.{port}.{delay}"),
        Destination::Release { active, standby } => {
            let standby = standby.as_ref().map(|it| format!(".{}.{}", it.slot, it.release));
            let standby = standby.unwrap_or_default();
            format!("{of_service}.{}.{}.{port}.{delay}{standby}", active.slot, active.release)
        }
    }
}

/// Returns the id of what sends to one lane of the service.
pub fn of_lane(stack: &StackName, service: &ServiceName, lane: Lane) -> String {
    format!("{}.{}", of_service(stack, service), lane.as_str())
}

/// Returns the id of the route that answers to the service's name at this port.
pub fn of_name(stack: &StackName, service: &ServiceName, port: u16) -> String {
    format!("{}.{NAME}.{port}", of_service(stack, service))
}

/// Returns the port that the id of the route of a service's name tells.
pub fn port_of_name(stack: &StackName, service: &ServiceName, id: &str) -> Option<u16> {
    let told = id.strip_prefix(&of_service(stack, service))?.strip_prefix('.')?;
    told.strip_prefix(NAME)?.strip_prefix('.')?.parse().ok()
}

/// Returns the service that the id of a route names.
pub fn service(stack: &StackName, id: &str) -> Option<ServiceName> {
    id.strip_prefix(&of_stack(stack))?.strip_prefix('.')?.parse().ok()
}

/// Returns what the id of a service's handler tells.
pub fn label(stack: &StackName, service: &ServiceName, id: &str) -> Option<Label> {
    let told = id.strip_prefix(&of_service(stack, service))?.strip_prefix('.')?;
    let parts: Vec<&str> = told.split('.').collect();
    let (to, port, delay) = match parts[..] {
        [SWITCH, port, delay] => (Destination::Switch, port, delay),
        [slot, release, port, delay] => {
            let active = placement(slot, release)?;
            (Destination::Release { active, standby: None }, port, delay)
        }
        [slot, release, port, delay, standby_slot, standby_release] => {
            let active = placement(slot, release)?;
            let standby = Some(placement(standby_slot, standby_release)?);
            (Destination::Release { active, standby }, port, delay)
        }
        _ => return None,
    };
    let stream_close_delay = parse_exact_text(delay)?;
    Some(Label { to, port: port.parse().ok()?, stream_close_delay })
}

fn placement(slot: &str, release: &str) -> Option<Placement> {
    Some(Placement { slot: slot.parse().ok()?, release: release.to_owned().try_into().ok()? })
}

/// Returns the span in the largest unit that loses nothing; Caddy reads the
/// same notation in its own fields.
pub fn exact_text(span: Duration) -> String {
    let nanos = span.as_nanos();
    let unit = UNITS.into_iter().find(|(_, size)| nanos.is_multiple_of(*size));
    let (name, size) = unit.expect("every whole number of nanoseconds is a multiple of one");
    format!("{}{name}", nanos / size)
}

/// Units of a span with their nanoseconds, largest first.
const UNITS: [(&str, u128); 4] =
    [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];

fn parse_exact_text(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let (_, size) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let nanos = count.parse::<u128>().ok()?.checked_mul(size)?;
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    let rest = u32::try_from(nanos % 1_000_000_000).expect("less than a second fits");
    Some(Duration::new(seconds, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_never_has_the_id_of_another_stacks_service() {
        let (a, ab) = ("a".parse().unwrap(), "a-b".parse().unwrap());
        let (b, bc, c) = ("b".parse().unwrap(), "b-c".parse().unwrap(), "c".parse().unwrap());
        assert_ne!(of_stack(&ab), of_service(&a, &b));
        assert_ne!(of_service(&a, &bc), of_service(&ab, &c));
        assert_eq!(service(&a, "quaymaster-a.b-c"), Some(bc));
        assert_eq!(service(&a, "quaymaster-a-b.c"), None);
        assert_eq!(service(&a, "quaymaster-a"), None);
    }

    #[test]
    fn an_id_that_says_more_or_less_than_a_label_tells_nothing() {
        let (stack, service) = ("shop".parse().unwrap(), "web".parse().unwrap());
        let read = |id: &str| label(&stack, &service, id);
        for id in [
            "quaymaster-shop.web.green.0123456789ab.8001.30s",
            "quaymaster-shop.web.green.0123456789ab.8001.30s.blue.ba9876543210",
            "quaymaster-shop.web.switch.8001.30s",
        ] {
            let label = read(id).unwrap();
            assert_eq!(of_handler(&stack, &service, &label), id);
        }
        for id in [
            "quaymaster-shop.web",
            "quaymaster-shop.web.green.0123456789ab.8001",
            "quaymaster-shop.web.green.0123456789ab.8001.30s.x",
            "quaymaster-shop.web.green.0123456789ab.8001.30s.blue.ba9876543210.x",
            "quaymaster-shop.web.switch.8001",
            "quaymaster-shop.web.1",
            "quaymaster-shop.web.green.0123456789ab.70000.30s",
            "quaymaster-shop.web.green.0123456789ab.8001.30",
            "quaymaster-shop.web.teal.0123456789ab.8001.30s",
            "quaymaster-shop.api.green.0123456789ab.8001.30s",
        ] {
            assert_eq!(read(id), None, "{id}");
        }
    }

    #[test]
    fn a_span_is_kept_to_the_nanosecond() {
        for span in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_micros(1_500),
            Duration::from_secs(30),
            Duration::MAX,
        ] {
            assert_eq!(parse_exact_text(&exact_text(span)), Some(span));
        }
        assert_eq!(exact_text(Duration::from_millis(1_500)), "1500ms");
    }
}
