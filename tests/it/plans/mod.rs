//! Plan scenarios: a stack and a snapshot in, the rendered plan out.

mod around;
mod blue_green;
mod recreate;
mod rolling;
mod scene;
