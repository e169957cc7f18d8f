//! The [`Gatekeeper`]: measures gates in the background.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    domain::{GateKey, GateTarget, snapshot::Measured},
    ports::{Exec, Gatekeeper},
};

/// Called when a measurement said something new.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Measures over the network, and inside replicas through `X`.
pub struct Gates<X> {
    _exec: X,
    _wake: Wake,
}

impl<X: Exec + 'static> Gates<X> {
    pub fn new(exec: X, wake: Wake) -> Gates<X> {
        Gates { _exec: exec, _wake: wake }
    }
}

/// Must be used inside a runtime: each target is a task of it.
impl<X: Exec + 'static> Gatekeeper for Gates<X> {
    fn watch(&self, _targets: BTreeMap<GateKey, GateTarget>) {}

    fn measured(&self) -> BTreeMap<GateKey, Measured> {
        BTreeMap::new()
    }
}
