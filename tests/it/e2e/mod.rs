//! The whole of Quaymaster on the real engine, from the outside: a file is
//! saved, and Docker, Caddy, the status and a client that counts tell the rest.

mod addresses;
mod bad_file;
mod cold_start;
mod crash;
mod disk;
mod drain;
mod failure;
mod flips;
mod gates;
mod git;
mod hosts;
mod names;
mod ownership;
mod pulls;
mod repair;
mod rollback;
mod s9;
mod secrets;
mod signed;
mod standby;
mod strategies;
mod switch_file;
mod tell;

/// A routed service in a slot, on image `APP:version`.
fn shop(version: &str, slot: &str) -> String {
    shop_with(version, slot, "")
}

/// The same, with more lines of a service's keys.
fn shop_with(version: &str, slot: &str, more: &str) -> String {
    format!(
        "services:\n  shop:\n    image: APP:{version}\n    slot: {slot}\n    \
         route: {{ host: shop.HOST, port: 8080 }}\n    \
         probe: {{ http: {{ path: /health, port: 8080 }} }}\n{more}"
    )
}
