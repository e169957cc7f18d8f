//! Plan scenarios: a stack and a snapshot in, the rendered plan out.

mod addresses;
mod around;
mod bake;
mod blue_green;
mod drain;
mod gates;
mod groups;
mod idle;
mod names;
mod recreate;
mod retain;
mod rolling;
mod scene;
mod secrets;
mod signed;
mod tell;
mod upstreams;
