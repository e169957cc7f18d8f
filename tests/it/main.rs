//! The one integration-test binary.

mod plans;
