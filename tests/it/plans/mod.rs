//! Plan scenarios: a stack and a snapshot in, the rendered plan out.

mod addresses;
mod around;
mod blue_green;
mod drain;
mod gates;
mod idle;
mod names;
mod recreate;
mod rolling;
mod scene;
mod signed;
mod upstreams;
