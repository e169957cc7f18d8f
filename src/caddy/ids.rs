//! The `@id`s of our objects, in which Caddy keeps for us what its own fields
//! have no room for.
//!
//! | object | `@id` |
//! | --- | --- |
//! | a stack's top-level route | `quaymaster-STACK` |
//! | a service's route | `quaymaster-STACK.SERVICE` |
//! | a service's handler | `quaymaster-STACK.SERVICE.SLOT.RELEASE.PORT.STREAM_CLOSE_DELAY` |
//!
//! A name has no dot, so no two of these are ever equal (Caddy refuses equal
//! ones since 2.11.2): `quaymaster-a-b` is the stack `a-b` and never service
//! `b` of stack `a`. The delay stands here because a Caddy before 2.7 has no
//! field for it, and the port because it is the route's even where a replica
//! is dialled elsewhere.

use std::time::Duration;

use crate::domain::{ReleaseId, ServiceName, Slot, StackName};

/// What every id of every stack begins with.
const PREFIX: &str = "quaymaster-";

/// What the id of a service's handler tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Berth {
    pub slot: Slot,
    pub release: ReleaseId,
    pub port: u16,
    pub stream_close_delay: Duration,
}

/// Returns whether the id belongs to any stack's top-level route.
pub fn is_a_stack(id: &str) -> bool {
    id.starts_with(PREFIX)
}

/// Returns the id of the stack's top-level route.
pub fn of_stack(stack: &StackName) -> String {
    format!("{PREFIX}{stack}")
}

/// Returns the id of the service's route.
pub fn of_service(stack: &StackName, service: &ServiceName) -> String {
    format!("{PREFIX}{stack}.{service}")
}

/// Returns the id of the handler that sends to the berth.
pub fn of_berth(stack: &StackName, service: &ServiceName, berth: &Berth) -> String {
    let Berth { slot, release, port, stream_close_delay } = berth;
    let delay = exact_text(*stream_close_delay);
    format!("{}.{slot}.{release}.{port}.{delay}", of_service(stack, service))
}

/// Returns the service that the id of a route names.
pub fn service(stack: &StackName, id: &str) -> Option<ServiceName> {
    id.strip_prefix(&of_stack(stack))?.strip_prefix('.')?.parse().ok()
}

/// Returns what the id of a service's handler tells.
pub fn berth(stack: &StackName, service: &ServiceName, id: &str) -> Option<Berth> {
    let told = id.strip_prefix(&of_service(stack, service))?.strip_prefix('.')?;
    let mut parts = told.split('.');
    let berth = Berth {
        slot: parts.next()?.parse().ok()?,
        release: parts.next()?.to_owned().try_into().ok()?,
        port: parts.next()?.parse().ok()?,
        stream_close_delay: parse_exact_text(parts.next()?)?,
    };
    parts.next().is_none().then_some(berth)
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
    fn an_id_that_says_more_or_less_than_a_berth_tells_nothing() {
        let (stack, service) = ("shop".parse().unwrap(), "web".parse().unwrap());
        let read = |id: &str| berth(&stack, &service, id);
        assert!(read("quaymaster-shop.web.green.0123456789ab.8001.30s").is_some());
        for id in [
            "quaymaster-shop.web",
            "quaymaster-shop.web.green.0123456789ab.8001",
            "quaymaster-shop.web.green.0123456789ab.8001.30s.x",
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
